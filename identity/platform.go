package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Platform is a process of ours, with a key of its own, by which it reaches one tenant's namespace. It stands for no person.
type Platform struct {
	subject string
	signer  jose.Signer

	mu      sync.Mutex
	token   string
	expires time.Time
}

// platformLife is how long one token of a process lives.
const platformLife = 10 * time.Minute

// OpenPlatform reads a process's private key (PEM, PKCS #8, ECDSA P-256). Role is worker or starter.
func OpenPlatform(role, tenant, keyFile string) (*Platform, error) {
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the %s's key: %w", role, err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("couldn't read the %s's key %s: it is no PEM of a PRIVATE KEY", role, keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the %s's key %s: %w", role, keyFile, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("couldn't use the " + role + "'s key: it is not ECDSA P-256")
	}
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("couldn't use the %s's key: %w", role, err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", b64.EncodeToString(thumbprint)))
	if err != nil {
		return nil, fmt.Errorf("couldn't use the %s's key: %w", role, err)
	}
	return &Platform{subject: role + "/" + tenant, signer: signer}, nil
}

// GetHeaders gives the Temporal client the process's token; it is made anew before it expires.
func (p *Platform) GetHeaders(context.Context) (map[string]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.After(p.expires.Add(-time.Minute)) {
		expires := now.Add(platformLife)
		claims, err := json.Marshal(map[string]any{"iss": "countersign-platform", "sub": p.subject, "aud": "temporal", "iat": now.Unix(), "exp": expires.Unix()})
		if err != nil {
			return nil, err
		}
		jws, err := p.signer.Sign(claims)
		if err != nil {
			return nil, fmt.Errorf("couldn't sign the process's token: %w", err)
		}
		if p.token, err = jws.CompactSerialize(); err != nil {
			return nil, fmt.Errorf("couldn't sign the process's token: %w", err)
		}
		p.expires = expires
	}
	return map[string]string{"authorization": "Bearer " + p.token}, nil
}
