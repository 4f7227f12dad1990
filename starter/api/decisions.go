package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

// decisionLife is how long a drafted decision may be proven and sent.
const decisionLife = 10 * 60 // seconds

// maxDecisionBody makes one byte too many be seen as too many.
const maxDecisionBody = countersign.MaxSignedDecision + 1

type draftInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Verdict string `query:"verdict" required:"true" enum:"approve,reject,break-glass"`
	Reason  string `query:"reason" maxLength:"2000"`
	Grant   string `query:"grant" pattern:"^[0-9a-f]{64}$" doc:"The grant to decide under, where you have no role of your own."`
}

type draftOutput struct{ Body client.Draft }

// draftDecision is a decision of the caller as it would be made in the open stage, or in a later one where only that is the caller's.
func (s *Server) draftDecision(ctx context.Context, in *draftInput) (*draftOutput, error) {
	c := callerOf(ctx)
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	authority, chain, err := s.lent(ctx, in.Grant)
	if err != nil {
		return nil, err
	}
	holder := c.actor
	if authority != nil {
		holder = authority.Delegators()[0]
	}
	saga, err := c.tenant.pipeline.Saga(ctx, in.Request)
	if err != nil {
		return nil, fault(ctx, "read the signing's status", err)
	}
	if status.State != client.StateApproval || saga.State != client.StateApproval {
		return nil, newProblem(http.StatusConflict, "not-open", "nothing is to be decided now: the signing is at "+status.State)
	}
	verdict := countersign.Verdict(in.Verdict)
	stage, open, ok := decidable(saga, verdict, holder, s.now())
	if !ok && slices.Contains(saga.Decided, c.actor) {
		return nil, newProblem(http.StatusForbidden, "one-person-one-vote", "you have already decided in this signing; one person has one vote")
	}
	if !ok {
		return nil, newProblem(http.StatusForbidden, "not-eligible", "no stage that is open or still to come is yours to decide")
	}
	now := s.now()
	if refusal := c.tenant.refusedNow(saga, stage, verdict, c.actor, authority, now); refusal != nil {
		return nil, refused(http.StatusForbidden, refusal)
	}
	d := countersign.Decision{
		V: countersign.Version, Tenant: c.tenant.settings.Tenant, Signing: saga.Saga.Workflow, Run: saga.Saga.Run, Stage: stage.Name, Context: saga.Context,
		Document: saga.Document, Verdict: verdict, Reason: in.Reason, Actor: c.actor, Grants: []string{}, Policy: saga.Policy,
		IssuedAt: now.Unix(), ExpiresAt: now.Unix() + decisionLife,
	}
	if authority != nil {
		d.OnBehalfOf, d.Grants = &holder, chain
	}
	if err := d.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "bad-decision", err.Error())
	}
	digest, err := d.Digest()
	if err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "bad-decision", err.Error())
	}
	return &draftOutput{client.Draft{Decision: d, Digest: digest, Document: statusPath(d.Tenant, url.PathEscape(in.Request)) + "/document", Deadline: stage.Deadline, Open: open}}, nil
}

// decidable is the stage that the actor would decide in: an open one, or else the next of theirs.
func decidable(saga workflows.Status, verdict countersign.Verdict, a countersign.Actor, now time.Time) (stage countersign.Stage, open, ok bool) {
	if verdict == countersign.Skip {
		// The glass is broken for the whole signing, in whatever stage it waits.
		stage, open = saga.Plan.Stage(saga.Stage)
		_, ok = saga.Plan.BreakGlass.Find(a)
		return stage, open, ok && open
	}
	reached := false
	for _, stage := range saga.Plan.Stages {
		open := slices.Contains(saga.Open, stage.Name)
		reached = reached || open
		if _, mine := stage.At(now).Find(a); reached && mine {
			return stage, open, true
		}
	}
	return countersign.Stage{}, false, false
}

type decisionInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Body    countersign.SignedDecision
	RawBody []byte
}

type acceptedOutput struct{ Body client.Accepted }

// sendDecision passes a decision on as the caller. The worker checks it, and records what became of it.
func (s *Server) sendDecision(ctx context.Context, in *decisionInput) (*acceptedOutput, error) {
	c := callerOf(ctx)
	signed, err := countersign.ParseSignedDecision(in.RawBody)
	if err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	d := signed.Decision
	grant := ""
	if len(d.Grants) > 0 {
		grant = d.Grants[len(d.Grants)-1]
	}
	if _, err := s.view(ctx, in.Request, grant); err != nil {
		return nil, err
	}
	switch {
	case d.Actor != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "the decision names somebody else than who sends it")
	case d.Tenant != c.tenant.settings.Tenant || d.Signing != countersign.SagaID(d.Tenant, in.Request):
		return nil, newProblem(http.StatusUnprocessableEntity, "other-signing", "the decision is about another signing than the path")
	}
	if err := d.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	if err := c.tenant.pipeline.Signal(ctx, in.Request, countersign.SignalDecide, signed); err != nil {
		return nil, fault(ctx, "decide in this signing", err)
	}
	return &acceptedOutput{client.Accepted{ID: signed.ID, Status: statusPath(d.Tenant, in.Request)}}, nil
}

type withdrawInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Body    client.WithdrawalBody
}

// withdraw passes a withdrawal on as the caller.
func (s *Server) withdraw(ctx context.Context, in *withdrawInput) (*acceptedOutput, error) {
	c := callerOf(ctx)
	status, err := s.view(ctx, in.Request, "")
	if err != nil {
		return nil, err
	}
	w := countersign.Withdrawal{ID: in.Body.ID, Reason: in.Body.Reason}
	if w.ID == "" {
		w.ID = uuid.NewString()
	}
	if err := w.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	answer := c.tenant.engine.Ask(policy.Question{
		Action: policy.Withdraw, Principal: policy.PrincipalOf(c.tenant.settings, c.actor), Now: s.now(),
		Resource: policy.Resource{Signing: status.Saga.Workflow, Tenant: c.tenant.settings.Tenant, Requester: status.Requester},
	})
	if !answer.Allowed {
		return nil, newProblem(http.StatusForbidden, answer.Code(), "only its requester takes a request back: "+answer.Refusal)
	}
	if err := c.tenant.pipeline.Signal(ctx, in.Request, countersign.SignalWithdraw, w); err != nil {
		return nil, fault(ctx, "withdraw this signing", err)
	}
	return &acceptedOutput{client.Accepted{ID: w.ID, Status: statusPath(c.tenant.settings.Tenant, in.Request)}}, nil
}
