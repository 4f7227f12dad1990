package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

type shreddingOutput struct{ Body evidence.ShreddingStatus }

type proposeShreddingInput struct {
	Tenant string `path:"tenant"`
	Body   countersign.SignedShredding
}

// proposeShredding starts the keeper of a shredding. One that is there already is the same one, because its name is its content's.
func (s *Server) proposeShredding(ctx context.Context, in *proposeShreddingInput) (*shreddingOutput, error) {
	if err := callerOf(ctx).entitled(); err != nil {
		return nil, err
	}
	out := &shreddingOutput{}
	return out, s.give(ctx, in.Body, &out.Body, &out.Body.OrderProgress)
}

type shreddingInput struct {
	Tenant    string `path:"tenant"`
	Shredding string `path:"shredding" pattern:"^[0-9a-f]{64}$"`
}

// getShredding shows a shredding to the tenant's compliance and its owner, as long as Temporal keeps it.
func (s *Server) getShredding(ctx context.Context, in *shreddingInput) (*shreddingOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	out := &shreddingOutput{}
	err := c.tenant.pipeline.Ask(ctx, countersign.ShreddingID(c.tenant.settings.Tenant, in.Shredding), &out.Body)
	if errors.Is(err, errNotFound) {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such shredding")
	}
	if err != nil {
		return nil, fault(ctx, "read the shredding", err)
	}
	return out, nil
}

type listShreddingsOutput struct{ Body client.Shreddings }

// listShreddings lists what waits for a second person, or is being done, for the tenant's compliance and its owner.
func (s *Server) listShreddings(ctx context.Context, _ *inboxInput) (*listShreddingsOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	out := &listShreddingsOutput{client.Shreddings{Shreddings: []evidence.ShreddingStatus{}}}
	var mu sync.Mutex
	more, unanswered, err := c.tenant.each(ctx, countersign.WorkflowShredding, func(id string) error {
		var status evidence.ShreddingStatus
		if err := c.tenant.pipeline.Ask(ctx, id, &status); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		out.Body.Shreddings = append(out.Body.Shreddings, status)
		return nil
	})
	if err != nil {
		return nil, fault(ctx, "list the shreddings", err)
	}
	out.Body.Truncated, out.Body.Unanswered = more, unanswered
	slices.SortFunc(out.Body.Shreddings, func(a, b evidence.ShreddingStatus) int { return a.Proposed.Compare(b.Proposed) })
	return out, nil
}

type answerShreddingInput struct {
	Tenant    string `path:"tenant"`
	Shredding string `path:"shredding" pattern:"^[0-9a-f]{64}$"`
	Body      countersign.SignedOrderAnswer
}

// answerShredding passes the answer of a second person on.
func (s *Server) answerShredding(ctx context.Context, in *answerShreddingInput) (*shreddingOutput, error) {
	out, err := s.getShredding(ctx, &shreddingInput{in.Tenant, in.Shredding})
	if err != nil {
		return nil, err
	}
	return out, s.answer(ctx, in.Body, &out.Body, &out.Body.OrderProgress, newProblem(http.StatusConflict, "ended", "it doesn't wait for an answer"))
}
