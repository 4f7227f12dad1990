package workflows_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

func TestSigning_EarlyRejectionEndsItWhenItsStageOpens(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.decides(10*time.Minute, decision("no", "counsel", carla, countersign.Reject))
	s.approves(1*time.Hour, lena, "legal")
	s.approves(2*time.Hour, liam, "legal")
	s.wantOutcome(s.runSaga(), countersign.Rejected, "stage counsel, by "+carla.String()+": because")
	s.wantElapsed(2 * time.Hour)
	s.wantTimes(evidence.ActivitySign, 0)
}

func TestSigning_Rejected(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.approves(1*time.Hour, lena, "legal")
	s.decides(2*time.Hour, decision("no", "legal", liam, countersign.Reject))
	s.wantOutcome(s.runSaga(), countersign.Rejected, "stage legal, by "+liam.String()+": because")
	s.wantElapsed(2 * time.Hour)
	s.wantTimes(evidence.ActivityIntend, 0)
	s.wantTimes(evidence.ActivitySign, 0)
	s.wantTimes(evidence.ActivityWithhold, 0)
	s.wantTold(evidence.EventApprovalRequested, evidence.EventEnded)
}

// A rejection that counts takes effect: it can't be recorded as counted while the document is signed.
func TestSigning_RejectionInTheSameMomentAsTheLastApproval(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityCheckDecision] = time.Minute
	third := countersign.Actor{Issuer: lena.Issuer, Subject: "lotte"}
	s.approves(1*time.Hour, lena, "legal")
	s.approves(2*time.Hour, liam, "legal")
	s.decides(2*time.Hour+time.Second, decision("no", "legal", third, countersign.Reject))
	s.approves(3*time.Hour, carla, "counsel")
	got := s.runSaga()
	for _, r := range s.status().Decisions {
		if r.Verdict == countersign.Reject && r.Counted() && got.Outcome == countersign.Completed {
			t.Error("a rejection counted, and the document was signed all the same")
		}
	}
}

func TestSigning_ExpiresAtTheAbsoluteDeadline(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityAdmit] = 30 * time.Minute // a slow intake moves no deadline
	s.approves(1*time.Hour, lena, "legal")
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage legal had 1 of 2 approvals at its deadline")
	s.wantElapsed(legalDeadline)
	s.wantTold(evidence.EventApprovalRequested, evidence.EventEnded)
}

func TestSigning_ALaterStageExpiresAtItsOwnDeadline(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.approves(70*time.Hour, lena, "legal")
	s.approves(71*time.Hour, liam, "legal")
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage counsel had 0 of 1 approvals at its deadline")
	s.wantElapsed(counselDeadline)
}

func TestSigning_AStageWhoseDeadlinePassedBeforeItOpened(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{true, false} {
		s := newStage(t)
		s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) {
			a := admission(in)
			a.Plan.Stages[1].Deadline = start.Add(time.Hour)
			return a, nil
		}
		if early {
			s.approves(10*time.Minute, carla, "counsel")
		}
		s.approves(2*time.Hour, lena, "legal")
		s.approves(3*time.Hour, liam, "legal")
		if got := s.runSaga(); early {
			s.wantOutcome(got, countersign.Completed, "")
		} else {
			s.wantOutcome(got, countersign.Expired, "stage counsel had 0 of 1")
		}
		s.wantElapsed(3 * time.Hour)
	}
}

func TestSigning_WithdrawnByTheRequester(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.approves(1*time.Hour, lena, "legal")
	s.at(2*time.Hour, func() {
		s.env.SignalWorkflow(countersign.SignalWithdraw, countersign.Withdrawal{ID: "w", Reason: "wrong document"})
	})
	s.wantOutcome(s.runSaga(), countersign.Withdrawn, "wrong document")
	if got := s.status().Withdrawals; len(got) != 1 || got[0].ID != "w" || got[0].Refusal != nil {
		t.Errorf("the withdrawals are %+v", got)
	}
	s.wantElapsed(2 * time.Hour)
	s.wantTimes(evidence.ActivitySign, 0)
	s.wantTold(evidence.EventApprovalRequested, evidence.EventEnded)
}

func TestSigning_RefusedWithdrawalEndsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.withdraw = func(in evidence.WithdrawInput) (evidence.Withdrawn, error) {
		if in.Requester != procurement || in.Ordinal != 1 || in.Tenant != "acme" || in.Saga.Workflow != "saga/acme/PO-1" {
			t.Errorf("the withdrawal was checked with %+v", in)
		}
		return evidence.Withdrawn{ID: "w", Reason: "mine", Refusal: countersign.Refuse("not-entitled", "no")}, nil
	}
	s.at(30*time.Minute, func() {
		s.env.SignalWorkflow(countersign.SignalWithdraw, countersign.Withdrawal{ID: "w", Reason: "mine"})
	})
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTimes(evidence.ActivityCheckWithdrawal, 1)
}

// Who withdraws hears what became of it, also where nothing did.
func TestM4_EachWithdrawalIsInTheStatusWithWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	check := s.withdraw
	s.withdraw = func(in evidence.WithdrawInput) (evidence.Withdrawn, error) {
		switch {
		case in.Ordinal == 1:
			return evidence.Withdrawn{}, errors.New("the history can't be read")
		case in.TooLate:
			return evidence.Withdrawn{ID: "late", Sender: procurement.String(), At: start, Refusal: countersign.Refuse("too-late", "no")}, nil
		}
		return check(in)
	}
	withdraws := func(after time.Duration, w any) {
		s.at(after, func() { s.env.SignalWorkflow(countersign.SignalWithdraw, w) })
	}
	withdraws(time.Minute, countersign.Withdrawal{ID: "unchecked", Reason: "price"})
	s.everybodyApproves()
	s.takes[evidence.ActivitySign] = 10 * time.Minute
	withdraws(3*time.Hour+time.Minute, countersign.Withdrawal{ID: "late", Reason: "price"})
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	got := s.status().Withdrawals
	if len(got) != 2 || got[0].ID != "unchecked" || got[0].Reason != "price" || got[0].Refusal == nil || got[0].Refusal.Code != "not-checked" || got[0].At != "" ||
		got[1].ID != "late" || got[1].Refusal == nil || got[1].Refusal.Code != "too-late" || got[1].Sender != procurement.String() || got[1].At != "2026-03-01T12:00:00Z" {
		t.Errorf("the withdrawals are %+v", got)
	}
}

// A withdrawal that was accepted before the key was asked takes effect: evidence can't say both withdrawn and signed.
func TestSigning_WithdrawalBeforeTheKeyIsAskedTakesEffect(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(s *stage) time.Duration{
		"checked while the last approval counts": func(s *stage) time.Duration {
			s.takes[evidence.ActivityCheckDecision], s.takes[evidence.ActivityCheckWithdrawal] = time.Minute, time.Minute
			return 3*time.Hour + time.Second
		},
		"while the intent is recorded": func(s *stage) time.Duration {
			s.takes[evidence.ActivityIntend] = 10 * time.Minute
			return 3*time.Hour + time.Minute
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			when := prepare(s)
			s.everybodyApproves()
			s.at(when, func() {
				s.env.SignalWorkflow(countersign.SignalWithdraw, countersign.Withdrawal{ID: "w", Reason: "stop"})
			})
			s.wantOutcome(s.runSaga(), countersign.Withdrawn, "stop")
			s.wantTimes(evidence.ActivityCheckWithdrawal, 1)
			s.wantTimes(evidence.ActivitySign, 0)
		})
	}
}

func TestSigning_RefusedAtIntake(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.admit = func(evidence.AdmitInput) (evidence.Admission, error) {
		return evidence.Admission{Refusal: countersign.Refuse("not-entitled", "nothing gives you this right here")}, nil
	}
	s.wantOutcome(s.runSaga(), countersign.Refused, "not-entitled: nothing gives you this right here")
	s.wantElapsed(0)
	if !slices.Equal(s.ended, []string{"Admit", "Notify"}) {
		t.Errorf("activities were %q", s.ended)
	}
	s.wantTold(evidence.EventEnded)
	if n := s.notes[0]; len(n.To) != 0 || !n.Owner {
		t.Errorf("told are %+v", n)
	}
}

// Who asked hears that intake refused, and why.
func TestM4_WhomIntakeRefusedIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version workflow.Version
		told    []countersign.Actor
	}{{1, []countersign.Actor{procurement}}, {workflow.DefaultVersion, nil}} {
		s := newStage(t)
		s.env.OnGetVersion("tell-whom-intake-refused", workflow.DefaultVersion, workflow.Version(1)).Return(c.version)
		s.admit = func(evidence.AdmitInput) (evidence.Admission, error) {
			return evidence.Admission{Requester: countersign.Member{Actor: procurement}, Refusal: countersign.Refuse("not-a-pdf", "no")}, nil
		}
		got := s.runSaga()
		s.wantOutcome(got, countersign.Refused, "not-a-pdf: no")
		if n := s.notes[0]; !slices.Equal(n.To, c.told) || !n.Owner || n.Event.Detail != got.Detail || !slices.Equal(got.Told, c.told) {
			t.Errorf("version %d: told are %+v", c.version, n)
		}
	}
}

func TestSigning_IntakeThatNeverWorksFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.admit = func(evidence.AdmitInput) (evidence.Admission, error) {
		return evidence.Admission{}, errors.New("the store is gone")
	}
	s.wantOutcome(s.runSaga(), countersign.Failed, "intake did not work: the store is gone")
	if n := s.times(evidence.ActivityAdmit); n < 2 {
		t.Errorf("it was tried %d times", n)
	}
}

func TestSigning_CancelledWhilePeopleDecide(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.approves(1*time.Hour, lena, "legal")
	s.at(2*time.Hour, s.env.CancelWorkflow)
	s.wantOutcome(s.runSaga(), countersign.Failed, "an operator cancelled the signing")
	s.wantElapsed(2 * time.Hour)
	s.wantTimes(evidence.ActivityWithhold, 0)
	s.wantTold(evidence.EventApprovalRequested, evidence.EventEnded)
}

func TestSigning_CancelledAtIntake(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.takes[evidence.ActivityAdmit] = time.Hour
	s.at(time.Minute, s.env.CancelWorkflow)
	s.wantOutcome(s.runSaga(), countersign.Failed, "an operator cancelled the signing")
	s.wantTold(evidence.EventEnded)
}
