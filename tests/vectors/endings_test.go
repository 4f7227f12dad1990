package vectors

import (
	"strings"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// remade makes the evidence of a signing of v0.2.0 anew, with its history changed.
func remade(t *testing.T, ending countersign.Outcome, change func(*historypb.History)) *evidence.Report {
	t.Helper()
	s := base(t, newWorld(t, t.TempDir()), string(ending), signed+string(ending)+".json", ending)
	for _, f := range []string{signed + "tsa-ca.pem"} {
		s.w.roots.TSAs.AppendCertsFromPEM(read(t, f))
	}
	change(s.history)
	r := s.remake(t, s.history)
	if r == nil {
		t.Fatal("no evidence can be made of it")
	}
	return r
}

// How a signing ended, and why, follows from what people did, from the frozen plan and from the clock: the saga's word alone ends nothing.
func TestR13_AnEndingFollowsFromWhatHappened(t *testing.T) {
	t.Parallel()
	expired := must(evidence.ReadHistory(must(evidence.ParseHistoryJSON(read(t, signed+"expired.json")))))
	due := expired.Admission.Plan.Stages[1].Deadline
	for _, c := range []struct {
		name   string
		ending countersign.Outcome
		from   string
		to     string
		check  string
		says   string
	}{
		{"expired, of another stage", countersign.Expired, "stage counsel had 0", "stage legal had 0", "outcome", "where the frozen plan"},
		{"expired, with more approvals than were given", countersign.Expired, "had 0 of 1", "had 1 of 1", "outcome", "where the frozen plan"},
		{"expired, though the requester withdrew it", countersign.Withdrawn, `{"outcome":"withdrawn","detail":"the price changed"`, `{"outcome":"expired","detail":"stage legal had 0 of 1 approvals at its deadline"`, "outcome", "withdrawn"},
		{"rejected, for another reason", countersign.Rejected, `"detail":"stage legal, by`, `"detail":"stage board, by`, "outcome", "for the reason that it gives"},
		{"withdrawn, for another reason", countersign.Withdrawn, `"detail":"the price changed"`, `"detail":"gladly"`, "outcome", "another reason than its requester"},
		{"refused, for another reason", countersign.Refused, `"detail":"not-a-pdf`, `"detail":"not-a-doc`, "outcome", "another reason than intake"},
		{"failed, where the key was not even asked", countersign.Expired, `{"outcome":"expired","detail":"stage counsel had 0 of 1 approvals at its deadline"`, `{"outcome":"failed","detail":"the key could not sign: it was away"`, "outcome", "the history doesn't show that"},
		{"revoked by nobody", countersign.Expired, `{"outcome":"expired","detail":"stage counsel had 0 of 1 approvals at its deadline"`, `{"outcome":"revoked","detail":"somebody left"`, "outcome", "an authority that was lost"},
		{"told of another ending", countersign.Expired, `"outcome":"expired","detail":"stage counsel had 0 of 1 approvals at its deadline"}`, `"outcome":"rejected","detail":"x"}`, "outcome", "another ending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantFails(t, remade(t, c.ending, everywhere(t, c.from, c.to)), c.check, c.says)
		})
	}
	t.Run("expired before its deadline", func(t *testing.T) {
		t.Parallel()
		r := remade(t, countersign.Expired, func(h *historypb.History) {
			for _, e := range h.Events {
				e.EventTime.Seconds -= int64(expired.Closed.Sub(due).Seconds()) + 120
			}
		})
		wantFails(t, r, "outcome", "the deadline of stage")
	})
	t.Run("ended after its evidence was sealed", func(t *testing.T) {
		t.Parallel()
		r := remade(t, countersign.Expired, func(h *historypb.History) {
			h.Events[len(h.Events)-1].EventTime.Seconds += int64((48 * time.Hour).Seconds())
		})
		wantFails(t, r, "outcome", "after the seal was time-stamped")
	})
	t.Run("as they were", func(t *testing.T) {
		t.Parallel()
		for _, ending := range []countersign.Outcome{countersign.Expired, countersign.Rejected, countersign.Withdrawn, countersign.Refused, countersign.Failed, countersign.Terminated, countersign.Voided} {
			if err := remade(t, ending, func(*historypb.History) {}).Err(); err != nil {
				t.Errorf("%s doesn't hold as it was: %v", ending, err)
			}
		}
	})
}

// What became of a withdrawal is decided again, by the frozen policy and for this signing.
func TestR13_AWithdrawalIsDecidedAgain(t *testing.T) {
	t.Parallel()
	all := must(evidence.ReadHistory(must(evidence.ParseHistoryJSON(read(t, signed+"withdrawn.json"))))).Withdrawals
	for _, w := range all {
		if w.Answer == nil {
			continue
		}
		turned := *w.Answer
		turned.Allowed = !turned.Allowed
		r := remade(t, countersign.Withdrawn, everywhere(t, text(w.Answer), text(turned)))
		wantFails(t, r, "policy", "what became of it")
	}
	for _, c := range []struct{ from, to, says string }{
		{`"tenant":"acme","requester":`, `"tenant":"globex","requester":`, "another transaction"},
		{`"policyText":"`, `"policyText":" `, "another policy"},
		{`"sub":"procurement"},"policyText"`, `"sub":"casework"},"policyText"`, "somebody else"},
	} {
		r := remade(t, countersign.Withdrawn, func(h *historypb.History) {
			f := &forgery{t: t, h: h}
			f.input(evidence.ActivityCheckWithdrawal, c.from, c.to)
		})
		wantFails(t, r, "policy", c.says)
	}
}

// The intent names the key that signs, and is locked as it is: another one was not intended.
func TestR13_TheIntentNamesTheKeyThatSigned(t *testing.T) {
	t.Parallel()
	s := base(t, newWorld(t, t.TempDir()), "voided", signed+"voided.json", countersign.Voided)
	s.w.roots.TSAs.AppendCertsFromPEM(read(t, signed+"tsa-ca.pem"))
	c := must(evidence.ReadHistory(s.history))
	keyAnew(s.history, c, "arn:aws:kms:eu-central-1:000000000000:key/another")
	for _, p := range s.places() {
		if strings.HasPrefix(p.name, "Sign.result") || p.name == "end" {
			p.payload.Data = []byte(strings.ReplaceAll(string(p.payload.Data), "key/another", "key/vectors"))
		}
	}
	s.asIs = true
	wantFails(t, s.remake(t, s.history), "context", "another key than the one that signed")

	s = base(t, newWorld(t, t.TempDir()), "voided", signed+"voided.json", countersign.Voided)
	s.asIs = true
	(&forgery{t: t, h: s.history}).replace(`"stored":{"bucket":"evidence"`, `"stored":{"bucket":"evidences"`)
	for _, p := range s.places() {
		if p.name == "Intend.result" {
			p.payload.Data = []byte(strings.Replace(string(p.payload.Data), `"at":"2026`, `"at":"2025`, 1))
		}
	}
	wantFails(t, s.remake(t, s.history), "context", "the intent that is locked is another one")
}
