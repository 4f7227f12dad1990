package tests

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
)

const quantumCheck = "post-quantum signature"

// TestR15_PostQuantumSignatureBesideTheSeal verifies acme's evidence as a stranger does who has acme's ML-DSA key, has none, or has another one; and what
// whoever has the seal's key could make of it, which is also what somebody with a quantum computer could.
func TestR15_PostQuantumSignatureBesideTheSeal(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	raw := bundle(t, "acme", ending)
	acme := quantumKey(t, local.Tenants["acme"].PostQuantumPublicKey)
	private, err := mldsa.GenerateKey(mldsa.MLDSA65())
	if err != nil {
		t.Fatal(err)
	}
	_, another := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa65, "acme")
	found(t, raw, evidence.NotRecorded, "signature holds, key not anchored")
	found(t, raw, evidence.Pass, "every other file, signed by the given ML_DSA_65 key", acme)
	found(t, raw, evidence.Pass, "every other file, signed by the given ML_DSA_65 key", quantumKey(t, another), acme)
	found(t, raw, evidence.Fail, "which is none of those given", quantumKey(t, another))
	if !slices.ContainsFunc(report.Statement.Controls, func(c evidence.Control) bool { return c.ID == "post-quantum-signature" }) {
		t.Errorf("the statement's controls don't name it: %+v", report.Statement.Controls)
	}

	original, err := evidence.OpenBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	files := original.Files()
	without := slices.DeleteFunc(slices.Clone(files), func(f evidence.File) bool { return strings.HasPrefix(f.Name, "postquantum/") })
	change := func(name, from, to string) []evidence.File {
		changed := slices.Clone(files)
		i := slices.IndexFunc(changed, func(f evidence.File) bool { return f.Name == name })
		changed[i].Bytes = bytes.Replace(changed[i].Bytes, []byte(from), []byte(to), 1)
		if bytes.Equal(changed[i].Bytes, files[i].Bytes) {
			t.Fatalf("%s has no %q", name, from)
		}
		return changed
	}
	_, value, _ := strings.Cut(string(files[len(files)-1].Bytes), `"signature": "`)
	flipped := "A"
	if value[0] == 'A' {
		flipped = "B"
	}
	for name, c := range map[string]struct {
		files []evidence.File
		says  string
	}{
		"taken away":                     {without, "it was taken away"},
		"one of its files taken away":    {files[:len(files)-1], "the last files must be"},
		"another worker":                 {change("worker.json", `"sdk": "`, `"sdk": "x`), "doesn't have the digests of the other files"},
		"a list of something else":       {change("postquantum/files.sha512", "  worker.json", "  wooker.json"), "doesn't have the digests of the other files"},
		"another signature":              {change("postquantum/signature.json", value[:20], flipped+value[1:20]), "the signature is not of the key"},
		"another algorithm":              {change("postquantum/signature.json", "ML_DSA_65", "ML_DSA_87"), "don't belong to the public key"},
		"another form":                   {change("postquantum/signature.json", "{\n", "{ \n"), "is not in the form of its writer"},
		"a file behind the signature":    {append(slices.Clone(files), evidence.File{Name: "annex.txt", Bytes: []byte("x")}), "the last files must be"},
		"another form of the public key": {change("postquantum/signature.json", `"publicKey": "MII`, `"publicKey": "NII`), "couldn't read the public key"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			forged := resealAsIs(t, c.files, revocation(t))
			found(t, forged, evidence.Fail, c.says)
			found(t, forged, evidence.Fail, c.says, acme)
		})
	}
	t.Run("taken_away_with_what_the_history_says_of_it", func(t *testing.T) {
		h := proto.Clone(report.History).(*historypb.History)
		record := `,"postQuantum":{"key":"`
		all := payloads(h)
		at := strings.Index(all, record)
		if at < 0 {
			t.Fatal("the history has no record of the key")
		}
		record = all[at : at+strings.Index(all[at:], "}")+1]
		everywhere(record, "")(t, h)
		c, err := evidence.ReadHistory(h)
		if err != nil {
			t.Fatal(err)
		}
		material := evidence.Material{History: h, Case: c, Seal: evidence.SealInput{Outcome: countersign.Completed}, Key: evidence.KeyFacts{ARN: local.Tenants["acme"].KeyARN, Algorithm: "ECDSA_SHA_256", Certificate: sealChain(t)[0]}}
		material.Document, _ = original.File("document.pdf")
		material.Signature, _ = original.File("document.p7s")
		assembled, err := evidence.Assemble(material)
		if err != nil {
			t.Fatal(err)
		}
		forged := resealAsIs(t, assembled, revocation(t))
		// The seal's key alone can hide it from whoever has nothing else, and from nobody who has the post-quantum key.
		found(t, forged, evidence.NotRecorded, "named no key")
		found(t, forged, evidence.Fail, "and a key for one was given", acme)
	})
	t.Run("by_a_key_of_the_forger's", func(t *testing.T) {
		signed, err := evidence.AddPostQuantum(t.Context(), without, forgersKey{private, quantumKeyOf(t, private.PublicKey())}, sealChain(t)[0], time.Now())
		if err != nil {
			t.Fatal(err)
		}
		forged := resealAsIs(t, signed, revocation(t))
		found(t, forged, evidence.NotRecorded, "which anybody could have made")
		found(t, forged, evidence.Fail, "which is none of those given", acme)
	})
}

// The setting is globex's for a while: its key is asked after the rehearsal, a key service that fails for it is asked again, and a key that is taken
// out of the file in flight keeps the evidence open until it is back. The seal is by P-384 beside ML-DSA-87.
func TestR11_SealingWaitsForThePostQuantumKey(t *testing.T) {
	keys := fault(t, local.KMS.Endpoint)
	seals := newSeals(t)
	sealed := seals.settings(t, kmstypes.KeySpecEccNistP384, x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature})
	sealed = append(sealed, "kms: "+local.KMS.Endpoint, "kms: "+keys.URL)
	arn, public := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa87, "globex")
	named := slices.Clone(sealed)
	named[5] += "\n    postQuantum:\n        key: " + arn + "\n        publicKey: " + public
	with := faultyWorkers(t, named...)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	with.Stop()
	without := faultyWorkers(t, sealed...)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	if _, err := g.Custody(t.Context(), "sealing"); err != nil {
		t.Fatal(err)
	}
	without.Stop()
	signatures := make(chan string, 100)
	keys.Break(func(r *http.Request) bool {
		algorithm := algorithmAsked(r)
		if algorithm != "" {
			signatures <- algorithm
		}
		return algorithm == "ML_DSA_SHAKE_256"
	})
	faultyWorkers(t, named...)
	<-keys.Hit()
	<-keys.Hit()
	keys.Answer(func(r *http.Request) bool {
		if algorithm := algorithmAsked(r); algorithm != "" {
			signatures <- algorithm
		}
		return false
	}, http.StatusServiceUnavailable, "")
	ending, err := g.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ending.Outcome != countersign.Completed {
		t.Fatalf("ended as %s (%s)", ending.Outcome, ending.Detail)
	}
	close(signatures)
	var order []string
	for s := range signatures {
		if s != "ED25519_SHA_512" { // the log's
			order = append(order, s)
		}
	}
	// The seal's key is asked once, after the other key has signed.
	if n := len(order); n < 4 || order[n-1] != "ECDSA_SHA_384" || slices.Contains(order[:n-1], "ECDSA_SHA_384") {
		t.Errorf("the keys were asked in the order %v", order)
	}

	raw := bundle(t, "globex", ending)
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	roots.Signers = x509.NewCertPool()
	roots.Signers.AddCert(seals.ca)
	roots.PostQuantum = []*evidence.PostQuantumKey{quantumKey(t, public)}
	report := evidence.Verify(raw, roots)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	expect(t, report, evidence.Pass, "ML_DSA_87")
	strangers(t, raw, pemFile(t, filepath.Join(t.TempDir(), "ca.pem"), seals.ca), public)
}

// Who has no such key is asked for no signature more, and its evidence says so.
func TestR15_WithoutAPostQuantumKeyThereIsNoSignature(t *testing.T) {
	keys := fault(t, local.KMS.Endpoint)
	faultyWorkers(t, "kms: "+local.KMS.Endpoint, "kms: "+keys.URL)
	signatures := make(chan string, 100)
	keys.Answer(func(r *http.Request) bool {
		if algorithm := algorithmAsked(r); algorithm != "" && algorithm != "ED25519_SHA_512" {
			signatures <- algorithm
		}
		return false
	}, http.StatusServiceUnavailable, "")
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	expect(t, report, evidence.NotRecorded, "named no key")
	close(signatures)
	var order []string
	for s := range signatures {
		order = append(order, s)
	}
	if !slices.Equal(order, []string{"ECDSA_SHA_256", "ECDSA_SHA_256"}) {
		t.Errorf("the key was asked for %v", order)
	}
}

// TestR16_WrongPostQuantumKeysAreFoundAtBoot starts workers on keys that the evidence would only trip over at its end.
func TestR16_WrongPostQuantumKeysAreFoundAtBoot(t *testing.T) {
	seals := newSeals(t)
	arn, public := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa65, "globex")
	smaller, _ := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa44, "globex")
	_, another := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa65, "globex")
	strange, strangePublic := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa65, "acme")
	disabled, disabledPublic := quantumKeyInKMS(t, kmstypes.KeySpecMlDsa65, "globex")
	if _, err := seals.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: aws.String(disabled)}); err != nil {
		t.Fatal(err)
	}
	curve, _ := seals.made(t, kmstypes.KeySpecEccNistP256)
	forbidding := fault(t, local.KMS.Endpoint)
	forbidding.Answer(func(r *http.Request) bool {
		return r.Header.Get("X-Amz-Target") == "TrentService.Sign" && strings.Contains(body(r), "ML_DSA_SHAKE_256")
	}, http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"not authorized to perform: kms:Sign"}`)
	for _, c := range []struct {
		name, key, public string
		at, says          string
		more              []string
	}{
		{name: "a key on a curve", key: curve, public: public, at: "key: " + curve, says: "is an ECC_NIST_P256 key, and kms.postQuantum.publicKey is of an ML_DSA_65 key"},
		{name: "a key of another size", key: smaller, public: public, at: "key: " + smaller, says: "is an ML_DSA_44 key"},
		{name: "the public half of another key", key: arn, public: another, at: "key: " + arn, says: "is not the public half of the key"},
		{name: "a key of another tenant", key: strange, public: strangePublic, at: "key: " + strange, says: "couldn't describe the key"},
		{name: "a key that is disabled", key: disabled, public: disabledPublic, at: "key: " + disabled, says: "is Disabled, for SIGN_VERIFY"},
		{name: "a key that may not be used", key: arn, public: public, at: "key: " + arn, says: "have the permission kms:Sign with ML_DSA_SHAKE_256?", more: []string{"kms: " + local.KMS.Endpoint, "kms: " + forbidding.URL}},
		{name: "the seal's key", key: local.Tenants["globex"].KeyARN, public: public, at: "key: ", says: "must be the ARN of a key of its own"},
		{name: "an alias", key: "arn:aws:kms:eu-central-1:000000000000:alias/globex-postquantum", public: public, at: "key: arn:aws:kms:eu-central-1:000000000000:alias/", says: "must be the ARN of a key of its own"},
		{name: "no public half", key: smaller, public: `""`, at: "publicKey: ", says: "kms.postQuantum.publicKey is missing"},
		{name: "a public half that is not there", key: smaller, public: "nowhere.pem", at: "publicKey: nowhere.pem", says: "no such file"},
		{name: "a certificate as the public half", key: smaller, public: local.TenantCA, at: "publicKey: ", says: "want PUBLIC KEY blocks (PEM) and nothing else"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			replace := append([]string{"roots: ../ca/tenant-ca.pem", "roots: " + local.TenantCA + "\n    postQuantum:\n        key: " + c.key + "\n        publicKey: " + c.public}, c.more...)
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
			toldAt(t, err, filepath.Join(dir, "globex.yaml"), c.at)
		})
	}
}

// found verifies a bundle under the given post-quantum keys and wants one result of their check.
func found(t *testing.T, raw []byte, want evidence.State, says string, keys ...*evidence.PostQuantumKey) {
	t.Helper()
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	roots.PostQuantum = keys
	expect(t, evidence.Verify(raw, roots), want, says)
}

func expect(t *testing.T, report *evidence.Report, want evidence.State, says string) {
	t.Helper()
	for _, f := range report.Findings {
		if f.Check == quantumCheck {
			if f.State != want || !strings.Contains(f.Detail, says) {
				t.Errorf("found %s: %s; want %s: %s", f.State, f.Detail, want, says)
			}
			return
		}
	}
	t.Errorf("the report has no check %q: %v", quantumCheck, report.Err())
}

func quantumKey(t *testing.T, file string) *evidence.PostQuantumKey {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := evidence.ParsePostQuantumPEM(text)
	if err != nil || len(keys) != 1 {
		t.Fatal(len(keys), err)
	}
	return keys[0]
}

func quantumKeyOf(t *testing.T, public *mldsa.PublicKey) *evidence.PostQuantumKey {
	t.Helper()
	spki, err := pqx509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := evidence.ParsePostQuantumKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// quantumKeyInKMS makes a key of a tenant and writes its public half into a file.
func quantumKeyInKMS(t *testing.T, spec kmstypes.KeySpec, tenant string) (arn, public string) {
	t.Helper()
	admin, err := local.KMSClient(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	made, err := admin.CreateKey(t.Context(), &kms.CreateKeyInput{
		KeySpec: spec, KeyUsage: kmstypes.KeyUsageTypeSignVerify, Tags: []kmstypes.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String(tenant)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := admin.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: made.KeyMetadata.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	public = filepath.Join(t.TempDir(), "postquantum.pem")
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: got.PublicKey}), 0o600); err != nil {
		t.Fatal(err)
	}
	return aws.ToString(made.KeyMetadata.Arn), public
}

// withPostQuantum makes the post-quantum signature of acme's forged files anew, as whoever runs the workers could.
func withPostQuantum(t *testing.T, files []evidence.File) []evidence.File {
	t.Helper()
	keys, err := local.KMSClient(t.Context(), "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := activities.LoadSettings(local.Tenants["acme"].File)
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(slices.Clone(files), func(f evidence.File) bool { return strings.HasPrefix(f.Name, "postquantum/") })
	signer := quantumOperator{keys, settings.KMS.PostQuantum.ARN, quantumKey(t, local.Tenants["acme"].PostQuantumPublicKey)}
	signed, err := evidence.AddPostQuantum(t.Context(), files, signer, sealChain(t)[0], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// quantumOperator signs with the tenant's ML-DSA key whatever it wants.
type quantumOperator struct {
	keys   *kms.Client
	arn    string
	public *evidence.PostQuantumKey
}

func (o quantumOperator) ARN() string { return o.arn }

func (o quantumOperator) Key() *evidence.PostQuantumKey { return o.public }

func (o quantumOperator) SignMessage(ctx context.Context, message []byte) ([]byte, string, error) {
	out, err := o.keys.Sign(ctx, &kms.SignInput{KeyId: aws.String(o.arn), Message: message, MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecMlDsaShake256})
	if err != nil {
		return nil, "", err
	}
	return out.Signature, "of the operator", nil
}

// forgersKey is a key that somebody made at home, under the name of acme's.
type forgersKey struct {
	private *mldsa.PrivateKey
	public  *evidence.PostQuantumKey
}

func (forgersKey) ARN() string { return "arn:aws:kms:eu-central-1:000000000000:key/acme" }

func (k forgersKey) Key() *evidence.PostQuantumKey { return k.public }

func (k forgersKey) SignMessage(_ context.Context, message []byte) ([]byte, string, error) {
	signature, err := k.private.Sign(nil, message, nil)
	return signature, "none", err
}

// algorithmAsked is the algorithm of a request for a signature, and empty for any other request and for a dry run.
func algorithmAsked(r *http.Request) string {
	if r.Header.Get("X-Amz-Target") != "TrentService.Sign" {
		return ""
	}
	var in struct {
		SigningAlgorithm string
		DryRun           bool
	}
	if json.Unmarshal([]byte(body(r)), &in) != nil || in.DryRun {
		return ""
	}
	return in.SigningAlgorithm
}

// body reads a request's body and leaves it to be read again.
func body(r *http.Request) string {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return string(raw)
}

// payloads is all that a history's events carry, one after another.
func payloads(h *historypb.History) string {
	var all strings.Builder
	for _, e := range h.Events {
		for _, p := range e.GetActivityTaskCompletedEventAttributes().GetResult().GetPayloads() {
			all.Write(p.Data)
		}
	}
	return all.String()
}

// strangers checks a bundle with the tools of others alone.
func strangers(t *testing.T, raw []byte, tenantCA, postQuantum string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bundle.asice")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), "bash", "interop/bundle.sh", file, tenantCA, local.TSA.CA, postQuantum).CombinedOutput()
	if err != nil {
		t.Errorf("strangers' tools: %v\n%s", err, said)
	}
}
