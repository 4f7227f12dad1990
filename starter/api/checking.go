package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	temporal "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// checkSchedule is the schedule on which evidence is checked, as the server tells it. A check is named by the instant that its workflow's id ends with.
type checkSchedule struct {
	paused  bool
	created time.Time
	next    time.Time // zero where there is none
	ran     []string  // the last checks, the first first
	running []string
	skipped int // how many checks were skipped because one ran
}

// maxToldProblem bounds what is told of a step that fails.
const maxToldProblem = 1000

func (p *temporalPipeline) Schedule(ctx context.Context) (s checkSchedule, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	there, err := p.reads.ScheduleClient().GetHandle(ctx, countersign.EvidenceCheckID(p.tenant)).Describe(ctx)
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return s, errNotFound
	}
	if err != nil {
		return s, err
	}
	s.created = there.Info.CreatedAt.UTC()
	if there.Schedule.State != nil {
		s.paused = there.Schedule.State.Paused
	}
	if next := there.Info.NextActionTimes; len(next) > 0 && !s.paused {
		s.next = next[0].UTC()
	}
	for _, a := range there.Info.RecentActions {
		if a.StartWorkflowResult != nil {
			s.ran = append(s.ran, p.checkRun(a.StartWorkflowResult.WorkflowID))
		}
	}
	for _, r := range there.Info.RunningWorkflows {
		s.running = append(s.running, p.checkRun(r.WorkflowID))
	}
	s.skipped = there.Info.NumActionsSkippedOverlap
	return s, nil
}

func (p *temporalPipeline) checkRun(workflow string) string {
	return strings.TrimPrefix(workflow, countersign.EvidenceCheckID(p.tenant)+"-")
}

func (p *temporalPipeline) Trigger(ctx context.Context) error {
	return p.acts.ScheduleClient().GetHandle(ctx, countersign.EvidenceCheckID(p.tenant)).Trigger(ctx, temporal.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP})
}

func (p *temporalPipeline) Checking(ctx context.Context, run string) (client.CheckRun, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	c := client.CheckRun{Run: run, State: client.CheckRunning}
	id := countersign.EvidenceCheckID(p.tenant) + "-" + run
	d, err := p.reads.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return c, known(err)
	}
	info := d.GetWorkflowExecutionInfo()
	started := info.GetStartTime().AsTime()
	c.Started = &started
	c.Attempt, c.Problem = tried(d.GetPendingActivities())
	switch info.GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		c.State = client.CheckDone
		c.Check, err = p.checkReport(ctx, id, info.GetExecution().GetRunId())
	default:
		c.State = client.CheckFailed
		c.Problem = p.whyClosed(ctx, id, info.GetExecution().GetRunId())
	}
	c.Problem = c.Problem[:min(len(c.Problem), maxToldProblem)]
	return c, err
}

// tried is how often the step was tried that a workflow is at, and what it failed with the last time.
func tried(pending []*workflowpb.PendingActivityInfo) (attempt int32, problem string) {
	for _, a := range pending {
		if attempt = a.GetAttempt(); a.GetLastFailure() != nil {
			problem = a.GetLastFailure().GetMessage()
		}
	}
	return attempt, problem[:min(len(problem), maxToldProblem)]
}

// checkReport is the name of the report that a check ended with.
func (p *temporalPipeline) checkReport(ctx context.Context, workflow, run string) (string, error) {
	events := p.reads.GetWorkflowHistory(ctx, workflow, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !events.HasNext() {
		return "", errNotFound
	}
	last, err := events.Next()
	if err != nil {
		return "", known(err)
	}
	var checked evidence.CheckedEvidence
	if err := converter.GetDefaultDataConverter().FromPayloads(last.GetWorkflowExecutionCompletedEventAttributes().GetResult(), &checked); err != nil {
		return "", fmt.Errorf("couldn't read how %s ended: %w", workflow, err)
	}
	name, _, ok := countersign.ParseEvidenceCheckKey(p.tenant, checked.Report.Key)
	if !ok {
		return "", fmt.Errorf("couldn't read how %s ended: it names no report", workflow)
	}
	return name, nil
}

// whyClosed says how a check ended that left no report.
func (p *temporalPipeline) whyClosed(ctx context.Context, workflow, run string) string {
	events := p.reads.GetWorkflowHistory(ctx, workflow, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if events.HasNext() {
		if last, err := events.Next(); err == nil {
			failure := last.GetWorkflowExecutionFailedEventAttributes().GetFailure()
			for ; failure.GetCause() != nil; failure = failure.GetCause() {
			}
			if failure != nil {
				return failure.GetMessage()
			}
			return strings.ToLower(strings.TrimPrefix(last.GetEventType().String(), "WorkflowExecution"))
		}
	}
	return "it is not known why"
}
