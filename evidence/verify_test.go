package evidence

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// What is released is signed and sealed by one key. What is void may be sealed by the key that came after it.
func TestR16_OneKeySignsAndSealsWhatIsReleased(t *testing.T) {
	t.Parallel()
	const golden = "../tests/golden/histories/v0.1.0/"
	read := func(name string) []byte {
		raw, err := os.ReadFile(golden + name)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	roots := Roots{Signers: x509.NewCertPool(), TSAs: x509.NewCertPool()}
	roots.Signers.AppendCertsFromPEM(read("tenant-ca.pem"))
	roots.TSAs.AppendCertsFromPEM(read("tsa-ca.pem"))
	b, err := OpenBundle(read("completed.asice"))
	if err != nil {
		t.Fatal(err)
	}
	facts, err := b.VerifySeal(roots)
	if err != nil {
		t.Fatal(err)
	}
	v := &verifier{b: b, roots: roots, report: &Report{Seal: &facts}}
	if history, statement := v.readRecord(); history != nil || statement != nil {
		t.Fatal(history, statement)
	}
	if err := v.key(); err != nil {
		t.Errorf("the true bundle: %v", err)
	}
	v.c.Signature.Key = "arn:aws:kms:eu-central-1:000000000000:key/older"
	if err := v.key(); err == nil || !strings.Contains(err.Error(), "another key than the signing step used") {
		t.Errorf("a completed signing with two keys: %v", err)
	}
	v.statement.Predicate.Outcome = countersign.Voided
	if err := v.key(); err != nil {
		t.Errorf("a void one: %v", err)
	}
}
