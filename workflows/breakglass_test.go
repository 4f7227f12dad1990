package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

var officer = countersign.Actor{Issuer: "https://id.acme.example", Subject: "otto"}

// withGlass lets two officers break the glass of the saga's plan. Its review is noted and goes on elsewhere: time that is skipped has no end for it.
func (s *stage) withGlass(quorum int) (reviews *[]evidence.ReviewInput) {
	const anything = "mock.Anything"
	reviews = &[]evidence.ReviewInput{}
	s.env.OnWorkflow(countersign.WorkflowReview, anything, anything).Return(func(_ workflow.Context, in evidence.ReviewInput) (evidence.ReviewStatus, error) {
		*reviews = append(*reviews, in)
		return evidence.ReviewStatus{}, nil
	})
	s.planned(func([]countersign.Stage) {})
	usual := s.admit
	s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) {
		a, err := usual(in)
		a.Plan.Owner = &countersign.Eligible{Actor: procurement, Name: "Olga"}
		a.Plan.BreakGlass = &countersign.BreakGlass{Role: "officer", Quorum: quorum, Eligible: []countersign.Eligible{{Actor: officer}, {Actor: deputy}}}
		return a, err
	}
	return reviews
}

func (s *stage) breaks(after time.Duration, who countersign.Actor) {
	s.decides(after, decision(who.Subject+"-breaks", "legal", who, countersign.Skip))
}

func TestR24_BreakingTheGlassSkipsWaitingTellsTheSkippedAndOpensAReview(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	reviews := s.withGlass(1)
	s.approves(1*time.Hour, lena, "legal")
	s.breaks(2*time.Hour, officer)
	got := s.runSaga()
	s.wantOutcome(got, countersign.Completed, "")
	s.wantElapsed(2 * time.Hour)
	i := slices.IndexFunc(s.notes, func(n evidence.NotifyInput) bool { return n.Event.Type == evidence.EventGlassBroken })
	if i < 0 {
		t.Fatalf("told were %q", s.told())
	}
	if told := s.notes[i]; !slices.Equal(told.To, []countersign.Actor{liam, carla}) || !told.Owner || told.Event.Detail != "https://id.acme.example#otto did not wait: because\n" {
		t.Errorf("of the broken glass was told %+v", told)
	}
	if len(*reviews) != 1 {
		t.Fatalf("%d reviews were opened", len(*reviews))
	}
	if r := (*reviews)[0]; r.Owner.Name != "Olga" || len(r.Broke) != 1 || r.Broke[0].Actor != officer || r.Broke[0].Reason != "because" || !slices.Equal(r.Skipped, []countersign.Actor{liam, carla}) {
		t.Errorf("the review is of %+v", r)
	}
	if in := s.signs[0]; len(in.Decisions) != 2 || in.Decisions[1].Signed.Decision.Verdict != countersign.Skip {
		t.Errorf("the key was asked with %+v", in.Decisions)
	}
}

func TestR24_TheGlassBreaksOnlyWithItsOwnQuorum(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.withGlass(2)
	s.breaks(1*time.Hour, officer)
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage legal had 0 of 2 approvals at its deadline")

	s = newStage(t)
	s.withGlass(2)
	s.breaks(1*time.Hour, officer)
	s.breaks(2*time.Hour, deputy)
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantElapsed(2 * time.Hour)
}

func TestR24_ABrokenGlassOverrulesNoRejection(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	reviews := s.withGlass(1)
	s.decides(1*time.Hour, decision("no", "counsel", carla, countersign.Reject)) // a stage that has not opened yet
	s.breaks(2*time.Hour, officer)
	s.wantOutcome(s.runSaga(), countersign.Rejected, "stage counsel, by https://id.counsel.example#carla: because")
	if len(*reviews) > 0 {
		t.Error("nothing was signed, and yet there is a review")
	}
}

func TestR24_NobodyElseBreaksTheGlass(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.withGlass(1)
	usual := s.admit
	s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) {
		a, err := usual(in)
		a.Plan.BreakGlass.Eligible = nil // nobody may: what an officer says counts for nothing
		return a, err
	}
	s.breaks(1*time.Hour, officer)
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage legal had 0 of 2 approvals")
}

func TestR24_NobodyButASagaOpensAReview(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.ReviewID("acme", "PO-1"), TaskQueue: countersign.TaskQueueSigning})
	s.env.ExecuteWorkflow(countersign.WorkflowReview, evidence.ReviewInput{Tenant: "acme", Request: "PO-1", Saga: evidence.Execution{Workflow: "saga/acme/PO-1"}})
	if err := s.env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "opened by the saga whose glass was broken") {
		t.Errorf("somebody opened one: %v", err)
	}
}

func TestR24_AReviewIsToldToBeOverdueUntilItIsClosed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (evidence.ReviewStatus, error) {
		var status evidence.ReviewStatus
		ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: countersign.ReviewID("acme", "PO-1")})
		err := workflow.ExecuteChildWorkflow(ctx, countersign.WorkflowReview, evidence.ReviewInput{
			Tenant: "acme", Request: "PO-1", Saga: evidence.Execution{Workflow: countersign.SagaID("acme", "PO-1")},
			Owner: countersign.Eligible{Actor: lena}, Broke: []evidence.Broke{{Actor: officer, Reason: "fire"}},
		}).Get(ctx, &status)
		return status, err
	}, workflow.RegisterOptions{Name: "a saga"})
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.SagaID("acme", "PO-1"), TaskQueue: countersign.TaskQueueSigning})
	closes := func(after time.Duration, finding string) {
		s.at(after, func() {
			if err := s.env.SignalWorkflowByID(countersign.ReviewID("acme", "PO-1"), countersign.SignalClose, countersign.ReviewClosing{ID: "c", Finding: finding, Note: "looked at it"}); err != nil {
				t.Error(err)
			}
		})
	}
	usual := s.review
	s.review = func(in evidence.ReviewSignalInput) (evidence.ReviewSignal, error) {
		signal, err := usual(in)
		if in.Ordinal == 1 {
			signal.Refusal = countersign.Refuse("nobody-reviews-themselves", "no")
		}
		return signal, err
	}
	closes(time.Hour, countersign.FindingNotJustified)    // of whoever broke the glass
	closes(16*24*time.Hour, countersign.FindingJustified) // of the owner, in the third week
	s.env.ExecuteWorkflow("a saga")
	var got evidence.ReviewStatus
	s.finished(&got)
	if got.State != evidence.ReviewClosed || len(got.Signals) != 2 || got.Signals[0].Refusal == nil || got.Signals[1].Finding != countersign.FindingJustified {
		t.Errorf("the review ended as %+v", got)
	}
	s.wantTold(evidence.EventReviewOpened, evidence.EventReviewOverdue, evidence.EventReviewOverdue, evidence.EventReviewClosed)
	if first := s.notes[0]; !slices.Equal(first.To, []countersign.Actor{lena, officer}) || !first.Owner || first.Event.Detail != "https://id.acme.example#otto did not wait: fire\n" {
		t.Errorf("first told was %+v", first)
	}
}
