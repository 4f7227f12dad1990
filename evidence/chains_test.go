package evidence

import (
	"crypto/elliptic"
	"crypto/x509"
	"testing"
	"time"
)

// A chain that was validated once is not asked again, and holds for nothing but itself: not at a time when one of its certificates isn't valid, under no
// other roots, for no other use, and with no certificate more or fewer.
func TestAChainThatIsRememberedHoldsForNothingElse(t *testing.T) {
	t.Parallel()
	root := issue(t, caTemplate("root"), newKey(t, elliptic.P256()), nil)
	ca := caTemplate("CA that ends early")
	ca.NotBefore, ca.NotAfter = sealedAt.Add(-time.Hour), sealedAt.Add(time.Hour)
	authority := issue(t, ca, newKey(t, elliptic.P256()), root)
	signer := signerTemplate()
	signer.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	leaf := issue(t, signer, newKey(t, elliptic.P256()), authority).cert
	stranger := issue(t, signerTemplate(), newKey(t, elliptic.P256()), root).cert
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.cert)
	others.AddCert(issue(t, caTemplate("other root"), newKey(t, elliptic.P256()), nil).cert)
	carried := []*x509.Certificate{leaf, authority.cert}

	m := &chains{}
	first, err := m.verify(leaf, carried, roots, x509.ExtKeyUsageAny, sealedAt)
	if err != nil || len(first) != 3 {
		t.Fatalf("%d certificates: %v", len(first), err)
	}
	again, err := m.verify(leaf, carried, roots, x509.ExtKeyUsageAny, sealedAt.Add(time.Hour))
	if err != nil || len(m.known) != 1 || again[0] != first[0] {
		t.Errorf("a chain that is known was validated again: %d are known: %v", len(m.known), err)
	}
	for what, fails := range map[string]func() error{
		"after a certificate between has ended": func() error {
			_, err := m.verify(leaf, carried, roots, x509.ExtKeyUsageAny, sealedAt.Add(time.Hour+time.Second))
			return err
		},
		"before it began": func() error {
			_, err := m.verify(leaf, carried, roots, x509.ExtKeyUsageAny, sealedAt.Add(-time.Hour-time.Second))
			return err
		},
		"other roots": func() error {
			_, err := m.verify(leaf, carried, others, x509.ExtKeyUsageAny, sealedAt)
			return err
		},
		"another use": func() error {
			_, err := m.verify(leaf, carried, roots, x509.ExtKeyUsageTimeStamping, sealedAt)
			return err
		},
		"a certificate more": func() error {
			_, err := m.verify(leaf, append(carried, stranger), roots, x509.ExtKeyUsageAny, sealedAt)
			return err
		},
		"the certificate between left out": func() error {
			_, err := m.verify(leaf, carried[:1], roots, x509.ExtKeyUsageAny, sealedAt)
			return err
		},
	} {
		if fails() == nil {
			t.Errorf("%s: it holds", what)
		}
	}
}

func TestAPanicBesideIsThatOfWhoeverWaits(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() != "a fault" {
			t.Error("the panic is lost")
		}
	}()
	beside(func() int { panic("a fault") })()
}
