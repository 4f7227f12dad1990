package kms

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/infra/sigv4"
)

// maxSkew is how far a request's date may be from our clock.
const maxSkew = 5 * time.Minute

var accessKeyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// claim is who a request says it comes from; verify proves it.
type claim struct {
	sigv4.Authorization
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
	a, err := sigv4.Parse(header[0])
	if err != nil {
		return nil, fail("IncompleteSignatureException", "%v", err)
	}
	at, err := time.Parse(sigv4.DateLayout, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, fail("IncompleteSignatureException", "X-Amz-Date must look like %s", sigv4.DateLayout)
	}
	if !slices.Contains(a.SignedHeaders, "host") {
		return nil, fail("InvalidSignatureException", "'host' must be a signed header")
	}
	if !a.AllSigned(r) {
		return nil, fail("InvalidSignatureException", "each x-amz-* header of the request must be a signed header")
	}
	if a.Region != s.region || a.Service != "kms" {
		return nil, fail("InvalidSignatureException", "Credential should be scoped to the region '%s' and the service 'kms'", s.region)
	}
	if a.Date != at.Format("20060102") {
		return nil, fail("InvalidSignatureException", "the date in Credential doesn't match X-Amz-Date")
	}
	if skew := s.now().Sub(at); skew > maxSkew || skew < -maxSkew {
		return nil, fail("InvalidSignatureException", "Signature expired or not yet current: X-Amz-Date is more than %v from the server's clock", maxSkew)
	}
	credential, known := s.credentials[a.AccessKeyID]
	if !known || r.Header.Get("X-Amz-Security-Token") != "" {
		// The stack has no temporary credentials, so any token is a wrong one.
		return nil, fail("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	return &claim{Authorization: a, credential: credential, at: at}, nil
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
	sent := *r
	sent.ContentLength = int64(len(body))
	if !c.Matches(&sent, c.credential.SecretAccessKey, payload, c.at) {
		return mismatch
	}
	return nil
}
