package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// aged makes the registry's keys of an issuer look as if they had been fetched that long ago.
func aged(t *testing.T, r *Registry, issuer string, age time.Duration) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	set := *r.keys[issuer]
	set.fetched = set.fetched.Add(-age)
	r.keys[issuer] = &set
}

func prove(t *testing.T, r *Registry, i *testIssuer) error {
	t.Helper()
	d, c := i.ballot()
	_, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: i.token(c)}, testNow)
	return err
}

func TestRotatedKeyIsFetchedWhenItsKidIsNew(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	if err := prove(t, r, i); err != nil {
		t.Fatal(err)
	}
	i.rotate("key-2")
	aged(t, r, i.url, refetchAfter)
	if err := prove(t, r, i); err != nil {
		t.Fatalf("with the new key: %v", err)
	}
	for range 5 {
		if err := prove(t, r, i); err != nil {
			t.Fatal(err)
		}
	}
	if n := i.fetches.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times, want 2", n)
	}
}

func TestUnknownKidsDontFloodTheIssuer(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	d, c := i.ballot()
	for n := range 50 {
		token := forge(t, protected{"alg": "ES256", "kid": fmt.Sprint("made-up-", n)}, c, newECKey(t))
		_, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: token}, testNow)
		if n == 0 {
			wantRefusal(t, err, "token-foreign-key", "doesn't publish")
			continue
		}
		// Just after a fetch it is no final answer: the key may be newer than that.
		var refusal *countersign.Refusal
		if err == nil || errors.As(err, &refusal) {
			t.Fatalf("an unknown kid just after a fetch: %v, want an error to try again", err)
		}
		if _, err := r.VerifyBearer(t.Context(), token, testNow); err == nil {
			t.Fatal("an unknown kid logs in")
		} else {
			wantRefusal(t, err, "token-foreign-key", "doesn't publish")
		}
	}
	if n := i.fetches.Load(); n > 2 {
		t.Errorf("50 unknown kids made %d fetches", n)
	}
	if err := prove(t, r, i); err != nil {
		t.Errorf("a good token after the flood: %v", err)
	}
}

// A key that its issuer withdrew, because it was stolen perhaps, must not be believed for as long as our process runs.
func TestWithdrawnKeyIsForgottenWithinADay(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	d, c := i.ballot()
	stolen := i.token(c)
	if _, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: stolen}, testNow); err != nil {
		t.Fatal(err)
	}
	i.rotate("key-2")
	aged(t, r, i.url, 24*time.Hour)
	_, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: stolen}, testNow)
	wantRefusal(t, err, "token-foreign-key", "doesn't publish")
}

func TestSilentIssuerIsNotThePersonsFault(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	i.server.Close()
	err := prove(t, r, i)
	wantNoRefusal(t, err)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v can't be told to be worth another try", err)
	}
	_, err = r.VerifyBearer(t.Context(), i.token(claims{"iss": i.url, "sub": "lena", "aud": loginAudience, "exp": seconds(time.Minute)}), testNow)
	wantNoRefusal(t, err)
	if err := errors.Join(r.Check(t.Context())...); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), i.url) {
		t.Errorf("at boot: %v", err)
	}
}

func TestKnownKeysWorkWhileTheIssuerIsSilent(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	if err := errors.Join(r.Check(t.Context())...); err != nil {
		t.Fatal(err)
	}
	i.server.Close()
	if err := prove(t, r, i); err != nil {
		t.Error(err)
	}
}

func TestCancelledCheckIsNotThePersonsFault(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d, c := i.ballot()
	_, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyProof(ctx, d, countersign.Proof{IDToken: i.token(c)}, testNow)
	wantNoRefusal(t, err)
}

// at serves what an issuer publishes, wrongly.
func at(t *testing.T, path string, serve func(w http.ResponseWriter, self string)) string {
	t.Helper()
	var self string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case path:
			serve(w, self)
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": self, "jwks_uri": self + "/jwks"})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	self = server.URL
	return self
}

func TestMetadataThatCannotBeTrustedIsRefused(t *testing.T) {
	t.Parallel()
	const discovery = "/.well-known/openid-configuration"
	reached := make(chan string, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.URL.Path }))
	t.Cleanup(elsewhere.Close)
	say := func(format string, args ...any) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, self string) {
			fmt.Fprint(w, strings.ReplaceAll(fmt.Sprintf(format, args...), "SELF", self))
		}
	}
	redirect := func(w http.ResponseWriter, _ string) {
		w.Header().Set("Location", elsewhere.URL+"/caught")
		w.WriteHeader(http.StatusFound)
	}
	key, err := json.Marshal(publicJWK("k", newECKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, message string
		serve               func(http.ResponseWriter, string)
	}{
		{"another issuer", discovery, `names the issuer "https://evil.example"`, say(`{"issuer":"https://evil.example","jwks_uri":"SELF/jwks"}`)},
		{"the issuer with a slash", discovery, "names the issuer", say(`{"issuer":"SELF/","jwks_uri":"SELF/jwks"}`)},
		{"no issuer", discovery, `names the issuer ""`, say(`{"jwks_uri":"SELF/jwks"}`)},
		{"no keys' address", discovery, "no usable jwks_uri", say(`{"issuer":"SELF"}`)},
		{"keys in a file", discovery, "no usable jwks_uri", say(`{"issuer":"SELF","jwks_uri":"file:///etc/passwd"}`)},
		{"no JSON", discovery, "couldn't read", say(`<html>`)},
		{"oversized metadata", discovery, "more than 262144 bytes", say(`{"issuer":"SELF","fat":"%s"}`, strings.Repeat("x", maxMetadata))},
		{"redirected metadata", discovery, "must not redirect", redirect},
		{"redirected keys", "/jwks", "must not redirect", redirect},
		{"oversized keys", "/jwks", "more than 262144 bytes", say(`{"keys":[],"fat":"%s"}`, strings.Repeat("x", maxMetadata))},
		{"no keys", "/jwks", "publishes 0 keys", say(`{"keys":[]}`)},
		{"too many keys", "/jwks", "publishes 101 keys", say(`{"keys":[%s]}`, strings.TrimSuffix(strings.Repeat(string(key)+",", maxKeys+1), ","))},
		{"keys that aren't JSON", "/jwks", "couldn't read", say(`nothing`)},
		{"metadata that is missing", discovery, "status 404", func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNotFound) }},
		{"keys that are missing", "/jwks", "status 503", func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusServiceUnavailable) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := at(t, c.path, c.serve)
			i := newTestIssuer(t)
			setting := i.setting()
			setting.URL = url
			r := NewRegistry([]countersign.Issuer{setting})
			d, cl := i.ballot()
			_, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: i.token(cl.with(claims{"iss": url}))}, testNow)
			wantNoRefusal(t, err)
			if !strings.Contains(err.Error(), c.message) {
				t.Errorf("%q doesn't say %q", err, c.message)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if err := errors.Join(r.Check(t.Context())...); err == nil {
				t.Error("the check at boot is content")
			}
		})
	}
	select {
	case path := <-reached:
		t.Errorf("a redirect was followed to %s", path)
	default:
	}
}

// An https issuer vouches for its keys by its certificate; over plain http anybody on the way can put in another key.
func TestKeysOfAnHTTPSIssuerAreNotFetchedOverPlainHTTP(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t) // plain
	var self string
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": self, "jwks_uri": i.url + "/jwks"})
	}))
	t.Cleanup(secure.Close)
	self = secure.URL
	setting := i.setting()
	setting.URL = self
	r := NewRegistry([]countersign.Issuer{setting})
	r.client = secure.Client()
	if err := errors.Join(r.Check(t.Context())...); err == nil {
		t.Error("the keys of an https issuer were taken from plain http")
	}
	if n := i.fetches.Load(); n != 0 {
		t.Errorf("plain http was asked %d times", n)
	}
}

func TestKeysThatCannotSignForAnIssuerAreRefused(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]func(i *testIssuer) []any{
		"for encryption":          func(i *testIssuer) []any { k := publicJWK(i.kid, i.key); k.Use = "enc"; return []any{k} },
		"of another algorithm":    func(i *testIssuer) []any { k := publicJWK(i.kid, i.key); k.Algorithm = "ES384"; return []any{k} },
		"its private half":        func(i *testIssuer) []any { return []any{jose.JSONWebKey{Key: i.key, KeyID: i.kid, Algorithm: "ES256"}} },
		"two under the same kid":  func(i *testIssuer) []any { return []any{publicJWK(i.kid, i.key), publicJWK(i.kid, newECKey(t))} },
		"a secret under that kid": func(i *testIssuer) []any { return []any{jose.JSONWebKey{Key: []byte("secret"), KeyID: i.kid}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newTestIssuer(t)
			i.publish(keys(i)...)
			if err := prove(t, NewRegistry([]countersign.Issuer{i.setting()}), i); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// RFC 7517, section 5: keys of types that aren't understood are ignored.
func TestKeysOfUnknownTypesAreIgnored(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	i.publish(json.RawMessage(`{"kty":"PQC","kid":"future","alg":"ML-DSA-65","pub":"AAAA"}`), publicJWK(i.kid, i.key))
	if err := prove(t, NewRegistry([]countersign.Issuer{i.setting()}), i); err != nil {
		t.Error(err)
	}
}

func TestKeyWithoutAlgorithmAndUseIsTaken(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	i.publish(jose.JSONWebKey{Key: i.key.Public(), KeyID: i.kid})
	if err := prove(t, NewRegistry([]countersign.Issuer{i.setting()}), i); err != nil {
		t.Error(err)
	}
}

func TestCheckTellsEachSilentIssuer(t *testing.T) {
	t.Parallel()
	good, one, two := newTestIssuer(t), newTestIssuer(t), newTestIssuer(t)
	one.server.Close()
	two.server.Close()
	err := errors.Join(NewRegistry([]countersign.Issuer{good.setting(), one.setting(), two.setting()}).Check(t.Context())...)
	if err == nil || !strings.Contains(err.Error(), one.url) || !strings.Contains(err.Error(), two.url) || strings.Contains(err.Error(), good.url) {
		t.Errorf("told %v", err)
	}
}
