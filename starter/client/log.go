package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// EvidenceProof is the proof, as JSON, that a signing's ending is in the tenant's log. It is nil where the signing was ended by a build that kept none.
func (c *Client) EvidenceProof(ctx context.Context, request string) ([]byte, error) {
	body, err := c.download(ctx, signing(request, "/evidence/log"+c.with(url.Values{})), evidence.MaxLogProof)
	if told := (*Problem)(nil); errors.As(err, &told) && told.Code == "not-logged" {
		return nil, nil
	}
	return body, err
}

// Log is the tenant's log as the API shows it. It is to be believed by the log's key alone.
func (c *Client) Log() translog.Source { return logFiles{c} }

type logFiles struct{ client *Client }

// Get reads a file of the log.
func (l logFiles) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, err := l.client.download(ctx, "/log/"+name, limit)
	if told := (*Problem)(nil); errors.As(err, &told) && told.Status == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", name, translog.ErrGone)
	}
	return body, err
}
