package temporal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.temporal.io/server/common/authorization"
)

const (
	// maxToken bounds the authorization header.
	maxToken = 16 << 10
	// leeway is the clock difference that is forgiven between issuer and server.
	leeway = 30 * time.Second
)

// Kinds of principal. They are the Type of the Principal in a HistoryEvent.
const (
	KindPerson   = "person"
	KindMachine  = "machine"
	KindPlatform = "platform"
)

// caller is an authenticated sender; it travels in Claims.Extensions.
type caller struct {
	member              // of an issuer, or empty
	role, tenant string // of the platform, or empty
}

// name is the Name of the Principal in a HistoryEvent: "<issuer url>#<sub>" or
// "platform#<role>/<tenant>".
func (c *caller) name() string {
	if c.role != "" {
		return KindPlatform + "#" + c.role + "/" + c.tenant
	}
	return c.issuer + "#" + c.subject
}

// claimMapper turns a bearer token into a caller. It only authenticates; what
// the caller may do is the authorizer's business.
type claimMapper struct {
	directory *Directory
	keys      map[string]*issuerKeys
	now       func() time.Time
}

var _ authorization.ClaimMapper = (*claimMapper)(nil)

func newClaimMapper(directory *Directory) *claimMapper {
	m := &claimMapper{directory: directory, keys: map[string]*issuerKeys{}, now: time.Now}
	for url := range directory.issuers {
		m.keys[url] = newIssuerKeys(url)
	}
	return m
}

// GetClaims verifies the authorization header. Its errors are logged by the
// server and not shown to the caller; they never contain the token.
func (m *claimMapper) GetClaims(info *authorization.AuthInfo) (*authorization.Claims, error) {
	who, err := m.authenticate(info.AuthToken)
	if err != nil {
		return nil, fmt.Errorf("couldn't accept the bearer token: %w", err)
	}
	kind := "issuer"
	if who.role != "" {
		kind = KindPlatform
	}
	return &authorization.Claims{Subject: who.name(), AuthType: kind, Extensions: who}, nil
}

// tokenClaims are the claims beyond RFC 7519 that matter: which client the token
// was made for (RFC 9068 client_id, OpenID Connect azp).
type tokenClaims struct {
	jwt.Claims
	Client     string `json:"client_id"`
	Authorized string `json:"azp"`
	// Only an ID token has these: it says who logged in, and opens nothing (OpenID Connect Core 1.0, section 2).
	Nonce           *string `json:"nonce"`
	AccessTokenHash *string `json:"at_hash"`
}

func (m *claimMapper) authenticate(header string) (*caller, error) {
	if len(header) > maxToken {
		return nil, fmt.Errorf("the header is larger than %d bytes", maxToken)
	}
	scheme, raw, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return nil, errors.New("the header isn't of the form \"Bearer <token>\"")
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil {
		return nil, errors.New("it isn't a JWT signed with RS256, ES256 or EdDSA")
	}
	if len(token.Headers) != 1 || token.Headers[0].KeyID == "" {
		return nil, errors.New("its header has no kid")
	}
	header0 := token.Headers[0]
	var unverified jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return nil, errors.New("its claims aren't readable")
	}
	if unverified.Issuer == platformIssuer {
		return m.platformCaller(token, header0)
	}
	return m.issuerCaller(token, header0, unverified.Issuer)
}

func (m *claimMapper) issuerCaller(token *jwt.JSONWebToken, header jose.Header, url string) (*caller, error) {
	registered, ok := m.directory.issuers[url]
	if !ok {
		return nil, errors.New("its issuer isn't registered")
	}
	key, err := m.keys[url].key(header.KeyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, errors.New("its alg isn't the one of the issuer's key")
	}
	var claims tokenClaims
	if err := token.Claims(key.Key, &claims); err != nil {
		return nil, errors.New("its signature isn't valid")
	}
	if err := m.checkTimes(claims.Claims); err != nil {
		return nil, err
	}
	if claims.Issuer != url {
		return nil, errors.New("its issuer isn't registered")
	}
	evidence := registered.evidenceAudience
	if evidence != "" && (claims.Audience.Contains(evidence) || claims.Client == evidence || claims.Authorized == evidence) {
		return nil, errors.New("it is the proof of a decision, which logs nobody in")
	}
	if claims.Nonce != nil || claims.AccessTokenHash != nil {
		return nil, errors.New("it is an ID token, not an access token")
	}
	if !claims.Audience.Contains(registered.audience) {
		return nil, errors.New("it isn't meant for this audience")
	}
	if err := checkSubject(claims.Subject); err != nil {
		return nil, err
	}
	return &caller{member: member{url, claims.Subject}}, nil
}

func (m *claimMapper) platformCaller(token *jwt.JSONWebToken, header jose.Header) (*caller, error) {
	registered, ok := m.directory.platform[header.KeyID]
	if !ok {
		return nil, errors.New("its platform key isn't registered")
	}
	if header.Algorithm != string(jose.ES256) {
		return nil, errors.New("a platform token must be signed with ES256")
	}
	var claims jwt.Claims
	if err := token.Claims(registered.key, &claims); err != nil {
		return nil, errors.New("its signature isn't valid")
	}
	if err := m.checkTimes(claims); err != nil {
		return nil, err
	}
	if claims.IssuedAt == nil || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > platformLifetime {
		return nil, fmt.Errorf("a platform token must say when it was issued and live at most %v", platformLifetime)
	}
	if claims.Issuer != platformIssuer || !slices.Equal(claims.Audience, jwt.Audience{platformAudience}) {
		return nil, errors.New("it isn't meant for this audience")
	}
	// The subject is bound to the key: a worker's key can't say that it is an operator.
	if claims.Subject != registered.role+"/"+registered.tenant {
		return nil, errors.New("its platform key is registered for another role or tenant")
	}
	return &caller{role: registered.role, tenant: registered.tenant}, nil
}

// checkTimes demands exp; jwt's own validation treats an absent exp as endless.
func (m *claimMapper) checkTimes(claims jwt.Claims) error {
	if claims.Expiry == nil {
		return errors.New("it never expires")
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Time: m.now()}, leeway); err != nil {
		return errors.New("it is expired or not valid yet")
	}
	return nil
}
