package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// certificateAuthority issues the tenants' seal certificates.
type certificateAuthority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// openCA reads the CA of the tenants' certificates and makes it at the first start.
func openCA(dir string) (*certificateAuthority, error) {
	key, err := ensureKey(filepath.Join(dir, "tenant-ca.key.pem"))
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "tenant-ca.pem")
	certificate, err := readCertificate(name)
	if err == nil && key.PublicKey.Equal(certificate.PublicKey) {
		return &certificateAuthority{certificate, key}, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Countersign development tenant CA", Organization: []string{"Countersign development"}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(20, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if certificate, err = issue(template, template, &key.PublicKey, key); err != nil {
		return nil, fmt.Errorf("couldn't issue the tenant CA: %w", err)
	}
	if err := writePrivate(name, certificatePEM(certificate)); err != nil {
		return nil, fmt.Errorf("couldn't write the tenant CA: %w", err)
	}
	return &certificateAuthority{certificate, key}, nil
}

// ensureSeal writes the certificate of a tenant's seal key, then the CA's. It keeps
// the one that is there while it fits the key and is valid. list is where the CA's revocation list is read; "" for nowhere.
func (ca *certificateAuthority) ensureSeal(name string, public crypto.PublicKey, organisation, list string) error {
	if old, err := readCertificate(name); err == nil && old.CheckSignatureFrom(ca.certificate) == nil && time.Now().Before(old.NotAfter) {
		if key, ok := old.PublicKey.(*ecdsa.PublicKey); ok && key.Equal(public) {
			return nil
		}
	}
	var lists []string
	if list != "" {
		lists = []string{list}
	}
	leaf, err := issue(&x509.Certificate{
		SerialNumber:          serial(),
		CRLDistributionPoints: lists,
		Subject:               pkix.Name{CommonName: organisation + " signing seal", Organization: []string{organisation}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(5, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		BasicConstraintsValid: true,
	}, ca.certificate, public, ca.key)
	if err != nil {
		return fmt.Errorf("couldn't issue the seal certificate of %s: %w", organisation, err)
	}
	if err := writePrivate(name, append(certificatePEM(leaf), certificatePEM(ca.certificate)...)); err != nil {
		return fmt.Errorf("couldn't write the seal certificate of %s: %w", organisation, err)
	}
	return nil
}

// issue sets the subject key id (RFC 7093, method 1) and signs; the library sets
// the authority key id from the parent's.
func issue(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	template.SubjectKeyId = sum[:20]
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serial is a positive random number of 127 bits (RFC 5280, 4.1.2.2).
func serial() *big.Int {
	bytes := random(16)
	bytes[0] = bytes[0]&0x7f | 0x40
	return new(big.Int).SetBytes(bytes)
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// readCertificate reads the first certificate of a file.
func readCertificate(name string) (*x509.Certificate, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the certificate %s: %w", name, err)
	}
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		return nil, fmt.Errorf("couldn't read the certificate %s: it isn't PEM", name)
	}
	return x509.ParseCertificate(block.Bytes)
}
