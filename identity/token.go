package identity

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// MaxToken bounds a token, in bytes.
const MaxToken = 16 << 10

// algorithms are those that a token may be signed with: asymmetric, and no weaker than 112 bit (NIST SP 800-57).
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.RS384, jose.PS256, jose.PS384, jose.EdDSA}

var algorithmNames = func() (names []string) {
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return names
}()

// header is the protected header of a token, with what we refuse to follow.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// peek reads a token's header and issuer without believing them, and refuses what no token of ours may carry.
func peek(raw string) (header, string, *countersign.Refusal) {
	if len(raw) == 0 {
		return header{}, "", countersign.Refuse("token-missing", "there is no token")
	}
	if len(raw) > MaxToken {
		return header{}, "", countersign.Refuse("token-too-large", "the token has %d bytes, at most %d", len(raw), MaxToken)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return header{}, "", countersign.Refuse("token-malformed", "the token is not a signed JWT (three parts with dots)")
	}
	var h header
	var fields map[string]json.RawMessage
	rawHeader, err := decodeSegment(parts[0])
	if err != nil || json.Unmarshal(rawHeader, &fields) != nil || json.Unmarshal(rawHeader, &h) != nil {
		return header{}, "", countersign.Refuse("token-malformed", "the token's header is not JSON")
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"} {
		if _, ok := fields[name]; ok {
			return header{}, "", countersign.Refuse("token-header", "the token's header has %q: keys come from the registered issuer alone, and nothing critical is understood", name)
		}
	}
	known := false
	for _, a := range algorithmNames {
		known = known || a == h.Algorithm
	}
	if !known {
		return header{}, "", countersign.Refuse("token-algorithm", "the token is signed with %q; accepted are %s", clip(h.Algorithm), strings.Join(algorithmNames, ", "))
	}
	if h.KeyID == "" {
		return header{}, "", countersign.Refuse("token-no-kid", "the token's header names no key (kid)")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	body, err := decodeSegment(parts[1])
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return header{}, "", countersign.Refuse("token-malformed", "the token's claims are not JSON")
	}
	return h, claims.Issuer, nil
}

// verify checks signature, issuer, audience and validity as of now, with one key.
func verify(ctx context.Context, raw string, issuer countersign.Issuer, audience string, key jose.JSONWebKey, now time.Time) (*oidc.IDToken, *countersign.Refusal) {
	if !key.IsPublic() || !key.Valid() {
		return nil, countersign.Refuse("token-foreign-key", "the issuer's key can't be used")
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return nil, countersign.Refuse("token-foreign-key", "the issuer's RSA key has %d bits; the least is 2048", k.N.BitLen())
	}
	if key.Use != "" && key.Use != "sig" {
		return nil, countersign.Refuse("token-foreign-key", "the issuer's key is not for signing")
	}
	verifier := oidc.NewVerifier(issuer.URL, pinned{key}, &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: algorithmNames, Now: func() time.Time { return now },
	})
	token, err := verifier.Verify(ctx, raw)
	if err == nil {
		return token, inForce(token, now)
	}
	var expired *oidc.TokenExpiredError
	switch text := err.Error(); {
	case errors.As(err, &expired):
		return nil, countersign.Refuse("token-expired", "the token expired at %s", expired.Expiry.UTC().Format(time.RFC3339))
	case strings.Contains(text, "expected audience"):
		return nil, countersign.Refuse("token-audience", "the token is not meant for %q", audience)
	case strings.Contains(text, "nbf"), strings.Contains(text, "before"):
		return nil, countersign.Refuse("token-not-yet", "the token is not valid yet")
	case strings.Contains(text, "issued by a different provider"):
		return nil, countersign.Refuse("token-issuer", "the token is of another issuer")
	case strings.Contains(text, "signature"):
		return nil, countersign.Refuse("token-signature", "the token's signature is not of a key of %s", issuer.URL)
	default:
		return nil, countersign.Refuse("token-malformed", "the token can't be read as a JWT of %s", issuer.URL)
	}
}

// inForce is stricter than the library: exp is half-open (RFC 7519, section 4.1.4) and nbf has our leeway, not five minutes.
func inForce(token *oidc.IDToken, now time.Time) *countersign.Refusal {
	var claims struct {
		NotBefore float64 `json:"nbf"`
	}
	if err := token.Claims(&claims); err != nil {
		return countersign.Refuse("token-malformed", "the token's claims can't be read")
	}
	switch {
	case !now.Before(token.Expiry):
		return countersign.Refuse("token-expired", "the token expired at %s", token.Expiry.UTC().Format(time.RFC3339))
	case claims.NotBefore > float64(now.Add(Leeway).Unix()):
		return countersign.Refuse("token-not-yet", "the token is not valid yet")
	}
	return nil
}

// pinned is a key set of exactly one key, whose algorithm must be the token's.
type pinned struct{ key jose.JSONWebKey }

func (p pinned) VerifySignature(_ context.Context, raw string) ([]byte, error) {
	// The library takes base64 whose last character has bits that say nothing. A token has one form, or a copy of it would be another one.
	for part := range strings.SplitSeq(raw, ".") {
		if _, err := decodeSegment(part); err != nil {
			return nil, errors.New("the token is not in its one form")
		}
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, err
	}
	if p.key.Algorithm != "" && p.key.Algorithm != jws.Signatures[0].Header.Algorithm {
		return nil, errors.New("signature algorithm is not the key's")
	}
	return jws.Verify(p.key.Key)
}

func decodeSegment(s string) ([]byte, error) { return b64.DecodeString(s) }
