package tests

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// clocks are proxies before both time-stamp authorities, and workers of globex that ask through them.
func clocks(t *testing.T) (first, second *stack.Fault) {
	t.Helper()
	first, second = fault(t, local.TSA.URL), fault(t, local.SecondTSA.URL)
	faultyWorkers(t, "url: "+local.TSA.URL, "url: "+first.URL+"/", "url: "+local.SecondTSA.URL, "url: "+second.URL+"/")
	return first, second
}

func every(*http.Request) bool { return true }

func TestR11_TheSecondAuthorityStampsWhenTheFirstIsDown(t *testing.T) {
	first, _ := clocks(t)
	first.Break(every)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	if !strings.Contains(report.Seal.TSA, "second TSA") {
		t.Errorf("the seal was stamped by %q", report.Seal.TSA)
	}
	timeline, err := evidence.ReadTimeline(bundle(t, "globex", ending))
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, l := range timeline.Lines {
		if l.Kind != evidence.KindDecisionCounted {
			continue
		}
		if counted++; l.Proof == nil || l.Proof.Stamped == "" || !strings.Contains(l.Proof.Authority, "second TSA") {
			t.Errorf("the decision of %s was stamped: %+v", l.Name, l.Proof)
		}
	}
	if counted != 2 {
		t.Errorf("%d decisions counted", counted)
	}
}

// Without any authority, a decision waits for its check and the key for its call; both go on when one authority is back.
func TestR11_NothingIsSignedWithoutAnAuthorityAndGoesOnWhenOneIsBack(t *testing.T) {
	first, second := clocks(t)
	first.Break(every)
	second.Break(every)
	g := begin(t, request(t, "globex", "supplier-contract"))
	gina := decide(t, g, "globex/gina", "legal", countersign.Approve)
	hit(t, second, 2)
	if status, err := g.Status(t.Context()); err != nil || len(status.Decisions) != 0 {
		t.Fatalf("a decision counted without a time-stamp: %+v, %v", status.Decisions, err)
	}
	second.Heal()
	if r := record(t, g, gina); !r.Counted() {
		t.Fatalf("the decision was refused: %+v", r.Refusal)
	}

	// The next token is of chris's decision; the one after it is asked for when the document is signed.
	var asked atomic.Int32
	second.Break(func(*http.Request) bool { return asked.Add(1) > 1 })
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	hit(t, second, 2)
	status, err := g.Status(t.Context())
	if err != nil || status.State != "signing" {
		t.Fatalf("state %q, %v", status.State, err)
	}
	if stored := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document.p7s")); len(stored) != 0 {
		t.Errorf("%d signatures are stored that no authority stamped", len(stored))
	}
	second.Heal()
	ended(t, g, countersign.Completed)
}

// hit waits until the fault was met n times more.
func hit(t *testing.T, f *stack.Fault, n int) {
	t.Helper()
	for len(f.Hit()) > 0 {
		<-f.Hit()
	}
	for range n {
		select {
		case <-f.Hit():
		case <-time.After(time.Minute):
			t.Fatal("the authority was not asked")
		}
	}
}

// TestR11_DecisionsCannotBeRedated lets the operator of the server change when people decided, and what their time-stamps say, with the tenant's real key.
func TestR11_DecisionsCannotBeRedated(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	original, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	c, err := evidence.ReadHistory(report.History)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Decisions) != 2 || !c.Admission.Context.Stamped {
		t.Fatalf("the history has %d decisions, stamped: %v", len(c.Decisions), c.Admission.Context.Stamped)
	}
	stamp := func(i int) string { return base64.StdEncoding.EncodeToString(c.Decisions[i].Check.Stamp) }
	altered := append([]byte{}, c.Decisions[0].Check.Stamp...)
	altered[len(altered)-3] ^= 1
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(*testing.T, *historypb.History){
		"an altered byte":                   everywhere(stamp(0), base64.StdEncoding.EncodeToString(altered)),
		"another decision's token":          everywhere(stamp(0), stamp(1)),
		"a token of the document":           everywhere(stamp(0), base64.StdEncoding.EncodeToString(stampedNow(t, report.Statement.Request.Document.SHA256))),
		"a stripped token":                  everywhere(`"stamp":"`+stamp(0)+`"`, `"stamp":""`),
		"a token of an authority of theirs": everywhere(stamp(0), base64.StdEncoding.EncodeToString(strangersToken(t, c.Decisions[0].Check.Record.Digest))),
		"everything dated back":             func(t *testing.T, h *historypb.History) { redate(t, h, -time.Hour, true) },
		"the decisions dated forward":       func(t *testing.T, h *historypb.History) { redate(t, h, 2*time.Minute, false) },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			history := proto.Clone(report.History).(*historypb.History)
			forge(t, history)
			failed := failures(evidence.Verify(reseal(t, original, history, countersign.Completed, nil), roots))
			if failed["decision time"] == "" {
				t.Errorf("found as %v, want decision time", failed)
			}
		})
	}
	t.Run("stripped_with_the_word_for_it", func(t *testing.T) {
		t.Parallel()
		for anew, check := range map[bool]string{false: "context", true: "decisions"} {
			history := proto.Clone(report.History).(*historypb.History)
			everywhere(`,"stamped":true`, ``)(t, history)
			everywhere(`"stamp":"`+stamp(0)+`"`, `"stamp":""`)(t, history)
			everywhere(`"stamp":"`+stamp(1)+`"`, `"stamp":""`)(t, history)
			if anew {
				digestsAnew(t, history)
			}
			if failed := failures(evidence.Verify(reseal(t, original, history, countersign.Completed, nil), roots)); failed[check] == "" {
				t.Errorf("found as %v, want %s", failed, check)
			}
		}
	})
}

// failures are the checks that failed, with why.
func failures(r *evidence.Report) map[string]string {
	failed := map[string]string{}
	for _, f := range r.Findings {
		if f.State == evidence.Fail {
			failed[f.Check] = f.Detail
		}
	}
	return failed
}

// redate moves when the server took each decision, wherever it stands; with all, every event of the history moves as well.
func redate(t *testing.T, h *historypb.History, by time.Duration, all bool) {
	t.Helper()
	c, err := evidence.ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.Decisions {
		everywhere(d.At.Format(time.RFC3339Nano), d.At.Add(by).Format(time.RFC3339Nano))(t, h)
	}
	for _, e := range h.Events {
		if all || e.GetWorkflowExecutionSignaledEventAttributes() != nil {
			e.EventTime = timestamppb.New(e.EventTime.AsTime().Add(by))
		}
	}
}

// stampedNow is a good token of the stack's own authority.
func stampedNow(t *testing.T, digest string) []byte {
	t.Helper()
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	token, err := evidence.NewTSAClient(local.TSA.URL, roots.TSAs, nil).Stamp(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// strangersToken is a token over the right digest, now, by an authority that nobody knows.
func strangersToken(t *testing.T, digest string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Countersign development"}, CommonName: "Countersign development TSA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	imprint, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	stamp := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: imprint, Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true}
	answer, err := stamp.CreateResponseWithOpts(leaf, key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := timestamp.ParseResponse(answer)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	token, err := evidence.CanonicalToken(parsed.RawToken, pool)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
