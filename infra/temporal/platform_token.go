package temporal

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	platformIssuer   = "countersign-platform"
	platformAudience = "temporal"
	// platformLifetime is the longest time a platform token may be valid.
	platformLifetime = 10 * time.Minute
)

// Thumbprint returns the RFC 7638 SHA-256 thumbprint of a public key in
// base64url; it is the kid of a platform token.
func Thumbprint(key *ecdsa.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("couldn't compute the key's thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// PlatformToken signs a Temporal token for a platform process (ES256, valid for
// five minutes from now). The server accepts it only if the key is registered
// for just that role and tenant.
func PlatformToken(key *ecdsa.PrivateKey, role, tenant string, now time.Time) (string, error) {
	kid, err := Thumbprint(&key.PublicKey)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("couldn't make a signer for the platform token: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   platformIssuer,
		Subject:  role + "/" + tenant,
		Audience: jwt.Audience{platformAudience},
		IssuedAt: jwt.NewNumericDate(now),
		Expiry:   jwt.NewNumericDate(now.Add(platformLifetime / 2)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("couldn't sign the platform token: %w", err)
	}
	return token, nil
}
