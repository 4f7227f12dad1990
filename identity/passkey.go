package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"math/big"
	"slices"

	strict "github.com/go-json-experiment/json"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/countersign-dev/countersign"
)

// minRSA is the least modulus of a passkey, in bits (NIST SP 800-57).
const minRSA = 2048

// verifyPasskey checks an assertion as Web Authentication Level 3, section 7.2, asks, and stricter: user verification is
// required, frames of other origins are not taken, and an origin is compared byte by byte. It returns the signature counter.
func verifyPasskey(challenge []byte, p countersign.KeyProof, e countersign.Enrolment) (uint32, *countersign.Refusal) {
	key, refusal := passkeyKey(e.PublicKey)
	if refusal != nil {
		return 0, refusal
	}
	signature, ok := decodeExact(p.Signature)
	if !ok {
		return 0, malformed("the passkey's signature is not base64url without padding")
	}
	clientData, ok := decodeExact(p.ClientData)
	if !ok {
		return 0, malformed("the passkey's clientDataJSON is missing or not base64url without padding")
	}
	authenticatorData, ok := decodeExact(p.AuthenticatorData)
	if !ok {
		return 0, malformed("the passkey's authenticatorData is missing or not base64url without padding")
	}
	if refusal := checkClientData(clientData, challenge, e.Origins); refusal != nil {
		return 0, refusal
	}
	counter, refusal := checkAuthenticatorData(authenticatorData, e.RelyingID)
	if refusal != nil {
		return 0, refusal
	}
	hash := sha256.Sum256(clientData)
	if good, err := webauthncose.VerifySignature(key, append(authenticatorData, hash[:]...), signature); err != nil || !good {
		return 0, countersign.Refuse("key-signature", "the signature is not of the enrolled passkey over these data")
	}
	return counter, nil
}

// checkClientData says what the browser saw. Members that nobody knows are allowed: browsers add some on purpose (section 5.8.1). Doubled ones
// are not, because two readers could take one each.
func checkClientData(raw, challenge []byte, origins []string) *countersign.Refusal {
	var c protocol.CollectedClientData
	if err := strict.Unmarshal(raw, &c); err != nil {
		return malformed("the passkey's clientDataJSON is not the JSON that a browser writes")
	}
	switch {
	case c.Type != protocol.AssertCeremony:
		return malformed("the passkey was asked for %q; ask it for %q", clip(string(c.Type)), protocol.AssertCeremony)
	case subtle.ConstantTimeCompare([]byte(c.Challenge), []byte(b64.EncodeToString(challenge))) != 1:
		return countersign.Refuse("key-other-decision", "the passkey signed something else: its challenge must be the 32 bytes of this digest")
	case !slices.Contains(origins, c.Origin):
		return countersign.Refuse("key-origin", "the passkey was asked by a page of %q, which its owner did not enrol it for", clip(c.Origin))
	case c.CrossOrigin || c.TopOrigin != "":
		return countersign.Refuse("key-origin", "the passkey was asked by a page in another site's frame; open the page itself")
	}
	return nil
}

// checkAuthenticatorData says what the authenticator did (section 6.1), and returns its counter.
func checkAuthenticatorData(raw []byte, relyingID string) (uint32, *countersign.Refusal) {
	var a protocol.AuthenticatorData
	if err := a.Unmarshal(raw); err != nil {
		return 0, malformed("the passkey's authenticatorData can't be read")
	}
	want := sha256.Sum256([]byte(relyingID))
	switch {
	case a.Flags.HasAttestedCredentialData():
		return 0, malformed("the passkey's authenticatorData makes a new key; an assertion must not carry attested credential data")
	case a.Flags.HasBackupState() && !a.Flags.HasBackupEligible():
		return 0, malformed("the passkey's authenticatorData says that a key is backed up that can't be")
	case subtle.ConstantTimeCompare(a.RPIDHash, want[:]) != 1:
		return 0, countersign.Refuse("key-relying-party", "the passkey signed for another relying party than %q", clip(relyingID))
	case !a.Flags.HasUserPresent() || !a.Flags.HasUserVerified():
		return 0, countersign.Refuse("key-not-verified", "the authenticator didn't verify its owner: ask for userVerification \"required\", and unlock it with PIN, face or finger")
	}
	return a.Counter, nil
}

// passkeyKey reads a COSE_Key (RFC 9052, section 7) of an algorithm that we take. It must be written as section 6.5.2 demands: in the
// canonical form of CTAP2, and with nothing beside the public key.
func passkeyKey(encoded string) (any, *countersign.Refusal) {
	raw, ok := decodeExact(encoded)
	if !ok {
		return nil, malformed("the passkey's public key is not base64url without padding; enrol it again")
	}
	var kind webauthncose.PublicKeyData
	if err := webauthncbor.Unmarshal(raw, &kind); err != nil {
		return nil, malformed("the passkey's public key is not one COSE_Key; enrol it again")
	}
	switch webauthncose.COSEAlgorithmIdentifier(kind.Algorithm) {
	case webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256:
	default:
		return nil, countersign.Refuse("key-algorithm", "the passkey signs with COSE algorithm %d; accepted are -7 (ES256), -8 (EdDSA) and -257 (RS256)", kind.Algorithm)
	}
	key, err := webauthncose.ParsePublicKey(raw)
	if err != nil {
		return nil, malformed("the passkey's public key can't be used; enrol it again")
	}
	fits := false
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		fits = k.Algorithm == int64(webauthncose.AlgES256) && k.Curve == int64(webauthncose.P256)
	case webauthncose.OKPPublicKeyData:
		fits = k.Algorithm == int64(webauthncose.AlgEdDSA) && k.Curve == int64(webauthncose.Ed25519)
	case webauthncose.RSAPublicKeyData:
		fits = k.Algorithm == int64(webauthncose.AlgRS256) && new(big.Int).SetBytes(k.Modulus).BitLen() >= minRSA
	}
	if !fits {
		return nil, countersign.Refuse("key-algorithm", "the passkey's algorithm doesn't fit its key; accepted are ES256 on P-256, EdDSA on Ed25519, and RS256 with at least %d bits", minRSA)
	}
	if again, err := webauthncbor.Marshal(key); err != nil || !bytes.Equal(again, raw) {
		return nil, malformed("the passkey's public key has more in it than the key, or isn't in canonical form; enrol it as the authenticator gave it")
	}
	return key, nil
}
