package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Reasoned ends something: a grant, a key, a person's authority.
type Reasoned struct {
	Reason string `json:"reason" maxLength:"2000" doc:"Why; it is kept."`
}

// Kept names a grant or a key, and where it stands.
type Kept struct {
	ID     string `json:"id" doc:"Digest of the grant, or id of the key."`
	State  string `json:"state,omitempty" doc:"What became of it; empty where that is not known yet."`
	Status string `json:"status" doc:"Path of the status."`
}

// Grants are those that concern the caller.
type Grants struct {
	Grants     []evidence.GrantStatus `json:"grants"`
	Truncated  bool                   `json:"truncated" doc:"More grants are live than were looked at."`
	Unanswered int                    `json:"unanswered" doc:"Live grants that could not be asked."`
}

// Keys are those of the caller; of everybody for the tenant's owner.
type Keys struct {
	Keys       []evidence.KeyStatus `json:"keys"`
	Truncated  bool                 `json:"truncated"`
	Unanswered int                  `json:"unanswered"`
}

// Reviews are the open ones that concern the caller.
type Reviews struct {
	Reviews    []evidence.ReviewStatus `json:"reviews"`
	Truncated  bool                    `json:"truncated"`
	Unanswered int                     `json:"unanswered"`
}

// Finding closes a review.
type Finding struct {
	Finding string `json:"finding" enum:"justified,not-justified"`
	Note    string `json:"note" minLength:"1" maxLength:"2000" doc:"What was looked at, and why the finding is what it is."`
}

// Leaver says whose authority is to end: of one person, or of everybody of one issuer.
type Leaver struct {
	Issuer  string `json:"iss" doc:"The issuer of the person, or of the organisation that leaves."`
	Subject string `json:"sub,omitempty" doc:"The person; everybody of the issuer if left out."`
	Reason  string `json:"reason" maxLength:"2000"`
	DryRun  bool   `json:"dryRun,omitempty" doc:"Only tell what would end."`
}

// Offboarding is what ended, or would end.
type Offboarding struct {
	Grants     []string `json:"grants" doc:"Digests of the grants that the person gave or took."`
	Keys       []string `json:"keys" doc:"Ids of the person's keys."`
	Listed     []string `json:"listed" doc:"Who of them stands in the tenant's file: take them out there, so that no role is left."`
	DryRun     bool     `json:"dryRun"`
	Truncated  bool     `json:"truncated"`
	Unanswered int      `json:"unanswered"`
}

// Give gives a grant to its keeper.
func (c *Client) Give(ctx context.Context, g countersign.SignedGrant) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/grants", g, &k)
}

// Grant is where a grant stands.
func (c *Client) Grant(ctx context.Context, digest string) (evidence.GrantStatus, error) {
	var g evidence.GrantStatus
	return g, c.do(ctx, http.MethodGet, "/grants/"+url.PathEscape(digest), nil, nil, &g)
}

// Grants lists the live grants that concern the caller.
func (c *Client) Grants(ctx context.Context) (Grants, error) {
	var g Grants
	return g, c.do(ctx, http.MethodGet, "/grants", nil, nil, &g)
}

// AcceptGrant takes a grant.
func (c *Client) AcceptGrant(ctx context.Context, a countersign.SignedAcceptance) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/grants/"+url.PathEscape(a.Acceptance.Grant)+"/accept", a, &k)
}

// EndGrant revokes a grant, or gives it back.
func (c *Client) EndGrant(ctx context.Context, digest, how, reason string) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/grants/"+url.PathEscape(digest)+"/"+how, Reasoned{reason}, &k)
}

// Enrol gives a key to its keeper.
func (c *Client) Enrol(ctx context.Context, e countersign.SignedEnrolment) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/keys", e, &k)
}

// Key is where a key stands.
func (c *Client) Key(ctx context.Context, id string) (evidence.KeyStatus, error) {
	var k evidence.KeyStatus
	return k, c.do(ctx, http.MethodGet, "/keys/"+url.PathEscape(id), nil, nil, &k)
}

// Keys lists the live keys that the caller may see.
func (c *Client) Keys(ctx context.Context) (Keys, error) {
	var k Keys
	return k, c.do(ctx, http.MethodGet, "/keys", nil, nil, &k)
}

// RetireKey takes a key out of use.
func (c *Client) RetireKey(ctx context.Context, id, reason string) (Kept, error) {
	var k Kept
	return k, c.post(ctx, "/keys/"+url.PathEscape(id)+"/retire", Reasoned{reason}, &k)
}

// Reviews lists the open reviews that concern the caller.
func (c *Client) Reviews(ctx context.Context) (Reviews, error) {
	var r Reviews
	return r, c.do(ctx, http.MethodGet, "/reviews", nil, nil, &r)
}

// Review is where the review of a request stands.
func (c *Client) Review(ctx context.Context, request string) (evidence.ReviewStatus, error) {
	var r evidence.ReviewStatus
	return r, c.do(ctx, http.MethodGet, "/reviews/"+url.PathEscape(request), nil, nil, &r)
}

// CloseReview says what a review found.
func (c *Client) CloseReview(ctx context.Context, request string, f Finding) (evidence.ReviewStatus, error) {
	var r evidence.ReviewStatus
	return r, c.post(ctx, "/reviews/"+url.PathEscape(request)+"/close", f, &r)
}

// Offboard ends what a person, or a whole partner, may do.
func (c *Client) Offboard(ctx context.Context, l Leaver) (Offboarding, error) {
	var o Offboarding
	return o, c.post(ctx, "/offboard", l, &o)
}
