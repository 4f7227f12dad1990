package tsa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	caFile      = "ca.pem"
	caKeyFile   = "ca.key"
	certFile    = "tsa.pem"
	certKeyFile = "tsa.key"
)

var (
	oidExtKeyUsage  = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidTimeStamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
)

type identity struct {
	ca, cert   *x509.Certificate
	caKey, key crypto.Signer
}

func loadOrCreate(dir string, o Options) (*identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var found []string
	for _, name := range []string{caFile, caKeyFile, certFile, certKeyFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			found = append(found, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	switch len(found) {
	case 0:
		if err := create(dir, o); err != nil {
			return nil, err
		}
	case 4:
	default:
		return nil, fmt.Errorf("only %v are there; restore the missing files or remove the directory to start anew", found)
	}
	return load(dir)
}

func load(dir string) (*identity, error) {
	ca, err := readCertificate(filepath.Join(dir, caFile))
	if err != nil {
		return nil, err
	}
	cert, err := readCertificate(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, certKeyFile, cert, certFile)
	if err != nil {
		return nil, err
	}
	caKey, err := readKey(dir, caKeyFile, ca, caFile)
	if err != nil {
		return nil, err
	}
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("%s wasn't issued by %s: %w", certFile, caFile, err)
	}
	if time.Now().After(cert.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s; remove the directory to make a new authority", certFile, cert.NotAfter.Format(time.DateOnly))
	}
	return &identity{ca: ca, cert: cert, caKey: caKey, key: key}, nil
}

// readKey reads the key of a certificate.
func readKey(dir, name string, cert *x509.Certificate, certName string) (*ecdsa.PrivateKey, error) {
	block, err := readPEM(filepath.Join(dir, name), "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse %s: %w", name, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s isn't the key of %s", name, certName)
	}
	return key, nil
}

func create(dir string, o Options) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// An hour back: a verifier's clock may lag behind.
	start := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	root := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Countersign development"}, CommonName: o.Name + " root"},
		NotBefore:             start,
		NotAfter:              start.AddDate(20, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	issuer, err := x509.ParseCertificate(rootDER)
	if err != nil {
		return err
	}
	// RFC 3161, section 2.3: the extended key usage is critical and names
	// timeStamping alone. crypto/x509 writes its own as not critical.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{oidTimeStamping})
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Countersign development"}, CommonName: o.Name},
		NotBefore:             start,
		NotAfter:              start.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: usage}},
	}
	if o.RevocationURL != "" {
		leaf.CRLDistributionPoints = []string{o.RevocationURL}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, issuer, key.Public(), caKey)
	if err != nil {
		return err
	}
	caKeyDER, err := x509.MarshalPKCS8PrivateKey(caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name, kind string
		der        []byte
		mode       os.FileMode
	}{
		{caKeyFile, "PRIVATE KEY", caKeyDER, 0o600},
		{certKeyFile, "PRIVATE KEY", keyDER, 0o600},
		{certFile, "CERTIFICATE", leafDER, 0o644},
		{caFile, "CERTIFICATE", rootDER, 0o644},
	} {
		if err := writePEM(filepath.Join(dir, file.name), file.kind, file.der, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// serial returns 127 random bits: positive, as RFC 5280 (section 4.1.2.2) asks.
func serial() *big.Int {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	raw[0] &= 0x7f
	return new(big.Int).SetBytes(raw)
}

func readPEM(path, kind string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no PEM block of type %s", filepath.Base(path), kind)
	}
	return block.Bytes, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse %s: %w", filepath.Base(path), err)
	}
	return cert, nil
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
