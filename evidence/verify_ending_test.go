package evidence

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// The proof beside a bundle is believed only if it is of exactly these bytes, as how exactly this signing ended.
func TestN04_TheProofBesideABundleIsOfThisBundle(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte("the bundle")
	request, saga := countersign.Request{Tenant: "acme", ID: "PO-1"}, Execution{Workflow: "saga/acme/PO-1", Run: "run"}
	digest := strings.Repeat("c", 64)
	report := func() *Report {
		return &Report{Statement: &Predicate{Request: request, Saga: saga, ContextDigest: digest, Outcome: countersign.Completed}}
	}
	locked := Locked{Outcome: countersign.Completed, Object: countersign.Object{Bucket: "evidence", Key: countersign.EvidenceKey("acme", "PO-1"), VersionID: "7", SHA256: countersign.SHA256(raw)}}
	own := EndingEntry(request, saga, digest, locked)
	changed := func(f func(*translog.Entry)) translog.Entry {
		e := own
		bundle := *own.Bundle
		e.Bundle = &bundle
		f(&e)
		return e
	}
	_, key := logOfOne(t, private, own)
	for _, c := range []struct {
		what  string
		entry translog.Entry
		by    ed25519.PrivateKey
		want  State
	}{
		{"its own", own, private, Pass},
		{"another key's", own, other, Fail},
		{"other bytes", changed(func(e *translog.Entry) { e.Bundle.SHA256 = strings.Repeat("0", 64) }), private, Fail},
		{"another place", changed(func(e *translog.Entry) { e.Bundle.Key = countersign.EvidenceKey("acme", "PO-2") }), private, Fail},
		{"another request", changed(func(e *translog.Entry) { e.Request = "PO-2" }), private, Fail},
		{"another run", changed(func(e *translog.Entry) { e.Run = "other" }), private, Fail},
		{"another transaction", changed(func(e *translog.Entry) { e.Context = strings.Repeat("d", 64) }), private, Fail},
		{"another outcome", changed(func(e *translog.Entry) { e.Outcome = countersign.Rejected }), private, Fail},
		{"the intent", IntentEntry(request, saga, digest), private, Fail},
		{"a hold", HoldEntry(translog.Held, "acme", "PO-1", "matter-1", saga, locked.Object, countersign.Actor{Issuer: "i", Subject: "a"}, countersign.Actor{Issuer: "i", Subject: "b"}), private, Fail},
	} {
		proof, _ := logOfOne(t, c.by, c.entry)
		text, err := json.Marshal(proof)
		if err != nil {
			t.Fatal(err)
		}
		r := report()
		r.ending(func() string { return countersign.SHA256(raw) }, text, key)
		if got := r.Findings[0]; got.Check != "log ending" || got.State != c.want {
			t.Errorf("%s: %+v, want %s", c.what, got, c.want)
		}
	}
	proof, _ := logOfOne(t, private, own)
	text, err := json.Marshal(proof)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		proof []byte
		r     *Report
		want  State
	}{
		"no proof": {nil, report(), NotRecorded}, "no JSON": {[]byte("{"), report(), Fail},
		"too much": {[]byte(strings.Repeat(" ", MaxLogProof+1)), report(), Fail},
		"more":     {append(text[:len(text)-1:len(text)-1], `,"x":1}`...), report(), Fail},
	} {
		c.r.ending(func() string { return countersign.SHA256(raw) }, c.proof, key)
		if got := c.r.Findings[0]; got.State != c.want {
			t.Errorf("%s: %+v, want %s", what, got, c.want)
		}
	}
	unread := &Report{}
	if unread.ending(func() string { return countersign.SHA256(raw) }, text, key); len(unread.Findings) != 0 {
		t.Errorf("of a bundle that can't be read it says %+v", unread.Findings)
	}
	r := report()
	r.ending(func() string { return countersign.SHA256(raw) }, text, nil)
	if got := r.Findings[0]; got.State != NotRecorded {
		t.Errorf("without a key: %+v", got)
	}
}
