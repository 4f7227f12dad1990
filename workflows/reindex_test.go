package workflows

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// reindexed runs a reindexing of acme, whose worker admits it or not, and finds what it is told to on each page.
func reindexed(t *testing.T, refusal *countersign.Refusal, pages ...evidence.ReindexPage) (evidence.ReindexStatus, []evidence.ReindexPosition, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.ReindexID("acme", "1"), TaskQueue: countersign.TaskQueueSigning})
	env.RegisterWorkflowWithOptions(Reindex, workflow.RegisterOptions{Name: countersign.WorkflowReindex})
	env.RegisterActivityWithOptions(func(context.Context, evidence.AdmitReindexInput) (evidence.ReindexAdmission, error) {
		return evidence.ReindexAdmission{Refusal: refusal, At: time.Unix(1, 0)}, nil
	}, activity.RegisterOptions{Name: evidence.ActivityAdmitReindex})
	var asked []evidence.ReindexPosition
	env.RegisterActivityWithOptions(func(_ context.Context, in evidence.ReindexPageInput) (evidence.ReindexPage, error) {
		if asked = append(asked, in.Position); len(asked) > len(pages) {
			return evidence.ReindexPage{}, errors.New("there is no such page")
		}
		return pages[len(asked)-1], nil
	}, activity.RegisterOptions{Name: evidence.ActivityReindexPage})
	env.ExecuteWorkflow(countersign.WorkflowReindex, evidence.ReindexRequest{Tenant: "acme"})
	var status evidence.ReindexStatus
	answer, err := env.QueryWorkflow(countersign.QueryStatus)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		t.Fatal(err)
	}
	return status, asked, env.GetWorkflowError()
}

func TestAReindexingGoesThroughTheLogAndThenTheIndex(t *testing.T) {
	t.Parallel()
	second, index := evidence.ReindexPosition{Next: 256}, evidence.ReindexPosition{Index: true}
	found := func(what, key string) evidence.IndexFinding { return evidence.IndexFinding{What: what, Key: key} }
	status, asked, err := reindexed(t, nil,
		evidence.ReindexPage{Looked: 200, Findings: []evidence.IndexFinding{found(evidence.IndexMade, "a"), found(evidence.IndexDiffers, "b")}, Next: &second},
		evidence.ReindexPage{Looked: 3, Next: &index},
		evidence.ReindexPage{Looked: 204, Findings: []evidence.IndexFinding{found(evidence.IndexExtra, "b"), found(evidence.IndexExtra, "c")}},
	)
	if err != nil || status.State != evidence.ReindexDone || status.Endings != 203 || status.Records != 204 || status.Made != 1 || status.Wrong != 2 || len(status.Findings) != 3 {
		t.Errorf("it ended as %+v, %v", status, err)
	}
	if want := []evidence.ReindexPosition{{}, second, index}; !slices.Equal(asked, want) {
		t.Errorf("it asked for %+v, want %+v", asked, want)
	}
}

func TestAReindexingThatIsRefusedLooksAtNothing(t *testing.T) {
	t.Parallel()
	status, asked, err := reindexed(t, countersign.Refuse("not-entitled", "only compliance"))
	if err == nil || status.Refusal == nil || len(asked) != 0 {
		t.Errorf("it ended as %+v after %d pages, %v", status, len(asked), err)
	}
}
