package awsgate

import (
	"net/http"
	"time"

	"github.com/countersign-dev/countersign/infra/sigv4"
)

// maxSkew is how far a request's date may be from our clock; S3 takes as much.
const maxSkew = 15 * time.Minute

// fault is why a caller isn't known, with a code of S3 and one of KMS.
type fault struct{ s3, kms, message string }

func (f *fault) Error() string { return f.message }

var (
	faultAnonymous = &fault{"AccessDenied", "MissingAuthenticationTokenException", "the request isn't signed with AWS Signature Version 4 in its Authorization header"}
	faultMalformed = &fault{"AuthorizationHeaderMalformed", "IncompleteSignatureException", "the request needs one Authorization, one X-Amz-Date and at most one X-Amz-Content-Sha256 header, as AWS Signature Version 4 has them"}
	faultUnknown   = &fault{"InvalidAccessKeyId", "UnrecognizedClientException", "The security token included in the request is invalid."}
	faultMismatch  = &fault{"SignatureDoesNotMatch", "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."}
	faultSkewed    = &fault{"RequestTimeTooSkewed", "InvalidSignatureException", "Signature expired or not yet current: the request's date is too far from the server's clock"}
)

// caller finds out whose request it is. The payload's hash is the one that was signed; who trusts the body compares it.
func (g *Gate) caller(r *http.Request, service, payloadHash string) (session, *fault) {
	header := r.Header.Values("Authorization")
	if len(header) == 0 {
		return session{}, faultAnonymous
	}
	if len(header) != 1 || len(r.Header.Values("X-Amz-Date")) != 1 || len(r.Header.Values("X-Amz-Content-Sha256")) > 1 || r.URL.Query().Has("X-Amz-Algorithm") {
		return session{}, faultMalformed
	}
	a, err := sigv4.Parse(header[0])
	if err != nil {
		return session{}, faultMalformed
	}
	at, err := time.Parse(sigv4.DateLayout, r.Header.Get("X-Amz-Date"))
	if err != nil || a.Date != at.Format("20060102") || a.Region != g.region || a.Service != service || !a.AllSigned(r) {
		return session{}, faultMalformed
	}
	if skew := g.now().Sub(at); skew > maxSkew || skew < -maxSkew {
		return session{}, faultSkewed
	}
	// The stack has no temporary credentials, so any token is a wrong one.
	s, known := g.callers[a.AccessKeyID]
	if !known || r.Header.Get("X-Amz-Security-Token") != "" {
		return session{}, faultUnknown
	}
	if !a.Matches(r, s.SecretAccessKey, payloadHash, at) {
		return session{}, faultMismatch
	}
	return s, nil
}
