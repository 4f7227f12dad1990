package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-dev/countersign"
)

// provider is an identity provider with one person. What it puts into the ID token can be changed.
type provider struct {
	url    string
	signer jose.Signer

	mu     sync.Mutex
	asked  url.Values // the last authorization request
	posted url.Values // the last form at the token endpoint
	claims func(map[string]any)
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{signer: signer}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token", "jwks_uri": p.url + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "ES256"}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = r.ParseForm()
		p.posted = r.PostForm
		challenge := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if r.PostForm.Get("grant_type") == "authorization_code" &&
			(r.PostForm.Get("code") != "good" || base64.RawURLEncoding.EncodeToString(challenge[:]) != p.asked.Get("code_challenge") || p.asked.Get("code_challenge_method") != "S256") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": "the code is not yours", "access_token": "must not be shown"})
			return
		}
		claims := map[string]any{"iss": p.url, "sub": "a-1", "aud": p.asked.Get("client_id"), "nonce": p.asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "name": "Alice"}
		if p.claims != nil {
			p.claims(claims)
		}
		body, _ := json.Marshal(claims)
		jws, _ := p.signer.Sign(body)
		compact, _ := jws.CompactSerialize()
		answer(w, map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 600, "id_token": compact})
	})
	return p
}

// person sees the printed page and answers at the loopback.
func (p *provider) person(t *testing.T, answer func(callback string, state string)) io.Writer {
	out, in := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	go func() {
		var text string
		buffer := make([]byte, 4096)
		for !strings.Contains(text, "\n\n  http") || !strings.HasSuffix(text, "\n\n") {
			n, err := out.Read(buffer)
			if err != nil {
				return
			}
			text += string(buffer[:n])
		}
		u, err := url.Parse(strings.TrimSpace(text[strings.Index(text, "http"):]))
		if err != nil {
			t.Error(err)
			return
		}
		p.mu.Lock()
		p.asked = u.Query()
		p.mu.Unlock()
		answer(u.Query().Get("redirect_uri"), u.Query().Get("state"))
	}()
	return in
}

func get(t *testing.T, target string) (int, string) {
	t.Helper()
	response, err := http.Get(target)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func TestLoginGivesASession(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	b := Browser{Timeout: 10 * time.Second, Out: p.person(t, func(callback, state string) {
		if status, _ := get(t, callback+"?code=good&state=foreign"); status != http.StatusBadRequest {
			t.Errorf("a foreign state is answered with %d", status)
		}
		if status, _ := get(t, callback+"?code=good&state="+state+"&iss=http://evil"); status != http.StatusBadRequest {
			t.Errorf("a foreign issuer is answered with %d", status)
		}
		if status, _ := get(t, strings.Replace(callback, "/callback", "/", 1)); status != http.StatusNotFound {
			t.Errorf("another path is answered with %d", status)
		}
		if status, page := get(t, callback+"?code=good&state="+state); status != http.StatusOK || !strings.Contains(page, "logged in") {
			t.Errorf("the good answer is answered with %d %s", status, page)
		}
	})}
	s, err := b.Login(t.Context(), p.url, "countersign")
	if err != nil {
		t.Fatal(err)
	}
	if s.Access != "access" || s.Actor != (countersign.Actor{Issuer: p.url, Subject: "a-1"}) || s.Name != "Alice" || time.Until(s.Expires) < 5*time.Minute {
		t.Errorf("the session is %+v", s)
	}
	redirect, err := url.Parse(p.asked.Get("redirect_uri"))
	if err != nil || redirect.Hostname() != "127.0.0.1" || redirect.Path != "/callback" {
		t.Errorf("the redirect goes to %s", redirect)
	}
}

func TestALoginThatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query  string
		claims func(map[string]any)
		want   string
	}{
		"refused by the provider": {"?error=access_denied&error_description=You+are%1b%5B2J+not+allowed&state=", nil, "refused: You are [2J not allowed (access_denied)"},
		"code of another":         {"?code=other&state=", nil, "invalid_grant: the code is not yours"},
		"nonce of another":        {"?code=good&state=", func(c map[string]any) { c["nonce"] = "other" }, "nonce is not ours"},
		"audience of another":     {"?code=good&state=", func(c map[string]any) { c["aud"] = "other" }, "not in order"},
		"issuer of another":       {"?code=good&state=", func(c map[string]any) { c["iss"] = "http://127.0.0.1:1" }, "not in order"},
		"expired":                 {"?code=good&state=", func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, "not in order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.claims = c.claims
			b := Browser{Timeout: 10 * time.Second, Out: p.person(t, func(callback, state string) { get(t, callback+c.query+state) })}
			_, err := b.Login(t.Context(), p.url, "countersign")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "must not be shown") {
				t.Errorf("the login ended with %v, want %q", err, c.want)
			}
		})
	}
}

func TestALoginThatNobodyAnswersEnds(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	b := Browser{Timeout: 2 * time.Second, Out: p.person(t, func(callback, _ string) { get(t, callback+"?code=good&state=foreign") })}
	_, err := b.Login(t.Context(), p.url, "countersign")
	if err == nil || !strings.Contains(err.Error(), "within 2s") || !strings.Contains(err.Error(), "1 answers of other logins were refused") {
		t.Errorf("ended with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b = Browser{Out: p.person(t, func(string, string) { cancel() })}
	if _, err := b.Login(ctx, p.url, "countersign"); err == nil {
		t.Error("a cancelled login gave a session")
	}
}

func TestABrowserThatFailsEndsTheLogin(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	for command, want := range map[string]string{"false": "the browser (false) failed", "no-such-browser-here": "couldn't open the browser"} {
		if _, err := (Browser{Command: command}).Login(t.Context(), p.url, "countersign"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestAProofIsBoundToItsDecisionAndPerson(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	digest := countersign.SHA256([]byte("decision"))
	prove := func(who string) (countersign.Proof, error) {
		b := Browser{Timeout: 10 * time.Second, Out: p.person(t, func(callback, state string) { get(t, callback+"?code=good&state="+state) })}
		return b.Prove(t.Context(), p.url, "countersign-evidence", digest, countersign.Actor{Issuer: p.url, Subject: who})
	}
	proof, err := prove("a-1")
	if err != nil {
		t.Fatal(err)
	}
	if q := p.asked; q.Get("nonce") != digest || q.Get("max_age") != "0" || q.Get("prompt") != "login" || q.Get("scope") != "openid" || q.Get("client_id") != "countersign-evidence" {
		t.Errorf("the login asked for %v", q)
	}
	token, err := jwt.ParseSigned(proof.IDToken, []jose.SignatureAlgorithm{jose.ES256})
	var claims map[string]any
	if err != nil || token.UnsafeClaimsWithoutVerification(&claims) != nil || claims["nonce"] != digest {
		t.Errorf("the proof says %v: %v", claims, err)
	}
	if _, err := prove("b-2"); err == nil || !strings.Contains(err.Error(), "a-1 logged in, but the decision is of b-2") {
		t.Errorf("somebody else's login proves: %v", err)
	}
}

func TestAMachineProvesItsKey(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Machine(t.Context(), p.url, "procurement", file)
	if err != nil || s.Access != "access" || s.Actor.Subject != "procurement" {
		t.Fatalf("the session is %+v: %v", s, err)
	}
	token, err := jwt.ParseSigned(p.posted.Get("assertion"), []jose.SignatureAlgorithm{jose.ES256})
	var claims jwt.Claims
	if err != nil || token.Claims(key.Public(), &claims) != nil {
		t.Fatalf("the assertion is not of the key: %v", err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: "procurement", Subject: "procurement", AnyAudience: jwt.Audience{p.url}}); err != nil || claims.ID == "" || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > time.Minute {
		t.Errorf("the assertion says %+v: %v", claims, err)
	}
	if p.posted.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		t.Errorf("the grant is %v", p.posted.Get("grant_type"))
	}
}

func TestTokensDontTravelReadable(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{"http://idp.example", "ftp://127.0.0.1", "", "https://user@idp.example", "http://127.0.0.1.evil.example"} {
		if _, err := (Browser{}).Login(t.Context(), issuer, "countersign"); err == nil || !strings.Contains(err.Error(), "couldn't use the issuer") {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

func TestCacheKeepsATokenForItsOwnerAndTime(t *testing.T) {
	t.Parallel()
	c := Cache{Dir: filepath.Join(t.TempDir(), "tokens")}
	now := time.Now()
	s := Session{Access: "access", Expires: now.Add(time.Hour), Actor: countersign.Actor{Issuer: "http://i", Subject: "s"}}
	if err := c.Put("http://i", "countersign", s); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Get("http://i", "countersign", now); !ok || got.Access != "access" {
		t.Errorf("kept %+v %v", got, ok)
	}
	for name, found := range map[string]bool{
		"another issuer": has(c, "http://j", "countersign", now),
		"another client": has(c, "http://i", "machine:countersign", now),
		"nearly expired": has(c, "http://i", "countersign", now.Add(time.Hour-margin)),
		"no cache":       has(Cache{}, "http://i", "countersign", now),
	} {
		if found {
			t.Error(name, "finds the token")
		}
	}
	file := c.file("http://i", "countersign")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v %v", info, err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if has(c, "http://i", "countersign", now) {
		t.Error("a token that others can read is used")
	}
	if err := c.Drop("http://i", "countersign"); err != nil || has(c, "http://i", "countersign", now) {
		t.Errorf("it is not forgotten: %v", err)
	}
	if err := c.Drop("http://i", "countersign"); err != nil {
		t.Errorf("forgetting twice: %v", err)
	}
}

func has(c Cache, issuer, client string, now time.Time) bool {
	_, ok := c.Get(issuer, client, now)
	return ok
}
