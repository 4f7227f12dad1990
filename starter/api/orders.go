package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

// maxOrderRecords is how many records of orders one answer looks at.
const maxOrderRecords = 1000

type holdsOutput struct{ Body client.Holds }

// listHolds lists the evidence that is held and the orders that wait, for the tenant's compliance and its owner. What is held is what the records say that
// are locked beside the evidence: no workflow is asked for it.
func (s *Server) listHolds(ctx context.Context, _ *inboxInput) (*holdsOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	t := c.tenant
	out := &holdsOutput{client.Holds{Held: []client.HeldRequest{}, Waiting: []evidence.OrderStatus{}, Unreadable: []string{}}}
	var mu sync.Mutex
	more, unanswered, err := t.each(ctx, countersign.WorkflowHold, func(id string) error {
		var o evidence.OrderStatus
		if err := t.pipeline.Ask(ctx, id, &o); err != nil {
			return err
		}
		if waiting(o) {
			mu.Lock()
			out.Body.Waiting = append(out.Body.Waiting, o)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, fault(ctx, "list the orders", err)
	}
	out.Body.Truncated, out.Body.Unanswered = more, unanswered
	slices.SortFunc(out.Body.Waiting, func(a, b evidence.OrderStatus) int { return a.Ordered.Compare(b.Ordered) })
	records, more, err := t.objects.Orders(ctx, "", maxOrderRecords)
	if err != nil {
		return nil, fault(ctx, "list the orders", err)
	}
	out.Body.Truncated = out.Body.Truncated || more
	all, faults := t.orderRecords(ctx, records)
	for i, o := range records {
		if faults[i] != nil {
			logged(ctx, faults[i])
			out.Body.Unreadable = append(out.Body.Unreadable, o.Key)
		}
	}
	out.Body.Held = heldRequests(all)
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadOrders}); err != nil {
		return nil, err
	}
	return out, nil
}

// heldRequests are those whose evidence is held after these orders, which are in the order of their keys.
func heldRequests(all []client.LockedOrder) []client.HeldRequest {
	held := []client.HeldRequest{}
	for len(all) > 0 {
		request := all[0].Record.Order.Order.Request
		n := slices.IndexFunc(all, func(o client.LockedOrder) bool { return o.Record.Order.Order.Request != request })
		if n < 0 {
			n = len(all)
		}
		if matters := evidence.Standing(recordsOf(all[:n])); len(matters) > 0 {
			h := client.HeldRequest{Request: request, Matters: matters}
			for _, o := range all[:n] {
				if o.Record.Outcome == evidence.OrderHeld && slices.Contains(matters, o.Record.Order.Order.Matter) && (h.Since.IsZero() || o.Record.Ended.Before(h.Since)) {
					h.Since = o.Record.Ended
				}
			}
			held = append(held, h)
		}
		all = all[n:]
	}
	return held
}

func recordsOf(all []client.LockedOrder) (records []evidence.OrderRecord) {
	for _, o := range all {
		records = append(records, o.Record)
	}
	return records
}

// orderRecords reads records, a few at once. One that can't be read leaves its fault, at its place among those that were asked for.
func (t *tenant) orderRecords(ctx context.Context, objects []countersign.Object) (read []client.LockedOrder, faults []error) {
	all := make([]*client.LockedOrder, len(objects))
	faults = make([]error, len(objects))
	places := make(chan struct{}, readsAtOnce)
	var wait sync.WaitGroup
	for i, o := range objects {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			body, err := t.objects.Read(ctx, o, evidence.MaxOrderRecord)
			var r evidence.OrderRecord
			if err == nil {
				r, err = evidence.ParseOrderRecord(t.settings.Tenant, o.Key, body)
			}
			if err != nil {
				faults[i] = fmt.Errorf("couldn't read the record of an order %s: %w", strings.TrimPrefix(o.Key, countersign.OrdersPrefix(t.settings.Tenant)), err)
				return
			}
			o.SHA256 = countersign.SHA256(body)
			all[i] = &client.LockedOrder{Object: o, Record: r}
		})
	}
	wait.Wait()
	for _, o := range all {
		if o != nil {
			read = append(read, *o)
		}
	}
	return read, faults
}

// waiting says whether an order is not over yet.
func waiting(o evidence.OrderStatus) bool {
	return o.State == evidence.OrderProposed || o.State == evidence.OrderDoing
}

type ordersInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
}

type ordersOutput struct{ Body client.OrderBook }

// getOrders tells what was ordered about a request's evidence, and how the store keeps it, for the tenant's compliance and its owner.
func (s *Server) getOrders(ctx context.Context, in *ordersInput) (*ordersOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	if countersign.CheckRequestID(in.Request) != nil {
		return nil, notThere()
	}
	t := c.tenant
	book := client.OrderBook{Request: in.Request, Orders: []client.LockedOrder{}}
	records, more, err := t.objects.Orders(ctx, in.Request, maxOrderRecords)
	if err == nil && more {
		err = errors.New("there are too many versions of records")
	}
	if err != nil {
		return nil, fault(ctx, "read the orders", err)
	}
	all, faults := t.orderRecords(ctx, records)
	if err := errors.Join(faults...); err != nil {
		return nil, fault(ctx, "read the orders", err)
	}
	book.Orders = append(book.Orders, all...)
	book.Matters = evidence.Standing(recordsOf(all))
	custody, err := t.pipeline.Custody(ctx, in.Request)
	switch {
	case err == nil && custody.Evidence != nil:
		book.Bundle = &custody.Evidence.Object
	case len(all) > 0: // what ended long ago Temporal has forgotten
		book.Bundle = &all[0].Record.Order.Order.Bundle
	case errors.Is(err, errNotFound), err == nil && custody.State == workflows.StateNotASigning:
		r, err := t.recall(ctx, in.Request)
		if errors.Is(err, errNotFound) {
			return nil, notThere()
		}
		if err != nil {
			return nil, fault(ctx, "read the orders", err)
		}
		book.Bundle = &r.locked.Object
	case err != nil:
		return nil, fault(ctx, "read the orders", err)
	}
	if book.Bundle != nil {
		kept, err := t.objects.Kept(ctx, *book.Bundle)
		if err != nil {
			return nil, fault(ctx, "ask how the evidence is kept", err)
		}
		book.Kept = &kept
	}
	var order evidence.OrderStatus
	id := countersign.HoldID(t.settings.Tenant, in.Request)
	runs, err := t.pipeline.Runs(ctx, id)
	if err == nil && runs {
		if err = t.pipeline.Ask(ctx, id, &order); err == nil && waiting(order) {
			book.Waiting = &order
		}
	}
	if err != nil && !errors.Is(err, errNotFound) {
		return nil, fault(ctx, "read the orders", err)
	}
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadOrders, Request: in.Request}); err != nil {
		return nil, err
	}
	return &ordersOutput{book}, nil
}

type orderOutput struct{ Body evidence.OrderStatus }

type giveOrderInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Body    countersign.SignedOrder
}

// giveOrder starts the keeper of an order as the caller. Whether it may be given is for that workflow to find out.
func (s *Server) giveOrder(ctx context.Context, in *giveOrderInput) (*orderOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	o := in.Body.Order
	if err := o.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	digest, err := o.Digest()
	switch {
	case err != nil:
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	case o.Tenant != c.tenant.settings.Tenant || o.Request != in.Request:
		return nil, newProblem(http.StatusUnprocessableEntity, "other-request", "the order is about another request than the path")
	case o.Actor != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "the order is somebody else's")
	}
	kind := countersign.WorkflowHold
	if !o.NeedsSecond() {
		kind = countersign.WorkflowRetain
	}
	out := &orderOutput{}
	err = c.tenant.pipeline.Keep(ctx, o.Keeper(), kind, in.Body)
	if errors.Is(err, errExists) {
		// Given again, it is the same order; another one has to wait for this one's end.
		err = c.tenant.pipeline.Ask(ctx, o.Keeper(), &out.Body)
		if err == nil && out.Body.Digest != digest {
			if err = errExists; !waiting(out.Body) {
				err = s.giveAfter(ctx, o.Keeper(), kind, in.Body)
			}
		}
	}
	if errors.Is(err, errExists) {
		return nil, newProblem(http.StatusConflict, "order-waits", "another order about this evidence waits for its second person, or is being carried out")
	}
	if err != nil {
		return nil, fault(ctx, "give the order", err)
	}
	s.settle(ctx, o.Keeper(), &out.Body, func() bool {
		return out.Body.Digest == digest && out.Body.State != "" && (out.Body.State != evidence.OrderDoing || out.Body.Problem != "")
	})
	if out.Body.Digest == digest && out.Body.Refusal != nil {
		return nil, refused(http.StatusForbidden, out.Body.Refusal)
	}
	return out, nil
}

// giveAfter starts the keeper of an order once the one before it has ended: what that did is done, and its messages are still on their way.
func (s *Server) giveAfter(ctx context.Context, id, kind string, order countersign.SignedOrder) error {
	pipeline := callerOf(ctx).tenant.pipeline
	within, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := pipeline.Follow(within, id, func() {}); err != nil && within.Err() == nil {
		return err
	}
	return pipeline.Keep(ctx, id, kind, order)
}

type answerOrderInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Body    countersign.SignedOrderAnswer
}

// answerOrder passes the answer of a second person on as the caller. Whether it counts is for the order's own workflow to find out.
func (s *Server) answerOrder(ctx context.Context, in *answerOrderInput) (*orderOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	if countersign.CheckRequestID(in.Request) != nil {
		return nil, notThere()
	}
	a := in.Body.Answer
	if err := a.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	id := countersign.HoldID(c.tenant.settings.Tenant, in.Request)
	out := &orderOutput{}
	err := c.tenant.pipeline.Ask(ctx, id, &out.Body)
	none := newProblem(http.StatusConflict, "no-order", "no order about this evidence waits for an answer")
	switch {
	case errors.Is(err, errNotFound):
		return nil, none
	case err != nil:
		return nil, fault(ctx, "read the order", err)
	case a.Tenant != c.tenant.settings.Tenant || a.Order != out.Body.Digest:
		return nil, newProblem(http.StatusConflict, "other-order", "the answer is to another order than the one that waits")
	case out.Body.State != evidence.OrderProposed:
		return nil, none
	case a.Actor != c.actor:
		return nil, newProblem(http.StatusForbidden, "other-sender", "the answer is somebody else's")
	}
	before := len(out.Body.Answers)
	err = c.tenant.pipeline.Tell(ctx, id, countersign.SignalAnswer, in.Body)
	if errors.Is(err, errClosed) {
		return nil, none
	}
	if err != nil {
		return nil, fault(ctx, "answer the order", err)
	}
	var became evidence.OrderAnswered
	s.settle(ctx, id, &out.Body, func() bool {
		for _, answered := range out.Body.Answers[min(before, len(out.Body.Answers)):] {
			if answered.Sender == c.actor.String() {
				became = answered
				return answered.Refusal != nil || !waiting(out.Body) || out.Body.Problem != ""
			}
		}
		return false
	})
	if became.Refusal != nil {
		return nil, refused(http.StatusForbidden, became.Refusal)
	}
	return out, nil
}
