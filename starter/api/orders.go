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
		if o.Waits() {
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
		if err = t.pipeline.Ask(ctx, id, &order); err == nil && order.Waits() {
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

// giveOrder starts the keeper of an order about evidence.
func (s *Server) giveOrder(ctx context.Context, in *giveOrderInput) (*orderOutput, error) {
	if err := callerOf(ctx).entitled(); err != nil {
		return nil, err
	}
	if in.Body.Order.Request != in.Request {
		return nil, newProblem(http.StatusUnprocessableEntity, "other-request", "the order is about another request than the path")
	}
	out := &orderOutput{}
	return out, s.give(ctx, in.Body, &out.Body, &out.Body.OrderProgress)
}

type answerOrderInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Body    countersign.SignedOrderAnswer
}

// answerOrder passes the answer of a second person on to the order that waits.
func (s *Server) answerOrder(ctx context.Context, in *answerOrderInput) (*orderOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	if countersign.CheckRequestID(in.Request) != nil {
		return nil, notThere()
	}
	if err := in.Body.Answer.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "malformed", err.Error())
	}
	out := &orderOutput{}
	none := newProblem(http.StatusConflict, "no-order", "no order about this evidence waits for an answer")
	err := c.tenant.pipeline.Ask(ctx, countersign.HoldID(c.tenant.settings.Tenant, in.Request), &out.Body)
	if errors.Is(err, errNotFound) {
		return nil, none
	}
	if err != nil {
		return nil, fault(ctx, "read the order", err)
	}
	return out, s.answer(ctx, in.Body, &out.Body, &out.Body.OrderProgress, none)
}
