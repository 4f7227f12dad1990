package evidence

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// taken is a grant that was given and accepted, each proven by a key that the issuer is said to have, at an instant.
func taken(t *testing.T, at time.Time, change func(*countersign.Acceptance)) (*Authority, []countersign.Issuer) {
	t.Helper()
	key := newKey(t, elliptic.P256())
	issuers := []countersign.Issuer{{URL: "https://id.acme.example", Kind: "home", EvidenceAudience: "evidence"}}
	g := lentTo(absent, colleague)
	g.Request, g.IssuedAt = "PO-1", at.Unix()
	digest, err := g.Digest()
	if err != nil {
		t.Fatal(err)
	}
	a := countersign.Acceptance{V: countersign.Version, Tenant: g.Tenant, Grant: digest, Actor: g.Grantee, IssuedAt: at.Unix()}
	change(&a)
	acceptance, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	given, jwk := provenBy(t, key, g.Delegator, digest, at)
	accepted, _ := provenBy(t, key, g.Grantee, acceptance, at)
	return &Authority{Grants: []GrantRecord{{
		Grant: countersign.SignedGrant{Grant: g, Proof: given}, Given: &Proven{Key: jwk, At: at},
		Accepted: &countersign.SignedAcceptance{Acceptance: a, Proof: accepted}, Taken: &Proven{Key: jwk, At: at}, State: countersign.GrantActive,
	}}}, issuers
}

func provenBy(t *testing.T, key *ecdsa.PrivateKey, who countersign.Actor, digest string, at time.Time) (countersign.Proof, json.RawMessage) {
	t.Helper()
	jwk, err := jose.JSONWebKey{Key: key.Public(), KeyID: "key-1", Algorithm: "ES256", Use: "sig"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "key-1"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{"iss": who.Issuer, "sub": who.Subject, "aud": "evidence", "nonce": digest, "iat": at.Unix(), "exp": at.Unix() + 300, "auth_time": at.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return countersign.Proof{IDToken: token}, jwk
}

func TestR13_AnAcceptanceOfAnotherVersionIsNone(t *testing.T) {
	t.Parallel()
	a, issuers := taken(t, sealedAt, func(*countersign.Acceptance) {})
	if err := a.Verify(issuers); err != nil {
		t.Errorf("as it is: %v", err)
	}
	a, issuers = taken(t, sealedAt, func(a *countersign.Acceptance) { a.V = 2 })
	if err := a.Verify(issuers); err == nil || !strings.Contains(err.Error(), "v is 2") {
		t.Errorf("of version 2: %v", err)
	}
}

// Authority that is made up afterwards doesn't reach back to a decision, however well it is proven.
func TestR13_WhatADecisionStandsOnIsFromBeforeItsCheckEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, ""}, {StampTolerance, ""}, {StampTolerance + time.Second, "after the decision was checked"}} {
		a, _ := taken(t, sealedAt.Add(c.after), func(*countersign.Acceptance) {})
		for what, check := range map[string]*Check{"a grant": {Authority: a}, "a key": {Key: &KeyRecord{Proven: &Proven{At: sealedAt.Add(c.after)}}}} {
			err := DecisionCase{Check: check, Ended: sealedAt}.inTime()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s after: %v", what, c.after, err)
			}
		}
	}
}
