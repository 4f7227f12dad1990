package tests

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// An operator who ends the workflow of a hold ends the workflow. The hold is the store's: it stays, and two people can still lift it.
func TestN11_AnOperatorWhoTerminatesAHoldLiftsNothing(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	hold := orderOf(ending, countersign.OrderHold, "acme/cora", g.Request.ID, "m-1")
	give(t, "acme/cora", hold)
	if s, _, code := answer(t, "acme/olivia", hold, countersign.Approve); s.State != evidence.OrderHeld {
		t.Fatalf("the hold ends as %q %s", s.State, code)
	}
	lift := orderOf(ending, countersign.OrderLift, "acme/cora", g.Request.ID, "m-1")
	if s, _, code := give(t, "acme/cora", lift); s.State != evidence.OrderProposed {
		t.Fatalf("proposing to lift ends as %q %s", s.State, code)
	}
	c, err := local.Dial(t.Context(), "acme", "platform:operator/acme")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.TerminateWorkflow(t.Context(), countersign.HoldID("acme", g.Request.ID), "", "drill"); err != nil {
		t.Fatal(err)
	}
	bundle := ending.Evidence.Object
	if _, status, code := answer(t, "acme/olivia", lift, countersign.Approve); status != http.StatusConflict || code != "no-order" {
		t.Errorf("approving what was terminated is answered %d %s", status, code)
	}
	book := ordersAbout(t, g.Request.ID)
	if !onHold(t, bundle.Key, bundle.VersionID) || !book.Kept.Held || book.Waiting != nil || !slices.Equal(book.Matters, []string{"m-1"}) {
		t.Errorf("after the termination compliance is told %+v", book)
	}
	again := orderOf(ending, countersign.OrderLift, "acme/colin", g.Request.ID, "m-1")
	if s, status, code := give(t, "acme/colin", again); s.State != evidence.OrderProposed {
		t.Fatalf("proposing again answers %d %s %+v", status, code, s)
	}
	if s, _, code := answer(t, "acme/cora", again, countersign.Approve); s.State != evidence.OrderLifted || onHold(t, bundle.Key, bundle.VersionID) {
		t.Errorf("lifting it in the end is %q %s", s.State, code)
	}
}

// A process of the tenant that is not the worker, and the processes of other tenants, put no hold on and take none off.
func TestN11_OnlyTheTenantsWorkerHoldsAtTheStore(t *testing.T) {
	t.Parallel()
	_, ending := done(t)
	o := ending.Evidence.Object
	for profile, by := range map[string]string{"acme-starter": "evidence-bucket.json OnlyWorkersHoldAndLift", "globex-worker": "evidence-bucket.json OwnPrefixOnly"} {
		c, err := local.S3Client(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range []s3types.ObjectLockLegalHoldStatus{s3types.ObjectLockLegalHoldStatusOn, s3types.ObjectLockLegalHoldStatusOff} {
			_, err = c.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: &o.Bucket, Key: &o.Key, VersionId: &o.VersionID, LegalHold: &s3types.ObjectLockLegalHold{Status: status}})
			wantRefusedBy(t, profile+" puts a hold "+string(status), err, "AccessDenied", by)
		}
	}
}

// One person of compliance extends a retention; nobody shortens one, by us or at the store.
func TestN11_ARetentionIsExtendedAndNeverShortened(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	o := ending.Evidence.Object
	retain := func(who string, until time.Time) (evidence.OrderStatus, int, string) {
		order := orderOf(ending, countersign.OrderRetain, who, g.Request.ID, "")
		order.Until = until.Unix()
		return give(t, who, order)
	}
	until := time.Now().AddDate(0, 0, 90).UTC().Truncate(time.Second)
	s, status, code := retain("acme/colin", until)
	if status != http.StatusOK || s.State != evidence.OrderRetained || s.Done.Record.Verify(nil) != nil || s.Done.RetainAt.Before(until) {
		t.Fatalf("extending answers %d %s: %+v", status, code, s)
	}
	for _, kept := range s.Done.Record.Objects {
		if kept.RetainUntil.Before(until) || kept.Held {
			t.Errorf("%s is kept as %+v", kept.Key, kept)
		}
	}
	lock, err := admin(t).GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &o.Bucket, Key: &o.Key, VersionId: &o.VersionID})
	if err != nil || !lock.Retention.RetainUntilDate.Equal(until) {
		t.Errorf("the store says %+v: %v", lock, err)
	}
	if _, status, code := retain("acme/cora", until.AddDate(0, 0, -30)); status != http.StatusForbidden || code != "retention-shorter" {
		t.Errorf("shortening is answered %d %s", status, code)
	}
	for _, who := range []string{"acme/alice", "hart/carol"} {
		if _, status, code := retain(who, until.AddDate(1, 0, 0)); status != http.StatusForbidden || code != "not-entitled" {
			t.Errorf("%s extends with %d %s", who, status, code)
		}
	}
	_, err = admin(t).PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: &o.Bucket, Key: &o.Key, VersionId: &o.VersionID, Retention: &s3types.ObjectLockRetention{
		Mode: s3types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until.AddDate(0, 0, -30)),
	}})
	wantStatus(t, "shortening at the store as the bucket's owner", err, http.StatusForbidden)
	if book := ordersAbout(t, g.Request.ID); !book.Kept.RetainUntil.Equal(until) || len(book.Orders) != 1 {
		t.Errorf("in the end compliance is told %+v", book)
	}
	// Who was told so is on record (R23).
	if reads := readsBy(t, g.Request.ID, "acme/cora"); len(reads) != 1 || reads[0].What != evidence.ReadOrders {
		t.Errorf("recorded is %+v", reads)
	}
}

// By the command line: freeze, gather, check, report; a second person approves; called again it goes on.
func TestN11_ByTheCommandLineADisputeFreezesGathersAndReports(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	run, request, dir := people(t), g.Request.ID, filepath.Join(t.TempDir(), "dispute")
	dispute := []string{"audit", "dispute", request, "--out", dir, "--matter", "LG Berlin 12 O 34/26", "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA}
	if out := run("acme/cora", 0, append(dispute, "--dry-run")...); !strings.Contains(out, ending.Evidence.Object.SHA256) {
		t.Errorf("the dry run shows\n%s", out)
	}
	if _, err := os.Stat(dir); err == nil || ordersAbout(t, request).Waiting != nil {
		t.Error("the dry run did something")
	}
	if out := run("acme/cora", 0, dispute...); !strings.Contains(out, "waits for a second person") || !strings.Contains(out, "Carol Hart") {
		t.Errorf("the first call reports\n%s", out)
	}
	if out := run("acme/olivia", 0, "audit", "hold", "approve", request, "--show"); !strings.Contains(out, "LG Berlin") || ordersAbout(t, request).Kept.Held {
		t.Errorf("--show shows, and does\n%s", out)
	}
	if out := run("acme/cora", 3, "audit", "hold", "approve", request); !strings.Contains(out, "second person") {
		t.Errorf("the same person is told\n%s", out)
	}
	run("acme/olivia", 0, "audit", "hold", "approve", request)
	before := len(readsBy(t, request, "acme/cora"))
	if out := run("acme/cora", 0, dispute...); !strings.Contains(out, "held for LG Berlin 12 O 34/26") {
		t.Errorf("the second call reports\n%s", out)
	}
	for _, r := range readsBy(t, request, "acme/cora")[before:] {
		if r.What == evidence.ReadBundleFile {
			t.Error("the bundle was fetched a second time")
		}
	}
	var files []string
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		files = append(files, f.Name())
	}
	for _, want := range []string{"MANIFEST.sha256", request + ".asice", "order-001.json", "reads.json", "related.json", "log-proof.json", "report.json", "report.txt", "timeline.json"} {
		if !slices.Contains(files, want) {
			t.Errorf("there is no %s among %v", want, files)
		}
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", "MANIFEST.sha256")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the manifest doesn't hold: %v\n%s", err, out)
	}
	// A bundle that was changed on the disk is fetched again, and the rest is written anew.
	if err := os.WriteFile(filepath.Join(dir, request+".asice"), []byte("PK"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("acme/cora", 0, dispute...)
	if out := run("acme/colin", 0, "audit", "list", "--document", g.Request.Document.SHA256); !strings.Contains(out, "held") {
		t.Errorf("audit list writes\n%s", out)
	}
	if out := run("acme/colin", 0, "audit", "hold", "list"); !strings.Contains(out, request) {
		t.Errorf("audit hold list writes\n%s", out)
	}
	if out := run("acme/colin", 0, "audit", "hold", "show", request); !strings.Contains(out, "Olivia Ortiz") {
		t.Errorf("audit hold show writes\n%s", out)
	}
	run("acme/colin", 3, "audit", "retain", request, "--until", "2026-01-01", "--reason", "r")
	run("acme/colin", 0, "audit", "retain", request, "--until", time.Now().AddDate(0, 1, 0).Format(time.DateOnly), "--reason", "r", "--dry-run")
	run("acme/colin", 0, "audit", "retain", request, "--until", time.Now().AddDate(0, 1, 0).Format(time.DateOnly), "--reason", "r")
	run("acme/colin", 0, "audit", "hold", "lift", request, "--matter", "LG Berlin 12 O 34/26", "--reason", "settled")
	run("acme/cora", 0, "audit", "hold", "reject", request, "--reason", "not settled")
	run("acme/alice", 3, "audit", "hold", "propose", request, "--matter", "m", "--reason", "r")
	if !ordersAbout(t, request).Kept.Held {
		t.Error("a rejected lift lifted it")
	}
}

// A store that takes a hold and has none is not believed: nothing is recorded, and it is tried again until the hold is there.
func TestN11_AHoldThatIsNotReadBackIsNoHold(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL, "roles: [legal]", "roles: [legal, compliance]", "roles: [finance, requester]", "roles: [finance, requester, compliance]")
	r := request(t, "globex", "internal-policy")
	g := begin(t, r)
	if _, err := g.Open(t.Context(), "finance"); err != nil {
		t.Fatal(err)
	}
	if err := local.Tell(t.Context(), "globex", "machine:globex/procurement", countersign.SagaID("globex", r.ID), countersign.SignalWithdraw, countersign.Withdrawal{ID: "w", Reason: "over"}); err != nil {
		t.Fatal(err)
	}
	ending, _ := ended(t, g, countersign.Withdrawn)
	store.Answer(func(r *http.Request) bool {
		return r.Method == http.MethodPut && r.URL.Query().Has("legal-hold")
	}, http.StatusOK, "")
	hold := orderOf(ending, countersign.OrderHold, "globex/gina", r.ID, "m-1")
	hold.Tenant = "globex"
	digest, err := local.Order(t.Context(), "globex/gina", hold)
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Dial(t.Context(), "globex", "platform:operator/globex")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	id := countersign.HoldID("globex", r.ID)
	a := countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{V: 1, Tenant: "globex", Order: digest, Verdict: countersign.Approve, Actor: local.Actor("globex/paul"), IssuedAt: time.Now().Unix()}}
	bound, err := a.Answer.Digest()
	if err == nil {
		a.Proof.IDToken, err = local.ProveDigest(t.Context(), "globex/paul", bound)
	}
	if err == nil {
		err = local.Tell(t.Context(), "globex", "globex/paul", id, countersign.SignalAnswer, a)
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hold is found missing", func() bool {
		d, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(d.GetPendingActivities(), func(p *workflowpb.PendingActivityInfo) bool {
			return strings.Contains(p.GetLastFailure().GetMessage(), "reads back that it is not on")
		})
	})
	if left := versions(t, local.S3.Evidence, countersign.OrderKey("globex", r.ID, 1)); len(left) != 0 || onHold(t, ending.Evidence.Object.Key, ending.Evidence.Object.VersionID) {
		t.Errorf("without a hold it is recorded: %v", left)
	}
	store.Heal()
	var s evidence.OrderStatus
	if err := c.GetWorkflow(t.Context(), id, "").Get(t.Context(), &s); err != nil || s.State != evidence.OrderHeld || s.Done.Record.Verify(nil) != nil {
		t.Fatalf("it ends as %+v: %v", s, err)
	}
	if !onHold(t, ending.Evidence.Object.Key, ending.Evidence.Object.VersionID) {
		t.Error("it is recorded, and not held")
	}
}
