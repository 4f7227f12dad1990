package tests

import (
	"bytes"
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

func TestM4_SignedFromRequestToLockedEvidence(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)

	if ending.Evidence.Mode != "COMPLIANCE" {
		t.Errorf("the evidence is locked as %q", ending.Evidence.Mode)
	}
	for i, who := range []string{"acme/alice", "hart/carol"} {
		if d := report.Statement.Decisions[i]; !d.Counted || d.Actor != local.Actor(who) || d.Sender != local.Actor(who).String() || d.Assurance != 1 {
			t.Errorf("decision %d is %+v, want %s's own", i+1, d, who)
		}
	}
	for _, d := range report.Statement.Deliveries {
		if !d.Delivered {
			t.Errorf("%s was not told: %s", d.Recipient, d.Problem)
		}
	}
}

func TestR11_LockedEvidenceCannotBeDeletedOrShortened(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Reject)
	ending, _ := ended(t, g, countersign.Rejected)

	// Even the root of the store can't.
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	o := ending.Evidence.Object
	_, err = admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID), BypassGovernanceRetention: aws.Bool(true)})
	wantStatus(t, "deleting the version", err, http.StatusForbidden)
	_, err = admin.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID), BypassGovernanceRetention: aws.Bool(true),
		Retention: &s3types.ObjectLockRetention{Mode: s3types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(time.Now().Add(time.Minute))}})
	wantStatus(t, "shortening the lock", err, http.StatusForbidden)
}

func TestM4_Rejected(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Reject)
	_, report := ended(t, g, countersign.Rejected)
	if report.Statement.Signature != nil {
		t.Error("something was signed")
	}
}

func TestM4_WithdrawnByItsRequesterAlone(t *testing.T) {
	t.Parallel()
	g := contract(t)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	// Ben may request, so the server lets his signal pass; the policy knows that this request is not his.
	withdraw(t, g, "acme/ben", "not-mine")
	withdraw(t, g, "machine:acme/procurement", "changed-our-mind")
	_, report := ended(t, g, countersign.Withdrawn)
	w := report.Statement.Withdrawals
	if len(w) != 2 || w[0].Refusal == nil || w[0].Sender != local.Actor("acme/ben").String() || w[1].Refusal != nil {
		t.Errorf("the withdrawals are %+v", w)
	}
}

func withdraw(t *testing.T, g *stack.Signing, who, id string) {
	t.Helper()
	c, err := local.Dial(t.Context(), g.Request.Tenant, who)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	saga := countersign.SagaID(g.Request.Tenant, g.Request.ID)
	run, err := local.RunOf(t.Context(), g.Request.Tenant, saga)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SignalWorkflow(t.Context(), saga, run, countersign.SignalWithdraw, countersign.Withdrawal{ID: id, Reason: "the price changed"}); err != nil {
		t.Fatal(err)
	}
}

func TestM4_ExpiredAtItsDeadline(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "supplier-contract")
	r.Deadlines = map[string]time.Time{"counsel": time.Now().Add(12 * time.Second).UTC()}
	g := begin(t, r)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	_, report := ended(t, g, countersign.Expired)
	if !strings.Contains(report.Statement.Detail, "counsel had 0 of 1") {
		t.Errorf("the reason is %q", report.Statement.Detail)
	}
}

func TestM4_TerminatedByAnOperatorStillLeavesEvidence(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	terminate(t, g)
	_, report := ended(t, g, countersign.Terminated)
	if !strings.Contains(report.Statement.ClosedBy, "operator/acme") {
		t.Errorf("the evidence says that %q ended it", report.Statement.ClosedBy)
	}
	// The saga could tell nobody any more. The custodian does: two of legal, two of counsel, the owner; procurement by webhook.
	told := 0
	for _, m := range inMailbox(t, "api/messages", g.Request.ID) {
		if strings.Contains(string(m), "Ended (terminated)") && strings.Contains(string(m), report.Statement.ContextDigest) {
			told++
		}
	}
	hooks := inMailbox(t, "api/webhooks", g.Request.ID)
	if told != 5 || !strings.Contains(string(hooks[len(hooks)-1]), evidence.EventEnded) {
		t.Errorf("%d people were told by mail, want 5; the last webhook is %s", told, hooks[len(hooks)-1])
	}
}

// terminate ends a saga as the tenant's operator.
func terminate(t *testing.T, g *stack.Signing) {
	t.Helper()
	tenant := g.Request.Tenant
	c, err := local.Dial(t.Context(), tenant, "platform:operator/"+tenant)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.TerminateWorkflow(t.Context(), countersign.SagaID(tenant, g.Request.ID), "", "drill"); err != nil {
		t.Fatal(err)
	}
}

// The next ones break a part, so they have a tenant and workers of their own, and run one after another.

func TestM4_VoidedWhenEvidenceCannotBeLocked(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL, "releaseWithin: 1h", "releaseWithin: 3s")
	store.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/evidence/globex/evidence/")
	})
	r := request(t, "globex", "supplier-contract")
	g := begin(t, r)
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	if _, err := g.Custody(t.Context(), "voiding"); err != nil {
		t.Fatal(err)
	}
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	// A marker over two versions, as a careless tool leaves it, hides the signature and destroys nothing.
	withheld := countersign.WithheldKey("globex", r.ID, "document-signed.pdf")
	for _, key := range []string{withheld, withheld + ".other"} {
		if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("documents"), Key: aws.String(key), Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("documents"), Key: aws.String(withheld)}); err != nil {
		t.Fatal(err)
	}
	store.Heal()
	_, report := ended(t, g, countersign.Voided)
	if report.Statement.Signature == nil {
		t.Error("the evidence doesn't say that something had been signed")
	}
	if left := versions(t, "documents", withheld); len(left) != 1 {
		t.Errorf("of the signature and its neighbour are left %q, want the neighbour", left)
	}
	_, err = admin.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("documents"), Key: aws.String(withheld + ".other")})
	if err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	// What the custodian settled is what the API says.
	if s := globexStatus(t, r.ID); s.Released || s.Outcome != countersign.Voided || s.State != client.StateDone || !strings.Contains(s.Detail, "could not be locked in time") {
		t.Errorf("the API says %+v", s)
	}
}

// An attempt may have stored the evidence and not got its lock. The place is taken then, so the lock is asked for again.
func TestM4_EvidenceThatIsStoredWithoutALockIsLocked(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL)
	store.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/evidence/globex/evidence/")
	})
	r := request(t, "globex", "supplier-contract")
	g := begin(t, r)
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	<-store.Hit()
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := activities.ReadObject(t.Context(), admin, "globex", countersign.Object{Bucket: "documents", Key: countersign.WithheldKey("globex", r.ID, "completed.asice")}, evidence.MaxBundleSize)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("evidence"), Key: aws.String(countersign.EvidenceKey("globex", r.ID)), Body: bytes.NewReader(sealed)}); err != nil {
		t.Fatal(err)
	}
	store.Heal()
	ending, _ := ended(t, g, countersign.Completed)
	o := ending.Evidence.Object
	lock, err := admin.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if err != nil || lock.Retention.Mode != s3types.ObjectLockRetentionModeCompliance {
		t.Errorf("its lock is %+v, %v", lock, err)
	}
}

// globexStatus asks an API of globex, made for this, where a signing stands.
func globexStatus(t *testing.T, id string) client.Status {
	t.Helper()
	dir, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	server, address, err := local.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	c, err := client.New(address, "globex", func(ctx context.Context) (string, error) { return local.Token(ctx, "machine:globex/procurement") })
	if err != nil {
		t.Fatal(err)
	}
	status, err := c.Status(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// fault puts a proxy before a part of the stack.
func fault(t *testing.T, target string) *stack.Fault {
	t.Helper()
	f, err := stack.NewFault(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// faultyWorkers run the tenant globex with some of its settings replaced.
func faultyWorkers(t *testing.T, replace ...string) *stack.Process {
	t.Helper()
	dir, err := local.Tenant(t.TempDir(), "globex", replace...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}
