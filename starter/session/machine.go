package session

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign"
)

// assertionLife is how long a machine's assertion lives.
const assertionLife = time.Minute

// Machine logs a machine in by its own key (RFC 7523, section 2.1): the key signs that it is the client, and the identity provider
// gives an access token for it.
func Machine(ctx context.Context, issuer, clientID, keyFile string) (Session, error) {
	key, algorithm, err := machineKey(keyFile)
	if err != nil {
		return Session{}, err
	}
	ctx, cancel := context.WithTimeout(outbound(ctx), time.Minute)
	defer cancel()
	provider, err := discover(ctx, issuer)
	if err != nil {
		return Session{}, err
	}
	assertion, err := assert(key, algorithm, issuer, clientID, time.Now())
	if err != nil {
		return Session{}, err
	}
	// oauth2's Exchange is the way to post a form and read a token with bounded errors; the grant is ours.
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	config := oauth2.Config{Endpoint: endpoint}
	token, err := config.Exchange(ctx, "",
		oauth2.SetAuthURLParam("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), oauth2.SetAuthURLParam("assertion", assertion))
	if err != nil {
		return Session{}, fmt.Errorf("couldn't log the machine %s in at %s: %w", clientID, issuer, plain(err))
	}
	return Session{Access: token.AccessToken, Expires: token.Expiry, Actor: countersign.Actor{Issuer: issuer, Subject: clientID}, Name: clientID}, nil
}

func assert(key crypto.Signer, algorithm jose.SignatureAlgorithm, issuer, clientID string, now time.Time) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("couldn't use the machine's key: %w", err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": clientID, "sub": clientID, "aud": issuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("couldn't write the assertion: %w", err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("couldn't sign the assertion: %w", err)
	}
	return signed.CompactSerialize()
}

func machineKey(file string) (crypto.Signer, jose.SignatureAlgorithm, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read the machine's key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, "", fmt.Errorf("couldn't read the machine's key %s: it is no PEM of a PRIVATE KEY (PKCS #8)", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read the machine's key %s: %w", file, err)
	}
	switch key := parsed.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return key, jose.ES256, nil
		}
		if key.Curve == elliptic.P384() {
			return key, jose.ES384, nil
		}
	case *rsa.PrivateKey:
		if key.N.BitLen() >= 2048 {
			return key, jose.RS256, nil
		}
	case ed25519.PrivateKey:
		return key, jose.EdDSA, nil
	}
	return nil, "", errors.New("couldn't use the machine's key " + file + ": it must be ECDSA P-256 or P-384, RSA of at least 2048 bits, or Ed25519")
}
