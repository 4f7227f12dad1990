package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// AdmitOrder decides whether an order about locked evidence may be given: by one of the tenant's own compliance, proven by the person's own identity
// provider for exactly this order, about the locked bundle of a signing in which that person had no part.
func (t *Tenant) AdmitOrder(ctx context.Context, in evidence.AdmitOrderInput) (evidence.OrderAdmission, error) {
	a := evidence.OrderAdmission{Issuers: t.settings.Issuers}
	refuse := func(r *countersign.Refusal) (evidence.OrderAdmission, error) {
		return evidence.OrderAdmission{At: a.At, Refusal: r}, nil
	}
	sender, at, err := t.started(ctx, in.Keeper)
	if err != nil {
		return a, err
	}
	a.At = at
	o := in.Order.Order
	if err := o.Check(); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	digest, err := o.Digest()
	switch {
	case err != nil:
		return refuse(countersign.Refuse("malformed", "%s", err))
	case o.Tenant != t.settings.Tenant:
		return refuse(countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the order names another one", t.settings.Tenant))
	case o.Bundle.Bucket != t.settings.Evidence.Bucket:
		return refuse(countersign.Refuse("wrong-bucket", "evidence of this tenant lies in another bucket"))
	case sender != o.Actor:
		return refuse(countersign.Refuse("other-sender", "the order names one person, but another one gave it"))
	case at.Sub(time.Unix(o.IssuedAt, 0)).Abs() > countersign.MaxDecisionLife:
		return refuse(countersign.Refuse("order-stale", "the order was written at %s; give it within %s of writing it", time.Unix(o.IssuedAt, 0).UTC().Format(time.RFC3339), countersign.MaxDecisionLife))
	}
	by, refusal := t.compliance(sender)
	if refusal != nil {
		return refuse(refusal)
	}
	a.By = by
	facts, err := t.registry.VerifyBound(ctx, evidence.OrderBound(o, digest), in.Order.Proof.IDToken, at)
	if errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if err != nil {
		return a, fmt.Errorf("couldn't check the order's proof: %w", err)
	}
	a.Given = &evidence.Proven{Key: facts.Key, At: at}
	if refusal, err = t.about(ctx, o, &a); err == nil && refusal == nil {
		refusal, err = t.possible(ctx, o, digest)
	}
	if err != nil {
		return a, err
	}
	if refusal != nil {
		return refuse(refusal)
	}
	for _, m := range t.settings.Members() {
		if _, refusal := t.compliance(m.Actor); refusal == nil {
			a.Compliance = append(a.Compliance, m.Actor)
		}
	}
	return a, nil
}

// compliance is one of the tenant's own compliance. People of partners are none, whatever roles the tenant's file gives them, and neither are machines.
func (t *Tenant) compliance(who countersign.Actor) (evidence.Named, *countersign.Refusal) {
	m, ok := t.settings.Member(who)
	if !ok || m.Kind != "home" || !slices.Contains(m.Roles, evidence.RoleCompliance) {
		return evidence.Named{}, countersign.Refuse("not-compliance", "orders about locked evidence are for the tenant's own people who hold the role %s", evidence.RoleCompliance)
	}
	return evidence.Named{Actor: who, Name: m.Name, Organisation: m.Organisation}, nil
}

// about reads the bundle that an order is about, and finds out whose signing it was.
func (t *Tenant) about(ctx context.Context, o countersign.Order, a *evidence.OrderAdmission) (*countersign.Refusal, error) {
	revealed, err := t.subjects.readBundle(ctx, o.Bundle)
	var refusal *countersign.Refusal
	switch {
	case errors.Is(err, errGone):
		return countersign.Refuse("no-such-bundle", "there is no such version of the request's bundle: name the one that is locked"), nil
	case errors.As(err, &refusal):
		return refusal, nil
	case err != nil:
		return nil, err
	}
	defer revealed.Close()
	report := revealed.Verify(t.roots)
	if err := report.Err(); err != nil {
		return countersign.Refuse("not-verified", "the bundle that the order names does not hold: %s", err), nil
	}
	if report.Statement == nil {
		// Somebody's data in it was shredded, and with it who had a part. It can still be held: that keeps what is left.
		a.Title, a.Parties = o.Request, []countersign.Actor{}
		return nil, nil
	}
	s := report.Statement
	if s.Tenant != o.Tenant || s.Request.ID != o.Request {
		return countersign.Refuse("other-signing", "the bundle that the order names is of another signing"), nil
	}
	a.Title = s.Request.Title
	a.Parties = []countersign.Actor{}
	if s.Requester != nil {
		a.Parties = append(a.Parties, s.Requester.Actor)
	}
	for _, d := range s.Decisions {
		if d.Counted && !slices.Contains(a.Parties, d.Actor) {
			a.Parties = append(a.Parties, d.Actor)
		}
	}
	return tookPart(o.Actor, a.Parties), nil
}

func tookPart(who countersign.Actor, parties []countersign.Actor) *countersign.Refusal {
	if !slices.Contains(parties, who) {
		return nil
	}
	return countersign.Refuse("took-part", "whoever requested a signing or decided in it orders nothing about its evidence; somebody else of compliance has to")
}

// possible says whether there is something left to do for an order: a matter that is not held yet, one that is, or a retention that grows.
func (t *Tenant) possible(ctx context.Context, o countersign.Order, digest string) (*countersign.Refusal, error) {
	records, err := t.orders(ctx, o.Request)
	if err != nil {
		return nil, err
	}
	held := []evidence.OrderRecord{}
	for _, r := range records {
		if held = append(held, r.record); r.record.Digest == digest {
			return countersign.Refuse("order-used", "this order was given before: its record is %s", r.object.Key), nil
		}
	}
	standing := slices.Contains(evidence.Standing(held), o.Matter)
	switch {
	case len(records) >= maxOrders:
		return countersign.Refuse("too-many-orders", "there were %d orders about this evidence; there can be no more", len(records)), nil
	case o.Act == countersign.OrderHold && standing:
		return countersign.Refuse("held-already", "the evidence is held for this matter already"), nil
	case o.Act == countersign.OrderLift && !standing:
		return countersign.Refuse("not-held", "the evidence is not held for this matter"), nil
	case o.Act == countersign.OrderRetain:
		kept, err := t.kept(ctx, o.Bundle)
		if err != nil {
			return nil, err
		}
		if until := time.Unix(o.Until, 0); !until.After(kept.RetainUntil) {
			return countersign.Refuse("retention-shorter", "the evidence is retained until %s already; a retention is extended, never shortened", kept.RetainUntil.Format(time.RFC3339)), nil
		}
	}
	return nil, nil
}

// CheckOrderAnswer decides whether one answer to an order counts: of another one of the tenant's own compliance than ordered it, who had no part in the
// signing, proven by the person's own identity provider for exactly this answer.
func (t *Tenant) CheckOrderAnswer(ctx context.Context, in evidence.OrderAnswerInput) (evidence.OrderAnswered, error) {
	s := evidence.OrderAnswered{Ordinal: in.Ordinal}
	event, err := t.signal(ctx, in.Keeper, countersign.SignalAnswer, in.Ordinal)
	if err != nil {
		return s, err
	}
	s.Sender, s.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	sender, refusal := senderOf(event)
	if refusal == nil {
		refusal, err = t.readAnswer(ctx, in, sender, &s)
	}
	if s.Refusal = refusal; refusal != nil {
		s.Answer, s.Taken = nil, nil
	}
	return s, err
}

func (t *Tenant) readAnswer(ctx context.Context, in evidence.OrderAnswerInput, sender countersign.Actor, s *evidence.OrderAnswered) (*countersign.Refusal, error) {
	var signed countersign.SignedOrderAnswer
	err := countersign.ParseStrict(in.Payload, &signed)
	if err == nil {
		err = signed.Answer.Check()
	}
	if err != nil {
		return countersign.Refuse("malformed", "%s", err), nil
	}
	digest, err := in.Order.Digest()
	if err != nil {
		return nil, err
	}
	bound, err := signed.Answer.Digest()
	a := signed.Answer
	switch {
	case err != nil:
		return countersign.Refuse("malformed", "%s", err), nil
	case a.Tenant != in.Order.Tenant || a.Order != digest:
		return countersign.Refuse("other-order", "the answer is to another order"), nil
	case sender != a.Actor:
		return countersign.Refuse("other-sender", "the answer names one person, but another one sent it"), nil
	case sender == in.Order.Actor:
		return countersign.Refuse("same-person", "whoever gave an order does not approve or reject it; a second person of compliance has to"), nil
	}
	by, refusal := t.compliance(sender)
	if refusal == nil {
		refusal = tookPart(sender, in.Parties)
	}
	if refusal != nil {
		return refusal, nil
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.OrderAnswerBound(a, bound), signed.Proof.IDToken, s.At)
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't check the answer's proof: %w", err)
	}
	s.By, s.Answer, s.Taken = &by, &signed, &evidence.Proven{Key: facts.Key, At: s.At}
	return nil, nil
}

// sent checks what is to be carried out against what the Temporal server wrote down itself, and against its own proofs: a workflow that says anything else
// is broken or in somebody else's hands.
func (t *Tenant) sent(ctx context.Context, in evidence.CarryOutInput) error {
	r := in.Record
	if asks := activity.GetInfo(ctx).WorkflowExecution; asks.ID != r.Keeper.Workflow || asks.RunID != r.Keeper.Run || asks.ID != r.Order.Order.Keeper() || r.Order.Order.Tenant != t.settings.Tenant {
		return errors.New("couldn't carry the order out: another workflow asks for it than was given it")
	}
	if err := r.Verify(nil); err != nil {
		return fmt.Errorf("couldn't carry the order out: %w", err)
	}
	sender, _, err := t.started(ctx, r.Keeper)
	if err == nil && sender != r.Order.Order.Actor {
		err = errors.New("somebody else gave it")
	}
	if err == nil && r.Answer != nil {
		event, missing := t.signal(ctx, r.Keeper, countersign.SignalAnswer, in.Ordinal)
		if err = missing; err == nil {
			if sender, _ := senderOf(event); sender != r.Answer.Answer.Actor {
				err = errors.New("somebody else answered it")
			}
		}
	}
	if err != nil {
		return fmt.Errorf("couldn't carry the order out: %w", err)
	}
	return nil
}

// CarryOut does at the store what was ordered, reads it back, and locks the record of it; of an order that was not approved it locks the record alone. It
// fails towards keeping: a hold is recorded once it is there, and lifted once that is recorded. Run again, it ends with the first record.
func (t *Tenant) CarryOut(ctx context.Context, in evidence.CarryOutInput) (evidence.CarriedOut, error) {
	var out evidence.CarriedOut
	if err := t.sent(ctx, in); err != nil {
		return out, err
	}
	r, o := in.Record, in.Record.Order.Order
	earlier, err := t.orders(ctx, o.Request)
	if err != nil {
		return out, err
	}
	objects, err := t.keptObjects(ctx, o)
	if err != nil {
		return out, err
	}
	switch r.Outcome {
	case evidence.OrderHeld:
		err = t.hold(ctx, objects, true)
	case evidence.OrderRetained:
		err = t.retain(ctx, objects, time.Unix(o.Until, 0).UTC())
	}
	if err != nil {
		return out, err
	}
	if out, err = t.recordOrder(ctx, r, objects, earlier); err != nil {
		return out, err
	}
	// What became of it is the record's: a later try must not undo what was ordered since.
	switch {
	case r.Outcome == evidence.OrderHeld:
		err = t.hold(ctx, []countersign.Object{out.Object}, true)
	case r.Outcome == evidence.OrderLifted && len(out.Record.Standing) == 0:
		err = t.hold(ctx, objects, false)
	}
	return out, err
}
