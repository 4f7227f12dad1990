package evidence

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// rejected is a bundle of a signing that alice rejected, with the roots to check it by.
func rejected(t testing.TB) ([]byte, Roots) {
	t.Helper()
	f, err := os.Open("../tests/vectors/bundles/rejected.asice.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw, Roots{Signers: pool(t, "../tests/vectors/bundles/tenant-ca.pem"), TSAs: pool(t, "../tests/vectors/bundles/tsa-ca.pem")}
}

// concealed conceals a bundle under a key for each person in it, and gives the keys for it, by the persons' subjects.
func concealed(t *testing.T, raw []byte) (stored []byte, keys shred.Keys, all map[string]Personal) {
	t.Helper()
	people, err := PersonalData(raw)
	if err != nil {
		t.Fatal(err)
	}
	windows, err := Windows(raw)
	if err != nil {
		t.Fatal(err)
	}
	keys, all = shred.Keys{}, map[string]Personal{}
	var subjects []shred.Subject
	for i, p := range people {
		key := shred.Key{byte(i + 1)}
		subjects = append(subjects, shred.Subject{ID: p.Actor.Subject, Key: key, Strings: p.Strings})
		keys[p.Actor.Subject], all[p.Actor.Subject] = key, p
	}
	var out bytes.Buffer
	if err := shred.ConcealTo(&out, raw, windows, subjects); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), keys, all
}

func TestN13_PersonalDataIsFoundWithThePersonThatItIsAbout(t *testing.T) {
	t.Parallel()
	raw, _ := rejected(t)
	_, _, all := concealed(t, raw)
	for subject, want := range map[string][]string{"a-1001": {"a-1001", "Alice Ahn"}, "a-1004": {"a-1004", "Dave Dunn"}, "h-3001": {"h-3001", "Carol Hart"}, "procurement": {"procurement", "Acme procurement"}} {
		for _, text := range want {
			if !slices.Contains(all[subject].Strings, text) {
				t.Errorf("%s: %q is not found, of %q", subject, text, all[subject].Strings)
			}
		}
	}
	if i := slices.IndexFunc(all["a-1001"].Strings, func(s string) bool { return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 }); i < 0 {
		t.Errorf("alice's ID token is not found, of %q", all["a-1001"].Strings)
	}
	if len(all["a-1004"].Strings) != 3 { // subject, name, and the plan's digest, which is everybody's
		t.Errorf("of dave, who did nothing, found are %q", all["a-1004"].Strings)
	}
}

// Where all keys are there, the bundle is what it was; without one, nothing of that person is left, in no spelling, and all else is.
func TestN13_WhatIsShreddedIsGoneAndTheRestStillVerifies(t *testing.T) {
	t.Parallel()
	raw, roots := rejected(t)
	stored, keys, all := concealed(t, raw)
	c, err := shred.Read(stored)
	if err != nil {
		t.Fatal(err)
	}
	if again, lost, err := c.Reveal(keys); err != nil || len(lost) > 0 || !bytes.Equal(again, raw) {
		t.Fatalf("with all keys: lost %v, %v", lost, err)
	}
	if err := VerifyConcealed(c, keys, roots).Err(); err != nil {
		t.Errorf("with all keys: %v", err)
	}
	for subject, person := range all {
		left := shred.Keys{}
		for id, key := range keys {
			if id != subject {
				left[id] = key
			}
		}
		body, lost, err := c.Reveal(left)
		if err != nil || len(lost) == 0 {
			t.Fatalf("without %s: lost %v, %v", subject, lost, err)
		}
		text := string(body) + decoded(body)
		for _, s := range person.Strings {
			if strings.Contains(text, s) {
				t.Errorf("without %s, left is %q", subject, s)
			}
		}
		for other, person := range all {
			for _, s := range person.Strings {
				if other != subject && !slices.Contains(all[subject].Strings, s) && !strings.Contains(text, s) {
					t.Errorf("without %s, %q of %s is lost", subject, s, other)
				}
			}
		}
		report := VerifyConcealed(c, left, roots)
		if err := report.Err(); err != nil {
			t.Errorf("without %s: %v", subject, err)
		}
		states := map[string]State{}
		for _, f := range report.Findings {
			states[f.Check] = f.State
		}
		for check, want := range map[string]State{"container": Pass, "seal": Pass, "files": Pass, "shredded": NotRecorded} {
			if states[check] != want {
				t.Errorf("without %s: %s is %q, want %q", subject, check, states[check], want)
			}
		}
		if _, told := states["decisions"]; told {
			t.Errorf("without %s: decisions are judged whose proofs are gone", subject)
		}
	}
}

// decoded is what a text holds in base64.
func decoded(body []byte) string {
	var all strings.Builder
	for _, m := range regexp.MustCompile(`[A-Za-z0-9+/]{8,}={0,2}`).FindAll(body, -1) {
		for cut := range 4 {
			part := m[min(cut, len(m)):]
			part = part[:len(part)/4*4]
			if plain, err := base64.StdEncoding.DecodeString(string(part)); err == nil {
				all.Write(plain)
			}
		}
	}
	return all.String()
}

// A changed byte that is not shredded is found, and so is a header that says more is shredded than is personal.
func TestN13_OfAShreddedBundleWhatIsLeftCantBeChanged(t *testing.T) {
	t.Parallel()
	raw, roots := rejected(t)
	stored, keys, _ := concealed(t, raw)
	c, err := shred.Read(stored)
	if err != nil {
		t.Fatal(err)
	}
	delete(keys, "a-1004")
	sum := sha256.Sum256(stored)
	locked := roots
	for digest, holds := range map[string]bool{base64.StdEncoding.EncodeToString(sum[:]): true, base64.StdEncoding.EncodeToString(make([]byte, 32)): false} {
		locked.Lock = &LockRecord{SHA256: digest, Mode: "COMPLIANCE", RetainUntil: sealedAt.Add(time.Hour)}
		if err := VerifyConcealed(c, keys, locked).Err(); (err == nil) != holds {
			t.Errorf("under a lock of an object with the SHA-256 %s: %v", digest, err)
		}
	}
	body, lost, err := c.Reveal(keys)
	if err != nil {
		t.Fatal(err)
	}
	_, damaged, err := openShredded(body, lost)
	if err != nil {
		t.Fatal(err)
	}
	inDamaged := func(at int) bool {
		b, err := OpenBundle(raw)
		if err != nil {
			t.Fatal(err)
		}
		from := localHeader + len(mimetypeName) + len(mimetypeValue)
		for _, f := range b.Files() {
			from += localHeader + len(f.Name)
			if at >= from && at < from+len(f.Bytes) {
				return slices.Contains(damaged, f.Name)
			}
			from += len(f.Bytes)
		}
		return false
	}
	head := len(stored) - len(raw)
	found := 0
	for at := 0; at < len(raw); at += 97 {
		if inDamaged(at) {
			continue
		}
		changed := slices.Clone(stored)
		changed[head+at] ^= 1
		c, err := shred.Read(changed)
		if err != nil {
			t.Fatal(err)
		}
		if VerifyConcealed(c, keys, roots).Err() == nil {
			t.Errorf("byte %d was changed, and nothing found", at)
		}
		found++
	}
	if found < 20 {
		t.Errorf("only %d bytes were tried", found)
	}

	for _, text := range []string{"<asic:ASiCManifest", "permit", "PK\x01\x02"} {
		var out bytes.Buffer
		err := shred.ConcealTo(&out, raw, []shred.Window{{Offset: 0, Length: len(raw)}}, []shred.Subject{{ID: "a", Strings: []string{text}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := shred.Read(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if VerifyConcealed(c, nil, roots).Err() == nil {
			t.Errorf("%q is concealed as if it were personal data, and nothing found", text)
		}
	}
}

// pool reads roots.
func pool(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		t.Fatalf("%s holds no certificate", file)
	}
	return roots
}

// Whoever signals a decision can write as many names into it as they like. That must neither cost a key for each, nor keep evidence from being locked.
func TestN13_WhomNobodyButASenderNamesGetsNoKey(t *testing.T) {
	t.Parallel()
	alice, mallory, made := countersign.Actor{Issuer: "https://id", Subject: "alice"}, countersign.Actor{Issuer: "https://id", Subject: "mallory"}, countersign.Actor{Issuer: "https://id", Subject: "made-up"}
	p, known := people{}, people{}
	p.add(alice, "Alice Ahn")
	p.add(made, "Made Up")
	p.add(mallory, "mallory")
	known.add(alice, "alice")
	known.add(mallory, "mallory")
	p.keep(known)
	if _, kept := p[made]; kept || len(p[alice]) != 1 || len(p[mallory]) != 1 {
		t.Errorf("kept apart are %v", p)
	}
	if !slices.Contains(p[countersign.Actor{}], "Made Up") {
		t.Error("what was said of them is not concealed at all")
	}

	p, known = people{}, people{}
	for i := range shred.MaxSubjects + 5 {
		who := countersign.Actor{Issuer: "https://id", Subject: fmt.Sprintf("%05d", i)}
		p.add(who, who.Subject)
		known.add(who, who.Subject)
	}
	p.keep(known)
	if len(p) != shred.MaxSubjects+1 || len(p[countersign.Actor{}]) != 5 {
		t.Errorf("%d people are kept apart, and %d strings are everybody's", len(p)-1, len(p[countersign.Actor{}]))
	}
}

// Whom a signing that isn't over names so far is who is in the way of shredding them: who asked, decided or may decide, and nobody whom a sender makes up.
func TestN13_AHistoryNamesThosePeopleWhoseKeysItsEvidenceWillNeed(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../tests/golden/histories/v0.2.0/rejected.json")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHistoryJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	var people []countersign.Actor
	for _, stage := range c.Admission.Plan.Stages {
		for _, e := range stage.Eligible {
			people = append(people, e.Actor)
		}
	}
	made := countersign.Actor{Issuer: c.Admission.Requester.Actor.Issuer, Subject: "made-up"}
	for n := range h.Events {
		// Each part of it, as it grew.
		admitted := false
		for _, e := range h.Events[:n] {
			admitted = admitted || e.GetActivityTaskCompletedEventAttributes() != nil
		}
		part := &historypb.History{Events: h.Events[:n]}
		for _, who := range people {
			if admitted && !Names(part, who) {
				t.Errorf("the first %d events don't name %s", n, who)
			}
		}
		if Names(part, made) {
			t.Errorf("the first %d events name somebody who isn't there", n)
		}
	}
	if len(people) < 2 {
		t.Errorf("only %v may decide", people)
	}
	h.Events = append(h.Events, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: "decide", Input: &commonpb.Payloads{
			Payloads: []*commonpb.Payload{{Data: []byte(`{"decision":{"actor":{"iss":"` + made.Issuer + `","sub":"made-up"}}}`)}},
		}},
	}})
	if Names(h, made) {
		t.Error("a sender of signals keeps anybody's data from being shredded by naming them")
	}
}

// Somebody who covers may be named by the message that they got alone, as one word: they are a person whose data can be shredded as well.
func TestN13_WhoWasOnlyToldIsAPersonToo(t *testing.T) {
	t.Parallel()
	p := people{}
	p.walk([]any{
		map[string]any{"recipient": "https://id.acme.example#a-1002", "event": EventApprovalRequested}, map[string]any{"recipient": "owner"}, map[string]any{"recipient": "webhook 1 at hooks.example"},
	}, countersign.Actor{})
	who := countersign.Actor{Issuer: "https://id.acme.example", Subject: "a-1002"}
	if got := p[who]; len(got) != 1 || got[0] != who.Subject || len(p) != 1 {
		t.Errorf("found are %v", p)
	}
}
