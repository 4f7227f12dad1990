package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// AdmitGrant decides whether a grant may be given: by its delegator in person, proven by the delegator's own identity provider for exactly this
// grant, out of a role that the delegator holds or of a grant that may be handed on.
func (t *Tenant) AdmitGrant(ctx context.Context, in evidence.AdmitGrantInput) (evidence.GrantAdmission, error) {
	var a evidence.GrantAdmission
	refuse := func(r *countersign.Refusal) (evidence.GrantAdmission, error) {
		a.Refusal = r
		return a, nil
	}
	sender, at, err := t.started(ctx, in.Access)
	if err != nil {
		return a, err
	}
	a.At = at
	g := in.Grant.Grant
	if err := g.Check(); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	digest, err := g.Digest()
	switch {
	case err != nil:
		return refuse(countersign.Refuse("malformed", "%s", err))
	case g.Tenant != t.settings.Tenant:
		return refuse(countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the grant names another one", t.settings.Tenant))
	case sender != g.Delegator:
		return refuse(countersign.Refuse("other-sender", "the grant names one delegator, but another person gave it"))
	case at.Sub(time.Unix(g.IssuedAt, 0)).Abs() > countersign.MaxDecisionLife:
		return refuse(countersign.Refuse("grant-stale", "the grant was written at %s; give it within %s of writing it", time.Unix(g.IssuedAt, 0).UTC().Format(time.RFC3339), countersign.MaxDecisionLife))
	case at.Unix() >= g.NotAfter:
		return refuse(g.Live(at))
	case !t.stageRole(g.Role):
		return refuse(countersign.Refuse("role-not-delegable", "the role %q decides in no stage, so it can't be lent", g.Role))
	}
	for _, purpose := range g.Purposes {
		if !decidesIn(t.settings.Purposes[purpose], g.Role) {
			return refuse(countersign.Refuse("role-not-delegable", "the role %q decides in no stage of a purpose %q, so there is nothing to cover", g.Role, purpose))
		}
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.GrantBound(g, digest), in.Grant.Proof.IDToken, at)
	if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if err != nil {
		return a, fmt.Errorf("couldn't check the grant's proof: %w", err)
	}
	a.Given = &evidence.Proven{Key: facts.Key, At: at}
	if g.Parent != "" {
		refusal, err := t.handedOn(ctx, &a, g)
		if err != nil {
			return a, err
		}
		if refusal != nil {
			return refuse(refusal)
		}
	}
	question := policy.Question{
		Action: policy.Delegate, Principal: policy.PrincipalOf(t.settings, g.Delegator), Now: at, Grant: a.Authority.Scope(),
		Resource: policy.Resource{
			Grant: digest, Tenant: t.settings.Tenant, Role: g.Role, Delegators: a.Authority.Delegators(), Grantee: &g.Grantee,
			GranteeKind: policy.PrincipalOf(t.settings, g.Grantee).Kind, Purposes: g.Purposes,
		},
	}
	answer := t.engine.Ask(question)
	a.Question, a.Answer = &question, &answer
	if !answer.Allowed {
		return refuse(&countersign.Refusal{Code: answer.Code(), Message: answer.Refusal})
	}
	return a, nil
}

// handedOn loads the chain that a grant is a part of, and checks that it only narrows it.
func (t *Tenant) handedOn(ctx context.Context, a *evidence.GrantAdmission, g countersign.Grant) (*countersign.Refusal, error) {
	var refusal *countersign.Refusal
	chain, err := t.above(ctx, g.Parent)
	if err == nil {
		a.Authority, err = t.authority(ctx, chain)
	}
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	if err != nil {
		return nil, err
	}
	grants := []countersign.Grant{}
	for _, record := range a.Authority.Grants {
		grants = append(grants, record.Grant.Grant)
	}
	if err := countersign.CheckChain(append(grants, g)); err != nil {
		return countersign.Refuse("grant-chain", "the grant is no part of the one that it names: %s", err), nil
	}
	if err := a.Authority.Verify(t.settings.Issuers); err != nil {
		return countersign.Refuse("grant-chain", "a grant above it is not proven: %s", err), nil
	}
	return nil, nil
}

// stageRole says whether the role decides in a stage of any purpose.
func (t *Tenant) stageRole(role string) bool {
	for _, p := range t.settings.Purposes {
		if decidesIn(p, role) {
			return true
		}
	}
	return false
}

func decidesIn(p countersign.Purpose, role string) bool {
	return slices.ContainsFunc(p.Stages, func(s countersign.StageSetting) bool {
		return s.Role == role || s.Escalation != nil && s.Escalation.Role == role
	})
}

// CheckGrantSignal decides whether one signal to a grant counts: accepted or given back by its grantee, revoked by whoever it is a part of the
// authority of, or by the tenant's owner.
func (t *Tenant) CheckGrantSignal(ctx context.Context, in evidence.GrantSignalInput) (evidence.GrantSignal, error) {
	s := evidence.GrantSignal{Signal: in.Signal}
	event, err := t.signal(ctx, in.Access, in.Signal, in.Ordinal)
	if err != nil {
		return s, err
	}
	s.Sender, s.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	g := in.Grant.Grant
	digest, err := g.Digest()
	if err != nil {
		return s, err
	}
	sender, refusal := senderOf(event)
	if refusal == nil {
		refusal, err = t.readGrantSignal(ctx, in, digest, sender, &s)
	}
	if err != nil {
		return s, err
	}
	if refusal != nil {
		s.Refusal = refusal
		return s, nil
	}
	answer := t.engine.Ask(policy.Question{
		Action: in.Signal, Principal: policy.PrincipalOf(t.settings, sender), Now: s.At,
		Resource: policy.Resource{Grant: digest, Tenant: g.Tenant, Role: g.Role, Delegators: append(append([]countersign.Actor{}, in.Chain...), g.Delegator), Grantee: &g.Grantee, Purposes: g.Purposes},
	})
	if s.Answer = &answer; !answer.Allowed {
		s.Refusal = &countersign.Refusal{Code: answer.Code(), Message: answer.Refusal}
	}
	return s, nil
}

func (t *Tenant) readGrantSignal(ctx context.Context, in evidence.GrantSignalInput, digest string, sender countersign.Actor, s *evidence.GrantSignal) (*countersign.Refusal, error) {
	if in.Signal != countersign.SignalAccept {
		var end countersign.GrantEnd
		err := countersign.ParseStrict(in.Payload, &end)
		if err == nil {
			err = end.Check()
		}
		if err != nil {
			return countersign.Refuse("malformed", "%s", err), nil
		}
		s.Reason = end.Reason
		return nil, nil
	}
	var signed countersign.SignedAcceptance
	if err := countersign.ParseStrict(in.Payload, &signed); err != nil {
		return countersign.Refuse("malformed", "%s", err), nil
	}
	g, a := in.Grant.Grant, signed.Acceptance
	switch {
	case a.V != countersign.Version || a.Tenant != g.Tenant || a.Grant != digest || a.Actor != g.Grantee:
		return countersign.Refuse("other-grant", "the acceptance is of another grant, or for somebody else"), nil
	case sender != a.Actor:
		return countersign.Refuse("other-sender", "the acceptance names one person, but another one sent it"), nil
	case s.At.Unix() >= g.NotAfter:
		return g.Live(s.At), nil
	}
	bound, err := a.Digest()
	if err != nil {
		return countersign.Refuse("malformed", "%s", err), nil
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.AcceptanceBound(a, bound), signed.Proof.IDToken, s.At)
	if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
		return refusal, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't check the acceptance's proof: %w", err)
	}
	s.Acceptance, s.Taken = &signed, &evidence.Proven{Key: facts.Key, At: s.At}
	return nil, nil
}

// started is who started a workflow, as the server stamped it, and when.
func (t *Tenant) started(ctx context.Context, e evidence.Execution) (countersign.Actor, time.Time, error) {
	first, err := t.first(ctx, e)
	if err != nil {
		return countersign.Actor{}, time.Time{}, err
	}
	actor, ok := evidence.ActorOf(first.GetPrincipal())
	if !ok {
		return countersign.Actor{}, time.Time{}, errNoPrincipal
	}
	return actor, first.GetEventTime().AsTime(), nil
}

func senderOf(event *historypb.HistoryEvent) (countersign.Actor, *countersign.Refusal) {
	sender, ok := evidence.ActorOf(event.GetPrincipal())
	if !ok {
		return sender, countersign.Refuse("other-sender", "the server did not name a person who sent this")
	}
	return sender, nil
}
