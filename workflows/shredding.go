package workflows

import (
	"encoding/json"
	"fmt"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Shredding keeps one proposal to shred a person's data: one person of compliance proposes it, another one approves, and the person's key is destroyed and
// that is recorded. Whether a key is gone is for the store to say and not for this workflow: an operator who terminates it brings none back.
func Shredding(ctx workflow.Context, in countersign.SignedShredding) (evidence.ShreddingStatus, error) {
	s, err := newShredding(ctx, in)
	if err != nil {
		return evidence.ShreddingStatus{}, err
	}
	return s.run(ctx)
}

// shredding is the state of a proposal.
type shredding struct {
	in       countersign.SignedShredding
	status   evidence.ShreddingStatus
	admitted evidence.ShreddingAdmission
	answered *evidence.ShreddingAnswered // the one that counts
	heard    int
}

func newShredding(ctx workflow.Context, in countersign.SignedShredding) (*shredding, error) {
	info := workflow.GetInfo(ctx)
	digest, err := in.Shredding.Digest()
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError(err.Error(), ErrorRefused, nil)
	}
	if want := countersign.ShreddingID(in.Shredding.Tenant, digest); info.WorkflowExecution.ID != want {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("the workflow id must be %q for this shredding: it is named by its digest", want), ErrorRefused, nil)
	}
	s := &shredding{in: in, status: evidence.ShreddingStatus{
		Digest: digest, Shredding: in.Shredding, Answers: []evidence.ShreddingAnswered{},
		Keeper: evidence.Execution{Workflow: info.WorkflowExecution.ID, Run: info.WorkflowExecution.RunID},
	}}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.ShreddingStatus, error) { return s.status, nil }); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	return s, nil
}

// run is the life of a proposal: made, answered by a second person, done.
func (s *shredding) run(ctx workflow.Context) (evidence.ShreddingStatus, error) {
	if err := s.admit(ctx); err != nil {
		return s.status, err
	}
	if s.in.Shredding.DryRun {
		s.status.State = evidence.ShreddingDryRun
		return s.status, nil
	}
	due := s.status.Proposed.Add(countersign.ShreddingAnswerTime)
	s.status.State, s.status.Due = evidence.ShreddingProposed, &due
	if err := s.wait(ctx); err != nil {
		return s.status, err // an operator cancelled it, which the history says; nothing was destroyed
	}
	switch {
	case s.answered == nil:
		s.status.State = evidence.ShreddingExpired
	case s.answered.Answer.Answer.Verdict == countersign.Reject:
		s.status.State = evidence.ShreddingRejected
	default:
		// What was approved is done and recorded, whoever cancels it now.
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		return s.status, s.shred(ctx)
	}
	return s.status, nil
}

// admit asks whether it may be proposed at all.
func (s *shredding) admit(ctx workflow.Context) error {
	in := evidence.AdmitShreddingInput{Shredding: s.in, Keeper: s.status.Keeper}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityAdmitShredding, in).Get(ctx, &s.admitted); err != nil {
		s.admitted.Refusal = countersign.Refuse("not-checked", "it could not be checked in time; propose it again")
	}
	if r := s.admitted.Refusal; r != nil {
		s.status.State, s.status.Refusal = evidence.ShreddingRefused, r
		return temporal.NewNonRetryableApplicationError(r.Code+": "+r.Message, ErrorRefused, nil)
	}
	s.status.By, s.status.Proposed, s.status.Key = s.admitted.By, s.admitted.At, s.admitted.Key
	return nil
}

// wait waits for the answer that counts, for as long as a proposal may wait. One that is flooded with answers expires.
func (s *shredding) wait(ctx workflow.Context) error {
	answers := workflow.GetSignalChannel(ctx, countersign.SignalShreddingAnswer)
	for s.answered == nil {
		came, err := workflow.AwaitWithTimeout(ctx, s.status.Due.Sub(workflow.Now(ctx)), func() bool { return answers.Len() > 0 && s.heard < maxKept })
		if err != nil {
			return err
		}
		if !came {
			return nil
		}
		s.hear(ctx, answers)
	}
	return nil
}

// hear has one answer checked. One that doesn't count changes nothing, and is kept.
func (s *shredding) hear(ctx workflow.Context, c workflow.ReceiveChannel) {
	var raw converter.RawValue
	if !c.ReceiveAsync(&raw) {
		return
	}
	s.heard++
	body := json.RawMessage(raw.Payload().GetData())
	if evidence.Unreadable(body) {
		body = json.RawMessage(evidence.NoDecision)
	}
	in := evidence.ShreddingAnswerInput{Ordinal: s.heard, Payload: body, Shredding: s.in.Shredding, Key: s.status.Key, Keeper: s.status.Keeper}
	var answered evidence.ShreddingAnswered
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityCheckShreddingAnswer, in).Get(ctx, &answered); err != nil {
		answered = evidence.ShreddingAnswered{Ordinal: s.heard, At: workflow.Now(ctx).UTC(), Refusal: countersign.Refuse("not-checked", "the answer could not be checked in time; send it again")}
	}
	s.status.Answers = append(s.status.Answers, answered)
	if answered.Refusal == nil {
		s.answered = &answered
	}
}

// shred has the key destroyed and that recorded. It goes on until it is: the status says what a person has to mend.
func (s *shredding) shred(ctx workflow.Context) error {
	s.status.State = evidence.ShreddingDoing
	in := evidence.ShredInput{Shredding: s.in, Admission: s.admitted, Answered: *s.answered, Keeper: s.status.Keeper}
	how := stubborn
	how.ScheduleToCloseTimeout = aWhile
	for pause := shortPause; ; pause = min(2*pause, longestPause) {
		var done evidence.Shredded
		err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityShred, in).Get(ctx, &done)
		if err == nil {
			s.status.State, s.status.Done, s.status.Problem = evidence.ShreddingDone, &done, ""
			return nil
		}
		s.status.Problem = reason(err)
		if err := workflow.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
