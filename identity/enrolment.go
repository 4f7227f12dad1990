package identity

import (
	"context"
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
)

// VerifyEnrolment checks that a person enrols a key of their own: an ID token of that person's that was fetched for this enrolment alone, and a
// signature of the key itself over the same digest. The enrolment must be open: it ends with the second that exp names. Errors are those of
// VerifyProof and VerifyKeyProof, and the refusals malformed and enrolment-expired.
func (r *Registry) VerifyEnrolment(ctx context.Context, s countersign.SignedEnrolment, now time.Time) (Facts, KeyUse, error) {
	return verifyEnrolment(s, now, func(what Bound) (Facts, error) { return r.VerifyBound(ctx, what, s.Proof.IDToken, now) })
}

// VerifyArchivedEnrolment is the same check without a network: with the issuer as the tenant had registered it, the issuer's key that was
// archived, and as of the instant when the enrolment was first checked.
func VerifyArchivedEnrolment(s countersign.SignedEnrolment, issuer countersign.Issuer, jwk json.RawMessage, at time.Time) (Facts, KeyUse, error) {
	return verifyEnrolment(s, at, func(what Bound) (Facts, error) { return VerifyArchivedBound(what, s.Proof.IDToken, issuer, jwk, at) })
}

func verifyEnrolment(s countersign.SignedEnrolment, now time.Time, verify func(Bound) (Facts, error)) (Facts, KeyUse, error) {
	e := s.Enrolment
	if err := e.Check(); err != nil {
		return Facts{}, KeyUse{}, countersign.Refuse("malformed", "%s", err)
	}
	if s.Proof.Key != nil {
		return Facts{}, KeyUse{}, countersign.Refuse("malformed", "enrolment: its proof is an ID token alone; the new key's signature is its possession")
	}
	if now.Unix() >= e.ExpiresAt {
		return Facts{}, KeyUse{}, countersign.Refuse("enrolment-expired", "the enrolment expired at %s; begin it again", time.Unix(e.ExpiresAt, 0).UTC().Format(time.RFC3339))
	}
	digest, err := e.Digest()
	if err != nil {
		return Facts{}, KeyUse{}, err
	}
	// The key first: it costs nobody a request.
	use, refusal := VerifyKeyProof(digest, s.Possession, e)
	if refusal != nil {
		return Facts{}, KeyUse{}, refusal
	}
	facts, err := verify(Bound{Digest: digest, Actor: e.Actor, IssuedAt: e.IssuedAt, What: "enrolment"})
	if err != nil {
		return Facts{}, KeyUse{}, err
	}
	return facts, use, nil
}
