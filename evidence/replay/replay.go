// Package replay runs the workflow code again over a history. It is apart from package evidence, because whoever only verifies a bundle needs
// neither that code nor Temporal's SDK: a verifier without them is small enough to read, and to run in a browser.
package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/evidence"
)

// History re-runs the workflow code over a history and compares everything that the code does with everything that the history says: which
// activities, with which inputs, and the result. Temporal's own replay compares the kinds of commands alone, so a
// history with a forged payload passes it.
//
// register puts the workflow code on a registry. The saga folds every signal and activity result into its own result, so one that
// was changed ends in another result here.
func History(ctx context.Context, h *historypb.History, register func(worker.WorkflowRegistry)) error {
	c, err := evidence.ReadHistory(h)
	if err != nil {
		return err
	}
	// Replay must not be able to change what it compares with.
	h = proto.Clone(h).(*historypb.History)
	seen := &watch{}
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: []interceptor.WorkerInterceptor{seen}})
	if err != nil {
		return fmt.Errorf("couldn't replay: %w", err)
	}
	register(replayer)
	options := worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: c.Saga.Workflow, RunID: c.Saga.Run}}
	if err := replayer.ReplayWorkflowHistoryWithOptions(silent{}, h, options); err != nil {
		return fmt.Errorf("the code doesn't do what the history says: %w", err)
	}
	return seen.compare(h)
}

// watch notes what replayed code does.
type watch struct {
	interceptor.WorkerInterceptorBase
	calls  calls
	starts calls // of child workflows
	result *commonpb.Payloads
	err    error
	ended  bool
}

type call struct {
	name  string // of the activity, or of the child workflow
	input *commonpb.Payloads
	err   error
}

func (w *watch) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, watch: w}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	watch *watch
}

func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{WorkflowOutboundInterceptorBase: interceptor.WorkflowOutboundInterceptorBase{Next: out}, watch: i.watch})
}

func (i *inbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := i.Next.ExecuteWorkflow(ctx, in)
	i.watch.ended, i.watch.err = true, err
	if err == nil {
		i.watch.result, i.watch.err = converter.GetDefaultDataConverter().ToPayloads(result)
	}
	return result, err
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	watch *watch
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(args...)
	o.watch.calls = append(o.watch.calls, call{activity, payloads, err})
	return o.Next.ExecuteActivity(ctx, activity, args...)
}

func (o *outbound) ExecuteChildWorkflow(ctx workflow.Context, child string, args ...any) workflow.ChildWorkflowFuture {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(args...)
	o.watch.starts = append(o.watch.starts, call{child, payloads, err})
	return o.Next.ExecuteChildWorkflow(ctx, child, args...)
}

func (w *watch) compare(h *historypb.History) error {
	var faults []error
	place, child := 0, 0
	for _, e := range h.Events {
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			a := e.GetActivityTaskScheduledEventAttributes()
			name := a.GetActivityType().GetName()
			faults = append(faults, w.calls.compare(&place, e.GetEventId(), name, a.GetInput()))
		case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
			a := e.GetStartChildWorkflowExecutionInitiatedEventAttributes()
			faults = append(faults, w.starts.compare(&child, e.GetEventId(), a.GetWorkflowType().GetName(), a.GetInput()))
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
			if !w.ended || w.err != nil {
				faults = append(faults, fmt.Errorf("event %d ends the workflow, but the code doesn't end there", e.GetEventId()))
			} else if !samePayloads(w.result, e.GetWorkflowExecutionCompletedEventAttributes().GetResult()) {
				faults = append(faults, fmt.Errorf("event %d ends with another outcome than the code does", e.GetEventId()))
			}
		}
	}
	return errors.Join(faults...)
}

// calls are what the code did of one kind, in order.
type calls []call

// compare compares the next call with what an event says.
func (list calls) compare(place *int, event int64, name string, input *commonpb.Payloads) error {
	if *place >= len(list) {
		return fmt.Errorf("event %d schedules %s, which the code doesn't", event, name)
	}
	made := list[*place]
	*place++
	switch {
	case made.err != nil:
		return fmt.Errorf("event %d: couldn't encode the input of %s: %w", event, name, made.err)
	case made.name != name:
		return fmt.Errorf("event %d schedules %s, but the code schedules %s", event, name, made.name)
	case !samePayloads(made.input, input):
		return fmt.Errorf("event %d gives %s another input than the code does", event, name)
	}
	return nil
}

func samePayloads(a, b *commonpb.Payloads) bool {
	if len(a.GetPayloads()) != len(b.GetPayloads()) {
		return false
	}
	for i, p := range a.GetPayloads() {
		q := b.GetPayloads()[i]
		if !bytes.Equal(p.GetData(), q.GetData()) || !bytes.Equal(p.GetMetadata()["encoding"], q.GetMetadata()["encoding"]) {
			return false
		}
	}
	return true
}

// silent keeps the replayer's own lines out of a report.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
