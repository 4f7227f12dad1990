package activities

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// A key that was changed after it signed is found before KMS is asked for a seal, and the message says how to go on.
func TestR16_AKeyThatChangedAfterSigningIsSaid(t *testing.T) {
	t.Parallel()
	const golden = "../tests/golden/histories/v0.1.0/"
	raw, err := os.ReadFile(golden + "completed.asice")
	if err != nil {
		t.Fatal(err)
	}
	b, err := evidence.OpenBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	document, _ := b.File("document.pdf")
	cms, _ := b.File("document.p7s")
	pool := func(name string) *x509.CertPool {
		pem, err := os.ReadFile(golden + name)
		if err != nil {
			t.Fatal(err)
		}
		p := x509.NewCertPool()
		p.AppendCertsFromPEM(pem)
		return p
	}
	roots := evidence.Roots{Signers: pool("tenant-ca.pem"), TSAs: pool("tsa-ca.pem")}
	facts, err := evidence.VerifyDetached(document, cms, roots) // as builds up to v0.1.0 signed
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key         string
		certificate *x509.Certificate
		document    []byte
		says        string
	}{
		"the same":            {"arn:one", facts.Signer, document, ""},
		"another key":         {"arn:two", facts.Signer, document, "signed with the key arn:one, and the tenant's file names another"},
		"another certificate": {"arn:one", &x509.Certificate{Raw: []byte("renewed")}, document, "put kms.key and kms.certificate back"},
		"another document":    {"arn:one", facts.Signer, []byte("%PDF-"), "couldn't use the document's signature"},
	} {
		tenant := &Tenant{settings: &countersign.Settings{KMS: countersign.Key{ARN: c.key}}, chain: []*x509.Certificate{c.certificate}, roots: roots}
		err := tenant.signedIt("arn:one", evidence.Material{Case: &evidence.Case{}, Document: c.document, Signature: cms})
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
