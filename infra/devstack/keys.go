package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-dev/countersign/infra/temporal"
)

// ensureKey reads a P-256 private key in PKCS #8, which it makes at the first start.
func ensureKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := readKey(name)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("couldn't make the key %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("couldn't write the key %s: %w", name, err)
	}
	if err := writePrivate(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, fmt.Errorf("couldn't write the key %s: %w", name, err)
	}
	return key, nil
}

func readKey(name string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the key %s: %w", name, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("couldn't read the key %s: it isn't PEM", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the key %s: %w", name, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("couldn't read the key %s: it isn't a P-256 key", name)
	}
	return key, nil
}

// ensurePlatformKeys makes a key per role and tenant, and its public half beside it.
func ensurePlatformKeys(dir string) error {
	for _, t := range tenants {
		for _, role := range temporal.PlatformRoles {
			name := platformKeyFile(dir, role, t.id)
			key, err := ensureKey(name)
			if err != nil {
				return err
			}
			der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
			if err != nil {
				return fmt.Errorf("couldn't write the public key of %s: %w", name, err)
			}
			public := strings.TrimSuffix(name, ".pem") + ".pub.pem"
			if err := writePrivate(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})); err != nil {
				return fmt.Errorf("couldn't write the public key of %s: %w", name, err)
			}
		}
	}
	return nil
}

func platformKeyFile(dir, role, tenant string) string {
	return filepath.Join(dir, "platform", role+"-"+tenant+".pem")
}

func machineKeyFile(dir, issuer, client string) string {
	return filepath.Join(dir, "machines", issuer+"-"+client+".pem")
}
