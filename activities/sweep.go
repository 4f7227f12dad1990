package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

const (
	// overlap is how far a sweep looks back behind the end of the last one: the server's lists lag behind what happens.
	overlap = 10 * time.Minute
	// maxDead is how many ends one sweep looks at. Where there are more, it looks at a part of the time, and the next sweep goes on.
	maxDead = 500
	// shortestWindow is never cut: so a sweep always gets on.
	shortestWindow = overlap + time.Minute
	deadOfAPage    = 100
	// oldest is where the first sweep begins: no server keeps what ended before.
	oldest = 10 * 365 * 24 * time.Hour
)

// FindDead finds the custodians, and the recoveries, that ended otherwise than with locked evidence since an instant, and whose saga is in nobody's custody.
// What it asks the server grows with what died in that time, and not with what was ever signed.
func (t *Tenant) FindDead(ctx context.Context, in evidence.FindDeadInput) (evidence.FoundDead, error) {
	now := time.Now().UTC()
	found := evidence.FoundDead{Dead: []evidence.DeadCustodian{}, Until: in.Since}
	if found.Until.IsZero() {
		found.Until = now.Add(-oldest)
	}
	seen := map[string]bool{}
	for found.Until.Before(now) && len(seen) < maxDead {
		since := found.Until.Add(-overlap)
		until, err := t.narrowed(ctx, since, now)
		if err == nil {
			err = t.deadBetween(ctx, since, until, seen, &found)
		}
		if err != nil {
			return found, err
		}
		found.Until = until
	}
	return found, nil
}

// deadBetween adds those that died in a window and were not seen yet.
func (t *Tenant) deadBetween(ctx context.Context, since, until time.Time, seen map[string]bool, found *evidence.FoundDead) error {
	for page := []byte(nil); ; {
		answer, err := t.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: t.settings.Namespace, PageSize: deadOfAPage, NextPageToken: page, Query: endedBetween(since, until),
		})
		if err != nil {
			return fmt.Errorf("couldn't list the custodians that died: %w", err)
		}
		for _, e := range answer.GetExecutions() {
			request, ok := t.keptRequest(e.GetExecution().GetWorkflowId())
			if !ok || seen[request] {
				continue
			}
			seen[request] = true
			dead, err := t.inNobodysCustody(ctx, request)
			if err != nil {
				return err
			}
			if dead != nil {
				found.Dead = append(found.Dead, *dead)
			}
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			return nil
		}
	}
}

// narrowed is until when one list of a sweep looks, so that it doesn't have too many.
func (t *Tenant) narrowed(ctx context.Context, since, until time.Time) (time.Time, error) {
	for {
		answer, err := t.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: t.settings.Namespace, Query: endedBetween(since, until)})
		if err != nil {
			return until, fmt.Errorf("couldn't count the custodians that died: %w", err)
		}
		if answer.GetCount() <= maxDead || until.Sub(since) <= shortestWindow {
			return until, nil
		}
		until = since.Add(max(until.Sub(since)/2, shortestWindow))
	}
}

func endedBetween(since, until time.Time) string {
	return "WorkflowType IN ('" + countersign.WorkflowRequestSigning + "', '" + countersign.WorkflowRecovery + "') AND ExecutionStatus IN ('Terminated', 'Failed', 'Canceled', 'TimedOut')" +
		" AND CloseTime > '" + since.Format(time.RFC3339Nano) + "' AND CloseTime <= '" + until.Format(time.RFC3339Nano) + "'"
}

// keptRequest is the request that a custodian or a recovery of this tenant keeps.
func (t *Tenant) keptRequest(workflow string) (string, bool) {
	for _, prefix := range []string{countersign.CustodianID(t.settings.Tenant, ""), countersign.RecoveryID(t.settings.Tenant, "")} {
		if request, ok := strings.CutPrefix(workflow, prefix); ok {
			return request, countersign.CheckRequestID(request) == nil
		}
	}
	return "", false
}

// inNobodysCustody says whether a request's saga has lost its custodian, and who that was. It is nil where there is no saga, where custodian or recovery
// still run, and where either ended with locked evidence. Who the custodian was, the server says: a saga's parent can't be made up.
func (t *Tenant) inNobodysCustody(ctx context.Context, request string) (*evidence.DeadCustodian, error) {
	saga, err := t.latest(ctx, countersign.SagaID(t.settings.Tenant, request), "")
	if err != nil || saga == nil {
		return nil, err
	}
	parent := saga.GetParentExecution()
	if parent.GetWorkflowId() != countersign.CustodianID(t.settings.Tenant, request) {
		return nil, nil // whatever it is, no custodian of ours started it
	}
	custodian, err := t.latest(ctx, parent.GetWorkflowId(), parent.GetRunId())
	if err != nil || custodian == nil || !died(custodian) {
		return nil, err
	}
	recovery, err := t.latest(ctx, countersign.RecoveryID(t.settings.Tenant, request), "")
	if err != nil || recovery != nil && !died(recovery) {
		return nil, err
	}
	return &evidence.DeadCustodian{
		Request: request, Saga: executionOf(saga), Custodian: executionOf(custodian), Closing: closings[custodian.GetStatus()], Closed: custodian.GetCloseTime().AsTime(),
	}, nil
}

func executionOf(e *workflowpb.WorkflowExecutionInfo) evidence.Execution {
	return evidence.Execution{Workflow: e.GetExecution().GetWorkflowId(), Run: e.GetExecution().GetRunId()}
}

// closings are the ends of a custodian that leave no evidence.
var closings = map[enumspb.WorkflowExecutionStatus]string{
	enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED: "terminated", enumspb.WORKFLOW_EXECUTION_STATUS_FAILED: "failed",
	enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED: "canceled", enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: "timed out",
}

func died(e *workflowpb.WorkflowExecutionInfo) bool { return closings[e.GetStatus()] != "" }

// latest is what the server says of a workflow; nil where it has none of that name (any more).
func (t *Tenant) latest(ctx context.Context, workflow, run string) (*workflowpb.WorkflowExecutionInfo, error) {
	answer, err := t.temporal.DescribeWorkflowExecution(ctx, workflow, run)
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the server for %s: %w", workflow, err)
	}
	return answer.GetWorkflowExecutionInfo(), nil
}

// AwaitSaga waits until a saga whose custodian died has ended, and says how, by its own history alone.
func (t *Tenant) AwaitSaga(ctx context.Context, in evidence.DeadCustodian) (evidence.EndedSaga, error) {
	tenant, request, ok := countersign.ParseSagaID(in.Saga.Workflow)
	if !ok || tenant != t.settings.Tenant || request != in.Request {
		return evidence.EndedSaga{}, temporal.NewNonRetryableApplicationError("couldn't recover what is not this tenant's signing", ErrorSetting, nil)
	}
	// How it ended is in its history; here it is enough that it has.
	ended := (*temporal.WorkflowExecutionError)(nil)
	if err := t.temporal.GetWorkflow(ctx, in.Saga.Workflow, in.Saga.Run).Get(ctx, nil); err != nil && !errors.As(err, &ended) {
		return evidence.EndedSaga{}, fmt.Errorf("couldn't wait for the saga's end: %w", err)
	}
	history, err := t.export(ctx, in.Saga)
	if err != nil {
		return evidence.EndedSaga{}, err
	}
	c, err := evidence.ReadHistory(history)
	if err != nil {
		return evidence.EndedSaga{}, err
	}
	if c.Input.Request.Tenant != tenant || c.Input.Request.ID != request || c.Input.Custodian != in.Custodian {
		return evidence.EndedSaga{}, temporal.NewNonRetryableApplicationError("couldn't recover the saga: it is of another request or custodian", ErrorSetting, nil)
	}
	return evidence.EndOf(c), nil
}

const (
	// maxLate bounds the late intents of which one sweep tells; what is beyond is told by the next ones.
	maxLate = 100
	// maxParts bounds the parts of the log that one sweep reads, of 4,096 entries each. The next one goes on from there.
	maxParts = 50
)

// FindUnfinished finds the intents to sign in the tenant's log that are older than the tenant's file allows and that no ending follows. It also holds the log to the
// position of the last time: one that was rolled back or forked since is an error.
func (t *Tenant) FindUnfinished(ctx context.Context, in evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error) {
	found := evidence.FoundUnfinished{Late: []evidence.LateIntent{}, Position: in.From}
	before := time.Now().Add(-time.Duration(t.settings.Watch.UnfinishedAfter))
	var late []translog.Entry
	for part := 0; part == 0 || part < maxParts && found.Behind > 0; part++ {
		u, err := t.Unfinished(ctx, found.Position, before)
		if err != nil {
			return found, err
		}
		late, found.Behind, found.Position = u.Late, u.Behind, u.Position
	}
	if found.Behind > 0 {
		return found, nil
	}
	for _, e := range late {
		if slices.Contains(in.Told, e.Run) {
			found.Known = append(found.Known, e.Run)
			continue
		}
		if len(found.Late) == maxLate {
			continue
		}
		custodian, err := t.latest(ctx, countersign.CustodianID(t.settings.Tenant, e.Request), "")
		if err != nil {
			return found, err
		}
		custody := "unknown"
		if custodian != nil {
			custody = strings.ToLower(custodian.GetStatus().String())
		}
		found.Late = append(found.Late, evidence.LateIntent{Request: e.Request, Run: e.Run, Context: e.Context, At: e.At, Custody: custody})
		dead, err := t.inNobodysCustody(ctx, e.Request)
		if err != nil {
			return found, err
		}
		if dead != nil && dead.Saga.Run == e.Run {
			found.Dead = append(found.Dead, *dead)
		}
		activity.GetLogger(ctx).Warn("an intent to sign has no ending", "request", e.Request, "run", e.Run, "intended", e.At, "custody", custody)
	}
	return found, nil
}
