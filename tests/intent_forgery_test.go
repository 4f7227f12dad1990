package tests

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/tests/stack"
)

// The orchestration has the people's decisions, each of them good, and leaves the log without its intent, or shows the proof of something else. The signing step
// refuses to ask the key. With the intent in the log, and nothing else changed, it asks.
func TestN04_TheKeyIsNotAskedBeforeTheTenantsLogHasTheIntent(t *testing.T) {
	o := compromise(t, "\npurposes:\n", "\npurposes:\n    one: {title: One, kind: consent, stages: [{name: legal, role: legal, quorum: 1, within: 1h}]}\n")
	r := request(t, "globex", "one")
	other := o.begin(t, "globex/paul", named(r, "other"))
	elsewhere := o.proof(t, other)
	_, made, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("left out, or proven by something else", func(t *testing.T) {
		g := o.unlogged(t, "globex/paul", r)
		in := o.approved(t, g)
		o.notLogged(t, g, "nothing appended", in, "nothing was appended")

		// The other one's entry is there, under a checkpoint of this very log.
		o.append(t, g, "another's", o.intent(t, other))
		o.notLogged(t, g, "another request's entry", in, "something else than this signing's intent")

		own, err := countersign.Canonical(o.intent(t, g))
		if err != nil {
			t.Fatal(err)
		}
		older := elsewhere
		older.Entry = string(own)
		o.showed(t, g, "older", older)
		o.notLogged(t, g, "its own entry beside an older checkpoint", in, "not in the log of this checkpoint")

		// A log of one entry, this one, is in order but for who signed it.
		forged := translog.Proof{Entry: string(own), Checkpoint: string(forgery(t, treeOf(string(own)), made))}
		o.showed(t, g, "forged", forged)
		o.notLogged(t, g, "a forged checkpoint", in, "not signed by the key")

		o.append(t, g, "intent", o.intent(t, g))
		o.signs(t, g, "logged", in)
	})
	for name, change := range map[string]func(*translog.Entry){
		"another run's entry":         func(e *translog.Entry) { e.Run = o.intent(t, other).Run },
		"another transaction's entry": func(e *translog.Entry) { e.Context = o.intent(t, other).Context },
	} {
		t.Run(name, func(t *testing.T) {
			g := o.unlogged(t, "globex/paul", named(r, strings.Fields(name)[1][:3]))
			in := o.approved(t, g)
			e := o.intent(t, g)
			change(&e)
			o.append(t, g, "entry", e)
			o.notLogged(t, g, name, in, "something else than this signing's intent")
		})
	}
	t.Run("logged", func(t *testing.T) { o.signs(t, other, "logged", o.approved(t, other)) })
}

// named is a request of another id.
func named(r countersign.Request, suffix string) countersign.Request {
	r.ID += "-" + suffix
	return r
}

// approved is what an honest saga would ask with, once one person has approved.
func (o *orchestration) approved(t *testing.T, g *stack.Signing) evidence.SignInput {
	t.Helper()
	in := o.input(t, g)
	in.Decisions = set(o.checked(t, g, checking("gina", o.put(t, g, "globex/gina", "legal", countersign.Approve, nil), 1, 0)))
	return in
}

// intent is the entry that an honest saga has appended before it asks the key.
func (o *orchestration) intent(t *testing.T, g *stack.Signing) translog.Entry {
	t.Helper()
	s := o.approval(t, g)
	return evidence.IntentEntry(g.Request, s.Saga, s.Context)
}

// append has the saga put an entry into the tenant's log.
func (o *orchestration) append(t *testing.T, g *stack.Signing, name string, e translog.Entry) {
	t.Helper()
	if refusal := o.ask(t, g, asked{Name: "append " + name, Append: &evidence.LogInput{Entry: e}}).Refusal; refusal != nil {
		t.Fatalf("the log takes no %s: %s", name, refusal)
	}
}

// showed has the saga's history show a proof that the log never gave.
func (o *orchestration) showed(t *testing.T, g *stack.Signing, name string, p translog.Proof) {
	t.Helper()
	if refusal := o.ask(t, g, asked{Name: "show " + name, Appended: &p}).Refusal; refusal != nil {
		t.Fatalf("the attacker's own activity doesn't run: %s", refusal)
	}
}

// proof is what the last append gave to a saga.
func (o *orchestration) proof(t *testing.T, g *stack.Signing) (p translog.Proof) {
	t.Helper()
	appends := map[int64]bool{}
	o.history(t, g, func(e *historypb.HistoryEvent) {
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == evidence.ActivityAppendLog {
			appends[e.GetEventId()] = true
		}
		a := e.GetActivityTaskCompletedEventAttributes()
		if !appends[a.GetScheduledEventId()] {
			return
		}
		for _, payload := range a.GetResult().GetPayloads() {
			if err := json.Unmarshal(payload.GetData(), &p); err != nil {
				t.Fatal(err)
			}
		}
	})
	if p.Entry == "" {
		t.Fatal("nothing was appended")
	}
	return p
}

// notLogged has the saga ask for a signature, which has to be refused without asking the key.
func (o *orchestration) notLogged(t *testing.T, g *stack.Signing, name string, in evidence.SignInput, says string) {
	t.Helper()
	calls := keyCalls(t)
	if r := o.sign(t, g, name, in).Refusal; r == nil || r.Code != "not-logged" || !strings.Contains(r.Message, says) {
		t.Errorf("%s: the signing step answered %+v, want that it isn't logged: %s", name, r, says)
	}
	if asked := keyCalls(t) - calls; asked != 0 {
		t.Errorf("%s: the key was asked %d times", name, asked)
	}
	if stored := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "")); len(stored) != 0 {
		t.Errorf("%s: %d signatures are stored", name, len(stored))
	}
}

// signs has the saga ask for a signature, which takes one call of the key.
func (o *orchestration) signs(t *testing.T, g *stack.Signing, name string, in evidence.SignInput) {
	t.Helper()
	calls := keyCalls(t)
	if signature := o.sign(t, g, name, in); signature.Refusal != nil || signature.Object.VersionID == "" {
		t.Errorf("%s: the signing step answered %+v", name, signature)
	}
	if asked := keyCalls(t) - calls; asked != 1 {
		t.Errorf("%s: the key was asked %d times, want once", name, asked)
	}
}

// treeOf is the text of a checkpoint of a log of globex with one entry.
func treeOf(entry string) string {
	return translog.Origin("globex") + "\n1\n" + tlog.RecordHash([]byte(entry)).String() + "\n\n"
}
