package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Recovery is the custodian of a saga whose own custodian died: terminated, failed, cancelled or timed out. It cancels the saga if that still runs, waits for
// its end, and turns its whole history into locked evidence as the custodian would have. The one difference: what was signed and is not locked yet is never
// released, but voided. Whoever ended the custodian meant the signing to stop, and nobody kept its release deadline meanwhile. Where the dead custodian had
// locked a completed signing already, that is how it ended.
//
// Only a sweep starts it, and the server lets one run at a time. Like a custodian it never ends without locked evidence.
func Recovery(ctx workflow.Context, in evidence.DeadCustodian) (evidence.Ending, error) {
	info := workflow.GetInfo(ctx)
	self := info.WorkflowExecution
	tenant, request, ok := countersign.ParseSagaID(in.Saga.Workflow)
	if !ok || request != in.Request || self.ID != countersign.RecoveryID(tenant, request) ||
		in.Custodian.Workflow != countersign.CustodianID(tenant, request) || info.ParentWorkflowExecution == nil {
		return evidence.Ending{}, temporal.NewNonRetryableApplicationError("a recovery is started by a sweep for one saga, and by nobody else", ErrorRefused, nil)
	}
	c := &custody{
		request: countersign.Request{Tenant: tenant, ID: request}, self: evidence.Execution{Workflow: self.ID, Run: self.RunID}, saga: in.Saga, state: "saga",
		late: "its custodian " + closing(in.Closing) + " before that, so it was not released",
	}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, c.status); err != nil {
		return evidence.Ending{}, fmt.Errorf("couldn't answer queries: %w", err)
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	outcome, detail, err := c.takeOver(ctx, in)
	if err != nil {
		return evidence.Ending{}, err
	}
	return c.keep(ctx, outcome, detail)
}

// closing says how a custodian ended.
func closing(how string) string {
	if how == "terminated" || how == "canceled" {
		return "was " + how
	}
	return how
}

// takeOver ends the saga where nobody has, and learns how it ended.
func (c *custody) takeOver(ctx workflow.Context, in evidence.DeadCustodian) (countersign.Outcome, string, error) {
	// A saga that has ended can't be cancelled, and needs it no more.
	if err := workflow.RequestCancelExternalWorkflow(ctx, in.Saga.Workflow, in.Saga.Run).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Info("the saga was not cancelled", "problem", reason(err))
	}
	var end evidence.EndedSaga
	how := stubborn
	how.ScheduleToCloseTimeout = aWhile
	ended := func() error {
		return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityAwaitSaga, in).Get(ctx, &end)
	}
	if err := ended(); err != nil {
		how.ScheduleToCloseTimeout = aDay
		if err := c.insist(ctx, "the saga whose custodian died doesn't end: terminate it", err, ended); err != nil {
			return "", "", err
		}
	}
	c.request, c.silent = end.Request, end.Silent
	c.result = evidence.SagaResult{Outcome: end.Outcome, Detail: end.Detail, Context: end.Context, Told: end.Told}
	if end.Outcome != countersign.Completed {
		return end.Outcome, end.Detail, nil
	}
	c.state = "voiding"
	return countersign.Voided, evidence.DetailVoided, nil
}
