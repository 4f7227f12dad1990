package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/evidence"
)

// telling tells people beside what a workflow does. It never holds that up; only the workflow's end waits for it.
type telling struct{ open int }

func (t *telling) tell(ctx workflow.Context, in evidence.NotifyInput) {
	t.open++
	workflow.Go(ctx, func(ctx workflow.Context) {
		// What people have to know outlives a cancellation.
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, messages), evidence.ActivityNotify, in).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("couldn't tell everybody", "event", in.Event.Type, "problem", reason(err))
		}
		t.open--
	})
}

// wait waits until everybody was told, or could not be.
func (t *telling) wait(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return workflow.Await(ctx, func() bool { return t.open == 0 })
}
