package workflows

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// EvidenceCheck verifies samples of a tenant's locked evidence, and tells its owner and webhooks what it found. It goes on where the last check stopped, and holds the
// log to the checkpoint that the last one saw. A check that can't be made is an alarm as well, and fails.
func EvidenceCheck(ctx workflow.Context, tenant string) (evidence.CheckedEvidence, error) {
	if countersign.CheckTenantID(tenant) != nil {
		return evidence.CheckedEvidence{}, temporal.NewNonRetryableApplicationError("an evidence check is of one tenant", ErrorRefused, nil)
	}
	in := evidence.EvidenceCheckInput{ID: workflow.GetInfo(ctx).WorkflowExecution.RunID, At: workflow.Now(ctx).UTC().Truncate(time.Second)}
	if workflow.HasLastCompletionResult(ctx) {
		var last evidence.CheckedEvidence
		if workflow.GetLastCompletionResult(ctx, &last) == nil {
			in.Since = &last
		}
	}
	// Drawn here and recorded, so that the sample can be told from the report and could not be known before.
	if err := workflow.SideEffect(ctx, func(workflow.Context) any { return rand.Text() }).Get(&in.Seed); err != nil {
		return evidence.CheckedEvidence{}, err
	}
	title := "check of " + in.At.Format("2 January 2006, 15:04 UTC")
	var checked evidence.CheckedEvidence
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, checking), evidence.ActivityCheckEvidence, in).Get(ctx, &checked); err != nil {
		alarm(ctx, evidence.Event{Type: evidence.EventEvidenceAlarm, Tenant: tenant, Title: title, Detail: "The check could not be made: " + reason(err)}, in.ID)
		return checked, err
	}
	event := evidence.Event{
		Type: evidence.EventEvidenceChecked, Tenant: tenant, Title: title, Evidence: &checked.Report, Checkpoint: checked.Checkpoint,
		Detail: fmt.Sprintf("%d bundles were verified.", checked.Sampled),
	}
	if len(checked.Problems) > 0 {
		event.Type, event.Detail = evidence.EventEvidenceAlarm, strings.Join(checked.Problems, "\n")
		alarm(ctx, event, in.ID)
		return checked, nil
	}
	tellOwner(ctx, event, in.ID)
	return checked, nil
}

// checking: bundles are large, and a store that is away for an hour is news.
var checking = workflow.ActivityOptions{
	TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 3 * time.Hour, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: 4 * time.Hour,
	RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Minute, MaximumAttempts: 12},
}
