package tests

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// globexAPI starts workers and an API of globex for a test, and gives a client of it for each who asks.
func globexAPI(t *testing.T) func(who string) *client.Client {
	t.Helper()
	as, _ := globexAt(t, t.TempDir())
	return as
}

// globexAt starts them on a tenant's file in a directory of the test's own, with some of its settings replaced, and says where the API answers.
func globexAt(t *testing.T, dir string, replace ...string) (as func(who string) *client.Client, address string) {
	t.Helper()
	dir, err := local.Tenant(dir, "globex", replace...)
	if err != nil {
		t.Fatal(err)
	}
	workers, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(workers.Stop)
	server, address, err := local.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return func(who string) *client.Client {
		c, err := client.New(address, "globex", func(ctx context.Context) (string, error) { return local.Token(ctx, who) })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, address
}

// supplied runs a signing of globex to its end.
func supplied(t *testing.T, id string) (*stack.Signing, evidence.Ending) {
	t.Helper()
	r := request(t, "globex", "supplier-contract")
	r.ID = id
	g := begin(t, r)
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	ending, _ := ended(t, g, countersign.Completed)
	return g, ending
}

// storedOf is what is stored in the place of a bundle, as its ending names it.
func storedOf(t *testing.T, ending evidence.Ending) []byte {
	t.Helper()
	store, err := local.S3Client(t.Context(), "globex-starter")
	if err != nil {
		t.Fatal(err)
	}
	o := ending.Evidence.Object
	o.SHA256 = ending.Evidence.Concealed
	stored, err := activities.ReadObject(t.Context(), store, "globex", o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// spelled says whether a text holds a string as it is, as JSON, or in base64.
func spelled(text []byte, s string) bool {
	escaped, _ := json.Marshal(s)
	for _, needle := range []string{s, strings.Trim(string(escaped), `"`)} {
		if bytes.Contains(text, []byte(needle)) || strings.Contains(decoded(text), needle) {
			return true
		}
	}
	return false
}

// decoded is all that a text holds in base64, at each alignment.
func decoded(text []byte) string {
	var all strings.Builder
	for _, m := range regexp.MustCompile(`[A-Za-z0-9+/]{8,}`).FindAll(text, -1) {
		for cut := range 4 {
			part := m[min(cut, len(m)):]
			if plain, err := base64.StdEncoding.DecodeString(string(part[:len(part)/4*4])); err == nil {
				all.Write(plain)
			}
		}
	}
	return all.String()
}

func TestN13_LockedEvidenceSaysNothingOfAnybodyAndIsHandedOutWhole(t *testing.T) {
	as := globexAPI(t)
	g, ending := supplied(t, requestID(t))
	if ending.Evidence.Concealed == "" {
		t.Fatal("the evidence of a tenant with a key for personal data is locked plain")
	}
	plain := bundle(t, "globex", ending)
	stored := storedOf(t, ending)
	people, err := evidence.PersonalData(plain)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range people {
		for _, s := range p.Strings {
			if len(s) < 6 {
				continue // so short that cipher text may have it as well
			}
			if !spelled(plain, s) {
				t.Errorf("the check itself doesn't find %q in the plain bundle", s)
			}
			if found++; spelled(stored, s) {
				t.Errorf("what is locked says %q", s)
			}
		}
	}
	// What is personal is not left to the code that looks for it.
	claims, _, _ := strings.Cut(strings.SplitN(decisionToken(t, plain), ".", 2)[1], ".")
	for _, s := range []string{"Gina Gross", "g-2001", "Chris Lowe", "h-3002", "gina@globex", "Globex procurement", claims} {
		if spelled(stored, s) {
			t.Errorf("what is locked says %q", s)
		}
	}
	if found < 10 || !slices.ContainsFunc(people, func(p evidence.Personal) bool { return slices.Contains(p.Strings, "Gina Gross") }) {
		t.Errorf("%d strings of people were looked for, of %v", found, people)
	}
	if left := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, countersign.WithheldBundle(countersign.Completed))); len(left) > 0 {
		t.Errorf("the plain copy that waited for the lock is still there: %q", left)
	}
	if ending.Log == nil || !strings.Contains(string(ending.Log.Entry), `"concealed":"`+ending.Evidence.Concealed+`"`) {
		t.Errorf("the log's entry doesn't name what is stored: %+v", ending.Log)
	}
	body, shredded, err := as("machine:globex/procurement").EvidenceFile(t.Context(), g.Request.ID, ending.Evidence)
	if err != nil || shredded || !bytes.Equal(body, plain) {
		t.Errorf("the API gave %d bytes, shredded %v, %v", len(body), shredded, err)
	}
}

// decisionToken is the ID token of the first decision in a bundle.
func decisionToken(t *testing.T, raw []byte) string {
	t.Helper()
	b, err := evidence.OpenBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := b.File("identity/decision-001.json")
	var d struct {
		Signed countersign.SignedDecision `json:"signed"`
	}
	if err := json.Unmarshal(file, &d); err != nil || d.Signed.Proof.IDToken == "" {
		t.Fatalf("the first decision has no token: %v", err)
	}
	return d.Signed.Proof.IDToken
}

// proposal is what somebody of globex's compliance proposes, with its proof.
func proposal(t *testing.T, who, person string, dryRun bool) countersign.SignedShredding {
	t.Helper()
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		t.Fatal(err)
	}
	s := countersign.Shredding{
		V: countersign.Version, Tenant: "globex", Person: local.Actor(person), Reason: "erasure asked for", DryRun: dryRun, Nonce: hex.EncodeToString(nonce),
		Actor: local.Actor(who), IssuedAt: time.Now().Unix(),
	}
	digest, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	token, err := local.ProveDigest(t.Context(), who, digest)
	if err != nil {
		t.Fatal(err)
	}
	return countersign.SignedShredding{Shredding: s, Proof: countersign.Proof{IDToken: token}}
}

// approval is what somebody says to a proposal, with its proof.
func approval(t *testing.T, who string, of evidence.ShreddingStatus) countersign.SignedOrderAnswer {
	t.Helper()
	a := countersign.OrderAnswer{
		V: countersign.Version, Tenant: "globex", Shredding: of.Digest, Key: of.Key, Verdict: countersign.Approve, Actor: local.Actor(who), IssuedAt: time.Now().Unix(),
	}
	digest, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	token, err := local.ProveDigest(t.Context(), who, digest)
	if err != nil {
		t.Fatal(err)
	}
	return countersign.SignedOrderAnswer{Answer: a, Proof: countersign.Proof{IDToken: token}}
}

// wantRefusal wants the API to refuse with a code.
func wantRefusal(t *testing.T, what string, err error, code string) {
	t.Helper()
	var p *client.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("%s answered %v, want %s", what, err, code)
	}
}

func TestN13_OfOnePersonByTwoOthersAndTheRestStillProvesWhatItProved(t *testing.T) {
	as := globexAPI(t)
	g, ending := supplied(t, requestID(t))
	plain, before := bundle(t, "globex", ending), storedOf(t, ending)

	// Nobody does it alone, and nobody who is not of compliance does it at all.
	_, err := as("globex/gina").ProposeShredding(t.Context(), proposal(t, "globex/gina", "hart/chris", false))
	wantRefusal(t, "a proposal by legal", err, "not-entitled")
	_, err = as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/greta", false))
	wantRefusal(t, "a proposal about herself", err, "own-data")
	dry, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", true))
	if err != nil || dry.State != evidence.OrderDryRun || dry.Key == "" {
		t.Fatalf("a dry run is %+v, %v", dry, err)
	}
	proposed, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", false))
	if err != nil || proposed.State != evidence.OrderProposed || proposed.Key != dry.Key {
		t.Fatalf("the proposal is %+v, %v", proposed, err)
	}
	_, err = as("globex/greta").AnswerShredding(t.Context(), approval(t, "globex/greta", proposed))
	wantRefusal(t, "her own approval", err, "same-person")
	other := proposed
	other.Key = strings.Repeat("0", 32)
	_, err = as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", other))
	wantRefusal(t, "an approval of another key", err, "other-order")
	if body, shredded, err := as("globex/greta").EvidenceFile(t.Context(), g.Request.ID, ending.Evidence); err != nil || shredded || !bytes.Equal(body, plain) {
		t.Fatalf("before it was approved, the API gave %d bytes, shredded %v, %v", len(body), shredded, err)
	}
	done, err := as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", proposed))
	if err != nil || done.State != evidence.OrderShredded {
		t.Fatalf("the approved shredding is %+v, %v", done, err)
	}
	for _, key := range []string{countersign.SubjectKey("globex", proposed.Key), countersign.SubjectOfKey("globex", local.Actor("globex/gina"))} {
		if left := versions(t, "documents", key); len(left) > 0 {
			t.Errorf("%s has versions left: %q", key, left)
		}
	}
	record, err := json.Marshal(done.Done.Record)
	if err != nil || !strings.Contains(string(record), proposed.Key) || spelled(record, "g-2001") || spelled(record, countersign.PersonDigest("globex", local.Actor("globex/gina"))) {
		t.Errorf("the record is %s, %v", record, err)
	}

	// What is locked is as it was, and what is handed out has nothing of her, and all of the others.
	if !bytes.Equal(storedOf(t, ending), before) {
		t.Error("what is locked has changed")
	}
	body, shredded, err := as("globex/greta").EvidenceFile(t.Context(), g.Request.ID, ending.Evidence)
	if err != nil || !shredded {
		t.Fatalf("after it, the API gave %d bytes, shredded %v, %v", len(body), shredded, err)
	}
	c, keys, err := shred.ReadFile(body)
	if err != nil {
		t.Fatal(err)
	}
	left, _, err := c.Reveal(keys)
	if err != nil {
		t.Fatal(err)
	}
	people, err := evidence.PersonalData(plain)
	if err != nil {
		t.Fatal(err)
	}
	hers := people[slices.IndexFunc(people, func(p evidence.Personal) bool { return p.Actor == local.Actor("globex/gina") })].Strings
	for _, p := range people {
		for _, s := range p.Strings {
			if gone := slices.Contains(hers, s); len(s) > 5 && spelled(left, s) == gone {
				t.Errorf("%q of %s is left: %v", s, p.Actor, !gone)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "left.asice"+shred.FileSuffix)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	cli := func(args ...string) (string, int) {
		out, complaint, code, err := local.CLI(t.Context(), "", t.TempDir(), "", args...)
		if err != nil {
			t.Fatal(err)
		}
		return out + complaint, code
	}
	verify := []string{"audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA}
	out, code := cli(verify...)
	for _, want := range []string{"pass container", "pass seal", "pass files", "not recorded shredded personal data of 1 of 3 people (key " + proposed.Key + ")", ending.Evidence.Concealed} {
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("audit verify ended with %d and says nothing of %q:\n%s", code, want, out)
		}
	}
	// The log tells the shredded bytes that were locked from any others.
	proof, err := as("globex/greta").EvidenceProof(t.Context(), g.Request.ID)
	if err == nil {
		err = os.WriteFile(file+".log.json", proof, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	verify = append(verify, "--log-key", local.Tenants["globex"].LogPublicKey)
	if out, code := cli(verify...); code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), "pass log ending") {
		t.Errorf("with the log, audit verify ended with %d:\n%s", code, out)
	}
	_, lost, err := c.Reveal(keys)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(body)
	forged[len(forged)-len(left)+lost[0].Offset] ^= 1
	if err := os.WriteFile(file, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := cli(verify...); code != 6 || !strings.Contains(strings.Join(strings.Fields(out), " "), "fail log ending") {
		t.Errorf("of other shredded bytes, audit verify ended with %d:\n%s", code, out)
	}
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	signed, err := evidence.SignedPDFOf(c, keys)
	if want, wrong := evidence.SignedPDF(plain); err != nil || wrong != nil || len(want) == 0 || !bytes.Equal(signed, want) {
		t.Errorf("the signed PDF of what is left has %d bytes, of the bundle %d: %v, %v", len(signed), len(want), err, wrong)
	}

	out, code = cli("audit", "timeline", file)
	if code == 0 || !strings.Contains(out, "was shredded") {
		t.Errorf("audit timeline ended with %d:\n%s", code, out)
	}

	// Whoever signs again gets another key, and the old evidence stays as it is.
	_, ending = supplied(t, requestID(t)+"-again")
	if again := bundle(t, "globex", ending); !spelled(again, "Gina Gross") || spelled(storedOf(t, ending), "Gina Gross") {
		t.Error("a later signing of hers is not concealed, or not whole")
	}
	again, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", true))
	if err != nil || again.Key == "" || again.Key == proposed.Key {
		t.Errorf("her key is now %q, and was %q: %v", again.Key, proposed.Key, err)
	}
}

func TestN13_NobodyButAWorkerTouchesTheKeysOfPeople(t *testing.T) {
	globexAPI(t)
	supplied(t, requestID(t))
	worker, err := local.S3Client(t.Context(), "globex-worker")
	if err != nil {
		t.Fatal(err)
	}
	person := countersign.SubjectOfKey("globex", local.Actor("hart/chris"))
	body, err := activities.ReadObject(t.Context(), worker, "globex", countersign.Object{Bucket: "documents", Key: person}, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	var whose struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &whose); err != nil {
		t.Fatal(err)
	}
	key := aws.String(countersign.SubjectKey("globex", whose.ID))
	version := versions(t, "documents", *key)[0]
	for _, profile := range []string{"globex-starter", "acme-worker", "acme-starter"} {
		c, err := local.S3Client(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("documents"), Key: key, VersionId: aws.String(version)})
		wantStatus(t, profile+" deleting a key", err, http.StatusForbidden)
		_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("documents"), Key: key, Body: strings.NewReader("{}"), Tagging: aws.String("tenant=globex")})
		wantStatus(t, profile+" storing a key", err, http.StatusForbidden)
		_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("documents"), Key: aws.String(person)})
		wantStatus(t, profile+" asking whose a key is", err, http.StatusForbidden)
	}
	settings, err := activities.LoadSettings(local.Tenants["globex"].File)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := activities.ReadObject(t.Context(), worker, "globex", countersign.Object{Bucket: "documents", Key: *key}, 1<<14)
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Wrapped []byte `json:"wrapped"`
	}
	if err := json.Unmarshal(wrapped, &stored); err != nil {
		t.Fatal(err)
	}
	for profile, context := range map[string]map[string]string{
		"acme-worker":    {"tenant": "globex", "subject": whose.ID},
		"acme-starter":   {"tenant": "acme", "subject": whose.ID},
		"globex-worker":  {"subject": whose.ID},
		"globex-starter": {"tenant": "acme", "subject": whose.ID},
	} {
		c, err := local.KMSClient(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Decrypt(t.Context(), &kms.DecryptInput{KeyId: aws.String(settings.Evidence.PersonalDataKey), CiphertextBlob: stored.Wrapped, EncryptionContext: context})
		var told smithy.APIError
		if !errors.As(err, &told) || told.ErrorCode() != "AccessDeniedException" {
			t.Errorf("%s opening a key as %v answered %v", profile, context, err)
		}
	}
}

// TestN13_WrongKeysAreFoundAtBoot starts workers on keys that evidence would only trip over when it is to be locked.
func TestN13_WrongKeysAreFoundAtBoot(t *testing.T) {
	admin, err := local.KMSClient(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	symmetric := func(tenant string) string {
		made, err := admin.CreateKey(t.Context(), &kms.CreateKeyInput{Tags: []kmstypes.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String(tenant)}}})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(made.KeyMetadata.Arn)
	}
	curve, _ := newSeals(t).made(t, kmstypes.KeySpecEccNistP256)
	disabled := symmetric("globex")
	if _, err := admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: aws.String(disabled)}); err != nil {
		t.Fatal(err)
	}
	refusing := func(call string) string {
		p := fault(t, local.KMS.Endpoint)
		p.Answer(func(r *http.Request) bool { return r.Header.Get("X-Amz-Target") == "TrentService."+call }, http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"not authorized"}`)
		return p.URL
	}
	settings, err := activities.LoadSettings(local.Tenants["globex"].File)
	if err != nil {
		t.Fatal(err)
	}
	own := settings.Evidence.PersonalDataKey
	for _, c := range []struct {
		name, key, says string
		kms             string
	}{
		{name: "a signing key", key: curve, says: "it must be Enabled, of the kind SYMMETRIC_DEFAULT, for ENCRYPT_DECRYPT"},
		{name: "a key that is disabled", key: disabled, says: "is Disabled"},
		{name: "a key of another tenant", key: symmetric("acme"), says: "couldn't describe the key"},
		{name: "a key that makes none", key: own, says: "have the permission kms:GenerateDataKey?", kms: refusing("GenerateDataKey")},
		{name: "a key that opens none", key: own, says: "have the permission kms:Decrypt?", kms: refusing("Decrypt")},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			replace := []string{"personalDataKey: " + own, "personalDataKey: " + c.key}
			if c.kms != "" {
				replace = append(replace, "kms: "+local.KMS.Endpoint, "kms: "+c.kms)
			}
			dir, err := local.Tenant(t.TempDir(), "globex", replace...)
			if err != nil {
				t.Fatal(err)
			}
			p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
			if err == nil {
				p.Stop()
				t.Fatal("the workers started")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the start failed with\n%v\nwant %q", err, c.says)
			}
			toldAt(t, err, filepath.Join(dir, "globex.yaml"), "personalDataKey: ")
		})
	}
}

func TestN13_NothingGoesThatIsUnderALegalHold(t *testing.T) {
	as := globexAPI(t)
	g, ending := supplied(t, requestID(t))
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderHold)
	_, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "hart/chris", false))
	wantRefusal(t, "a proposal about somebody whose evidence is held", err, "held")
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderLift)
	proposed, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "hart/chris", true))
	if err != nil || proposed.State != evidence.OrderDryRun {
		t.Errorf("once the hold was lifted, a dry run is %+v, %v", proposed, err)
	}
}
