package identity

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestProofOfAFreshTokenForThisDecision(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, c := i.ballot()
	facts, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyProof(t.Context(), d, countersign.Proof{IDToken: i.token(c)}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Actor != d.Actor || facts.Assurance != 1 || facts.ACR != "mfa" || !reflect.DeepEqual(facts.AMR, []string{"pwd", "otp"}) || !facts.AuthTime.Equal(testNow) || !facts.IssuedAt.Equal(testNow) {
		t.Errorf("facts are %+v", facts)
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(facts.Key); err != nil || !key.IsPublic() || key.KeyID != i.kid {
		t.Errorf("the archived key is %s (%v)", facts.Key, err)
	}
}

func TestProofHoldsAtItsBoundaries(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	for name, changes := range map[string]claims{
		"a second before it expires":         {"exp": seconds(time.Second)},
		"issued at the leeway":               {"iat": seconds(Leeway)},
		"valid at the leeway":                {"nbf": seconds(Leeway)},
		"login at the leeway":                {"auth_time": seconds(-Leeway)},
		"audience as a list of one":          {"aud": []string{evidenceAudience}},
		"issued to the evidence client":      {"azp": evidenceAudience},
		"claims that we don't know":          {"groups": []string{"x"}, "email": "lena@acme.example"},
		"no acr and no amr":                  {"acr": nil, "amr": nil},
		"a login while the decision is open": {"auth_time": seconds(30 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, c := i.ballot()
			if _, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: i.token(c.with(changes))}, testNow); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProofExpiresAtTheInstantThatIsGiven(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	d, c := i.ballot() // exp is testNow + 300 s
	proof := countersign.Proof{IDToken: i.token(c)}
	if _, err := r.VerifyProof(t.Context(), d, proof, testNow.Add(300*time.Second-time.Nanosecond)); err != nil {
		t.Errorf("a nanosecond before exp: %v", err)
	}
	for _, after := range []time.Duration{300 * time.Second, 300*time.Second + time.Nanosecond, time.Hour} {
		if _, err := r.VerifyProof(t.Context(), d, proof, testNow.Add(after)); err == nil {
			t.Errorf("accepted %s after it was issued, exp is after 300 s", after)
		}
	}
}

func TestR09_TheSameSubjectAtTwoIssuersIsTwoActors(t *testing.T) {
	t.Parallel()
	home, partner := newTestIssuer(t), newTestIssuer(t)
	setting := partner.setting()
	setting.ID, setting.Kind, setting.Organisation = "partner", "partner", "Partner"
	r := NewRegistry([]countersign.Issuer{home.setting(), setting})

	bearer := func(i *testIssuer) countersign.Actor {
		a, err := r.VerifyBearer(t.Context(), i.token(claims{"iss": i.url, "sub": "lena", "aud": loginAudience, "exp": seconds(time.Minute)}), testNow)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if one, two := bearer(home), bearer(partner); one == two || one.String() == two.String() || one.Subject != two.Subject {
		t.Errorf("%s and %s", one, two)
	}

	// Lena of the partner can't prove a decision of Lena of the house, not even with the right nonce.
	d, c := home.ballot()
	_, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: partner.token(c.with(claims{"iss": partner.url}))}, testNow)
	wantRefusal(t, err, "token-other-person", "another person")
	// Nor by writing the other issuer's name into a token of her own, although both use the same kid.
	_, err = r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: partner.token(c)}, testNow)
	wantRefusal(t, err, "token-signature", "not of a key of")
	_, err = verifyArchivedProof(d, countersign.Proof{IDToken: partner.token(c.with(claims{"iss": partner.url}))}, home.setting(), mustJWK(t, partner), testNow)
	wantRefusal(t, err, "token-issuer", "not of the archived issuer")
}

func mustJWK(t *testing.T, i *testIssuer) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(publicJWK(i.kid, i.key))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestArchivedProofGivesTheSameFactsWithoutANetwork(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, c := i.ballot()
	proof := countersign.Proof{IDToken: i.token(c)}
	online, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyProof(t.Context(), d, proof, testNow)
	if err != nil {
		t.Fatal(err)
	}
	i.server.Close()
	offline, err := verifyArchivedProof(d, proof, i.setting(), online.Key, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(online, offline) {
		t.Errorf("online %+v\noffline %+v", online, offline)
	}
	// Facts survive the archive, which is JSON.
	raw, err := json.Marshal(online)
	if err != nil {
		t.Fatal(err)
	}
	var back Facts
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(online, back) {
		t.Errorf("read back as %+v (%v)", back, err)
	}
	// As of another instant the answer is another one.
	_, err = verifyArchivedProof(d, proof, i.setting(), online.Key, testNow.Add(time.Hour))
	wantRefusal(t, err, "token-expired", "")
	// So it is for another decision, and with another evidence audience in the archive.
	other := d
	other.Reason = "x"
	_, err = verifyArchivedProof(other, proof, i.setting(), online.Key, testNow)
	wantRefusal(t, err, "token-other-decision", "")
	setting := i.setting()
	setting.EvidenceAudience = "else"
	_, err = verifyArchivedProof(d, proof, setting, online.Key, testNow)
	wantRefusal(t, err, "token-audience", "")
}

func TestAlteredArchivedKeyFails(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, c := i.ballot()
	proof := countersign.Proof{IDToken: i.token(c)}
	other, err := json.Marshal(publicJWK(i.kid, newECKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: i.key, KeyID: i.kid})
	if err != nil {
		t.Fatal(err)
	}
	var good map[string]any
	if err := json.Unmarshal(mustJWK(t, i), &good); err != nil {
		t.Fatal(err)
	}
	edit := func(name string, value any) json.RawMessage {
		edited := map[string]any{}
		for k, v := range good {
			edited[k] = v
		}
		edited[name] = value
		raw, err := json.Marshal(edited)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, jwk := range map[string]json.RawMessage{
		"another key":         other,
		"the private key":     private,
		"a symmetric key":     json.RawMessage(`{"kty":"oct","k":"c2VjcmV0","kid":"key-1"}`),
		"a point off-curve":   edit("x", segment(make([]byte, 32))),
		"for encryption":      edit("use", "enc"),
		"for other signature": edit("alg", "ES384"),
		"empty":               nil,
		"null":                json.RawMessage("null"),
		"no key":              json.RawMessage("{}"),
		"no JSON":             json.RawMessage("{"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if facts, err := verifyArchivedProof(d, proof, i.setting(), jwk, testNow); err == nil {
				t.Errorf("accepted with the facts %+v", facts)
			}
		})
	}
}

// 112 bit of security is an RSA modulus of 2048 bit (NIST SP 800-57 part 1, table 2).
func TestWeakRSAKeyOfAnIssuerIsRefused(t *testing.T) {
	t.Parallel()
	for bits, good := range map[int]bool{1024: false, 2048: true} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		i := newTestIssuer(t)
		i.publish(jose.JSONWebKey{Key: key.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"})
		d, c := i.ballot()
		body, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "rsa"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(body)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewRegistry([]countersign.Issuer{i.setting()}).VerifyProof(t.Context(), d, countersign.Proof{IDToken: token}, testNow)
		if (err == nil) != good {
			t.Errorf("RSA of %d bit: %v", bits, err)
		}
	}
}

func TestProofsAreCheckedSideBySide(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	d, c := i.ballot()
	token := i.token(c)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := r.VerifyProof(context.Background(), d, countersign.Proof{IDToken: token}, testNow); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// verifyArchivedProof is VerifyProof as an offline verifier asks it.
func verifyArchivedProof(d countersign.Decision, p countersign.Proof, issuer countersign.Issuer, jwk json.RawMessage, at time.Time) (Facts, error) {
	what, err := decided(d)
	if err != nil {
		return Facts{}, err
	}
	return VerifyArchivedBound(what, p.IDToken, issuer, jwk, at)
}
