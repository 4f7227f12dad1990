package idp

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	// acrPassword is the authentication context of every login here: one
	// factor, a password. It claims no more than that.
	acrPassword = "urn:countersign:acr:password"

	maxPending      = 1000
	pendingLifetime = 10 * time.Minute
	codeLifetime    = time.Minute
	maxParameter    = 1024
)

// authRequest is one login under way. Values that leave the storage are copies.
type authRequest struct {
	id, client, redirect, state, nonce, hint string
	scopes                                   []string
	challenge                                oidc.CodeChallenge
	mode                                     oidc.ResponseMode
	expires                                  time.Time

	subject  string
	authTime time.Time
	done     bool
	code     string
}

var _ op.AuthRequest = (*authRequest)(nil)

func (a *authRequest) GetID() string                         { return a.id }
func (a *authRequest) GetACR() string                        { return acrPassword }
func (a *authRequest) GetAMR() []string                      { return []string{"pwd"} } // RFC 8176
func (a *authRequest) GetAudience() []string                 { return []string{a.client} }
func (a *authRequest) GetAuthTime() time.Time                { return a.authTime }
func (a *authRequest) GetClientID() string                   { return a.client }
func (a *authRequest) GetCodeChallenge() *oidc.CodeChallenge { return &a.challenge }
func (a *authRequest) GetNonce() string                      { return a.nonce }
func (a *authRequest) GetRedirectURI() string                { return a.redirect }
func (a *authRequest) GetResponseType() oidc.ResponseType    { return oidc.ResponseTypeCode }
func (a *authRequest) GetResponseMode() oidc.ResponseMode    { return a.mode }
func (a *authRequest) GetScopes() []string                   { return a.scopes }
func (a *authRequest) GetState() string                      { return a.state }
func (a *authRequest) GetSubject() string                    { return a.subject }
func (a *authRequest) Done() bool                            { return a.done }

// CreateAuthRequest refuses what the library lets pass: a client without PKCE
// (RFC 9700, section 2.1.1), a redirect to another host than 127.0.0.1, and
// evidence without a nonce. There is no single sign-on, so each request ends in
// a fresh login, whatever prompt and max_age say.
func (s *storage) CreateAuthRequest(_ context.Context, request *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if redirect, err := url.Parse(request.RedirectURI); err != nil || redirect.Scheme != "http" || redirect.Hostname() != "127.0.0.1" || redirect.User != nil || redirect.Fragment != "" {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("The redirect_uri must be http://127.0.0.1:PORT/callback.")
	}
	for _, prompt := range request.Prompt {
		if prompt == oidc.PromptNone {
			return nil, oidc.ErrLoginRequired()
		}
	}
	if request.ResponseMode != "" && request.ResponseMode != oidc.ResponseModeQuery {
		return nil, oidc.ErrInvalidRequest().WithDescription("The response_mode must be query.")
	}
	// An S256 challenge is 32 bytes in base64url (RFC 7636, section 4.2).
	if request.CodeChallengeMethod != oidc.CodeChallengeMethodS256 || len(request.CodeChallenge) != 43 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE is required: send code_challenge with code_challenge_method=S256.")
	}
	if len(request.State) > maxParameter || len(request.Nonce) > maxParameter {
		return nil, oidc.ErrInvalidRequest().WithDescription("The state or the nonce is longer than %d bytes.", maxParameter)
	}
	if request.ClientID == clientEvidence && request.Nonce == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("The client %s must send a nonce: it names the decision.", clientEvidence)
	}
	created := &authRequest{
		id:        rand.Text(),
		client:    request.ClientID,
		redirect:  request.RedirectURI,
		state:     request.State,
		nonce:     request.Nonce,
		hint:      request.LoginHint,
		scopes:    request.Scopes,
		challenge: oidc.CodeChallenge{Challenge: request.CodeChallenge, Method: request.CodeChallengeMethod},
		mode:      request.ResponseMode,
		expires:   s.now().Add(pendingLifetime),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropExpired()
	if len(s.pending) >= maxPending {
		return nil, oidc.ErrServerError().WithDescription("Too many logins are under way; try again in some minutes.")
	}
	s.pending[created.id] = created
	result := *created
	return &result, nil
}

// dropExpired runs under the lock.
func (s *storage) dropExpired() {
	now := s.now()
	for id, request := range s.pending {
		if now.After(request.expires) {
			delete(s.pending, id)
		}
	}
}

// lookup returns a copy of a pending request.
func (s *storage) lookup(id string) (authRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropExpired()
	found, ok := s.pending[id]
	if !ok {
		return authRequest{}, errNoRequest
	}
	return *found, nil
}

// complete records the login and gives the request a new id. Whoever started
// the login and made somebody else finish it knows the old id alone, so they
// can't fetch the code.
func (s *storage) complete(id string, person account) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropExpired()
	found, ok := s.pending[id]
	if !ok || found.done {
		return "", errNoRequest
	}
	delete(s.pending, id)
	found.id = rand.Text()
	found.subject, found.authTime, found.done = person.Subject, s.now(), true
	found.expires = found.authTime.Add(codeLifetime)
	s.pending[found.id] = found
	return found.id, nil
}

// AuthRequestByID returns a request under way.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	found, err := s.lookup(id)
	if err != nil {
		return nil, oidc.ErrInvalidRequest().WithDescription("%s", err.Error())
	}
	return &found, nil
}

// SaveAuthCode keeps the code; a request gets one code.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.pending[id]
	if !ok || !found.done || found.code != "" {
		return oidc.ErrAccessDenied().WithDescription("%s", errNoRequest.Error())
	}
	found.code = code
	return nil
}

// AuthRequestByCode spends the code: a second use finds nothing, also when the
// first one failed (RFC 6749, section 4.1.2).
func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropExpired()
	for id, request := range s.pending {
		if request.code == "" || request.code != code {
			continue
		}
		delete(s.pending, id)
		if _, err := s.active(request.subject); err != nil {
			return nil, err
		}
		return request, nil
	}
	return nil, errors.New("the code is spent, expired or unknown")
}

// DeleteAuthRequest forgets a request.
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
	return nil
}
