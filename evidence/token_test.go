package evidence

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// tokenParts are the parts of a time-stamp token that a test's authority signs; see RFC 3161, section 2.4.2.
type tokenParts struct {
	version  int64
	serial   *big.Int
	critical bool
	name     []byte
	ids      cryptobyte.BuilderContinuation
	unsigned bool
}

// ownToken signs a token by hand, with each optional field present.
func ownToken(t *testing.T, w *world, p tokenParts) []byte {
	t.Helper()
	directory := cbasn1.Tag(4).ContextSpecific().Constructed()
	tst := cryptobyte.NewBuilder(nil)
	tst.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(p.version)
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 3})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			algorithmIdentifier(digestOID(crypto.SHA256))(b)
			b.AddASN1OctetString(stampedDigest[:])
		})
		b.AddASN1BigInt(p.serial)
		b.AddASN1GeneralizedTime(sealedAt)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(2)
			b.AddASN1Int64WithTag(3, cbasn1.Tag(0).ContextSpecific())
			b.AddASN1Int64WithTag(4, cbasn1.Tag(1).ContextSpecific())
		})
		b.AddASN1Boolean(true)
		b.AddASN1BigInt(big.NewInt(77))
		b.AddASN1(tagExplicit0, func(b *cryptobyte.Builder) {
			b.AddASN1(directory, func(b *cryptobyte.Builder) { b.AddBytes(p.name) })
		})
		b.AddASN1(cbasn1.Tag(1).ContextSpecific().Constructed(), sequence(func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 4})
			if p.critical {
				b.AddASN1Boolean(true)
			}
			b.AddASN1OctetString(nil)
		}))
	})
	info, err := tst.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	f := newForgery(w, info)
	f.kind, f.encap, f.noStamp = oidTSTInfo, octets(info), true
	f.leaf, f.certs = w.tsa.tsa, []*x509.Certificate{w.tsa.tsa.cert, w.tsaCA.cert}
	f.setAttribute(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidTSTInfo) })
	f.setAttribute(oidSigningCertificateV2, p.ids)
	if p.unsigned {
		f.unsigned = []attributeValue{{asn1.ObjectIdentifier{1, 2, 3}, octets(nil)}}
	}
	return f.marshal(t)
}

// idWithIssuer is an ESSCertIDv2 with its optional fields.
func idWithIssuer(c *x509.Certificate, issuer []byte) cryptobyte.BuilderContinuation {
	return sequence(sequence(sequence(func(b *cryptobyte.Builder) {
		algorithmIdentifier(digestOID(crypto.SHA512))(b)
		b.AddASN1OctetString(sum(crypto.SHA512, c.Raw))
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.Tag(4).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(issuer) })
			})
			b.AddASN1BigInt(c.SerialNumber)
		})
	})))
}

func TestTokenWithEachOptionalField(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(w *world, p *tokenParts)
		text   string // of the refusal, if any
	}{
		"accepted":               {func(*world, *tokenParts) {}, ""},
		"version 2":              {func(_ *world, p *tokenParts) { p.version = 2 }, "TSTInfo has version 2"},
		"negative serial number": {func(_ *world, p *tokenParts) { p.serial = big.NewInt(-5) }, "serial number"},
		"long serial number":     {func(_ *world, p *tokenParts) { p.serial = new(big.Int).Lsh(big.NewInt(1), 160) }, "161 bits"},
		"critical extension":     {func(_ *world, p *tokenParts) { p.critical = true }, "unknown critical extension 1.2.4"},
		"other authority's name": {func(w *world, p *tokenParts) { p.name = w.leaf.cert.RawSubject }, "names another authority"},
		"unsigned attribute":     {func(_ *world, p *tokenParts) { p.unsigned = true }, "unsigned attributes"},
		"other issuer": {func(w *world, p *tokenParts) { p.ids = idWithIssuer(w.tsa.tsa.cert, w.tsaRoot.cert.RawSubject) },
			"another issuer and serial number"},
		"other certificate": {func(w *world, p *tokenParts) { p.ids = idWithIssuer(w.tsaCA.cert, w.tsaCA.cert.RawIssuer) },
			"names another certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, elliptic.P256())
			tsa := w.tsa.tsa.cert
			p := tokenParts{version: 1, serial: big.NewInt(9), name: tsa.RawSubject, ids: idWithIssuer(tsa, tsa.RawIssuer)}
			c.change(w, &p)
			facts, err := VerifyToken(ownToken(t, w, p), stampedDigest[:], big.NewInt(77), w.roots.TSAs)
			if c.text != "" {
				wantFailure(t, err, "timestamp", c.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if facts.Accuracy != 2*time.Second+3*time.Millisecond+4*time.Microsecond || facts.Serial.Int64() != 9 || facts.Policy != "1.2.3" {
				t.Errorf("facts are %+v", facts)
			}
		})
	}
}
