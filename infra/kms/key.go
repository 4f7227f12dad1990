package kms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"time"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// record is a key as it lies on disk.
type record struct {
	ID          string            `json:"id"`
	Spec        types.KeySpec     `json:"spec"`
	Description string            `json:"description"`
	State       types.KeyState    `json:"state"`
	Created     float64           `json:"created"`            // Unix seconds
	Deletion    float64           `json:"deletion,omitempty"` // Unix seconds, in state PendingDeletion
	Tags        map[string]string `json:"tags"`
	// Material is PKCS#8 for an asymmetric key, else 32 random bytes.
	Material []byte `json:"material"`
}

// key is a record with its material parsed. It is never changed: see with.
type key struct {
	record record
	signer crypto.Signer // nil for a symmetric key
	spki   []byte        // the public key as SubjectPublicKeyInfo (RFC 5280); nil for a symmetric key
}

// String keeps key material out of logs.
func (k *key) String() string { return "key " + k.record.ID }

// with is a copy of k that change may alter; its tags are a copy as well.
func (k *key) with(change func(*record)) *key {
	next := *k
	next.record.Tags = maps.Clone(k.record.Tags)
	if next.record.Tags == nil {
		next.record.Tags = map[string]string{}
	}
	change(&next.record)
	return &next
}

func (k *key) symmetric() bool { return k.record.Spec == types.KeySpecSymmetricDefault }

func (k *key) usage() types.KeyUsageType {
	if k.symmetric() {
		return types.KeyUsageTypeEncryptDecrypt
	}
	return types.KeyUsageTypeSignVerify
}

// goneAt says whether the key's deletion date has passed.
func (k *key) goneAt(now time.Time) bool {
	return k.record.State == types.KeyStatePendingDeletion && unixSeconds(now) >= k.record.Deletion
}

// unixSeconds is a time as AWS JSON 1.1 writes it, to the millisecond.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// newMaterial makes the secret of a key. RSA takes up to a few seconds.
func newMaterial(spec types.KeySpec) ([]byte, error) {
	var private any
	var err error
	switch spec {
	case types.KeySpecSymmetricDefault:
		secret := make([]byte, 32)
		_, err = rand.Read(secret)
		return secret, err
	case types.KeySpecEccNistP256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case types.KeySpecEccNistP384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case types.KeySpecEccNistEdwards25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case types.KeySpecRsa2048:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case types.KeySpecRsa3072:
		private, err = rsa.GenerateKey(rand.Reader, 3072)
	case types.KeySpecRsa4096:
		private, err = rsa.GenerateKey(rand.Reader, 4096)
	case types.KeySpecMlDsa44:
		private, err = mldsa.GenerateKey(mldsa.MLDSA44())
	case types.KeySpecMlDsa65:
		private, err = mldsa.GenerateKey(mldsa.MLDSA65())
	case types.KeySpecMlDsa87:
		private, err = mldsa.GenerateKey(mldsa.MLDSA87())
	default:
		return nil, fmt.Errorf("couldn't make a key of the spec %q: it isn't served", spec)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't make a key: %w", err)
	}
	return pqx509.MarshalPKCS8PrivateKey(private)
}

// parseMaterial fills signer and spki from the record, and refuses material
// that isn't of the record's spec.
func (k *key) parseMaterial() error {
	if k.symmetric() {
		if len(k.record.Material) != 32 {
			return errors.New("a symmetric key needs 32 bytes")
		}
		return nil
	}
	private, err := pqx509.ParsePKCS8PrivateKey(k.record.Material)
	if err != nil {
		// The parser's text could quote the key.
		return errors.New("its private key is damaged")
	}
	if got := specOf(private); got != k.record.Spec {
		return fmt.Errorf("its private key isn't of the spec %q", k.record.Spec)
	}
	k.signer = private.(crypto.Signer) // each type that specOf knows is one
	k.spki, err = pqx509.MarshalPKIXPublicKey(k.signer.Public())
	return err
}

func specOf(private any) types.KeySpec {
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		switch p.Curve {
		case elliptic.P256():
			return types.KeySpecEccNistP256
		case elliptic.P384():
			return types.KeySpecEccNistP384
		}
	case ed25519.PrivateKey:
		return types.KeySpecEccNistEdwards25519
	case *rsa.PrivateKey:
		switch p.N.BitLen() {
		case 2048:
			return types.KeySpecRsa2048
		case 3072:
			return types.KeySpecRsa3072
		case 4096:
			return types.KeySpecRsa4096
		}
	case *mldsa.PrivateKey:
		switch p.PublicKey().Parameters() {
		case mldsa.MLDSA44():
			return types.KeySpecMlDsa44
		case mldsa.MLDSA65():
			return types.KeySpecMlDsa65
		case mldsa.MLDSA87():
			return types.KeySpecMlDsa87
		}
	}
	return ""
}
