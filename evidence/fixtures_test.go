package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"golang.org/x/crypto/cryptobyte"
)

// sealedAt is the instant of every seal in these tests; the certificates are valid around it, not around today.
var sealedAt = time.Date(2027, 3, 2, 10, 30, 0, 0, time.UTC)

var serials atomic.Int64

type certified struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate from template, which needs only what matters to the test. A nil issuer means self-signed.
func issue(t testing.TB, template x509.Certificate, key crypto.Signer, issuer *certified) *certified {
	t.Helper()
	template.SerialNumber = big.NewInt(1000 + serials.Add(1))
	template.BasicConstraintsValid = true
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = sealedAt.AddDate(-1, 0, 0), sealedAt.AddDate(1, 0, 0)
	}
	parent, signingKey := &template, key
	if issuer != nil {
		parent, signingKey = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signingKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &certified{cert: cert, key: key}
}

func caTemplate(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
}

func signerTemplate() x509.Certificate {
	return x509.Certificate{
		Subject:  pkix.Name{CommonName: "tenant acme"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
}

// ekuExtension is the extended key usage time-stamping, with the given criticality.
func ekuExtension(t testing.TB, critical bool) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oidExtKeyUsage, Critical: critical, Value: value}
}

func tsaTemplate(t testing.TB) x509.Certificate {
	t.Helper()
	return x509.Certificate{
		Subject:         pkix.Name{CommonName: "test TSA"},
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{ekuExtension(t, true)},
	}
}

// world is a tenant's authority and a time-stamping authority, each with an intermediate.
type world struct {
	signerRoot, signerCA, leaf *certified
	tsaRoot, tsaCA             *certified
	signer                     *countingSigner
	tsa                        *testTSA
	roots                      Roots
}

func newWorld(t testing.TB, curve elliptic.Curve) *world {
	t.Helper()
	w := &world{}
	w.signerRoot = issue(t, caTemplate("tenants' root"), newKey(t, elliptic.P384()), nil)
	w.signerCA = issue(t, caTemplate("tenants' CA"), newKey(t, elliptic.P256()), w.signerRoot)
	w.leaf = issue(t, signerTemplate(), newKey(t, curve), w.signerCA)
	w.tsaRoot = issue(t, caTemplate("TSA root"), newKey(t, elliptic.P384()), nil)
	w.tsaCA = issue(t, caTemplate("TSA CA"), newKey(t, elliptic.P256()), w.tsaRoot)
	w.signer = &countingSigner{Signer: NewKeySigner(w.leaf.key, []*x509.Certificate{w.leaf.cert, w.signerCA.cert})}
	w.roots = Roots{Signers: poolOf(w.signerRoot), TSAs: poolOf(w.tsaRoot)}
	w.tsa = newTestTSA(t, w, tsaTemplate(t))
	return w
}

func newTestTSA(t testing.TB, w *world, template x509.Certificate) *testTSA {
	t.Helper()
	return &testTSA{
		tsa: issue(t, template, newKey(t, elliptic.P256()), w.tsaCA), parents: []*x509.Certificate{w.tsaCA.cert},
		roots: w.roots.TSAs, at: sealedAt.Add(2 * time.Second), hash: crypto.SHA256,
	}
}

func poolOf(cas ...*certified) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AddCert(ca.cert)
	}
	return pool
}

// countingSigner stands for a KMS: it counts the signatures that leave it.
type countingSigner struct {
	Signer
	calls int
}

func (s *countingSigner) SignDigest(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) {
	s.calls++
	return s.Signer.SignDigest(ctx, digest, hash)
}

// testTSA is a time-stamping authority in memory. Fields change what it answers.
type testTSA struct {
	tsa     *certified
	parents []*x509.Certificate
	roots   *x509.CertPool
	at      time.Time
	hash    crypto.Hash
	imprint []byte // instead of the one asked for
	raw     bool   // leave the token as the library writes it
	calls   int
}

func (a *testTSA) response(digest []byte, nonce *big.Int) ([]byte, error) {
	if a.imprint != nil {
		digest = a.imprint
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm: imprintHash(digest), HashedMessage: digest, Time: a.at, Accuracy: 1500 * time.Millisecond,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Nonce: nonce,
		Certificates: a.parents, AddTSACertificate: true,
	}
	return stamp.CreateResponseWithOpts(a.tsa.cert, a.tsa.key, a.hash)
}

func (a *testTSA) Stamp(_ context.Context, digest []byte) ([]byte, error) {
	a.calls++
	answer, err := a.response(digest, nil)
	if err != nil {
		return nil, err
	}
	token, err := readTSAAnswer(answer)
	if err != nil || a.raw {
		return token, err
	}
	return CanonicalToken(token, a.roots)
}

func rsaTSA(t testing.TB, w *world, bits int) *testTSA {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	tsa := newTestTSA(t, w, tsaTemplate(t))
	tsa.tsa = issue(t, tsaTemplate(t), key, w.tsaCA)
	return tsa
}

func someFiles() []File {
	return []File{
		{"document.pdf", []byte("%PDF-1.7\nnot much of a document\n%%EOF\n")},
		{"statement.json", []byte(`{"_type":"https://in-toto.io/Statement/v1"}`)},
		{"identity/token-1.jwt", []byte("e30.e30.c2ln")},
		{"history.pb", []byte{8, 1, 16, 2}},
	}
}

func mustSeal(t testing.TB, w *world) []byte {
	t.Helper()
	raw, err := sealed(t.Context(), someFiles(), w.signer, w.tsa, sealedAt, w.roots)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustOpen(t testing.TB, raw []byte) *Bundle {
	t.Helper()
	b, err := OpenBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// check opens and verifies, as a stranger does.
func check(raw []byte, roots Roots) error {
	b, err := OpenBundle(raw)
	if err != nil {
		return err
	}
	_, err = b.VerifySeal(roots)
	return err
}

// wantFailure asserts the check that failed and a part of its text.
func wantFailure(t *testing.T, err error, check, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want %s: %s", check, text)
	}
	failure, ok := errors.AsType[*BundleError](err)
	if !ok {
		t.Fatalf("error is not a *BundleError: %v", err)
	}
	if failure.Check != check || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %q (check %q), want check %q with %q", err, failure.Check, check, text)
	}
}

func algorithmDER(t testing.TB, oid asn1.ObjectIdentifier) []byte {
	t.Helper()
	b := cryptobyte.NewBuilder(nil)
	algorithmIdentifier(oid)(b)
	der, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sealed is SealFile for a bundle that fits into memory.
func sealed(ctx context.Context, files []File, signer Signer, stamper Stamper, at time.Time, roots Roots) ([]byte, error) {
	bundle, err := SealFile(ctx, files, signer, stamper, at, roots)
	if err != nil {
		return nil, err
	}
	defer bundle.Close()
	raw, err := bundle.Bytes()
	return bytes.Clone(raw), err
}

// container is WriteBundle for a bundle that fits into memory.
func container(files []File, manifest, signature []byte) ([]byte, error) {
	var out bytes.Buffer
	err := WriteBundle(&out, files, manifest, signature)
	return out.Bytes(), err
}
