package identity

import (
	"crypto/subtle"

	"github.com/countersign-dev/countersign"
)

// KeyUse is what a checked proof of an enrolled key says.
type KeyUse struct {
	Key          string `json:"key"`          // the key's id, see countersign.Enrolment.KeyID
	Kind         string `json:"kind"`         // countersign.KeyPasskey or KeyDevice
	Counter      uint32 `json:"counter"`      // a passkey's signature counter (Web Authentication Level 3, section 6.1.1), 0 where it keeps none; 0 for a device key
	UserVerified bool   `json:"userVerified"` // the authenticator itself knew its owner, by PIN or biometrics: always for a passkey, never for a device key
}

// VerifyKeyProof checks that an enrolled key signed one digest (64 lower-case hex digits), and nothing else: for a passkey by an assertion
// (Web Authentication Level 3, section 7.2), for a device key by a JWS (RFC 7515). It asks nobody and no clock, so it gives the same
// answer in ten years. It doesn't compare counters: only who keeps the last one can.
//
// The refusal's code is key-malformed, key-other, key-algorithm, key-other-decision, key-origin, key-relying-party, key-not-verified or
// key-signature.
func VerifyKeyProof(digest string, p countersign.KeyProof, e countersign.Enrolment) (KeyUse, *countersign.Refusal) {
	challenge, ok := digestBytes(digest)
	if !ok {
		return KeyUse{}, malformed("what the key is to prove is not named by 64 hex digits")
	}
	if err := p.Check(); err != nil {
		return KeyUse{}, malformed("%s", err)
	}
	if err := e.Check(); err != nil {
		return KeyUse{}, malformed("the key can't be used: %s; enrol it again", err)
	}
	id, err := e.KeyID()
	if err != nil {
		return KeyUse{}, malformed("the key can't be used: %s; enrol it again", err)
	}
	if subtle.ConstantTimeCompare([]byte(p.Key), []byte(id)) != 1 {
		return KeyUse{}, countersign.Refuse("key-other", "the proof names another key than the enrolled one: sign with the key that was enrolled")
	}
	use := KeyUse{Key: id, Kind: e.Kind}
	var refusal *countersign.Refusal
	switch e.Kind {
	case countersign.KeyPasskey:
		use.Counter, refusal = verifyPasskey(challenge, p, e)
		use.UserVerified = true
	case countersign.KeyDevice:
		refusal = verifyDevice(digest, p, e)
	default:
		refusal = malformed("the key is neither a passkey nor a device key")
	}
	if refusal != nil {
		return KeyUse{}, refusal
	}
	return use, nil
}

func malformed(format string, args ...any) *countersign.Refusal {
	return countersign.Refuse("key-malformed", format, args...)
}

// decodeExact reads base64url without padding that is written in the one way it can be. Go's own strict mode still skips line breaks.
func decodeExact(s string) ([]byte, bool) {
	raw, err := b64.DecodeString(s)
	return raw, err == nil && len(raw) > 0 && b64.EncodeToString(raw) == s
}
