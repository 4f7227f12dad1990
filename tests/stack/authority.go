package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// keep starts the keeper of a grant or a key as somebody, as any Temporal SDK would.
func (s *Stack) keep(ctx context.Context, tenant, who, id, workflow string, input any) error {
	c, err := s.Dial(ctx, tenant, who)
	if err != nil {
		return err
	}
	defer c.Close()
	reuse := enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	if workflow == countersign.WorkflowHold || workflow == countersign.WorkflowRetain {
		reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	}
	_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: countersign.TaskQueueSigning,
		WorkflowIDReusePolicy:                    reuse,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflow, input)
	return err
}

// Tell signals a grant or a key as somebody.
func (s *Stack) Tell(ctx context.Context, tenant, who, id, name string, payload any) error {
	c, err := s.Dial(ctx, tenant, who)
	if err != nil {
		return err
	}
	defer c.Close()
	run, err := s.RunOf(ctx, tenant, id)
	if err != nil {
		return err
	}
	return c.SignalWorkflow(ctx, id, run, name, payload)
}

// RunOf is the current run of a workflow, as those are shown who may see it: the server takes no signal from people that names none.
func (s *Stack) RunOf(ctx context.Context, tenant, id string) (string, error) {
	c, err := s.Dial(ctx, tenant, "platform:starter/"+tenant)
	if err != nil {
		return "", err
	}
	defer c.Close()
	current, err := c.DescribeWorkflowExecution(ctx, id, "")
	return current.GetWorkflowExecutionInfo().GetExecution().GetRunId(), err
}

// Draft is a grant of a role by one person to another, for one request, for an hour and one decision.
func (s *Stack) Draft(tenant, from, to, role, request string) countersign.Grant {
	now := time.Now().Unix()
	return countersign.Grant{
		V: countersign.Version, Tenant: tenant, Delegator: s.Actor(from), Grantee: s.Actor(to), Role: role, Actions: []string{countersign.GrantDecide},
		Documents: []string{}, Request: request, NotBefore: now - 5, NotAfter: now + 3600, Uses: 1, IssuedAt: now,
	}
}

// Give proves a grant as somebody and gives it to its keeper. It returns the grant's digest.
func (s *Stack) Give(ctx context.Context, who string, g countersign.Grant) (string, error) {
	digest, err := g.Digest()
	if err != nil {
		return "", err
	}
	token, err := s.ProveDigest(ctx, who, digest)
	if err != nil {
		return "", err
	}
	signed := countersign.SignedGrant{Grant: g, Proof: countersign.Proof{IDToken: token}}
	return digest, s.keep(ctx, g.Tenant, who, countersign.AccessID(g.Tenant, digest), countersign.WorkflowAccess, signed)
}

// Accept proves that somebody takes a grant, and tells its keeper.
func (s *Stack) Accept(ctx context.Context, tenant, who, grant string) error {
	a := countersign.Acceptance{V: countersign.Version, Tenant: tenant, Grant: grant, Actor: s.Actor(who), IssuedAt: time.Now().Unix()}
	digest, err := a.Digest()
	if err != nil {
		return err
	}
	token, err := s.ProveDigest(ctx, who, digest)
	if err != nil {
		return err
	}
	return s.Tell(ctx, tenant, who, countersign.AccessID(tenant, grant), countersign.SignalAccept, countersign.SignedAcceptance{Acceptance: a, Proof: countersign.Proof{IDToken: token}})
}

// Order proves an order about evidence as somebody and gives it to its keeper. It returns the order's digest.
func (s *Stack) Order(ctx context.Context, who string, o countersign.Order) (string, error) {
	digest, err := o.Digest()
	if err != nil {
		return "", err
	}
	token, err := s.ProveDigest(ctx, who, digest)
	if err != nil {
		return "", err
	}
	kind := countersign.WorkflowHold
	if !o.NeedsSecond() {
		kind = countersign.WorkflowRetain
	}
	return digest, s.keep(ctx, o.Tenant, who, o.Keeper(), kind, countersign.SignedOrder{Order: o, Proof: countersign.Proof{IDToken: token}})
}

// Enrol enrols a passkey for somebody. It returns the key's id.
func (s *Stack) Enrol(ctx context.Context, tenant, who string, a *Authenticator) (string, error) {
	e := a.Enrolment(tenant, s.Actor(who), time.Now())
	digest, err := e.Digest()
	if err != nil {
		return "", err
	}
	token, err := s.ProveDigest(ctx, who, digest)
	if err != nil {
		return "", err
	}
	possession, err := a.Prove(digest)
	if err != nil {
		return "", err
	}
	id, err := e.KeyID()
	if err != nil {
		return "", err
	}
	signed := countersign.SignedEnrolment{Enrolment: e, Proof: countersign.Proof{IDToken: token}, Possession: possession}
	return id, s.keep(ctx, tenant, who, countersign.EnrolmentID(tenant, id), countersign.WorkflowEnrolment, signed)
}

// Grant waits until a grant is as wanted.
func (s *Stack) Grant(ctx context.Context, tenant, grant string, wanted func(evidence.GrantStatus) bool) (evidence.GrantStatus, error) {
	var status evidence.GrantStatus
	return status, s.until(ctx, tenant, countersign.AccessID(tenant, grant), &status, func() bool { return wanted(status) })
}

// Key waits until a key is as wanted.
func (s *Stack) Key(ctx context.Context, tenant, key string, wanted func(evidence.KeyStatus) bool) (evidence.KeyStatus, error) {
	var status evidence.KeyStatus
	return status, s.until(ctx, tenant, countersign.EnrolmentID(tenant, key), &status, func() bool { return wanted(status) })
}

func (s *Stack) until(ctx context.Context, tenant, id string, into any, wanted func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := s.Dial(ctx, tenant, "platform:starter/"+tenant)
	if err != nil {
		return err
	}
	defer c.Close()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		value, err := c.QueryWorkflow(ctx, id, "", countersign.QueryStatus)
		if err == nil {
			err = value.Get(into)
		}
		if err == nil && wanted() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not get there: %+v: %w", id, into, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// Failure waits for a keeper that ends as refused, and is its reason.
func (s *Stack) Failure(ctx context.Context, tenant, id string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := s.Dial(ctx, tenant, "platform:starter/"+tenant)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.GetWorkflow(ctx, id, "").Get(ctx, nil)
}

// Under makes a decision one that is made under grants.
func Under(d countersign.Decision, holder countersign.Actor, grants ...string) countersign.Decision {
	d.OnBehalfOf, d.Grants = &holder, grants
	return d
}

// ProveWith proves a decision, with a passkey as well where there is one, and sends nothing.
func (s *Stack) ProveWith(ctx context.Context, who string, d countersign.Decision, a *Authenticator) (countersign.SignedDecision, error) {
	digest, err := d.Digest()
	if err != nil {
		return countersign.SignedDecision{}, err
	}
	token, err := s.ProveDigest(ctx, who, digest)
	if err != nil {
		return countersign.SignedDecision{}, err
	}
	signed := countersign.SignedDecision{ID: random(), Decision: d, Proof: countersign.Proof{IDToken: token}}
	if a != nil {
		key, err := a.Prove(digest)
		if err != nil {
			return countersign.SignedDecision{}, err
		}
		signed.Proof.Key = &key
	}
	return signed, nil
}

// PutWith proves a decision with a passkey as well, and sends it.
func (g *Signing) PutWith(ctx context.Context, who string, d countersign.Decision, a *Authenticator) (countersign.SignedDecision, error) {
	signed, err := g.Stack.ProveWith(ctx, who, d, a)
	if err != nil {
		return countersign.SignedDecision{}, err
	}
	return signed, g.Send(ctx, who, signed)
}
