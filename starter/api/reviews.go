package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// concerned says whether a review is the caller's to see: its owner's, theirs who broke the glass, and the tenant's owner's and compliance's.
func (c caller) concerned(r evidence.ReviewStatus) bool {
	people := []countersign.Actor{r.Owner.Actor}
	for _, b := range r.Broke {
		people = append(people, b.Actor)
	}
	return c.listed() && c.about(people...)
}

type listReviewsOutput struct{ Body client.Reviews }

// listReviews lists the open reviews that concern the caller, the oldest first.
func (s *Server) listReviews(ctx context.Context, _ *inboxInput) (*listReviewsOutput, error) {
	c := callerOf(ctx)
	out := &listReviewsOutput{client.Reviews{Reviews: []evidence.ReviewStatus{}}}
	if !c.listed() {
		return out, nil
	}
	var mu sync.Mutex
	more, unanswered, err := c.tenant.each(ctx, countersign.WorkflowReview, func(id string) error {
		var r evidence.ReviewStatus
		if err := c.tenant.pipeline.Ask(ctx, id, &r); err != nil {
			return err
		}
		if c.concerned(r) {
			mu.Lock()
			out.Body.Reviews = append(out.Body.Reviews, r)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, fault(ctx, "list the reviews", err)
	}
	out.Body.Truncated, out.Body.Unanswered = more, unanswered
	slices.SortFunc(out.Body.Reviews, func(a, b evidence.ReviewStatus) int { return a.Opened.Compare(b.Opened) })
	return out, nil
}

type reviewInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
}

type reviewOutput struct{ Body evidence.ReviewStatus }

// getReview shows the review of a request.
func (s *Server) getReview(ctx context.Context, in *reviewInput) (*reviewOutput, error) {
	c := callerOf(ctx)
	out := &reviewOutput{}
	err := errNotFound
	if countersign.CheckRequestID(in.Request) == nil {
		err = c.tenant.pipeline.Ask(ctx, countersign.ReviewID(c.tenant.settings.Tenant, in.Request), &out.Body)
	}
	if errors.Is(err, errNotFound) || err == nil && !c.concerned(out.Body) {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such review, or it is not yours to see")
	}
	if err != nil {
		return nil, fault(ctx, "read the review", err)
	}
	return out, nil
}

type closeReviewInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Body    client.Finding
}

// closeReview passes a finding on as the caller. Whether it counts is for the review's own workflow to find out.
func (s *Server) closeReview(ctx context.Context, in *closeReviewInput) (*reviewOutput, error) {
	before, err := s.getReview(ctx, &reviewInput{in.Tenant, in.Request})
	if err != nil {
		return nil, err
	}
	closed := newProblem(http.StatusConflict, "ended", "the review is closed already")
	if before.Body.State == evidence.ReviewClosed {
		return nil, closed
	}
	closing := countersign.ReviewClosing{ID: uuid.NewString(), Finding: in.Body.Finding, Note: in.Body.Note}
	if err := closing.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	c := callerOf(ctx)
	id := countersign.ReviewID(c.tenant.settings.Tenant, in.Request)
	err = c.tenant.pipeline.Tell(ctx, id, countersign.SignalClose, closing)
	if errors.Is(err, errClosed) {
		return nil, closed
	}
	if err != nil {
		return nil, fault(ctx, "close the review", err)
	}
	out := &reviewOutput{}
	var became evidence.ReviewSignal
	s.settle(ctx, id, &out.Body, func() bool {
		for _, signal := range out.Body.Signals[min(len(before.Body.Signals), len(out.Body.Signals)):] {
			if signal.Sender == c.actor.String() {
				became = signal
				return true
			}
		}
		return false
	})
	if became.Refusal != nil {
		return nil, refused(http.StatusForbidden, became.Refusal)
	}
	return out, nil
}
