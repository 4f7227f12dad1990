package evidence

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// logOfOne is a log with one entry, and the proof that it is there.
func logOfOne(t *testing.T, private ed25519.PrivateKey, e translog.Entry) (translog.Proof, note.Verifier) {
	t.Helper()
	text, err := translog.VerifierText("acme", private.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := translog.ParseVerifier(text, "acme")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := countersign.Canonical(e)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: translog.Origin("acme") + "\n1\n" + tlog.RecordHash(entry).String() + "\n"}, plainKey{v, private})
	if err != nil {
		t.Fatal(err)
	}
	return translog.Proof{Entry: string(entry), Checkpoint: string(signed)}, v
}

type plainKey struct {
	note.Verifier
	private ed25519.PrivateKey
}

func (k plainKey) Sign(text []byte) ([]byte, error) { return ed25519.Sign(k.private, text), nil }

func TestN04_TheProofInABundleIsOfThisSigningsIntentUnderTheLogsKey(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, saga := countersign.Request{Tenant: "acme", ID: "PO-1"}, Execution{Workflow: "saga/acme/PO-1", Run: "run"}
	digest := strings.Repeat("c", 64)
	own := IntentEntry(request, saga, digest)
	good, key := logOfOne(t, private, own)
	for _, c := range []struct {
		what   string
		change func(c *Case, roots *Roots)
		want   State
		says   string
	}{
		{"as it is", func(*Case, *Roots) {}, Pass, "entry 0 of the log of countersign/acme"},
		{"no key was given", func(_ *Case, r *Roots) { r.Log = nil }, NotRecorded, "was not given"},
		{"a build without a log", func(c *Case, _ *Roots) { c.Logged = nil }, NotRecorded, "kept no log"},
		{"the key was never asked", func(c *Case, _ *Roots) { c.Logged, c.SignInput = nil, nil }, NotRecorded, "not asked"},
		{"a build with a log left it out", func(c *Case, _ *Roots) { c.Logged, c.Admission.Context.Stamped = nil, true }, Fail, "no proof that the intent is in the log"},
		{"logged after the key was asked", func(c *Case, _ *Roots) { c.LoggedAs = 21 }, Fail, "before the intent was locked and in the log"},
		{"logged after the key was asked, and no key was given", func(c *Case, r *Roots) { c.LoggedAs, r.Log = 21, nil }, Fail, "before the intent was locked and in the log"},
		{"locked after the key was asked", func(c *Case, _ *Roots) { c.Intended = 21 }, Fail, "before the intent was locked and in the log"},
		{"another key signed", func(c *Case, _ *Roots) { p, _ := logOfOne(t, other, own); c.Logged = &p }, Fail, "not signed by the key"},
		{"another place", func(c *Case, _ *Roots) { c.Logged.Index = 1 }, Fail, "not in the log of this checkpoint"},
		{"another entry than the log's", func(c *Case, _ *Roots) { c.Logged.Entry = strings.Replace(good.Entry, "PO-1", "PO-2", 1) }, Fail, "not in the log of this checkpoint"},
		{"the entry of another request", func(c *Case, _ *Roots) { c.Input.Request.ID = "PO-2" }, Fail, "something else than this signing's intent"},
		{"the entry of another run", func(c *Case, _ *Roots) { c.Saga.Run = "another" }, Fail, "something else than this signing's intent"},
		{"the entry of another transaction", func(c *Case, _ *Roots) { c.Admission.Digest = strings.Repeat("d", 64) }, Fail, "something else than this signing's intent"},
	} {
		logged := good
		read, roots := &Case{Saga: saga, Input: SagaInput{Request: request}, Admission: &Admission{Digest: digest}, Logged: &logged, SignInput: &SignInput{}, Intended: 18, LoggedAs: 19, SignAsked: 20}, Roots{Log: key}
		c.change(read, &roots)
		v := &verifier{report: &Report{}, c: read, roots: roots}
		v.logged()
		if f := v.report.Findings[0]; len(v.report.Findings) != 1 || f.Check != "log" || f.State != c.want || !strings.Contains(f.Detail, c.says) {
			t.Errorf("%s: %+v", c.what, v.report.Findings)
		}
	}
}
