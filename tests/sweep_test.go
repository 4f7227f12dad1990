package tests

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	apiclient "github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

func TestM4_ASagaThatWaitsWhenItsCustodianIsTerminatedIsRecovered(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	terminateCustodian(t, g)
	ending, _ := recovered(t, g, countersign.Failed)
	oneBundle(t, g, ending)
	oneRecord(t, "acme", ending)
	// The API says so, to whoever may ask for its status.
	api, err := apiclient.New(apiURL, "acme", func(ctx context.Context) (string, error) { return local.Token(ctx, "machine:acme/procurement") })
	if err != nil {
		t.Fatal(err)
	}
	status, err := api.Status(t.Context(), g.Request.ID)
	if err != nil || status.State != apiclient.StateDone || status.Outcome != countersign.Failed || status.Evidence == nil || status.Evidence.Object != ending.Evidence.Object {
		t.Errorf("the API says %+v, %v", status, err)
	}
	// Once more changes nothing: its recovery has ended.
	trigger(t, g.Stack, countersign.SweepID("acme"), "acme")
	again, _ := recovered(t, g, countersign.Failed)
	if again.Evidence.Object != ending.Evidence.Object {
		t.Errorf("a second sweep locked %+v after %+v", again.Evidence.Object, ending.Evidence.Object)
	}
}

func TestM4_WhatWasSignedIsVoidedWhenItsCustodianIsTerminatedBeforeTheLock(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	broken := faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL)
	store.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/evidence/globex/evidence/")
	})
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	<-store.Hit() // sealed as completed, and not locked
	// An attempt that still runs could get its lock after all, and would be how the signing ended.
	broken.Kill()
	terminateCustodian(t, g)
	faultyWorkers(t)
	ending, report := recovered(t, g, countersign.Voided)
	oneBundle(t, g, ending)
	if !strings.Contains(ending.Detail, "its custodian was terminated") {
		t.Errorf("the ending says %q", ending.Detail)
	}
	if report.Statement.Signature == nil {
		t.Error("the evidence doesn't say that something had been signed")
	}
	if left := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document.p7s")); len(left) != 0 {
		t.Errorf("of the signature are left %q", left)
	}
	told := 0
	for _, m := range inMailbox(t, "api/messages", g.Request.ID) {
		if strings.Contains(string(m), "Void, not signed") && strings.Contains(string(m), report.Statement.ContextDigest) {
			told++
		}
	}
	hooks := inMailbox(t, "api/webhooks", g.Request.ID)
	if told == 0 || !strings.Contains(string(hooks[len(hooks)-1]), evidence.EventVoided) {
		t.Errorf("%d people were told by mail; the last webhook is %s", told, hooks[len(hooks)-1])
	}
}

// terminateCustodian ends a custodian as the tenant's operator.
func terminateCustodian(t *testing.T, g *stack.Signing) {
	t.Helper()
	c := asOperator(t, g.Stack, g.Request.Tenant)
	if err := c.TerminateWorkflow(t.Context(), g.Run.GetID(), "", "drill"); err != nil {
		t.Fatal(err)
	}
}

func asOperator(t *testing.T, s *stack.Stack, tenant string) client.Client {
	t.Helper()
	c, err := s.Dial(t.Context(), tenant, "platform:operator/"+tenant)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// trigger runs a schedule of the tenant now, as its operator.
func trigger(t *testing.T, s *stack.Stack, schedule, tenant string) {
	t.Helper()
	handle := asOperator(t, s, tenant).ScheduleClient().GetHandle(t.Context(), schedule)
	if err := handle.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE}); err != nil {
		t.Fatal(err)
	}
}

// recovered sweeps until a request has its recovery, waits for the end of that, and verifies the evidence as a stranger would. Sweeping again and again is
// what time does: the server lists a dead custodian a moment after its death.
func recovered(t *testing.T, g *stack.Signing, want countersign.Outcome) (evidence.Ending, *evidence.Report) {
	t.Helper()
	tenant := g.Request.Tenant
	c := asOperator(t, g.Stack, tenant)
	id := countersign.RecoveryID(tenant, g.Request.ID)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		_, err := c.DescribeWorkflowExecution(ctx, id, "")
		if err == nil {
			break
		}
		if missing := (*serviceerror.NotFound)(nil); !errors.As(err, &missing) {
			t.Fatal(err)
		}
		trigger(t, g.Stack, countersign.SweepID(tenant), tenant)
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no sweep gave the request a new custody")
		}
	}
	var ending evidence.Ending
	if err := c.GetWorkflow(ctx, id, "").Get(ctx, &ending); err != nil {
		t.Fatal(err)
	}
	if ending.Outcome != want {
		t.Fatalf("recovered as %s (%s), want %s", ending.Outcome, ending.Detail, want)
	}
	return ending, verified(t, bundle(t, tenant, ending), want)
}

// oneBundle wants one locked version in the request's place: the one that was told, in the log.
func oneBundle(t *testing.T, g *stack.Signing, ending evidence.Ending) {
	t.Helper()
	o := ending.Evidence.Object
	locked := versions(t, o.Bucket, countersign.EvidenceKey(g.Request.Tenant, g.Request.ID))
	if len(locked) != 1 || locked[0] != o.VersionID || ending.Evidence.Mode != "COMPLIANCE" {
		t.Errorf("the evidence has the versions %q, locked as %q; want one: %q", locked, ending.Evidence.Mode, o.VersionID)
	}
	if countersign.SHA256(bundle(t, g.Request.Tenant, ending)) != o.SHA256 {
		t.Error("the locked evidence has another hash than was told")
	}
	if ending.Log == nil || !strings.Contains(ending.Log.Entry, o.SHA256) {
		t.Errorf("the log's entry is %+v", ending.Log)
	}
}

// TestR25_WorkerKilledAnywhereDuringARecoveryEndsInOneEvidenceObject kills the worker before, and after, each step of a recovery.
func TestR25_WorkerKilledAnywhereDuringARecoveryEndsInOneEvidenceObject(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "crashing")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./crashing").CombinedOutput(); err != nil {
		t.Fatalf("couldn't build the crashing workers: %v\n%s", err, out)
	}
	tenants, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	points := t.TempDir()
	deaths := supervise(t, bin, tenants, "CRASH_POINTS="+points)
	var orphans []*stack.Signing
	for _, step := range []string{evidence.ActivityAwaitSaga, evidence.ActivitySeal, evidence.ActivityLock, evidence.ActivityWithhold, evidence.ActivityAppendLog} {
		for _, when := range []string{"before", "after"} {
			r := request(t, "globex", "supplier-contract")
			r.ID = "recovery-killed-" + when + "-" + step
			g := begin(t, r)
			if _, err := g.Open(t.Context(), "legal"); err != nil {
				t.Fatal(err)
			}
			terminateCustodian(t, g)
			sagaEnded(t, g)
			// Only now: the saga has steps of the same names.
			if err := os.WriteFile(filepath.Join(points, when+"."+step+"."+r.ID), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			orphans = append(orphans, g)
		}
	}
	for _, g := range orphans {
		ending, _ := recovered(t, g, countersign.Failed)
		oneBundle(t, g, ending)
	}
	if left, _ := os.ReadDir(points); len(left) > 0 {
		t.Errorf("%d crash points were never met, the first is %s", len(left), left[0].Name())
	}
	if n := deaths(); n != len(orphans) {
		t.Errorf("the workers were killed %d times, want %d", n, len(orphans))
	}
}

// sagaEnded waits until a saga has ended, however.
func sagaEnded(t *testing.T, g *stack.Signing) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := asOperator(t, g.Stack, g.Request.Tenant).GetWorkflow(ctx, countersign.SagaID(g.Request.Tenant, g.Request.ID), "").Get(ctx, nil)
	if ctx.Err() != nil {
		t.Fatalf("the saga did not end: %v", err)
	}
}

// The key is being asked when the custodian is ended: whatever the key answers then, nothing is released.
func TestM4_ASagaThatSignsWhenItsCustodianIsTerminatedIsRecovered(t *testing.T) {
	keys := fault(t, local.KMS.Endpoint)
	faultyWorkers(t, "kms: "+local.KMS.Endpoint, "kms: "+keys.URL)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	keys.Break(func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Sign") })
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	<-keys.Hit()
	terminateCustodian(t, g)
	keys.Heal()
	ending, report := recovered(t, g, countersign.Failed)
	oneBundle(t, g, ending)
	if left := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document.p7s")); len(left) != 0 {
		t.Errorf("of the signature are left %q", left)
	}
	if report.Statement.Custodian.Run != g.Run.GetRunID() {
		t.Errorf("the evidence names the custodian %+v", report.Statement.Custodian)
	}
}
