package tests

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
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
	if err := c.SignalWorkflow(t.Context(), countersign.SagaID(g.Request.Tenant, g.Request.ID), "", countersign.SignalWithdraw, countersign.Withdrawal{ID: id, Reason: "the price changed"}); err != nil {
		t.Fatal(err)
	}
}

func TestM4_ExpiredAtItsDeadline(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "supplier-contract")
	r.Deadlines = map[string]time.Time{"counsel": time.Now().Add(4 * time.Second).UTC()}
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
	store.Heal()
	_, report := ended(t, g, countersign.Voided)
	if report.Statement.Signature == nil {
		t.Error("the evidence doesn't say that something had been signed")
	}
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	_, err = admin.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("documents"), Key: aws.String(countersign.WithheldKey("globex", r.ID, "document.p7s"))})
	wantStatus(t, "reading the withheld signature", err, http.StatusNotFound)
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
