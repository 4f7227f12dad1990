package evidence

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// signerCertificate returns the certificate that the SignerInfo names.
func (p *signedData) signerCertificate() (*x509.Certificate, error) {
	for _, c := range p.certs {
		if bytes.Equal(c.RawIssuer, p.signer.issuer) && c.SerialNumber.Cmp(p.signer.serial) == 0 {
			return c, nil
		}
	}
	return nil, errors.New("SignedData lacks the signer's certificate")
}

// verify checks the signer's signature over content: the attributes content-type, message-digest and
// signing-certificate-v2, and the signature value. It does not check whether the certificate is to be trusted.
func (p *signedData) verify(content contentDigest) (*x509.Certificate, error) {
	s := &p.signer
	leaf, err := p.signerCertificate()
	if err != nil {
		return nil, err
	}
	if !s.digestAlg.Equal(p.digestAlg) {
		return nil, fmt.Errorf("digest algorithms %s and %s differ", s.digestAlg, p.digestAlg)
	}
	if err := p.verifyContentAttributes(content); err != nil {
		return nil, err
	}
	if err := verifySigningCertificate(s.signed, leaf); err != nil {
		return nil, err
	}
	return leaf, checkSignature(leaf, s.sigAlg, s.hash, s.signedSet, s.signature)
}

// checkSignature checks a signature value over message, and nothing else.
func checkSignature(leaf *x509.Certificate, oid asn1.ObjectIdentifier, hash crypto.Hash, message, signature []byte) error {
	alg, err := signatureAlgorithm(oid, hash, leaf)
	if err != nil {
		return err
	}
	if err := leaf.CheckSignature(alg, message, signature); err != nil {
		return fmt.Errorf("signature does not verify: %w", err)
	}
	return nil
}

func (p *signedData) verifyContentAttributes(content contentDigest) error {
	value, found := findAttribute(p.signer.signed, oidContentType)
	if !found {
		return errors.New("signed attribute content-type is missing")
	}
	var oid asn1.ObjectIdentifier
	s := cryptobyte.String(value)
	if !s.ReadASN1ObjectIdentifier(&oid) || !s.Empty() || !oid.Equal(p.contentType) {
		return errors.New("signed attribute content-type does not match the content")
	}
	if value, found = findAttribute(p.signer.signed, oidMessageDigest); !found {
		return errors.New("signed attribute message-digest is missing")
	}
	want, err := content(p.signer.hash)
	if err != nil {
		return err
	}
	var digest cryptobyte.String
	s = cryptobyte.String(value)
	if !s.ReadASN1(&digest, cbasn1.OCTET_STRING) || !s.Empty() ||
		subtle.ConstantTimeCompare(digest, want) != 1 {
		return errors.New("signed attribute message-digest does not match the content")
	}
	p.digest = want
	return nil
}

// verifySigningCertificate checks ESSCertIDv2 (RFC 5035): the first certificate named is the signer's. RFC 5035 lets
// the signer name more.
func verifySigningCertificate(attrs []attribute, leaf *x509.Certificate) error {
	value, found := findAttribute(attrs, oidSigningCertificateV2)
	if !found {
		return errors.New("signed attribute signing-certificate-v2 is missing")
	}
	s := cryptobyte.String(value)
	var seq, ids, id, digest cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1(&ids, cbasn1.SEQUENCE) || !ids.ReadASN1(&id, cbasn1.SEQUENCE) {
		return fmt.Errorf("couldn't read signing-certificate-v2: %w", errDER)
	}
	hash := crypto.SHA256
	if id.PeekASN1Tag(cbasn1.SEQUENCE) {
		oid, err := readAlgorithm(&id)
		if err != nil {
			return err
		}
		if hash, err = hashOf(oid); err != nil {
			return fmt.Errorf("couldn't use signing-certificate-v2: %w", err)
		}
	}
	if !id.ReadASN1(&digest, cbasn1.OCTET_STRING) {
		return fmt.Errorf("couldn't read signing-certificate-v2: %w", errDER)
	}
	if subtle.ConstantTimeCompare(digest, sum(hash, leaf.Raw)) != 1 {
		return errors.New("signing-certificate-v2 names another certificate")
	}
	if id.Empty() {
		return nil
	}
	return verifyIssuerSerial(id, leaf)
}

func verifyIssuerSerial(id cryptobyte.String, leaf *x509.Certificate) error {
	var pair, names, name cryptobyte.String
	serial := new(big.Int)
	directoryName := cbasn1.Tag(4).ContextSpecific().Constructed()
	if !id.ReadASN1(&pair, cbasn1.SEQUENCE) || !id.Empty() || !pair.ReadASN1(&names, cbasn1.SEQUENCE) ||
		!names.ReadASN1(&name, directoryName) || !names.Empty() || !pair.ReadASN1Integer(serial) || !pair.Empty() {
		return fmt.Errorf("couldn't read signing-certificate-v2: %w", errDER)
	}
	if !bytes.Equal(name, leaf.RawIssuer) || serial.Cmp(leaf.SerialNumber) != 0 {
		return errors.New("signing-certificate-v2 names another issuer and serial number")
	}
	return nil
}

// signatureAlgorithm accepts ECDSA with P-256 or P-384, and RSA (PKCS #1 v1.5) of at least 2048 bits.
func signatureAlgorithm(oid asn1.ObjectIdentifier, hash crypto.Hash, leaf *x509.Certificate) (x509.SignatureAlgorithm, error) {
	for _, d := range digestAlgorithms {
		if d.hash != hash {
			continue
		}
		switch key := leaf.PublicKey.(type) {
		case *ecdsa.PublicKey:
			if (key.Curve == elliptic.P256() || key.Curve == elliptic.P384()) && oid.Equal(d.ecdsa) {
				return d.ecdsaX509, nil
			}
		case *rsa.PublicKey:
			if key.N.BitLen() >= 2048 && (oid.Equal(oidRSA) || oid.Equal(d.rsa)) {
				return d.rsaX509, nil
			}
		}
	}
	return 0, fmt.Errorf("signature algorithm %s with %s and this key is not accepted: want ECDSA on P-256 or P-384, or RSA of 2048 bits or more", oid, hash)
}
