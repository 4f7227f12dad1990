package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// forgery is one way to prove a decision wrongly, and how it must be refused.
type forgery struct {
	name, code, message string
	token               func(i *testIssuer, c claims) string
}

func changed(changes claims) func(*testIssuer, claims) string {
	return func(i *testIssuer, c claims) string { return i.token(c.with(changes)) }
}

func headed(changes protected) func(*testIssuer, claims) string {
	return func(i *testIssuer, c claims) string {
		h := protected{"alg": "ES256", "kid": i.kid, "typ": "JWT"}
		for k, v := range changes {
			if h[k] = v; v == nil {
				delete(h, k)
			}
		}
		return forge(i.t, h, c, i.key)
	}
}

func part(n int, f func(string) string) func(*testIssuer, claims) string {
	return func(i *testIssuer, c claims) string {
		parts := strings.Split(i.token(c), ".")
		parts[n] = f(parts[n])
		return strings.Join(parts, ".")
	}
}

func seconds(d time.Duration) int64 { return testNow.Add(d).Unix() }

func forgeries() []forgery {
	const foreign = "keys come from the registered issuer alone"
	return []forgery{
		{"no token", "token-missing", "there is no token", func(*testIssuer, claims) string { return "" }},
		{"alg none", "token-algorithm", `signed with "none"`, func(i *testIssuer, c claims) string {
			return forge(i.t, protected{"alg": "none", "kid": i.kid}, c, nil)
		}},
		{"alg None with a signature", "token-algorithm", "", headed(protected{"alg": "None"})},
		{"no alg", "token-algorithm", "", headed(protected{"alg": nil})},
		{"HS256 with the public key as secret", "token-algorithm", `signed with "HS256"`, func(i *testIssuer, c claims) string {
			der, err := x509.MarshalPKIXPublicKey(i.key.Public())
			if err != nil {
				i.t.Fatal(err)
			}
			input := strings.TrimSuffix(forge(i.t, protected{"alg": "HS256", "kid": i.kid}, c, nil), ".")
			mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
			mac.Write([]byte(input))
			return input + "." + segment(mac.Sum(nil))
		}},
		{"another algorithm than the key's", "token-signature", "not of a key of", headed(protected{"alg": "RS256"})},
		{"foreign key under the same kid", "token-signature", "not of a key of", func(i *testIssuer, c claims) string {
			return forge(i.t, protected{"alg": "ES256", "kid": i.kid}, c, newECKey(i.t))
		}},
		{"unknown kid", "token-foreign-key", `("key-2")`, headed(protected{"kid": "key-2"})},
		{"no kid", "token-no-kid", "names no key", headed(protected{"kid": nil})},
		{"empty kid", "token-no-kid", "names no key", headed(protected{"kid": ""})},
		{"kid that is no text", "token-malformed", "header is not JSON", headed(protected{"kid": 1})},
		{"jku", "token-header", foreign, headed(protected{"jku": "https://evil.example/jwks"})},
		{"jwk", "token-header", foreign, func(i *testIssuer, c claims) string {
			key := newECKey(i.t)
			return forge(i.t, protected{"alg": "ES256", "kid": i.kid, "jwk": publicJWK(i.kid, key)}, c, key)
		}},
		{"x5u", "token-header", foreign, headed(protected{"x5u": "https://evil.example/chain"})},
		{"x5c", "token-header", foreign, headed(protected{"x5c": []string{"MIIB"}})},
		{"crit", "token-header", "nothing critical is understood", headed(protected{"crit": []string{"exp"}, "exp": 1})},
		{"b64", "token-header", `has "b64"`, headed(protected{"b64": false})},
		{"zip", "token-header", `has "zip"`, headed(protected{"zip": "DEF"})},

		{"two parts", "token-malformed", "three parts", func(i *testIssuer, c claims) string { return strings.Join(strings.Split(i.token(c), ".")[:2], ".") }},
		{"five parts", "token-malformed", "three parts", func(i *testIssuer, c claims) string { return i.token(c) + ".a.b" }},
		{"garbage", "token-malformed", "header is not JSON", func(*testIssuer, claims) string { return "a.b.c" }},
		{"header that isn't base64", "token-malformed", "header is not JSON", part(0, func(string) string { return "!!!" })},
		{"header that is a list", "token-malformed", "header is not JSON", part(0, func(string) string { return segment([]byte(`["alg"]`)) })},
		{"padded header", "token-malformed", "header is not JSON", part(0, func(s string) string { return s + "==" })},
		{"claims that aren't base64", "token-malformed", "claims are not JSON", part(1, func(string) string { return "%%%" })},
		{"claims that aren't JSON", "token-malformed", "claims are not JSON", part(1, func(string) string { return segment([]byte("lena")) })},
		{"signature that isn't base64", "token-malformed", "", part(2, func(string) string { return "$$$" })},
		{"no signature", "token-signature", "", part(2, func(string) string { return "" })},
		{"cut signature", "token-signature", "", part(2, func(s string) string { return s[:40] })},
		{"claims changed after signing", "token-signature", "", func(i *testIssuer, c claims) string {
			parts, other := strings.Split(i.token(c), "."), strings.Split(i.token(c.with(claims{"acr": "none"})), ".")
			return parts[0] + "." + other[1] + "." + parts[2]
		}},
		{"typ that is no text", "token-malformed", "header is not JSON", headed(protected{"typ": []string{"JWT"}})},
		{"nested in another JWT", "token-malformed", "claims are not JSON", func(i *testIssuer, c claims) string {
			parts := strings.Split(i.token(c), ".")
			return segment([]byte(`{"alg":"ES256","kid":"`+i.kid+`","typ":"JWT","cty":"JWT"}`)) + "." + segment([]byte(i.token(c))) + "." + parts[2]
		}},
		{"oversized", "token-too-large", "at most 16384", changed(claims{"fat": strings.Repeat("x", MaxToken)})},

		{"issuer that nobody trusts", "token-issuer", "which this tenant doesn't trust", changed(claims{"iss": "https://evil.example"})},
		{"issuer with a slash", "token-issuer", "which this tenant doesn't trust", func(i *testIssuer, c claims) string { return i.token(c.with(claims{"iss": i.url + "/"})) }},
		{"no issuer", "token-issuer", "", changed(claims{"iss": nil})},
		{"another audience", "token-audience", `not meant for "countersign-evidence"`, changed(claims{"aud": "shop"})},
		{"no audience", "token-audience", "not meant for", changed(claims{"aud": nil})},
		{"access token as proof", "token-audience", "not meant for", changed(claims{"aud": loginAudience, "nonce": nil})},
		{"evidence audience and another", "token-audience", "more audiences than evidence", changed(claims{"aud": []string{evidenceAudience, loginAudience}})},
		{"issued to another client", "token-audience", "another client", changed(claims{"azp": "shop"})},

		{"expired a second ago", "token-expired", "expired at 2026-03-01T11:59:59Z", changed(claims{"exp": seconds(-time.Second)})},
		{"expires at this instant", "token-expired", "expired at 2026-03-01T12:00:00Z", changed(claims{"exp": seconds(0)})}, // RFC 7519, 4.1.4: on or after
		{"never expires", "token-expired", "", changed(claims{"exp": nil})},
		{"valid in an hour", "token-not-yet", "not valid yet", changed(claims{"nbf": seconds(time.Hour)})},
		{"valid just beyond the leeway", "token-not-yet", "not valid yet", changed(claims{"nbf": seconds(Leeway + time.Second)})},
		{"issued just beyond the leeway", "token-not-yet", "from the future", changed(claims{"iat": seconds(Leeway + time.Second)})},

		{"of another decision", "token-other-decision", "nonce is not the decision's digest", func(i *testIssuer, c claims) string {
			d, _ := i.ballot()
			d.Verdict = countersign.Reject
			return i.token(c.with(claims{"nonce": nonceOf(i.t, d)}))
		}},
		{"nonce of nothing", "token-other-decision", "nonce is not the decision's digest", changed(claims{"nonce": strings.Repeat("0", 64)})},
		{"nonce in capitals", "token-other-decision", "nonce is not the decision's digest", func(i *testIssuer, c claims) string {
			return i.token(c.with(claims{"nonce": strings.ToUpper(c["nonce"].(string))}))
		}},
		{"nonce among others", "token-malformed", "can't be read as a JWT", func(i *testIssuer, c claims) string {
			return i.token(c.with(claims{"nonce": []any{c["nonce"], "else"}}))
		}},
		{"no nonce", "token-other-decision", "nonce", changed(claims{"nonce": nil})},
		{"empty nonce", "token-other-decision", "nonce", changed(claims{"nonce": ""})},
		{"of another person", "token-other-person", "another person", changed(claims{"sub": "liam"})},
		{"of nobody", "token-other-person", "another person", changed(claims{"sub": nil})},
		{"no auth_time", "token-not-fresh", "auth_time", changed(claims{"auth_time": nil})},
		{"auth_time that is text", "token-malformed", "claims can't be read", changed(claims{"auth_time": "now"})},
		{"login just before the leeway", "token-not-fresh", "a fresh login is needed", changed(claims{"auth_time": seconds(-Leeway - time.Second)})},
		{"login of yesterday", "token-not-fresh", "a fresh login is needed", changed(claims{"auth_time": seconds(-24 * time.Hour)})},
		{"login in the future", "token-not-fresh", "", changed(claims{"auth_time": seconds(time.Hour)})},
	}
}

// A way to forge that is known to the world stays in the list.
func TestTheListOfForgeriesHasTheKnownOnes(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, f := range forgeries() {
		if names[f.name] {
			t.Errorf("%q is in the list twice", f.name)
		}
		names[f.name] = true
	}
	for _, known := range []string{
		"unknown kid", "alg none", "HS256 with the public key as secret", "jku", "jwk", "x5u", "x5c", "crit", "typ that is no text", "nested in another JWT",
		"another audience", "evidence audience and another", "issued to another client", "issuer that nobody trusts", "nonce of nothing", "no nonce",
		"expired a second ago", "valid in an hour", "no auth_time", "login of yesterday", "issued just beyond the leeway", "of another decision",
		"foreign key under the same kid",
	} {
		if !names[known] {
			t.Errorf("%q is not in the list", known)
		}
	}
	if len(names) < 20 {
		t.Errorf("the list has %d forgeries", len(names))
	}
}

func TestForgedAndWrongProofsAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, c := i.ballot()
	for _, f := range forgeries() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			// A registry of its own for each: one must not be refused because of the traces of another.
			r := NewRegistry([]countersign.Issuer{i.setting()})
			facts, err := r.VerifyProof(t.Context(), d, countersign.Proof{IDToken: f.token(i, c)}, testNow)
			wantRefusal(t, err, f.code, f.message)
			if facts.Actor != (countersign.Actor{}) || facts.Assurance != 0 {
				t.Errorf("a refused proof has the facts %+v", facts)
			}
		})
	}
}

// The archived check is the same check: what is refused online is refused in ten years.
func TestForgedProofsAreRefusedOfflineToo(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, c := i.ballot()
	jwk, err := json.Marshal(publicJWK(i.kid, i.key))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range forgeries() {
		if f.code == "token-foreign-key" || f.code == "token-issuer" {
			continue // without a network there is one key and one issuer: see the tests of the archived proof
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			_, err := verifyArchivedProof(d, countersign.Proof{IDToken: f.token(i, c)}, i.setting(), jwk, testNow)
			wantRefusal(t, err, f.code, f.message)
		})
	}
}

func FuzzPeek(f *testing.F) {
	i := newTestIssuer(f)
	_, c := i.ballot()
	signed := map[string]bool{} // what the issuer's own key signed
	seed := func(token string) {
		f.Add(token)
		if n := strings.LastIndex(token, "."); n > 0 {
			signed[token[:n]] = true
		}
	}
	for _, forged := range forgeries() {
		if forged.name != "oversized" {
			seed(forged.token(i, c))
		}
	}
	jwk, err := json.Marshal(publicJWK(i.kid, i.key))
	if err != nil {
		f.Fatal(err)
	}
	d, _ := i.ballot()
	seed(i.token(c))
	f.Fuzz(func(t *testing.T, raw string) {
		h, _, refusal := peek(raw)
		if refusal != nil {
			if refusal.Code == "" || refusal.Message == "" || len(refusal.Message) > 1000 {
				t.Fatalf("refused as %+v", refusal)
			}
			return
		}
		if h.KeyID == "" || len(raw) > MaxToken || h.Algorithm == "none" || strings.HasPrefix(h.Algorithm, "HS") {
			t.Fatalf("read the header %+v", h)
		}
		facts, err := verifyArchivedProof(d, countersign.Proof{IDToken: raw}, i.setting(), jwk, testNow)
		var other *countersign.Refusal
		if err == nil && (facts.Actor != d.Actor || !signed[raw[:strings.LastIndex(raw, ".")]]) {
			t.Fatalf("accepted what the issuer didn't sign: %q", raw)
		}
		if err != nil && !errors.As(err, &other) {
			t.Fatalf("%v is no refusal", err)
		}
	})
}
