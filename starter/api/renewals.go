package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

type renewInput struct {
	Tenant string `path:"tenant"`
	Body   client.RenewalBody
}

// renewEvidence starts a renewal of the tenant's evidence as the caller. The workers ask again who may.
func (s *Server) renewEvidence(ctx context.Context, in *renewInput) (*keptOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	tenant := c.tenant.settings.Tenant
	r := evidence.RenewalRequest{Tenant: tenant, Within: countersign.Duration(time.Duration(in.Body.WithinDays) * 24 * time.Hour), Ending: in.Body.Ending, DryRun: in.Body.DryRun}
	if _, _, err := r.Rules(s.now()); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	id, err := uuid.NewV7()
	if err == nil {
		err = c.tenant.pipeline.Keep(ctx, countersign.RenewalID(tenant, id.String()), countersign.WorkflowRenewal, r)
	}
	if err != nil {
		return nil, fault(ctx, "start the renewal", err)
	}
	return &keptOutput{client.Kept{ID: id.String(), State: evidence.RenewalRunning, Status: "/v1/" + tenant + "/renewals/" + id.String()}}, nil
}

type renewalInput struct {
	Tenant  string `path:"tenant"`
	Renewal string `path:"renewal" pattern:"^[0-9a-f-]{36}$"`
}

type renewalOutput struct{ Body evidence.RenewalStatus }

// getRenewal shows how far a renewal is.
func (s *Server) getRenewal(ctx context.Context, in *renewalInput) (*renewalOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	var status evidence.RenewalStatus
	id := countersign.RenewalID(c.tenant.settings.Tenant, in.Renewal)
	err := c.tenant.pipeline.Ask(ctx, id, &status)
	if err == nil && status.State == evidence.RenewalRunning {
		status.Problem, err = c.tenant.pipeline.Trouble(ctx, id)
	}
	if errors.Is(err, errNotFound) {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such renewal")
	}
	if err != nil {
		return nil, fault(ctx, "read the renewal", err)
	}
	return &renewalOutput{status}, nil
}
