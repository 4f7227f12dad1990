package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// TestR16_RestoredIntoAnEmptyCluster loses the Temporal server with all it knew, and goes on with a copy of the object store and the keys alone. docs/recovery.md
// tells the same in words.
func TestR16_RestoredIntoAnEmptyCluster(t *testing.T) {
	dir := t.TempDir()
	ending := lostCluster(t, filepath.Join(dir, "before"))

	// The backup is everything but Temporal's database.
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(dir, "before"), filepath.Join(dir, "after")).CombinedOutput(); err != nil {
		t.Fatalf("couldn't copy: %v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "after", "temporal")); err != nil {
		t.Fatal(err)
	}
	after, err := stack.Start(t.Context(), filepath.Join(dir, "after"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(after.Stop)
	ofGlobex(t, after, "mail:\n", "watch:\n  unfinishedAfter: 1s\nmail:\n")

	// What was locked verifies, from the restored store, with the network off but for that.
	raw, err := after.Bundle(t.Context(), "globex", ending.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := after.Roots()
	if err != nil {
		t.Fatal(err)
	}
	if err := evidence.Verify(raw, roots).Err(); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "done.asice")
	if err := os.WriteFile(bundle, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	offline(t, after, 0, "completed", "audit", "verify", bundle, "--tenant-ca", after.TenantCA, "--tsa-ca", after.TSA.CA, "--log-key", after.Tenants["globex"].LogPublicKey)
	offline(t, after, 0, "could have decided", "audit", "timeline", bundle, "--tenant-ca", after.TenantCA, "--tsa-ca", after.TSA.CA)
	kept := filepath.Join(dir, "checkpoint")
	if err := os.WriteFile(kept, []byte(ending.Log.Checkpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	logHolds := func() {
		t.Helper()
		offline(t, after, 0, "pass", "audit", "log", "watch", logCopy(t, after, "globex"), "--since", kept, "--log-key", after.Tenants["globex"].LogPublicKey)
	}
	logHolds()

	// What was in progress is an intent without an ending, of which the owner is told.
	offline(t, after, 6, "restored-open", "audit", "log", "verify", logCopy(t, after, "globex"), "--older", "1s", "--log-key", after.Tenants["globex"].LogPublicKey)
	var swept evidence.Swept
	ran(t, after, countersign.WorkflowSweep, countersign.SweepID("globex"), "globex", &swept)
	if len(swept.Alarmed) != 1 {
		t.Errorf("alarmed is %q, want the saga of restored-open", swept.Alarmed)
	}
	if n := mails(t, after, "begun and never ended", "restored-open"); n != 1 {
		t.Errorf("the owner has %d alarms of restored-open, want one", n)
	}

	// Nothing is signed twice, and nothing is stuck because of it.
	for _, id := range []string{"restored-done", "restored-open"} {
		_, err := beginOn(t, after, id).End(t.Context())
		if err == nil || !strings.Contains(err.Error(), "nothing is signed twice") {
			t.Errorf("%s again: %v", id, err)
		}
	}
	if stored := versionsOn(t, after, countersign.EvidenceKey("globex", "restored-done")); !slices.Equal(stored, []string{ending.Evidence.Object.VersionID}) {
		t.Errorf("the evidence has the versions %q", stored)
	}

	// The next signing goes on in the same log.
	next := approvedOn(t, beginOn(t, after, "restored-next"))
	if next.Log == nil || next.Log.Index <= ending.Log.Index {
		t.Errorf("the next ending is at %+v in the log", next.Log)
	}
	logHolds()
	var checked evidence.CheckedEvidence
	ran(t, after, countersign.WorkflowEvidenceCheck, countersign.EvidenceCheckID("globex"), "globex", &checked)
	if len(checked.Problems) > 0 || checked.Sampled < 2 {
		t.Errorf("the check of %d bundles found %q", checked.Sampled, checked.Problems)
	}
}

// lostCluster is a stack that ended: with one signing that was completed, and one that was signed and whose evidence was not locked yet.
func lostCluster(t *testing.T, data string) evidence.Ending {
	t.Helper()
	s, err := stack.Start(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	store := fault(t, s.S3.Endpoint)
	workers := ofGlobex(t, s, "s3: "+s.S3.Endpoint, "s3: "+store.URL)
	ending := approvedOn(t, beginOn(t, s, "restored-done"))
	store.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && r.URL.Path == "/evidence/"+countersign.EvidenceKey("globex", "restored-open")
	})
	g := beginOn(t, s, "restored-open")
	approveOn(t, g)
	<-store.Hit()
	workers.Kill()
	return ending
}

// ofGlobex starts workers of globex on a stack, with some of its settings replaced.
func ofGlobex(t *testing.T, s *stack.Stack, replace ...string) *stack.Process {
	t.Helper()
	dir, err := s.Tenant(t.TempDir(), "globex", replace...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Workers(filepath.Join(s.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func beginOn(t *testing.T, s *stack.Stack, id string) *stack.Signing {
	t.Helper()
	document, err := s.Upload(t.Context(), "globex", pdf(t))
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Begin(t.Context(), "machine:globex/procurement", countersign.Request{V: 1, Tenant: "globex", ID: id, Purpose: "supplier-contract", Title: "Supply agreement", Document: document})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func approveOn(t *testing.T, g *stack.Signing) {
	t.Helper()
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
}

func approvedOn(t *testing.T, g *stack.Signing) evidence.Ending {
	t.Helper()
	approveOn(t, g)
	ending, err := g.End(t.Context())
	if err != nil || ending.Outcome != countersign.Completed {
		t.Fatalf("%s ended as %+v, %v", g.Request.ID, ending, err)
	}
	return ending
}

// offline runs the command without an API, and wants an exit code, and a text in what it says.
func offline(t *testing.T, s *stack.Stack, code int, says string, args ...string) {
	t.Helper()
	out, fault, got, err := s.CLI(t.Context(), "http://127.0.0.1:1", t.TempDir(), "acme/alice", args...)
	if err != nil || got != code || !strings.Contains(out+fault, says) {
		t.Errorf("%s ends with %d, want %d and %q (%v)\n%s%s", args, got, code, says, err, out, fault)
	}
}

// mails counts the mails of a stack that have all the texts.
func mails(t *testing.T, s *stack.Stack, texts ...string) (n int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Mail.Page+"api/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(m), text) }) {
			n++
		}
	}
	return n
}

// versionsOn are the versions of one object of a stack's evidence.
func versionsOn(t *testing.T, s *stack.Stack, key string) (ids []string) {
	t.Helper()
	admin, err := s.S3Client(t.Context(), s.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	out, err := admin.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(s.S3.Evidence), Prefix: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range out.Versions {
		ids = append(ids, aws.ToString(v.VersionId))
	}
	return ids
}
