package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign/infra/idp/robot"
	"github.com/countersign-dev/countersign/infra/temporal"
)

// tokenCommand prints a bearer token, obtained as a real client would.
func tokenCommand(ctx context.Context, args []string, output *os.File) error {
	set, data := flags("devstack token")
	as := set.String("as", "", "`issuer/login`: an access token of a person, by the code flow")
	machine := set.String("machine", "", "`issuer/client`: an access token of a machine (RFC 7523)")
	platform := set.String("platform", "", "`role/tenant`: a Temporal token of a platform process")
	if err := parse(set, args, 0); err != nil {
		return err
	}
	dir, err := dataDirectory(*data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var token string
	switch {
	case *as != "" && *machine == "" && *platform == "":
		token, err = personToken(ctx, dir, *as)
	case *machine != "" && *as == "" && *platform == "":
		token, err = machineToken(ctx, dir, *machine)
	case *platform != "" && *as == "" && *machine == "":
		role, tenant, _ := strings.Cut(*platform, "/")
		token, err = platformToken(dir, role, tenant)
	default:
		return usageError{errors.New("give one of --as, --machine and --platform")}
	}
	if err != nil {
		return fmt.Errorf("couldn't get a token: %w", err)
	}
	_, err = fmt.Fprintln(output, token)
	return err
}

// platformToken signs a platform token with the key in the data directory.
func platformToken(dir, role, tenant string) (string, error) {
	if !slices.Contains(temporal.PlatformRoles, role) || strings.ContainsAny(tenant, `/\`) {
		return "", fmt.Errorf("%q and %q aren't a role (%s) and a tenant", role, tenant, strings.Join(temporal.PlatformRoles, ", "))
	}
	key, err := readKey(platformKeyFile(dir, role, tenant))
	if err != nil {
		return "", err
	}
	return temporal.PlatformToken(key, role, tenant, time.Now())
}

// personToken runs the authorization code flow with PKCE (RFC 8252, RFC 7636) as the
// product's native client does, and lets the robot log in.
func personToken(ctx context.Context, dir, as string) (string, error) {
	s, err := readStack(dir)
	if err != nil {
		return "", err
	}
	person, err := s.person(as)
	if err != nil {
		return "", err
	}
	provider, err := oidc.NewProvider(ctx, s.Issuers[person.Issuer].URL)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	state, verifier := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	client := oauth2.Config{
		ClientID:    clientAPI,
		Endpoint:    provider.Endpoint(),
		RedirectURL: "http://" + listener.Addr().String() + "/callback",
		Scopes:      []string{oidc.ScopeOpenID, "profile", "email"},
	}
	answers := make(chan url.Values, 1)
	callback := &http.Server{ReadTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" && r.URL.Query().Get("state") == state {
			select {
			case answers <- r.URL.Query():
			default:
			}
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = callback.Serve(listener) }()
	defer callback.Close()
	if err := robot.Login(ctx, client.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), person.Login, person.Password); err != nil {
		return "", err
	}
	select {
	case answer := <-answers:
		if answer.Get("error") != "" {
			return "", fmt.Errorf("the provider refuses: %s %s", answer.Get("error"), answer.Get("error_description"))
		}
		token, err := client.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	case <-ctx.Done():
		return "", fmt.Errorf("the provider didn't send the browser back: %w", ctx.Err())
	}
}

// machineToken exchanges an assertion for an access token (RFC 7523, 2.1).
func machineToken(ctx context.Context, dir, name string) (string, error) {
	s, err := readStack(dir)
	if err != nil {
		return "", err
	}
	issuer, client, _ := strings.Cut(name, "/")
	at := slices.IndexFunc(s.Machines, func(m machineInfo) bool { return m.Issuer == issuer && m.Client == client })
	if at < 0 {
		return "", fmt.Errorf("there is no machine %q at issuer %q", client, issuer)
	}
	key, err := readKey(s.Machines[at].KeyFile)
	if err != nil {
		return "", err
	}
	provider, err := oidc.NewProvider(ctx, s.Issuers[issuer].URL)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	assertion, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: client, Subject: client, Audience: jwt.Audience{s.Issuers[issuer].URL}, ID: uuid.NewString(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		return "", err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}, "scope": {oidc.ScopeOpenID}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, provider.Endpoint().TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return "", fmt.Errorf("issuer %s answers %s: %s %s", issuer, response.Status, answer.Error, answer.Description)
	}
	return answer.AccessToken, nil
}
