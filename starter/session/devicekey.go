package session

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

// maxDeviceKey bounds the file of a device key, in bytes; one has about 240.
const maxDeviceKey = 4 << 10

// DeviceKey is the key of a command line that its owner enrolled: ECDSA on P-256, in a file that only its owner can read.
type DeviceKey struct {
	signer     jose.Signer
	jwk        []byte // public, as JSON
	thumbprint []byte
}

// CreateDeviceKey makes a new key and keeps it in a new file (PEM, PKCS #8, mode 0600). It never writes over a file that is there.
func CreateDeviceKey(file string) (*DeviceKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("couldn't make a device key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("couldn't make a device key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't make the device key's file: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	// On the disk before it is enrolled: an enrolled key that a power cut takes away is only trouble.
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("couldn't keep the device key: %w", errors.Join(err, os.Remove(file)))
	}
	return newDeviceKey(key)
}

// OpenDeviceKey reads the key that CreateDeviceKey made. A file that others can read is refused: who has read it can sign as its owner.
func OpenDeviceKey(file string) (*DeviceKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the device key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the device key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("couldn't use the device key %s: it is no plain file", file)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("couldn't use the device key %s: others can reach it (mode %04o); if nobody has read it, run chmod 600, otherwise retire it and enrol a new one", file, mode)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxDeviceKey+1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the device key: %w", err)
	}
	block, rest := pem.Decode(raw)
	if len(raw) > maxDeviceKey || block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("couldn't read the device key %s: it is no PEM of one PRIVATE KEY (PKCS #8)", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the device key %s: it is no PKCS #8", file)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("couldn't use the device key %s: it is not ECDSA P-256", file)
	}
	return newDeviceKey(key)
}

func newDeviceKey(key *ecdsa.PrivateKey) (*DeviceKey, error) {
	public := jose.JSONWebKey{Key: key.Public()}
	jwk, err := public.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("couldn't write the device key's public part: %w", err)
	}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("couldn't name the device key: %w", err)
	}
	k := &DeviceKey{jwk: jwk, thumbprint: thumbprint}
	k.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithType(identity.DeviceProofType).WithHeader("kid", k.Credential()))
	if err != nil {
		return nil, fmt.Errorf("couldn't use the device key: %w", err)
	}
	return k, nil
}

// Credential is the key's thumbprint (RFC 7638, SHA-256) in base64url, as an enrolment names it.
func (k *DeviceKey) Credential() string { return base64.RawURLEncoding.EncodeToString(k.thumbprint) }

// PublicKey is the public key as a JWK (RFC 7517), its JSON in base64url, as an enrolment carries it.
func (k *DeviceKey) PublicKey() string { return base64.RawURLEncoding.EncodeToString(k.jwk) }

// ID is the key's name once it is enrolled, see countersign.Enrolment.KeyID.
func (k *DeviceKey) ID() string { return countersign.SHA256(k.thumbprint) }

// Prove signs one digest (64 lower-case hex digits), and never anything else.
func (k *DeviceKey) Prove(digest string) (countersign.KeyProof, error) {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 || hex.EncodeToString(raw) != digest {
		return countersign.KeyProof{}, errors.New("couldn't sign with the device key: what it is to prove is no digest of 64 hex digits")
	}
	payload, err := json.Marshal(identity.DevicePayload{Digest: digest})
	if err != nil {
		return countersign.KeyProof{}, fmt.Errorf("couldn't write the device key's proof: %w", err)
	}
	signed, err := k.signer.Sign(payload)
	if err != nil {
		return countersign.KeyProof{}, fmt.Errorf("couldn't sign with the device key: %w", err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return countersign.KeyProof{}, fmt.Errorf("couldn't write the device key's proof: %w", err)
	}
	return countersign.KeyProof{Key: k.ID(), Signature: compact}, nil
}
