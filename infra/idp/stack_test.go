package idp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign/infra/idp"
	"github.com/countersign-dev/countersign/infra/idp/robot"
)

// stack is a provider that listens.
type stack struct {
	*idp.Provider
	config  idp.Config
	machine *ecdsa.PrivateKey
}

func start(t *testing.T) *stack {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	machine := newKey(t)
	s := &stack{machine: machine, config: idp.Config{
		ID: "acme", URL: "http://" + listener.Addr().String() + "/acme", Organisation: "Acme <Corporation>", Dir: t.TempDir(),
		People: []idp.Person{
			{Login: "alice", Subject: "a-1001", Name: "Alice Ahn", Email: "alice@acme.example", Password: "correct horse"},
			{Login: "dave", Subject: "a-1004", Name: "Dave Dunn", Password: "battery staple", Disabled: true},
			{Login: "olivia", Subject: "a-1003", Name: "Olivia Ortiz"},
		},
		Machines: []idp.Machine{{Client: "procurement", PublicKey: machine.Public()}},
	}}
	if s.Provider, err = idp.Open(s.config); err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}}
	server.Start()
	t.Cleanup(server.Close)
	return s
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func discover(t *testing.T, s *stack) *oidc.Provider {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), s.config.URL)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// listener plays the command line: it waits for the code on a loopback port.
func listener(t *testing.T) (redirect string, answers <-chan url.Values) {
	t.Helper()
	channel := make(chan url.Values, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			t.Errorf("the redirect went to %s", r.URL.Path)
		}
		channel <- r.URL.Query()
		_, _ = io.WriteString(w, "You may close this window.")
	}))
	t.Cleanup(server.Close)
	return server.URL + "/callback", channel
}

// login runs the whole code flow for alice and returns the token answer.
func login(t *testing.T, s *stack, client string, scopes []string, options ...oauth2.AuthCodeOption) (*oauth2.Token, error) {
	t.Helper()
	redirect, answers := listener(t)
	config := oauth2.Config{ClientID: client, Endpoint: discover(t, s).Endpoint(), RedirectURL: redirect, Scopes: append([]string{oidc.ScopeOpenID}, scopes...)}
	verifier := oauth2.GenerateVerifier()
	state := rand.Text()
	authorize := config.AuthCodeURL(state, append(options, oauth2.S256ChallengeOption(verifier))...)
	if err := robot.Login(t.Context(), authorize, "alice", "correct horse"); err != nil {
		return nil, err
	}
	answer := <-answers
	if answer.Get("state") != state {
		t.Fatalf("state %q, want %q", answer.Get("state"), state)
	}
	return config.Exchange(t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
}

// verify checks a token as a relying party does: by discovery and JWKS.
func verify(t *testing.T, s *stack, audience, token string) (*oidc.IDToken, error) {
	t.Helper()
	return discover(t, s).Verifier(&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"ES256"}}).Verify(t.Context(), token)
}

func kid(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Signatures[0].Header.KeyID
}

func post(t *testing.T, target string, want int) []byte {
	t.Helper()
	response, err := http.Post(target, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != want {
		t.Fatalf("%s: status %d: %s", target, response.StatusCode, body)
	}
	return body
}
