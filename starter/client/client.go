package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// Client speaks to the API of one tenant. It is safe for concurrent use.
type Client struct {
	base   string // of the tenant, without a slash at the end
	grant  string // that the caller acts under, or empty
	token  func(context.Context) (string, error)
	http   *http.Client
	stream *http.Client
}

// Bounds on what the API may answer.
const (
	maxAnswer   = 16 << 20
	maxDocument = 512 << 20
	maxEvent    = 16 << 20
)

// New makes a client of a tenant. The token is asked for each call. It travels over TLS, or to this machine itself.
func New(api, tenant string, token func(context.Context) (string, error)) (*Client, error) {
	if err := countersign.CheckTenantID(tenant); err != nil {
		return nil, err
	}
	if err := CheckURL(api); err != nil {
		return nil, fmt.Errorf("couldn't use the API's address: %w", err)
	}
	// A redirect would carry the token to wherever it leads.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		base: strings.TrimSuffix(api, "/") + "/v1/" + tenant, token: token,
		http:   &http.Client{Timeout: 10 * time.Minute, CheckRedirect: stay},
		stream: &http.Client{CheckRedirect: stay},
	}, nil
}

// CheckURL says whether a token may travel to an address: over https, or by plain http to the loopback alone.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("it must be an https URL of a host and a path")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return nil
		}
		return fmt.Errorf("%s is plain http: tokens would travel readable; use https", u.Host)
	}
	return fmt.Errorf("%q is neither https nor http", u.Scheme)
}

// signing is the path of a signing, however its id is spelled.
func signing(request, rest string) string { return "/signings/" + url.PathEscape(request) + rest }

// PutDocument uploads a PDF, and checks that what was stored is what was sent.
func (c *Client) PutDocument(ctx context.Context, body []byte) (countersign.Document, error) {
	var d countersign.Document
	sum := sha256.Sum256(body)
	err := c.do(ctx, http.MethodPut, "/documents", body, http.Header{
		"Content-Type": {"application/pdf"}, "Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"},
	}, &d)
	if err == nil && d.SHA256 != countersign.SHA256(body) {
		err = fmt.Errorf("couldn't upload the document: the API stored SHA-256 %s, not the %s that was sent", d.SHA256, countersign.SHA256(body))
	}
	return d, err
}

// Request asks for a signing.
func (c *Client) Request(ctx context.Context, r SigningRequest) (Started, error) {
	var s Started
	return s, c.post(ctx, "/signings", r, &s)
}

// Under is a client that sees signings, and decides in them, under a grant.
func (c *Client) Under(grant string) *Client {
	under := *c
	under.grant = grant
	return &under
}

// with adds the grant that the client acts under to a query.
func (c *Client) with(query url.Values) string {
	if c.grant != "" {
		query.Set("grant", c.grant)
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// Status is where a signing stands.
func (c *Client) Status(ctx context.Context, request string) (Status, error) {
	var s Status
	return s, c.do(ctx, http.MethodGet, signing(request, c.with(url.Values{})), nil, nil, &s)
}

// Explain explains a signing's plan.
func (c *Client) Explain(ctx context.Context, request string) (countersign.Explanation, error) {
	var e countersign.Explanation
	return e, c.do(ctx, http.MethodGet, signing(request, "/explanation"+c.with(url.Values{})), nil, nil, &e)
}

// ExplainPurpose explains the plan that a request of the caller would have now.
func (c *Client) ExplainPurpose(ctx context.Context, purpose string) (countersign.Explanation, error) {
	var e countersign.Explanation
	return e, c.do(ctx, http.MethodGet, "/purposes/"+url.PathEscape(purpose)+"/explanation", nil, nil, &e)
}

// Inbox is what waits for the caller.
func (c *Client) Inbox(ctx context.Context) (Inbox, error) {
	var i Inbox
	return i, c.do(ctx, http.MethodGet, "/inbox", nil, nil, &i)
}

// Draft is a decision to check and prove.
func (c *Client) Draft(ctx context.Context, request string, verdict countersign.Verdict, reason string) (Draft, error) {
	var d Draft
	query := url.Values{"verdict": {string(verdict)}, "reason": {reason}}
	return d, c.do(ctx, http.MethodGet, signing(request, "/decision"+c.with(query)), nil, nil, &d)
}

// Decide sends a proven decision. Whether it counts is in the status.
func (c *Client) Decide(ctx context.Context, request string, signed countersign.SignedDecision) (Accepted, error) {
	var a Accepted
	return a, c.post(ctx, signing(request, "/decisions"), signed, &a)
}

// Withdraw takes a request back.
func (c *Client) Withdraw(ctx context.Context, request string, w WithdrawalBody) (Accepted, error) {
	var a Accepted
	return a, c.post(ctx, signing(request, "/withdraw"), w, &a)
}

// Document reads the document of a signing and checks it against the digest that the caller knows.
func (c *Client) Document(ctx context.Context, request, digest string) ([]byte, error) {
	return c.file(ctx, signing(request, "/document"+c.with(url.Values{})), maxDocument, digest)
}

// ErrShredded says that personal data in a bundle was shredded, so that it isn't handed out whole: EvidenceFile gets what is left.
var ErrShredded = errors.New("personal data in the evidence was shredded; `countersign audit export REQUEST` writes what is left of it")

// Evidence reads the locked bundle of a signing and checks it against the digest that the status names.
func (c *Client) Evidence(ctx context.Context, request, digest string) ([]byte, error) {
	body, shredded, err := c.EvidenceFile(ctx, request, evidence.Locked{Object: countersign.Object{SHA256: digest}})
	if shredded {
		return nil, ErrShredded
	}
	return body, err
}

// EvidenceFile downloads the locked bundle of a signing and compares it with what the signing names. Shredded says that personal data in it was shredded: it is
// then a file with what is stored, as the signing names it, and the keys for it that are left.
func (c *Client) EvidenceFile(ctx context.Context, request string, locked evidence.Locked) (body []byte, shredded bool, err error) {
	path := signing(request, "/evidence"+c.with(url.Values{}))
	if body, err = c.download(ctx, path, evidence.MaxBundleSize+2*shred.MaxOverhead); err != nil {
		return nil, false, err
	}
	if !shred.IsFile(body) {
		return body, false, same(path, locked.Object.SHA256, countersign.SHA256(body))
	}
	left, _, err := shred.ReadFile(body)
	if err != nil {
		return nil, false, err
	}
	if locked.Concealed != "" { // an order about evidence doesn't name it: then the tenant's log tells
		err = same(path, locked.Concealed, left.Digest)
	}
	return body, true, errors.Join(err, same(path, locked.Object.SHA256, left.Bundle()))
}

// same compares the digest of what was downloaded with the one that was named.
func same(path, want, got string) error {
	if want != got {
		return fmt.Errorf("couldn't use what was downloaded from %s: its SHA-256 is %s, not %s", path, got, want)
	}
	return nil
}

func (c *Client) file(ctx context.Context, path string, limit int64, digest string) ([]byte, error) {
	body, err := c.download(ctx, path, limit)
	if err == nil {
		err = same(path, digest, countersign.SHA256(body))
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

func (c *Client) download(ctx context.Context, path string, limit int64) ([]byte, error) {
	body, _, err := c.downloaded(ctx, path, limit)
	return body, err
}

func (c *Client) downloaded(ctx context.Context, path string, limit int64) ([]byte, http.Header, error) {
	response, err := c.send(ctx, c.http, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("couldn't download %s: %w", path, err)
	case int64(len(body)) > limit:
		return nil, nil, fmt.Errorf("couldn't download %s: it has more than %d bytes", path, limit)
	}
	return body, response.Header, nil
}

func (c *Client) post(ctx context.Context, path string, v, into any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("couldn't write the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, body, http.Header{"Content-Type": {"application/json"}}, into)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, header http.Header, into any) error {
	response, err := c.send(ctx, c.http, method, path, body, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("couldn't read the API's answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return fmt.Errorf("couldn't read the API's answer: it has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("couldn't read the API's answer: %w", err)
	}
	return nil
}

// ErrUnreachable says that the API did not answer.
var ErrUnreachable = errors.New("couldn't reach the API")

// send makes a call, and turns what is not a success into a *Problem.
func (c *Client) send(ctx context.Context, hc *http.Client, method, path string, body []byte, header http.Header) (*http.Response, error) {
	token, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the API: %w", err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := hc.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	p := &Problem{Status: response.StatusCode, Code: "unexpected", Detail: "the API answered with status " + response.Status}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		var told Problem
		if json.Unmarshal(answer, &told) == nil && told.Code != "" && told.Detail != "" {
			told.Status = response.StatusCode
			p = &told
		}
	}
	return nil, p
}
