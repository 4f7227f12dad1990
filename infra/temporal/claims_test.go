package temporal

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/server/common/authorization"
)

// replaced sets a claim, or removes it for nil.
func replaced(claims map[string]any, key string, value any) map[string]any {
	if value == nil {
		delete(claims, key)
	} else {
		claims[key] = value
	}
	return claims
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mapper := newClaimMapper(w.directory)
	now := time.Now()
	good := func() map[string]any { return w.acme.claims("alice") }
	signed := func(claims map[string]any) string { return "Bearer " + sign(t, w.acme.key, w.acme.kid, claims) }
	platform := func(change func(map[string]any)) string {
		key := w.platform["worker/acme"]
		kid, err := Thumbprint(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{
			"iss": "countersign-platform", "sub": "worker/acme", "aud": "temporal",
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}
		change(claims)
		return "Bearer " + sign(t, key, kid, claims)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	parts := strings.Split(strings.TrimPrefix(signed(good()), "Bearer "), ".")
	other := newIssuer(t)

	for name, header := range map[string]string{
		"no scheme":                  parts[0] + "." + parts[1] + "." + parts[2],
		"basic":                      "Basic YTpi",
		"empty":                      "Bearer ",
		"garbage":                    "Bearer a.b.c",
		"alg none":                   "Bearer " + b64([]byte(`{"alg":"none","kid":"k1"}`)) + "." + parts[1] + ".",
		"alg HS256 by public key":    "Bearer " + sign(t, elliptic256(w.acme), w.acme.kid, good()),
		"foreign key":                "Bearer " + sign(t, other.key, w.acme.kid, good()),
		"no kid":                     "Bearer " + sign(t, w.acme.key, "", good()),
		"unknown kid":                "Bearer " + sign(t, w.acme.key, "k2", good()),
		"signature cut":              "Bearer " + parts[0] + "." + parts[1] + ".",
		"payload changed":            "Bearer " + parts[0] + "." + b64([]byte(`{"iss":"`+w.acme.url+`","sub":"ben","aud":"countersign","exp":9999999999}`)) + "." + parts[2],
		"unknown issuer":             "Bearer " + sign(t, other.key, other.kid, other.claims("alice")),
		"issuer with a slash":        signed(replaced(good(), "iss", w.acme.url+"/")),
		"other tenant's key":         "Bearer " + sign(t, w.globex.key, w.globex.kid, good()),
		"wrong audience":             signed(replaced(good(), "aud", "something")),
		"no audience":                signed(replaced(good(), "aud", nil)),
		"evidence audience":          signed(replaced(good(), "aud", "countersign-evidence")),
		"evidence audience too":      signed(replaced(good(), "aud", []string{"countersign", "countersign-evidence"})),
		"ID token with a nonce":      signed(replaced(good(), "nonce", "n")),
		"ID token with at_hash":      signed(replaced(good(), "at_hash", "h")),
		"for the evidence client":    signed(replaced(good(), "client_id", "countersign-evidence")),
		"authorized evidence client": signed(replaced(good(), "azp", "countersign-evidence")),
		"expired":                    signed(replaced(good(), "exp", now.Add(-time.Minute).Unix())),
		"never expires":              signed(replaced(good(), "exp", nil)),
		"not yet valid":              signed(replaced(good(), "nbf", now.Add(time.Minute).Unix())),
		"no subject":                 signed(replaced(good(), "sub", nil)),
		"subject with a newline":     signed(replaced(good(), "sub", "alice\nben")),
		"long subject":               signed(replaced(good(), "sub", strings.Repeat("a", 256))),
		"oversized":                  signed(replaced(good(), "filler", strings.Repeat("x", maxToken))),

		"platform: other role":       platform(func(c map[string]any) { c["sub"] = "operator/acme" }),
		"platform: other tenant":     platform(func(c map[string]any) { c["sub"] = "worker/globex" }),
		"platform: other audience":   platform(func(c map[string]any) { c["aud"] = "countersign" }),
		"platform: two audiences":    platform(func(c map[string]any) { c["aud"] = []string{"temporal", "countersign"} }),
		"platform: lives too long":   platform(func(c map[string]any) { c["exp"] = now.Add(time.Hour).Unix() }),
		"platform: no iat":           platform(func(c map[string]any) { delete(c, "iat") }),
		"platform: expired":          platform(func(c map[string]any) { c["iat"], c["exp"] = now.Unix()-600, now.Unix()-60 }),
		"platform: key of an issuer": "Bearer " + sign(t, w.acme.key, w.acme.kid, map[string]any{"iss": "countersign-platform", "sub": "worker/acme", "aud": "temporal", "iat": now.Unix(), "exp": now.Unix() + 60}),
		"issuer by platform key":     platform(func(c map[string]any) { c["iss"], c["sub"], c["aud"] = w.acme.url, "alice", "countersign" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims, err := mapper.GetClaims(&authorization.AuthInfo{AuthToken: header})
			if err == nil {
				t.Fatalf("accepted as %s", claims.Subject)
			}
			if len(parts[1]) > 0 && strings.Contains(err.Error(), parts[1]) {
				t.Error("the error contains the token")
			}
		})
	}
}

// elliptic256 is the issuer's public key as bytes, for the classic confusion of a
// public key with a shared secret.
func elliptic256(i *testIssuer) []byte {
	bytes, _ := i.key.PublicKey.Bytes()
	return bytes
}

func TestGoodTokensAreAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mapper := newClaimMapper(w.directory)
	for who, want := range map[string]string{
		"acme/alice":           w.acme.url + "#alice",
		"hart/carol":           w.hart.url + "#carol",
		"platform:worker/acme": "platform#worker/acme",
	} {
		claims, err := mapper.GetClaims(&authorization.AuthInfo{AuthToken: "bearer " + w.token(t, who)})
		if err != nil {
			t.Errorf("%s: %v", who, err)
		} else if claims.Subject != want {
			t.Errorf("%s is %q, want %q", who, claims.Subject, want)
		}
	}
}

func TestANewKeyIsFetchedAndForgedKidsDontHammerTheIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mapper := newClaimMapper(w.directory)
	accept := func(token string) error {
		_, err := mapper.GetClaims(&authorization.AuthInfo{AuthToken: "Bearer " + token})
		return err
	}
	if err := accept(w.acme.token(t, "alice")); err != nil {
		t.Fatal(err)
	}
	w.acme.key, w.acme.kid = newKey(t), "k2"
	if err := accept(w.acme.token(t, "alice")); err != nil {
		t.Errorf("a token by the new key: %v", err)
	}
	before := w.acme.fetches.Load()
	for range 100 {
		if err := accept(sign(t, w.globex.key, "forged", w.acme.claims("alice"))); err == nil {
			t.Fatal("a forged token was accepted")
		}
	}
	if n := w.acme.fetches.Load() - before; n > 5 {
		t.Errorf("100 forged tokens caused %d fetches, want at most 5", n)
	}
	if err := accept(w.acme.token(t, "alice")); err != nil {
		t.Errorf("a good token after the forged ones: %v", err)
	}
}

func TestContradictoryDirectoriesAreRefused(t *testing.T) {
	t.Parallel()
	issuer := `issuers: [{id: a, url: "https://idp.example/a", audience: countersign, evidenceAudience: countersign-evidence}]`
	for name, text := range map[string]string{
		"no namespace":              "tenant: x\n",
		"plain http":                "tenant: x\nnamespace: x\nissuers: [{id: a, url: \"http://idp.example/a\", audience: countersign}]",
		"fragment in the issuer":    "tenant: x\nnamespace: x\nissuers: [{id: a, url: \"https://idp.example/a#b\", audience: countersign}]",
		"evidence audience as own":  "tenant: x\nnamespace: x\nissuers: [{id: a, url: \"https://idp.example/a\", audience: e, evidenceAudience: e}]",
		"person of unknown issuer":  "tenant: x\nnamespace: x\n" + issuer + "\npeople: [{issuer: b, subject: s}]",
		"person listed twice":       "tenant: x\nnamespace: x\n" + issuer + "\npeople: [{issuer: a, subject: s}, {issuer: a, subject: s}]",
		"person and machine in one": "tenant: x\nnamespace: x\n" + issuer + "\npeople: [{issuer: a, subject: s}]\nmachines: [{issuer: a, subject: s}]",
		"not YAML":                  "tenant: [",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "x.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadDirectory([]string{file}, t.TempDir()); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// FuzzBearer feeds the claim mapper headers that nobody signed. None may be accepted.
func FuzzBearer(f *testing.F) {
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Add("Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJjb3VudGVyc2lnbi1wbGF0Zm9ybSJ9.AA")
	f.Add("bearer a.b.c.d.e")
	f.Add("")
	mapper := newClaimMapper(&Directory{})
	f.Fuzz(func(t *testing.T, header string) {
		if claims, err := mapper.GetClaims(&authorization.AuthInfo{AuthToken: header}); err == nil {
			t.Fatalf("accepted %q as %s", header, claims.Subject)
		}
	})
}
