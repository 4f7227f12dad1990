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

// proposeShredding starts the keeper of a shredding as the caller. Whether it may be proposed is for that workflow to find out.
func (s *Server) proposeShredding(ctx context.Context, in *proposeShreddingInput) (*shreddingOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	given := in.Body.Shredding
	if err := given.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	digest, err := given.Digest()
	switch {
	case err != nil:
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	case given.Tenant != c.tenant.settings.Tenant:
		return nil, newProblem(http.StatusUnprocessableEntity, "other-tenant", "the shredding names another tenant than the path")
	case given.Actor != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "it is somebody else's to propose")
	}
	// One that is there already is the same one, because its name is its content's.
	id := countersign.ShreddingID(given.Tenant, digest)
	if err := c.tenant.pipeline.Keep(ctx, id, countersign.WorkflowShredding, in.Body); err != nil && !errors.Is(err, errExists) {
		return nil, fault(ctx, "propose the shredding", err)
	}
	out := &shreddingOutput{}
	s.settle(ctx, id, &out.Body, func() bool { return out.Body.State != "" })
	if out.Body.Refusal != nil {
		return nil, refused(http.StatusForbidden, out.Body.Refusal)
	}
	return out, nil
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
	Body      countersign.SignedShreddingAnswer
}

// answerShredding passes the answer of a second person on as the caller. Whether it counts is for the shredding's own workflow to find out.
func (s *Server) answerShredding(ctx context.Context, in *answerShreddingInput) (*shreddingOutput, error) {
	out, err := s.getShredding(ctx, &shreddingInput{in.Tenant, in.Shredding})
	if err != nil {
		return nil, err
	}
	c, a := callerOf(ctx), in.Body.Answer
	if err := a.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	over := newProblem(http.StatusConflict, "ended", "it doesn't wait for an answer")
	switch {
	case a.Tenant != c.tenant.settings.Tenant || a.Shredding != in.Shredding:
		return nil, newProblem(http.StatusUnprocessableEntity, "other-order", "the answer is to another shredding than the path")
	case a.Actor != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "the answer is somebody else's")
	case out.Body.State != evidence.ShreddingProposed:
		return nil, over
	}
	before := len(out.Body.Answers)
	id := countersign.ShreddingID(c.tenant.settings.Tenant, in.Shredding)
	err = c.tenant.pipeline.Tell(ctx, id, countersign.SignalShreddingAnswer, in.Body)
	if errors.Is(err, errClosed) {
		return nil, over
	}
	if err != nil {
		return nil, fault(ctx, "answer the shredding", err)
	}
	var became evidence.ShreddingAnswered
	s.settle(ctx, id, &out.Body, func() bool {
		for _, answered := range out.Body.Answers[min(before, len(out.Body.Answers)):] {
			if answered.Sender == c.actor.String() {
				became = answered
				waits := out.Body.State == evidence.ShreddingProposed || out.Body.State == evidence.ShreddingDoing
				return answered.Refusal != nil || !waits || out.Body.Problem != ""
			}
		}
		return false
	})
	if became.Refusal != nil {
		return nil, refused(http.StatusForbidden, became.Refusal)
	}
	return out, nil
}
