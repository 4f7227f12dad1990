package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/descope/virtualwebauthn"
)

// The page that asks passkeys; the stack's tenant files name both.
const (
	relyingParty = "localhost"
	origin       = "http://localhost:8080"
)

// passkey is an authenticator in software, whose owner is verified at each use.
type passkey struct {
	party      virtualwebauthn.RelyingParty
	device     virtualwebauthn.Authenticator
	credential virtualwebauthn.Credential
	publicKey  []byte // COSE_Key (RFC 9052)
}

// keyProof is a passkey's signature over one digest, as the API takes it.
type keyProof struct {
	Key               string `json:"key"`
	Signature         string `json:"signature"`
	AuthenticatorData string `json:"authenticatorData"`
	ClientData        string `json:"clientDataJSON"`
}

func newPasskey() *passkey {
	credential := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	// The library drops leading zeros of a coordinate, which no COSE_Key may (RFC 9053, section 7.1.1). A whole key has 77 bytes.
	for len(credential.Key.AttestationData()) != 77 {
		credential = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return &passkey{
		party:  virtualwebauthn.RelyingParty{ID: relyingParty, Name: relyingParty, Origin: origin},
		device: virtualwebauthn.NewAuthenticator(), credential: credential, publicKey: credential.Key.AttestationData(),
	}
}

// enrolment is the offer to enrol the passkey as somebody's, open for five minutes.
func (p *passkey) enrolment(who actor, now time.Time) map[string]any {
	return map[string]any{
		"v": 1, "tenant": "acme", "actor": who, "kind": "passkey",
		"credential": base64.RawURLEncoding.EncodeToString(p.credential.ID), "publicKey": base64.RawURLEncoding.EncodeToString(p.publicKey),
		"relyingParty": relyingParty, "origins": []string{origin}, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
}

// sign is the answer to navigator.credentials.get with the digest's bytes as challenge.
func (p *passkey) sign(digest string) (keyProof, error) {
	challenge, err := hex.DecodeString(digest)
	if err != nil || len(challenge) != sha256.Size {
		return keyProof{}, fmt.Errorf("couldn't sign %q: it is no digest", digest)
	}
	answer := virtualwebauthn.CreateAssertionResponse(p.party, p.device, p.credential, virtualwebauthn.AssertionOptions{Challenge: challenge, RelyingPartyID: relyingParty})
	var assertion struct{ Response keyProof }
	if err := json.Unmarshal([]byte(answer), &assertion); err != nil {
		return keyProof{}, fmt.Errorf("couldn't read the authenticator's answer: %w", err)
	}
	id := sha256.Sum256(p.credential.ID)
	assertion.Response.Key = hex.EncodeToString(id[:])
	return assertion.Response, nil
}
