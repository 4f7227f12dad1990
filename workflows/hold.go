package workflows

import (
	"encoding/json"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Hold keeps one order to hold the locked evidence of a request, or to lift a hold: one person of compliance orders it, another one approves, and it is
// carried out at the store and recorded there.
func Hold(ctx workflow.Context, in countersign.SignedOrder) (evidence.OrderStatus, error) {
	k := &keeping{status: evidence.OrderStatus{Order: in}}
	return keep(ctx, in, k, &k.status, &k.status.OrderProgress)
}

// Retain keeps one order to retain the locked evidence of a request longer, which takes one person of compliance.
func Retain(ctx workflow.Context, in countersign.SignedOrder) (evidence.OrderStatus, error) {
	return Hold(ctx, in)
}

// keeping is the effect of an order about how the evidence of one request is kept.
type keeping struct {
	status   evidence.OrderStatus
	admitted evidence.OrderAdmission
}

func (k *keeping) admission(keeper evidence.Execution) call {
	return call{evidence.ActivityAdmitOrder, evidence.AdmitOrderInput{Order: k.status.Order, Keeper: keeper}}
}

func (k *keeping) admit(a evidence.OrderAdmission) {
	k.admitted = a
	k.status.Title, k.status.Ordered, k.status.Parties = a.Title, a.At, a.Parties
}

func (k *keeping) check(o *order, ordinal int, payload json.RawMessage) call {
	return call{evidence.ActivityCheckOrderAnswer, evidence.OrderAnswerInput{
		Ordinal: ordinal, Payload: payload, Order: k.status.Order.Order, Parties: k.admitted.Parties, Keeper: o.status.Keeper,
	}}
}

// deed has a record of each ending: an order that nobody approved has one too.
func (k *keeping) deed(o *order, at time.Time) *deed {
	in := evidence.CarryOutInput{Record: evidence.OrderRecord{
		V: countersign.Version, Digest: o.Digest, Order: k.status.Order, By: k.admitted.By, Given: k.admitted.Given,
		Issuers: k.admitted.Issuers, Keeper: o.status.Keeper, Ordered: k.status.Ordered, Ended: at,
	}}
	if a := o.answered; a != nil {
		in.Ordinal, in.Record.Answer, in.Record.Second, in.Record.Taken = a.Ordinal, a.Answer, a.By, a.Taken
	}
	in.Record.Outcome = in.Record.Becomes()
	var done evidence.CarriedOut
	return &deed{call{evidence.ActivityCarryOut, in}, &done, func() string {
		k.status.Done = &done
		return done.Record.Outcome
	}}
}

// done puts a hold that began or ended into the tenant's log. Its record is locked already, so a log that takes no entry for a day leaves it there, and a
// person is told: a hold that could not be lifted for it would be worse.
func (k *keeping) done(ctx workflow.Context, o *order) {
	entry, ok := k.status.Done.Record.LogEntry()
	if !ok {
		return
	}
	how := logging
	how.ScheduleToCloseTimeout = aDay
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityAppendLog, entry).Get(ctx, nil); err != nil {
		o.status.Problem = "it is not in the tenant's log: " + reason(err)
		o.tell(ctx, evidence.EventOrderStuck, o.status.Problem)
	}
}

func (k *keeping) event() evidence.Event {
	given := k.status.Order.Order
	return evidence.Event{Request: given.Request, Title: given.Act + ": " + k.status.Title, Evidence: &given.Bundle}
}

func (k *keeping) toldBefore(step string) bool {
	return step == evidence.EventOrderProposed || step == evidence.EventOrderStuck || step == evidence.EventOrderEnded
}
