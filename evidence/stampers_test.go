package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what ESSCertID of RFC 2634 uses, and is refused for
	"encoding/asn1"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// stampFunc is a Stamper that is one function.
type stampFunc func(ctx context.Context, digest []byte) ([]byte, error)

func (f stampFunc) Stamp(ctx context.Context, digest []byte) ([]byte, error) { return f(ctx, digest) }

// The second authority is asked whatever is wrong with the first: no answer, a refusal, or a token that doesn't hold.
func TestR11_TheSecondAuthorityStampsWhenTheFirstFails(t *testing.T) {
	t.Parallel()
	first, second := newWorld(t, elliptic.P256()), newWorld(t, elliptic.P256())
	secondServer := serveTSA(t, second, nil)
	good := NewTSAClient(secondServer.URL, second.roots.TSAs, secondServer.Client())
	for name, change := range map[string]func(http.ResponseWriter, []byte) []byte{
		"out of order": func(w http.ResponseWriter, a []byte) []byte { w.WriteHeader(http.StatusServiceUnavailable); return a },
		"refuses":      func(http.ResponseWriter, []byte) []byte { return []byte{0x30, 5, 0x30, 3, 2, 1, 2} },
		"garbage":      func(http.ResponseWriter, []byte) []byte { return []byte("hello") },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := serveTSA(t, first, change)
			token, err := InTurn(NewTSAClient(s.URL, first.roots.TSAs, s.Client()), good).Stamp(t.Context(), stampedDigest[:])
			if err != nil {
				t.Fatal(err)
			}
			facts, err := VerifyToken(token, stampedDigest[:], nil, second.roots.TSAs)
			if err != nil || !facts.Certificate.Equal(second.tsa.tsa.cert) {
				t.Errorf("stamped by %+v, %v", facts, err)
			}
		})
	}
	t.Run("the first is another authority than it should be", func(t *testing.T) {
		t.Parallel()
		s := serveTSA(t, first, nil)
		token, err := InTurn(NewTSAClient(s.URL, second.roots.TSAs, s.Client()), good).Stamp(t.Context(), stampedDigest[:])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyToken(token, stampedDigest[:], nil, second.roots.TSAs); err != nil {
			t.Error(err)
		}
	})
	t.Run("the first answers", func(t *testing.T) {
		t.Parallel()
		never := stampFunc(func(context.Context, []byte) ([]byte, error) { t.Error("the second was asked"); return nil, nil })
		if _, err := InTurn(good, never).Stamp(t.Context(), stampedDigest[:]); err != nil {
			t.Error(err)
		}
	})
}

func TestR11_BothAuthoritiesFailingIsNoTimeStamp(t *testing.T) {
	t.Parallel()
	down := func(why string) Stamper {
		return stampFunc(func(context.Context, []byte) ([]byte, error) { return nil, errors.New(why) })
	}
	_, err := InTurn(down("one"), down("two")).Stamp(t.Context(), stampedDigest[:])
	wantFailure(t, err, "timestamp", "one\ntwo")
	_, err = InTurn().Stamp(t.Context(), stampedDigest[:])
	wantFailure(t, err, "timestamp", "no time-stamp authority is named")

	ctx, cancel := context.WithCancel(t.Context())
	ended := stampFunc(func(ctx context.Context, _ []byte) ([]byte, error) { cancel(); return nil, ctx.Err() })
	never := stampFunc(func(context.Context, []byte) ([]byte, error) { t.Error("asked although time was up"); return nil, nil })
	_, err = InTurn(ended, never).Stamp(ctx, stampedDigest[:])
	wantFailure(t, err, "timestamp", "context canceled")
}

// TestTokensWithForgedSigningCertificate signs tokens anew, with the authority's own key, whose signed attributes name another certificate, none, or theirs
// in the old way by SHA-1.
func TestTokensWithForgedSigningCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	token, err := w.tsa.Stamp(t.Context(), stampedDigest[:])
	if err != nil {
		t.Fatal(err)
	}
	oidV1 := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	essCertID := func(digest []byte) []byte {
		b := cryptobyte.NewBuilder(nil)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest) })
			})
		})
		return b.BytesOrPanic()
	}
	own, old := sum(crypto.SHA256, w.tsa.tsa.cert.Raw), sha1.Sum(w.tsa.tsa.cert.Raw) //nolint:gosec // see above
	for name, c := range map[string]struct {
		oid   asn1.ObjectIdentifier
		value []byte
		text  string
	}{
		"right":               {oidSigningCertificateV2, essCertID(own), ""},
		"another certificate": {oidSigningCertificateV2, essCertID(sum(crypto.SHA256, w.leaf.cert.Raw)), "signing-certificate-v2 names another certificate"},
		"no certificate":      {nil, nil, "signing-certificate-v2 is missing"},
		"version 1 alone":     {oidV1, essCertID(old[:]), "signing-certificate-v2 is missing"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			_, err := VerifyToken(signedAnew(t, w, token, c.oid, c.value), stampedDigest[:], nil, w.roots.TSAs)
			if c.text == "" {
				if err != nil {
					t.Fatalf("a token that is signed anew without a change is refused: %v", err)
				}
				return
			}
			wantFailure(t, err, "timestamp", c.text)
		})
	}
}

// signedAnew replaces the signing certificate among a token's signed attributes, and has the authority sign them.
func signedAnew(t *testing.T, w *world, token []byte, oid asn1.ObjectIdentifier, value []byte) []byte {
	t.Helper()
	sd, err := parseSignedData(token)
	if err != nil {
		t.Fatal(err)
	}
	var attrs []attributeValue
	for _, a := range sd.signer.signed {
		if !a.oid.Equal(oidSigningCertificateV2) {
			attrs = append(attrs, attributeValue{a.oid, func(b *cryptobyte.Builder) { b.AddBytes(a.value) }})
		}
	}
	if oid != nil {
		attrs = append(attrs, attributeValue{oid, func(b *cryptobyte.Builder) { b.AddBytes(value) }})
	}
	set, err := attributeSet(cbasn1.SET, attrs)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := w.tsa.tsa.key.Sign(rand.Reader, sum(sd.signer.hash, set), sd.signer.hash)
	if err != nil {
		t.Fatal(err)
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(sd.signer.issuer)
			b.AddASN1BigInt(sd.signer.serial)
		})
		algorithmIdentifier(sd.signer.digestAlg)(b)
		b.AddBytes(slices.Concat([]byte{byte(tagSignedAttrs)}, set[1:]))
		algorithmIdentifier(sd.signer.sigAlg)(b)
		b.AddASN1OctetString(signature)
	})
	out, err := marshalSignedData(sd.version, sd.digestAlgs, sd.encap, sd.certs, b.BytesOrPanic())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(out, token) {
		t.Fatal("the token is the same")
	}
	return out
}
