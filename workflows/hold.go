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

// Hold keeps one order to hold the locked evidence of a request, or to lift a hold: one person of compliance orders it, another one approves, and it is
// carried out at the store and recorded there. Whether evidence is held is for the store to say and not for this workflow, which ends with the order: an
// operator who terminates it lifts nothing.
func Hold(ctx workflow.Context, in countersign.SignedOrder) (evidence.OrderStatus, error) {
	o, err := newOrder(ctx, in)
	if err != nil {
		return evidence.OrderStatus{}, err
	}
	return o.run(ctx)
}

// Retain keeps one order to retain the locked evidence of a request longer, which takes one person of compliance.
func Retain(ctx workflow.Context, in countersign.SignedOrder) (evidence.OrderStatus, error) {
	return Hold(ctx, in)
}

// order is the state of an order about locked evidence.
type order struct {
	status   evidence.OrderStatus
	admitted evidence.OrderAdmission
	answered *evidence.OrderAnswered // the one that counts
	heard    int

	telling telling
}

func newOrder(ctx workflow.Context, in countersign.SignedOrder) (*order, error) {
	info := workflow.GetInfo(ctx)
	digest, err := in.Order.Digest()
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError(err.Error(), ErrorRefused, nil)
	}
	kind := countersign.WorkflowHold
	if !in.Order.NeedsSecond() {
		kind = countersign.WorkflowRetain
	}
	if want := in.Order.Keeper(); info.WorkflowExecution.ID != want || info.WorkflowType.Name != kind {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("the workflow must be %s with the id %q for this order", kind, want), ErrorRefused, nil)
	}
	o := &order{status: evidence.OrderStatus{
		Digest: digest, Order: in, Answers: []evidence.OrderAnswered{},
		Keeper: evidence.Execution{Workflow: info.WorkflowExecution.ID, Run: info.WorkflowExecution.RunID},
	}}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.OrderStatus, error) { return o.status, nil }); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	return o, nil
}

// run is the life of an order: given, answered by a second person, carried out.
func (o *order) run(ctx workflow.Context) (evidence.OrderStatus, error) {
	if err := o.admit(ctx); err != nil {
		return o.status, err
	}
	if o.status.Order.Order.NeedsSecond() {
		due := o.status.Ordered.Add(countersign.OrderAnswerTime)
		o.status.State, o.status.Due = evidence.OrderProposed, &due
		o.tell(ctx, evidence.EventOrderProposed, "")
		if err := o.wait(ctx); err != nil {
			return o.status, err // an operator cancelled it, which the history says; nothing was done
		}
	}
	// What counts is carried out and recorded, whoever cancels it now.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := o.carryOut(ctx); err != nil {
		return o.status, err
	}
	o.log(ctx)
	o.tell(ctx, evidence.EventOrderEnded, "")
	return o.status, o.telling.wait(ctx)
}

// admit asks whether the order may be given at all.
func (o *order) admit(ctx workflow.Context) error {
	in := evidence.AdmitOrderInput{Order: o.status.Order, Keeper: o.status.Keeper}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityAdmitOrder, in).Get(ctx, &o.admitted); err != nil {
		o.admitted.Refusal = countersign.Refuse("not-checked", "the order could not be checked in time; give it again")
	}
	if r := o.admitted.Refusal; r != nil {
		o.status.State, o.status.Refusal = evidence.OrderRefused, r
		return temporal.NewNonRetryableApplicationError(r.Code+": "+r.Message, ErrorRefused, nil)
	}
	o.status.Title, o.status.By, o.status.Ordered, o.status.Parties = o.admitted.Title, o.admitted.By, o.admitted.At, o.admitted.Parties
	return nil
}

// wait waits for the answer that counts, for as long as an order may wait. An order that is flooded with answers expires.
func (o *order) wait(ctx workflow.Context) error {
	answers := workflow.GetSignalChannel(ctx, countersign.SignalAnswer)
	for o.answered == nil {
		came, err := workflow.AwaitWithTimeout(ctx, o.status.Due.Sub(workflow.Now(ctx)), func() bool { return answers.Len() > 0 && o.heard < maxKept })
		if err != nil {
			return err
		}
		if !came {
			return nil
		}
		o.hear(ctx, answers)
	}
	return nil
}

// hear has one answer checked. One that doesn't count changes nothing, and is kept.
func (o *order) hear(ctx workflow.Context, c workflow.ReceiveChannel) {
	var raw converter.RawValue
	if !c.ReceiveAsync(&raw) {
		return
	}
	o.heard++
	body := json.RawMessage(raw.Payload().GetData())
	if evidence.Unreadable(body) {
		body = json.RawMessage(evidence.NoDecision)
	}
	in := evidence.OrderAnswerInput{Ordinal: o.heard, Payload: body, Order: o.status.Order.Order, Parties: o.admitted.Parties, Keeper: o.status.Keeper}
	var answered evidence.OrderAnswered
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityCheckOrderAnswer, in).Get(ctx, &answered); err != nil {
		answered = evidence.OrderAnswered{Ordinal: o.heard, At: workflow.Now(ctx).UTC(), Refusal: countersign.Refuse("not-checked", "the answer could not be checked in time; send it again")}
	}
	o.status.Answers = append(o.status.Answers, answered)
	if answered.Refusal == nil {
		o.answered = &answered
	}
}

// carryOut does what was ordered and has it recorded, or records that it was not approved. It insists: a person is told what to mend, and it is tried
// again until it works.
func (o *order) carryOut(ctx workflow.Context) error {
	in := evidence.CarryOutInput{Record: evidence.OrderRecord{
		V: countersign.Version, Digest: o.status.Digest, Order: o.status.Order, By: o.admitted.By, Given: o.admitted.Given,
		Issuers: o.admitted.Issuers, Keeper: o.status.Keeper, Ordered: o.status.Ordered, Ended: workflow.Now(ctx).UTC(),
	}}
	if a := o.answered; a != nil {
		in.Ordinal, in.Record.Answer, in.Record.Second, in.Record.Taken = a.Ordinal, a.Answer, a.By, a.Taken
	}
	in.Record.Outcome = in.Record.Becomes()
	o.status.State = evidence.OrderDoing
	how := stubborn
	how.ScheduleToCloseTimeout = aWhile
	for pause := shortPause; ; pause = min(2*pause, longestPause) {
		var done evidence.CarriedOut
		err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityCarryOut, in).Get(ctx, &done)
		if err == nil {
			o.status.State, o.status.Done, o.status.Problem = done.Record.Outcome, &done, ""
			return nil
		}
		if o.status.Problem == "" {
			o.tell(ctx, evidence.EventOrderStuck, reason(err))
		}
		o.status.Problem = reason(err)
		if err := workflow.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// log puts a hold that began or ended into the tenant's log. Its record is locked already, so a log that takes no entry for a day leaves it there, and a
// person is told: a hold that could not be lifted for it would be worse.
func (o *order) log(ctx workflow.Context) {
	entry, ok := o.status.Done.Record.LogEntry()
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

// tell tells the tenant's compliance and its owner. It never holds the order up. Matter and reason stay where compliance alone reads them: messages go to
// systems as well.
func (o *order) tell(ctx workflow.Context, kind, detail string) {
	given := o.status.Order.Order
	o.telling.tell(ctx, evidence.NotifyInput{
		ID: o.status.Keeper.Run + "-" + kind, To: o.admitted.Compliance, Owner: true,
		Event: evidence.Event{
			Type: kind, Tenant: given.Tenant, Request: given.Request, Title: given.Act + ": " + o.status.Title, Context: o.status.Digest,
			Stage: o.status.State, Deadline: o.status.Due, Detail: detail, Evidence: &given.Bundle,
		},
	})
}
