package idp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is the op.Storage of one provider. Logins under way live in memory;
// the rest is in the directory.
type storage struct {
	path     string
	loginURL string
	machines map[string]Machine
	noHash   []byte
	now      func() time.Time

	mu        sync.Mutex
	state     state
	passwords map[string]string
	pending   map[string]*authRequest
}

var (
	_ op.Storage                   = (*storage)(nil)
	_ op.CanSetUserinfoFromRequest = (*storage)(nil)
	_ op.JWTProfileTokenStorage    = (*storage)(nil)
)

func openStorage(config Config) (*storage, error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &storage{
		path:     filepath.Join(config.Dir, stateFile),
		loginURL: config.URL + "/login",
		machines: map[string]Machine{},
		noHash:   newNoHash(),
		now:      time.Now,
		pending:  map[string]*authRequest{},
	}
	for _, machine := range config.Machines {
		s.machines[machine.Client] = machine
	}
	found, err := readJSON(s.path, &s.state)
	if err != nil {
		return nil, err
	}
	if found && s.state.Issuer != config.URL {
		return nil, fmt.Errorf("the directory belongs to the issuer %s, not to %s: tokens name their issuer, so it can't move", s.state.Issuer, config.URL)
	}
	if len(s.state.Keys) == 0 {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		s.state.Keys = []jose.JSONWebKey{key}
	}
	s.state.Issuer = config.URL
	if err := s.enrol(config.Dir, config.People); err != nil {
		return nil, err
	}
	return s, writeJSON(s.path, s.state)
}

// change writes a changed copy of the state and takes it over only when it is on
// disk. The caller holds the lock; edit must not write into slices it shares.
func (s *storage) change(edit func(*state) error) error {
	next := s.state
	if err := edit(&next); err != nil {
		return err
	}
	if err := writeJSON(s.path, next); err != nil {
		return fmt.Errorf("couldn't write %s: %w", stateFile, err)
	}
	s.state = next
	return nil
}

// SigningKey returns the newest key.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return signingKey{s.state.Keys[len(s.state.Keys)-1]}, nil
}

// SignatureAlgorithms returns ES256 alone.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

// KeySet returns all public keys, newest first.
func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]op.Key, 0, len(s.state.Keys))
	for i := len(s.state.Keys) - 1; i >= 0; i-- {
		keys = append(keys, publicKey{s.state.Keys[i]})
	}
	return keys, nil
}

// GetClientByClientID knows the two native clients.
func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	switch id {
	case clientAPI:
		return client{id: id, loginURL: s.loginURL, refresh: true}, nil
	case clientEvidence:
		return client{id: id, loginURL: s.loginURL}, nil
	}
	return nil, errors.New("unknown client")
}

// AuthorizeClientIDSecret refuses: no client here has a secret.
func (s *storage) AuthorizeClientIDSecret(context.Context, string, string) error {
	return errors.New("no client has a secret here")
}

// SetUserinfoFromScopes does nothing: SetUserinfoFromRequest does.
func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest fills an ID token.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	return s.setUserinfo(info, request.GetSubject(), scopes)
}

// SetUserinfoFromToken fills the answer of the userinfo endpoint. The library
// has checked the token.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, subject, _ string) error {
	return s.setUserinfo(info, subject, []string{oidc.ScopeProfile, oidc.ScopeEmail})
}

func (s *storage) setUserinfo(info *oidc.UserInfo, subject string, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	person, err := s.active(subject)
	if err != nil {
		return err
	}
	info.Subject = person.Subject
	for _, scope := range scopes {
		switch scope {
		case oidc.ScopeProfile:
			info.Name, info.PreferredUsername = person.Name, person.Login
		case oidc.ScopeEmail:
			if person.Email != "" {
				info.Email, info.EmailVerified = person.Email, true
			}
		}
	}
	return nil
}

// SetIntrospectionFromToken refuses: introspection isn't offered.
func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errors.New("introspection isn't offered")
}

// GetPrivateClaimsFromScopes adds nothing to access tokens.
func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// GetKeyByIDAndClientID returns a machine's key. A machine has one, so the kid
// that its assertion names isn't looked at.
func (s *storage) GetKeyByIDAndClientID(_ context.Context, _, clientID string) (*jose.JSONWebKey, error) {
	machine, ok := s.machines[clientID]
	if !ok {
		return nil, errors.New("unknown machine")
	}
	return &jose.JSONWebKey{Key: machine.PublicKey, Use: "sig"}, nil
}

// ValidateJWTProfileScopes grants a machine no scope.
func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, nil
}

// JWTProfileTokenType gives machines JWTs.
func (s *storage) JWTProfileTokenType(context.Context, op.TokenRequest) (op.AccessTokenType, error) {
	return op.AccessTokenTypeJWT, nil
}

// Health always succeeds: the state is in memory.
func (s *storage) Health(context.Context) error { return nil }
