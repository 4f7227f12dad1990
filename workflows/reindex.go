package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

const (
	// maxReindexPages bounds one reindexing: a history has room for as many. What is left is looked at by one with a window.
	maxReindexPages = 5000
	// keptOfAReindexing is how many findings a reindexing's status names.
	keptOfAReindexing = 1000
)

// Reindex compares the tenant's index with its log, page by page, and makes the records that are missing. The tenant's compliance or its owner starts it. It can
// be started again at any time: what was made is not missing any more.
func Reindex(ctx workflow.Context, in evidence.ReindexRequest) (evidence.ReindexStatus, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	status := evidence.ReindexStatus{ReindexRequest: in, State: evidence.ReindexRunning, Findings: []evidence.IndexFinding{}}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.ReindexStatus, error) { return status, nil }); err != nil {
		return status, fmt.Errorf("couldn't answer queries: %w", err)
	}
	var admitted evidence.ReindexAdmission
	input := evidence.AdmitReindexInput{Reindex: in, Keeper: evidence.Execution{Workflow: info.ID, Run: info.RunID}}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, patient), evidence.ActivityAdmitReindex, input).Get(ctx, &admitted); err != nil {
		status.State, status.Problem = evidence.ReindexFailed, reason(err)
		return status, err
	}
	if status.By, status.At, status.Refusal = admitted.By, admitted.At, admitted.Refusal; status.Refusal != nil {
		return status, temporal.NewNonRetryableApplicationError(status.Refusal.Code+": "+status.Refusal.Message, ErrorRefused, nil)
	}
	page := evidence.ReindexPageInput{Reindex: in, At: admitted.At}
	for range maxReindexPages {
		var done evidence.ReindexPage
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, renewing), evidence.ActivityReindexPage, page).Get(ctx, &done); err != nil {
			status.State, status.Problem = evidence.ReindexFailed, reason(err)
			return status, err
		}
		count(&status, page.Position.Index, done)
		if done.Next == nil {
			status.State = evidence.ReindexDone
			return status, nil
		}
		page.Position = *done.Next
	}
	status.State, status.Problem = evidence.ReindexFailed, "there is more than one reindexing looks at: give it a window"
	return status, nil
}

// count counts a page. A record that differs from what its ending in the log asks for is not told as one too many as well.
func count(status *evidence.ReindexStatus, index bool, done evidence.ReindexPage) {
	if index {
		status.Records += done.Looked
	} else {
		status.Endings += done.Looked
	}
	for _, f := range done.Findings {
		if f.What == evidence.IndexExtra && slices.ContainsFunc(status.Findings, func(told evidence.IndexFinding) bool { return told.Key == f.Key && told.What == evidence.IndexDiffers }) {
			continue
		}
		if f.What == evidence.IndexMade {
			status.Made++
		} else {
			status.Wrong++
		}
		if len(status.Findings) < keptOfAReindexing {
			status.Findings = append(status.Findings, f)
		}
	}
}
