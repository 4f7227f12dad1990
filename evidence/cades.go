package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxClockLead is how far the signer's clock may be ahead of the time-stamp.
const maxClockLead = 5 * time.Minute

// Signer signs digests with a key that it does not give away, such as one in a KMS.
type Signer interface {
	// Chain returns the certificates, the signer's own first, each followed by its issuer. The root may be left out.
	Chain() []*x509.Certificate
	// SignDigest returns an ASN.1 DER ECDSA signature over digest. SignDetached calls it once and never again, since
	// each call leaves a signature in the world.
	SignDigest(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error)
}

// NewKeySigner returns a Signer over a crypto.Signer with an ECDSA key on P-256 or P-384.
func NewKeySigner(key crypto.Signer, chain []*x509.Certificate) Signer {
	return keySigner{key: key, chain: slices.Clone(chain)}
}

type keySigner struct {
	key   crypto.Signer
	chain []*x509.Certificate
}

func (s keySigner) Chain() []*x509.Certificate { return slices.Clone(s.chain) }

func (s keySigner) SignDigest(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.key.Sign(rand.Reader, digest, hash)
}

// SignatureFacts is what a verified seal says.
type SignatureFacts struct {
	Signer      *x509.Certificate
	Chain       []*x509.Certificate // Signer first, root last
	SigningTime time.Time           // claimed by the signer
	StampTime   time.Time           // attested by the time-stamping authority
	StampSerial *big.Int
	StampPolicy string    // object identifier
	StampUntil  time.Time // when the first certificate of the authority's chain ends
	TSA         string    // subject of the authority's certificate
	Hash        crypto.Hash
	Digest      []byte // of the content, with Hash
	// Named is how many certificates, of the signer and of the authority, name a revocation list; for Listed of them the signature carries it, and it doesn't
	// revoke them at StampTime. Listed is zero or Named.
	Named, Listed int
}

// SignDetached returns a CAdES-B-T signature over content (ETSI EN 319 122-1): a DER CMS SignedData without the
// content, with one signer, its whole chain, and a time-stamp over the signature value. With a RevocationSigner it is CAdES-B-LT: the lists are in it as
// well; those of the signer are read before it is asked, so that a revoked one never is. The digest is SHA-256 with a
// P-256 key and SHA-384 with a P-384 key. at is the claimed signing time, kept to the second.
//
// The signature value is verified before the authority is asked. Trust in the chain and in the time-stamp is not
// checked: that is for VerifyDetached, with the caller's roots.
func SignDetached(ctx context.Context, content []byte, signer Signer, stamper Stamper, at time.Time) ([]byte, error) {
	return signStamped(ctx, digestOf(content), signer, stamper, at, at)
}

// signStamped signs as of now, claims a time where it isn't zero, and gets the time-stamp. A signer whose certificate is revoked is not asked. What claims no
// time is in a PDF, which keeps no revocation lists in its signature: those of the same certificates are in the seal of its evidence.
func signStamped(ctx context.Context, digest contentDigest, signer Signer, stamper Stamper, claimed, now time.Time) ([]byte, error) {
	var lists *Revocation
	if r, ok := signer.(RevocationSigner); ok {
		lists = r.Revocation()
	}
	var kept [][]byte
	if lists != nil {
		var err error
		if kept, err = lists.Signer(ctx, signer.Chain(), now); err != nil {
			return nil, err
		}
	}
	s, err := sign(ctx, digest, signer, claimed)
	if err != nil {
		return nil, err
	}
	stamped := sha256.Sum256(s.signature)
	if s.token, err = stamper.Stamp(ctx, stamped[:]); err != nil {
		return nil, inCheck("timestamp", fmt.Errorf("couldn't get a time-stamp for the signature: %w", err))
	}
	sd, err := parseSignedData(s.token)
	if err != nil {
		return nil, inCheck("timestamp", fmt.Errorf("couldn't use the time-stamp: %w", err))
	}
	if _, err := verifyToken(sd, s.token, stamped[:], nil); err != nil {
		return nil, inCheck("timestamp", fmt.Errorf("couldn't use the time-stamp: %w", err))
	}
	if lists == nil || claimed.IsZero() {
		return s.marshal()
	}
	more, err := lists.Token(ctx, s.token)
	if err != nil {
		return nil, err
	}
	s.lists = kept
	for _, der := range more {
		s.lists = addList(s.lists, der)
	}
	return s.marshal()
}

// seal holds the parts of a signature in our own form. Equal parts give equal bytes.
type seal struct {
	hash        crypto.Hash
	leaf        *x509.Certificate
	certs       []*x509.Certificate
	digest      []byte
	signingTime time.Time // zero in a PDF, where the attribute is forbidden
	signature   []byte
	token       []byte // nil in a rehearsal
	lists       [][]byte
}

// contentDigest is the digest of content that need not be in memory.
type contentDigest func(crypto.Hash) ([]byte, error)

func digestOf(content []byte) contentDigest {
	return func(hash crypto.Hash) ([]byte, error) { return sum(hash, content), nil }
}

// sign makes the signature without a time-stamp. A zero time is left out.
func sign(ctx context.Context, digest contentDigest, signer Signer, at time.Time) (*seal, error) {
	chain := signer.Chain()
	hash, err := checkSignerChain(chain)
	if err != nil {
		return nil, inCheck("certificate", err)
	}
	s := &seal{hash: hash, leaf: chain[0], certs: chain, signingTime: at.UTC().Truncate(time.Second)}
	if s.digest, err = digest(hash); err != nil {
		return nil, inCheck("seal", err)
	}
	attrs, err := s.signedAttributes()
	if err != nil {
		return nil, inCheck("seal", err)
	}
	if s.signature, err = signer.SignDigest(ctx, sum(hash, attrs), hash); err != nil {
		return nil, inCheck("seal", fmt.Errorf("couldn't sign: %w", err))
	}
	key, _ := s.leaf.PublicKey.(*ecdsa.PublicKey)
	if !ecdsa.VerifyASN1(key, sum(hash, attrs), s.signature) {
		return nil, failed("seal", "signature does not verify with the key of %q: key and certificate do not belong together", s.leaf.Subject)
	}
	return s, nil
}

// checkSignerChain checks the chain's form and returns the digest that goes with the signer's key.
func checkSignerChain(chain []*x509.Certificate) (crypto.Hash, error) {
	if len(chain) == 0 || len(chain) > maxCMSCertificates {
		return 0, fmt.Errorf("signer has a chain of %d certificates: want 1 to %d", len(chain), maxCMSCertificates)
	}
	if err := checkSignerCertificate(chain[0]); err != nil {
		return 0, err
	}
	for i, c := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(c); err != nil {
			return 0, fmt.Errorf("signer's chain is broken after %q: %w", chain[i].Subject, err)
		}
	}
	return sealHash(chain[0])
}

// sealHash pins the digest to the curve, so that a seal has one form.
func sealHash(leaf *x509.Certificate) (crypto.Hash, error) {
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); ok {
		switch key.Curve {
		case elliptic.P256():
			return crypto.SHA256, nil
		case elliptic.P384():
			return crypto.SHA384, nil
		}
	}
	return 0, fmt.Errorf("key of %q is not accepted for a seal: want ECDSA on P-256 or P-384", leaf.Subject)
}

// VerifyDetached checks a signature of SignDetached over content: one signer, each signed attribute, the signature
// value, the time-stamp (see VerifyToken), and the signer's chain to roots.Signers at the time-stamp's time. The
// signing time may be at most five minutes after the time-stamp.
//
// It accepts the bytes that SignDetached writes and no other CMS. Revocation is not looked up; where the signature carries revocation lists, there is one
// for each certificate that names any, and none revokes it. Errors are *BundleError with Check "seal", "certificate", "timestamp" or "revocation".
func VerifyDetached(content, cms []byte, roots Roots) (SignatureFacts, error) {
	s, err := readSeal(digestOf(content), cms, true)
	if err != nil {
		return SignatureFacts{}, inCheck("seal", err)
	}
	return s.verify(roots)
}

// verify checks trust: the time-stamp, and the signer's chain as of its time.
func (s *seal) verify(roots Roots) (SignatureFacts, error) {
	if s.token == nil {
		return SignatureFacts{}, failed("timestamp", "signature has no time-stamp")
	}
	stamped := sha256.Sum256(s.signature)
	token, err := verifyTokenUnder(s.token, stamped[:], nil, roots)
	if err != nil {
		return SignatureFacts{}, err
	}
	if s.signingTime.After(token.Time.Add(maxClockLead)) {
		return SignatureFacts{}, failed("timestamp", "signing time %s is more than %s after the time-stamp %s",
			s.signingTime.Format(time.RFC3339), maxClockLead, token.Time.Format(time.RFC3339))
	}
	chain, err := roots.chains.verify(s.leaf, s.certs, roots.Signers, x509.ExtKeyUsageAny, token.Time)
	if err != nil {
		return SignatureFacts{}, inCheck("certificate", err)
	}
	listed, named, err := verifyLists(s.lists, token.Time, chain, token.chain)
	if err != nil {
		return SignatureFacts{}, inCheck(checkRevocation, err)
	}
	return SignatureFacts{
		Named: named, Listed: listed, StampUntil: token.until(),
		Signer: s.leaf, Chain: chain, SigningTime: s.signingTime,
		StampTime: token.Time, StampSerial: token.Serial, StampPolicy: token.Policy, TSA: token.TSA,
		Hash: s.hash, Digest: s.digest,
	}, nil
}

// readSeal checks all but trust: who may sign, and when. A signature that is not timed has no signing-time.
func readSeal(content contentDigest, cms []byte, timed bool) (*seal, error) {
	if len(cms) > maxSignatureSize {
		return nil, fmt.Errorf("signature of %d bytes is over the limit of %d", len(cms), maxSignatureSize)
	}
	sd, err := parseSignedData(cms)
	if err != nil {
		return nil, err
	}
	if sd.content != nil || !sd.contentType.Equal(oidData) {
		return nil, errors.New("signature is not a detached one over data")
	}
	leaf, err := sd.verify(content)
	if err != nil {
		return nil, err
	}
	if err := checkSignerCertificate(leaf); err != nil {
		return nil, &BundleError{Check: "certificate", Err: err}
	}
	hash, err := sealHash(leaf)
	if err != nil {
		return nil, err
	}
	if hash != sd.signer.hash {
		return nil, fmt.Errorf("signature uses %s: the key asks for %s", sd.signer.hash, hash)
	}
	s := &seal{hash: hash, leaf: leaf, certs: sd.certs, lists: sd.lists, digest: sd.digest, signature: sd.signer.signature}
	if timed {
		if s.signingTime, err = readSigningTime(sd.signer.signed); err != nil {
			return nil, err
		}
	}
	s.token, _ = findAttribute(sd.signer.unsigned, oidSignatureTimeStamp)
	canonical, err := s.marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(canonical, cms) {
		return nil, errors.New("signature is not in the canonical form of this writer")
	}
	return s, nil
}

func readSigningTime(attrs []attribute) (time.Time, error) {
	value, found := findAttribute(attrs, oidSigningTime)
	if !found {
		return time.Time{}, errors.New("signed attribute signing-time is missing")
	}
	var t time.Time
	s := cryptobyte.String(value)
	ok := false
	if s.PeekASN1Tag(cbasn1.UTCTime) {
		ok = s.ReadASN1UTCTime(&t)
	} else {
		ok = s.ReadASN1GeneralizedTime(&t)
	}
	if !ok || !s.Empty() {
		return time.Time{}, fmt.Errorf("couldn't read the signing time: %w", errDER)
	}
	return t.UTC(), nil
}

// signedAttributes returns the SET OF that the signature covers.
func (s *seal) signedAttributes() ([]byte, error) {
	certHash := sha256.Sum256(s.leaf.Raw)
	attrs := []attributeValue{
		{oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) }},
		{oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(s.digest) }},
		{oidSigningTime, func(b *cryptobyte.Builder) {
			// RFC 5652, section 11.3, divides the two forms by year.
			if year := s.signingTime.Year(); year >= 1950 && year < 2050 {
				b.AddASN1UTCTime(s.signingTime)
			} else {
				b.AddASN1GeneralizedTime(s.signingTime)
			}
		}},
		{oidSigningCertificateV2, func(b *cryptobyte.Builder) {
			// SHA-256 is ESSCertIDv2's default, and DER leaves defaults out.
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1OctetString(certHash[:]) })
				})
			})
		}},
	}
	if s.signingTime.IsZero() {
		attrs = slices.DeleteFunc(attrs, func(a attributeValue) bool { return a.oid.Equal(oidSigningTime) })
	}
	return attributeSet(cbasn1.SET, attrs)
}

func (s *seal) marshal() ([]byte, error) {
	signed, err := s.signedAttributes()
	if err != nil {
		return nil, err
	}
	signed = slices.Concat([]byte{byte(tagSignedAttrs)}, signed[1:])
	var unsigned []byte
	if s.token != nil {
		unsigned, err = attributeSet(tagUnsignedAttrs, []attributeValue{
			{oidSignatureTimeStamp, func(b *cryptobyte.Builder) { b.AddBytes(s.token) }},
		})
		if err != nil {
			return nil, err
		}
	}
	sigOID := oidECDSASHA256
	if s.hash == crypto.SHA384 {
		sigOID = oidECDSASHA384
	}
	digestAlg := algorithmIdentifier(digestOID(s.hash))
	signer := cryptobyte.NewBuilder(nil)
	signer.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(s.leaf.RawIssuer)
			b.AddASN1BigInt(s.leaf.SerialNumber)
		})
		digestAlg(b)
		b.AddBytes(signed)
		algorithmIdentifier(sigOID)(b)
		b.AddASN1OctetString(s.signature)
		b.AddBytes(unsigned)
	})
	signerDER, err := signer.Bytes()
	if err != nil {
		return nil, err
	}
	algs, encap := cryptobyte.NewBuilder(nil), cryptobyte.NewBuilder(nil)
	algs.AddASN1(cbasn1.SET, digestAlg)
	encap.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
	return marshalListed(1, algs.BytesOrPanic(), encap.BytesOrPanic(), s.certs, s.lists, signerDER)
}

// algorithmIdentifier leaves the parameters absent: RFC 5754 for SHA-2, RFC 5758 for ECDSA.
func algorithmIdentifier(oid asn1.ObjectIdentifier) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
	}
}

type attributeValue struct {
	oid   asn1.ObjectIdentifier
	value cryptobyte.BuilderContinuation
}

func attributeSet(tag cbasn1.Tag, attrs []attributeValue) ([]byte, error) {
	elements := make([][]byte, len(attrs))
	for i, a := range attrs {
		b := cryptobyte.NewBuilder(nil)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(a.oid)
			b.AddASN1(cbasn1.SET, a.value)
		})
		var err error
		if elements[i], err = b.Bytes(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(elements, bytes.Compare)
	set := cryptobyte.NewBuilder(nil)
	set.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
	return set.Bytes()
}
