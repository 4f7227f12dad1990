package workflows

import (
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// order is the state of what one person of compliance orders: given, answered by a second person, carried out and recorded. What it does is its effect's.
//
// What became of it is for the store to say and not for this workflow, which ends with the order: an operator who terminates it undoes nothing.
type order struct {
	countersign.Ordered
	effect   effect
	status   *evidence.OrderProgress
	admitted evidence.OrderAdmission
	answered *evidence.OrderAnswered // the one that counts
	heard    int

	tellsEach bool // of each step
	telling   telling
}

// effect is what is particular about one kind of order. Its activities are asked under the names that histories have, with inputs of its own.
type effect interface {
	admission(keeper evidence.Execution) call // asks whether it may be given
	admit(evidence.OrderAdmission)
	check(o *order, ordinal int, payload json.RawMessage) call // asks whether one answer counts
	// deed does what was ordered, and has it recorded; nil where nothing is left to be done or recorded.
	deed(o *order, at time.Time) *deed
	// done is what is left to do once it is recorded. It fails nothing.
	done(ctx workflow.Context, o *order)
	// event is what people and systems are told of it.
	event() evidence.Event
	// toldBefore says that builds told of this step which told of some steps alone.
	toldBefore(step string) bool
}

// call is an activity that is asked, and with what.
type call struct {
	activity string
	in       any
}

// deed is what carries an order out: result is where the activity's goes, and took says what the order has become by it.
type deed struct {
	call
	result any
	took   func() (state string)
}

// orderPause is how soon an order is tried again first: what is in its way, as a signing that runs, is often over in a moment.
const orderPause = 10 * time.Second

// keep keeps one order to its end: the body of each of their workflows.
func keep[S any](ctx workflow.Context, given countersign.Given, e effect, status *S, progress *evidence.OrderProgress) (S, error) {
	o := &order{effect: e, status: progress}
	if err := o.begin(ctx, given); err != nil {
		return *status, err
	}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (S, error) { return *status, nil }); err != nil {
		return *status, fmt.Errorf("couldn't answer queries: %w", err)
	}
	err := o.run(ctx)
	return *status, err
}

// begin refuses what was started under another name than the order's: by that it could do without its second person, or take another one's place.
func (o *order) begin(ctx workflow.Context, given countersign.Given) (err error) {
	info := workflow.GetInfo(ctx)
	if o.Ordered, err = given.Ordered(); err != nil {
		return temporal.NewNonRetryableApplicationError(err.Error(), ErrorRefused, nil)
	}
	if info.WorkflowExecution.ID != o.Keeper || info.WorkflowType.Name != o.Kind {
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf("the workflow must be %s with the id %q for this %s", o.Kind, o.Keeper, o.What), ErrorRefused, nil)
	}
	o.status.Digest, o.status.Answers = o.Digest, []evidence.OrderAnswered{}
	o.status.Keeper = evidence.Execution{Workflow: info.WorkflowExecution.ID, Run: info.WorkflowExecution.RunID}
	return nil
}

func (o *order) run(ctx workflow.Context) error {
	o.tellsEach = workflow.GetVersion(ctx, "orders-tell-of-each-step", workflow.DefaultVersion, 1) > workflow.DefaultVersion
	if err := o.admit(ctx); err != nil {
		return err
	}
	if o.DryRun {
		o.status.State = evidence.OrderDryRun
		return nil
	}
	if o.Second {
		due := o.admitted.At.Add(countersign.OrderAnswerTime)
		o.status.State, o.status.Due = evidence.OrderProposed, &due
		o.tell(ctx, evidence.EventOrderProposed, "")
		if err := o.wait(ctx); err != nil {
			return err // an operator cancelled it, which the history says; nothing was done
		}
	}
	// What counts is carried out and recorded, whoever cancels it now.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := o.carryOut(ctx); err != nil {
		return err
	}
	o.effect.done(ctx, o)
	o.tell(ctx, evidence.EventOrderEnded, "")
	return o.telling.wait(ctx)
}

// admit asks whether the order may be given at all. Compliance is told that it may not be only where one of them gave it: anybody else could have them told anything.
func (o *order) admit(ctx workflow.Context) error {
	asked := o.effect.admission(o.status.Keeper)
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), asked.activity, asked.in).Get(ctx, &o.admitted); err != nil {
		o.admitted.Refusal = countersign.Refuse("not-checked", "the %s could not be checked in time; give it again", o.What)
	}
	if r := o.admitted.Refusal; r != nil {
		o.status.State, o.status.Refusal = evidence.OrderRefused, r
		if o.admitted.Given != nil {
			o.tell(ctx, evidence.EventOrderRefused, r.Message)
			_ = o.telling.wait(ctx)
		}
		return temporal.NewNonRetryableApplicationError(r.Code+": "+r.Message, ErrorRefused, nil)
	}
	o.status.By = o.admitted.By
	o.effect.admit(o.admitted)
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
	asked := o.effect.check(o, o.heard, body)
	var answered evidence.OrderAnswered
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), asked.activity, asked.in).Get(ctx, &answered); err != nil {
		answered = evidence.OrderAnswered{Ordinal: o.heard, At: workflow.Now(ctx).UTC(), Refusal: countersign.Refuse("not-checked", "the answer could not be checked in time; send it again")}
	}
	o.status.Answers = append(o.status.Answers, answered)
	if answered.Refusal == nil {
		o.answered = &answered
	}
}

// approved says that the order counts.
func (o *order) approved() bool {
	return !o.Second || o.answered != nil && o.answered.Answer.Answer.Verdict == countersign.Approve
}

// carryOut does what was ordered and has it recorded, or has recorded that it was not approved. It insists: a person is told what to mend, and it is tried
// again until it works.
func (o *order) carryOut(ctx workflow.Context) error {
	deed := o.effect.deed(o, workflow.Now(ctx).UTC())
	if deed == nil {
		if o.status.State = evidence.OrderExpired; o.answered != nil {
			o.status.State = evidence.OrderRejected
		}
		return nil
	}
	o.status.State = evidence.OrderDoing
	if o.Second && o.approved() {
		o.tell(ctx, evidence.EventOrderApproved, "")
	}
	how := stubborn
	how.ScheduleToCloseTimeout = aWhile
	for pause := orderPause; ; pause = min(2*pause, longestPause) {
		err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), deed.activity, deed.in).Get(ctx, deed.result)
		if err == nil {
			o.status.State, o.status.Problem = deed.took(), ""
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

// tell tells the tenant's compliance and its owner. It never holds the order up. Why it is ordered stays where compliance alone reads it: messages go to
// systems as well.
func (o *order) tell(ctx workflow.Context, step, detail string) {
	if o.DryRun || !o.tellsEach && !o.effect.toldBefore(step) {
		return
	}
	event := o.effect.event()
	event.Type, event.Tenant, event.Context, event.Stage, event.Deadline, event.Detail = step, o.Tenant, o.Digest, o.status.State, o.status.Due, detail
	o.telling.tell(ctx, evidence.NotifyInput{ID: o.status.Keeper.Run + "-" + step, To: o.admitted.Compliance, Owner: true, Event: event})
}
