package vectors

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// The classes of mutation, by name: each is made with a key that the verifier trusts, sealed and time-stamped in good order, as whoever runs the
// tenant's systems could. tests/forgery_test.go and tests/authority_forgery_test.go try more of each with the stack's real key.

// mutated seals a signing that was rejected, with its history changed, and returns the report.
func mutated(t *testing.T, outcome countersign.Outcome, change func(*historypb.History)) *evidence.Report {
	t.Helper()
	w := newWorld(t, t.TempDir())
	h := must(evidence.ParseHistoryJSON(read(t, golden+"rejected.json")))
	change(h)
	c := must(evidence.ReadHistory(h))
	detail := ""
	if c.Result != nil {
		detail = c.Result.Detail
	}
	m := evidence.Material{Case: c, History: h, Seal: evidence.SealInput{Outcome: outcome, Detail: detail}, Key: w.facts, Worker: evidence.Worker{Build: "vectors", Revision: "not recorded"}}
	return evidence.Verify(sealed(t, must(evidence.Assemble(m)), w.signer, w.stamps, w.at, w.roots), w.roots)
}

func wantFails(t *testing.T, r *evidence.Report, check, says string) {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f evidence.Finding) bool { return f.Check == check })
	if f := r.Findings[i]; f.State != evidence.Fail || !strings.Contains(f.Detail, says) {
		t.Errorf("%s: %s, %s; all: %v", check, f.State, f.Detail, r.Err())
	}
}

func TestR13_MutationNone(t *testing.T) {
	t.Parallel()
	if err := mutated(t, countersign.Rejected, func(*historypb.History) {}).Err(); err != nil {
		t.Errorf("the signing that the others change doesn't hold itself: %v", err)
	}
}

// Splice: a decision that a person really made and proved, but about another signing.
func TestR13_MutationSplice(t *testing.T) {
	t.Parallel()
	b := must(evidence.OpenBundle(read(t, golden+"completed.asice")))
	pb, _ := b.File("history.pb")
	other := must(evidence.ReadHistory(must(evidence.ParseHistory(pb)))).Decisions[0]
	r := mutated(t, countersign.Rejected, func(h *historypb.History) {
		own := must(evidence.ReadHistory(h)).Decisions[0]
		replaced := 0
		payloads(h, func(p *commonpb.Payload) {
			for _, pair := range [][2]any{{own.Input.Signed, other.Input.Signed}, {own.Check.Record, other.Check.Record}, {own.Check.Facts, other.Check.Facts}} {
				from, to := must(json.Marshal(pair[0])), must(json.Marshal(pair[1]))
				replaced += bytes.Count(p.Data, from)
				p.Data = bytes.ReplaceAll(p.Data, from, to)
			}
		})
		if replaced < 3 {
			t.Fatalf("%d places were replaced", replaced)
		}
	})
	wantFails(t, r, "decisions", "another transaction")
}

// Truncate: of the history, its end; of the file, any number of bytes.
func TestR13_MutationTruncate(t *testing.T) {
	t.Parallel()
	raw := read(t, "bundles/rejected.asice.gz")
	roots := evidence.Roots{Signers: pool(t, "bundles/tenant-ca.pem"), TSAs: pool(t, "bundles/tsa-ca.pem")}
	for _, n := range []int{1, 2, 22, 100, len(raw) / 2, len(raw) - 1, len(raw)} {
		wantFails(t, evidence.Verify(raw[:len(raw)-n], roots), "container", "")
	}
	wantFails(t, evidence.Verify(read(t, "bundles/cut.asice.gz"), roots), "history", "")
}

// Reorder: two events of the history change places, with and without their numbers.
func TestR13_MutationReorder(t *testing.T) {
	t.Parallel()
	for name, renumber := range map[string]bool{"with their numbers": false, "numbered anew": true} {
		w := newWorld(t, t.TempDir())
		h := must(evidence.ParseHistoryJSON(read(t, golden+"rejected.json")))
		whole := proto.Clone(h).(*historypb.History)
		c := must(evidence.ReadHistory(whole))
		n := slices.IndexFunc(h.Events, func(e *historypb.HistoryEvent) bool { return e.GetWorkflowExecutionSignaledEventAttributes() != nil })
		h.Events[n], h.Events[n-1] = h.Events[n-1], h.Events[n]
		if renumber {
			h.Events[n].EventId, h.Events[n-1].EventId = h.Events[n-1].EventId, h.Events[n].EventId
		}
		files := must(evidence.Assemble(evidence.Material{Case: c, History: whole, Seal: evidence.SealInput{Outcome: countersign.Rejected, Detail: c.Result.Detail}, Key: w.facts}))
		for i, f := range files {
			switch f.Name {
			case "history.pb":
				files[i].Bytes = must(proto.Marshal(h))
			case "history.json":
				files[i].Bytes = must(evidence.HistoryJSON(h))
			}
		}
		r := evidence.Verify(sealed(t, files, w.signer, w.stamps, w.at, w.roots), w.roots)
		if r.Err() == nil {
			t.Errorf("%s: it holds", name)
		}
		if !renumber {
			wantFails(t, r, "history", "")
		}
	}
}

// Substitute policy: a laxer set, with its hash wherever the old one stood.
func TestR13_MutationSubstitutePolicy(t *testing.T) {
	t.Parallel()
	r := mutated(t, countersign.Rejected, func(h *historypb.History) {
		a := must(evidence.ReadHistory(h)).Admission
		laxer := strings.Replace(a.PolicyText, "one-person-one-vote", "one-person-two-vote", 1)
		everywhere(t, "one-person-one-vote", "one-person-two-vote")(h)
		everywhere(t, countersign.SHA256([]byte(a.PolicyText)), countersign.SHA256([]byte(laxer)))(h)
	})
	wantFails(t, r, "context", "doesn't have its digest")
	wantFails(t, r, "id tokens", "")
}

// Back-date: the server says that it took a decision a day before the person made it.
func TestR13_MutationBackDate(t *testing.T) {
	t.Parallel()
	r := mutated(t, countersign.Rejected, func(h *historypb.History) {
		d := must(evidence.ReadHistory(h)).Decisions[0]
		earlier := d.At.Add(-24 * time.Hour)
		for _, e := range h.Events {
			if e.EventId == d.Event {
				e.EventTime = timestamppb.New(earlier)
			}
		}
		everywhere(t, string(must(json.Marshal(d.Check.At))), string(must(json.Marshal(earlier))))(h)
	})
	wantFails(t, r, "id tokens", "")
	wantFails(t, r, "decisions", "")
}

// Server-made approval: the server turns a rejection into an approval, consistently, and says that the person sent it.
func TestR13_MutationServerMadeApproval(t *testing.T) {
	t.Parallel()
	r := mutated(t, countersign.Rejected, func(h *historypb.History) {
		everywhere(t, `"verdict":"reject"`, `"verdict":"approve"`)(h)
		d := must(evidence.ReadHistory(h)).Decisions[0]
		signed := must(countersign.ParseSignedDecision(d.Input.Signed))
		everywhere(t, d.Check.Record.Digest, must(signed.Decision.Digest()))(h)
	})
	wantFails(t, r, "id tokens", "")
	wantFails(t, r, "decisions", "")
	wantFails(t, r, "outcome", "nobody rejected")
}

// Stripped delegation: a decision that claims to be somebody else's authority, without the grants that would give it.
func TestR13_MutationStrippedDelegation(t *testing.T) {
	t.Parallel()
	r := mutated(t, countersign.Rejected, func(h *historypb.History) {
		d := must(evidence.ReadHistory(h)).Decisions[0]
		signed := must(countersign.ParseSignedDecision(d.Input.Signed))
		lender := signed.Decision.Actor
		lender.Subject = "a-1004"
		onBehalf := `"onBehalfOf":` + string(must(json.Marshal(lender))) + `,"grants":["` + strings.Repeat("0", 64) + `"],"policy"`
		everywhere(t, `"grants":[],"policy"`, onBehalf)(h)
		lent := must(countersign.ParseSignedDecision(must(evidence.ReadHistory(h)).Decisions[0].Input.Signed))
		everywhere(t, d.Check.Record.Digest, must(lent.Decision.Digest()))(h)
	})
	wantFails(t, r, "grants", "don't belong together")
	wantFails(t, r, "decisions", "don't belong together")
}

// payloads visits everything that the events of a history carry.
func payloads(h *historypb.History, visit func(*commonpb.Payload)) {
	for _, e := range h.Events {
		for _, p := range [...]*commonpb.Payloads{
			e.GetWorkflowExecutionSignaledEventAttributes().GetInput(), e.GetActivityTaskScheduledEventAttributes().GetInput(),
			e.GetActivityTaskCompletedEventAttributes().GetResult(), e.GetWorkflowExecutionCompletedEventAttributes().GetResult(),
		} {
			for _, payload := range p.GetPayloads() {
				visit(payload)
			}
		}
	}
}
