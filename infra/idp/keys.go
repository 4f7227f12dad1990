package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
)

// maxKeys bounds the JWKS. The oldest key leaves it when more are made.
const maxKeys = 32

// newKey makes an ES256 key. Its kid is its RFC 7638 thumbprint, so that a kid
// never names two keys.
func newKey() (jose.JSONWebKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return key, nil
}

func (s *storage) rotate() (string, error) {
	key, err := newKey()
	if err != nil {
		return "", fmt.Errorf("couldn't make a signing key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return key.KeyID, s.change(func(next *state) error {
		next.Keys = append(slices.Clone(next.Keys), key)
		if surplus := len(next.Keys) - maxKeys; surplus > 0 {
			next.Keys = next.Keys[surplus:]
		}
		return nil
	})
}

// signingKey is an op.SigningKey, publicKey an op.Key.
type signingKey struct{ jwk jose.JSONWebKey }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                    { return k.jwk.Key }
func (k signingKey) ID() string                                  { return k.jwk.KeyID }

type publicKey struct{ jwk jose.JSONWebKey }

func (k publicKey) ID() string                         { return k.jwk.KeyID }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return k.jwk.Use }
func (k publicKey) Key() any                           { return k.jwk.Public().Key }
