package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// keeping is an order about how the locked evidence of one request is kept.
type keeping struct {
	countersign.SignedOrder
	parties []countersign.Actor // once they are known
}

func (k keeping) may(who countersign.Actor) *countersign.Refusal { return tookPart(who, k.parties) }

func (k keeping) named(digest string) (order, shredding, key string) { return digest, "", "" }

func (k keeping) possible(ctx context.Context, t *Tenant, o countersign.Ordered, a *evidence.OrderAdmission) (*countersign.Refusal, error) {
	if k.Order.Bundle.Bucket != t.settings.Evidence.Bucket {
		return countersign.Refuse("wrong-bucket", "evidence of this tenant lies in another bucket"), nil
	}
	if refusal, err := t.about(ctx, k.Order, a); err != nil || refusal != nil {
		return refusal, err
	}
	return t.possible(ctx, k.Order, o.Digest)
}

// AdmitOrder decides whether an order about locked evidence may be given: by one of compliance, about the locked bundle of a signing in which that person had no part.
func (t *Tenant) AdmitOrder(ctx context.Context, in evidence.AdmitOrderInput) (evidence.OrderAdmission, error) {
	return t.admitOrder(ctx, in.Keeper, keeping{SignedOrder: in.Order})
}

// CheckOrderAnswer decides whether one answer to an order counts: of another one of compliance, who had no part in the signing either.
func (t *Tenant) CheckOrderAnswer(ctx context.Context, in evidence.OrderAnswerInput) (evidence.OrderAnswered, error) {
	return t.checkOrderAnswer(ctx, in.Keeper, in.Ordinal, in.Payload, keeping{SignedOrder: countersign.SignedOrder{Order: in.Order}, parties: in.Parties})
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

// CarryOut does at the store what was ordered, reads it back, and locks the record of it; of an order that was not approved it locks the record alone. It
// fails towards keeping: a hold is recorded once it is there, and lifted once that is recorded. Run again, it ends with the first record.
func (t *Tenant) CarryOut(ctx context.Context, in evidence.CarryOutInput) (evidence.CarriedOut, error) {
	var out evidence.CarriedOut
	said := ordered{keeper: in.Record.Keeper, given: in.Record.Given, answer: in.Record.Answer, ordinal: in.Ordinal, taken: in.Record.Taken}
	said.does = in.Record.Outcome != evidence.OrderRejected && in.Record.Outcome != evidence.OrderExpired
	_, err := t.confirmed(ctx, keeping{SignedOrder: in.Record.Order}, said)
	if err == nil {
		err = in.Record.Verify(nil)
	}
	if err != nil {
		return out, notNow("couldn't carry the order out", err)
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
