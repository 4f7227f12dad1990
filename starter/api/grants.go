package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// maxKept is how many live grants, or keys, one answer looks at.
const maxKept = 1000

type giveInput struct {
	Tenant string `path:"tenant"`
	Body   countersign.SignedGrant
}

type keptOutput struct{ Body client.Kept }

// giveGrant starts the keeper of a grant as the caller. Whether it is admitted is in its status.
func (s *Server) giveGrant(ctx context.Context, in *giveInput) (*keptOutput, error) {
	c := callerOf(ctx)
	g := in.Body.Grant
	if err := g.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	digest, err := g.Digest()
	switch {
	case err != nil:
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	case g.Tenant != c.tenant.settings.Tenant:
		return nil, newProblem(http.StatusUnprocessableEntity, "other-tenant", "the grant names another tenant than the path")
	case g.Delegator != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "the grant is of somebody else's authority")
	}
	// A grant that is there already is the same one, because its name is its content's.
	id := countersign.AccessID(g.Tenant, digest)
	if err := c.tenant.pipeline.Keep(ctx, id, countersign.WorkflowAccess, in.Body); err != nil && !errors.Is(err, errExists) {
		return nil, fault(ctx, "give the grant", err)
	}
	var status evidence.GrantStatus
	s.settle(ctx, id, &status, func() bool { return status.State != "" })
	if status.Refusal != nil {
		return nil, refused(http.StatusForbidden, status.Refusal)
	}
	return &keptOutput{client.Kept{ID: digest, State: status.State, Status: grantPath(g.Tenant, digest)}}, nil
}

// settleTimeout is how long a call waits for what becomes of what it sent. After it the answer says that it isn't known yet.
const settleTimeout = 20 * time.Second

// settle waits until a keeper's status is as wanted. It waits at the server for the keeper's next step, and asks after each.
func (s *Server) settle(ctx context.Context, id string, into any, wanted func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	pipeline := callerOf(ctx).tenant.pipeline
	settled := false
	ask := func() {
		if err := pipeline.Ask(ctx, id, into); err == nil && wanted() {
			settled = true
			cancel()
		}
	}
	if err := pipeline.Follow(ctx, id, ask); !settled && err == nil {
		ask()
	}
	return settled
}

type grantInput struct {
	Tenant string `path:"tenant"`
	Grant  string `path:"grant" pattern:"^[0-9a-f]{64}$"`
}

type grantOutput struct{ Body evidence.GrantStatus }

// getGrant shows a grant to those whom it is about.
func (s *Server) getGrant(ctx context.Context, in *grantInput) (*grantOutput, error) {
	status, err := s.grantOf(ctx, in.Grant)
	if err != nil {
		return nil, err
	}
	return &grantOutput{status}, nil
}

// grantOf is a grant, if the caller may see it. For everybody else it does not exist.
func (s *Server) grantOf(ctx context.Context, digest string) (evidence.GrantStatus, error) {
	c := callerOf(ctx)
	var status evidence.GrantStatus
	err := c.tenant.pipeline.Ask(ctx, countersign.AccessID(c.tenant.settings.Tenant, digest), &status)
	if errors.Is(err, errNotFound) || err == nil && !c.about(people(status)...) {
		return status, newProblem(http.StatusNotFound, "not-found", "there is no such grant, or it is not yours to see")
	}
	if err != nil {
		return status, fault(ctx, "read the grant", err)
	}
	return status, nil
}

// people are all whom a grant is about: whose authority it is a part of, and who may use it.
func people(g evidence.GrantStatus) []countersign.Actor {
	return append(slices.Clone(g.Above), g.Grant.Grant.Delegator, g.Grant.Grant.Grantee)
}

// about says whether something of these people concerns the caller: as one of them, or in an office of the tenant.
func (c caller) about(people ...countersign.Actor) bool {
	m, known := c.tenant.settings.Member(c.actor)
	return slices.Contains(people, c.actor) || known && (slices.Contains(m.Roles, countersign.RoleOwner) || slices.Contains(m.Roles, countersign.RoleCompliance))
}

type listGrantsOutput struct{ Body client.Grants }

// listed says whether the tenant's file names the caller. An issuer that the tenant trusts names many whom it doesn't: nothing can be theirs,
// and how much is under way here is nothing for them to count.
func (c caller) listed() bool {
	_, known := c.tenant.settings.Member(c.actor)
	return known
}

// listGrants lists the live grants that concern the caller.
func (s *Server) listGrants(ctx context.Context, _ *inboxInput) (*listGrantsOutput, error) {
	c := callerOf(ctx)
	out := &listGrantsOutput{client.Grants{Grants: []evidence.GrantStatus{}}}
	if !c.listed() {
		return out, nil
	}
	var mu sync.Mutex
	more, unanswered, err := c.tenant.each(ctx, countersign.WorkflowAccess, func(id string) error {
		var g evidence.GrantStatus
		if err := c.tenant.pipeline.Ask(ctx, id, &g); err != nil {
			return err
		}
		// A grant's keeper outlives its window, for decisions that are still being checked.
		if live := g.State == countersign.GrantInvited || g.State == countersign.GrantActive; live && c.about(people(g)...) {
			mu.Lock()
			out.Body.Grants = append(out.Body.Grants, g)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, fault(ctx, "list the grants", err)
	}
	out.Body.Truncated, out.Body.Unanswered = more, unanswered
	slices.SortFunc(out.Body.Grants, func(a, b evidence.GrantStatus) int { return strings.Compare(a.Digest, b.Digest) })
	return out, nil
}

// each asks every live workflow of a kind, a few at once, and counts those that could not be asked.
func (t *tenant) each(ctx context.Context, kind string, ask func(id string) error) (more bool, unanswered int, err error) {
	ids, more, err := t.pipeline.Live(ctx, kind, maxKept)
	if err != nil {
		return false, 0, err
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	defer wait.Wait()
	for _, id := range ids {
		select {
		case t.queries <- struct{}{}:
		case <-ctx.Done():
			return more, unanswered, ctx.Err()
		}
		wait.Go(func() {
			defer func() { <-t.queries }()
			// One that just ended concerns nobody; one that can't be asked must not hide the others.
			if err := ask(id); err != nil && !errors.Is(err, errNotFound) {
				mu.Lock()
				unanswered++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return more, unanswered, nil
}

type acceptInput struct {
	Tenant string `path:"tenant"`
	Grant  string `path:"grant" pattern:"^[0-9a-f]{64}$"`
	Body   countersign.SignedAcceptance
}

// acceptGrant passes an acceptance on as the caller.
func (s *Server) acceptGrant(ctx context.Context, in *acceptInput) (*keptOutput, error) {
	if in.Body.Acceptance.Grant != in.Grant {
		return nil, newProblem(http.StatusUnprocessableEntity, "other-grant", "the acceptance is of another grant than the path")
	}
	return s.signalGrant(ctx, in.Tenant, in.Grant, countersign.SignalAccept, in.Body)
}

type endGrantInput struct {
	Tenant string `path:"tenant"`
	Grant  string `path:"grant" pattern:"^[0-9a-f]{64}$"`
	Body   client.Reasoned
}

func (s *Server) revokeGrant(ctx context.Context, in *endGrantInput) (*keptOutput, error) {
	return s.signalGrant(ctx, in.Tenant, in.Grant, countersign.SignalRevoke, countersign.GrantEnd{ID: uuid.NewString(), Reason: in.Body.Reason})
}

func (s *Server) giveBackGrant(ctx context.Context, in *endGrantInput) (*keptOutput, error) {
	return s.signalGrant(ctx, in.Tenant, in.Grant, countersign.SignalGiveBack, countersign.GrantEnd{ID: uuid.NewString(), Reason: in.Body.Reason})
}

// signalGrant passes a signal on as the caller, whose own token the server stamps it with. The grant's workflow decides whether it counts.
func (s *Server) signalGrant(ctx context.Context, tenant, grant, name string, payload any) (*keptOutput, error) {
	before, err := s.grantOf(ctx, grant)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	// A grant that is over still runs while people are told so; it hears nothing any more.
	over := before.State == countersign.GrantRevoked || before.State == countersign.GrantGivenBack || before.State == countersign.GrantRefused
	if !over {
		err = c.tenant.pipeline.Tell(ctx, countersign.AccessID(tenant, grant), name, payload)
	}
	if over || errors.Is(err, errClosed) {
		return nil, newProblem(http.StatusConflict, "ended", "the grant has ended")
	}
	if err != nil {
		return nil, fault(ctx, name+" the grant", err)
	}
	var status evidence.GrantStatus
	var became evidence.GrantSignal
	s.settle(ctx, countersign.AccessID(tenant, grant), &status, func() bool {
		for _, signal := range status.Signals[min(len(before.Signals), len(status.Signals)):] {
			if signal.Signal == name && signal.Sender == c.actor.String() {
				became = signal
				return true
			}
		}
		return false
	})
	if became.Refusal != nil {
		return nil, refused(http.StatusForbidden, became.Refusal)
	}
	return &keptOutput{client.Kept{ID: grant, State: status.State, Status: grantPath(tenant, grant)}}, nil
}

func grantPath(tenant, grant string) string { return "/v1/" + tenant + "/grants/" + grant }

// lent is the authority that the caller has by a grant, for what is asked about a signing. An empty grant is none.
func (s *Server) lent(ctx context.Context, grant string) (*evidence.Authority, []string, error) {
	c := callerOf(ctx)
	var chain []string
	a := &evidence.Authority{HolderRoles: []string{}}
	for at := grant; at != ""; {
		var status evidence.GrantStatus
		err := c.tenant.pipeline.Ask(ctx, countersign.AccessID(c.tenant.settings.Tenant, at), &status)
		if errors.Is(err, errNotFound) || len(chain) > countersign.MaxGrantDepth {
			return nil, nil, notThere()
		}
		if err != nil {
			return nil, nil, fault(ctx, "read the grant", err)
		}
		a.Grants, chain = append(a.Grants, status.GrantRecord), append(chain, at)
		at = status.Grant.Grant.Parent
	}
	if len(a.Grants) == 0 {
		return nil, nil, nil
	}
	slices.Reverse(a.Grants)
	slices.Reverse(chain)
	if m, ok := c.tenant.settings.Member(a.Grants[0].Grant.Grant.Delegator); ok {
		a.HolderRoles = m.Roles
	}
	return a, chain, nil
}
