package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// testNow is the instant at which everything in these tests is checked; no clock of the machine is asked.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	loginAudience    = "countersign"
	evidenceAudience = "countersign-evidence"
)

// testIssuer is an identity provider on a local port, with a key of its own.
type testIssuer struct {
	t      testing.TB
	server *httptest.Server
	url    string
	key    *ecdsa.PrivateKey
	kid    string

	mu       sync.Mutex
	keys     []any             // of the JWKS; jose.JSONWebKey or raw JSON
	metadata map[string]string // of the discovery document

	fetches atomic.Int64 // of the JWKS
}

func newTestIssuer(t testing.TB) *testIssuer {
	t.Helper()
	i := &testIssuer{t: t, key: newECKey(t), kid: "key-1"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realm/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(i.metadata)
	})
	mux.HandleFunc("GET /realm/jwks", func(w http.ResponseWriter, _ *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
	})
	i.server = httptest.NewServer(mux)
	t.Cleanup(i.server.Close)
	i.url = i.server.URL + "/realm"
	i.metadata = map[string]string{"issuer": i.url, "jwks_uri": i.url + "/jwks"}
	i.publish(publicJWK(i.kid, i.key))
	return i
}

func (i *testIssuer) publish(keys ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// rotate replaces the issuer's key by a new one under another kid.
func (i *testIssuer) rotate(kid string) {
	i.key, i.kid = newECKey(i.t), kid
	i.publish(publicJWK(kid, i.key))
}

func (i *testIssuer) setting() countersign.Issuer {
	return countersign.Issuer{ID: "acme", URL: i.url, Kind: "home", Organisation: "Acme", Audience: loginAudience, EvidenceAudience: evidenceAudience}
}

func (i *testIssuer) actor(subject string) countersign.Actor {
	return countersign.Actor{Issuer: i.url, Subject: subject}
}

// token signs claims with the issuer's key, as the issuer does.
func (i *testIssuer) token(c claims) string {
	return forge(i.t, protected{"alg": "ES256", "kid": i.kid, "typ": "JWT"}, c, i.key)
}

type (
	claims    map[string]any
	protected map[string]any
)

// with is a copy with some claims set; a nil value takes the claim away.
func (c claims) with(changes claims) claims {
	out := claims{}
	for _, m := range []claims{c, changes} {
		for k, v := range m {
			if out[k] = v; v == nil {
				delete(out, k)
			}
		}
	}
	return out
}

// forge writes a compact JWS with any header at all, signed by ES256; without a key the signature is empty.
func forge(t testing.TB, h protected, c claims, key *ecdsa.PrivateKey) string {
	t.Helper()
	rawHeader, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	input := segment(rawHeader) + "." + segment(body)
	if key == nil {
		return input + "."
	}
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + segment(sig)
}

func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicJWK(kid string, key crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

// ballot is a decision of lena's, with the claims of the ID token that proves it.
func (i *testIssuer) ballot() (countersign.Decision, claims) {
	i.t.Helper()
	d := countersign.Decision{
		V: 1, Tenant: "acme", Signing: "saga/acme/PO-1", Run: "run", Stage: "legal", Verdict: countersign.Approve, Grants: []string{},
		Actor: i.actor("lena"), IssuedAt: testNow.Unix(), ExpiresAt: testNow.Unix() + 300,
	}
	return d, claims{
		"iss": i.url, "sub": "lena", "aud": evidenceAudience, "nonce": nonceOf(i.t, d), "acr": "mfa", "amr": []string{"pwd", "otp"},
		"iat": testNow.Unix(), "exp": testNow.Unix() + 300, "auth_time": testNow.Unix(),
	}
}

func nonceOf(t testing.TB, d countersign.Decision) string {
	t.Helper()
	digest, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// wantRefusal demands a refusal of that code with that message, and nothing else.
func wantRefusal(t testing.TB, err error, code, message string) {
	t.Helper()
	var refusal *countersign.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v; want a refusal %s", err, code)
	}
	if refusal.Code != code {
		t.Errorf("refused as %s (%s); want %s", refusal.Code, refusal.Message, code)
	}
	if !contains(refusal.Message, message) {
		t.Errorf("the message %q doesn't say %q", refusal.Message, message)
	}
	if len(refusal.Message) > 500 {
		t.Errorf("the message has %d bytes", len(refusal.Message))
	}
}

func wantNoRefusal(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	var refusal *countersign.Refusal
	if errors.As(err, &refusal) {
		t.Fatalf("refused as %s: %s; want an error that isn't the person's fault", refusal.Code, refusal.Message)
	}
}
