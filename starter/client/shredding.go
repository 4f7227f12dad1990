package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Shreddings are those that wait for a second person or are being done, the oldest first.
type Shreddings struct {
	Shreddings []evidence.ShreddingStatus `json:"shreddings"`
	Truncated  bool                       `json:"truncated,omitempty" doc:"There are more."`
	Unanswered int                        `json:"unanswered,omitempty" doc:"How many could not be looked at."`
}

// ProposeShredding proposes that a person's data is shredded.
func (c *Client) ProposeShredding(ctx context.Context, s countersign.SignedShredding) (evidence.ShreddingStatus, error) {
	var status evidence.ShreddingStatus
	return status, c.post(ctx, "/shreddings", s, &status)
}

// AnswerShredding approves or rejects what another one of compliance proposed.
func (c *Client) AnswerShredding(ctx context.Context, a countersign.SignedOrderAnswer) (evidence.ShreddingStatus, error) {
	var status evidence.ShreddingStatus
	return status, c.post(ctx, "/shreddings/"+url.PathEscape(a.Answer.Shredding)+"/answer", a, &status)
}

// Shredding is where a shredding stands.
func (c *Client) Shredding(ctx context.Context, digest string) (evidence.ShreddingStatus, error) {
	var status evidence.ShreddingStatus
	return status, c.do(ctx, http.MethodGet, "/shreddings/"+url.PathEscape(digest), nil, nil, &status)
}

// Shreddings lists what waits for a second person, or is being done.
func (c *Client) Shreddings(ctx context.Context) (Shreddings, error) {
	var s Shreddings
	return s, c.do(ctx, http.MethodGet, "/shreddings", nil, nil, &s)
}
