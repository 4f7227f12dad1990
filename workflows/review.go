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

// Review keeps the review of a signing whose glass was broken. Its owner closes it with a finding; until then it is told to be overdue, every week,
// to the owner and to the tenant's escalation contact. It never ends by itself.
func Review(ctx workflow.Context, in evidence.ReviewInput) (evidence.ReviewStatus, error) {
	r, err := newReview(ctx, in)
	if err != nil {
		return evidence.ReviewStatus{}, err
	}
	return r.run(ctx)
}

// reviewTime is how long a review has before it is overdue, and how often that is said.
const reviewTime = 7 * 24 * time.Hour

// review is the state of a review.
type review struct {
	status  evidence.ReviewStatus
	heard   int
	overdue int
	telling telling
}

func newReview(ctx workflow.Context, in evidence.ReviewInput) (*review, error) {
	info := workflow.GetInfo(ctx)
	if want := countersign.ReviewID(in.Tenant, in.Request); info.WorkflowExecution.ID != want || info.ParentWorkflowExecution == nil || info.ParentWorkflowExecution.ID != in.Saga.Workflow {
		return nil, temporal.NewNonRetryableApplicationError("a review is opened by the saga whose glass was broken, and by nobody else", ErrorRefused, nil)
	}
	opened := workflow.Now(ctx).UTC()
	r := &review{status: evidence.ReviewStatus{
		ReviewInput: in, State: evidence.ReviewOpen, Opened: opened, Due: opened.Add(reviewTime), Signals: []evidence.ReviewSignal{},
		Keeper: evidence.Execution{Workflow: info.WorkflowExecution.ID, Run: info.WorkflowExecution.RunID},
	}}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.ReviewStatus, error) { return r.status, nil }); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	return r, nil
}

// run is the life of a review: opened, told to be overdue as long as it is, closed.
func (r *review) run(ctx workflow.Context) (evidence.ReviewStatus, error) {
	r.tell(ctx, evidence.EventReviewOpened, didNotWait(r.status.Broke))
	closing := workflow.GetSignalChannel(ctx, countersign.SignalClose)
	due := r.status.Due
	for r.status.State == evidence.ReviewOpen {
		came, err := workflow.AwaitWithTimeout(ctx, due.Sub(workflow.Now(ctx)), func() bool { return closing.Len() > 0 && r.heard < maxKept })
		if err != nil {
			return r.status, err // an operator cancelled it, which the history says
		}
		if came {
			r.hear(ctx, closing)
			continue
		}
		due = due.Add(reviewTime)
		r.overdue++
		r.tell(ctx, evidence.EventReviewOverdue, fmt.Sprintf("It has been open since %s.", r.status.Opened.Format(time.RFC3339)))
	}
	return r.status, r.telling.wait(ctx)
}

// hear has one close signal checked, and follows it.
func (r *review) hear(ctx workflow.Context, c workflow.ReceiveChannel) {
	var raw converter.RawValue
	if !c.ReceiveAsync(&raw) {
		return
	}
	r.heard++
	body := json.RawMessage(raw.Payload().GetData())
	if evidence.Unreadable(body) {
		body = json.RawMessage(evidence.NoDecision)
	}
	in := evidence.ReviewSignalInput{Ordinal: r.heard, Payload: body, Review: r.status.ReviewInput, Keeper: r.status.Keeper}
	var signal evidence.ReviewSignal
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityCheckReview, in).Get(ctx, &signal); err != nil {
		signal = evidence.ReviewSignal{At: workflow.Now(ctx).UTC(), Refusal: countersign.Refuse("not-checked", "the closing could not be checked in time; send it again")}
	}
	r.status.Signals = append(r.status.Signals, signal)
	if signal.Refusal == nil {
		r.status.State = evidence.ReviewClosed
		r.tell(ctx, evidence.EventReviewClosed, signal.Finding+": "+signal.Note)
	}
}

// tell tells the review's owner, those who broke the glass, and the tenant's owner and escalation contact. It never holds the review up.
func (r *review) tell(ctx workflow.Context, kind, detail string) {
	to := []countersign.Actor{r.status.Owner.Actor}
	for _, b := range r.status.Broke {
		to = append(to, b.Actor)
	}
	event := evidence.Event{Type: kind, Tenant: r.status.Tenant, Request: r.status.Request, Title: r.status.Title, Context: r.status.Context, Deadline: &r.status.Due, Detail: detail}
	id := fmt.Sprintf("%s-%s-%d", r.status.Keeper.Run, kind, r.overdue)
	r.telling.tell(ctx, evidence.NotifyInput{ID: id, Event: event, To: to, Owner: true})
}
