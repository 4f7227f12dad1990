package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign-dev/countersign/evidence"
)

// ReindexBody says which part of the index is to be compared with the log, and made whole.
type ReindexBody struct {
	From    *time.Time `json:"from,omitempty" doc:"Endings that were logged from this instant on."`
	Until   *time.Time `json:"until,omitempty" doc:"And before this one."`
	Bundles bool       `json:"bundles,omitempty" doc:"Read each bundle as well, and compare the whole record with it."`
	DryRun  bool       `json:"dryRun,omitempty" doc:"Compare, and make nothing."`
}

// Reindex has the tenant's index compared with its log, and missing records made.
func (c *Client) Reindex(ctx context.Context, b ReindexBody) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/reindexings", b, &k)
}

// Reindexing is how far a reindexing is.
func (c *Client) Reindexing(ctx context.Context, id string) (evidence.ReindexStatus, error) {
	var s evidence.ReindexStatus
	return s, c.do(ctx, http.MethodGet, "/reindexings/"+url.PathEscape(id), nil, nil, &s)
}
