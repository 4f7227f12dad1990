// Package sigv4 checks the Authorization header of AWS Signature Version 4. Presigned URLs are not served.
package sigv4

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// DateLayout is that of the X-Amz-Date header.
const DateLayout = "20060102T150405Z"

const (
	algorithm = "AWS4-HMAC-SHA256"
	// maxAuthorization bounds the Authorization header, in bytes.
	maxAuthorization = 2048
	// maxSignedHeaders bounds the list of headers under the signature.
	maxSignedHeaders = 32
)

var (
	accessKeyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	signaturePattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	headerPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	datePattern      = regexp.MustCompile(`^[0-9]{8}$`)
)

// Authorization is the Authorization header of Signature Version 4, parsed.
type Authorization struct {
	AccessKeyID, Date, Region, Service string
	SignedHeaders                      []string // sorted, lower case, no double
	signature                          string   // 64 lower-case hex digits
}

// Parse reads an Authorization header from outside. It accepts
// only the one form that AWS documents: the three parts in any order, each
// once, and a credential scope that ends in aws4_request.
func Parse(header string) (Authorization, error) {
	var a Authorization
	if len(header) > maxAuthorization {
		return a, fmt.Errorf("the Authorization header has more than %d bytes", maxAuthorization)
	}
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return a, fmt.Errorf("the Authorization header doesn't start with %s", algorithm)
	}
	parts := strings.Split(rest, ",")
	if len(parts) != 3 {
		return a, fmt.Errorf("the Authorization header needs Credential, SignedHeaders and Signature, each once")
	}
	seen := make(map[string]string, len(parts))
	for _, part := range parts {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, double := seen[name]; double {
			return a, fmt.Errorf("the Authorization header has a part twice")
		}
		seen[name] = value
	}
	scope := strings.Split(seen["Credential"], "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || !accessKeyPattern.MatchString(scope[0]) || !datePattern.MatchString(scope[1]) || scope[2] == "" || scope[3] == "" {
		return a, fmt.Errorf("the Credential must be <access key id>/<yyyymmdd>/<region>/<service>/aws4_request")
	}
	a.AccessKeyID, a.Date, a.Region, a.Service = scope[0], scope[1], scope[2], scope[3]
	a.SignedHeaders = strings.Split(seen["SignedHeaders"], ";")
	if len(a.SignedHeaders) > maxSignedHeaders {
		return a, fmt.Errorf("the SignedHeaders are more than %d", maxSignedHeaders)
	}
	for i, h := range a.SignedHeaders {
		if !headerPattern.MatchString(h) || i > 0 && a.SignedHeaders[i-1] >= h {
			return a, fmt.Errorf("the SignedHeaders must be a sorted list of lower-case header names")
		}
	}
	a.signature = seen["Signature"]
	if !signaturePattern.MatchString(a.signature) {
		return a, fmt.Errorf("the Signature must be 64 lower-case hex digits")
	}
	return a, nil
}

// AllSigned says whether the signature covers what it must: the host and each x-amz-* header that the request has.
func (a Authorization) AllSigned(r *http.Request) bool {
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(a.SignedHeaders, name) {
			return false
		}
	}
	return slices.Contains(a.SignedHeaders, "host")
}

// Matches signs the request again, as the secret's owner would have, and compares. The payload's hash is what the owner signed: whoever trusts
// the body compares the hash with the body. The request's own ContentLength counts where the length is under the signature.
func (a Authorization) Matches(r *http.Request, secret, payloadHash string, at time.Time) bool {
	again := &http.Request{
		Method: r.Method, Host: r.Host, Header: http.Header{},
		URL: &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
	}
	for _, name := range a.SignedHeaders {
		switch name {
		case "host":
		case "content-length":
			// The signer takes the length from here and not from the header.
			again.ContentLength = r.ContentLength
		default:
			key := textproto.CanonicalMIMEHeaderKey(name)
			again.Header[key] = slices.Clone(r.Header[key])
		}
	}
	owner := aws.Credentials{AccessKeyID: a.AccessKeyID, SecretAccessKey: secret}
	// A signer for each call: a shared one would be a lock between calls, and deriving the key costs four HMACs.
	signer := v4.NewSigner(func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = a.Service == "s3" // S3 alone signs the path as it is sent
	})
	if err := signer.SignHTTP(context.Background(), owner, again, payloadHash, a.Service, a.Region, at); err != nil {
		return false
	}
	own, err := Parse(again.Header.Get("Authorization"))
	// The list of signed headers is under the signature, so that a header that the signer leaves out (User-Agent, say) makes a mismatch.
	return err == nil && subtle.ConstantTimeCompare([]byte(own.signature), []byte(a.signature)) == 1
}
