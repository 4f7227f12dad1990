package kms

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
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

const (
	signatureAlgorithm = "AWS4-HMAC-SHA256"
	amzDateLayout      = "20060102T150405Z"
	// maxSkew is how far a request's date may be from our clock.
	maxSkew = 5 * time.Minute
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

// authorization is the Authorization header of Signature Version 4, parsed.
type authorization struct {
	accessKeyID, date, region, service string
	signedHeaders                      []string // sorted, lower case, no double
	signature                          string   // 64 lower-case hex digits
}

// parseAuthorization reads an Authorization header from outside. It accepts
// only the one form that AWS documents: the three parts in any order, each
// once, and a credential scope that ends in aws4_request.
func parseAuthorization(header string) (authorization, error) {
	var a authorization
	if len(header) > maxAuthorization {
		return a, fmt.Errorf("the Authorization header has more than %d bytes", maxAuthorization)
	}
	rest, ok := strings.CutPrefix(header, signatureAlgorithm+" ")
	if !ok {
		return a, fmt.Errorf("the Authorization header doesn't start with %s", signatureAlgorithm)
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
		return a, fmt.Errorf("Credential must be <access key id>/<yyyymmdd>/<region>/<service>/aws4_request")
	}
	a.accessKeyID, a.date, a.region, a.service = scope[0], scope[1], scope[2], scope[3]
	a.signedHeaders = strings.Split(seen["SignedHeaders"], ";")
	if len(a.signedHeaders) > maxSignedHeaders {
		return a, fmt.Errorf("SignedHeaders has more than %d names", maxSignedHeaders)
	}
	for i, h := range a.signedHeaders {
		if !headerPattern.MatchString(h) || i > 0 && a.signedHeaders[i-1] >= h {
			return a, fmt.Errorf("SignedHeaders must be a sorted list of lower-case header names")
		}
	}
	a.signature = seen["Signature"]
	if !signaturePattern.MatchString(a.signature) {
		return a, fmt.Errorf("the Signature must be 64 lower-case hex digits")
	}
	return a, nil
}

// claim is who a request says it comes from; verify proves it.
type claim struct {
	authorization
	credential Credential
	at         time.Time
}

// claim checks all that can be checked before the body is read.
func (s *Service) claim(r *http.Request) (*claim, error) {
	header := r.Header.Values("Authorization")
	if len(header) == 0 {
		return nil, fail("MissingAuthenticationTokenException", "the request has no Authorization header; sign it with AWS Signature Version 4")
	}
	if len(header) > 1 || len(r.Header.Values("X-Amz-Date")) != 1 {
		return nil, fail("IncompleteSignatureException", "the request needs one Authorization header and one X-Amz-Date header")
	}
	a, err := parseAuthorization(header[0])
	if err != nil {
		return nil, fail("IncompleteSignatureException", "%v", err)
	}
	at, err := time.Parse(amzDateLayout, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, fail("IncompleteSignatureException", "X-Amz-Date must look like %s", amzDateLayout)
	}
	if !slices.Contains(a.signedHeaders, "host") {
		return nil, fail("InvalidSignatureException", "'host' must be a signed header")
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(a.signedHeaders, name) {
			return nil, fail("InvalidSignatureException", "each x-amz-* header of the request must be a signed header")
		}
	}
	if a.region != s.region || a.service != "kms" {
		return nil, fail("InvalidSignatureException", "Credential should be scoped to the region '%s' and the service 'kms'", s.region)
	}
	if a.date != at.Format("20060102") {
		return nil, fail("InvalidSignatureException", "the date in Credential doesn't match X-Amz-Date")
	}
	if skew := s.now().Sub(at); skew > maxSkew || skew < -maxSkew {
		return nil, fail("InvalidSignatureException", "Signature expired or not yet current: X-Amz-Date is more than %v from the server's clock", maxSkew)
	}
	credential, known := s.credentials[a.accessKeyID]
	if !known || r.Header.Get("X-Amz-Security-Token") != "" {
		// The stack has no temporary credentials, so any token is a wrong one.
		return nil, fail("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	return &claim{authorization: a, credential: credential, at: at}, nil
}

// verify signs the request again, as its owner would have, and compares.
// The payload's hash is computed from body, never taken from a header.
func (c *claim) verify(r *http.Request, body []byte) error {
	mismatch := fail("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
	sum := sha256.Sum256(body)
	payload := hex.EncodeToString(sum[:])
	if claimed := r.Header.Values("X-Amz-Content-Sha256"); len(claimed) > 0 &&
		subtle.ConstantTimeCompare([]byte(strings.Join(claimed, ",")), []byte(payload)) != 1 {
		return mismatch
	}
	again := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "http", Host: r.Host, Path: "/"}, Host: r.Host, Header: http.Header{}}
	for _, name := range c.signedHeaders {
		switch name {
		case "host":
		case "content-length":
			// The signer takes the length from here and not from the header.
			again.ContentLength = int64(len(body))
		default:
			key := textproto.CanonicalMIMEHeaderKey(name)
			again.Header[key] = slices.Clone(r.Header[key])
		}
	}
	owner := aws.Credentials{AccessKeyID: c.credential.AccessKeyID, SecretAccessKey: c.credential.SecretAccessKey}
	// A signer for each call: a shared one would be a lock between calls, and
	// deriving the key costs four HMACs.
	if err := v4.NewSigner().SignHTTP(context.Background(), owner, again, payload, c.service, c.region, c.at); err != nil {
		return mismatch
	}
	own, err := parseAuthorization(again.Header.Get("Authorization"))
	// The list of signed headers is under the signature, so that a header that
	// the signer leaves out (User-Agent, say) makes a mismatch.
	if err != nil || subtle.ConstantTimeCompare([]byte(own.signature), []byte(c.signature)) != 1 {
		return mismatch
	}
	return nil
}
