package workflows

import (
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// CustodySweep gives each saga whose custodian died a new custodian, its recovery. It goes on where the last sweep stopped, which the schedule tells it, and ends
// once the recoveries have started: they outlive it. What it can't do now, the next sweep tries.
func CustodySweep(ctx workflow.Context, tenant string) (evidence.Swept, error) {
	if workflow.GetInfo(ctx).WorkflowType.Name != countersign.WorkflowSweep || countersign.CheckTenantID(tenant) != nil {
		return evidence.Swept{}, temporal.NewNonRetryableApplicationError("a sweep is of one tenant", ErrorRefused, nil)
	}
	var last evidence.Swept
	if workflow.HasLastCompletionResult(ctx) {
		if err := workflow.GetLastCompletionResult(ctx, &last); err != nil {
			last = evidence.Swept{} // from the beginning, rather than not at all
		}
	}
	var found evidence.FoundDead
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, sweeping), evidence.ActivityFindDead, evidence.FindDeadInput{Since: last.Until}).Get(ctx, &found); err != nil {
		return evidence.Swept{}, err
	}
	swept := evidence.Swept{Until: found.Until}
	for _, dead := range found.Dead {
		started, err := recovered(ctx, tenant, dead)
		if err != nil {
			return swept, err
		}
		if started {
			swept.Recovered = append(swept.Recovered, dead.Request)
		}
	}
	return swept, nil
}

// sweeping: a sweep that fails is followed by the next one.
var sweeping = workflow.ActivityOptions{
	TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: 30 * time.Minute, RetryPolicy: retries(time.Minute),
}

// recovered starts the recovery of a request. One that runs, or has ended with locked evidence, is enough; one that died leaves its name free.
func recovered(ctx workflow.Context, tenant string, dead evidence.DeadCustodian) (bool, error) {
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            countersign.RecoveryID(tenant, dead.Request),
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		TaskQueue:             countersign.TaskQueueSigning,
	}), countersign.WorkflowRecovery, dead)
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if there := (*temporal.ChildWorkflowExecutionAlreadyStartedError)(nil); errors.As(err, &there) {
		return false, nil
	}
	return err == nil, err
}
