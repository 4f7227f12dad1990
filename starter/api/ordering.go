package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// give starts the keeper of what one of compliance orders as the caller, and waits until it says whether it may be given: that is for its workflow to find
// out. Where it stands is then in status, of which progress is a part.
func (s *Server) give(ctx context.Context, given countersign.Given, status any, progress *evidence.OrderProgress) error {
	c := callerOf(ctx)
	if err := given.Check(); err != nil {
		return newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	o, err := given.Ordered()
	switch {
	case err != nil:
		return newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	case o.Tenant != c.tenant.settings.Tenant:
		return newProblem(http.StatusUnprocessableEntity, "other-tenant", "the "+o.What+" names another tenant than the path")
	case o.Actor != c.actor:
		return newProblem(http.StatusForbidden, "other-sender", "the "+o.What+" is somebody else's")
	}
	err = c.tenant.pipeline.Keep(ctx, o.Keeper, o.Kind, given)
	if errors.Is(err, errExists) {
		// Given again, it is the same order; another one has to wait for this one's end.
		err = c.tenant.pipeline.Ask(ctx, o.Keeper, status)
		if err == nil && progress.Digest != o.Digest {
			if err = errExists; !progress.Waits() {
				err = s.giveAfter(ctx, o, given)
			}
		}
	}
	if errors.Is(err, errExists) {
		return newProblem(http.StatusConflict, "order-waits", "another order about this evidence waits for its second person, or is being carried out")
	}
	if err != nil {
		return fault(ctx, "give the "+o.What, err)
	}
	s.settle(ctx, o.Keeper, status, func() bool {
		return progress.Digest == o.Digest && progress.State != "" && (progress.State != evidence.OrderDoing || progress.Problem != "")
	})
	if progress.Digest == o.Digest && progress.Refusal != nil {
		return refused(http.StatusForbidden, progress.Refusal)
	}
	return nil
}

// giveAfter starts the keeper of an order once the one before it has ended: what that did is done, and its messages are still on their way.
func (s *Server) giveAfter(ctx context.Context, o countersign.Ordered, given countersign.Given) error {
	pipeline := callerOf(ctx).tenant.pipeline
	within, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := pipeline.Follow(within, o.Keeper, func() {}); err != nil && within.Err() == nil {
		return err
	}
	return pipeline.Keep(ctx, o.Keeper, o.Kind, given)
}

// answer passes the answer of a second person on as the caller, to the keeper whose status was just read, and waits until it says what became of it. Whether it counts
// is for its workflow to find out. Over is what is answered where it waits for nobody.
func (s *Server) answer(ctx context.Context, in countersign.SignedOrderAnswer, status any, progress *evidence.OrderProgress, over error) error {
	c, a := callerOf(ctx), in.Answer
	if err := a.Check(); err != nil {
		return newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	switch {
	case a.Tenant != c.tenant.settings.Tenant || a.Order+a.Shredding != progress.Digest:
		return newProblem(http.StatusConflict, "other-order", "the answer is to another order than the one that waits")
	case progress.State != evidence.OrderProposed:
		return over
	case a.Actor != c.actor:
		return newProblem(http.StatusForbidden, "other-sender", "the answer is somebody else's")
	}
	before, id := len(progress.Answers), progress.Keeper.Workflow
	err := c.tenant.pipeline.Tell(ctx, id, countersign.SignalAnswer, in)
	if errors.Is(err, errClosed) {
		return over
	}
	if err != nil {
		return fault(ctx, "answer the order", err)
	}
	var became evidence.OrderAnswered
	s.settle(ctx, id, status, func() bool {
		for _, answered := range progress.Answers[min(before, len(progress.Answers)):] {
			if answered.Sender == c.actor.String() {
				became = answered
				return answered.Refusal != nil || !progress.Waits() || progress.Problem != ""
			}
		}
		return false
	})
	if became.Refusal != nil {
		return refused(http.StatusForbidden, became.Refusal)
	}
	return nil
}
