package evidence

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// forgery is a CMS signature with a real signature value and whatever form a test wants.
type forgery struct {
	w        *world
	attrs    []attributeValue
	digest   asn1.ObjectIdentifier
	sigAlg   asn1.ObjectIdentifier
	kind     asn1.ObjectIdentifier          // content type
	encap    cryptobyte.BuilderContinuation // the content, unless detached
	reverse  bool                           // signed attributes against the order of DER
	certs    []*x509.Certificate
	leaf     *certified
	version  int64
	signers  int
	unsigned []attributeValue // besides the time-stamp
	noStamp  bool
	imprint  []byte // what is stamped instead of the signature value
}

func newForgery(w *world, content []byte) *forgery {
	f := &forgery{
		w: w, digest: digestOID(crypto.SHA256), sigAlg: oidECDSASHA256, kind: oidData, leaf: w.leaf, version: 1, signers: 1,
		certs: []*x509.Certificate{w.leaf.cert, w.signerCA.cert},
	}
	f.setAttribute(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
	f.setAttribute(oidMessageDigest, octets(sum(crypto.SHA256, content)))
	f.setAttribute(oidSigningTime, func(b *cryptobyte.Builder) { b.AddASN1UTCTime(sealedAt) })
	f.setAttribute(oidSigningCertificateV2, certificateID(w.leaf.cert))
	return f
}

func octets(value []byte) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) { b.AddASN1OctetString(value) }
}

func certificateID(c *x509.Certificate) cryptobyte.BuilderContinuation {
	hash := sha256.Sum256(c.Raw)
	return sequence(sequence(sequence(octets(hash[:]))))
}

func sequence(inner cryptobyte.BuilderContinuation) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, inner) }
}

func (f *forgery) setAttribute(oid asn1.ObjectIdentifier, value cryptobyte.BuilderContinuation) {
	f.dropAttribute(oid)
	f.attrs = append(f.attrs, attributeValue{oid, value})
}

func (f *forgery) dropAttribute(oid asn1.ObjectIdentifier) {
	f.attrs = slices.DeleteFunc(f.attrs, func(a attributeValue) bool { return a.oid.Equal(oid) })
}

func (f *forgery) marshal(t *testing.T) []byte {
	t.Helper()
	signed, err := attributeSet(cbasn1.SET, f.attrs)
	if err != nil {
		t.Fatal(err)
	}
	if f.reverse {
		signed = reversed(t, signed)
	}
	hash := crypto.SHA256
	if h, err := hashOf(f.digest); err == nil {
		hash = h
	}
	signature, err := NewKeySigner(f.leaf.key, nil).SignDigest(t.Context(), sum(hash, signed), hash)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := slices.Clone(f.unsigned)
	if !f.noStamp {
		imprint := f.imprint
		if imprint == nil {
			imprint = sum(crypto.SHA256, signature)
		}
		token, err := f.w.tsa.Stamp(t.Context(), imprint)
		if err != nil {
			t.Fatal(err)
		}
		unsigned = append(unsigned, attributeValue{oidSignatureTimeStamp, func(b *cryptobyte.Builder) { b.AddBytes(token) }})
	}
	signer := cryptobyte.NewBuilder(nil)
	for range f.signers {
		signer.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(f.version)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(f.leaf.cert.RawIssuer)
				b.AddASN1BigInt(f.leaf.cert.SerialNumber)
			})
			algorithmIdentifier(f.digest)(b)
			b.AddBytes(append([]byte{byte(tagSignedAttrs)}, signed[1:]...))
			algorithmIdentifier(f.sigAlg)(b)
			b.AddASN1OctetString(signature)
			if len(unsigned) > 0 {
				set, err := attributeSet(tagUnsignedAttrs, unsigned)
				if err != nil {
					b.SetError(err)
				}
				b.AddBytes(set)
			}
		})
	}
	algs, encap := cryptobyte.NewBuilder(nil), cryptobyte.NewBuilder(nil)
	algs.AddASN1(cbasn1.SET, algorithmIdentifier(f.digest))
	encap.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(f.kind)
		if f.encap != nil {
			b.AddASN1(tagExplicit0, f.encap)
		}
	})
	version := 1
	if !f.kind.Equal(oidData) {
		version = tokenVersion
	}
	cms, err := marshalSignedData(version, algs.BytesOrPanic(), encap.BytesOrPanic(), f.certs, signer.BytesOrPanic())
	if err != nil {
		t.Fatal(err)
	}
	return cms
}

func reversed(t *testing.T, set []byte) []byte {
	t.Helper()
	input := cryptobyte.String(set)
	var body cryptobyte.String
	if !input.ReadASN1(&body, cbasn1.SET) {
		t.Fatal("not a SET")
	}
	var out []byte
	for !body.Empty() {
		var element cryptobyte.String
		if !body.ReadASN1Element(&element, cbasn1.SEQUENCE) {
			t.Fatal("not a SET of SEQUENCE")
		}
		out = slices.Concat(element, out)
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(out) })
	return b.BytesOrPanic()
}

func TestSignaturesThatAreRefused(t *testing.T) {
	t.Parallel()
	content := []byte("content")
	other := newWorld(t, elliptic.P256())
	for name, c := range map[string]struct {
		change      func(t *testing.T, f *forgery)
		check, text string
	}{
		"two SignerInfos": {func(_ *testing.T, f *forgery) { f.signers = 2 }, "seal", "more than one SignerInfo"},
		"no SignerInfo":   {func(_ *testing.T, f *forgery) { f.signers = 0 }, "seal", "no SignerInfo"},
		"version 3":       {func(_ *testing.T, f *forgery) { f.version = 3 }, "seal", "version 3"},
		"SHA-1": {func(_ *testing.T, f *forgery) { f.digest = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26} },
			"seal", "digest algorithm 1.3.14.3.2.26 is not accepted"},
		"MD5": {func(_ *testing.T, f *forgery) { f.digest = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5} },
			"seal", "digest algorithm 1.2.840.113549.2.5 is not accepted"},
		"SHA-384 with P-256": {func(_ *testing.T, f *forgery) {
			f.digest, f.sigAlg = digestOID(crypto.SHA384), oidECDSASHA384
			f.setAttribute(oidMessageDigest, octets(sum(crypto.SHA384, content)))
		}, "seal", "the key asks for SHA-256"},
		"other signature algorithm": {func(_ *testing.T, f *forgery) { f.sigAlg = oidRSASHA256 }, "seal", "is not accepted"},
		"no content-type":           {func(_ *testing.T, f *forgery) { f.dropAttribute(oidContentType) }, "seal", "content-type is missing"},
		"no message-digest":         {func(_ *testing.T, f *forgery) { f.dropAttribute(oidMessageDigest) }, "seal", "message-digest is missing"},
		"no signing-time":           {func(_ *testing.T, f *forgery) { f.dropAttribute(oidSigningTime) }, "seal", "signing-time is missing"},
		"no signing-certificate": {func(_ *testing.T, f *forgery) { f.dropAttribute(oidSigningCertificateV2) },
			"seal", "signing-certificate-v2 is missing"},
		"other content": {func(_ *testing.T, f *forgery) { f.setAttribute(oidMessageDigest, octets(sum(crypto.SHA256, nil))) },
			"seal", "message-digest does not match"},
		"other signing-certificate": {func(_ *testing.T, f *forgery) {
			f.setAttribute(oidSigningCertificateV2, certificateID(f.w.signerCA.cert))
		},
			"seal", "names another certificate"},
		"attribute more": {func(_ *testing.T, f *forgery) { f.setAttribute(asn1.ObjectIdentifier{1, 2, 3}, octets(nil)) },
			"seal", "canonical form"},
		"unsigned attribute more": {func(_ *testing.T, f *forgery) {
			f.unsigned = []attributeValue{{asn1.ObjectIdentifier{1, 2, 3}, octets(nil)}}
		}, "seal", "canonical form"},
		"attribute twice": {func(_ *testing.T, f *forgery) {
			f.attrs = append(f.attrs, attributeValue{oidMessageDigest, octets(nil)})
		}, "seal", "occurs twice"},
		"attributes out of order": {func(_ *testing.T, f *forgery) { f.reverse = true }, "seal", "not in the order of DER"},
		"certificate twice":       {func(_ *testing.T, f *forgery) { f.certs = append(f.certs, f.certs[0]) }, "seal", "a certificate twice"},
		"too many certificates": {func(t *testing.T, f *forgery) {
			for range maxCMSCertificates {
				f.certs = append(f.certs, issue(t, signerTemplate(), f.leaf.key, f.w.signerCA).cert)
			}
		}, "seal", "more than 10 certificates"},
		"weak key in the chain": {func(t *testing.T, f *forgery) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				t.Fatal(err)
			}
			ca := issue(t, caTemplate("weak CA"), key, f.w.signerRoot)
			f.leaf = issue(t, signerTemplate(), newKey(t, elliptic.P256()), ca)
			f.certs = []*x509.Certificate{f.leaf.cert, ca.cert}
			f.setAttribute(oidSigningCertificateV2, certificateID(f.leaf.cert))
		}, "certificate", "a key in the chain"},
		"content inside":   {func(_ *testing.T, f *forgery) { f.encap = octets(content) }, "seal", "not a detached one"},
		"certificate more": {func(_ *testing.T, f *forgery) { f.certs = append(f.certs, other.leaf.cert) }, "certificate", "the chain does not need"},
		"no signer's certificate": {func(_ *testing.T, f *forgery) { f.certs = f.certs[1:] },
			"seal", "lacks the signer's certificate"},
		"no intermediate": {func(_ *testing.T, f *forgery) { f.certs = f.certs[:1] }, "certificate", "unknown authority"},
		"foreign CA": {func(_ *testing.T, f *forgery) {
			f.leaf, f.certs = other.leaf, []*x509.Certificate{other.leaf.cert, other.signerCA.cert}
			f.setAttribute(oidSigningCertificateV2, certificateID(other.leaf.cert))
		}, "certificate", "unknown authority"},
		"expired when stamped": {func(t *testing.T, f *forgery) {
			template := signerTemplate()
			template.NotBefore, template.NotAfter = sealedAt.AddDate(-1, 0, 0), sealedAt.Add(time.Second)
			f.leaf = issue(t, template, newKey(t, elliptic.P256()), f.w.signerCA)
			f.certs[0] = f.leaf.cert
			f.setAttribute(oidSigningCertificateV2, certificateID(f.leaf.cert))
		}, "certificate", "expired"},
		"signing time after the stamp": {func(_ *testing.T, f *forgery) {
			f.setAttribute(oidSigningTime, func(b *cryptobyte.Builder) { b.AddASN1UTCTime(sealedAt.Add(6 * time.Minute)) })
		}, "timestamp", "more than 5m0s after the time-stamp"},
		"no time-stamp": {func(_ *testing.T, f *forgery) { f.noStamp = true }, "timestamp", "no time-stamp"},
		"time-stamp of another signature": {func(_ *testing.T, f *forgery) { f.imprint = sum(crypto.SHA256, nil) },
			"timestamp", "another imprint"},
		"foreign authority": {func(_ *testing.T, f *forgery) { f.w.tsa = other.tsa }, "timestamp", "unknown authority"},
		"authority under the signers' root": {func(t *testing.T, f *forgery) {
			f.w.tsa.tsa = issue(t, tsaTemplate(t), newKey(t, elliptic.P256()), f.w.signerCA)
			f.w.tsa.parents, f.w.tsa.roots = []*x509.Certificate{f.w.signerCA.cert}, f.w.roots.Signers
		}, "timestamp", "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, elliptic.P256())
			f := newForgery(w, content)
			if _, err := VerifyDetached(content, f.marshal(t), w.roots); err != nil {
				t.Fatalf("the unchanged signature is refused: %v", err)
			}
			c.change(t, f)
			_, err := VerifyDetached(content, f.marshal(t), w.roots)
			wantFailure(t, err, c.check, c.text)
		})
	}
}

func TestSignatureBytesAreStrict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	cms, err := SignDetached(t.Context(), []byte("content"), w.signer, w.tsa, sealedAt)
	if err != nil {
		t.Fatal(err)
	}
	_, err = VerifyDetached([]byte("content"), append(slices.Clone(cms), 0), w.roots)
	wantFailure(t, err, "seal", "1 trailing bytes")
	_, err = VerifyDetached([]byte("content"), cms[:len(cms)-1], w.roots)
	wantFailure(t, err, "seal", "malformed DER")
	_, err = VerifyDetached([]byte("other"), cms, w.roots)
	wantFailure(t, err, "seal", "message-digest does not match")
	_, err = VerifyDetached([]byte("content"), cms, Roots{TSAs: w.roots.TSAs})
	wantFailure(t, err, "certificate", "no roots are given")
	_, err = VerifyDetached([]byte("content"), cms, Roots{Signers: w.roots.Signers})
	wantFailure(t, err, "timestamp", "no roots are given")
	_, err = VerifyDetached([]byte("content"), make([]byte, maxSignatureSize+1), w.roots)
	wantFailure(t, err, "seal", "over the limit")
}

// RFC 5652, section 11.3: GeneralizedTime from 2050 on.
func TestSigningTimeAfter2049(t *testing.T) {
	t.Parallel()
	late := time.Date(2051, 6, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, elliptic.P256())
	s, err := sign(t.Context(), digestOf([]byte("content")), w.signer, late)
	if err != nil {
		t.Fatal(err)
	}
	cms, err := s.marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := readSeal(digestOf([]byte("content")), cms, true)
	if err != nil || !read.signingTime.Equal(late) {
		t.Errorf("signing time reads %v, %v", read, err)
	}
}

func FuzzVerifyDetached(f *testing.F) {
	raw, roots := goldenBundle(f)
	b := mustOpen(f, raw)
	f.Add(b.SignatureBytes())
	f.Fuzz(func(t *testing.T, forged []byte) {
		if _, err := VerifyDetached(b.ManifestBytes(), forged, roots); err == nil && !slices.Equal(forged, b.SignatureBytes()) {
			t.Fatal("accepted a forgery")
		}
	})
}
