package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// LockedOrder is the record of an order that ended, with where it is locked.
type LockedOrder struct {
	Object countersign.Object   `json:"object"`
	Record evidence.OrderRecord `json:"record"`
}

// OrderBook is what was ordered about the locked evidence of one request, and how the store keeps it.
type OrderBook struct {
	Request string                `json:"request"`
	Bundle  *countersign.Object   `json:"bundle,omitempty" doc:"The version that an order names; absent where neither Temporal nor an earlier order knows it any more."`
	Kept    *evidence.KeptObject  `json:"kept,omitempty" doc:"The bundle's legal hold and retention, as the store says now."`
	Matters []string              `json:"matters" doc:"What it is held for."`
	Orders  []LockedOrder         `json:"orders" doc:"Each order that ended, the first first."`
	Waiting *evidence.OrderStatus `json:"waiting,omitempty" doc:"The order that waits for its second person, or is being carried out."`
}

// HeldRequest is a request whose evidence is held.
type HeldRequest struct {
	Request string    `json:"request"`
	Matters []string  `json:"matters"`
	Since   time.Time `json:"since" doc:"Of the first of the matters."`
}

// Holds are the evidence that is held, and the orders that wait.
type Holds struct {
	Held       []HeldRequest          `json:"held"`
	Waiting    []evidence.OrderStatus `json:"waiting"`
	Unreadable []string               `json:"unreadable" doc:"Keys of records that are no records, or could not be read: what they are about may be held."`
	Truncated  bool                   `json:"truncated"`
	Unanswered int                    `json:"unanswered" doc:"Waiting orders that could not be asked."`
}

// Holds lists the evidence that is held, and the orders that wait.
func (c *Client) Holds(ctx context.Context) (Holds, error) {
	var h Holds
	return h, c.do(ctx, http.MethodGet, "/orders", nil, nil, &h)
}

// Orders is what was ordered about a request's evidence.
func (c *Client) Orders(ctx context.Context, request string) (OrderBook, error) {
	var b OrderBook
	return b, c.do(ctx, http.MethodGet, "/orders/"+url.PathEscape(request), nil, nil, &b)
}

// GiveOrder gives an order about a request's evidence.
func (c *Client) GiveOrder(ctx context.Context, o countersign.SignedOrder) (evidence.OrderStatus, error) {
	var s evidence.OrderStatus
	return s, c.post(ctx, "/orders/"+url.PathEscape(o.Order.Request), o, &s)
}

// AnswerOrder approves or rejects the order that waits.
func (c *Client) AnswerOrder(ctx context.Context, request string, a countersign.SignedOrderAnswer) (evidence.OrderStatus, error) {
	var s evidence.OrderStatus
	return s, c.post(ctx, "/orders/"+url.PathEscape(request)+"/answer", a, &s)
}
