package activities

import (
	"context"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// CheckReview decides whether one close signal of a review counts: of the review's owner, or of the tenant's compliance, and never of somebody who
// broke the glass or requested the signing.
func (t *Tenant) CheckReview(ctx context.Context, in evidence.ReviewSignalInput) (evidence.ReviewSignal, error) {
	var s evidence.ReviewSignal
	event, err := t.signal(ctx, in.Keeper, countersign.SignalClose, in.Ordinal)
	if err != nil {
		return s, err
	}
	s.Sender, s.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	sender, refusal := senderOf(event)
	if refusal != nil {
		s.Refusal = refusal
		return s, nil
	}
	var given countersign.ReviewClosing
	err = countersign.ParseStrict(in.Payload, &given)
	if err == nil {
		err = given.Check()
	}
	if err != nil {
		s.Refusal = countersign.Refuse("malformed", "%s", err)
		return s, nil
	}
	s.Finding, s.Note = given.Finding, given.Note
	broke := []countersign.Actor{}
	for _, b := range in.Review.Broke {
		broke = append(broke, b.Actor)
	}
	answer := t.engine.Ask(policy.Question{
		Action: policy.Review, Principal: policy.PrincipalOf(t.settings, sender), Now: s.At,
		Resource: policy.Resource{
			Signing: in.Review.Saga.Workflow, Tenant: in.Review.Tenant, Requester: &in.Review.Requester,
			Eligible: []countersign.Actor{in.Review.Owner.Actor}, Decided: broke,
		},
	})
	if s.Answer = &answer; !answer.Allowed {
		s.Refusal = &countersign.Refusal{Code: answer.Code(), Message: answer.Refusal}
	}
	return s, nil
}
