package tests

import (
	"crypto"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	api "github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// renewing is held by a test that says what one renewal of acme's evidence leaves for the next: each takes all that is due, of all tests.
var renewing sync.Mutex

// TestR11_RenewalIsRepeatableAndKeepsABundleProvable renews by the command line, twice: before the authority's certificate ends, and when an algorithm does.
func TestR11_RenewalIsRepeatableAndKeepsABundleProvable(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, _ := ended(t, g, countersign.Completed)
	home := t.TempDir()
	renewing.Lock()
	defer renewing.Unlock()
	renew := func(args ...string) *evidence.RenewedBundle {
		t.Helper()
		out, fault, code, err := local.CLI(t.Context(), apiURL, home, "acme/olivia", append([]string{"audit", "renew", "--json"}, args...)...)
		// Bundles of other tests may be there that no tenant's key of this file sealed: they fail, and stop nothing.
		if err != nil || code != 0 && code != 6 {
			t.Fatalf("exit code %d: %v\n%s%s", code, err, out, fault)
		}
		var status evidence.RenewalStatus
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if status.State != evidence.RenewalDone || status.By != local.Actor("acme/olivia") {
			t.Errorf("the renewal is %s, by %s", status.State, status.By)
		}
		for i, b := range status.Renewed {
			if b.Request == g.Request.ID {
				return &status.Renewed[i]
			}
		}
		return nil
	}
	if b := renew("--within-days", "1"); b != nil {
		t.Errorf("a bundle whose time-stamp holds for years is due: %+v", b)
	}
	if b := renew("--within-days", "7300", "--dry-run"); b == nil || b.Record != nil || !strings.Contains(b.Why, "the certificates of the seal's time-stamp end on") {
		t.Fatalf("the dry run says %+v", b)
	}
	first := renew("--within-days", "7300")
	if first == nil || first.Record == nil || first.Record.Key != countersign.RenewalKey("acme", g.Request.ID, 1) {
		t.Fatalf("renewed is %+v", first)
	}
	if b := renew("--within-days", "1"); b != nil {
		t.Errorf("what was renewed is due again: %+v", b)
	}
	second := renew("--within-days", "1", "--ending", "sha512")
	if second == nil || second.Record == nil || second.Record.Key != countersign.RenewalKey("acme", g.Request.ID, 2) || !strings.Contains(second.Why, "SHA-512") {
		t.Fatalf("renewed is %+v", second)
	}

	raw := bundle(t, "acme", ending)
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := local.S3Client(t.Context(), "acme-starter")
	if err != nil {
		t.Fatal(err)
	}
	record, err := activities.ReadObject(t.Context(), reader, "acme", *second.Record, evidence.MaxRenewalSize)
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := evidence.VerifyRenewal(record, raw, roots)
	if err != nil || len(stamps) != 2 || stamps[0].Hash != crypto.SHA512 || stamps[1].Hash != crypto.SHA384 {
		t.Errorf("the record has %+v, %v", stamps, err)
	}
	file := filepath.Join(t.TempDir(), "e.asice")
	for name, body := range map[string][]byte{file: raw, file + ".ers": record} {
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := []string{"audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA}
	if out, fault, code, err := local.CLI(t.Context(), apiURL, home, "acme/olivia", verify...); err != nil || code != 0 || !strings.Contains(out, "time-stamped anew 2 times") {
		t.Errorf("audit verify: exit code %d, %v\n%s%s", code, err, out, fault)
	}
	record[len(record)-1] ^= 1
	if err := os.WriteFile(file+".ers", record, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, code, err := local.CLI(t.Context(), apiURL, home, "acme/olivia", verify...); err != nil || code != 6 || !strings.Contains(out, "time-stamp 2: timestamp: signature does not verify") {
		t.Errorf("audit verify of a changed record: exit code %d, %v\n%s", code, err, out)
	}
}

// TestR11_RenewalsAtOnceAndAgainWithTheSameAlgorithm: what was renewed together has one token, and is renewed together again, by several people at once, in the same chain.
func TestR11_RenewalsAtOnceAndAgainWithTheSameAlgorithm(t *testing.T) {
	t.Parallel()
	requests := map[string]*stack.Signing{}
	for i := range 5 {
		g := doneBeside(t, strconv.Itoa(i))
		requests[g.Request.ID] = g
	}
	renewing.Lock()
	defer renewing.Unlock()
	for round := range 3 {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				out, fault, code, err := local.CLI(t.Context(), apiURL, t.TempDir(), "acme/olivia", "audit", "renew", "--json", "--within-days", "7300")
				var status evidence.RenewalStatus
				if err == nil {
					err = json.Unmarshal([]byte(out), &status)
				}
				if err != nil || code != 0 && code != 6 || status.State != evidence.RenewalDone {
					t.Errorf("round %d: exit code %d, %v\n%s%s", round, code, err, out, fault)
				}
				for _, p := range status.Problems {
					if requests[p.Request] != nil {
						t.Errorf("round %d: %s was not renewed: %s", round, p.Request, p.Problem)
					}
				}
				renewed := 0
				for _, b := range status.Renewed {
					if requests[b.Request] != nil && b.Record != nil {
						renewed++
					}
				}
				// What was renewed since it began, by another one, is told by it as well.
				if renewed != len(requests) {
					t.Errorf("round %d: %d of %d were renewed", round, renewed, len(requests))
				}
			})
		}
		all.Wait()
	}
	for request := range requests {
		file := filepath.Join(t.TempDir(), "e.asice")
		export := []string{"audit", "export", request, "-o", file}
		verify := []string{"audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA}
		if out, fault, code, err := local.CLI(t.Context(), apiURL, t.TempDir(), "acme/olivia", export...); err != nil || code != 0 {
			t.Fatalf("audit export: exit code %d, %v\n%s%s", code, err, out, fault)
		}
		if out, fault, code, err := local.CLI(t.Context(), apiURL, t.TempDir(), "acme/olivia", verify...); err != nil || code != 0 || !regexp.MustCompile(`time-stamped anew ([2-9]|\d\d) times`).MatchString(out) {
			t.Errorf("audit verify: exit code %d, %v\n%s%s", code, err, out, fault)
		}
	}
}

// TestR11_ARenewalThatWaitsSaysForWhat has no authority for a while.
func TestR11_ARenewalThatWaitsSaysForWhat(t *testing.T) {
	first, second := fault(t, local.TSA.URL), fault(t, local.SecondTSA.URL)
	as, _ := globexAt(t, t.TempDir(), "url: "+local.TSA.URL, "url: "+first.URL+"/", "url: "+local.SecondTSA.URL, "url: "+second.URL+"/")
	g, _ := supplied(t, requestID(t))
	first.Break(every)
	second.Break(every)
	kept, err := as("globex/greta").Renew(t.Context(), api.RenewalBody{WithinDays: 7300})
	if err != nil {
		t.Fatal(err)
	}
	renewal := func(what string, so func(evidence.RenewalStatus) bool) (status evidence.RenewalStatus) {
		t.Helper()
		eventually(t, what, func() bool {
			status, err = as("globex/greta").Renewal(t.Context(), kept.ID)
			return err == nil && so(status)
		})
		return status
	}
	waits := renewal("it says what it waits for", func(s evidence.RenewalStatus) bool { return s.Problem != "" })
	if waits.State != evidence.RenewalRunning || !strings.Contains(waits.Problem, "evidence records: timestamp: ") {
		t.Errorf("it is %s and says %q", waits.State, waits.Problem)
	}
	second.Heal()
	done := renewal("it is done", func(s evidence.RenewalStatus) bool { return s.State == evidence.RenewalDone })
	if done.Problem != "" || !slices.ContainsFunc(done.Renewed, func(b evidence.RenewedBundle) bool { return b.Request == g.Request.ID && b.Record != nil }) {
		t.Errorf("it ended with %q, and renewed %+v", done.Problem, done.Renewed)
	}
}

// Whoever is no compliance and no owner renews nothing, past the API as well.
func TestR11_RenewalIsForComplianceAndTheOwner(t *testing.T) {
	t.Parallel()
	if _, _, code, err := local.CLI(t.Context(), apiURL, t.TempDir(), "acme/alice", "audit", "renew", "--dry-run"); err != nil || code != 3 {
		t.Errorf("by the API: exit code %d, %v", code, err)
	}
	c, err := local.Dial(t.Context(), "acme", "acme/alice")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: countersign.RenewalID("acme", uuid.NewString()), TaskQueue: countersign.TaskQueueSigning, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
	}, countersign.WorkflowRenewal, evidence.RenewalRequest{Tenant: "acme", Within: countersign.Duration(time.Hour), DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	// Alice may start it and not read its result, so the worker's view is asked.
	watcher, err := local.Dial(t.Context(), "acme", "platform:compliance/acme")
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	if err := watcher.GetWorkflow(t.Context(), run.GetID(), run.GetRunID()).Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not-entitled") {
		t.Errorf("it ended with %v", err)
	}
}
