package evidence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Roots are the certification authorities that a verifier trusts: Signers for the tenants' signing certificates, TSAs
// for the time-stamping authorities. The two are apart, so that neither can stand in for the other. There is no
// fallback to the system's roots.
type Roots struct {
	Signers *x509.CertPool
	TSAs    *x509.CertPool
	// Log is the public key of the tenant's log. Without it, nothing is said about the log.
	Log note.Verifier
	// PostQuantum are the tenant's ML-DSA keys. With any, a bundle must have a post-quantum signature, by one of them.
	PostQuantum []*PostQuantumKey
	// LogProof is the log's proof of the ending, as it lies beside the bundle. Without it, nothing is said about the ending's entry.
	LogProof []byte
	// Renewal is an evidence record over the bundle (RFC 4998). Without it, nothing is said about renewals.
	Renewal []byte
	// Lock is what the store says of the locked object. Without it, nothing is said about the lock.
	Lock *LockRecord

	chains *chains // of one verification; nil outside
}

var oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

// verifyChain validates leaf at the instant at and returns its chain, root included. Each of certs must be part of the
// chain: nothing else covers the bytes of a certificate that is carried but not needed.
func verifyChain(leaf *x509.Certificate, certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, at time.Time) ([]*x509.Certificate, error) {
	chains, err := chainsOf(leaf, certs, roots, usage, at)
	if err != nil {
		return nil, err
	}
	for _, chain := range chains {
		unused := func(c *x509.Certificate) bool { return !slices.ContainsFunc(chain, c.Equal) }
		if !slices.ContainsFunc(certs, unused) {
			return chain, nil
		}
	}
	return nil, errors.New("a certificate is carried that the chain does not need")
}

func chainsOf(leaf *x509.Certificate, certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, at time.Time) ([][]*x509.Certificate, error) {
	if roots == nil {
		return nil, errors.New("no roots are given: name the certification authorities to trust")
	}
	intermediates := x509.NewCertPool()
	for _, c := range certs {
		if !c.Equal(leaf) {
			intermediates.AddCert(c)
		}
	}
	all, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't validate the certificate of %q at %s: %w", leaf.Subject, at.UTC().Format(time.RFC3339), err)
	}
	var chains [][]*x509.Certificate
	for _, chain := range all {
		if !slices.ContainsFunc(chain, hasWeakKey) {
			chains = append(chains, chain)
		}
	}
	if len(chains) == 0 {
		return nil, fmt.Errorf("a key in the chain of %q is not accepted: want ECDSA on P-256, P-384 or P-521, or RSA of 2048 bits or more", leaf.Subject)
	}
	return chains, nil
}

func hasWeakKey(c *x509.Certificate) bool {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521()
	case *rsa.PublicKey:
		return key.N.BitLen() < 2048
	default:
		return true
	}
}

// checkSignerCertificate wants an end-entity certificate that is made for signing: RFC 5280 digitalSignature or
// contentCommitment.
func checkSignerCertificate(c *x509.Certificate) error {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
		return fmt.Errorf("key of %q is not accepted for a seal: want ECDSA on P-256 or P-384", c.Subject)
	}
	if c.IsCA {
		return fmt.Errorf("certificate of %q is a certification authority's", c.Subject)
	}
	if c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return fmt.Errorf("certificate of %q has no key usage for signatures", c.Subject)
	}
	return nil
}

// CheckSigner says whether a chain can make a seal at the instant at that then verifies: the kind of its key, what its first certificate is for,
// its order and length, and that it leads to roots with no certificate too many. It returns the digest that goes with the key. Seal asks
// it before it asks the key, and a process can ask it at boot.
func CheckSigner(chain []*x509.Certificate, roots *x509.CertPool, at time.Time) (crypto.Hash, error) {
	hash, err := checkSignerChain(chain)
	if err != nil {
		return 0, err
	}
	if _, err := verifyChain(chain[0], chain, roots, x509.ExtKeyUsageAny, at); err != nil {
		return 0, err
	}
	return hash, nil
}

// checkTSACertificate wants what RFC 3161, section 2.3, asks: one extended key usage, time-stamping, marked critical.
func checkTSACertificate(c *x509.Certificate) error {
	if len(c.UnknownExtKeyUsage) != 0 || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping {
		return fmt.Errorf("certificate of %q does not have time-stamping as its sole extended key usage", c.Subject)
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(oidExtKeyUsage) && !e.Critical {
			return fmt.Errorf("extended key usage of %q is not critical", c.Subject)
		}
	}
	if c.IsCA {
		return fmt.Errorf("certificate of %q is a certification authority's", c.Subject)
	}
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return fmt.Errorf("certificate of %q has no key usage for signatures", c.Subject)
	}
	return nil
}
