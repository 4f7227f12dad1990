package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/subtle"
	"encoding/json"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// DeviceProofType is the typ of the JWS by which a device key proves one digest (RFC 7515, section 4.1.9): nothing else that the key could sign
// is taken for it.
const DeviceProofType = "countersign-proof+jws"

// DevicePayload is what a device key signs, as JSON.
type DevicePayload struct {
	Digest string `json:"digest"` // 64 lower-case hex digits
}

// verifyDevice checks a compact JWS whose header has alg, typ and kid and nothing else: no key, no address of one, and nothing critical.
func verifyDevice(digest string, p countersign.KeyProof, e countersign.Enrolment) *countersign.Refusal {
	if p.AuthenticatorData != "" || p.ClientData != "" {
		return malformed("a device key's proof is a JWS alone; leave authenticatorData and clientDataJSON out")
	}
	key, algorithm, refusal := deviceKey(e)
	if refusal != nil {
		return refusal
	}
	parts := strings.Split(p.Signature, ".")
	if len(parts) != 3 {
		return malformed("the device key's proof is not a compact JWS (three parts with dots)")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var ok bool
		if decoded[i], ok = decodeExact(part); !ok {
			return malformed("part %d of the device key's JWS is not base64url without padding", i+1)
		}
	}
	var h struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid"`
	}
	if err := countersign.ParseStrict(decoded[0], &h); err != nil {
		return malformed("the JWS's header must be JSON with alg, typ and kid, each once and nothing else")
	}
	var payload DevicePayload
	if err := countersign.ParseStrict(decoded[1], &payload); err != nil {
		return malformed("the JWS's payload must be JSON with digest, once and nothing else")
	}
	switch {
	case h.Type != DeviceProofType:
		return malformed("the JWS has the typ %q; a proof has %q", clip(h.Type), DeviceProofType)
	case h.Algorithm != string(algorithm):
		return countersign.Refuse("key-algorithm", "the JWS is signed with %q; the enrolled key signs with %s", clip(h.Algorithm), algorithm)
	case subtle.ConstantTimeCompare([]byte(h.KeyID), []byte(e.Credential)) != 1:
		return countersign.Refuse("key-other", "the JWS names another key (kid) than the enrolled one: sign with the key that was enrolled")
	case subtle.ConstantTimeCompare([]byte(payload.Digest), []byte(digest)) != 1:
		return countersign.Refuse("key-other-decision", "the device key signed something else: the payload must have this digest")
	}
	jws, err := jose.ParseSignedCompact(p.Signature, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return malformed("the device key's proof can't be read as a JWS")
	}
	if _, err := jws.Verify(key); err != nil {
		return countersign.Refuse("key-signature", "the signature is not of the enrolled device key over these data")
	}
	return nil
}

// deviceKey reads the enrolled key and says the one algorithm that fits it. The JWK (RFC 7517) has the members that make the key and no other, so
// that neither a private part nor a chain of certificates can hide in it.
func deviceKey(e countersign.Enrolment) (any, jose.SignatureAlgorithm, *countersign.Refusal) {
	raw, ok := decodeExact(e.PublicKey)
	if !ok {
		return nil, "", malformed("the device key's JWK is not base64url without padding; enrol it again")
	}
	type members struct {
		Type     string `json:"kty"`
		Curve    string `json:"crv"`
		X        string `json:"x"`
		Y        string `json:"y"`
		Modulus  string `json:"n"`
		Exponent string `json:"e"`
	}
	var given, again members
	if err := countersign.ParseStrict(raw, &given); err != nil {
		return nil, "", malformed("the device key's JWK must have the members of a public key (kty, crv, x, y) and nothing else; enrol it again")
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil || !key.IsPublic() || !key.Valid() {
		return nil, "", malformed("the device key's JWK is no public key; enrol it again")
	}
	canonical, err := key.MarshalJSON()
	if err != nil || json.Unmarshal(canonical, &again) != nil || again != given {
		return nil, "", malformed("the device key's JWK isn't written in the one way that RFC 7518, section 6, gives; enrol it again")
	}
	var algorithm jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			algorithm = jose.ES256
		case elliptic.P384():
			algorithm = jose.ES384
		}
	case ed25519.PublicKey:
		algorithm = jose.EdDSA
	}
	if algorithm == "" {
		return nil, "", countersign.Refuse("key-algorithm", "the device key must be ECDSA on P-256 or P-384, or Ed25519")
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, "", malformed("the device key's JWK has no thumbprint (RFC 7638)")
	}
	if subtle.ConstantTimeCompare([]byte(e.Credential), []byte(b64.EncodeToString(thumbprint))) != 1 {
		return nil, "", malformed("the credential is not the SHA-256 thumbprint (RFC 7638) of the device key; enrol it again")
	}
	return key.Key, algorithm, nil
}
