package idp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign/infra/idp"
)

func TestRefreshEndsWhenAPersonIsDisabled(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, err := login(t, s, "countersign", []string{"offline_access"})
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(token string) (*oauth2.Token, error) {
		config := oauth2.Config{ClientID: "countersign", Endpoint: discover(t, s).Endpoint()}
		return config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token}).Token()
	}
	second, err := refresh(first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, s, "countersign", second.AccessToken); err != nil {
		t.Error(err)
	}
	if _, err := refresh(first.RefreshToken); err == nil {
		t.Error("a refresh token was good twice")
	}
	post(t, s.config.URL+"/admin/disable?login=alice&disabled=true", http.StatusNoContent)
	var refused *oauth2.RetrieveError
	if _, err := refresh(second.RefreshToken); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" || !strings.Contains(refused.ErrorDescription, "disabled") {
		t.Errorf("a disabled person's refresh: %v", err)
	}
	if _, err := login(t, s, "countersign", nil); err == nil || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("a disabled person's login: %v", err)
	}
	post(t, s.config.URL+"/admin/disable?login=alice&disabled=false", http.StatusNoContent)
	if _, err := refresh(second.RefreshToken); err != nil {
		t.Errorf("enabled again: %v", err)
	}
}

func TestRotationKeepsOldTokensGood(t *testing.T) {
	t.Parallel()
	s := start(t)
	old, err := login(t, s, "countersign", nil)
	if err != nil {
		t.Fatal(err)
	}
	var rotated struct{ Kid string }
	if err := json.Unmarshal(post(t, s.config.URL+"/admin/rotate", http.StatusOK), &rotated); err != nil {
		t.Fatal(err)
	}
	fresh, err := login(t, s, "countersign", nil)
	if err != nil {
		t.Fatal(err)
	}
	if kid(t, old.AccessToken) == rotated.Kid || kid(t, fresh.AccessToken) != rotated.Kid {
		t.Errorf("kids %q and %q after a rotation to %q", kid(t, old.AccessToken), kid(t, fresh.AccessToken), rotated.Kid)
	}
	for _, token := range []*oauth2.Token{old, fresh} {
		if _, err := verify(t, s, "countersign", token.AccessToken); err != nil {
			t.Error(err)
		}
	}
}

func TestRestartKeepsKeysPasswordsAndIssuer(t *testing.T) {
	t.Parallel()
	s := start(t)
	token, err := login(t, s, "countersign", []string{"offline_access"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if err := s.SetDisabled("dave", false); err != nil {
		t.Fatal(err)
	}
	made := s.People()
	if len(made) != 3 || made[2].Password == "" || made[0].Password != "correct horse" || made[1].Disabled {
		t.Fatalf("people %+v", made)
	}
	again, err := idp.Open(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for i, person := range again.People() {
		if person != made[i] {
			t.Errorf("%+v became %+v", made[i], person)
		}
	}
	keys := func(provider http.Handler) string {
		recorder := httptest.NewRecorder()
		provider.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, s.config.URL+"/keys", nil))
		return recorder.Body.String()
	}
	if keys(s) != keys(again) || !strings.Contains(keys(again), kid(t, token.AccessToken)) || strings.Contains(keys(again), `"d"`) {
		t.Errorf("keys %s became %s", keys(s), keys(again))
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}, "client_id": {"countersign"}}
	request := httptest.NewRequest(http.MethodPost, s.config.URL+"/oauth/token", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	recorder := httptest.NewRecorder()
	again.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Errorf("refresh after a restart: %d %s", recorder.Code, recorder.Body)
	}
	for _, name := range []string{"state.json", "passwords.json"} {
		info, err := os.Stat(filepath.Join(s.config.Dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	moved := s.config
	moved.URL = "http://127.0.0.1:1/acme"
	if _, err := idp.Open(moved); err == nil || !strings.Contains(err.Error(), "belongs to the issuer") {
		t.Errorf("a directory moved to another issuer: %v", err)
	}
}

func TestOpenRefusesAnUnfitConfiguration(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	machine := func(client string, key any) func(*idp.Config) {
		return func(c *idp.Config) { c.Machines = []idp.Machine{{Client: client, PublicKey: key}} }
	}
	person := func(login, subject string) func(*idp.Config) {
		return func(c *idp.Config) {
			c.People = append(c.People, idp.Person{Login: login, Subject: subject, Name: "B"})
		}
	}
	for name, change := range map[string]func(*idp.Config){
		"id with a slash":            func(c *idp.Config) { c.ID = "a/b" },
		"public address":             func(c *idp.Config) { c.URL = "http://192.0.2.1:80/acme" },
		"host name":                  func(c *idp.Config) { c.URL = "http://localhost:80/acme" },
		"another path":               func(c *idp.Config) { c.URL = "http://127.0.0.1:80/globex" },
		"query":                      func(c *idp.Config) { c.URL += "?x=y" },
		"no organisation":            func(c *idp.Config) { c.Organisation = "" },
		"two people, one subject":    person("b", "a-1"),
		"two people, one login":      person("a", "a-2"),
		"machine called as a person": machine("a-1", newKey(t).Public()),
		"machine called as a client": machine("countersign", newKey(t).Public()),
		"P-384":                      machine("m", p384.Public()),
		"no key":                     machine("m", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := idp.Config{ID: "acme", URL: "http://127.0.0.1:80/acme", Organisation: "Acme", Dir: filepath.Join(t.TempDir(), "idp"), People: []idp.Person{{Login: "a", Subject: "a-1", Name: "A"}}}
			change(&config)
			if _, err := idp.Open(config); err == nil {
				t.Error("it opened")
			}
			if _, err := os.Stat(config.Dir); err == nil {
				t.Error("it left a directory behind")
			}
		})
	}
}
