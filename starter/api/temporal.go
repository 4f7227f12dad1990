package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	temporal "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

// pipeline is what the API asks of Temporal. What changes something is done as the actor whose bearer the context holds; what reads,
// as the service itself.
type pipeline interface {
	Check(ctx context.Context) error
	// Start starts the custodian as the actor. A request id that exists already is errExists.
	Start(ctx context.Context, r countersign.Request, fingerprint string) error
	// Beginning is the request that a custodian was started with, and who started it as the server stamped it. Where the input is no request,
	// the error is errUnreadable, and who started it is told all the same.
	Beginning(ctx context.Context, request string) (countersign.Request, countersign.Actor, error)
	// Signal sends a signal to the saga as the actor.
	Signal(ctx context.Context, request, name string, payload any) error
	Custody(ctx context.Context, request string) (workflows.CustodyStatus, error)
	Saga(ctx context.Context, request string) (workflows.Status, error)
	// Keep starts the keeper of a grant, a key or an order as the actor, under its name. One that was refused may be started again, and an order after
	// an order that ended; another one that is there is errExists.
	Keep(ctx context.Context, id, workflow string, input any) error
	// Tell sends a signal to a keeper as the actor.
	Tell(ctx context.Context, id, name string, payload any) error
	// Ask is the status of a keeper.
	Ask(ctx context.Context, id string, into any) error
	// Trouble is what the step that a workflow is at failed with the last time, if it is tried again.
	Trouble(ctx context.Context, id string) (string, error)
	// Runs says whether a keeper still runs: one that an operator ended answers with what it was in the middle of.
	Runs(ctx context.Context, id string) (bool, error)
	// Live lists the running workflows of a kind, at most limit, and says whether there are more.
	Live(ctx context.Context, kind string, limit int) (ids []string, more bool, err error)
	// Running lists the requests of running sagas, at most limit, and says whether there are more.
	Running(ctx context.Context, limit int) (requests []string, more bool, err error)
	// Ended lists the custodians that ended with locked evidence from an instant on and before another, the last to end first, at most limit. It knows those
	// alone that the namespace's retention keeps.
	Ended(ctx context.Context, from, until time.Time, limit int) ([]ended, error)
	// Ending is what a custodian that ended says in the end.
	Ending(ctx context.Context, request, run string) (evidence.Ending, error)
	// Schedule tells when evidence is checked, and which checks ran last.
	Schedule(ctx context.Context) (checkSchedule, error)
	// Trigger has evidence checked now, as the actor, if it isn't being checked already.
	Trigger(ctx context.Context) error
	// Checking is how far a check is.
	Checking(ctx context.Context, run string) (client.CheckRun, error)
	// Follow calls changed after each step of a workflow, until it has ended.
	Follow(ctx context.Context, workflow string, changed func()) error
	Close()
}

var (
	errExists     = errors.New("the request exists already")
	errUnreadable = errors.New("it is no request")
)

// queryTimeout bounds one query: a worker has to answer it.
const queryTimeout = 10 * time.Second

// temporalPipeline is the tenant's namespace, reached by two clients: one with the service's own credential, which the server lets
// read, and one that has no credential but the actor's.
type temporalPipeline struct {
	tenant    string
	namespace string
	reads     temporal.Client
	acts      temporal.Client
}

// actorCredential sends the bearer of the actor whose request is being served. Without one it sends nothing at all: there is no
// credential to fall back to.
type actorCredential struct{}

func (actorCredential) GetHeaders(ctx context.Context) (map[string]string, error) {
	header, ok := ctx.Value(authorizationKey{}).(string)
	if !ok {
		return nil, errors.New("nobody is acting: the call carries no actor's token")
	}
	return map[string]string{"authorization": header}, nil
}

type authorizationKey struct{}

func dialTemporal(ctx context.Context, address string, s *countersign.Settings, own activities.Credential, log zerolog.Logger) (*temporalPipeline, error) {
	p := &temporalPipeline{tenant: s.Tenant, namespace: s.Namespace}
	var err error
	if p.reads, err = activities.Dial(ctx, address, s, own, log); err != nil {
		return nil, err
	}
	// The SDK asks the server for its capabilities once, while it dials; nobody is acting then, so the service asks itself.
	headers, err := own.GetHeaders(ctx)
	if err == nil {
		p.acts, err = activities.Dial(context.WithValue(ctx, authorizationKey{}, headers["authorization"]), address, s, actorCredential{}, log, sources(s)...)
	}
	if err != nil {
		p.reads.Close()
		return nil, err
	}
	if err := activities.CheckNamespace(ctx, p.reads, s); err != nil {
		p.Close()
		return nil, s.Fault(err, "namespace")
	}
	return p, nil
}

func (p *temporalPipeline) Close() {
	p.acts.Close()
	p.reads.Close()
}

func (p *temporalPipeline) Check(ctx context.Context) error {
	if _, err := p.reads.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: p.namespace, Query: running(countersign.WorkflowSigning)}); err != nil {
		return fmt.Errorf("couldn't count the running signings of namespace %q: %w", p.namespace, err)
	}
	return nil
}

func (p *temporalPipeline) Start(ctx context.Context, r countersign.Request, fingerprint string) error {
	_, err := p.acts.ExecuteWorkflow(ctx, temporal.StartWorkflowOptions{
		ID: countersign.CustodianID(p.tenant, r.ID), TaskQueue: countersign.TaskQueueSigning,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Memo:                                     map[string]any{"fingerprint": fingerprint},
	}, countersign.WorkflowRequestSigning, r)
	var exists *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &exists) {
		return errExists
	}
	return err
}

// Beginning reads the input itself and not the memo: the memo is what any starter says about its input.
func (p *temporalPipeline) Beginning(ctx context.Context, request string) (countersign.Request, countersign.Actor, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var r countersign.Request
	events := p.reads.GetWorkflowHistory(ctx, countersign.CustodianID(p.tenant, request), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return r, countersign.Actor{}, errNotFound
	}
	first, err := events.Next()
	if err != nil {
		return r, countersign.Actor{}, known(err)
	}
	actor, _ := evidence.ActorOf(first.GetPrincipal())
	input := first.GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(input, &r); err != nil {
		return countersign.Request{}, actor, fmt.Errorf("couldn't read the custodian's input: %w: %w", errUnreadable, err)
	}
	return r, actor, nil
}

func (p *temporalPipeline) Signal(ctx context.Context, request, name string, payload any) error {
	return p.Tell(ctx, countersign.SagaID(p.tenant, request), name, payload)
}

func (p *temporalPipeline) Custody(ctx context.Context, request string) (workflows.CustodyStatus, error) {
	var c workflows.CustodyStatus
	custodian := countersign.CustodianID(p.tenant, request)
	if err := p.query(ctx, custodian, &c); err != nil || c.State == client.StateDone || c.State == workflows.StateNotASigning {
		return c, err
	}
	lives, err := p.lives(ctx, custodian)
	if err != nil || lives {
		return c, err
	}
	// It may have ended well since it was asked, and else it died: then its recovery knows more, once a sweep has started one.
	if err := p.query(ctx, custodian, &c); err != nil || c.State == client.StateDone {
		return c, err
	}
	switch err := p.query(ctx, countersign.RecoveryID(p.tenant, request), &c); {
	case errors.Is(err, errNotFound):
		c.Problem = "its custodian has ended; the next sweep gives it a new one"
		return c, nil
	default:
		return c, err
	}
}

// lives says whether a workflow runs.
func (p *temporalPipeline) lives(ctx context.Context, workflow string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	answer, err := p.reads.DescribeWorkflowExecution(ctx, workflow, "")
	if err != nil {
		return false, known(err)
	}
	return answer.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

func (p *temporalPipeline) Saga(ctx context.Context, request string) (workflows.Status, error) {
	var s workflows.Status
	return s, p.query(ctx, countersign.SagaID(p.tenant, request), &s)
}

func (p *temporalPipeline) query(ctx context.Context, workflow string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	answer, err := p.reads.QueryWorkflow(ctx, workflow, "", countersign.QueryStatus)
	if err != nil {
		return known(err)
	}
	if err := answer.Get(into); err != nil {
		return fmt.Errorf("couldn't read the status of %s: %w", workflow, err)
	}
	return nil
}

// pageOfSagas is how many workflows the server lists at once.
const pageOfSagas = 200

func running(kind string) string {
	return "WorkflowType = '" + kind + "' AND ExecutionStatus = 'Running'"
}

func (p *temporalPipeline) Running(ctx context.Context, limit int) (requests []string, more bool, err error) {
	ids, more, err := p.Live(ctx, countersign.WorkflowSigning, limit)
	for _, id := range ids {
		if tenant, request, ok := countersign.ParseSagaID(id); ok && tenant == p.tenant {
			requests = append(requests, request)
		}
	}
	return requests, more, err
}

func (p *temporalPipeline) Live(ctx context.Context, kind string, limit int) (ids []string, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var page []byte
	for {
		answer, err := p.reads.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: p.namespace, PageSize: pageOfSagas, NextPageToken: page, Query: running(kind)})
		if err != nil {
			return nil, false, err
		}
		for _, e := range answer.GetExecutions() {
			if len(ids) == limit {
				return ids, true, nil
			}
			ids = append(ids, e.GetExecution().GetWorkflowId())
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			return ids, false, nil
		}
	}
}

func (p *temporalPipeline) Keep(ctx context.Context, id, workflow string, input any) error {
	reuse := enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	if workflow == countersign.WorkflowHold || workflow == countersign.WorkflowRetain {
		reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	}
	_, err := p.acts.ExecuteWorkflow(ctx, temporal.StartWorkflowOptions{
		ID: id, TaskQueue: countersign.TaskQueueSigning,
		WorkflowIDReusePolicy:                    reuse,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflow, input)
	var exists *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &exists) {
		return errExists
	}
	return err
}

// Tell names the run, because the server takes no signal from people without: it would tell them which workflows there are.
func (p *temporalPipeline) Tell(ctx context.Context, id, name string, payload any) error {
	within, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	current, err := p.reads.DescribeWorkflowExecution(within, id, "")
	if err != nil {
		return known(err)
	}
	return known(p.acts.SignalWorkflow(ctx, id, current.GetWorkflowExecutionInfo().GetExecution().GetRunId(), name, payload))
}

func (p *temporalPipeline) Ask(ctx context.Context, id string, into any) error {
	return p.query(ctx, id, into)
}

func (p *temporalPipeline) Trouble(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	d, err := p.reads.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return "", known(err)
	}
	_, problem := tried(d.GetPendingActivities())
	return problem, nil
}

func (p *temporalPipeline) Runs(ctx context.Context, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	d, err := p.reads.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return false, known(err)
	}
	return d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// Follow waits at the server for the next event: nothing is asked again and again.
func (p *temporalPipeline) Follow(ctx context.Context, workflow string, changed func()) error {
	events := p.reads.GetWorkflowHistory(ctx, workflow, "", true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return known(err)
		}
		// A workflow's state changes while it works on a task, and nowhere else.
		if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			changed()
		}
	}
	return nil
}

// known names the errors that callers tell apart.
func known(err error) error {
	var missing *serviceerror.NotFound
	if !errors.As(err, &missing) {
		return err
	}
	if missing.Message == "workflow execution already completed" {
		return errClosed
	}
	return errNotFound
}
