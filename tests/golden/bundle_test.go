package golden

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/replay"
	"github.com/countersign-dev/countersign/workflows"
)

// bundles reads the completed bundle of each released version, with the roots to check it by.
func bundles(t testing.TB) map[string]golden {
	t.Helper()
	dirs, err := filepath.Glob("histories/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("there are no bundles: %v", err)
	}
	out := map[string]golden{}
	for _, dir := range dirs {
		raw, err := os.ReadFile(filepath.Join(dir, "completed.asice"))
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(dir)] = golden{raw, evidence.Roots{Signers: pool(t, filepath.Join(dir, "tenant-ca.pem")), TSAs: pool(t, filepath.Join(dir, "tsa-ca.pem"))}}
	}
	return out
}

type golden struct {
	raw   []byte
	roots evidence.Roots
}

func pool(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(raw) {
		t.Fatalf("%s has no certificate", file)
	}
	return p
}

// A bundle verifies with nothing but itself and the roots: no server, no clock of today, no network.
func TestR15_BundlesOfEveryReleasedVersionVerifyOffline(t *testing.T) {
	t.Parallel()
	for version, g := range bundles(t) {
		report := evidence.Verify(g.raw, g.roots)
		if err := report.Err(); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		if report.Statement.Outcome != countersign.Completed || len(report.Findings) < 10 {
			t.Errorf("%s: %s by %d findings", version, report.Statement.Outcome, len(report.Findings))
		}
		if err := replay.History(t.Context(), report.History, workflows.Register); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

// Roots of somebody else verify nothing.
func TestR15_ForeignRootsVerifyNothing(t *testing.T) {
	t.Parallel()
	for version, g := range bundles(t) {
		swapped := evidence.Roots{Signers: g.roots.TSAs, TSAs: g.roots.Signers}
		if evidence.Verify(g.raw, swapped).Err() == nil {
			t.Errorf("%s verifies with foreign roots", version)
		}
	}
}

// One changed byte anywhere in a real bundle is found. Every 97th byte is tried here; package evidence tries each of a small one.
func TestR11_AChangedByteIsFound(t *testing.T) {
	t.Parallel()
	for version, g := range bundles(t) {
		raw := bytes.Clone(g.raw)
		for i := 0; i < len(raw); i += 97 {
			raw[i] ^= 0x20
			if evidence.Verify(raw, g.roots).Err() == nil {
				t.Fatalf("%s: byte %d may be changed", version, i)
			}
			raw[i] ^= 0x20
		}
	}
}

// FuzzReadHistory feeds foreign bytes to everything that reads a history: it may refuse, and must not panic.
func FuzzReadHistory(f *testing.F) {
	for _, g := range bundles(f) {
		b, err := evidence.OpenBundle(g.raw)
		if err != nil {
			f.Fatal(err)
		}
		pb, _ := b.File("history.pb")
		f.Add(pb)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := evidence.ParseHistory(raw)
		if err != nil {
			return
		}
		c, err := evidence.ReadHistory(h)
		if err != nil {
			return
		}
		if _, err := evidence.Assemble(evidence.Material{History: h, Case: c, Seal: evidence.SealInput{Outcome: countersign.Failed}, Key: evidence.KeyFacts{Certificate: &x509.Certificate{}}}); err != nil {
			t.Log(err)
		}
	})
}

// How much is allocated says whether something is read, derived or verified twice, on any machine. When chains and logins were, it was a tenth more.
func TestVerifyingAllocatesNoMoreThanOnePassNeeds(t *testing.T) {
	const most = 22_000
	for version, g := range bundles(t) {
		n := testing.AllocsPerRun(5, func() {
			if err := evidence.Verify(g.raw, g.roots).Err(); err != nil {
				t.Error(err)
			}
		})
		t.Logf("%s: %.0f allocations", version, n)
		if n > most || n < 1000 {
			t.Errorf("%s: verifying takes %.0f allocations, at most %d", version, n, most)
		}
	}
}

// BenchmarkVerify is the whole offline verification of a real bundle.
func BenchmarkVerify(b *testing.B) {
	for version, g := range bundles(b) {
		b.Run(version, func(b *testing.B) {
			b.SetBytes(int64(len(g.raw)))
			for b.Loop() {
				if err := evidence.Verify(g.raw, g.roots).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReplay is the deep replay of a real history.
func BenchmarkReplay(b *testing.B) {
	for version, g := range bundles(b) {
		report := evidence.Verify(g.raw, g.roots)
		b.Run(version, func(b *testing.B) {
			for b.Loop() {
				if err := replay.History(b.Context(), report.History, workflows.Register); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
