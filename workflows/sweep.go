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
	swept := evidence.Swept{Until: found.Until, Log: last.Log, Problem: last.Problem}
	if err := giveCustody(ctx, tenant, found.Dead, &swept); err != nil {
		return swept, err
	}
	return swept, unfinished(ctx, tenant, last, &swept)
}

// sweeping: a sweep that fails is followed by the next one.
var sweeping = workflow.ActivityOptions{
	TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: 30 * time.Minute, RetryPolicy: retries(time.Minute),
}

// giveCustody starts the recoveries of those whose custodian died.
func giveCustody(ctx workflow.Context, tenant string, dead []evidence.DeadCustodian, swept *evidence.Swept) error {
	for _, d := range dead {
		started, err := recovered(ctx, tenant, d)
		if err != nil {
			return err
		}
		if started {
			swept.Recovered = append(swept.Recovered, d.Request)
		}
	}
	return nil
}

// unfinished tells the owner of each intent to sign that nothing followed, once. Where the log can't be looked at, or is not the one that it was, that is told, once.
func unfinished(ctx workflow.Context, tenant string, last evidence.Swept, swept *evidence.Swept) error {
	var late evidence.FoundUnfinished
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, looking), evidence.ActivityFindUnfinished, evidence.FindUnfinishedInput{From: last.Log, Told: last.Alarmed}).Get(ctx, &late)
	if err != nil {
		swept.Alarmed, swept.Problem = last.Alarmed, reason(err)
		if last.Problem == "" {
			alarm(ctx, evidence.Event{Type: evidence.EventEvidenceAlarm, Tenant: tenant, Title: "the log", Detail: "The log could not be looked at for intents without an ending: " + swept.Problem}, "log")
		}
		return nil
	}
	swept.Log, swept.Problem, swept.Alarmed = late.Position, "", late.Known
	if late.Behind > 0 {
		swept.Alarmed = last.Alarmed
	}
	for _, l := range late.Late {
		swept.Alarmed = append(swept.Alarmed, l.Run)
		alarm(ctx, evidence.Event{
			Type: evidence.EventUnfinished, Tenant: tenant, Request: l.Request, Title: l.Request, Context: l.Context,
			Detail: "Intended at " + l.At.UTC().Format(time.RFC3339) + "; its custodian: " + l.Custody + ".",
		}, l.Run)
	}
	return giveCustody(ctx, tenant, late.Dead, swept)
}

// alarm tells the tenant's owner and webhooks. It never stops what alarms.
func alarm(ctx workflow.Context, e evidence.Event, about string) {
	workflow.GetLogger(ctx).Error("alarm", "event", e.Type, "request", e.Request, "problem", e.Detail)
	tellOwner(ctx, e, about)
}

// tellOwner tells the tenant's owner and webhooks.
func tellOwner(ctx workflow.Context, e evidence.Event, about string) {
	in := evidence.NotifyInput{ID: about + "-" + e.Type, Event: e, Owner: true}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, messages), evidence.ActivityNotify, in).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("couldn't tell everybody", "event", e.Type, "problem", reason(err))
	}
}

// looking: a few attempts, because a log that is not the one that it was never will be.
var looking = workflow.ActivityOptions{
	TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: noticed,
	RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second, MaximumAttempts: 4},
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
