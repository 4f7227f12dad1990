package workflows_test

import (
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

func TestSigning_AuthorityLostIsRevoked(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]countersign.Outcome{"authority-lost": countersign.Revoked, "quorum-not-met": countersign.Failed} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.everybodyApproves()
			s.sign = func(evidence.SignInput) (evidence.Signature, error) {
				return evidence.Signature{Refusal: countersign.Refuse(code, "lena no longer holds the role")}, nil
			}
			s.wantOutcome(s.runSaga(), want, "lena no longer holds the role")
			s.wantTimes(evidence.ActivitySign, 1)
			s.wantTimes(evidence.ActivityWithhold, 1)
			s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalRequested, evidence.EventEnded)
		})
	}
}

func TestSigning_UnusableKeyIsAskedOnceAndWithheldOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.sign = func(evidence.SignInput) (evidence.Signature, error) { return evidence.Signature{}, keyUnusable }
	s.wantOutcome(s.runSaga(), countersign.Failed, "the key could not sign: the key is disabled")
	s.wantTimes(evidence.ActivitySign, 1)
	s.wantTimes(evidence.ActivityWithhold, 1)
	s.wantElapsed(3 * time.Hour)
}

func TestSigning_KeyThatIsAwayForAWhileSignsLater(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.sign = func(evidence.SignInput) (evidence.Signature, error) {
		return signature(), s.down(3*time.Hour + 2*time.Minute)
	}
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTimes(evidence.ActivityWithhold, 0)
}

func TestSigning_KeyThatNeverAnswersFailsAndIsWithheld(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.sign = func(evidence.SignInput) (evidence.Signature, error) {
		return evidence.Signature{}, errors.New("throttled")
	}
	s.wantOutcome(s.runSaga(), countersign.Failed, "the key could not sign: throttled")
	s.wantTimes(evidence.ActivityWithhold, 1)
}

func TestSigning_IntentThatCannotBeLockedAsksNoKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.intend = func(evidence.SignInput) (evidence.Intent, error) {
		return evidence.Intent{}, temporal.NewNonRetryableApplicationError("another transaction holds its place", "Setting", nil)
	}
	s.wantOutcome(s.runSaga(), countersign.Failed, "the intent to sign could not be recorded: another transaction holds its place")
	s.wantTimes(evidence.ActivitySign, 0)
	s.wantTimes(evidence.ActivityWithhold, 0)
}

func TestSigning_WithholdingIsTriedUntilItWorks(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.sign = func(evidence.SignInput) (evidence.Signature, error) { return evidence.Signature{}, keyUnusable }
	s.withhold = func() error { return s.down(3*time.Hour + 2*time.Minute) }
	s.wantOutcome(s.runSaga(), countersign.Failed, "the key is disabled")
	if took := s.env.Now().Sub(start); took < 3*time.Hour+2*time.Minute || took > 3*time.Hour+4*time.Minute {
		t.Errorf("it ended after %s", took)
	}
}

func TestSigning_CompensationRunsAlthoughTheSagaIsCancelled(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.sign = func(evidence.SignInput) (evidence.Signature, error) {
		return evidence.Signature{}, errors.New("throttled")
	}
	s.withhold = func() error { return s.down(3*time.Hour + 2*time.Minute) }
	s.at(3*time.Hour+10*time.Second, s.env.CancelWorkflow)
	s.wantOutcome(s.runSaga(), countersign.Failed, "an operator cancelled the signing")
	if n := s.times(evidence.ActivityWithhold); n < 2 || s.ended[len(s.ended)-2] != evidence.ActivityWithhold {
		t.Errorf("withheld %d times, activities were %q", n, s.ended)
	}
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalRequested, evidence.EventEnded)
}

// What Withhold destroys must not be stored again by a Sign that is still at work: a cancelled saga waits for it. The SDK's test suite
// cancels activities at once whatever they are scheduled with, so this test looks at how Sign is scheduled.
func TestSigning_NothingIsWithheldBeforeTheCancelledSignIsOver(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	watch := &optionsWatch{seen: map[string]workflow.ActivityOptions{}}
	s.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{watch}})
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	how, ok := watch.seen[evidence.ActivitySign]
	if !ok || !how.WaitForCancellation {
		t.Errorf("Sign is scheduled with %+v: a cancelled saga withholds while the key may still be at work", how)
	}
	if how.TaskQueue != countersign.TaskQueueKeys {
		t.Errorf("Sign is on the queue %q", how.TaskQueue)
	}
}

// optionsWatch notes how activities are scheduled.
type optionsWatch struct {
	interceptor.WorkerInterceptorBase
	seen map[string]workflow.ActivityOptions
}

func (w *optionsWatch) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inboundWatch{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, watch: w}
}

type inboundWatch struct {
	interceptor.WorkflowInboundInterceptorBase
	watch *optionsWatch
}

func (i *inboundWatch) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outboundWatch{WorkflowOutboundInterceptorBase: interceptor.WorkflowOutboundInterceptorBase{Next: out}, watch: i.watch})
}

type outboundWatch struct {
	interceptor.WorkflowOutboundInterceptorBase
	watch *optionsWatch
}

func (o *outboundWatch) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	o.watch.seen[name] = workflow.GetActivityOptions(ctx)
	return o.Next.ExecuteActivity(ctx, name, args...)
}

// An intent that is not in the log is not signed for.
func TestN04_TheKeyIsNotAskedBeforeTheIntentIsInTheLog(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.appends = func(translog.Entry) (translog.Proof, error) { return translog.Proof{}, keyUnusable }
	s.wantOutcome(s.runSaga(), countersign.Failed, "the intent to sign could not be put into the log: the key is disabled")
	s.wantTimes(evidence.ActivityIntend, 1)
	s.wantTimes(evidence.ActivitySign, 0)
	if e := s.entries[0]; e.Kind != translog.Intended || e.Request != "PO-1" || e.Run == "" || len(e.Context) != 64 || e.Bundle != nil {
		t.Errorf("the entry is %+v", e)
	}
}

// Neither the lock of the intent nor its entry may be missing, whichever of the two is there first.
func TestN04_TheKeyIsNotAskedBeforeTheIntentIsLocked(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.intend = func(evidence.SignInput) (evidence.Intent, error) {
		return evidence.Intent{}, temporal.NewNonRetryableApplicationError("the bucket is gone", "Setting", nil)
	}
	s.wantOutcome(s.runSaga(), countersign.Failed, "the intent to sign could not be recorded: the bucket is gone")
	s.wantTimes(evidence.ActivityAppendLog, 1)
	s.wantTimes(evidence.ActivitySign, 0)
}

func TestN04_WhatIsToldOfASignatureHasTheCheckpoint(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.everybodyApproves()
	s.runSaga()
	if first, last := s.notes[0].Event, s.notes[len(s.notes)-1].Event; first.Checkpoint != "" || last.Checkpoint != "checkpoint after intended" {
		t.Errorf("told were %+v and %+v", first, last)
	}
}

func TestN04_ASagaOfAnOlderBuildReplaysWithoutALog(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, change := range []string{"intents-are-logged", "intents-are-locked-and-logged-at-once"} {
		s.env.OnGetVersion(change, workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	}
	s.everybodyApproves()
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTimes(evidence.ActivityAppendLog, 0)
}
