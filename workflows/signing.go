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
)

// Signing is the saga of one document: admit, approve stage by stage, record the intent, sign, tell. It is started by its custodian
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
		for _, stage := range s.admission.Plan.Stages {
			if ended = s.approve(ctx, stage); ended != nil {
				break
			}
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
		return s.broken(ctx, "intake did not work", err)
	}
	if r := s.admission.Refusal; r != nil {
		return &ending{countersign.Refused, r.Code + ": " + r.Message}
	}
	return nil
}

// approve waits until enough people approved the stage, or somebody rejected, the requester withdrew, or time is up.
func (s *signing) approve(ctx workflow.Context, stage countersign.Stage) *ending {
	s.state, s.stage = "approval", stage.Name
	s.ask(ctx, stage)

	decided := func() bool {
		return s.withdrawn != nil || s.rejected[stage.Name] != nil || s.approvals[stage.Name] >= stage.Quorum
	}
	if _, err := workflow.AwaitWithTimeout(ctx, stage.Deadline.Sub(workflow.Now(ctx)), decided); err != nil {
		return s.cancelled()
	}
	// What came before now counts even if its check takes longer: an approval at the deadline, and a rejection beside the last approval.
	if err := workflow.Await(ctx, func() bool { return !s.checking }); err != nil {
		return s.cancelled()
	}
	s.closed[stage.Name] = true
	switch rejected := s.rejected[stage.Name]; {
	case s.withdrawn != nil:
		return &ending{countersign.Withdrawn, s.withdrawn.Reason}
	case rejected != nil:
		return &ending{countersign.Rejected, fmt.Sprintf("stage %s, by %s: %s", stage.Name, rejected.Actor, rejected.Reason)}
	case s.approvals[stage.Name] >= stage.Quorum:
		return nil
	}
	return &ending{countersign.Expired, fmt.Sprintf("stage %s had %d of %d approvals at its deadline", stage.Name, s.approvals[stage.Name], stage.Quorum)}
}

// intend locks the intent to sign, before the key is asked. It is the last moment at which the requester can withdraw.
func (s *signing) intend(ctx workflow.Context) *ending {
	s.state, s.stage = "signing", ""
	var intent evidence.Intent
	if err := s.do(ctx, patient, evidence.ActivityIntend, s.signInput(), &intent); err != nil {
		return s.broken(ctx, "the intent to sign could not be recorded", err)
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

// sign asks the key, once. From here on a signature may exist, so every other way out destroys it first.
func (s *signing) sign(ctx workflow.Context) *ending {
	s.compensate = append(s.compensate, s.withhold)
	if err := s.do(ctx, keys, evidence.ActivitySign, s.signInput(), &s.signature); err != nil {
		return s.broken(ctx, "the key could not sign", err)
	}
	switch r := s.signature.Refusal; {
	case ctx.Err() != nil:
		return s.cancelled()
	case r != nil && r.Code == "authority-lost":
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
	s.state, s.stage, s.over = "ending", "", true
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

func (s *signing) cancelled() *ending {
	return &ending{countersign.Failed, "an operator cancelled the signing"}
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
