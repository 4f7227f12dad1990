package idp_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// assertion is what a Go client signs to log a machine in (RFC 7523, section 3).
func assertion(t *testing.T, key any, issuer string, change func(claims map[string]any)) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"iss": "procurement", "sub": "procurement", "aud": issuer, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": rand.Text()}
	if change != nil {
		change(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func bearerGrant(assertion string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
}

func clientCredentials(assertion string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
}

// machineLogin sends the form to the token endpoint: all that a machine's client
// needs besides the assertion.
func machineLogin(ctx context.Context, endpoint string, form url.Values) (token string, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken      string `json:"access_token"`
		ErrorDescription string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil {
		return "", response.StatusCode, err
	}
	if response.StatusCode != http.StatusOK {
		return "", response.StatusCode, errors.New(answer.ErrorDescription)
	}
	return answer.AccessToken, response.StatusCode, nil
}

func TestMachineGetsACredential(t *testing.T) {
	t.Parallel()
	s := start(t)
	endpoint := discover(t, s).Endpoint().TokenURL
	for name, form := range map[string]func(string) url.Values{"jwt-bearer": bearerGrant, "private_key_jwt": clientCredentials} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, _, err := machineLogin(t.Context(), endpoint, form(assertion(t, s.machine, s.config.URL, nil)))
			if err != nil {
				t.Fatal(err)
			}
			token, err := verify(t, s, "countersign", raw)
			if err != nil {
				t.Fatal(err)
			}
			if token.Subject != "procurement" || len(token.Audience) != 1 {
				t.Errorf("sub %q, aud %v", token.Subject, token.Audience)
			}
			if life := token.Expiry.Sub(token.IssuedAt).Round(time.Second); life != 10*time.Minute {
				t.Errorf("the token lives for %v", life)
			}
		})
	}
}

func TestForgedAssertionsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	endpoint := discover(t, s).Endpoint().TokenURL
	now := time.Now()
	changed := func(change func(map[string]any)) string { return assertion(t, s.machine, s.config.URL, change) }
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(changed(nil), ".")[1] + "."
	for name, forged := range map[string]string{
		"foreign key":      assertion(t, newKey(t), s.config.URL, nil),
		"another issuer's": assertion(t, s.machine, "http://127.0.0.1:1/globex", nil),
		"unknown machine":  changed(func(c map[string]any) { c["iss"], c["sub"] = "mallory", "mallory" }),
		"for a person":     changed(func(c map[string]any) { c["sub"] = "a-1001" }),
		"expired": changed(func(c map[string]any) {
			c["iat"], c["exp"] = now.Add(-2*time.Minute).Unix(), now.Add(-time.Minute).Unix()
		}),
		"no exp":           changed(func(c map[string]any) { delete(c, "exp") }),
		"no iat":           changed(func(c map[string]any) { delete(c, "iat") }),
		"good for an hour": changed(func(c map[string]any) { c["exp"] = now.Add(time.Hour).Unix() }),
		"issued in future": changed(func(c map[string]any) { c["iat"] = now.Add(time.Minute).Unix() }),
		"alg none":         unsigned,
		"empty":            "",
		"not a token":      "hello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, status, err := machineLogin(t.Context(), endpoint, bearerGrant(forged)); err == nil || status != http.StatusBadRequest || !strings.Contains(err.Error(), "assertion was refused") {
				t.Errorf("as a grant: %d %v", status, err)
			}
			if _, status, err := machineLogin(t.Context(), endpoint, clientCredentials(forged)); err == nil || status != http.StatusUnauthorized {
				t.Errorf("as client authentication: %d %v", status, err)
			}
		})
	}
	secret := url.Values{"grant_type": {"client_credentials"}, "client_id": {"procurement"}, "client_secret": {"x"}}
	if _, status, err := machineLogin(t.Context(), endpoint, secret); err == nil || status != http.StatusUnauthorized {
		t.Errorf("a secret: %d %v", status, err)
	}
	other := clientCredentials(changed(nil))
	other.Set("client_id", "countersign")
	if _, _, err := machineLogin(t.Context(), endpoint, other); err == nil {
		t.Error("an assertion passed for another client_id")
	}
}
