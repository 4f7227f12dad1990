package activities

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/evidence"
)

// clock is one time-stamp authority of the tenant. Each is held to its own roots, so that the one can't speak for the other.
type clock struct {
	setting []any // where it stands in the tenant's file
	url     string
	stamper evidence.Stamper
}

// openClock reads the authorities' roots. What one of them stamped is verified under the roots of both: a bundle doesn't say which was asked first.
func (t *Tenant) openClock() error {
	var all []evidence.Stamper
	t.roots.TSAs = x509.NewCertPool()
	setting := []any{"timestamp"}
	for i, a := range t.settings.Timestamp.Authorities() {
		if i > 0 {
			setting = []any{"timestamp", "second"}
		}
		roots, err := t.certificates(a.Roots)
		if err != nil {
			return t.settings.Fault(err, append(setting, "roots")...)
		}
		own := x509.NewCertPool()
		for _, c := range roots {
			own.AddCert(c)
			t.roots.TSAs.AddCert(c)
		}
		c := clock{setting: append(setting, "url"), url: a.URL, stamper: evidence.NewTSAClient(a.URL, own, t.http)}
		t.clocks, all = append(t.clocks, c), append(all, c.stamper)
	}
	t.stamper = evidence.InTurn(all...)
	return nil
}

// checkClocks asks each authority at boot: that one answers says nothing about the other, and the day it is needed is too late.
func (t *Tenant) checkClocks(ctx context.Context) (faults []error) {
	for _, c := range t.clocks {
		within, cancel := context.WithTimeout(ctx, bootTimeout)
		token, err := stampOnce(within, c.stamper)
		if err == nil {
			_, err = t.lists.Token(within, token)
		}
		if err != nil {
			faults = append(faults, t.settings.Fault(fmt.Errorf("couldn't get a time-stamp from %s: %w", c.url, err), c.setting...))
		}
		cancel()
	}
	return faults
}

// stampDecision takes a decision's time-stamp. One that would not hold against the server's clock is an error now: found only in the finished
// evidence, nothing could be mended any more.
func (t *Tenant) stampDecision(ctx context.Context, digest string, taken time.Time) ([]byte, error) {
	imprint, err := hex.DecodeString(digest)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the decision's digest: %w", err)
	}
	token, err := t.stamper.Stamp(ctx, imprint)
	if err != nil {
		return nil, fmt.Errorf("couldn't get a time-stamp for the decision: %w", err)
	}
	if _, err := evidence.VerifyStamp(token, digest, taken, time.Now(), t.roots); err != nil {
		return nil, fmt.Errorf("couldn't use the decision's time-stamp (are the clocks right?): %w", err)
	}
	return token, nil
}

func stampOnce(ctx context.Context, s evidence.Stamper) ([]byte, error) {
	digest := sha256.Sum256([]byte("countersign boot check"))
	return s.Stamp(ctx, digest[:])
}
