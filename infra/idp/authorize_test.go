package idp_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign/infra/idp/robot"
)

func TestAuthorizeRefusesUnsafeRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	challenge := oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())
	const redirect = "http://127.0.0.1:1234/callback"
	good := url.Values{"client_id": {"countersign"}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {"openid"}, "state": {"s"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}
	for name, c := range map[string]struct {
		set      url.Values
		redirect bool // the error goes to the client; otherwise a page says it
		want     string
	}{
		"no PKCE":                {url.Values{"code_challenge": nil, "code_challenge_method": nil}, true, "PKCE is required"},
		"plain PKCE":             {url.Values{"code_challenge_method": {"plain"}}, true, "PKCE is required"},
		"PKCE without a method":  {url.Values{"code_challenge_method": nil}, true, "PKCE is required"},
		"short challenge":        {url.Values{"code_challenge": {"x"}}, true, "PKCE is required"},
		"evidence, no nonce":     {url.Values{"client_id": {"countersign-evidence"}}, true, "must send a nonce"},
		"prompt=none":            {url.Values{"prompt": {"none"}}, true, "login_required"},
		"implicit":               {url.Values{"response_type": {"id_token"}, "nonce": {"n"}}, true, "response type is missing"},
		"response by fragment":   {url.Values{"response_mode": {"fragment"}}, true, "response_mode must be query"},
		"redirect elsewhere":     {url.Values{"redirect_uri": {"http://evil.example/callback"}}, false, "redirect_uri"},
		"redirect to localhost":  {url.Values{"redirect_uri": {"http://localhost:1234/callback"}}, false, "redirect_uri"},
		"redirect by https":      {url.Values{"redirect_uri": {"https://127.0.0.1:1234/callback"}}, false, "redirect_uri"},
		"another redirect path":  {url.Values{"redirect_uri": {"http://127.0.0.1:1234/other"}}, false, "redirect_uri"},
		"redirect with userinfo": {url.Values{"redirect_uri": {"http://a@127.0.0.1:1234/callback"}}, false, "redirect_uri"},
		"unknown client":         {url.Values{"client_id": {"mallory"}}, false, "client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query := url.Values{}
			for key, values := range good {
				query[key] = values
			}
			for key, values := range c.set {
				query[key] = values
			}
			browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			response, err := browser.Get(s.config.URL + "/authorize?" + query.Encode())
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			said := string(body)
			if c.redirect {
				location, err := response.Location()
				if err != nil || location.Host != "127.0.0.1:1234" {
					t.Fatalf("status %d, location %v: %s", response.StatusCode, location, body)
				}
				fragment, err := url.ParseQuery(location.Fragment)
				if err != nil {
					t.Fatal(err)
				}
				said = location.Query().Get("error") + " " + location.Query().Get("error_description") + fragment.Get("error_description")
				if location.Query().Get("code") != "" {
					t.Error("a code was issued")
				}
			} else if response.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", response.StatusCode)
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("it says %q, want %q", said, c.want)
			}
		})
	}
}

func TestRobotReportsARefusedRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	redirect, answers := listener(t)
	config := oauth2.Config{ClientID: "countersign", Endpoint: discover(t, s).Endpoint(), RedirectURL: redirect, Scopes: []string{"openid"}}
	err := robot.Login(t.Context(), config.AuthCodeURL("s"), "alice", "correct horse")
	if err == nil || !strings.Contains(err.Error(), "PKCE is required") {
		t.Errorf("got %v", err)
	}
	if answer := <-answers; answer.Get("error") != "invalid_request" {
		t.Errorf("the listener got %v", answer)
	}
}
