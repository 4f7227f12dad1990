package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

func TestBearerNamesTheActor(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	good := claims{"iss": i.url, "sub": "lena", "aud": []string{loginAudience, "other-service"}, "iat": seconds(0), "exp": seconds(time.Minute)}
	a, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyBearer(t.Context(), i.token(good), testNow)
	if err != nil || a != i.actor("lena") {
		t.Errorf("%s, %v", a, err)
	}
}

func TestBearerTokensThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, evidence := i.ballot()
	good := claims{"iss": i.url, "sub": "lena", "aud": loginAudience, "iat": seconds(0), "exp": seconds(time.Minute)}
	for _, c := range []struct{ name, code, message, token string }{
		{"the proof of a decision", "token-audience", "not meant for", i.token(evidence)},
		{"a proof with both audiences", "token-not-access", "an access token is needed", i.token(evidence.with(claims{"aud": []string{loginAudience, evidenceAudience}}))},
		{"both audiences without nonce", "token-audience", "it logs nobody in", i.token(good.with(claims{"aud": []string{loginAudience, evidenceAudience}}))},
		{"an ID token with nonce", "token-not-access", "this is an ID token", i.token(good.with(claims{"nonce": nonceOf(t, d)}))},
		{"an ID token with an empty nonce", "token-not-access", "this is an ID token", i.token(good.with(claims{"nonce": ""}))},
		{"an ID token with at_hash", "token-not-access", "this is an ID token", i.token(good.with(claims{"at_hash": "x"}))},
		{"nobody's", "token-malformed", "names nobody", i.token(good.with(claims{"sub": ""}))},
		{"a long subject", "token-malformed", "names nobody", i.token(good.with(claims{"sub": strings.Repeat("x", 256)}))},
		{"expired", "token-expired", "", i.token(good.with(claims{"exp": seconds(-time.Second)}))},
		{"expiring at this instant", "token-expired", "", i.token(good.with(claims{"exp": seconds(0)}))},
		{"not valid yet", "token-not-yet", "", i.token(good.with(claims{"nbf": seconds(Leeway + time.Second)}))},
		{"of another audience", "token-audience", "", i.token(good.with(claims{"aud": "shop"}))},
		{"of an untrusted issuer", "token-issuer", "", i.token(good.with(claims{"iss": "https://evil.example"}))},
		{"forged", "token-signature", "", forge(t, protected{"alg": "ES256", "kid": i.kid}, good, newECKey(t))},
		{"unsigned", "token-algorithm", "", forge(t, protected{"alg": "none", "kid": i.kid}, good, nil)},
		{"of an unknown key", "token-foreign-key", "", forge(t, protected{"alg": "ES256", "kid": "else"}, good, i.key)},
		{"empty", "token-missing", "", ""},
		{"no JWT", "token-malformed", "", "opaque"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyBearer(t.Context(), c.token, testNow)
			wantRefusal(t, err, c.code, c.message)
			if !a.IsZero() {
				t.Errorf("a refused token names %s", a)
			}
		})
	}
}
