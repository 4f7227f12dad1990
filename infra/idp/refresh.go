package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// maxRefresh bounds the kept refresh tokens; the oldest leaves first.
const maxRefresh = 1000

// refreshRequest is an op.RefreshTokenRequest.
type refreshRequest struct{ refreshToken }

func (r *refreshRequest) GetAMR() []string                 { return []string{"pwd"} }
func (r *refreshRequest) GetAudience() []string            { return []string{r.Client} }
func (r *refreshRequest) GetAuthTime() time.Time           { return r.AuthTime }
func (r *refreshRequest) GetClientID() string              { return r.Client }
func (r *refreshRequest) GetScopes() []string              { return r.Scopes }
func (r *refreshRequest) GetSubject() string               { return r.Subject }
func (r *refreshRequest) SetCurrentScopes(scopes []string) { r.Scopes = scopes }

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// CreateAccessToken names a new access token. The token itself is a JWT and is
// not kept.
func (s *storage) CreateAccessToken(_ context.Context, _ op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), s.now().Add(accessTokenLifetime), nil
}

// CreateAccessAndRefreshTokens also makes a refresh token. It spends the current
// one: each is good for one use (RFC 9700, section 4.14.2).
func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	token := rand.Text() + rand.Text()
	next := refreshToken{Hash: hashToken(token), Subject: request.GetSubject(), Scopes: request.GetScopes(), Expires: s.now().Add(refreshTokenLifetime)}
	switch from := request.(type) {
	case *authRequest:
		next.Client, next.AuthTime = from.client, from.authTime
	case *refreshRequest:
		// A chain of refreshes ends when the login's first token would have.
		next.Client, next.AuthTime, next.Expires = from.Client, from.AuthTime, from.Expires
	default:
		return "", "", time.Time{}, fmt.Errorf("no refresh token for a %T", request)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.change(func(state *state) error {
		kept := make([]refreshToken, 0, len(state.Refresh)+1)
		spent := current == ""
		for _, token := range state.Refresh {
			if current != "" && token.Hash == hashToken(current) {
				spent = true
				continue
			}
			if s.now().Before(token.Expires) {
				kept = append(kept, token)
			}
		}
		if !spent {
			return oidc.ErrInvalidGrant().WithDescription("The refresh token is spent.")
		}
		kept = append(kept, next)
		if surplus := len(kept) - maxRefresh; surplus > 0 {
			kept = kept[surplus:]
		}
		state.Refresh = kept
		return nil
	})
	if err != nil {
		return "", "", time.Time{}, err
	}
	return rand.Text(), token, s.now().Add(accessTokenLifetime), nil
}

// TokenRequestByRefreshToken refuses the tokens of a disabled person.
func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.findRefresh(hashToken(token))
	if found == nil {
		return nil, oidc.ErrInvalidGrant().WithDescription("The refresh token is spent, expired or unknown.")
	}
	if _, err := s.active(found.Subject); err != nil {
		return nil, oidc.ErrInvalidGrant().WithParent(err)
	}
	request := &refreshRequest{*found}
	request.Scopes = slices.Clone(found.Scopes)
	return request, nil
}

// disabledRefresh reports whether the token is good but for its person.
func (s *storage) disabledRefresh(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.findRefresh(hashToken(token))
	if found == nil {
		return false
	}
	_, err := s.active(found.Subject)
	return errors.Is(err, errDisabled)
}

// findRefresh runs under the lock.
func (s *storage) findRefresh(hash string) *refreshToken {
	for i := range s.state.Refresh {
		if found := &s.state.Refresh[i]; found.Hash == hash && s.now().Before(found.Expires) {
			return found
		}
	}
	return nil
}

// GetRefreshTokenInfo returns a refresh token's subject and its name here.
func (s *storage) GetRefreshTokenInfo(_ context.Context, clientID, token string) (string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.findRefresh(hashToken(token))
	if found == nil || found.Client != clientID {
		return "", "", op.ErrInvalidRefreshToken
	}
	return found.Subject, found.Hash, nil
}

// RevokeToken forgets a refresh token. Access tokens are JWTs and stay good for
// their 10 minutes.
func (s *storage) RevokeToken(_ context.Context, hash, _, clientID string) *oidc.Error {
	return s.dropRefresh(func(token refreshToken) bool { return token.Hash == hash && token.Client == clientID })
}

// TerminateSession forgets the refresh tokens of a person at a client.
func (s *storage) TerminateSession(_ context.Context, subject, clientID string) error {
	if err := s.dropRefresh(func(token refreshToken) bool { return token.Subject == subject && token.Client == clientID }); err != nil {
		return err
	}
	return nil
}

func (s *storage) dropRefresh(drop func(refreshToken) bool) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.change(func(state *state) error {
		state.Refresh = slices.DeleteFunc(slices.Clone(state.Refresh), drop)
		return nil
	})
	if err != nil {
		return oidc.ErrServerError().WithParent(err)
	}
	return nil
}
