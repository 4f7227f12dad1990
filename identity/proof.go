package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

var b64 = base64.RawURLEncoding.Strict()

// Leeway is how far an identity provider's clock may be from ours.
const Leeway = 60 * time.Second

// Facts are what a checked proof says, of a decision or of what else was bound to a person, with everything that is needed to check it again without a network.
type Facts struct {
	Actor     countersign.Actor `json:"actor"`
	Assurance int               `json:"assurance"` // 1: an ID token bound to this alone
	AuthTime  time.Time         `json:"authTime"`
	ACR       string            `json:"acr,omitempty"`
	AMR       []string          `json:"amr,omitempty"`
	IssuedAt  time.Time         `json:"issuedAt"`
	Key       json.RawMessage   `json:"key"` // the issuer's public key that the token verifies with, as a JWK

	// EnrolledKey is the enrolled key that signed the same digest, where there was one. Who checked it also says which assurance that makes.
	EnrolledKey *KeyUse `json:"enrolledKey,omitempty"`
}

// Bound is what an ID token was fetched for, and nothing else: it is bound by its digest, which is the token's nonce.
type Bound struct {
	Digest   string            // 64 lower-case hex digits
	Actor    countersign.Actor // whose ID token it must be
	IssuedAt int64             // seconds since 1970, UTC: the person must have logged in after it was put to them
	What     string            // the word for it in messages: decision, enrolment, grant, acceptance
}

// VerifyProof checks that a decision was made by its actor: an ID token of the actor's own, trusted issuer, fetched for
// this decision alone. What is wrong with the proof comes back as a *countersign.Refusal; any other error is an issuer that could not be
// asked and may be tried again. It doesn't look at p.Key: whoever has the key's enrolment asks VerifyKeyProof.
func (r *Registry) VerifyProof(ctx context.Context, d countersign.Decision, p countersign.Proof, now time.Time) (Facts, error) {
	what, err := decided(d)
	if err != nil {
		return Facts{}, err
	}
	return r.VerifyBound(ctx, what, p.IDToken, now)
}

func decided(d countersign.Decision) (Bound, error) {
	digest, err := d.Digest()
	return DecisionBound(d, digest), err
}

// DecisionBound is what the proof of a decision is bound to: the digest must be the decision's.
func DecisionBound(d countersign.Decision, digest string) Bound {
	return Bound{Digest: digest, Actor: d.Actor, IssuedAt: d.IssuedAt, What: "decision"}
}

// VerifyBound checks that an ID token was fetched by its actor for this alone, and from an issuer that the tenant trusts. Its errors are those of
// VerifyProof, with the same codes whatever is bound.
func (r *Registry) VerifyBound(ctx context.Context, what Bound, idToken string, now time.Time) (Facts, error) {
	h, iss, refusal := peek(idToken)
	if refusal != nil {
		return Facts{}, refusal
	}
	issuer, ok := r.Issuer(iss)
	if !ok {
		return Facts{}, countersign.Refuse("token-issuer", "the token is of %q, which this tenant doesn't trust", clip(iss))
	}
	key, err := r.key(ctx, issuer.URL, h.KeyID)
	if err != nil {
		return Facts{}, err
	}
	return verifyBound(ctx, what, idToken, issuer, key, now)
}

// VerifyArchivedBound is VerifyBound without a network: with the issuer as the tenant had registered it, the key that was archived, and as of the instant when the
// proof was first checked.
func VerifyArchivedBound(what Bound, idToken string, issuer countersign.Issuer, jwk json.RawMessage, at time.Time) (Facts, error) {
	_, iss, refusal := peek(idToken)
	if refusal != nil {
		return Facts{}, refusal
	}
	if iss != issuer.URL {
		return Facts{}, countersign.Refuse("token-issuer", "the token is of %q, not of the archived issuer %s", clip(iss), issuer.URL)
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(jwk); err != nil {
		return Facts{}, fmt.Errorf("couldn't read the archived key: %w", err)
	}
	return verifyBound(context.Background(), what, idToken, issuer, key, at)
}

func verifyBound(ctx context.Context, what Bound, idToken string, issuer countersign.Issuer, key jose.JSONWebKey, now time.Time) (Facts, error) {
	// A token can have an empty nonce and no subject. They must not fit what a caller left empty.
	if _, ok := digestBytes(what.Digest); !ok || what.Actor.Issuer == "" || what.Actor.Subject == "" || what.What == "" {
		return Facts{}, errors.New("couldn't check the token: what it is to prove has no digest, no actor or no name")
	}
	token, refusal := verify(ctx, idToken, issuer, issuer.EvidenceAudience, key, now)
	if refusal != nil {
		return Facts{}, refusal
	}
	var claims struct {
		Nonce    string   `json:"nonce"`
		AuthTime int64    `json:"auth_time"`
		ACR      string   `json:"acr"`
		AMR      []string `json:"amr"`
		AZP      string   `json:"azp"`
	}
	if err := token.Claims(&claims); err != nil {
		return Facts{}, countersign.Refuse("token-malformed", "the token's claims can't be read")
	}
	issued, auth := token.IssuedAt, time.Unix(claims.AuthTime, 0)
	put := time.Unix(what.IssuedAt, 0)
	switch {
	case subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(what.Digest)) != 1:
		return Facts{}, countersign.Refuse("token-other-decision", "the token was not issued for this %s: its nonce is not the %[1]s's digest", what.What)
	case len(token.Audience) != 1:
		return Facts{}, countersign.Refuse("token-audience", "the token has more audiences than evidence")
	case claims.AZP != "" && claims.AZP != issuer.EvidenceAudience:
		return Facts{}, countersign.Refuse("token-audience", "the token was issued to another client")
	case token.Issuer != what.Actor.Issuer || token.Subject != what.Actor.Subject:
		return Facts{}, countersign.Refuse("token-other-person", "the token is of another person than the %s names", what.What)
	case issued.After(now.Add(Leeway)):
		return Facts{}, countersign.Refuse("token-not-yet", "the token is from the future (%s)", issued.UTC().Format(time.RFC3339))
	case claims.AuthTime == 0:
		return Facts{}, countersign.Refuse("token-not-fresh", "the token doesn't say when the person logged in (auth_time)")
	case auth.After(now.Add(Leeway)):
		return Facts{}, countersign.Refuse("token-not-fresh", "the login is from the future (%s)", auth.UTC().Format(time.RFC3339))
	case auth.Before(put.Add(-Leeway)):
		return Facts{}, countersign.Refuse("token-not-fresh", "the person logged in at %s, before the %s was put to them; a fresh login is needed", auth.UTC().Format(time.RFC3339), what.What)
	}
	public, err := json.Marshal(key)
	if err != nil {
		return Facts{}, fmt.Errorf("couldn't write the issuer's key: %w", err)
	}
	return Facts{
		Actor: countersign.Actor{Issuer: token.Issuer, Subject: token.Subject}, Assurance: 1,
		AuthTime: auth.UTC(), ACR: claims.ACR, AMR: claims.AMR, IssuedAt: issued.UTC(), Key: public,
	}, nil
}

// digestBytes are the 32 bytes of a digest that is written as this product writes one: 64 lower-case hex digits.
func digestBytes(digest string) ([]byte, bool) {
	raw, err := hex.DecodeString(digest)
	return raw, err == nil && len(raw) == sha256.Size && hex.EncodeToString(raw) == digest
}

// VerifyBearer checks the access token by which somebody reaches the service, and names them. A token made to prove a
// decision is never accepted here.
func (r *Registry) VerifyBearer(ctx context.Context, raw string, now time.Time) (countersign.Actor, error) {
	h, iss, refusal := peek(raw)
	if refusal != nil {
		return countersign.Actor{}, refusal
	}
	issuer, ok := r.Issuer(iss)
	if !ok {
		return countersign.Actor{}, countersign.Refuse("token-issuer", "the token is of %q, which this tenant doesn't trust", clip(iss))
	}
	key, err := r.key(ctx, issuer.URL, h.KeyID)
	if unknown := (*unknownKey)(nil); errors.As(err, &unknown) {
		return countersign.Actor{}, unknown.refusal
	}
	if err != nil {
		return countersign.Actor{}, err
	}
	token, refusal := verify(ctx, raw, issuer, issuer.Audience, key, now)
	if refusal != nil {
		return countersign.Actor{}, refusal
	}
	if err := notForEvidence(token, issuer); err != nil {
		return countersign.Actor{}, err
	}
	if token.Subject == "" || len(token.Subject) > 255 {
		return countersign.Actor{}, countersign.Refuse("token-malformed", "the token names nobody (sub)")
	}
	return countersign.Actor{Issuer: token.Issuer, Subject: token.Subject}, nil
}

// notForEvidence refuses what proves something and must not open anything: a token with the evidence audience, and any ID
// token, which says who logged in and is not meant for a service (OpenID Connect Core 1.0, section 2; RFC 9068, section 5).
func notForEvidence(token *oidc.IDToken, issuer countersign.Issuer) error {
	var claims struct {
		Nonce  *string `json:"nonce"`
		AtHash *string `json:"at_hash"`
	}
	if err := token.Claims(&claims); err != nil || claims.Nonce != nil || claims.AtHash != nil {
		return countersign.Refuse("token-not-access", "this is an ID token; an access token is needed")
	}
	for _, a := range token.Audience {
		if a == issuer.EvidenceAudience {
			return countersign.Refuse("token-audience", "the token proves a decision; it logs nobody in")
		}
	}
	return nil
}
