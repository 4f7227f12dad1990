package tests

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Parts that don't work: found at boot where that is possible, and else an ending that says so. These use globex, one after another.

// TestR16_WrongSettingsAreFoundAtBoot starts workers on settings that a signing would only trip over at its last step.
func TestR16_WrongSettingsAreFoundAtBoot(t *testing.T) {
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("unlocked")}); err != nil {
		t.Fatal(err)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::unlocked","arn:aws:s3:::unlocked/*"]}]}`
	if _, err := admin.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("unlocked"), Policy: aws.String(policy)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		replace []string
		says    string
	}{
		{"a bucket without lock", []string{"bucket: evidence", "bucket: unlocked"}, `the bucket \"unlocked\" has no Object Lock`},
		{"a bucket without versions", []string{"bucket: documents", "bucket: unlocked"}, `the bucket \"unlocked\" keeps no versions`},
		{"a time-stamp authority that is down", []string{local.TSA.URL, "http://127.0.0.1:9/"}, "couldn't get a time-stamp"},
		{"an issuer that is down", []string{local.Issuers["hart"].URL, "http://127.0.0.1:9/hart"}, "issuer hart"},
		{"a certificate of another key", []string{"certificate: globex-seal.pem", "certificate: " + filepath.Join(local.Data, "tenants", "acme-seal.pem")}, "is not of the key"},
		{"a key of another tenant", []string{local.Tenants["globex"].KeyARN, local.Tenants["acme"].KeyARN}, "couldn't describe the key"},
		{"a quorum larger than its people", []string{"quorum: 1", "quorum: 9"}, "quorum is 9, but only"},
		{"a misspelt setting", []string{"retention:", "retenton:"}, "there is no setting \"retenton\" here"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			dir, err := local.Tenant(t.TempDir(), "globex", c.replace...)
			if err != nil {
				t.Fatal(err)
			}
			p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
			if err == nil {
				p.Stop()
				t.Fatal("the workers started")
			}
			if !strings.Contains(err.Error(), c.says) && !strings.Contains(err.Error(), strings.ReplaceAll(c.says, `\"`, `"`)) {
				t.Errorf("the start failed with\n%v\nwant %q", err, c.says)
			}
		})
	}
}

func TestM4_FailedWhenTheKeyIsDisabledAndEvidencedWhenItIsBack(t *testing.T) {
	faultyWorkers(t)
	keys, err := local.KMSClient(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	key := aws.String(local.Tenants["globex"].KeyARN)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key}); err != nil {
		t.Fatal(err)
	}
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	if _, err := g.Custody(t.Context(), "sealing"); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: key}); err != nil {
		t.Fatal(err)
	}
	_, report := ended(t, g, countersign.Failed)
	if !strings.Contains(report.Statement.Detail, "the tenant's key can't be used") {
		t.Errorf("the reason is %q", report.Statement.Detail)
	}
}

// A time-stamp authority that is down is waited for; a local clock never stands in for it.
func TestR11_SigningWaitsForTheTimestampAuthority(t *testing.T) {
	tsa := fault(t, local.TSA.URL)
	faultyWorkers(t, "url: "+local.TSA.URL, "url: "+tsa.URL+"/")
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	tsa.Break(func(*http.Request) bool { return true })
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	<-tsa.Hit()
	<-tsa.Hit()
	if status, err := g.Status(t.Context()); err != nil || status.State != "signing" {
		t.Errorf("without time-stamps the signing is in %q (%v), want it to wait", status.State, err)
	}
	tsa.Heal()
	ended(t, g, countersign.Completed)
}

// Settings that change while a signing is in flight: nobody decides under an issuer that the evidence's reader would not know, and what was admitted
// stays readable.
func TestR16_SettingsThatChangeInFlightDoNotBreakTheEvidence(t *testing.T) {
	before := faultyWorkers(t)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	before.Stop()
	changed := faultyWorkers(t, "evidenceAudience: "+local.Issuers["hart"].EvidenceClient, "evidenceAudience: another-client")
	if r := record(t, g, decide(t, g, "hart/chris", "counsel", countersign.Approve)); r.Refusal == nil || r.Refusal.Code != "issuer-changed" {
		t.Errorf("the decision became %+v", r)
	}
	changed.Stop()
	faultyWorkers(t, "maxBytes: ", "maxBytes: 1 # ")
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
}

// A dead recipient never blocks a signing, and the evidence shows it.
func TestM4_DeadRecipientsDoNotBlockAndAreInTheEvidence(t *testing.T) {
	hooks := "webhooks:\n    - url: " + local.Mail.Page + "hooks/"
	faultyWorkers(t, "gina@globex.example", "full@globex.example", hooks+"globex", hooks+"gone")
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	mailbox := delivery(t, report, local.Actor("globex/gina").String())
	if mailbox.Delivered || !strings.Contains(mailbox.Problem, "552") {
		t.Errorf("the full mailbox shows as %+v", mailbox)
	}
	hook := delivery(t, report, "webhook 1 at "+strings.TrimSuffix(strings.TrimPrefix(local.Mail.Page, "http://"), "/"))
	if hook.Delivered || !strings.Contains(hook.Problem, "gone (410)") {
		t.Errorf("the webhook that is gone shows as %+v", hook)
	}
	if chris := delivery(t, report, local.Actor("hart/chris").String()); !chris.Delivered {
		t.Errorf("chris was not told: %+v", chris)
	}
}

func delivery(t *testing.T, report *evidence.Report, recipient string) evidence.Delivery {
	t.Helper()
	for _, d := range report.Statement.Deliveries {
		if d.Recipient == recipient {
			return d
		}
	}
	t.Fatalf("the evidence doesn't say whether %s was told", recipient)
	return evidence.Delivery{}
}

// Gina approves, loses her role, and then the last approval comes: the quorum was met once, and the key is not used.
func TestR14_RevokedBetweenApprovalAndSigning(t *testing.T) {
	dir, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Tenant(dir, "globex", "roles: [legal]", "roles: [reader]", "roles: [finance, requester]", "roles: [finance, requester, legal]"); err != nil {
		t.Fatal(err)
	}
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Revoked)
	if report.Statement.Signature != nil || !strings.Contains(report.Statement.Detail, `no longer holds the role "legal"`) {
		t.Errorf("it ended with %q, signed as %+v", report.Statement.Detail, report.Statement.Signature)
	}
	if signed := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document.p7s")); len(signed) != 0 {
		t.Errorf("%d signatures are stored", len(signed))
	}
}
