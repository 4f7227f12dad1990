package vectors

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// The one who runs the tenant's systems can have the tenant's key and archive whatever key an identity provider is said to have had. So these forgeries are
// complete: every decision is proven anew, the document is signed anew, and only what the verifier reads beside that is left to find them.

// forgery is a signing that was completed, whose history, document's signature and seal are made anew.
type forgery struct {
	t    *testing.T
	w    *world
	h    *historypb.History
	pdf  []byte
	idp  *ecdsa.PrivateKey
	algo string // what kms.json says, where it isn't the key's own
}

func newForgery(t *testing.T) *forgery {
	t.Helper()
	return forgeryBy(t, newWorld(t, t.TempDir()))
}

func forgeryBy(t *testing.T, w *world) *forgery {
	t.Helper()
	b := must(evidence.OpenBundle(read(t, golden+"completed.asice")))
	pb, _ := b.File("history.pb")
	f := &forgery{t: t, w: w, h: must(evidence.ParseHistory(pb)), idp: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	f.pdf, _ = b.File("document.pdf")
	return f
}

func (f *forgery) read() *evidence.Case { return must(evidence.ReadHistory(f.h)) }

func (f *forgery) replace(from, to string) {
	f.t.Helper()
	if from != to {
		everywhere(f.t, from, to)(f.h)
	}
}

func text(v any) string { return string(must(json.Marshal(v))) }

// input changes the input of an activity, and nothing else.
func (f *forgery) input(activity, from, to string) {
	f.t.Helper()
	changed := 0
	for _, e := range f.h.Events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == activity {
			for _, p := range a.GetInput().GetPayloads() {
				changed += bytes.Count(p.Data, []byte(from))
				p.Data = bytes.ReplaceAll(p.Data, []byte(from), []byte(to))
			}
		}
	}
	if changed == 0 {
		f.t.Fatalf("the input of %s has no %q", activity, from)
	}
}

// proveAnew has everybody prove what they are said to have decided, by a key that the identity provider is said to have had.
func (f *forgery) proveAnew() {
	f.t.Helper()
	jwk := jose.JSONWebKey{Key: f.idp.Public(), KeyID: "key-1", Algorithm: "ES256", Use: "sig"}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: f.idp}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "key-1")))
	a := f.read().Admission
	for _, d := range f.read().Decisions {
		signed := must(countersign.ParseSignedDecision(d.Input.Signed))
		who := signed.Decision.Actor
		i := slices.IndexFunc(a.Issuers, func(i countersign.Issuer) bool { return i.URL == who.Issuer })
		digest, at := must(signed.Decision.Digest()), d.At.Unix()
		token := must(must(signer.Sign([]byte(text(map[string]any{
			"iss": who.Issuer, "sub": who.Subject, "aud": a.Issuers[i].EvidenceAudience, "nonce": digest, "iat": at, "exp": at + 300, "auth_time": at,
		})))).CompactSerialize())
		f.replace(signed.Proof.IDToken, token)
		f.replace(d.Check.Record.Digest, digest)
		facts := *d.Check.Facts
		facts.AuthTime, facts.IssuedAt, facts.ACR, facts.AMR = time.Unix(at, 0).UTC(), time.Unix(at, 0).UTC(), "", nil
		f.replace(text(d.Check.Facts), text(facts))
		f.replace(`"key":`+text(d.Check.Facts.Key), `"key":`+text(jwk))
	}
}

// signAnew signs the document by the forger's key, and says so.
func (f *forgery) signAnew() (cms []byte) {
	f.t.Helper()
	keyAnew(f.h, f.read(), f.w.facts.ARN)
	was := f.read().Signature
	stamps := f.w.stamps
	stamps.at = was.At // a time-stamp of then can't be had; one of the time that the server recorded, so that something else is found
	cms = must(evidence.SignDetached(f.t.Context(), f.pdf, f.w.signer, stamps, stamps.at))
	for _, p := range [][2]string{{was.Object.SHA256, countersign.SHA256(cms)}, {text(was.Key), text(f.w.facts.ARN)}} {
		f.replace(p[0], p[1])
	}
	return cms
}

func (f *forgery) files() []evidence.File {
	f.t.Helper()
	facts := f.w.facts
	if f.algo != "" {
		facts.Algorithm = f.algo
	}
	cms := f.signAnew()
	return must(evidence.Assemble(evidence.Material{
		Case: f.read(), History: f.h, Seal: evidence.SealInput{Outcome: countersign.Completed}, Key: facts, Document: f.pdf, Signature: cms,
		Worker: evidence.Worker{Build: "vectors", Revision: "not recorded"},
	}))
}

func (f *forgery) verify() *evidence.Report {
	f.t.Helper()
	return evidence.Verify(sealed(f.t, f.files(), f.w.signer, f.w.stamps, f.w.at, f.w.roots), f.w.roots)
}

// checkedForAnother has the decisions checked for another document than people decided about.
func (f *forgery) checkedForAnother() {
	own := f.read().Admission.Context.Document
	other := own
	other.SHA256 = countersign.SHA256(nil)
	f.input(evidence.ActivityCheckDecision, text(own)+`,"policy":`, text(other)+`,"policy":`)
}

// late has an activity end only after another one was asked for, and numbers all events anew.
func (f *forgery) late(activity, behind string) {
	f.t.Helper()
	scheduled := map[int64]string{}
	end, sign := -1, -1
	for i, e := range f.h.Events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			scheduled[e.EventId] = a.GetActivityType().GetName()
			if scheduled[e.EventId] == behind {
				sign = i
			}
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && scheduled[a.ScheduledEventId] == activity {
			end = i
		}
	}
	if end < 0 || sign < end {
		f.t.Fatalf("%s ends at %d, %s is asked at %d", activity, end, behind, sign)
	}
	moved := f.h.Events[end]
	f.h.Events = slices.Insert(slices.Delete(f.h.Events, end, end+1), sign, moved)
	number := map[int64]int64{}
	for i, e := range f.h.Events {
		number[e.EventId] = int64(i) + 1
	}
	for _, e := range f.h.Events {
		e.EventId = number[e.EventId]
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil {
			a.ScheduledEventId, a.StartedEventId = number[a.ScheduledEventId], number[a.StartedEventId]
		}
		if a := e.GetActivityTaskStartedEventAttributes(); a != nil {
			a.ScheduledEventId = number[a.ScheduledEventId]
		}
	}
}

// decisions changes what people are said to have decided, wherever it stands.
func (f *forgery) decisions(change func(*countersign.Decision)) {
	f.t.Helper()
	for _, d := range f.read().Decisions {
		was := must(countersign.ParseSignedDecision(d.Input.Signed)).Decision
		now := was
		change(&now)
		f.replace(text(was), text(now))
	}
}

func TestR13_ACompleteForgeryHoldsSoFar(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.proveAnew()
	if err := f.verify().Err(); err != nil {
		t.Errorf("the signing that the others change doesn't hold itself: %v", err)
	}
}

// Everybody approved a transaction that one of them requested; only the key was asked as if somebody else had.
func TestR13_WhoRequestedIsTheTransactionsWord(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	really := f.read().Admission.Context.Requester
	f.requestedByAnApprover()
	f.proveAnew()
	wantFails(t, f.verify(), "quorum", "can't approve it")

	f.input(evidence.ActivitySign, f.requester(), `"requester":`+text(really))
	r := f.verify()
	wantFails(t, r, "context", "asked for another transaction")
	wantFails(t, r, "quorum", "asked for another transaction")
}

// requestedByAnApprover makes the first who decided the requester, under a policy that allows everything.
func (f *forgery) requestedByAnApprover() {
	f.t.Helper()
	was, first := f.read().Admission, f.read().Decisions[0].Check
	now := was.Requester
	now.Actor = first.Record.Actor
	laxer := "@id(\"all\")\npermit (principal, action, resource);\n"
	for _, p := range [][2]string{
		{text(was.Requester), text(now)}, {`"requester":` + text(was.Context.Requester), `"requester":` + text(now.Actor)},
		{`"principal":{"actor":` + text(was.Context.Requester), `"principal":{"actor":` + text(now.Actor)},
		{text(was.PolicyText), text(laxer)}, {was.Context.Policy, countersign.SHA256([]byte(laxer))},
		{text(was.Answer.Policies), `["all"]`}, {text(first.Answer.Policies), `["all"]`},
	} {
		f.replace(p[0], p[1])
	}
	f.replace(was.Digest, must(f.read().Admission.Context.Digest()))
}

// requester is how the history names whom the transaction says requested it.
func (f *forgery) requester() string {
	return `"requester":` + text(f.read().Admission.Context.Requester)
}

func TestR13_WhatADecisionWasCheckedForIsTheTransactions(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.checkedForAnother()
	f.proveAnew()
	wantFails(t, f.verify(), "decisions", "another document")

	a := newForgery(t).read().Admission
	document, other := text(a.Context.Document), a.Context.Document
	other.SHA256 = countersign.SHA256(nil)
	policy := `"policy":` + text(a.Context.Policy)
	for _, c := range []struct{ name, from, to, says string }{
		{"context", `"context":` + text(a.Digest) + `,"document":` + document + `,"policy"`, `"context":` + text(other.SHA256) + `,"document":` + document + `,"policy"`, "another transaction"},
		{"policy", policy + `,"policyText":`, `"policy":` + text(other.SHA256) + `,"policyText":`, "another policy"},
		{"policy's text", `"policyText":` + text(a.PolicyText), `"policyText":""`, "another policy"},
		{"requester", `"requester":` + text(a.Context.Requester) + `,"stages"`, `"requester":{"iss":"a","sub":"b"},"stages"`, "somebody else"},
		{"tenant", `"tenant":"acme","context":` + text(a.Digest) + `,"document":` + document + `,"policy"`, `"tenant":"globex","context":` + text(a.Digest) + `,"document":` + document + `,"policy"`, "another transaction"},
		{"stage", `"quorum":1`, `"quorum":0`, "not the plan's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.input(evidence.ActivityCheckDecision, c.from, c.to)
			f.proveAnew()
			wantFails(t, f.verify(), "decisions", c.says)
		})
	}
}

func TestR13_WhatTheKeyWasAskedForIsTheTransactions(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	c := f.read()
	f.input(evidence.ActivitySign, `"request":`+text(c.Input.Request.ID)+`,`, `"request":"another",`)
	f.proveAnew()
	wantFails(t, f.verify(), "context", "another request")

	f = newForgery(t)
	f.input(evidence.ActivitySign, `"settings":`+text(c.Admission.Context.Settings), `"settings":`+text(countersign.SHA256(nil)))
	f.proveAnew()
	wantFails(t, f.verify(), "context", "another transaction")
}

// What counted is what a build would have counted, in everything that a person can say.
func TestR13_ADecisionThatCountsIsWellFormed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, says string
		change     func(*countersign.Decision)
	}{
		{"another version", "v is 2", func(d *countersign.Decision) { d.V = 2 }},
		{"a second too long", "exp must be after iat", func(d *countersign.Decision) { d.ExpiresAt = d.IssuedAt + 901 }},
		{"over before it began", "exp must be after iat", func(d *countersign.Decision) { d.ExpiresAt = d.IssuedAt - 1 }},
		{"grants of nobody", "belong together", func(d *countersign.Decision) { d.Grants = []string{countersign.SHA256(nil)} }},
		{"a reason that shows as another", "reason", func(d *countersign.Decision) { d.Reason = "no\x00yes" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.decisions(c.change)
			f.proveAnew()
			r := f.verify()
			wantFails(t, r, "decisions", c.says)
			wantFails(t, r, "quorum", "")
		})
	}
	t.Run("a rejection", func(t *testing.T) {
		t.Parallel()
		r := mutated(t, countersign.Rejected, func(h *historypb.History) {
			f := &forgery{t: t, h: h, idp: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
			f.decisions(func(d *countersign.Decision) { d.V = 2 })
			f.proveAnew()
		})
		wantFails(t, r, "decisions", "v is 2")
	})
	t.Run("a rejection that came too late", func(t *testing.T) {
		t.Parallel()
		r := mutated(t, countersign.Rejected, func(h *historypb.History) {
			f := &forgery{t: t, h: h, idp: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
			at := f.read().Decisions[0].At.Unix()
			f.decisions(func(d *countersign.Decision) { d.IssuedAt, d.ExpiresAt = at-30, at })
			f.proveAnew()
		})
		wantFails(t, r, "decisions", "had expired")
	})
}

func TestR13_TheKeyIsAskedAfterTheIntentIsLocked(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.late(evidence.ActivityIntend, evidence.ActivitySign)
	f.proveAnew()
	wantFails(t, f.verify(), "document signature", "before the intent")

	f = newForgery(t)
	f.late(evidence.ActivityCheckDecision, evidence.ActivitySign)
	f.proveAnew()
	wantFails(t, f.verify(), "quorum", "before the decision")
}

// The signing step is given what was checked: a decision with other proofs, though they hold too, is not what counted.
func TestR13_TheKeyIsAskedWithWhatCounted(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.proveAnew()
	key := text(f.read().Decisions[0].Check.Facts.Key)
	f.input(evidence.ActivitySign, `"key":`+key, `"key":`+key[:len(key)-1]+`,"more":1}`)
	wantFails(t, f.verify(), "quorum", "never counted")
}

func TestR13_TheRecordOfADecisionSaysWhatItsProofsDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, from, to, says string }{
		{"another id", `"record":{"id":"`, `"record":{"id":"x`, "something else than the decision"},
		{"a delegator more", `"at":"`, `"delegators":[{"iss":"a","sub":"b"}],"at":"`, "other delegators"},
		{"a login at another time", `"authTime":"2026`, `"authTime":"2025`, "tells the login otherwise"},
		{"a login of another kind", `"issuedAt":`, `"acr":"gold","issuedAt":`, "tells the login otherwise"},
		{"a key that signed nothing", `"issuedAt":`, `"enrolledKey":{"key":"x","kind":"passkey","counter":1,"userVerified":true},"issuedAt":`, "another key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.proveAnew()
			record := text(f.read().Decisions[0].Check)
			f.replace(record, string(bytes.Replace([]byte(record), []byte(c.from), []byte(c.to), 1)))
			wantFails(t, f.verify(), "decisions", c.says)
		})
	}
}

func TestR13_TheSagasResultHasTheSignatureThatWasMade(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.proveAnew()
	request := f.read().Signature.RequestID
	for _, e := range f.h.Events {
		for _, p := range e.GetWorkflowExecutionCompletedEventAttributes().GetResult().GetPayloads() {
			p.Data = bytes.ReplaceAll(p.Data, []byte(text(request)), []byte(`"another"`))
		}
	}
	wantFails(t, f.verify(), "context", "another signature")
}

// A kind answer to another question is none: at intake, too, the policy was asked about this request.
func TestR13_IntakeAskedThePolicyAboutThisRequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, from, to string }{
		{"another signing", `"resource":{"signing":"saga/acme/`, `"resource":{"signing":"saga/acme/x`},
		{"another time", `"now":"2026`, `"now":"2025`},
		{"a person with more roles", `"roles":["`, `"roles":["owner","`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.proveAnew()
			question := text(f.read().Admission.Question)
			f.replace(question, string(bytes.Replace([]byte(question), []byte(c.from), []byte(c.to), 1)))
			wantFails(t, f.verify(), "policy", "intake: the policy was asked about something else")
		})
	}
}

func TestR16_TheKeysFileNamesTheSealsAlgorithm(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.proveAnew()
	f.algo = "ECDSA_SHA_384"
	wantFails(t, f.verify(), "files", "another algorithm than the seal")

	f = newForgery(t)
	f.proveAnew()
	f.replace(`"algorithm":"ECDSA_SHA_256"`, `"algorithm":"ECDSA_SHA_384"`)
	wantFails(t, f.verify(), "files", "another algorithm")
}

// What a withdrawal says, and when it came, is the signal's, not what a check made of it.
func TestR13_AWithdrawalIsTheOneThatWasSent(t *testing.T) {
	t.Parallel()
	history := func() *historypb.History { return must(evidence.ParseHistoryJSON(read(t, signed+"withdrawn.json"))) }
	all := must(evidence.ReadHistory(history())).Withdrawals
	i := slices.IndexFunc(all, func(w evidence.Withdrawn) bool { return w.Refusal == nil })
	refused := slices.IndexFunc(all, func(w evidence.Withdrawn) bool { return w.Refusal != nil && w.Reason != "" })
	for _, c := range []struct {
		name, says string
		of         int
		change     func(*evidence.Withdrawn)
	}{
		{"another reason", "that took effect", i, func(w *evidence.Withdrawn) { w.Reason = "gladly" }},
		{"another id", "that took effect", i, func(w *evidence.Withdrawn) { w.ID = "x" }},
		{"without its reason", "that took effect", i, func(w *evidence.Withdrawn) { w.Reason = "" }},
		{"another time", "another time", i, func(w *evidence.Withdrawn) { w.At = w.At.Add(time.Second) }},
		{"another reason of one that was refused", "something else than the withdrawal", refused, func(w *evidence.Withdrawn) { w.Reason = "gladly" }},
	} {
		h, was := history(), all[c.of]
		now := was
		c.change(&now)
		everywhere(t, text(was), text(now))(h)
		if _, err := evidence.ReadHistory(h); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	f := &forgery{t: t, h: history()}
	f.input(evidence.ActivityCheckWithdrawal, `"reason":"`, `"reason":"not `)
	if _, err := evidence.ReadHistory(f.h); err == nil || !strings.Contains(err.Error(), "something else than the signal brought") {
		t.Errorf("a check of another withdrawal: %v", err)
	}
}
