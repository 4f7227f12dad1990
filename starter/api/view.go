package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

// view is the status of a signing, if the caller may see it, under a grant or without one. For everybody else it does not exist.
func (s *Server) view(ctx context.Context, request, grant string) (client.Status, error) {
	c := callerOf(ctx)
	authority, _, err := s.lent(ctx, grant)
	if err != nil {
		return client.Status{}, err
	}
	status, err := c.tenant.status(ctx, request)
	var wrong *notASigning
	if err != nil && !errors.As(err, &wrong) {
		return client.Status{}, fault(ctx, "read the signing's status", err)
	}
	if !c.tenant.maySee(status, c.actor, authority, s.now()) {
		return client.Status{}, notThere()
	}
	if wrong != nil {
		return client.Status{}, newProblem(http.StatusConflict, codeNotASigning, wrong.Error()+". It stays under this id; start the request again under another one")
	}
	return status, nil
}

const codeNotASigning = "not-a-signing"

// notASigning is a custodian that was started wrongly, straight at the server: it failed, and holds its id for ever.
type notASigning struct{ why string }

func (n *notASigning) Error() string { return "what was started under this id is no signing: " + n.why }

// status merges what custodian and saga say. What they have forgotten, the bucket tells. Of what is no signing it is an error, and the status says no more than
// who may hear of it.
func (t *tenant) status(ctx context.Context, request string) (client.Status, error) {
	if countersign.CheckRequestID(request) != nil {
		return client.Status{}, errNotFound
	}
	custody, err := t.pipeline.Custody(ctx, request)
	if errors.Is(err, errNotFound) {
		return t.recallStatus(ctx, request)
	}
	if err != nil {
		return client.Status{}, err
	}
	if custody.State == workflows.StateNotASigning {
		// What was started under the id of a signing that Temporal has forgotten doesn't hide that.
		if status, err := t.recallStatus(ctx, request); !errors.Is(err, errNotFound) {
			return status, err
		}
		_, by, err := t.pipeline.Beginning(ctx, request)
		if err != nil && !errors.Is(err, errUnreadable) {
			return client.Status{}, err
		}
		return client.Status{Saga: evidence.Execution{Workflow: countersign.SagaID(t.settings.Tenant, request)}, Requester: &by}, &notASigning{custody.Detail}
	}
	var saga workflows.Status
	if custody.Saga.Run != "" {
		// It may not have done its first step yet.
		if saga, err = t.pipeline.Saga(ctx, request); err != nil && !errors.Is(err, errNotFound) {
			return client.Status{}, err
		}
		if err != nil && custody.State == client.StateDone {
			// The saga closed before its custodian, and is forgotten before it.
			if status, err := t.recallStatus(ctx, request); !errors.Is(err, errNotFound) {
				return status, err
			}
		}
	}
	status := merge(t.settings.Tenant, request, custody, saga)
	if status.Requester == nil {
		// Intake names the requester; before it has, and where it refused, the server's stamp on the start does.
		asked, requester, err := t.pipeline.Beginning(ctx, request)
		if err != nil {
			return client.Status{}, err
		}
		status.Title, status.Purpose = asked.Title, asked.Purpose
		if !requester.IsZero() {
			status.Requester = &requester
		}
	}
	return status, nil
}

func merge(tenant, request string, custody workflows.CustodyStatus, saga workflows.Status) client.Status {
	s := client.Status{
		Tenant: tenant, Request: request, Title: saga.Request.Title, Purpose: saga.Request.Purpose, State: custody.State,
		Custodian: countersign.CustodianID(tenant, request), Saga: custody.Saga, Context: saga.Context, Policy: saga.Policy,
		Decisions: saga.Decisions, Decided: saga.Decided, Withdrawals: saga.Withdrawals, Ignored: saga.Ignored, Problem: custody.Problem, Evidence: custody.Evidence,
	}
	if custody.State == "saga" {
		s.State, s.Stage, s.Open = saga.State, saga.Stage, saga.Open
	}
	if s.State == "" {
		s.State = client.StateIntake
	}
	if custody.Saga.Workflow == "" {
		s.Saga = evidence.Execution{Workflow: countersign.SagaID(tenant, request)}
	}
	if saga.Document.SHA256 != "" {
		s.Document = &saga.Document
	}
	if saga.Context != "" {
		s.Transaction, s.Asked = &saga.Transaction, &saga.Request
	}
	if !saga.Requester.IsZero() {
		s.Requester = &saga.Requester
	}
	if len(saga.Plan.Stages) > 0 {
		s.Plan = &saga.Plan
	}
	if s.Decisions == nil {
		s.Decisions = []countersign.DecisionRecord{}
	}
	if s.Withdrawals == nil {
		s.Withdrawals = []countersign.WithdrawalRecord{}
	}
	if s.Decided == nil {
		s.Decided = []countersign.Actor{}
	}
	// Nothing is released before its evidence is locked, and nothing is called completed either, whatever build of the workers answered.
	s.Released = custody.State == client.StateDone && custody.Outcome == countersign.Completed && custody.Evidence != nil && custody.Evidence.Outcome == countersign.Completed
	// The custodian names every outcome but that one before its evidence is locked.
	s.Pending = (custody.State == client.StateSealing || custody.State == client.StateLocking) && (custody.Outcome == "" || custody.Outcome == countersign.Completed)
	if s.Released || custody.Outcome != countersign.Completed {
		s.Outcome, s.Detail = custody.Outcome, custody.Detail
	}
	if s.Outcome != "" {
		s.Meaning = s.Outcome.Meaning()
	}
	return s
}

// maySee asks the policy: the requester, whoever is eligible in a stage or lent the authority of one who is, and the tenant's compliance.
func (t *tenant) maySee(s client.Status, a countersign.Actor, authority *evidence.Authority, now time.Time) bool {
	var eligible []countersign.Actor
	if s.Plan != nil {
		for _, stage := range s.Plan.Stages {
			for _, e := range stage.At(now).Everybody() {
				eligible = append(eligible, e.Actor)
			}
		}
		if s.Plan.BreakGlass != nil {
			for _, e := range s.Plan.BreakGlass.Eligible {
				eligible = append(eligible, e.Actor)
			}
			eligible = append(eligible, s.Plan.Owner.Actor)
		}
	}
	q := policy.Question{
		Action: policy.View, Principal: policy.PrincipalOf(t.settings, a), Now: now, Grant: authority.Scope(),
		Resource: policy.Resource{Signing: s.Saga.Workflow, Tenant: t.settings.Tenant, Requester: s.Requester, Eligible: eligible, Request: s.Request, Purpose: s.Purpose},
	}
	if s.Document != nil {
		q.Resource.Document = s.Document.SHA256
	}
	return t.engine.Ask(q).Allowed
}

// refusedNow is why a decision of the actor would not count in a stage, as far as that can be known before it is proven; nil if it would.
func (t *tenant) refusedNow(saga workflows.Status, stage countersign.Stage, verdict countersign.Verdict, a countersign.Actor, authority *evidence.Authority, now time.Time) *countersign.Refusal {
	// How strongly it will be proven is not known yet.
	least := max(1, stage.Assurance)
	if verdict == countersign.Skip {
		least = 2
	}
	question := evidence.DecideQuestion(
		evidence.CheckInput{Saga: saga.Saga, Tenant: t.settings.Tenant, Requester: saga.Requester, Decided: saga.Decided, Document: saga.Document, Purpose: saga.Plan.Purpose, BreakGlass: saga.Plan.BreakGlass},
		countersign.Decision{Stage: stage.Name, Verdict: verdict}, stage, policy.PrincipalOf(t.settings, a), authority, least, now)
	if answer := t.engine.Ask(question); !answer.Allowed {
		return &countersign.Refusal{Code: answer.Code(), Message: answer.Refusal}
	}
	return nil
}
