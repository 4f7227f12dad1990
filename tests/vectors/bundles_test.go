package vectors

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// bundle is an evidence file with the roots to check it by, and each finding of a complete check. Paths are relative to this directory; a file
// that ends in .gz is compressed by gzip. Flip names a byte of the file whose lowest bit is to be turned round first.
type bundle struct {
	About    string                    `json:"about"`
	File     string                    `json:"file"`
	TenantCA string                    `json:"tenantCA"`
	TSACA    string                    `json:"tsaCA"`
	Quantum  string                    `json:"postQuantumKey,omitempty"` // the key that the post-quantum signature must be by
	Flip     *int                      `json:"flip,omitempty"`
	Fails    []string                  `json:"fails"` // the checks that must fail, and no others
	Findings map[string]evidence.State `json:"findings"`
}

func (b bundle) check(t *testing.T) map[string]evidence.State {
	t.Helper()
	raw := read(t, b.File)
	if b.Flip != nil {
		raw[*b.Flip] ^= 1
	}
	roots := evidence.Roots{Signers: pool(t, b.TenantCA), TSAs: pool(t, b.TSACA)}
	if b.Quantum != "" {
		roots.PostQuantum = must(evidence.ParsePostQuantumPEM(read(t, b.Quantum)))
	}
	found := map[string]evidence.State{}
	for _, f := range evidence.Verify(raw, roots).Findings {
		found[f.Check] = f.State
	}
	return found
}

func failing(found map[string]evidence.State) []string {
	out := []string{}
	for check, state := range found {
		if state == evidence.Fail {
			out = append(out, check)
		}
	}
	slices.Sort(out)
	return out
}

func TestR15_VectorsOfBundles(t *testing.T) {
	t.Parallel()
	whole, caught := 0, map[string]bool{}
	for _, v := range vectors(t, "bundles.json", func() []bundle { return bundles(t) }) {
		found := v.check(t)
		if !maps.Equal(found, v.Findings) || !slices.Equal(failing(found), v.Fails) {
			t.Errorf("%s: found %v, want %v, with %v failing", v.About, found, v.Findings, v.Fails)
		}
		if len(v.Fails) == 0 {
			whole++
		}
		for _, check := range v.Fails {
			caught[check] = true
		}
	}
	if whole != 5 {
		t.Errorf("%d bundles are whole", whole)
	}
	for _, check := range []string{"container", "seal", "history", "statement", "outcome", "files", "context", "issuers", "decisions", "policy", "quorum", "document signature", "post-quantum signature"} {
		if !caught[check] {
			t.Errorf("no vector fails the check %q", check)
		}
	}
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(file, ".gz") {
		return raw
	}
	z := must(gzip.NewReader(bytes.NewReader(raw)))
	return must(io.ReadAll(z))
}

func pool(t *testing.T, file string) *x509.CertPool {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(read(t, file)) {
		t.Fatalf("%s has no certificate", file)
	}
	return p
}

// Where the bundles of released versions lie. In the first, the signature lies beside the document; in the second it is in the PDF, decisions are
// time-stamped, and there are revocation lists and a post-quantum signature.
const (
	golden = "../golden/histories/v0.1.0/"
	signed = "../golden/histories/v0.2.0/"
)

// bundles writes the bundles of a signing that was rejected, whole and forged: each forgery is sealed and time-stamped in good order, so that only
// the check it is for can find it.
func bundles(t *testing.T) (list []bundle) {
	if err := os.MkdirAll("bundles", 0o755); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "bundles")
	add := func(v bundle) {
		v.Findings = v.check(t)
		v.Fails = failing(v.Findings)
		list = append(list, v)
	}
	completed := bundle{About: "a signing that was completed, of version 0.1.0", File: golden + "completed.asice", TenantCA: golden + "tenant-ca.pem", TSACA: golden + "tsa-ca.pem"}
	add(completed)
	size := len(read(t, completed.File))
	for about, at := range map[string]int{"a byte of the document": 5000, "a byte of the end": size - 3} {
		flipped := completed
		flipped.About, flipped.Flip = about, &at
		add(flipped)
	}
	slices.SortFunc(list[1:], func(a, b bundle) int { return *a.Flip - *b.Flip })
	swapped := completed
	swapped.About, swapped.TenantCA, swapped.TSACA = "the roots are of somebody else", completed.TSACA, completed.TenantCA
	add(swapped)

	inside := bundle{About: "a signing that was completed, of version 0.2.0", File: signed + "completed.asice", TenantCA: signed + "tenant-ca.pem", TSACA: signed + "tsa-ca.pem"}
	add(inside)
	raw := read(t, inside.File)
	for _, c := range []struct {
		about string
		at    int
	}{
		{"a byte of the approved document in the signed PDF", bytes.Index(raw, []byte("%PDF-")) + 500},
		{"a byte of the signature in the PDF", bytes.Index(raw, []byte("/Contents <")) + 500},
		{"a byte of a decision's time-stamp", bytes.Index(raw, []byte(`"stamp":"`)) + 300},
	} {
		flipped := inside
		flipped.About, flipped.Flip = c.about, &c.at
		add(flipped)
	}

	rejected := must(evidence.ParseHistoryJSON(read(t, golden+"rejected.json")))
	forge := func(about, name string, outcome countersign.Outcome, history func(*historypb.History), files func(map[string][]byte)) {
		h := proto.Clone(rejected).(*historypb.History)
		if history != nil {
			history(h)
		}
		c := must(evidence.ReadHistory(h))
		material := evidence.Material{Case: c, History: h, Seal: evidence.SealInput{Outcome: outcome, Detail: c.Result.Detail}, Key: w.facts, Worker: evidence.Worker{Build: "vectors", Revision: "not recorded"}}
		add(w.seal(t, about, name, must(evidence.Assemble(material)), files))
	}
	inFile := func(name, from, to string) func(map[string][]byte) {
		return func(files map[string][]byte) {
			changed := bytes.Replace(files[name], []byte(from), []byte(to), 1)
			if bytes.Equal(changed, files[name]) {
				t.Fatalf("%s has no %s", name, from)
			}
			files[name] = changed
		}
	}
	forge("a signing that was rejected", "rejected", countersign.Rejected, nil, nil)
	forge("its statement is kinder than its history", "statement", countersign.Rejected, nil, inFile("statement.json", `"verdict": "reject"`, `"verdict": "approve"`))
	forge("it claims another ending", "outcome", countersign.Expired, nil, nil)
	forge("a file more, which the manifest names", "added", countersign.Rejected, nil, func(f map[string][]byte) { f["annex.txt"] = []byte("and another thing\n") })
	forge("a decision's file is another than the history's", "decision-file", countersign.Rejected, nil, inFile("identity/decision-001.json", `"verdict":"reject"`, `"verdict":"approve"`))
	forge("the end of the history is cut off", "cut", countersign.Rejected, nil, func(f map[string][]byte) {
		h := must(evidence.ParseHistory(f["history.pb"]))
		h.Events = h.Events[:len(h.Events)-1]
		f["history.pb"], f["history.json"] = must(proto.Marshal(h)), must(evidence.HistoryJSON(h))
	})
	forge("the server's stamp names another sender", "sender", countersign.Rejected, func(h *historypb.History) {
		for _, e := range h.Events {
			if e.GetWorkflowExecutionSignaledEventAttributes() != nil {
				e.Principal.Name = strings.Replace(e.Principal.Name, "a-1001", "a-1004", 1)
			}
		}
	}, nil)
	forge("a smaller quorum in the plan", "quorum", countersign.Rejected, everywhere(t, `"quorum":1`, `"quorum":0`), nil)
	forge("a policy that was changed", "policy", countersign.Rejected, everywhere(t, "one-person-one-vote", "one-person-two-vote"), nil)
	sent := must(countersign.ParseSignedDecision(must(evidence.ReadHistory(rejected)).Decisions[0].Input.Signed))
	forge("a rejection with another reason than was proven", "reason", countersign.Rejected,
		everywhere(t, `"reason":`+string(must(json.Marshal(sent.Decision.Reason))), `"reason":"gladly"`), nil)

	forge("a transaction that has to name its identity providers, and names none", "issuers", countersign.Rejected, func(h *historypb.History) {
		was := must(evidence.ReadHistory(h)).Admission
		everywhere(t, `"context":{"v":1,`, `"context":{"v":2,`)(h)
		everywhere(t, was.Digest, must(must(evidence.ReadHistory(h)).Admission.Context.Digest()))(h)
	}, nil)

	complete := func(about, name string, change func(*forgery)) {
		f := forgeryBy(t, w)
		change(f)
		add(w.seal(t, about, name, f.files(), nil))
	}
	complete("the key was asked as if somebody else had requested than people approved: one of the approvers", "requester", func(f *forgery) {
		really := f.read().Admission.Context.Requester
		f.requestedByAnApprover()
		f.proveAnew()
		f.input(evidence.ActivitySign, f.requester(), `"requester":`+text(really))
	})
	complete("decisions that were checked for another document", "checked-for", func(f *forgery) { f.checkedForAnother(); f.proveAnew() })
	complete("decisions of a version that is not known", "decision-version", func(f *forgery) {
		f.decisions(func(d *countersign.Decision) { d.V = 2 })
		f.proveAnew()
	})
	complete("another algorithm than the seal's in kms.json", "algorithm", func(f *forgery) { f.algo = "ECDSA_SHA_384"; f.proveAnew() })
	broken := func(change func(*historypb.History)) func(map[string][]byte) {
		return func(f map[string][]byte) {
			h := must(evidence.ParseHistory(f["history.pb"]))
			change(h)
			f["history.pb"], f["history.json"] = must(proto.Marshal(h)), must(evidence.HistoryJSON(h))
		}
	}
	forge("an event after the one that closes the history", "reopened", countersign.Rejected, nil, broken(func(h *historypb.History) {
		more := proto.Clone(h.Events[len(h.Events)-2]).(*historypb.HistoryEvent)
		more.EventId = int64(len(h.Events)) + 1
		h.Events = append(h.Events, more)
	}))
	forge("a second start", "two-starts", countersign.Rejected, nil, broken(func(h *historypb.History) {
		h.Events[1] = proto.Clone(h.Events[0]).(*historypb.HistoryEvent)
		h.Events[1].EventId = 2
	}))
	forge("a result that says twice how it ended", "doubled", countersign.Rejected, nil, broken(everywhere(t, `{"outcome":"rejected"`, `{"outcome":"completed","outcome":"rejected"`)))
	forge("a result that says it once more in capitals", "capitals", countersign.Rejected, nil, broken(everywhere(t, `{"outcome":"rejected"`, `{"OUTCOME":"completed","outcome":"rejected"`)))
	forge("an admission with a member that nobody knows", "unknown", countersign.Rejected, nil, broken(everywhere(t, `"policyText":`, `"unknown":1,"policyText":`)))
	forge("the build that ran it is left out", "no-worker", countersign.Rejected, nil, func(f map[string][]byte) { delete(f, "worker.json") })

	for _, c := range []struct {
		about, name string
		ending      countersign.Outcome
		from, to    string
	}{
		{"an expired signing that says another stage was late", "late-stage", countersign.Expired, "stage counsel had 0", "stage legal had 0"},
		{"an expired signing, before its deadline", "early", countersign.Expired, "", ""},
		{"a withdrawn signing, for another reason than its requester gave", "withdrawn-because", countersign.Withdrawn, `"detail":"the price changed"`, `"detail":"gladly"`},
		{"a failed signing whose key is said not to have been asked", "failed-because", countersign.Failed, `"detail":"the key could not sign: `, `"detail":"intake did not work: `},
		{"a signing that was voided, by another key than was intended", "intent", countersign.Voided, `"key":"arn:aws:kms:eu-central-1:000000000000:key/vectors","algorithm"`, `"key":"arn:aws:kms:eu-central-1:000000000000:key/another","algorithm"`},
	} {
		s := base(t, w, c.name, signed+string(c.ending)+".json", c.ending)
		keyAnew(s.history, must(evidence.ReadHistory(s.history)), w.facts.ARN)
		if s.asIs = true; c.from != "" {
			everywhere(t, c.from, c.to)(s.history)
		} else {
			for _, e := range s.history.Events {
				e.EventTime.Seconds -= 24 * 3600
			}
		}
		add(w.seal(t, c.about, c.name, s.files(t, s.history), nil))
	}

	w.quantum(t, rejected, add)
	b := must(evidence.OpenBundle(read(t, "bundles/rejected.asice.gz")))
	order := b.Files()
	order[0], order[1] = order[1], order[0]
	add(w.seal(t, "another order of the files", "order", order, nil))
	b = must(evidence.OpenBundle(read(t, completed.File)))
	add(w.seal(t, "what was completed, sealed again with another key", "resealed", b.Files(), nil))
	return list
}

// everywhere replaces a text in all that the events of a history carry.
func everywhere(t *testing.T, from, to string) func(*historypb.History) {
	return func(h *historypb.History) {
		changed := 0
		for _, e := range h.Events {
			for _, p := range [...]*commonpb.Payloads{
				e.GetWorkflowExecutionSignaledEventAttributes().GetInput(), e.GetActivityTaskScheduledEventAttributes().GetInput(),
				e.GetActivityTaskCompletedEventAttributes().GetResult(), e.GetWorkflowExecutionCompletedEventAttributes().GetResult(),
			} {
				for _, payload := range p.GetPayloads() {
					changed += bytes.Count(payload.Data, []byte(from))
					payload.Data = bytes.ReplaceAll(payload.Data, []byte(from), []byte(to))
				}
			}
		}
		if changed == 0 {
			t.Fatalf("the history has no %q", from)
		}
	}
}

// world is a tenant's key and a time-stamping authority, made for these bundles alone.
type world struct {
	signer evidence.Signer
	stamps stamper
	roots  evidence.Roots
	facts  evidence.KeyFacts
	at     time.Time
}

// newWorld makes one, and writes its roots into a directory.
func newWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{at: time.Date(2026, 11, 26, 23, 30, 0, 0, time.UTC)}
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))}
	tenant, tenantKey := w.issue("vectors tenant CA", nil, nil, nil)
	leaf, key := w.issue("vectors seal", tenant, tenantKey, nil)
	authority, authorityKey := w.issue("vectors TSA root", nil, nil, nil)
	tsa, tsaKey := w.issue("vectors TSA", authority, authorityKey, []pkix.Extension{critical})
	w.roots = evidence.Roots{Signers: x509.NewCertPool(), TSAs: x509.NewCertPool()}
	w.roots.Signers.AddCert(tenant)
	w.roots.TSAs.AddCert(authority)
	// Decisions of v0.2.0 were stamped by the authority of then.
	earlier := read(t, signed+"tsa-ca.pem")
	w.roots.TSAs.AppendCertsFromPEM(earlier)
	w.signer = evidence.NewKeySigner(key, []*x509.Certificate{leaf})
	w.stamps = stamper{tsa, tsaKey, w.roots.TSAs, w.at}
	w.facts = evidence.KeyFacts{ARN: "arn:aws:kms:eu-central-1:000000000000:key/vectors", Algorithm: "ECDSA_SHA_256", Certificate: leaf}
	for name, root := range map[string]*x509.Certificate{"tenant-ca.pem": tenant, "tsa-ca.pem": authority} {
		body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
		if root == authority {
			body = append(body, earlier...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) issue(name string, parent *x509.Certificate, parentKey crypto.Signer, extra []pkix.Extension) (*x509.Certificate, crypto.Signer) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))), Subject: pkix.Name{CommonName: name}, NotBefore: w.at.AddDate(0, 0, -7), NotAfter: w.at.AddDate(20, 0, 0),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: extra,
	}
	if parent == nil {
		template.IsCA, template.KeyUsage, parent, parentKey = true, x509.KeyUsageCertSign, template, key
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)))), key
}

// seal seals files, after some were changed, and writes the bundle.
func (w *world) seal(t *testing.T, about, name string, files []evidence.File, change func(map[string][]byte)) bundle {
	t.Helper()
	if change != nil {
		byName := map[string][]byte{}
		for _, f := range files {
			byName[f.Name] = f.Bytes
		}
		change(byName)
		kept := []evidence.File{}
		for _, f := range files {
			if body, ok := byName[f.Name]; ok {
				kept = append(kept, evidence.File{Name: f.Name, Bytes: body})
				delete(byName, f.Name)
			}
		}
		for name, body := range byName {
			kept = append(kept, evidence.File{Name: name, Bytes: body})
		}
		files = kept
	}
	raw := sealed(t, files, w.signer, w.stamps, w.at, w.roots)
	var out bytes.Buffer
	z := must(gzip.NewWriterLevel(&out, gzip.BestCompression))
	must(z.Write(raw))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("bundles", name+".asice.gz")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return bundle{About: about, File: file, TenantCA: "bundles/tenant-ca.pem", TSACA: "bundles/tsa-ca.pem"}
}

// stamper is a time-stamping authority in memory.
type stamper struct {
	certificate *x509.Certificate
	key         crypto.Signer
	roots       *x509.CertPool
	at          time.Time
}

func (s stamper) Stamp(_ context.Context, digest []byte) ([]byte, error) {
	stamp := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: digest, Time: s.at, Accuracy: time.Second, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, AddTSACertificate: true,
	}
	answer, err := stamp.CreateResponseWithOpts(s.certificate, s.key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var response struct {
		Status asn1.RawValue
		Token  asn1.RawValue
	}
	if _, err := asn1.Unmarshal(answer, &response); err != nil {
		return nil, err
	}
	return evidence.CanonicalToken(response.Token.FullBytes, s.roots)
}

// sealed is a bundle of the files, which fits into memory.
func sealed(t *testing.T, files []evidence.File, signer evidence.Signer, stamper evidence.Stamper, at time.Time, roots evidence.Roots) []byte {
	t.Helper()
	bundle := must(evidence.SealFile(t.Context(), files, signer, stamper, at, roots))
	defer bundle.Close()
	return bytes.Clone(must(bundle.Bytes()))
}
