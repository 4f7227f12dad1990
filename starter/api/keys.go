package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

type enrolInput struct {
	Tenant string `path:"tenant"`
	Body   countersign.SignedEnrolment
}

// enrolKey starts the keeper of a key as the caller. Whether it is admitted is in its status.
func (s *Server) enrolKey(ctx context.Context, in *enrolInput) (*keptOutput, error) {
	c := callerOf(ctx)
	e := in.Body.Enrolment
	if err := e.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	id, err := e.KeyID()
	switch {
	case err != nil:
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	case e.Tenant != c.tenant.settings.Tenant:
		return nil, newProblem(http.StatusUnprocessableEntity, "other-tenant", "the enrolment names another tenant than the path")
	case e.Actor != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "the enrolment is of somebody else's key")
	}
	// A key that is there is its holder's, whoever enrols it again.
	keeper := countersign.EnrolmentID(e.Tenant, id)
	if err := c.tenant.pipeline.Keep(ctx, keeper, countersign.WorkflowEnrolment, in.Body); errors.Is(err, errExists) {
		return nil, newProblem(http.StatusConflict, "key-exists", "this key is enrolled already, or was; a key has one holder and is enrolled once")
	} else if err != nil {
		return nil, fault(ctx, "enrol the key", err)
	}
	var status evidence.KeyStatus
	s.settle(ctx, keeper, &status, func() bool { return status.State != "" })
	if status.Refusal != nil {
		return nil, refused(http.StatusForbidden, status.Refusal)
	}
	return &keptOutput{client.Kept{ID: id, State: status.State, Status: keyPath(e.Tenant, id)}}, nil
}

type keyInput struct {
	Tenant string `path:"tenant"`
	Key    string `path:"key" pattern:"^[0-9a-f]{64}$"`
}

type keyOutput struct{ Body evidence.KeyStatus }

// getKey shows a key to its holder, and to the tenant's owner and compliance.
func (s *Server) getKey(ctx context.Context, in *keyInput) (*keyOutput, error) {
	c := callerOf(ctx)
	out := &keyOutput{}
	err := c.tenant.pipeline.Ask(ctx, countersign.EnrolmentID(c.tenant.settings.Tenant, in.Key), &out.Body)
	if errors.Is(err, errNotFound) || err == nil && !c.about(out.Body.Enrolment.Enrolment.Actor) {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such key, or it is not yours to see")
	}
	if err != nil {
		return nil, fault(ctx, "read the key", err)
	}
	return out, nil
}

type listKeysOutput struct{ Body client.Keys }

// listKeys lists the live keys that the caller may see.
func (s *Server) listKeys(ctx context.Context, _ *inboxInput) (*listKeysOutput, error) {
	c := callerOf(ctx)
	out := &listKeysOutput{client.Keys{Keys: []evidence.KeyStatus{}}}
	if !c.listed() {
		return out, nil
	}
	var mu sync.Mutex
	more, unanswered, err := c.tenant.each(ctx, countersign.WorkflowEnrolment, func(id string) error {
		var k evidence.KeyStatus
		if err := c.tenant.pipeline.Ask(ctx, id, &k); err != nil {
			return err
		}
		if c.about(k.Enrolment.Enrolment.Actor) {
			mu.Lock()
			out.Body.Keys = append(out.Body.Keys, k)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, fault(ctx, "list the keys", err)
	}
	out.Body.Truncated, out.Body.Unanswered = more, unanswered
	slices.SortFunc(out.Body.Keys, func(a, b evidence.KeyStatus) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

type retireInput struct {
	Tenant string `path:"tenant"`
	Key    string `path:"key" pattern:"^[0-9a-f]{64}$"`
	Body   client.Reasoned
}

// retireKey passes a retirement on as the caller.
func (s *Server) retireKey(ctx context.Context, in *retireInput) (*keptOutput, error) {
	before, err := s.getKey(ctx, &keyInput{Tenant: in.Tenant, Key: in.Key})
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	err = c.tenant.pipeline.Tell(ctx, countersign.EnrolmentID(in.Tenant, in.Key), countersign.SignalRetire, countersign.Retirement{ID: uuid.NewString(), Reason: in.Body.Reason})
	if errors.Is(err, errClosed) {
		return nil, newProblem(http.StatusConflict, "ended", "the key is retired already")
	}
	if err != nil {
		return nil, fault(ctx, "retire the key", err)
	}
	var status evidence.KeyStatus
	var became evidence.Retired
	s.settle(ctx, countersign.EnrolmentID(in.Tenant, in.Key), &status, func() bool {
		for _, retired := range status.Retirements[min(len(before.Body.Retirements), len(status.Retirements)):] {
			if retired.Sender == c.actor.String() {
				became = retired
				return true
			}
		}
		return false
	})
	if became.Refusal != nil {
		return nil, refused(http.StatusForbidden, became.Refusal)
	}
	return &keptOutput{client.Kept{ID: in.Key, State: status.State, Status: keyPath(in.Tenant, in.Key)}}, nil
}

func keyPath(tenant, key string) string { return "/v1/" + tenant + "/keys/" + key }

type offboardInput struct {
	Tenant string `path:"tenant"`
	Body   client.Leaver
}

type offboardOutput struct{ Body client.Offboarding }

// offboard ends every grant and key of a person, or of a whole partner, as the tenant's owner. It tells what it touched, and who still
// stands in the tenant's file.
func (s *Server) offboard(ctx context.Context, in *offboardInput) (*offboardOutput, error) {
	c := callerOf(ctx)
	t := c.tenant
	if m, ok := t.settings.Member(c.actor); !ok || !slices.Contains(m.Roles, countersign.RoleOwner) {
		return nil, newProblem(http.StatusForbidden, "not-entitled", "only the tenant's owner ends what somebody else may do")
	}
	leaves := func(a countersign.Actor) bool {
		return a.Issuer == in.Body.Issuer && (in.Body.Subject == "" || a.Subject == in.Body.Subject)
	}
	if in.Body.Subject == "" && in.Body.Issuer == c.actor.Issuer {
		return nil, newProblem(http.StatusUnprocessableEntity, "own-organisation", "this would end everybody of your own organisation; name a person")
	}
	end := countersign.GrantEnd{ID: uuid.NewString(), Reason: in.Body.Reason}
	if err := end.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	out := &offboardOutput{client.Offboarding{Grants: []string{}, Keys: []string{}, Listed: []string{}, DryRun: in.Body.DryRun}}
	for _, m := range t.settings.Members() {
		if leaves(m.Actor) {
			out.Body.Listed = append(out.Body.Listed, m.Actor.String())
		}
	}
	var mu sync.Mutex
	note := func(list *[]string, id string) {
		mu.Lock()
		*list = append(*list, id)
		mu.Unlock()
	}
	tell := func(id, signal string, payload any) error {
		if in.Body.DryRun {
			return nil
		}
		if err := t.pipeline.Tell(ctx, id, signal, payload); err != nil && !errors.Is(err, errClosed) {
			return err
		}
		return nil
	}
	moreGrants, silentGrants, err := t.each(ctx, countersign.WorkflowAccess, func(id string) error {
		var g evidence.GrantStatus
		if err := t.pipeline.Ask(ctx, id, &g); err != nil || !leaves(g.Grant.Grant.Delegator) && !leaves(g.Grant.Grant.Grantee) {
			return err
		}
		note(&out.Body.Grants, g.Digest)
		return tell(id, countersign.SignalRevoke, end)
	})
	if err != nil {
		return nil, fault(ctx, "list the grants", err)
	}
	moreKeys, silentKeys, err := t.each(ctx, countersign.WorkflowEnrolment, func(id string) error {
		var k evidence.KeyStatus
		if err := t.pipeline.Ask(ctx, id, &k); err != nil || !leaves(k.Enrolment.Enrolment.Actor) {
			return err
		}
		note(&out.Body.Keys, k.Key)
		return tell(id, countersign.SignalRetire, countersign.Retirement(end))
	})
	if err != nil {
		return nil, fault(ctx, "list the keys", err)
	}
	out.Body.Truncated, out.Body.Unanswered = moreGrants || moreKeys, silentGrants+silentKeys
	slices.Sort(out.Body.Grants)
	slices.Sort(out.Body.Keys)
	return out, nil
}
