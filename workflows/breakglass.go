package workflows

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// breakGlass follows those who did not wait: everybody else's stages are over, whoever was skipped is told, and a review is opened before the key is
// asked. It overrules nobody: a rejection, also in a stage that had not opened yet, stands.
func (s *signing) breakGlass(ctx workflow.Context) *ending {
	plan := s.admission.Plan
	s.close(plan.Stages)
	if rejected := s.rejection(plan.Stages); rejected != nil {
		return rejectedBy(rejected)
	}
	in := evidence.ReviewInput{
		Tenant: s.in.Request.Tenant, Request: s.in.Request.ID, Title: s.in.Request.Title, Saga: s.self, Context: s.admission.Digest,
		Requester: s.admission.Context.Requester, Owner: *plan.Owner, Broke: s.broke, Skipped: []countersign.Actor{},
	}
	for _, e := range plan.Skipped(s.approvals) {
		in.Skipped = append(in.Skipped, e.Actor)
		s.told = append(s.told, e.Actor)
	}
	// If we crash after this, the review is there and the signing goes on.
	opened := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: countersign.ReviewID(in.Tenant, in.Request), TaskQueue: countersign.TaskQueueSigning,
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}), countersign.WorkflowReview, in)
	if err := opened.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return s.broken(ctx, evidence.FailedReview, err)
	}
	event := s.event(evidence.EventGlassBroken)
	event.Detail = didNotWait(s.broke)
	s.inform(ctx, event, in.Skipped, true)
	return nil
}

// didNotWait says who broke the glass, and why.
func didNotWait(broke []evidence.Broke) (text string) {
	for _, b := range broke {
		text += fmt.Sprintf("%s did not wait: %s\n", b.Actor, b.Reason)
	}
	return text
}
