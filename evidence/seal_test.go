package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"
	"time"
)

func TestSealedBundleVerifies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		curve elliptic.Curve
		hash  crypto.Hash
	}{"P-256": {elliptic.P256(), crypto.SHA256}, "P-384": {elliptic.P384(), crypto.SHA384}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.curve)
			b := mustOpen(t, mustSeal(t, w))
			facts, err := b.VerifySeal(w.roots)
			if err != nil {
				t.Fatal(err)
			}
			if !facts.Signer.Equal(w.leaf.cert) || len(facts.Chain) != 3 {
				t.Errorf("signer %q with a chain of %d", facts.Signer.Subject, len(facts.Chain))
			}
			if !facts.SigningTime.Equal(sealedAt) || !facts.StampTime.Equal(w.tsa.at) {
				t.Errorf("times %s and %s", facts.SigningTime, facts.StampTime)
			}
			if facts.TSA != "CN=test TSA" || facts.StampSerial.Sign() <= 0 || facts.StampPolicy != "1.3.6.1.4.1.99999.1" {
				t.Errorf("time-stamp by %q, serial %d, policy %s", facts.TSA, facts.StampSerial, facts.StampPolicy)
			}
			if facts.Hash != c.hash || !bytes.Equal(facts.Digest, sum(c.hash, b.ManifestBytes())) {
				t.Errorf("digest %s %x", facts.Hash, facts.Digest)
			}
			if w.signer.calls != 1 || w.tsa.calls != 1 {
				t.Errorf("%d signatures and %d time-stamps, want one each", w.signer.calls, w.tsa.calls)
			}
			for i, f := range b.Files() {
				if want := someFiles()[i]; f.Name != want.Name || !bytes.Equal(f.Bytes, want.Bytes) {
					t.Errorf("file %d is %q, want %q", i, f.Name, want.Name)
				}
			}
			if got, ok := b.File("history.pb"); !ok || !bytes.Equal(got, []byte{8, 1, 16, 2}) {
				t.Errorf("history.pb: %x, %v", got, ok)
			}
		})
	}
}

func TestSealWithRSAAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	w.tsa = rsaTSA(t, w, 2048)
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		w.tsa.hash = hash
		if err := check(mustSeal(t, w), w.roots); err != nil {
			t.Errorf("%s: %v", hash, err)
		}
	}
}

// A signature that cannot be evidenced is worse than none: what can be known before must stop Seal before the signer.
func TestSealDoesNotAskTheSignerInVain(t *testing.T) {
	t.Parallel()
	base := newWorld(t, elliptic.P256())
	other := newWorld(t, elliptic.P256())
	chainOf := func(key crypto.Signer, certs ...*x509.Certificate) *countingSigner {
		return &countingSigner{Signer: NewKeySigner(key, certs)}
	}
	caLeaf := issue(t, caTemplate("a CA"), newKey(t, elliptic.P256()), base.signerCA)
	noUsage := issue(t, x509.Certificate{}, newKey(t, elliptic.P256()), base.signerCA)
	p521 := issue(t, signerTemplate(), newKey(t, elliptic.P521()), base.signerCA)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ofRSA := issue(t, signerTemplate(), rsaKey, base.signerCA)
	// A second self-signed certificate of the root's key: each of the chain is issued by the next one, and one is too many.
	rootAgain := issue(t, caTemplate("tenants' root"), base.signerRoot.key, nil)
	for name, c := range map[string]struct {
		files       []File
		signer      *countingSigner
		roots       Roots
		at          time.Time
		check, text string
	}{
		"no files":            {nil, base.signer, base.roots, sealedAt, "container", "no files"},
		"bad name":            {[]File{{"../x", nil}}, base.signer, base.roots, sealedAt, "container", "not a clean relative path"},
		"no roots":            {someFiles(), base.signer, Roots{}, sealedAt, "certificate", "without roots"},
		"foreign roots":       {someFiles(), base.signer, other.roots, sealedAt, "certificate", "unknown authority"},
		"expired certificate": {someFiles(), base.signer, base.roots, sealedAt.AddDate(3, 0, 0), "certificate", "expired"},
		"no chain":            {someFiles(), chainOf(base.leaf.key), base.roots, sealedAt, "certificate", "chain of 0"},
		"broken chain":        {someFiles(), chainOf(base.leaf.key, base.leaf.cert, other.signerCA.cert), base.roots, sealedAt, "certificate", "chain is broken"},
		"CA as signer":        {someFiles(), chainOf(caLeaf.key, caLeaf.cert, base.signerCA.cert), base.roots, sealedAt, "certificate", "certification authority's"},
		"no key usage":        {someFiles(), chainOf(noUsage.key, noUsage.cert, base.signerCA.cert), base.roots, sealedAt, "certificate", "no key usage"},
		"P-521":               {someFiles(), chainOf(p521.key, p521.cert, base.signerCA.cert), base.roots, sealedAt, "certificate", "want ECDSA on P-256 or P-384"},
		"RSA":                 {someFiles(), chainOf(ofRSA.key, ofRSA.cert, base.signerCA.cert), base.roots, sealedAt, "certificate", "want ECDSA on P-256 or P-384"},
		"needless":            {someFiles(), chainOf(base.leaf.key, base.leaf.cert, base.signerCA.cert, base.signerRoot.cert, rootAgain.cert), base.roots, sealedAt, "certificate", "carried that the chain does not need"},
	} {
		t.Run(name, func(t *testing.T) {
			tsa := newTestTSA(t, base, tsaTemplate(t))
			_, err := sealed(t.Context(), c.files, c.signer, tsa, c.at, c.roots)
			wantFailure(t, err, c.check, c.text)
			if c.signer.calls != 0 || tsa.calls != 0 {
				t.Errorf("%d signatures and %d time-stamps were asked for", c.signer.calls, tsa.calls)
			}
		})
	}
}

func TestSealRefusesASignatureByAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	signer := &countingSigner{Signer: NewKeySigner(newKey(t, elliptic.P256()), w.signer.Chain())}
	_, err := sealed(t.Context(), someFiles(), signer, w.tsa, sealedAt, w.roots)
	wantFailure(t, err, "seal", "do not belong together")
	if signer.calls != 1 || w.tsa.calls != 0 {
		t.Errorf("%d signatures and %d time-stamps, want 1 and 0", signer.calls, w.tsa.calls)
	}
}

type brokenSigner struct{ Signer }

func (brokenSigner) SignDigest(context.Context, []byte, crypto.Hash) ([]byte, error) {
	return nil, context.DeadlineExceeded
}

// The caller decides about a retry, so it must see the cause.
func TestSealPassesTheSignersErrorOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	_, err := sealed(t.Context(), someFiles(), brokenSigner{w.signer}, w.tsa, sealedAt, w.roots)
	wantFailure(t, err, "seal", "couldn't sign")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cause is lost: %v", err)
	}
}

func BenchmarkSeal(b *testing.B) {
	w := newWorld(b, elliptic.P256())
	files := append(someFiles(), File{"attachment.bin", make([]byte, 1<<20)})
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := sealed(b.Context(), files, w.signer, w.tsa, sealedAt, w.roots); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyBundle(b *testing.B) {
	w := newWorld(b, elliptic.P256())
	files := append(someFiles(), File{"attachment.bin", make([]byte, 1<<20)})
	raw, err := sealed(b.Context(), files, w.signer, w.tsa, sealedAt, w.roots)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	for b.Loop() {
		if err := check(raw, w.roots); err != nil {
			b.Fatal(err)
		}
	}
}
