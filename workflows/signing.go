// Package workflows orchestrates a signing: the saga that people take part in, and the custodian that outlives it and locks
// its evidence. Read Signing.run from top to bottom: it is the procedure.
package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// Signing is the saga of one document: admit, approve step by step, record the intent, sign, tell. It is started by its custodian
// and signalled by approvers (decide) and the requester (withdraw). However it ends, its history is the evidence.
func Signing(ctx workflow.Context, in evidence.SagaInput) (evidence.SagaResult, error) {
	s, err := newSigning(ctx, in)
	if err != nil {
		return evidence.SagaResult{}, err
	}
	return s.run(ctx)
}

// run is the procedure. Each step either goes on to the next or says how the signing ends.
func (s *signing) run(ctx workflow.Context) (evidence.SagaResult, error) {
	ended := s.admit(ctx)
	if ended == nil {
		s.listen(ctx)
		for _, step := range s.admission.Plan.Steps() {
			if ended = s.approve(ctx, step); ended != nil || s.unwaiting() {
				break
			}
		}
		if ended == nil && s.unwaiting() {
			ended = s.breakGlass(ctx)
		}
	}
	if ended == nil {
		ended = s.intend(ctx)
	}
	if ended == nil {
		ended = s.sign(ctx)
	}
	if ended == nil {
		ended = &ending{outcome: countersign.Completed}
	}
	return s.finish(ctx, *ended)
}

// ending is how a signing ends, and why.
type ending struct {
	outcome countersign.Outcome
	detail  string
}

// admit checks the request and freezes what the signing stands on.
func (s *signing) admit(ctx workflow.Context) *ending {
	s.state = "intake"
	input := evidence.AdmitInput{Request: s.in.Request, Saga: s.self, Custodian: s.in.Custodian, StartedAt: workflow.Now(ctx).UTC()}
	if err := s.do(ctx, patient, evidence.ActivityAdmit, input, &s.admission); err != nil {
		return s.broken(ctx, evidence.FailedIntake, err)
	}
	if r := s.admission.Refusal; r != nil {
		return &ending{countersign.Refused, r.Code + ": " + r.Message}
	}
	return nil
}

// approve opens the stages of one step, and waits until each has its quorum, or somebody rejected, the requester withdrew, or time is up.
func (s *signing) approve(ctx workflow.Context, step []countersign.Stage) *ending {
	s.state = "approval"
	for _, stage := range step {
		s.open(ctx, stage)
	}
	var late *countersign.Stage
	for first := true; first || late == nil && !s.settled(step); first = false {
		next := s.nextDeadline(step)
		waiting := len(s.waiting(step))
		moved, err := workflow.AwaitWithTimeout(ctx, next.Deadline.Sub(workflow.Now(ctx)), func() bool { return s.settled(step) || len(s.waiting(step)) < waiting })
		if err != nil {
			return s.cancelled()
		}
		// What came before now counts even if its check takes longer: an approval at the deadline, and a rejection beside the last approval.
		if err := workflow.Await(ctx, func() bool { return !s.checking }); err != nil {
			return s.cancelled()
		}
		if !moved && !s.met(next) && !s.unwaiting() {
			late = &next
		}
	}
	s.close(step)
	switch rejected := s.rejection(step); {
	case s.withdrawn != nil:
		return &ending{countersign.Withdrawn, s.withdrawn.Reason}
	case rejected != nil:
		return rejectedBy(rejected)
	case late != nil:
		return &ending{countersign.Expired, evidence.Expiry(*late, s.approvals)}
	}
	return nil
}

// intend locks the intent to sign, before the key is asked. It is the last moment at which the requester can withdraw.
func (s *signing) intend(ctx workflow.Context) *ending {
	s.state, s.opened = "signing", nil
	if ended := s.recordIntent(ctx); ended != nil {
		return ended
	}
	if err := workflow.Await(ctx, func() bool { return !s.checking }); err != nil {
		return s.cancelled()
	}
	if s.withdrawn != nil {
		return &ending{countersign.Withdrawn, s.withdrawn.Reason}
	}
	s.tooLate = true
	return nil
}

// recordIntent locks the intent and puts it into the log, both at once: neither stands on the other, and the key is asked after both.
func (s *signing) recordIntent(ctx workflow.Context) *ending {
	entry := evidence.IntentEntry(s.in.Request, s.self, s.admission.Digest)
	if workflow.GetVersion(ctx, "intents-are-locked-and-logged-at-once", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return s.recordIntentInTurn(ctx, entry)
	}
	locking := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, patient), evidence.ActivityIntend, s.signInput())
	appending := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, logging), evidence.ActivityAppendLog, entry)
	var intent evidence.Intent
	locked, logged := s.end(ctx, evidence.ActivityIntend, locking, &intent), s.end(ctx, evidence.ActivityAppendLog, appending, &s.logged)
	if locked != nil {
		return s.broken(ctx, evidence.FailedIntent, locked)
	}
	if logged != nil {
		return s.broken(ctx, evidence.FailedLog, logged)
	}
	return nil
}

// recordIntentInTurn is how sagas of earlier builds do it.
func (s *signing) recordIntentInTurn(ctx workflow.Context, entry translog.Entry) *ending {
	var intent evidence.Intent
	if err := s.do(ctx, patient, evidence.ActivityIntend, s.signInput(), &intent); err != nil {
		return s.broken(ctx, evidence.FailedIntent, err)
	}
	if workflow.GetVersion(ctx, "intents-are-logged", workflow.DefaultVersion, 1) > workflow.DefaultVersion {
		if err := s.do(ctx, keys, evidence.ActivityAppendLog, entry, &s.logged); err != nil {
			return s.broken(ctx, evidence.FailedLog, err)
		}
	}
	return nil
}

// sign asks the key, once. From here on a signature may exist, so every other way out destroys it first.
func (s *signing) sign(ctx workflow.Context) *ending {
	s.compensate = append(s.compensate, s.withhold)
	if err := s.do(ctx, keys, evidence.ActivitySign, s.signInput(), &s.signature); err != nil {
		return s.broken(ctx, evidence.FailedKey, err)
	}
	switch r := s.signature.Refusal; {
	case ctx.Err() != nil:
		return s.cancelled()
	case r != nil && r.Code == evidence.RefusalAuthorityLost:
		return &ending{countersign.Revoked, r.Message}
	case r != nil:
		return &ending{countersign.Failed, r.Code + ": " + r.Message}
	}
	return nil
}

// finish undoes what must not stay, tells everybody, hears out who is still speaking, and ends. A signature is not released here: the custodian does
// that, when the evidence is locked.
func (s *signing) finish(ctx workflow.Context, e ending) (evidence.SagaResult, error) {
	// What must happen at the end happens even if an operator cancelled the saga.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	s.state, s.opened, s.over = "ending", nil, true
	result := evidence.SagaResult{Outcome: e.outcome, Detail: e.detail, Context: s.admission.Digest, ReleaseWithin: s.admission.ReleaseWithin}
	if e.outcome == countersign.Completed {
		result.Signature = &s.signature
	} else if err := s.undo(ctx); err != nil {
		return result, err
	}
	s.tell(ctx, e)
	result.Told = s.told
	if err := workflow.Await(ctx, func() bool { return !s.checking && s.asking == 0 }); err != nil {
		return result, err
	}
	s.drain()
	result.Records = s.records.sum()
	return result, nil
}

// undo runs the compensations, newest first.
func (s *signing) undo(ctx workflow.Context) error {
	for i := len(s.compensate) - 1; i >= 0; i-- {
		if err := s.compensate[i](ctx); err != nil {
			return err
		}
	}
	return nil
}

// withhold destroys a signature that will not be released. It is tried until it works.
func (s *signing) withhold(ctx workflow.Context) error {
	return s.do(ctx, stubborn, evidence.ActivityWithhold, s.in.Request.ID, nil)
}

// broken turns a part that did not work into an ending: of an operator's cancellation, or of a failure.
func (s *signing) broken(ctx workflow.Context, what string, err error) *ending {
	if ctx.Err() != nil || temporal.IsCanceledError(err) {
		return s.cancelled()
	}
	return &ending{countersign.Failed, what + ": " + reason(err)}
}

func rejectedBy(d *countersign.Decision) *ending {
	return &ending{countersign.Rejected, fmt.Sprintf("stage %s, by %s: %s", d.Stage, d.Actor, d.Reason)}
}

func (s *signing) cancelled() *ending {
	return &ending{countersign.Failed, evidence.FailedCancelled}
}

// reason is the innermost message of an error, without Temporal's wrapping.
func reason(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		if cause := timeout.Unwrap(); cause != nil {
			return reason(cause)
		}
		return "it took too long"
	}
	return err.Error()
}
