package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

type reindexInput struct {
	Tenant string `path:"tenant"`
	Body   client.ReindexBody
}

// reindexEvidence starts a reindexing as the caller. The workers ask again who may.
func (s *Server) reindexEvidence(ctx context.Context, in *reindexInput) (*keptOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	tenant := c.tenant.settings.Tenant
	r := evidence.ReindexRequest{Tenant: tenant, Bundles: in.Body.Bundles, DryRun: in.Body.DryRun}
	if in.Body.From != nil {
		r.From = in.Body.From.UTC()
	}
	if in.Body.Until != nil {
		r.Until = in.Body.Until.UTC()
	}
	if err := r.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	id, err := uuid.NewV7()
	if err == nil {
		err = c.tenant.pipeline.Keep(ctx, countersign.ReindexID(tenant, id.String()), countersign.WorkflowReindex, r)
	}
	if err != nil {
		return nil, fault(ctx, "start the reindexing", err)
	}
	return &keptOutput{client.Kept{ID: id.String(), State: evidence.ReindexRunning, Status: "/v1/" + tenant + "/reindexings/" + id.String()}}, nil
}

type reindexingInput struct {
	Tenant     string `path:"tenant"`
	Reindexing string `path:"reindexing" pattern:"^[0-9a-f-]{36}$"`
}

type reindexingOutput struct{ Body evidence.ReindexStatus }

// getReindexing shows how far a reindexing is. What it found names requests, so it is recorded as a read of a list.
func (s *Server) getReindexing(ctx context.Context, in *reindexingInput) (*reindexingOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	var status evidence.ReindexStatus
	id := countersign.ReindexID(c.tenant.settings.Tenant, in.Reindexing)
	err := c.tenant.pipeline.Ask(ctx, id, &status)
	if err == nil && status.State == evidence.ReindexRunning {
		status.Problem, err = c.tenant.pipeline.Trouble(ctx, id)
	}
	if errors.Is(err, errNotFound) {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such reindexing")
	}
	if err != nil {
		return nil, fault(ctx, "read the reindexing", err)
	}
	if len(status.Findings) > 0 {
		if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadList, Filter: "reindexing=" + in.Reindexing}); err != nil {
			return nil, err
		}
	}
	return &reindexingOutput{status}, nil
}
