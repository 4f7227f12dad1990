package activities

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// keptLog is a log in memory, whose key is at hand.
type keptLog struct {
	note.Verifier
	private ed25519.PrivateKey
	hashes  []tlog.Hash
	entries []string
}

func newKeptLog(t *testing.T, tenant string) *keptLog {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := translog.VerifierText(tenant, public)
	if err != nil {
		t.Fatal(err)
	}
	v, err := translog.ParseVerifier(text, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return &keptLog{Verifier: v, private: private}
}

func (l *keptLog) Sign(text []byte) ([]byte, error) { return ed25519.Sign(l.private, text), nil }

func (l *keptLog) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// append puts an entry into the log, and proves it under the checkpoint as of then.
func (l *keptLog) append(t *testing.T, e translog.Entry) translog.Proof {
	t.Helper()
	entry, err := countersign.Canonical(e)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(len(l.entries))
	added, err := tlog.StoredHashes(at, entry, l)
	if err != nil {
		t.Fatal(err)
	}
	l.entries, l.hashes = append(l.entries, string(entry)), append(l.hashes, added...)
	root, err := tlog.TreeHash(at+1, l)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.Name(), at+1, root)}, l)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.ProveRecord(at+1, at, l)
	if err != nil {
		t.Fatal(err)
	}
	return translog.Proof{Entry: string(entry), Index: at, Hashes: hashes, Checkpoint: string(checkpoint)}
}

// told is a saga's history, as far as the signing step asks it for the log.
type told []*historypb.HistoryEvent

func (h *told) scheduled(activity, id string) int64 {
	at := int64(len(*h) + 1)
	*h = append(*h, &historypb.HistoryEvent{EventId: at, Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityType: &commonpb.ActivityType{Name: activity}, ActivityId: id},
	}})
	return at
}

func (h *told) completed(scheduled int64, result string) {
	*h = append(*h, &historypb.HistoryEvent{EventId: int64(len(*h) + 1), Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
		ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: scheduled, Result: &commonpb.Payloads{
			Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(result)}},
		}},
	}})
}

// appended is an append that gave this proof.
func (h *told) appended(t *testing.T, p translog.Proof) {
	t.Helper()
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	h.completed(h.scheduled(evidence.ActivityAppendLog, ""), string(body))
}

func (h *told) asked() { h.scheduled(evidence.ActivitySign, "step") }

// read is what the signing step with this id reads of it.
func (h *told) read(step string) (record, error) {
	r := newRecord(step)
	for _, e := range *h {
		if err := r.read(e); err != nil {
			return r, err
		}
	}
	return r, nil
}

// What counts is the proof that the last append left before the key was to be asked, and only for what it proves under the key of the tenant's log.
func TestN04_TheSigningStepTakesTheProofOfThisIntentAlone(t *testing.T) {
	t.Parallel()
	saga := evidence.Execution{Workflow: countersign.SagaID("acme", "PO-1"), Run: "run"}
	own := evidence.IntentEntry(countersign.Request{Tenant: "acme", ID: "PO-1"}, saga, strings.Repeat("c", 64))
	other := func(change func(*translog.Entry)) translog.Entry {
		e := own
		change(&e)
		return e
	}
	bundle := countersign.Object{Bucket: "evidence", Key: "acme/evidence/PO-1.asice", VersionID: "v1", SHA256: strings.Repeat("b", 64)}
	log, forged, globex := newKeptLog(t, "acme"), newKeptLog(t, "acme"), newKeptLog(t, "globex")
	anothers := log.append(t, other(func(e *translog.Entry) { e.Request = "PO-2" }))
	good := log.append(t, own)
	with := func(change func(*translog.Proof)) func(*testing.T, *told) {
		return func(t *testing.T, h *told) {
			p := good
			change(&p)
			h.appended(t, p)
			h.asked()
		}
	}
	entry := func(change func(*translog.Entry)) func(*testing.T, *told) {
		return func(t *testing.T, h *told) {
			h.appended(t, log.append(t, other(change)))
			h.asked()
		}
	}
	const another, unlike = "something else than this signing's intent", "not in the log of this checkpoint"
	for _, c := range []struct {
		name    string
		history func(*testing.T, *told)
		old     bool // the transaction is one as v0.1.0 admitted it
		says    string
	}{
		{name: "its own", history: with(func(*translog.Proof) {})},
		{name: "nothing", history: func(_ *testing.T, h *told) { h.asked() }, says: "nothing was appended"},
		{name: "nothing, and v0.1.0 admitted it", history: func(_ *testing.T, h *told) { h.asked() }, old: true, says: "nothing was appended"},
		{name: "its own, and v0.1.0 admitted it", history: with(func(*translog.Proof) {}), old: true},
		{name: "another's, and v0.1.0 admitted it", history: with(func(p *translog.Proof) { *p = anothers }), old: true, says: another},
		{name: "an append that never ended", history: func(_ *testing.T, h *told) { h.scheduled(evidence.ActivityAppendLog, ""); h.asked() }, says: "nothing was appended"},
		{name: "its own, from an activity of another name", history: func(t *testing.T, h *told) {
			h.appended(t, good)
			(*h)[0].GetActivityTaskScheduledEventAttributes().ActivityType.Name = evidence.ActivityNotify
			h.asked()
		}, says: "nothing was appended"},
		{name: "its own, begun before the key was to be asked, and ended after", history: func(t *testing.T, h *told) {
			at := h.scheduled(evidence.ActivityAppendLog, "")
			h.asked()
			h.appended(t, good)
			(*h)[len(*h)-1].GetActivityTaskCompletedEventAttributes().ScheduledEventId = at
		}, says: "nothing was appended"},
		{name: "its own, and another's after the key was to be asked", history: func(t *testing.T, h *told) { h.appended(t, good); h.asked(); h.appended(t, anothers) }},
		{name: "its own after another's", history: func(t *testing.T, h *told) { h.appended(t, anothers); h.appended(t, good); h.asked() }},
		{name: "another's after its own", history: func(t *testing.T, h *told) { h.appended(t, good); h.appended(t, anothers); h.asked() }, says: another},
		{name: "another tenant's", history: entry(func(e *translog.Entry) { e.Tenant = "globex" }), says: another},
		{name: "another request's", history: entry(func(e *translog.Entry) { e.Request = "PO-3" }), says: another},
		{name: "another run's", history: entry(func(e *translog.Entry) { e.Run = "earlier" }), says: another},
		{name: "another transaction's", history: entry(func(e *translog.Entry) { e.Context = strings.Repeat("d", 64) }), says: another},
		{name: "no transaction's", history: entry(func(e *translog.Entry) { e.Context = "" }), says: another},
		{name: "its own ending", history: entry(func(e *translog.Entry) {
			e.Kind, e.Outcome, e.Bundle = translog.Sealed, countersign.Completed, &bundle
		}), says: another},
		{name: "of no such version", history: entry(func(e *translog.Entry) { e.V = 2 }), says: "version 2"},
		{name: "its own, in the log of another key", history: with(func(p *translog.Proof) { *p = forged.append(t, own) }), says: "not signed by the key"},
		{name: "its own, in another tenant's log", history: with(func(p *translog.Proof) { *p = globex.append(t, own) }), says: "not signed by the key"},
		{name: "its own, beside a checkpoint from before", history: with(func(p *translog.Proof) { p.Checkpoint, p.Index, p.Hashes = anothers.Checkpoint, 0, nil }), says: unlike},
		{name: "its own, in a place that the checkpoint doesn't have", history: with(func(p *translog.Proof) { p.Index = 9 }), says: unlike},
		{name: "its own, in another's place", history: with(func(p *translog.Proof) { p.Index = 0 }), says: unlike},
		{name: "its own, without the way to the root", history: with(func(p *translog.Proof) { p.Hashes = nil }), says: unlike},
		{name: "its own words, where the log has another's", history: with(func(p *translog.Proof) { *p = anothers; p.Entry = good.Entry }), says: unlike},
		{name: "no proof at all", history: with(func(p *translog.Proof) { *p = translog.Proof{} }), says: "not signed by the key"},
	} {
		var h told
		c.history(t, &h)
		r, err := h.read("step")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		tenant := &Tenant{roots: evidence.Roots{Log: log}}
		in := evidence.SignInput{Request: "PO-1", Digest: own.Context, Context: countersign.Context{Tenant: "acme", Signing: saga.Workflow, Run: saga.Run, Stamped: !c.old}}
		switch refusal := tenant.logged(r, in); {
		case c.says == "" && refusal != nil:
			t.Errorf("%s: it is refused: %s", c.name, refusal)
		case c.says != "" && (refusal == nil || refusal.Code != "not-logged" || !strings.Contains(refusal.Message, c.says)):
			t.Errorf("%s: it is answered with %+v, want that it isn't logged: %s", c.name, refusal, c.says)
		}
	}

	// What can be understood in two ways is no proof, and no answer either.
	var h told
	h.completed(h.scheduled(evidence.ActivityAppendLog, ""), `{"entry":"a","entry":"b"}`)
	if _, err := h.read("step"); err == nil || !strings.Contains(err.Error(), "what an append to the log gave can't be read") {
		t.Errorf("a proof with two entries is read with %v", err)
	}
}

// A worker is replaced while a released build's saga waits for the key: what the step looks for is in each history that was written up to there. Those of
// v0.1.0, which kept no log, are refused: there is no telling them from one that left it out.
func TestN04_SigningsInFlightOfReleasesThatKeptALogGoOn(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "tests", "golden", "histories", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := evidence.ParseHistoryJSON(raw)
		if err != nil {
			t.Fatal(err)
		}
		c, err := evidence.ReadHistory(h)
		if err != nil {
			t.Fatal(err)
		}
		if c.SignInput == nil {
			continue
		}
		asked++
		events := told(h.Events)
		r, err := events.read(h.Events[c.SignAsked-1].GetActivityTaskScheduledEventAttributes().GetActivityId())
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		switch in := *c.SignInput; {
		case strings.Contains(file, "v0.1.0"):
			if refusal := new(Tenant).logged(r, in); refusal == nil || refusal.Code != "not-logged" {
				t.Errorf("%s: it is answered with %+v", file, refusal)
			}
		case r.proof == nil:
			t.Errorf("%s: nothing was appended before the key was asked", file)
		default:
			e, err := translog.ParseEntry([]byte(r.proof.Entry))
			if err != nil || !e.Same(evidence.IntentEntry(c.Input.Request, c.Saga, in.Digest)) {
				t.Errorf("%s: what was appended is %+v: %v", file, e, err)
			}
		}
	}
	if asked < 6 {
		t.Errorf("%d histories got as far as the key, want three of each version", asked)
	}
}
