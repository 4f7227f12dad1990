package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign"
)

type explanationOutput struct{ Body countersign.Explanation }

// explainSigning explains the frozen plan to whoever may see the signing, before, while and after it is decided.
func (s *Server) explainSigning(ctx context.Context, in *signingInput) (*explanationOutput, error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	if status.Plan == nil {
		return nil, newProblem(http.StatusConflict, "no-plan", "there is no plan: the signing is at intake, or intake refused it")
	}
	var requester countersign.Actor
	if status.Requester != nil {
		requester = *status.Requester
	}
	return &explanationOutput{status.Plan.Explain(requester, status.Decisions, status.Open, status.Over())}, nil
}

type purposeInput struct {
	Tenant  string `path:"tenant"`
	Purpose string `path:"purpose"`
}

// explainPurpose explains the plan that a request of the caller would be frozen to now. It shows nothing to whoever may not request.
func (s *Server) explainPurpose(ctx context.Context, in *purposeInput) (*explanationOutput, error) {
	c := callerOf(ctx)
	now := s.now()
	if refusal := c.tenant.mayRequest(c.actor, "", now); refusal != nil {
		return nil, refused(http.StatusForbidden, refusal)
	}
	plan, refusal := c.tenant.settings.Plan(countersign.Request{Purpose: in.Purpose}, c.actor, now)
	if refusal != nil && refusal.Code == "unknown-purpose" {
		return nil, refused(http.StatusNotFound, refusal)
	}
	if refusal != nil {
		return nil, refused(http.StatusConflict, refusal)
	}
	return &explanationOutput{plan.Explain(c.actor, nil, nil, false)}, nil
}
