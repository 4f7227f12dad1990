package stack

import (
	"context"
	"crypto/x509"
	"errors"
	"os"

	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
)

// Roots are the roots of trust that a stranger would be given.
func (s *Stack) Roots() (evidence.Roots, error) {
	signers, err := pool(s.TenantCA)
	if err != nil {
		return evidence.Roots{}, err
	}
	tsas, err := pool(s.TSA.CA, s.SecondTSA.CA)
	return evidence.Roots{Signers: signers, TSAs: tsas}, err
}

func pool(files ...string) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !p.AppendCertsFromPEM(raw) {
			return nil, errors.New(file + " has no certificate")
		}
	}
	return p, nil
}

// Bundle reads a locked bundle by version, under the tenant's own reading profile.
func (s *Stack) Bundle(ctx context.Context, tenant string, locked evidence.Locked) ([]byte, error) {
	c, err := s.S3Client(ctx, tenant+"-starter")
	if err != nil {
		return nil, err
	}
	return activities.ReadObject(ctx, c, tenant, locked.Object, evidence.MaxBundleSize)
}
