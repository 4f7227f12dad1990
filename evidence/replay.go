package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

// ParseHistoryJSON reads a history in the form that Temporal's own tools write. It accepts nothing that they would not.
func ParseHistoryJSON(raw []byte) (*historypb.History, error) {
	if len(raw) > 4*maxHistory {
		return nil, fmt.Errorf("couldn't read the history: it has %d bytes, at most %d", len(raw), 4*maxHistory)
	}
	h := &historypb.History{}
	if err := (temporalproto.CustomJSONUnmarshalOptions{}).Unmarshal(raw, h); err != nil {
		return nil, fmt.Errorf("couldn't read the history as JSON: %w", err)
	}
	return h, nil
}

// Replay re-runs the workflow code over a history and compares everything that the code does with everything that the history says: which
// activities, with which inputs, and the result. Temporal's own replay compares the kinds of commands alone, so a
// history with a forged payload passes it.
//
// register puts the workflow code on a registry. The saga folds every signal and activity result into its own result, so one that
// was changed ends in another result here.
func Replay(ctx context.Context, h *historypb.History, register func(worker.WorkflowRegistry)) error {
	c, err := ReadHistory(h)
	if err != nil {
		return err
	}
	// Replay must not be able to change what it compares with.
	h = proto.Clone(h).(*historypb.History)
	watch := &replayWatch{}
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: []interceptor.WorkerInterceptor{watch}})
	if err != nil {
		return fmt.Errorf("couldn't replay: %w", err)
	}
	register(replayer)
	options := worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: c.Saga.Workflow, RunID: c.Saga.Run}}
	if err := replayer.ReplayWorkflowHistoryWithOptions(silent{}, h, options); err != nil {
		return fmt.Errorf("the code doesn't do what the history says: %w", err)
	}
	return watch.compare(h)
}

// replayWatch notes what replayed code does.
type replayWatch struct {
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

func (w *replayWatch) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &replayInbound{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, watch: w}
}

type replayInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	watch *replayWatch
}

func (i *replayInbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&replayOutbound{WorkflowOutboundInterceptorBase: interceptor.WorkflowOutboundInterceptorBase{Next: out}, watch: i.watch})
}

func (i *replayInbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := i.Next.ExecuteWorkflow(ctx, in)
	i.watch.ended, i.watch.err = true, err
	if err == nil {
		i.watch.result, i.watch.err = converter.GetDefaultDataConverter().ToPayloads(result)
	}
	return result, err
}

type replayOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	watch *replayWatch
}

func (o *replayOutbound) ExecuteActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(args...)
	o.watch.calls = append(o.watch.calls, call{activity, payloads, err})
	return o.Next.ExecuteActivity(ctx, activity, args...)
}

func (o *replayOutbound) ExecuteChildWorkflow(ctx workflow.Context, child string, args ...any) workflow.ChildWorkflowFuture {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(args...)
	o.watch.starts = append(o.watch.starts, call{child, payloads, err})
	return o.Next.ExecuteChildWorkflow(ctx, child, args...)
}

func (w *replayWatch) compare(h *historypb.History) error {
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
