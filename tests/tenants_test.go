package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	enumspb "go.temporal.io/api/enums/v1"
	temporal "go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// TestR12_AValidTokenWithoutARightIsRefusedAndRecorded lets Olivia try to decide. She is who she says, and may look; nothing gives her the right to decide.
// The API tells her so, and what she sends nevertheless is in the evidence, with its reason.
func TestR12_AValidTokenWithoutARightIsRefusedAndRecorded(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/acme/signings/" + g.Request.ID
	if code := call(t, "acme/olivia", "GET", path, nil, nil, nil); code != http.StatusOK {
		t.Errorf("looking answers her with %d", code)
	}
	wantProblem(t, "acme/olivia", "GET", path+"/decision?verdict=approve", nil, nil, http.StatusForbidden, "not-eligible", "")
	wantProblem(t, "acme/olivia", "POST", path+"/withdraw", []byte(`{"reason":"no"}`), nil, http.StatusForbidden, "not-entitled", "only its requester takes a request back")

	d := g.Decision(status, "acme/olivia", "legal", countersign.Approve)
	token, err := local.Prove(t.Context(), "acme/olivia", d)
	if err != nil {
		t.Fatal(err)
	}
	signed := countersign.SignedDecision{ID: "olivia-1", Decision: d, Proof: countersign.Proof{IDToken: token}}
	body, err := json.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	var accepted client.Accepted
	if code := call(t, "acme/olivia", "POST", path+"/decisions", nil, body, &accepted); code != http.StatusAccepted {
		t.Errorf("passing her decision on answers %d", code)
	}
	refused(t, g, record(t, g, signed), "not-entitled", "nothing gives you this right")

	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	first := report.Statement.Decisions[0]
	if first.Counted || first.Actor != local.Actor("acme/olivia") || first.Sender != local.Actor("acme/olivia").String() || first.Refusal == nil || first.Refusal.Code != "not-entitled" {
		t.Errorf("the evidence has her decision as %+v", first)
	}
}

// TestR17_TheTenantIsInEveryKeyMessageAndContext finds the tenant wherever a signing leaves something: in the prefix and the tag of each object, in each mail and
// webhook, and in the context that people decide on.
func TestR17_TheTenantIsInEveryKeyMessageAndContext(t *testing.T) {
	t.Parallel()
	var uploaded countersign.Document
	if code := call(t, "machine:acme/procurement", "PUT", "/v1/acme/documents", http.Header{"Content-Type": {"application/pdf"}}, pdf(t), &uploaded); code != http.StatusCreated {
		t.Fatalf("the upload answered %d", code)
	}
	g := begin(t, countersign.Request{V: 1, Tenant: "acme", ID: requestID(t), Purpose: "supplier-contract", Title: "Agreement", Document: uploaded})
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)

	withheld := countersign.Object{Bucket: "documents", Key: countersign.WithheldKey("acme", g.Request.ID, "document-signed.pdf")}
	for what, o := range map[string]countersign.Object{"document": uploaded, "intent": *report.Statement.Intent.Stored, "signature": withheld, "evidence": ending.Evidence.Object} {
		if !strings.HasPrefix(o.Key, "acme/") {
			t.Errorf("the %s lies at %q", what, o.Key)
		}
		if got := tags(t, o); got["tenant"] != "acme" || len(got) != 1 {
			t.Errorf("the %s is tagged %v, want tenant=acme", what, got)
		}
	}
	if c := report.Statement.Context; c.Tenant != "acme" || !strings.HasPrefix(c.Signing, "saga/acme/") {
		t.Errorf("the context is of %q, %q", c.Tenant, c.Signing)
	}
	hooks := inMailbox(t, "api/webhooks", g.Request.ID)
	for _, raw := range hooks {
		var hook struct{ Name, Body string }
		var told struct{ Data evidence.Event }
		if err := json.Unmarshal(raw, &hook); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(hook.Body), &told); err != nil {
			t.Fatal(err)
		}
		if hook.Name != "acme" || told.Data.Tenant != "acme" {
			t.Errorf("the webhook %q tells of tenant %q", hook.Name, told.Data.Tenant)
		}
	}
	mails := inMailbox(t, "api/messages", g.Request.ID)
	for _, m := range mails {
		if !strings.Contains(string(m), "signing@acme.example") || !strings.Contains(string(m), report.Statement.ContextDigest) {
			t.Errorf("a mail doesn't come from acme, about this transaction: %s", m)
		}
	}
	if len(hooks) == 0 || len(mails) == 0 {
		t.Errorf("%d webhooks and %d mails came", len(hooks), len(mails))
	}
}

// TestR17_AnotherTenantInItsPlaceFails puts the one tenant where the other belongs, at each place in turn.
func TestR17_AnotherTenantInItsPlaceFails(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}

	// In a decision: it is another transaction's, though it is proven.
	swapped := g.Decision(status, "acme/alice", "legal", countersign.Approve)
	swapped.Tenant = "globex"
	signed, err := g.Put(t.Context(), "acme/alice", swapped)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, g, record(t, g, signed), "other-signing", "")

	// In the context: another digest, which nobody approved.
	transaction := status.Transaction
	transaction.Tenant = "globex"
	if digest, err := transaction.Digest(); err != nil || digest == status.Context {
		t.Errorf("the context of another tenant has the digest %s (%v)", digest, err)
	}

	// In a request: under globex's id the namespace doesn't take it, under acme's id it is no request of globex's.
	r := g.Request
	r.Tenant, r.ID = "globex", "swapped-tenant"
	for id, says := range map[string]string{countersign.CustodianID("globex", r.ID): "Request unauthorized", countersign.CustodianID("acme", r.ID): "the workflow id must be"} {
		c, err := local.Dial(t.Context(), "acme", "machine:acme/procurement")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		run, err := c.ExecuteWorkflow(t.Context(), temporal.StartWorkflowOptions{ID: id, TaskQueue: countersign.TaskQueueSigning, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE}, countersign.WorkflowRequestSigning, r)
		if err == nil {
			own, dialled := local.Dial(t.Context(), "acme", "platform:starter/acme")
			if dialled != nil {
				t.Fatal(dialled)
			}
			defer own.Close()
			err = own.GetWorkflow(t.Context(), run.GetID(), run.GetRunID()).Get(t.Context(), nil)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("started as %s: %v, want %q", id, err, says)
		}
	}

	// In a key: neither process of globex reads or writes what is acme's, and its worker does not sign with acme's key.
	for _, profile := range []string{"globex-worker", "globex-starter"} {
		store, err := local.S3Client(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(g.Request.Document.Bucket), Key: aws.String(g.Request.Document.Key)})
		wantStatus(t, profile+" reading acme's document", err, http.StatusForbidden)
		_, err = store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("evidence"), Key: aws.String(countersign.EvidenceKey("acme", "planted")), Body: strings.NewReader("x")})
		wantStatus(t, profile+" writing acme's evidence", err, http.StatusForbidden)
	}
	keys, err := local.KMSClient(t.Context(), "globex-worker")
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.Sign(t.Context(), &kms.SignInput{KeyId: aws.String(local.Tenants["acme"].KeyARN), Message: []byte("x"), SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256})
	wantStatus(t, "globex's worker signing with acme's key", err, http.StatusBadRequest)
}

// tags are the tags of an object, as the root of the store sees them.
func tags(t *testing.T, o countersign.Object) map[string]string {
	t.Helper()
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	in := &s3.GetObjectTaggingInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key)}
	if o.VersionID != "" {
		in.VersionId = aws.String(o.VersionID)
	}
	out, err := admin.GetObjectTagging(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, tag := range out.TagSet {
		found[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return found
}
