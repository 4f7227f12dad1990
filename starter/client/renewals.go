package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/evidence"
)

// RenewalBody says which bundles are to be time-stamped anew.
type RenewalBody struct {
	WithinDays int      `json:"withinDays" minimum:"0" maximum:"7300" doc:"Those whose last time-stamp stands on certificates that end within as many days."`
	Ending     []string `json:"ending,omitempty" maxItems:"3" doc:"And those that stand on one of these algorithms: sha256, sha384, sha512."`
	DryRun     bool     `json:"dryRun,omitempty" doc:"Tell what is due, and stamp nothing."`
}

// Renew starts a renewal of the tenant's evidence.
func (c *Client) Renew(ctx context.Context, b RenewalBody) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/renewals", b, &k)
}

// Renewal is how far a renewal is.
func (c *Client) Renewal(ctx context.Context, id string) (evidence.RenewalStatus, error) {
	var s evidence.RenewalStatus
	return s, c.do(ctx, http.MethodGet, "/renewals/"+id, nil, nil, &s)
}
