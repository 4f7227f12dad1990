package tests

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
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
	seals := newSeals(t)
	signing := x509.KeyUsageDigitalSignature
	stranger := seals.issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "stranger"}, IsCA: true}, &ecKey(t).PublicKey, seals.ca)
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		replace []string
		at      string // how the line begins at which the fault is told
		says    string
	}{
		// The bucket is strange to the AWS policies, so these two ask the store behind them.
		{"a bucket without lock", []string{local.S3.Endpoint, local.S3.Store, "bucket: evidence", "bucket: unlocked"}, "bucket: unlocked", `the bucket \"unlocked\" has no Object Lock`},
		{"a bucket without versions", []string{local.S3.Endpoint, local.S3.Store, "bucket: documents", "bucket: unlocked"}, "bucket: unlocked", `the bucket \"unlocked\" keeps no versions`},
		{"a time-stamp authority that is down", []string{local.TSA.URL, "http://127.0.0.1:9/"}, "url: http://127.0.0.1:9/", "couldn't get a time-stamp"},
		{"a second time-stamp authority that is down", []string{local.SecondTSA.URL, "http://127.0.0.1:9/"}, "url: http://127.0.0.1:9/", "couldn't get a time-stamp"},
		{"a time-stamp authority of other roots", []string{"tsa-second-ca.pem", "tsa-ca.pem"}, "url: " + local.SecondTSA.URL, "couldn't validate the certificate"},
		{"an issuer that is down", []string{local.Issuers["hart"].URL, "http://127.0.0.1:9/hart"}, "- id: hart", "issuer hart"},
		{"a certificate of another key", []string{"certificate: globex-seal.pem", "certificate: " + filepath.Join(local.Data, "tenants", "acme-seal.pem")}, "certificate: ", "is not of the key"},
		{"a key of another tenant", []string{local.Tenants["globex"].KeyARN, local.Tenants["acme"].KeyARN}, "key: ", "couldn't describe the key"},
		{"a key that is disabled", seals.disabled(t), "key: ", "is Disabled, for SIGN_VERIFY; it must be Enabled"},
		{"a key that may not be used", withoutPermission(t), "key: ", `does the profile \"globex-worker\" have the permission kms:Sign?`},
		{"an RSA key", seals.settings(t, kmstypes.KeySpecRsa2048, x509.Certificate{KeyUsage: signing}), "certificate: ", "is not accepted for a seal: want ECDSA on P-256 or P-384"},
		{"a certificate for no signatures", seals.settings(t, kmstypes.KeySpecEccNistP256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement}), "certificate: ", "has no key usage for signatures"},
		{"a certificate of an authority", seals.settings(t, kmstypes.KeySpecEccNistP256, x509.Certificate{KeyUsage: signing | x509.KeyUsageCertSign, IsCA: true}), "certificate: ", "is a certification authority's"},
		{"a certificate chain out of order", seals.settings(t, kmstypes.KeySpecEccNistP256, x509.Certificate{KeyUsage: signing}, stranger, seals.ca), "certificate: ", "signer's chain is broken"},
		{"a certificate too many", seals.settings(t, kmstypes.KeySpecEccNistP384, x509.Certificate{KeyUsage: signing}, seals.ca, seals.again(t)), "certificate: ", "carried that the chain does not need"},
		{"a certificate that is revoked", seals.revoked(t), "certificate: ", "the certificate is revoked"},
		{"a revocation list that is not there", seals.settings(t, kmstypes.KeySpecEccNistP256, x509.Certificate{KeyUsage: signing, CRLDistributionPoints: []string{"http://127.0.0.1:9/ca.crl"}}), "certificate: ", "couldn't use the revocation list at http://127.0.0.1:9/ca.crl"},
		{"a quorum larger than its people", []string{"quorum: 1", "quorum: 9"}, "quorum: 9", "needs 9 approvals, but only"},
		{"one person for two stages", []string{"roles: [legal]", "roles: [legal, counsel]", "roles: [counsel]", "roles: []"}, "quorum: 1", "need 2 approvals together, but only 1 people hold their roles; nobody counts twice"},
		{"a misspelt setting", []string{"retention:", "retenton:"}, "retenton: ", "there is no setting \"retenton\" here"},
		{"a certificate that is none", []string{"certificate: globex-seal.pem", "certificate: " + broken}, "certificate: ", "has no certificate (PEM)"},
		{"roots that are not there", []string{"roots: ../ca/tenant-ca.pem", "roots: nowhere.pem"}, "roots: nowhere", "nowhere.pem: no such file"},
		{"a webhook without its secret", []string{"secretFile: ../webhooks/globex.secret", "secretFile: nowhere.secret"}, "secretFile: ", "nowhere.secret: no such file"},
		{"a webhook with another secret", []string{"secretFile: ../webhooks/globex.secret", "secretFile: " + broken}, "secretFile: ", "is not a Standard Webhooks secret"},
		{"an AWS profile that is not there", []string{"workerProfile: globex-worker", "workerProfile: nobody"}, "workerProfile: ", `couldn't load the AWS profile \"nobody\"`},
		{"a namespace that is not there", []string{"namespace: globex", "namespace: nowhere"}, "namespace: ", `couldn't use the namespace \"nowhere\"`},
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
			toldAt(t, err, filepath.Join(dir, "globex.yaml"), c.at)
		})
	}
}

// TestR16_TheAPIFindsWrongSettingsAtBoot is the same for the other process.
func TestR16_TheAPIFindsWrongSettingsAtBoot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		replace []string
		at      string
		says    string
	}{
		{"an issuer that is down", []string{local.Issuers["hart"].URL, "http://127.0.0.1:9/hart"}, "- id: hart", "issuer hart"},
		{"a namespace that is not there", []string{"namespace: globex", "namespace: nowhere"}, "namespace: nowhere", `namespace "nowhere"`},
		{"a bucket that is not there", []string{"bucket: evidence", "bucket: nowhere"}, "bucket: nowhere", `the bucket "nowhere"`},
		{"an AWS profile that is not there", []string{"starterProfile: globex-starter", "starterProfile: nobody"}, "starterProfile: ", `couldn't load the AWS profile "nobody"`},
		{"a quorum larger than its people", []string{"quorum: 1", "quorum: 9"}, "quorum: 9", "needs 9 approvals, but only"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			dir, err := local.Tenant(t.TempDir(), "globex", c.replace...)
			if err != nil {
				t.Fatal(err)
			}
			p, _, err := local.Serve(dir)
			if err == nil {
				p.Stop()
				t.Fatal("the API started")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the start failed with\n%v\nwant %q", err, c.says)
			}
			toldAt(t, err, filepath.Join(dir, "globex.yaml"), c.at)
		})
	}
}

var place = regexp.MustCompile(`/globex\.yaml:(\d+): `)

// toldAt wants an error to name a line of the tenant's file that begins as given.
func toldAt(t *testing.T, err error, file, begins string) {
	t.Helper()
	raw, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatal(readErr)
	}
	lines := strings.Split(string(raw), "\n")
	if m := place.FindStringSubmatch(err.Error()); m == nil {
		t.Errorf("the fault is told without a place: %v", err)
	} else if n, _ := strconv.Atoi(m[1]); n < 1 || n > len(lines) || !strings.HasPrefix(strings.TrimSpace(lines[n-1]), begins) {
		t.Errorf("the fault is told at line %s, want the one that begins with %q: %v", m[1], begins, err)
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

// A mail that is put off is taken on a later attempt, and a webhook that fails each time is given up: the evidence tells both, with the attempts.
func TestM4_LateAndFailingRecipientsAreInTheEvidence(t *testing.T) {
	hooks := "webhooks:\n    - url: " + local.Mail.Page + "hooks/"
	faultyWorkers(t, "gina@globex.example", "slow@globex.example", hooks+"globex", hooks+"broken")
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Reject)
	_, report := ended(t, g, countersign.Rejected)
	if late := delivery(t, report, local.Actor("globex/gina").String()); !late.Delivered || late.Attempts != 3 || late.Problem != "" {
		t.Errorf("the mail that was put off twice shows as %+v", late)
	}
	hook := delivery(t, report, "webhook 1 at "+strings.TrimSuffix(strings.TrimPrefix(local.Mail.Page, "http://"), "/"))
	if hook.Delivered || hook.Attempts != evidence.NotifyAttempts || hook.Problem != "the webhook answered 500" {
		t.Errorf("the webhook that fails shows as %+v", hook)
	}
	var mails int
	for _, m := range inMailbox(t, "api/messages", g.Request.ID) {
		if strings.Contains(string(m), "slow@globex.example") {
			mails++
		}
	}
	if told := len(inMailbox(t, "api/webhooks", g.Request.ID)); mails != 3 || told != 2*evidence.NotifyAttempts {
		t.Errorf("%d mails were taken and %d webhooks tried", mails, told)
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
	if signed := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document-signed.pdf")); len(signed) != 0 {
		t.Errorf("%d signatures are stored", len(signed))
	}
}
