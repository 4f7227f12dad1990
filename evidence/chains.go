package evidence

import (
	"crypto/x509"
	"slices"
	"sync"
	"time"
)

// chains remembers the certificate chains that one verification has validated: seal, document and every decision are stamped by few authorities, and
// validating a chain costs more than checking a signature. It is safe for concurrent use; nil remembers nothing.
type chains struct {
	mu    sync.Mutex
	known []knownChain
}

type knownChain struct {
	certs []*x509.Certificate // as they were carried, the leaf first
	roots *x509.CertPool
	usage x509.ExtKeyUsage
	chain []*x509.Certificate
}

// verify is verifyChain. Of all that it checks, the lifetimes alone depend on the instant, so a chain that it found before holds again where each of its
// certificates is valid at this instant too; in every other case it is asked.
func (m *chains) verify(leaf *x509.Certificate, certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, at time.Time) ([]*x509.Certificate, error) {
	if m == nil {
		return verifyChain(leaf, certs, roots, usage, at)
	}
	carried := append([]*x509.Certificate{leaf}, certs...)
	m.mu.Lock()
	for _, k := range m.known {
		if k.roots == roots && k.usage == usage && slices.EqualFunc(k.certs, carried, (*x509.Certificate).Equal) && inForce(k.chain, at) {
			m.mu.Unlock()
			return k.chain, nil
		}
	}
	m.mu.Unlock()
	chain, err := verifyChain(leaf, certs, roots, usage, at)
	if err == nil {
		m.mu.Lock()
		m.known = append(m.known, knownChain{carried, roots, usage, chain})
		m.mu.Unlock()
	}
	return chain, err
}

func inForce(chain []*x509.Certificate, at time.Time) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return at.Before(c.NotBefore) || at.After(c.NotAfter) })
}
