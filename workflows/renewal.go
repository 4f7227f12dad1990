package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// maxRenewalPages bounds one renewal: a history has room for as many. What is left is due still, and the next one goes on with it.
const maxRenewalPages = 5000

// keptOfARenewal is how many bundles, and how many problems, a renewal's status names.
const keptOfARenewal = 1000

// renewing: a page may read many bundles, and its authority or its store may be away for a while.
var renewing = workflow.ActivityOptions{
	TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 30 * time.Minute, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: 24 * time.Hour, RetryPolicy: retries(time.Minute),
}

// Renewal has the tenant's locked bundles time-stamped anew, those that are due, page by page. The tenant's compliance or its owner starts it. It can be started
// again at any time: what was renewed is not due any more.
func Renewal(ctx workflow.Context, in evidence.RenewalRequest) (evidence.RenewalStatus, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	status := evidence.RenewalStatus{RenewalRequest: in, State: evidence.RenewalRunning, Renewed: []evidence.RenewedBundle{}, Problems: []evidence.RenewalProblem{}}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.RenewalStatus, error) { return status, nil }); err != nil {
		return status, fmt.Errorf("couldn't answer queries: %w", err)
	}
	var admitted evidence.RenewalAdmission
	input := evidence.AdmitRenewalInput{Renewal: in, Keeper: evidence.Execution{Workflow: info.ID, Run: info.RunID}}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, patient), evidence.ActivityAdmitRenewal, input).Get(ctx, &admitted); err != nil {
		status.State, status.Problem = evidence.RenewalFailed, reason(err)
		return status, err
	}
	if status.By, status.At, status.Refusal = admitted.By, admitted.At, admitted.Refusal; status.Refusal != nil {
		return status, temporal.NewNonRetryableApplicationError(status.Refusal.Code+": "+status.Refusal.Message, ErrorRefused, nil)
	}
	page := evidence.RenewPageInput{Renewal: in, Now: admitted.At}
	for range maxRenewalPages {
		var done evidence.RenewalPage
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, renewing), evidence.ActivityRenewPage, page).Get(ctx, &done); err != nil {
			status.State, status.Problem = evidence.RenewalFailed, reason(err)
			return status, err
		}
		status.Looked, status.Due, status.Failed = status.Looked+done.Looked, status.Due+len(done.Renewed), status.Failed+len(done.Problems)
		status.Renewed = append(status.Renewed, done.Renewed[:min(len(done.Renewed), keptOfARenewal-len(status.Renewed))]...)
		status.Problems = append(status.Problems, done.Problems[:min(len(done.Problems), keptOfARenewal-len(status.Problems))]...)
		if page.After = done.Next; page.After == "" {
			break
		}
	}
	status.State = evidence.RenewalDone
	return status, nil
}
