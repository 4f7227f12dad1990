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

// Bundle reads a locked bundle by version and reveals it, under the tenant's own reading profile, as the API does.
func (s *Stack) Bundle(ctx context.Context, tenant string, locked evidence.Locked) ([]byte, error) {
	revealed, err := s.Revealed(ctx, tenant, locked)
	if err != nil {
		return nil, err
	}
	return revealed.Whole()
}

// Revealed is what is left of a locked bundle, under the tenant's own reading profile.
func (s *Stack) Revealed(ctx context.Context, tenant string, locked evidence.Locked) (activities.Revealed, error) {
	settings, err := activities.LoadSettings(s.Tenants[tenant].File)
	if err != nil {
		return activities.Revealed{}, err
	}
	store, err := s.S3Client(ctx, tenant+"-starter")
	if err != nil {
		return activities.Revealed{}, err
	}
	keys, err := s.KMSClient(ctx, tenant+"-starter")
	if err != nil {
		return activities.Revealed{}, err
	}
	return activities.NewSubjects(store, keys, settings).ReadLocked(ctx, locked)
}
