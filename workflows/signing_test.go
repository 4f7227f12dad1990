package workflows_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

func TestSigning_CompletedInTwoStages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.at(90*time.Minute, func() {
		st := s.status()
		if st.State != "approval" || st.Stage != "legal" || len(st.Decisions) != 1 || !st.Decisions[0].Counted() || len(st.Decided) != 1 {
			t.Errorf("after one approval the status is %+v", st)
		}
	})
	s.at(150*time.Minute, func() {
		if st := s.status(); st.Stage != "counsel" {
			t.Errorf("after two approvals the stage is %q", st.Stage)
		}
	})
	got := s.runSaga()
	s.wantOutcome(got, countersign.Completed, "")
	s.wantElapsed(3 * time.Hour)
	if got.Context != strings.Repeat("c", 64) || got.ReleaseWithin != countersign.Duration(time.Hour) || got.Signature.Object != signature().Object {
		t.Errorf("the result is %+v", got)
	}
	if !slices.Equal(got.Told, []countersign.Actor{lena, liam, carla, procurement}) {
		t.Errorf("told are %v", got.Told)
	}
	if !slices.Equal(s.ended, []string{"Admit", "Notify", "CheckDecision", "CheckDecision", "Notify", "CheckDecision", "Intend", "AppendLog", "Sign", "Notify"}) {
		t.Errorf("activities were %q", s.ended)
	}
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalRequested, evidence.EventSigned)
	if first, last := s.notes[0], s.notes[len(s.notes)-1]; first.Event.Stage != "legal" || !slices.Equal(first.To, []countersign.Actor{lena, liam}) ||
		!first.Event.Deadline.Equal(start.Add(legalDeadline)) || first.Owner || !last.Owner || last.Event.Outcome != countersign.Completed || last.Event.Evidence != nil {
		t.Errorf("messages are\n%+v\n%+v", first, last)
	}
	if in := s.signs[0]; len(in.Decisions) != 3 || in.Decisions[2].Signed.Decision.Actor != carla || string(in.Decisions[0].Key) != `{"kty":"EC"}` || in.Request != "PO-1" || in.Digest != got.Context {
		t.Errorf("the key was asked with %+v", in)
	}
	if in := s.admitted[0]; !in.StartedAt.Equal(start) || in.Saga.Workflow != "saga/acme/PO-1" || in.Custodian.Workflow != "signing/acme/PO-1" {
		t.Errorf("intake was asked with %+v", in)
	}
}

func TestSigning_EarlyDecisionForALaterStageIsKept(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.approves(10*time.Minute, carla, "counsel")
	s.approves(1*time.Hour, lena, "legal")
	s.approves(2*time.Hour, liam, "legal")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantElapsed(2 * time.Hour)
	s.wantTimes(evidence.ActivityCheckDecision, 3)
	if len(s.checks[0].Stages) != 2 {
		t.Errorf("carla's decision was checked with the stages %+v", s.checks[0].Stages)
	}
}

func TestSigning_DecisionsDuringIntakeAreNotLost(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityAdmit] = 2 * time.Hour
	s.approves(1*time.Hour, lena, "legal")
	s.approves(1*time.Hour, liam, "legal")
	s.approves(1*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantElapsed(2 * time.Hour)
}

func TestSigning_DuplicateIDCountsOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for n := range 3 {
		s.decides(time.Duration(n+1)*time.Hour, decision("same", "legal", lena, countersign.Approve))
	}
	s.at(4*time.Hour, func() {
		if st := s.status(); len(st.Decisions) != 1 || len(st.Decided) != 1 {
			t.Errorf("three signals with one id made %+v", st.Decisions)
		}
	})
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage legal had 1 of 2 approvals at its deadline")
	s.wantTimes(evidence.ActivityCheckDecision, 1)
}

func TestSigning_DuplicateDoesNotShiftTheOrdinalOfTheNextSignal(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.decides(1*time.Hour, decision("same", "legal", lena, countersign.Approve))
	s.decides(2*time.Hour, decision("same", "legal", lena, countersign.Approve))
	s.approves(3*time.Hour, liam, "legal")
	s.approves(4*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	if got := []int{s.checks[0].Ordinal, s.checks[1].Ordinal, s.checks[2].Ordinal}; !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("the checked signals are numbers %v, want 1, 3 and 4", got)
	}
}

// An id is chosen by its sender: two senders who choose the same one are not duplicates of each other.
func TestSigning_TheSameIDOfAnotherPersonIsNoDuplicate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.decides(1*time.Hour, decision("approve-1", "legal", lena, countersign.Approve))
	s.decides(2*time.Hour, decision("approve-1", "legal", liam, countersign.Approve))
	s.decides(3*time.Hour, decision("approve-1", "counsel", carla, countersign.Approve))
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTimes(evidence.ActivityCheckDecision, 3)
}

func TestSigning_RefusedDecisionIsRecordedAndEndsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.check = func(in evidence.CheckInput) (evidence.Check, error) {
		if in.Ordinal == 1 {
			return judged(in, "token-expired"), nil
		}
		return judged(in, ""), nil
	}
	s.decides(30*time.Minute, decision("lena-legal", "legal", lena, countersign.Approve))
	s.at(45*time.Minute, func() {
		st := s.status()
		if len(st.Decisions) != 1 || st.Decisions[0].Counted() || st.Decisions[0].Refusal.Code != "token-expired" || len(st.Decided) != 0 {
			t.Errorf("the refused decision is recorded as %+v", st.Decisions)
		}
	})
	s.everybodyApproves() // lena again, under the same id: it was refused, so it isn't a duplicate
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	if st := s.status(); len(st.Decisions) != 4 {
		t.Errorf("%d decisions are recorded, want 4", len(st.Decisions))
	}
	if len(s.signs[0].Decisions) != 3 {
		t.Errorf("the key was asked with %d decisions", len(s.signs[0].Decisions))
	}
}

func TestSigning_WhoVotedIsToldToTheNextCheck(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.approves(1*time.Hour, lena, "legal")
	s.decides(2*time.Hour, decision("again", "legal", lena, countersign.Approve))
	s.wantOutcome(s.runSaga(), countersign.Expired, "1 of 2")
	if !slices.Equal(s.checks[1].Decided, []countersign.Actor{lena}) {
		t.Errorf("the second check knows the votes of %v", s.checks[1].Decided)
	}
}

func TestSigning_DecisionWhoseCheckRunsAtTheDeadlineCounts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityCheckDecision] = 4 * time.Minute
	s.approves(1*time.Hour, lena, "legal")
	s.approves(legalDeadline-time.Second, liam, "legal")
	s.approves(80*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
}

func TestSigning_DecisionThatWaitsBehindAnotherAtTheDeadlineCounts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityCheckDecision] = 4 * time.Minute
	s.approves(legalDeadline-2*time.Second, lena, "legal")
	s.approves(legalDeadline-1*time.Second, liam, "legal")
	s.approves(80*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
}

func TestSigning_MessagesThatFailForGoodNeverBlock(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.notify = func(evidence.NotifyInput) error { return errors.New("no route to host") }
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTimes(evidence.ActivityNotify, 3*4)
	if took := s.env.Now().Sub(start); took > 3*time.Hour+time.Minute {
		t.Errorf("it took %s", took)
	}
	ids := map[string]int{}
	for _, n := range s.notes {
		ids[n.ID]++
	}
	if len(ids) != 3 {
		t.Errorf("the messages have the ids %v; attempts of one message share an id", ids)
	}
}

func TestSigning_SlowMessagesDontHoldUpDecisions(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityNotify] = 50 * time.Hour
	s.everybodyApproves()
	s.at(3*time.Hour+time.Minute, func() {
		if n := s.times(evidence.ActivitySign); n != 1 {
			t.Errorf("a minute after the last approval the key was asked %d times", n)
		}
	})
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
}

func TestSigning_SignalsThatAreNoDecisionsAreRecordedAsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	huge := decision("huge", "legal", lena, countersign.Approve)
	huge.Proof.IDToken = strings.Repeat("x", countersign.MaxSignedDecision)
	for n, payload := range []any{nil, []byte("binary"), "approve", 17, map[string]any{"id": "x", "extra": 1}, huge} {
		s.at(time.Duration(n+1)*time.Minute, func() { s.env.SignalWorkflow(countersign.SignalDecide, payload) })
	}
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	st := s.status()
	if len(st.Decisions) != 9 {
		t.Fatalf("%d decisions are recorded, want 6 refused and 3 counted", len(st.Decisions))
	}
	for n, r := range st.Decisions[:6] {
		if r.Counted() || r.Refusal.Code != "malformed" {
			t.Errorf("signal %d became %+v", n+1, r)
		}
	}
	for n, in := range s.checks {
		if in.Ordinal != n+1 || len(in.Signed) > countersign.MaxSignedDecision {
			t.Errorf("check %d has ordinal %d and %d bytes", n, in.Ordinal, len(in.Signed))
		}
	}
}

func TestSigning_DecisionThatCannotBeCheckedMayBeSentAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.check = func(in evidence.CheckInput) (evidence.Check, error) { return judged(in, ""), s.down(30 * time.Minute) }
	s.decides(1*time.Minute, decision("lena-legal", "legal", lena, countersign.Approve))
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	if r := s.status().Decisions[0]; r.Counted() || r.Refusal.Code != "not-checked" || r.ID != "lena-legal" || r.Actor != lena {
		t.Errorf("the unchecked decision is recorded as %+v", r)
	}
}

func TestSigning_MoreThanFiveHundredSignalsAreCountedNotChecked(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.check = func(in evidence.CheckInput) (evidence.Check, error) { return judged(in, "token-expired"), nil }
	for n := range 520 {
		s.decides(time.Duration(n+1)*time.Minute, decision(fmt.Sprint("d", n), "legal", lena, countersign.Approve))
	}
	s.wantOutcome(s.runSaga(), countersign.Expired, "0 of 2")
	s.wantTimes(evidence.ActivityCheckDecision, 500)
	if st := s.status(); st.Ignored != 20 || len(st.Decisions) != 500 {
		t.Errorf("%d were ignored, %d recorded", st.Ignored, len(st.Decisions))
	}
}

func TestSigning_TheFiveHundredthSignalStillCounts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.check = func(in evidence.CheckInput) (evidence.Check, error) {
		if in.Ordinal < 498 {
			return judged(in, "token-expired"), nil
		}
		return judged(in, ""), nil
	}
	for n := range 497 {
		s.decides(time.Duration(n+1)*time.Second, decision(fmt.Sprint("d", n), "legal", lena, countersign.Approve))
	}
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTimes(evidence.ActivityCheckDecision, 500)
}

func TestSigning_SignalsAfterTheEndAreCountedAsIgnored(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityNotify] = time.Hour
	s.everybodyApproves()
	s.decides(3*time.Hour+30*time.Minute, decision("late", "counsel", carla, countersign.Reject))
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	if st := s.status(); st.Ignored != 1 || len(st.Decisions) != 3 {
		t.Errorf("%d were ignored, %d recorded", st.Ignored, len(st.Decisions))
	}
}

// Records is what a forged history stumbles over: the same for the same signals and results, another for any other.
func TestSigning_RecordsAreADigestOfAllThatTheSagaSaw(t *testing.T) {
	t.Parallel()
	run := func(change func(*stage)) string {
		s := newStage(t)
		s.everybodyApproves()
		if change != nil {
			change(s)
		}
		return s.runSaga().Records
	}
	plain := run(nil)
	if again := run(nil); again != plain {
		t.Fatalf("the same saga has the records %s and %s", plain, again)
	}
	seen := map[string]string{plain: "the plain saga"}
	for name, change := range map[string]func(*stage){
		"one signal more": func(s *stage) {
			s.decides(30*time.Minute, decision("again", "legal", lena, countersign.Reject))
			s.check = refuseID("again")
		},
		"the same signal more": func(s *stage) { s.approves(90*time.Minute, lena, "legal") },
		"a withdrawal": func(s *stage) {
			s.at(time.Minute, func() { s.env.SignalWorkflow(countersign.SignalWithdraw, countersign.Withdrawal{ID: "w"}) })
		},
		"another signature": func(s *stage) {
			s.sign = func(evidence.SignInput) (evidence.Signature, error) { return evidence.Signature{RequestID: "x"}, nil }
		},
		"another intent": func(s *stage) {
			s.intend = func(evidence.SignInput) (evidence.Intent, error) { return evidence.Intent{V: 2}, nil }
		},
		"an undelivered mail": func(s *stage) { s.notify = func(evidence.NotifyInput) error { return errors.New("no route") } },
		"another check": func(s *stage) {
			s.check = func(in evidence.CheckInput) (evidence.Check, error) {
				c := judged(in, "")
				c.Sender = "somebody"
				return c, nil
			}
		},
	} {
		records := run(change)
		if seen[records] != "" {
			t.Errorf("%s has the same records as %s", name, seen[records])
		}
		seen[records] = name
	}
}

func refuseID(id string) func(evidence.CheckInput) (evidence.Check, error) {
	return func(in evidence.CheckInput) (evidence.Check, error) {
		if strings.Contains(string(in.Signed), `"id":"`+id+`"`) {
			return judged(in, "refused"), nil
		}
		return judged(in, ""), nil
	}
}

func TestCodeDigestIsStable(t *testing.T) {
	t.Parallel()
	if one := workflows.CodeDigest(); len(one) != 64 || one != workflows.CodeDigest() {
		t.Errorf("the code has the digest %q", one)
	}
}

// Whoever verifies the evidence knows the issuers as they were at intake, so a decision is checked with these, too.
func TestR11_DecisionsAreCheckedWithTheFrozenIssuers(t *testing.T) {
	t.Parallel()
	frozen := []countersign.Issuer{{ID: "acme", URL: lena.Issuer, EvidenceAudience: "countersign-evidence"}}
	for _, c := range []struct {
		version workflow.Version
		issuers []countersign.Issuer
	}{{1, frozen}, {workflow.DefaultVersion, nil}} {
		s := newStage(t)
		s.env.OnGetVersion("check-with-frozen-issuers", workflow.DefaultVersion, workflow.Version(1)).Return(c.version)
		s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) {
			a := admission(in)
			a.Issuers = frozen
			return a, nil
		}
		s.everybodyApproves()
		s.wantOutcome(s.runSaga(), countersign.Completed, "")
		for _, in := range s.checks {
			if !slices.Equal(in.Issuers, c.issuers) {
				t.Errorf("version %d: a decision was checked with %+v", c.version, in.Issuers)
			}
		}
	}
}

// Cover reaches a signing by its plan's purpose. A saga that was checked without it goes on without, and no cover counts in it.
func TestR03_DecisionsAreCheckedWithThePlansPurpose(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version workflow.Version
		purpose string
	}{{1, "supplier-contract"}, {workflow.DefaultVersion, ""}} {
		s := newStage(t)
		s.env.OnGetVersion("check-with-frozen-issuers", workflow.DefaultVersion, workflow.Version(1)).Return(c.version)
		s.env.OnGetVersion("check-with-purpose", workflow.DefaultVersion, workflow.Version(1)).Return(c.version)
		s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) {
			a := admission(in)
			a.Plan.Purpose = "supplier-contract"
			return a, nil
		}
		s.everybodyApproves()
		s.wantOutcome(s.runSaga(), countersign.Completed, "")
		if len(s.checks) == 0 {
			t.Errorf("version %d: nothing was checked", c.version)
		}
		for _, in := range s.checks {
			if in.Purpose != c.purpose {
				t.Errorf("version %d: a decision was checked as of the purpose %q", c.version, in.Purpose)
			}
		}
	}
}
