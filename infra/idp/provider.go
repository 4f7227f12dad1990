// Package idp is an OpenID provider for one organisation of the local stack. It
// runs on the provider library of zitadel/oidc with its state in a directory.
//
// People log in with a password at a form. Two public native clients exist:
//
//   - countersign: its JWT access token (aud "countersign", 10 minutes) is the
//     credential for the API. With the scope offline_access it also gets a
//     refresh token, good for one use and for 8 hours after the login.
//   - countersign-evidence: its ID token (5 minutes) proves a decision and carries
//     nonce, auth_time, acr and amr. Its tokens are credentials nowhere.
//
// Both need PKCE with S256 and redirect to http://127.0.0.1:ANY/callback (RFC
// 8252). There is no single sign-on: each authorization request ends in a fresh
// login, and auth_time is its moment. Tokens are signed with ES256.
//
// Machines send an RFC 7523 assertion and get an access token with sub = client
// id. A person's subject and a machine's client id never are the same.
//
// For tests there are two routes without authentication. They answer loopback
// peers alone and refuse requests from other web sites:
//
//	POST <issuer>/admin/rotate                           200 {"kid":"…"}
//	POST <issuer>/admin/disable?login=x&disabled=true    204
package idp

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/text/language"
)

const (
	maxBody  = 64 << 10
	maxQuery = 8 << 10
)

// Provider is one organisation's OpenID provider. It is safe for concurrent use.
type Provider struct {
	issuer       *url.URL
	organisation string
	storage      *storage
	op           *op.Provider
	routes       http.Handler
}

// Open loads the provider's state from config.Dir or makes a new one. The
// directory belongs to one issuer: another URL is an error. One process at a time
// may use it; the caller sees to that.
func Open(config Config) (*Provider, error) {
	issuer, err := config.check()
	if err != nil {
		return nil, fmt.Errorf("couldn't open the identity provider %q: %w", config.ID, err)
	}
	storage, err := openStorage(config)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the identity provider %q in %s: %w", config.ID, config.Dir, err)
	}
	settings := &op.Config{CodeMethodS256: true, GrantTypeRefreshToken: true, SupportedUILocales: []language.Tag{language.English}}
	// Encrypts authorization codes. They die with the process, so may the key.
	_, _ = rand.Read(settings.CryptoKey[:])
	settings.CryptoKeyId = "codes"
	library, err := op.NewProvider(settings, storage, op.StaticIssuer(config.URL),
		op.WithAllowInsecure(),  // http, which check allows on loopback alone
		op.WithCORSOptions(nil)) // native clients need no access from web pages
	if err != nil {
		return nil, fmt.Errorf("couldn't open the identity provider %q: %w", config.ID, err)
	}
	p := &Provider{issuer: issuer, organisation: config.Organisation, storage: storage, op: library}
	p.routes = http.StripPrefix(issuer.Path, p.mux())
	return p, nil
}

func (p *Provider) mux() http.Handler {
	sameSite := http.NewCrossOriginProtection()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+oidc.DiscoveryEndpoint, p.discovery)
	mux.HandleFunc("GET /login", p.showLogin)
	mux.Handle("POST /login", sameSite.Handler(http.HandlerFunc(p.submitLogin)))
	mux.Handle("POST /admin/rotate", sameSite.Handler(http.HandlerFunc(p.adminRotate)))
	mux.Handle("POST /admin/disable", sameSite.Handler(http.HandlerFunc(p.adminDisable)))
	mux.HandleFunc("POST /oauth/token", p.token)
	// The rest of the library's routes (introspection, end of session, device
	// grant) has no use here and stays shut.
	for _, route := range []string{"GET /authorize", "POST /authorize", "GET /authorize/callback", "GET /userinfo", "POST /userinfo", "POST /revoke", "GET /keys", "GET /healthz", "GET /ready"} {
		mux.Handle(route, p.op)
	}
	return mux
}

// ServeHTTP serves everything below the issuer's path. Requests with another Host
// than the issuer's get 421, so that no other name leads here (DNS rebinding).
// Bodies are bounded to 64 KiB and queries to 8 KiB.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != p.issuer.Host {
		http.Error(w, "this is "+p.issuer.String(), http.StatusMisdirectedRequest)
		return
	}
	if len(r.URL.RawQuery) > maxQuery {
		http.Error(w, "the query is longer than 8 KiB", http.StatusRequestURITooLong)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "same-origin") // no-referrer would turn the form's Origin into null
	header.Set("X-Content-Type-Options", "nosniff")
	p.routes.ServeHTTP(w, r)
}

// discovery tells what is served, not all that the library could.
func (p *Provider) discovery(w http.ResponseWriter, r *http.Request) {
	config := op.CreateDiscoveryConfig(op.ContextWithIssuer(r.Context(), p.issuer.String()), p.op, p.storage)
	config.IntrospectionEndpoint, config.IntrospectionEndpointAuthMethodsSupported, config.IntrospectionEndpointAuthSigningAlgValuesSupported = "", nil, nil
	config.DeviceAuthorizationEndpoint, config.EndSessionEndpoint, config.CheckSessionIframe = "", "", ""
	config.RevocationEndpointAuthMethodsSupported, config.RevocationEndpointAuthSigningAlgValuesSupported = []oidc.AuthMethod{oidc.AuthMethodNone}, nil
	config.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	config.ResponseModesSupported = []string{string(oidc.ResponseModeQuery)}
	config.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials, oidc.GrantTypeBearer}
	config.TokenEndpointAuthMethodsSupported = []oidc.AuthMethod{oidc.AuthMethodNone, oidc.AuthMethodPrivateKeyJWT}
	config.TokenEndpointAuthSigningAlgValuesSupported = []string{"ES256", "RS256", "PS256"}
	config.ScopesSupported = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail, oidc.ScopeOfflineAccess}
	config.ClaimsSupported = []string{"sub", "iss", "aud", "exp", "iat", "nonce", "auth_time", "acr", "amr", "name", "preferred_username", "email", "email_verified"}
	config.ACRValuesSupported = []string{acrPassword}
	op.Discover(w, config)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		op.RequestError(w, r, oidc.ErrInvalidRequest().WithDescription("The form can't be read or is larger than 64 KiB."), nil)
		return
	}
	machine := []string{string(oidc.GrantTypeBearer), string(oidc.GrantTypeClientCredentials)}
	if slices.Contains(machine, r.PostForm.Get("grant_type")) {
		p.machineToken(w, r)
		return
	}
	// The library would leave out the reason.
	if token := r.PostForm.Get("refresh_token"); p.storage.disabledRefresh(token) {
		op.RequestError(w, r, oidc.ErrInvalidGrant().WithDescription("%s", errDisabled.Error()), nil)
		return
	}
	p.op.ServeHTTP(w, r)
}

// RotateKey makes a new signing key. Tokens of the old ones still verify: they
// stay in the JWKS, up to 32 keys.
func (p *Provider) RotateKey() error {
	_, err := p.storage.rotate()
	return err
}

// SetDisabled disables or enables a person. A disabled person can't log in, can't
// redeem a code and can't refresh; access tokens already issued run out within 10
// minutes. An unknown login is an error.
func (p *Provider) SetDisabled(login string, disabled bool) error {
	return p.storage.setDisabled(login, disabled)
}

// People returns everybody with their clear passwords, as the local stack prints
// them.
func (p *Provider) People() []Person {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	people := make([]Person, 0, len(p.storage.state.People))
	for _, a := range p.storage.state.People {
		people = append(people, Person{Login: a.Login, Subject: a.Subject, Name: a.Name, Email: a.Email, Password: p.storage.passwords[a.Login], Disabled: a.Disabled})
	}
	return people
}

func (p *Provider) adminRotate(w http.ResponseWriter, r *http.Request) {
	if !fromLoopback(w, r) {
		return
	}
	kid, err := p.storage.rotate()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"kid": kid})
}

func (p *Provider) adminDisable(w http.ResponseWriter, r *http.Request) {
	if !fromLoopback(w, r) {
		return
	}
	query := r.URL.Query()
	disabled, err := strconv.ParseBool(query.Get("disabled"))
	if err != nil {
		http.Error(w, "disabled must be true or false", http.StatusBadRequest)
		return
	}
	if err := p.SetDisabled(query.Get("login"), disabled); err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, errUnknownLogin) {
			status = http.StatusNotFound
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// fromLoopback refuses peers from elsewhere.
func fromLoopback(w http.ResponseWriter, r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err == nil {
		if address, parseErr := netip.ParseAddr(host); parseErr == nil && address.Unmap().IsLoopback() {
			return true
		}
	}
	http.Error(w, "only from this machine", http.StatusForbidden)
	return false
}
