package evidence

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const maxCMSCertificates = 10

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}

	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSignatureTimeStamp   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}

	oidRSA         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSASHA256   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidRSASHA384   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}
	oidRSASHA512   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
	oidECDSASHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSASHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSASHA512 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}

	tagCertificates  = cbasn1.Tag(0).ContextSpecific().Constructed()
	tagCRLs          = cbasn1.Tag(1).ContextSpecific().Constructed()
	tagSignedAttrs   = cbasn1.Tag(0).ContextSpecific().Constructed()
	tagUnsignedAttrs = cbasn1.Tag(1).ContextSpecific().Constructed()
	tagExplicit0     = cbasn1.Tag(0).ContextSpecific().Constructed()
)

// digestAlgorithms are the accepted ones, with the CMS signature algorithms that go with each.
var digestAlgorithms = []struct {
	oid        asn1.ObjectIdentifier
	hash       crypto.Hash
	ecdsa, rsa asn1.ObjectIdentifier
	ecdsaX509  x509.SignatureAlgorithm
	rsaX509    x509.SignatureAlgorithm
}{
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA256, oidECDSASHA256, oidRSASHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSA},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA384, oidECDSASHA384, oidRSASHA384, x509.ECDSAWithSHA384, x509.SHA384WithRSA},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, crypto.SHA512, oidECDSASHA512, oidRSASHA512, x509.ECDSAWithSHA512, x509.SHA512WithRSA},
}

var errDER = errors.New("malformed DER")

// attribute is a CMS attribute with its single value, in DER.
type attribute struct {
	oid   asn1.ObjectIdentifier
	value []byte
}

// signedData is a CMS SignedData (RFC 5652, section 5) with one signer, in strict DER.
type signedData struct {
	version     int
	digestAlgs  []byte // the SET, in DER
	digestAlg   asn1.ObjectIdentifier
	encap       []byte // encapContentInfo, in DER
	contentType asn1.ObjectIdentifier
	content     []byte // nil when detached
	certs       []*x509.Certificate
	lists       [][]byte // revocation lists, in DER
	signer      signerInfo
	digest      []byte // of the content, once verify has found it to be what was signed
}

type signerInfo struct {
	raw       []byte
	version   int
	issuer    []byte
	serial    *big.Int
	digestAlg asn1.ObjectIdentifier
	hash      crypto.Hash
	sigAlg    asn1.ObjectIdentifier
	signedSet []byte // signed attributes as the SET OF that the signature covers
	signed    []attribute
	signature []byte
	unsigned  []attribute
}

// parseSignedData accepts exactly one SignerInfo, signed attributes, certificates and no trailing bytes. Revocation lists
// are read and not looked into: whoever takes them says which it wants.
func parseSignedData(der []byte) (*signedData, error) {
	input := cryptobyte.String(der)
	var info, wrapped, sd cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) {
		return nil, fmt.Errorf("couldn't read the CMS structure: %w", errDER)
	}
	if !input.Empty() {
		return nil, fmt.Errorf("CMS structure has %d trailing bytes", len(input))
	}
	if !info.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidSignedData) {
		return nil, errors.New("CMS structure is not SignedData")
	}
	if !info.ReadASN1(&wrapped, tagExplicit0) || !info.Empty() || !wrapped.ReadASN1(&sd, cbasn1.SEQUENCE) || !wrapped.Empty() {
		return nil, fmt.Errorf("couldn't read SignedData: %w", errDER)
	}
	p := &signedData{}
	var algs, encap, certs, signers cryptobyte.String
	if !sd.ReadASN1Integer(&p.version) || !sd.ReadASN1Element(&algs, cbasn1.SET) || !sd.ReadASN1Element(&encap, cbasn1.SEQUENCE) {
		return nil, fmt.Errorf("couldn't read SignedData: %w", errDER)
	}
	p.digestAlgs, p.encap = algs, encap
	if err := p.readDigestAlgorithms(algs); err != nil {
		return nil, err
	}
	if err := p.readContent(encap); err != nil {
		return nil, err
	}
	if !sd.ReadASN1(&certs, tagCertificates) {
		return nil, errors.New("SignedData carries no certificates")
	}
	if err := p.readCertificates(certs); err != nil {
		return nil, err
	}
	if err := p.readLists(&sd); err != nil {
		return nil, err
	}
	if !sd.ReadASN1(&signers, cbasn1.SET) || !sd.Empty() {
		return nil, fmt.Errorf("couldn't read the signers: %w", errDER)
	}
	var signer cryptobyte.String
	if !signers.ReadASN1Element(&signer, cbasn1.SEQUENCE) {
		return nil, errors.New("SignedData has no SignerInfo")
	}
	if !signers.Empty() {
		return nil, errors.New("SignedData has more than one SignerInfo")
	}
	return p, p.signer.read(signer)
}

func (p *signedData) readDigestAlgorithms(element cryptobyte.String) error {
	var set cryptobyte.String
	if !element.ReadASN1(&set, cbasn1.SET) {
		return errDER
	}
	oid, err := readAlgorithm(&set)
	if err != nil || !set.Empty() {
		return errors.New("SignedData does not name exactly one digest algorithm")
	}
	p.digestAlg = oid
	return nil
}

func (p *signedData) readContent(element cryptobyte.String) error {
	var seq, wrapped, content cryptobyte.String
	var present bool
	if !element.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&p.contentType) ||
		!seq.ReadOptionalASN1(&wrapped, &present, tagExplicit0) || !seq.Empty() {
		return fmt.Errorf("couldn't read the encapsulated content: %w", errDER)
	}
	if !present {
		return nil
	}
	if !wrapped.ReadASN1(&content, cbasn1.OCTET_STRING) || !wrapped.Empty() {
		return fmt.Errorf("couldn't read the encapsulated content: %w", errDER)
	}
	p.content = slices.Concat([]byte{}, content)
	return nil
}

func (p *signedData) readCertificates(set cryptobyte.String) error {
	for !set.Empty() {
		var der cryptobyte.String
		if !set.ReadASN1Element(&der, cbasn1.SEQUENCE) {
			return fmt.Errorf("couldn't read the certificates: %w", errDER)
		}
		if len(p.certs) == maxCMSCertificates {
			return fmt.Errorf("SignedData carries more than %d certificates", maxCMSCertificates)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("couldn't read certificate %d: %w", len(p.certs)+1, err)
		}
		if slices.ContainsFunc(p.certs, cert.Equal) {
			return errors.New("SignedData carries a certificate twice")
		}
		p.certs = append(p.certs, cert)
	}
	return nil
}

func (p *signedData) readLists(sd *cryptobyte.String) error {
	var set cryptobyte.String
	var present bool
	if !sd.ReadOptionalASN1(&set, &present, tagCRLs) || present && set.Empty() {
		return fmt.Errorf("couldn't read the revocation lists: %w", errDER)
	}
	for !set.Empty() {
		var der cryptobyte.String
		if !set.ReadASN1Element(&der, cbasn1.SEQUENCE) {
			return fmt.Errorf("couldn't read the revocation lists: %w", errDER)
		}
		if len(p.lists) == maxLists {
			return fmt.Errorf("SignedData carries more than %d revocation lists", maxLists)
		}
		p.lists = append(p.lists, der)
	}
	return nil
}

func (s *signerInfo) read(element cryptobyte.String) error {
	s.raw = element
	var seq, sid, issuer, signed, sig, unsigned cryptobyte.String
	var hasUnsigned bool
	var err error
	s.serial = new(big.Int)
	if !element.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Integer(&s.version) ||
		!seq.ReadASN1(&sid, cbasn1.SEQUENCE) || !sid.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
		!sid.ReadASN1Integer(s.serial) || !sid.Empty() {
		return fmt.Errorf("couldn't read the SignerInfo (want version 1 with issuer and serial number): %w", errDER)
	}
	s.issuer = issuer
	if s.version != 1 {
		return fmt.Errorf("SignerInfo has version %d: want 1", s.version)
	}
	if s.digestAlg, err = readAlgorithm(&seq); err != nil {
		return err
	}
	if s.hash, err = hashOf(s.digestAlg); err != nil {
		return err
	}
	if !seq.ReadASN1(&signed, tagSignedAttrs) {
		return errors.New("SignerInfo has no signed attributes")
	}
	set := cryptobyte.NewBuilder(nil)
	set.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(signed) })
	if s.signedSet, err = set.Bytes(); err != nil {
		return err
	}
	if s.signed, err = readAttributes(signed); err != nil {
		return err
	}
	if s.sigAlg, err = readAlgorithm(&seq); err != nil {
		return err
	}
	if !seq.ReadASN1(&sig, cbasn1.OCTET_STRING) || !seq.ReadOptionalASN1(&unsigned, &hasUnsigned, tagUnsignedAttrs) || !seq.Empty() {
		return fmt.Errorf("couldn't read the SignerInfo: %w", errDER)
	}
	s.signature = sig
	if hasUnsigned {
		s.unsigned, err = readAttributes(unsigned)
	}
	return err
}

// readAttributes wants the order of DER, no attribute twice and one value in each.
func readAttributes(set cryptobyte.String) ([]attribute, error) {
	var attrs []attribute
	var last []byte
	for !set.Empty() {
		var element, seq, values, value cryptobyte.String
		var tag cbasn1.Tag
		var a attribute
		if !set.ReadASN1Element(&element, cbasn1.SEQUENCE) {
			return nil, fmt.Errorf("couldn't read an attribute: %w", errDER)
		}
		if last != nil && bytes.Compare(last, element) >= 0 {
			return nil, errors.New("attributes are not in the order of DER")
		}
		last = element
		if !element.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) ||
			!seq.ReadASN1(&values, cbasn1.SET) || !seq.Empty() || !values.ReadAnyASN1Element(&value, &tag) {
			return nil, fmt.Errorf("couldn't read an attribute: %w", errDER)
		}
		if !values.Empty() {
			return nil, fmt.Errorf("attribute %s has more than one value", a.oid)
		}
		if _, found := findAttribute(attrs, a.oid); found {
			return nil, fmt.Errorf("attribute %s occurs twice", a.oid)
		}
		a.value = value
		attrs = append(attrs, a)
	}
	return attrs, nil
}

func findAttribute(attrs []attribute, oid asn1.ObjectIdentifier) ([]byte, bool) {
	for _, a := range attrs {
		if a.oid.Equal(oid) {
			return a.value, true
		}
	}
	return nil, false
}

// readAlgorithm reads an AlgorithmIdentifier whose parameters are absent or NULL, as is right for each that we accept.
func readAlgorithm(s *cryptobyte.String) (asn1.ObjectIdentifier, error) {
	var seq, null cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) {
		return nil, fmt.Errorf("couldn't read an algorithm: %w", errDER)
	}
	if !seq.Empty() && (!seq.ReadASN1(&null, cbasn1.NULL) || !null.Empty() || !seq.Empty()) {
		return nil, fmt.Errorf("algorithm %s has parameters", oid)
	}
	return oid, nil
}

func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	for _, d := range digestAlgorithms {
		if d.oid.Equal(oid) {
			return d.hash, nil
		}
	}
	return 0, fmt.Errorf("digest algorithm %s is not accepted: want SHA-256, SHA-384 or SHA-512", oid)
}

func digestOID(hash crypto.Hash) asn1.ObjectIdentifier {
	for _, d := range digestAlgorithms {
		if d.hash == hash {
			return d.oid
		}
	}
	return nil
}

func sum(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// marshalSignedData writes a ContentInfo around its parts, without revocation lists; the certificates get the order of DER.
func marshalSignedData(version int, digestAlgs, encap []byte, certs []*x509.Certificate, signer []byte) ([]byte, error) {
	return marshalListed(version, digestAlgs, encap, certs, nil, signer)
}

// marshalListed is marshalSignedData with revocation lists, which get the order of DER as well.
func marshalListed(version int, digestAlgs, encap []byte, certs []*x509.Certificate, lists [][]byte, signer []byte) ([]byte, error) {
	lists = slices.Clone(lists)
	slices.SortFunc(lists, bytes.Compare)
	sorted := make([][]byte, len(certs))
	for i, c := range certs {
		sorted[i] = c.Raw
	}
	slices.SortFunc(sorted, bytes.Compare)
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(tagExplicit0, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(int64(version))
				b.AddBytes(digestAlgs)
				b.AddBytes(encap)
				b.AddASN1(tagCertificates, func(b *cryptobyte.Builder) {
					for _, der := range sorted {
						b.AddBytes(der)
					}
				})
				if len(lists) > 0 {
					b.AddASN1(tagCRLs, func(b *cryptobyte.Builder) {
						for _, der := range lists {
							b.AddBytes(der)
						}
					})
				}
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(signer) })
			})
		})
	})
	return b.Bytes()
}
