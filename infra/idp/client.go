package idp

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	// clientAPI gets access tokens that are credentials: aud holds its name.
	clientAPI = "countersign"
	// clientEvidence gets ID tokens that prove a decision and nothing else.
	clientEvidence = "countersign-evidence"

	idTokenLifetime      = 5 * time.Minute
	accessTokenLifetime  = 10 * time.Minute
	refreshTokenLifetime = 8 * time.Hour
)

// client is a public native client (RFC 8252): no secret, PKCE, a redirect to
// 127.0.0.1 on any port.
type client struct {
	id, loginURL string
	refresh      bool
}

var _ op.Client = client{}

func (c client) GetID() string                       { return c.id }
func (c client) RedirectURIs() []string              { return []string{"http://127.0.0.1/callback"} }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodNone }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType {
	if c.refresh {
		return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
	}
	return []oidc.GrantType{oidc.GrantTypeCode}
}
func (c client) LoginURL(id string) string                                    { return c.loginURL + "?id=" + id }
func (c client) AccessTokenType() op.AccessTokenType                          { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration                               { return idTokenLifetime }
func (c client) DevMode() bool                                                { return false }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return unchanged }
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return unchanged }
func (c client) IsScopeAllowed(string) bool                                   { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool                         { return true }
func (c client) ClockSkew() time.Duration                                     { return 0 }

func unchanged(scopes []string) []string { return scopes }
