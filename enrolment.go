package countersign

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// The kinds of key that a person may enrol.
const (
	KeyPasskey = "passkey" // a WebAuthn credential: it signs only where its owner was verified (Web Authentication Level 3)
	KeyDevice  = "device"  // a key of a command line: it signs a JWS (RFC 7515)
)

// Enrolment binds a public key to one person for one tenant. It is proven twice: by an ID token of the person's own identity provider
// whose nonce is the enrolment's digest, and by a signature of the key itself over the same digest.
type Enrolment struct {
	V          int      `json:"v"`
	Tenant     string   `json:"tenant"`
	Actor      Actor    `json:"actor"`
	Kind       string   `json:"kind" enum:"passkey,device"`
	Credential string   `json:"credential" doc:"Base64url: a passkey's credential id, or the SHA-256 thumbprint of a device key (RFC 7638)."`
	PublicKey  string   `json:"publicKey" doc:"Base64url: a passkey's COSE_Key (RFC 9052), or a device key's JWK (RFC 7517) as JSON."`
	RelyingID  string   `json:"relyingParty,omitempty" doc:"A passkey's relying party id."`
	Origins    []string `json:"origins,omitempty" doc:"The origins whose pages may ask a passkey."`
	IssuedAt   int64    `json:"iat"` // seconds since 1970, UTC
	ExpiresAt  int64    `json:"exp"` // of the offer to enrol, not of the key; half-open
}

// Bounds on an enrolled key.
const (
	maxCredential   = 1023 // bytes: Web Authentication Level 3, section 4
	maxPublicKey    = 2048 // bytes
	maxOrigins      = 10
	maxOriginLength = 255
)

// Digest is SHA-256("countersign enrolment v1\0" ‖ RFC 8785 JSON), in hex: the nonce of the proof and the challenge of the key.
func (e Enrolment) Digest() (string, error) { return Digest("countersign enrolment v1", e) }

// KeyID names the key: SHA-256 of the credential, in hex. Whoever enrols the same key a second time meets the first enrolment's name.
func (e Enrolment) KeyID() (string, error) {
	raw, err := decodeBase64URL("credential", e.Credential, maxCredential)
	if err != nil {
		return "", err
	}
	return SHA256(raw), nil
}

// Check finds what is wrong with the enrolment itself, without asking anybody.
func (e Enrolment) Check() error {
	if e.V != Version {
		return fmt.Errorf("enrolment: v is %d, this build reads %d", e.V, Version)
	}
	if err := CheckTenantID(e.Tenant); err != nil {
		return err
	}
	if e.Actor.Issuer == "" || e.Actor.Subject == "" {
		return errors.New("enrolment: actor needs iss and sub")
	}
	if _, err := e.KeyID(); err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	if _, err := decodeBase64URL("publicKey", e.PublicKey, maxPublicKey); err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	switch {
	case e.Kind != KeyPasskey && e.Kind != KeyDevice:
		return fmt.Errorf("enrolment: kind %q is neither passkey nor device", clip(e.Kind))
	case e.Kind == KeyPasskey && (e.RelyingID == "" || len(e.Origins) == 0):
		return errors.New("enrolment: a passkey needs its relying party and the origins that may ask it")
	case e.Kind == KeyDevice && (e.RelyingID != "" || len(e.Origins) > 0):
		return errors.New("enrolment: a device key has neither relying party nor origins")
	case len(e.RelyingID) > maxOriginLength || len(e.Origins) > maxOrigins:
		return fmt.Errorf("enrolment: at most %d origins, and %d characters", maxOrigins, maxOriginLength)
	}
	for _, origin := range e.Origins {
		if len(origin) > maxOriginLength {
			return fmt.Errorf("enrolment: an origin has more than %d characters", maxOriginLength)
		}
	}
	return checkLife("enrolment", e.IssuedAt, e.ExpiresAt, MaxDecisionLife)
}

// SignedEnrolment is the input of the workflow that keeps a key.
type SignedEnrolment struct {
	Enrolment  Enrolment `json:"enrolment"`
	Proof      Proof     `json:"proof"`      // an ID token alone: it says who the person is
	Possession KeyProof  `json:"possession"` // of the key, over the enrolment's digest
}

// KeyProof is a signature of an enrolled key over one digest.
type KeyProof struct {
	Key               string `json:"key" doc:"The key's id: SHA-256 of its credential, in hex."`
	Signature         string `json:"signature" doc:"A passkey's signature in base64url, or a device key's compact JWS."`
	AuthenticatorData string `json:"authenticatorData,omitempty" doc:"A passkey's authenticator data, base64url."`
	ClientData        string `json:"clientDataJSON,omitempty" doc:"A passkey's client data, base64url."`
}

// MaxKeyProof bounds each part of a key's proof, in characters.
const MaxKeyProof = 4 << 10

// Check finds what is wrong with the proof itself.
func (p KeyProof) Check() error {
	switch {
	case !isDigest(p.Key):
		return errors.New("key proof: key must be the 64 hex digits of a key's id")
	case p.Signature == "":
		return errors.New("key proof: there is no signature")
	case len(p.Signature) > MaxKeyProof || len(p.AuthenticatorData) > MaxKeyProof || len(p.ClientData) > MaxKeyProof:
		return fmt.Errorf("key proof: a part has more than %d characters", MaxKeyProof)
	}
	return nil
}

// Retirement is the payload of the retire signal: the key counts no longer. The server's stamp on the signal says who retired it.
type Retirement struct {
	ID     string `json:"id" doc:"The caller's id of this retirement, for duplicates."`
	Reason string `json:"reason" doc:"Why: lost, replaced, left."`
}

// Check finds what is wrong with the retirement itself.
func (r Retirement) Check() error { return Withdrawal(r).Check() }

// checkLife bounds a half-open window of seconds since 1970.
func checkLife(what string, issued, expires int64, longest time.Duration) error {
	if issued < 0 || expires > 1<<53-1 {
		return fmt.Errorf("%s: times must be seconds since 1970 that every JSON reader keeps (0 to 2^53-1)", what)
	}
	if expires <= issued || expires-issued > int64(longest/time.Second) {
		return fmt.Errorf("%s: exp must be after iat and at most %s later", what, longest)
	}
	return nil
}

func decodeBase64URL(field, s string, most int) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) == 0 || len(raw) > most {
		return nil, fmt.Errorf("%s: must be 1 to %d bytes in base64url without padding", field, most)
	}
	return raw, nil
}
