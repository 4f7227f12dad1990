package tests

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// list is the revocation list of the test's own authority. It can be down, and revoke whatever it is asked about.
type list struct {
	url string

	mu      sync.Mutex
	down    bool
	revoked []x509.RevocationListEntry
	asked   chan struct{}
}

func (s *seals) list(t *testing.T) *list {
	t.Helper()
	l := &list{asked: make(chan struct{}, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case l.asked <- struct{}{}:
		default:
		}
		if l.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour), RevokedCertificateEntries: l.revoked,
		}, s.ca, s.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(der)
	}))
	t.Cleanup(server.Close)
	l.url = server.URL + "/ca.crl"
	return l
}

func (l *list) set(down bool, revoked ...*x509.Certificate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.revoked = down, nil
	for _, c := range revoked {
		l.revoked = append(l.revoked, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Second)})
	}
}

// listed are settings of globex with a certificate that names the list, and that certificate.
func (s *seals) listed(t *testing.T, l *list) ([]string, *x509.Certificate) {
	t.Helper()
	lines := s.settings(t, kmstypes.KeySpecEccNistP256, x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, CRLDistributionPoints: []string{l.url}}, s.ca)
	return lines, certificateIn(t, strings.TrimPrefix(lines[3], "certificate: "))
}

// revoked is a good key whose certificate was revoked.
func (s *seals) revoked(t *testing.T) []string {
	t.Helper()
	l := s.list(t)
	lines, c := s.listed(t, l)
	l.set(false, c)
	return lines
}

func certificateIn(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	chain := certificatesIn(t, file)
	if len(chain) == 0 {
		t.Fatalf("%s has no certificate", file)
	}
	return chain[0]
}

// A certificate that is revoked in flight signs nothing, and the reason is told; lists that can't be read are waited for, and nothing is sealed without them.
func TestR11_ARevokedCertificateSignsNothing(t *testing.T) {
	s := newSeals(t)
	l := s.list(t)
	lines, certificate := s.listed(t, l)
	faultyWorkers(t, lines...)
	g := begin(t, request(t, "globex", "supplier-contract"))
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	if _, err := g.Open(t.Context(), "counsel"); err != nil {
		t.Fatal(err)
	}
	l.set(false, certificate)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	if _, err := g.Custody(t.Context(), "sealing"); err != nil {
		t.Fatal(err)
	}
	if stored := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document.p7s")); len(stored) != 0 {
		t.Errorf("%d signatures are stored by a revoked certificate", len(stored))
	}
	// With the list down, the evidence waits; with the certificate good again, it is sealed.
	l.set(true)
	for len(l.asked) > 0 {
		<-l.asked
	}
	<-l.asked
	if ending := versions(t, "evidence", countersign.EvidenceKey("globex", g.Request.ID)); len(ending) != 0 {
		t.Error("evidence was locked without revocation lists")
	}
	l.set(false)
	ending, err := g.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ending.Outcome != countersign.Failed || !strings.Contains(ending.Detail, "the certificate is revoked") {
		t.Errorf("ended as %s: %q", ending.Outcome, ending.Detail)
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	roots.Signers = x509.NewCertPool()
	roots.Signers.AddCert(s.ca)
	report := evidence.Verify(bundle(t, "globex", ending), roots)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	if report.Seal.Listed != 2 { // the signer's and the authority's
		t.Errorf("the seal keeps lists for %d of %d certificates", report.Seal.Listed, report.Seal.Named)
	}
}

// TestR11_StrippedRevocationListsAreFound puts a seal without lists, by the tenant's real key, around a bundle of this build.
func TestR11_StrippedRevocationListsAreFound(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	if report.Seal.Named != 2 || report.Seal.Listed != 2 {
		t.Fatalf("the seal keeps lists for %d of %d certificates", report.Seal.Listed, report.Seal.Named)
	}
	original, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	forged := resealFiles(t, original.Files(), nil)
	if failed := failures(evidence.Verify(forged, roots)); failed["revocation"] == "" {
		t.Errorf("found as %v, want revocation", failed)
	}
	history := proto.Clone(report.History).(*historypb.History)
	if failed := failures(evidence.Verify(reseal(t, original, history, countersign.Completed, nil), roots)); len(failed) != 0 {
		t.Errorf("with lists it fails: %v", failed)
	}
}
