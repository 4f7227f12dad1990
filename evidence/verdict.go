package evidence

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// MaxRoots is the largest set of root certificates that is read, in bytes.
const MaxRoots = 1 << 20

// Anchors are what a person believes before they look at a bundle, as they were given it. Lock, log key, proof and post-quantum keys may be
// empty: then nothing is said about them.
type Anchors struct {
	TenantCA, TSACA []byte // certificates, PEM
	LogKey          string // the log's public key as text
	Lock            []byte // what the store says of the locked object, see LockRecord
	PostQuantum     []byte // the tenant's ML-DSA keys, PEM
	Renewal         []byte // an evidence record over the bundle (RFC 4998)
	LogProof        []byte // that the ending is in the log, as it lies beside the bundle
}

// Roots reads the anchors. Its errors name which one can't be used.
func (a Anchors) Roots() (r Roots, err error) {
	if r.Signers, err = rootPool(a.TenantCA); err != nil {
		return r, fmt.Errorf("--tenant-ca: %w", err)
	}
	if r.TSAs, err = rootPool(a.TSACA); err != nil {
		return r, fmt.Errorf("--tsa-ca: %w", err)
	}
	if a.LogKey != "" {
		tenant, err := translog.TenantOf(a.LogKey)
		if err == nil {
			r.Log, err = translog.ParseVerifier(a.LogKey, tenant)
		}
		if err != nil {
			return r, fmt.Errorf("--log-key: %w", err)
		}
	}
	r.LogProof, r.Renewal = a.LogProof, a.Renewal
	if len(a.Lock) > 0 {
		if r.Lock, err = ParseLockRecord(a.Lock); err != nil {
			return r, fmt.Errorf("--lock: %w", err)
		}
	}
	if len(a.PostQuantum) > 0 {
		if r.PostQuantum, err = ParsePostQuantumPEM(a.PostQuantum); err != nil {
			return r, fmt.Errorf("--pq-key: %w", err)
		}
	}
	return r, nil
}

func rootPool(raw []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	switch {
	case len(raw) > MaxRoots:
		return nil, fmt.Errorf("couldn't read the roots: they have more than %d bytes", MaxRoots)
	case !p.AppendCertsFromPEM(raw):
		return nil, errors.New("it has no certificate (PEM)")
	}
	return p, nil
}

// Verdict is the answer about one file, the same from every command and from the page.
type Verdict struct {
	*Report
	Verified bool   `json:"verified"`
	File     string `json:"file"`
	SHA256   string `json:"sha256"`
}

// Judge verifies a bundle, or a file with what is left of one in which personal data was shredded. The name is only repeated.
func Judge(name string, raw []byte, roots Roots) Verdict {
	report := &Report{}
	digest := beside(func() string { return countersign.SHA256(raw) })
	if shred.IsFile(raw) {
		c, keys, err := shred.ReadFile(raw)
		if err == nil {
			report = VerifyConcealed(c, keys, roots)
		} else {
			report.note("container", err, "")
		}
	} else {
		report = verify(raw, roots, digest)
	}
	return Verdict{report, report.Err() == nil, name, digest()}
}

// WriteText writes one line for each check: state, name and detail, with a tab between. Details can hold what strangers wrote, so nothing in
// them can write over a terminal.
func (v Verdict) WriteText(w io.Writer) {
	for _, f := range v.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, f.Check, printable(f.Detail))
	}
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
