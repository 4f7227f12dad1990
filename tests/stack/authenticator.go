package stack

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/countersign-dev/countersign"
)

// enrolmentLife is how long the offer to enrol that an Authenticator makes is open.
const enrolmentLife = 5 * time.Minute

// Authenticator is the passkey of one person, in software: ES256, and its owner is verified until somebody switches that off. It is safe for
// concurrent use.
type Authenticator struct {
	party     virtualwebauthn.RelyingParty
	publicKey []byte // COSE_Key

	mu         sync.Mutex
	device     virtualwebauthn.Authenticator
	credential virtualwebauthn.Credential
}

// NewAuthenticator makes a new passkey for one relying party ("sign.acme.example"), asked by the pages of one origin
// ("https://sign.acme.example").
func NewAuthenticator(relyingID, origin string) *Authenticator {
	credential := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	// The library drops leading zeros of a coordinate, which no COSE_Key may (RFC 9053, section 7.1.1). One key in 128 is such.
	for len(credential.Key.AttestationData()) != coseP256 {
		credential = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return &Authenticator{
		party:     virtualwebauthn.RelyingParty{ID: relyingID, Name: relyingID, Origin: origin},
		publicKey: credential.Key.AttestationData(), // once: the library's key parses itself anew, in place, at each use
		device:    virtualwebauthn.NewAuthenticator(), credential: credential,
	}
}

// coseP256 is the length of a COSE_Key on P-256 with both coordinates whole, in bytes.
const coseP256 = 77

// Enrolment is the offer to enrol this passkey for one person. Its proof is still to be made: an ID token, and Prove over its digest.
func (a *Authenticator) Enrolment(tenant string, actor countersign.Actor, now time.Time) countersign.Enrolment {
	return countersign.Enrolment{
		V: countersign.Version, Tenant: tenant, Actor: actor, Kind: countersign.KeyPasskey,
		Credential: base64.RawURLEncoding.EncodeToString(a.credential.ID),
		PublicKey:  base64.RawURLEncoding.EncodeToString(a.publicKey),
		RelyingID:  a.party.ID, Origins: []string{a.party.Origin},
		IssuedAt: now.Unix(), ExpiresAt: now.Add(enrolmentLife).Unix(),
	}
}

// Prove signs one digest (64 hex digits), as a page that asks navigator.credentials.get with the digest's bytes as challenge makes it.
func (a *Authenticator) Prove(digest string) (countersign.KeyProof, error) {
	challenge, err := hex.DecodeString(digest)
	if err != nil || len(challenge) != sha256.Size {
		return countersign.KeyProof{}, fmt.Errorf("couldn't prove %q: it is no digest", digest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := virtualwebauthn.CreateAssertionResponse(a.party, a.device, a.credential,
		virtualwebauthn.AssertionOptions{Challenge: challenge, RelyingPartyID: a.party.ID})
	var assertion struct {
		Response struct {
			AuthenticatorData string `json:"authenticatorData"`
			ClientData        string `json:"clientDataJSON"`
			Signature         string `json:"signature"`
		} `json:"response"`
	}
	if err := json.Unmarshal([]byte(answer), &assertion); err != nil {
		return countersign.KeyProof{}, fmt.Errorf("couldn't read the authenticator's answer: %w", err)
	}
	r := assertion.Response
	return countersign.KeyProof{
		Key: countersign.SHA256(a.credential.ID), Signature: r.Signature, AuthenticatorData: r.AuthenticatorData, ClientData: r.ClientData,
	}, nil
}

// SetCounter sets the signature counter that the next proofs show. It doesn't count by itself: synchronised passkeys always show 0.
func (a *Authenticator) SetCounter(n uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.credential.Counter = n
}

// SetUserVerification says whether the next proofs show that the authenticator knew its owner by PIN or biometrics.
func (a *Authenticator) SetUserVerification(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.device.Options.UserNotVerified = !on
}
