package isolation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.temporal.io/api/serviceerror"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// The layers, as the local stack calls them.
const (
	namespaces = "namespaces"
	issuers    = "issuers"
	prefixes   = "prefixes"
	keys       = "keys"
)

// theft is what somebody could try who holds the credentials of one of globex's own processes: nothing of ours stands before the servers then, so
// these lines say which layers do. One layer alone in a line is all there is; ARCHITECTURE.md has the same table.
type theft struct {
	what   string
	behind []string
	try    func(*world) (got string, err error)
}

var thefts = []theft{
	{"where a signing stands", []string{namespaces}, func(w *world) (string, error) {
		return w.stolenStatus()
	}},
	{"a document, which only the signing names", []string{namespaces, prefixes}, func(w *world) (string, error) {
		raw, err := w.stolenStatus()
		if err != nil {
			return "", err
		}
		var s workflows.Status
		if err := json.Unmarshal([]byte(raw), &s); err != nil {
			return "", err
		}
		return w.stolenObject(s.Document)
	}},
	{"evidence, for whoever guesses its request's id", []string{prefixes}, func(w *world) (string, error) {
		return w.stolenObject(countersign.Object{Bucket: w.S3.Evidence, Key: countersign.EvidenceKey("acme", w.done.Request.ID)})
	}},
	{"a place among acme's evidence", []string{prefixes}, func(w *world) (string, error) {
		c, err := w.S3Client(w.ctx, "globex-worker")
		if err != nil {
			return "", err
		}
		_, err = c.PutObject(w.ctx, &s3.PutObjectInput{Bucket: aws.String(w.S3.Evidence), Key: aws.String(countersign.EvidenceKey("acme", "planted")), Body: strings.NewReader("x")})
		return "planted", err
	}},
	{"a signature by acme's key", []string{keys}, func(w *world) (string, error) {
		c, err := w.KMSClient(w.ctx, "globex-worker")
		if err != nil {
			return "", err
		}
		_, err = c.Sign(w.ctx, &kms.SignInput{KeyId: aws.String(w.Tenants["acme"].KeyARN), Message: []byte("x"), SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256})
		return "a signature", err
	}},
}

// stolenStatus asks acme's open signing with the key of globex's API.
func (w *world) stolenStatus() (string, error) {
	c, err := w.Dial(w.ctx, "acme", "platform:starter/globex")
	if err != nil {
		return "", err
	}
	defer c.Close()
	value, err := c.QueryWorkflow(w.ctx, countersign.SagaID("acme", w.open.Request.ID), "", countersign.QueryStatus)
	if err != nil {
		return "", err
	}
	var raw json.RawMessage
	err = value.Get(&raw)
	return string(raw), err
}

func (w *world) stolenObject(o countersign.Object) (string, error) {
	c, err := w.S3Client(w.ctx, "globex-worker")
	if err != nil {
		return "", err
	}
	in := &s3.GetObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key)}
	if o.VersionID != "" {
		in.VersionId = aws.String(o.VersionID)
	}
	out, err := c.GetObject(w.ctx, in)
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	raw, err := io.ReadAll(out.Body)
	return string(raw), err
}

// refusedBy tells a refusal of a server from every other error.
func refusedBy(err error) bool {
	var denied *serviceerror.PermissionDenied
	var response *smithyhttp.ResponseError
	return errors.As(err, &denied) || errors.As(err, &response) && (response.HTTPStatusCode() == http.StatusForbidden || response.HTTPStatusCode() == http.StatusBadRequest)
}

// steal tries every theft. What is got is what the table says: nothing where one of its layers is on, and something where none is, or the table would
// promise too little and this test could find no leak.
func (w *world) steal(t *testing.T) {
	t.Helper()
	for _, theft := range thefts {
		open := !slices.ContainsFunc(theft.behind, func(layer string) bool { return !slices.Contains(w.off, layer) })
		got, err := theft.try(w)
		switch {
		case open && err != nil:
			t.Errorf("%s, without %v: %v; the table says that it can be had", theft.what, w.off, err)
		case open && strings.Contains(theft.what, "document") && w.leak(got) == "":
			t.Errorf("%s, without %v: nothing of acme's is in it", theft.what, w.off)
		case !open && !refusedBy(err):
			t.Errorf("%s, without %v: got %.200q (%v), want a refusal", theft.what, w.off, got, err)
		}
	}
}

// TestR10_NoLeakWithAnySingleLayerOff switches each layer off in turn. Whatever people and systems can ask of us, at the API and at the Temporal
// server, still ends with nothing; and what a stolen credential of a process gets is what the table says.
func TestR10_NoLeakWithAnySingleLayerOff(t *testing.T) {
	for _, layer := range []string{namespaces, issuers, prefixes, keys} {
		t.Run(layer, func(t *testing.T) {
			w, err := newWorld(t.Context(), layer)
			t.Cleanup(w.close)
			if err != nil {
				t.Fatal(err)
			}
			w.nothing(t)
			w.trespass(t)
			w.anothersDocument(t)
			w.anothersKey(t)
			w.anothersNamespace(t)
			w.unchanged(t)
			w.steal(t)
		})
	}
}

// TestR10_R17_WithEveryLayerOnNothingIsStolen is the same with every layer on.
func TestR10_R17_WithEveryLayerOnNothingIsStolen(t *testing.T) {
	w := shared(t)
	w.trespass(t)
	w.anothersDocument(t)
	w.anothersKey(t)
	w.anothersNamespace(t)
	w.unchanged(t)
	w.steal(t)
	w.detour(t)
}

// TestR10_WithTwoLayersOffTheLeakIsFound is the control of the others: these tests can see a leak.
func TestR10_WithTwoLayersOffTheLeakIsFound(t *testing.T) {
	w, err := newWorld(t.Context(), namespaces, prefixes)
	t.Cleanup(w.close)
	if err != nil {
		t.Fatal(err)
	}
	w.steal(t)
	got, err := thefts[1].try(w)
	if err != nil || w.leak(got) == "" {
		t.Errorf("without its two layers, acme's document could not be had: %v", err)
	}
}

// trespass has globex's people and system, and a stranger, send to acme's workflows straight at the server. Where the server lets them, the workflows
// refuse, and say so.
func (w *world) trespass(t *testing.T) {
	t.Helper()
	turnedAway := func(what string, err error) bool {
		if err != nil && !refusedBy(err) {
			t.Errorf("%s: %v", what, err)
		}
		if on := !slices.Contains(w.off, namespaces); on && err == nil {
			t.Errorf("%s is taken by the server", what)
		}
		return err != nil
	}

	d := w.open.Decision(w.status, "globex/gina", "legal", countersign.Approve)
	signed, err := w.open.Put(w.ctx, "globex/gina", d)
	if !turnedAway("gina's decision", err) {
		if r, err := w.open.Record(w.ctx, signed.ID); err != nil || r.Refusal == nil {
			t.Errorf("gina's decision in acme became %+v (%v)", r, err)
		}
	}

	r := w.open.Request
	r.ID = "theirs-" + w.tag
	theirs, err := w.Begin(w.ctx, "machine:globex/procurement", r)
	if !turnedAway("the start by globex's system", err) {
		if ending, err := theirs.End(w.ctx); err != nil || ending.Outcome != countersign.Refused {
			t.Errorf("the signing that globex's system started in acme became %+v (%v)", ending, err)
		}
	}

	err = w.Tell(w.ctx, "acme", "machine:globex/procurement", countersign.SagaID("acme", w.open.Request.ID), countersign.SignalWithdraw, countersign.Withdrawal{ID: "w-1", Reason: "theirs"})
	if !turnedAway("the withdrawal by globex's system", err) {
		s, err := w.open.Until(w.ctx, func(s workflows.Status) bool { return len(s.Withdrawals) > 0 })
		if err != nil || s.Withdrawals[0].Refusal == nil {
			t.Errorf("the withdrawal by globex's system became %+v (%v)", s.Withdrawals, err)
		}
	}

	end := countersign.GrantEnd{ID: "e-1", Reason: "theirs"}
	if !turnedAway("gina's revocation", w.Tell(w.ctx, "acme", "globex/gina", countersign.AccessID("acme", w.live), countersign.SignalRevoke, end)) {
		g, err := w.Grant(w.ctx, "acme", w.live, func(s evidence.GrantStatus) bool {
			return slices.ContainsFunc(s.Signals, func(s evidence.GrantSignal) bool { return s.Signal == countersign.SignalRevoke })
		})
		if err != nil || g.State != countersign.GrantActive {
			t.Errorf("gina's revocation made the grant %s (%v)", g.State, err)
		}
	}
	if !turnedAway("gina's retirement of a key", w.Tell(w.ctx, "acme", "globex/gina", countersign.EnrolmentID("acme", w.keys[0]), countersign.SignalRetire, end)) {
		k, err := w.Key(w.ctx, "acme", w.keys[0], func(k evidence.KeyStatus) bool { return len(k.Retirements) > 0 })
		if err != nil || k.Retirements[0].Refusal == nil {
			t.Errorf("gina's retirement of alice's key became %+v (%v)", k.Retirements, err)
		}
	}

	g := w.Draft("acme", "globex/gina", "nord/remy", "legal", w.open.Request.ID)
	grant, err := w.Give(w.ctx, "globex/gina", g)
	if !turnedAway("gina's grant", err) {
		if err := w.Failure(w.ctx, "acme", countersign.AccessID("acme", grant)); err == nil {
			t.Error("gina gave a grant of acme's authority")
		}
	}
}

// anothersDocument has globex's system ask for acme's document to be signed, by its name and by a detour, at the API and at the server.
func (w *world) anothersDocument(t *testing.T) {
	t.Helper()
	for i, key := range []string{w.document.Key, "globex/../" + w.document.Key} {
		r := w.open.Request
		r.Tenant, r.ID, r.Document.Key = "globex", fmt.Sprintf("of-acme-%d", i), key
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.ask(actors["their-home"], route(t, "request-signing"), asked{kind: "application/json", body: body})
		var p client.Problem
		if err == nil {
			err = json.Unmarshal([]byte(got.body), &p)
		}
		if err != nil || got.status != http.StatusUnprocessableEntity || p.Code != "bad-request" {
			t.Errorf("the API answers a request for %s with %s (%v)", key, got, err)
		}
		g, err := w.Begin(w.ctx, "machine:globex/procurement", r)
		if err != nil {
			t.Fatal(err)
		}
		if ending, err := g.End(w.ctx); err != nil || ending.Outcome != countersign.Refused || !strings.Contains(ending.Detail, "document: key must") {
			t.Errorf("a request for %s became %+v (%v)", key, ending, err)
		}
	}
}

// detour reads acme's document with the credentials of globex's worker, under a name that begins as globex's own do: a store that keeps objects in
// directories must not follow it.
func (w *world) detour(t *testing.T) {
	t.Helper()
	o := w.document
	o.Key = "globex/../" + o.Key
	if got, err := w.stolenObject(o); err == nil {
		t.Errorf("the store follows %s: %.100q", o.Key, got)
	}
}

// anothersKey has workers of globex start on a file that names acme's key.
func (w *world) anothersKey(t *testing.T) {
	t.Helper()
	dir, err := w.Tenant(t.TempDir(), "globex", w.Tenants["globex"].KeyARN, w.Tenants["acme"].KeyARN)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Workers(filepath.Join(w.Bin, "workers"), dir)
	if err == nil {
		p.Stop()
		t.Error("workers of globex started with acme's key")
		return
	}
	if says := "is not of the key"; slices.Contains(w.off, keys) && !strings.Contains(err.Error(), says) {
		t.Errorf("workers of globex with acme's key: %v, want %q", err, says)
	}
}

// anothersNamespace has both processes of globex start on a file that names acme's namespace.
func (w *world) anothersNamespace(t *testing.T) {
	t.Helper()
	dir, err := w.Tenant(t.TempDir(), "globex", "namespace: globex", "namespace: acme")
	if err != nil {
		t.Fatal(err)
	}
	processes := map[string]func() (*stack.Process, error){
		"workers": func() (*stack.Process, error) { return w.Workers(filepath.Join(w.Bin, "workers"), dir) },
		"the API": func() (*stack.Process, error) { p, _, err := w.Serve(dir); return p, err },
	}
	for name, start := range processes {
		p, err := start()
		if err == nil {
			p.Stop()
			t.Errorf("%s of globex started in acme's namespace", name)
			continue
		}
		if says := "is of another tenant than"; slices.Contains(w.off, namespaces) && !strings.Contains(err.Error(), says) {
			t.Errorf("%s of globex in acme's namespace: %v, want %q", name, err, says)
		}
	}
}
