package evidence

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var updateSealed = flag.Bool("update-sealed", false, "seal testdata/sealed.asice anew with fresh keys")

// goldenBundle is a bundle sealed when the format was made, with its roots. It also gives the fuzz targets seeds that
// are the same in each of their processes.
func goldenBundle(t testing.TB) ([]byte, Roots) {
	t.Helper()
	path := func(name string) string { return filepath.Join("testdata", name) }
	read := func(name string) []byte {
		body, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	if *updateSealed {
		w := newWorld(t, elliptic.P256())
		for name, body := range map[string][]byte{
			"sealed.asice": mustSeal(t, w), "sealed-signers.pem": pemOf(w.signerRoot), "sealed-tsas.pem": pemOf(w.tsaRoot),
		} {
			if err := os.WriteFile(path(name), body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	roots := Roots{Signers: x509.NewCertPool(), TSAs: x509.NewCertPool()}
	if !roots.Signers.AppendCertsFromPEM(read("sealed-signers.pem")) || !roots.TSAs.AppendCertsFromPEM(read("sealed-tsas.pem")) {
		t.Fatal("couldn't read the roots in testdata")
	}
	return read("sealed.asice"), roots
}

// What was sealed yesterday must verify tomorrow. If this test fails, mend the verifier, never the bundle.
func TestOldBundleStillVerifies(t *testing.T) {
	t.Parallel()
	raw, roots := goldenBundle(t)
	b := mustOpen(t, raw)
	facts, err := b.VerifySeal(roots)
	if err != nil {
		t.Fatal(err)
	}
	if then := time.Date(2026, 3, 2, 10, 30, 0, 0, time.UTC); !facts.SigningTime.Equal(then) || len(b.Files()) != len(someFiles()) {
		t.Errorf("bundle of %d files, signed at %s", len(b.Files()), facts.SigningTime)
	}
	for _, f := range someFiles() {
		if got, ok := b.File(f.Name); !ok || !bytes.Equal(got, f.Bytes) {
			t.Errorf("%s is not what was sealed", f.Name)
		}
	}
}
