package vectors

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/evidence"
)

// BenchmarkProcess starts whole processes: the verifier on a bundle, and what others would do with its files: openssl cms -verify of the seal, and
// sha256sum of each file. They find them unpacked. cpu-ms is what the process itself used, which a busy machine changes least.
//
// The large one is the small one with another document, so its verdict is that it fails; the work is the same.
func BenchmarkProcess(b *testing.B) {
	program := built(b)
	for _, size := range []struct {
		name  string
		bytes int
	}{{"small", 0}, {"50MB", 50 << 20}} {
		dir := b.TempDir()
		names := unpacked(b, dir, size.bytes)
		at := func(name string) string { return filepath.Join(dir, name) }
		exit := 0
		if size.bytes > 0 {
			exit = 6
		}
		b.Run(size.name+"/verifier", func(b *testing.B) {
			processes(b, dir, exit, []string{program, at("bundle.asice"), "--tenant-ca", at("tenant-ca.pem"), "--tsa-ca", at("tsa-ca.pem")})
		})
		b.Run(size.name+"/openssl+sha256sum", func(b *testing.B) {
			processes(b, dir, 0,
				[]string{"openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "META-INF/signature001.p7s", "-content", "META-INF/ASiCManifest001.xml", "-CAfile", at("tenant-ca.pem"), "-purpose", "any", "-out", os.DevNull},
				append([]string{"sha256sum"}, names...))
		})
	}
}

func processes(b *testing.B, dir string, exit int, commands ...[]string) {
	b.Helper()
	var used time.Duration
	for b.Loop() {
		for _, c := range commands {
			cmd := exec.CommandContext(b.Context(), c[0], c[1:]...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			var ended *exec.ExitError
			if err != nil && !errors.As(err, &ended) || cmd.ProcessState.ExitCode() != exit {
				b.Fatalf("%s: %v\n%s", c[0], err, out)
			}
			used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
	}
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// unpacked writes a sealed bundle of a completed signing with a document of that size, its files, and its roots.
func unpacked(b *testing.B, dir string, document int) (names []string) {
	b.Helper()
	w := newWorld(b, dir)
	old := must(evidence.OpenBundle(read(b, golden+"completed.asice")))
	files := old.Files()
	for i, f := range files {
		if f.Name == "document.pdf" && document > 0 {
			files[i].Bytes = bytes.Repeat([]byte("%PDF-1.7 "), document/9)
		}
	}
	raw := must(evidence.Seal(b.Context(), files, w.signer, w.stamps, w.at, w.roots))
	if document == 0 { // as it was sealed then, so that all of it holds
		raw = read(b, golden+"completed.asice")
		for _, name := range []string{"tenant-ca.pem", "tsa-ca.pem"} {
			if err := os.WriteFile(filepath.Join(dir, name), read(b, golden+name), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	sealed := must(evidence.OpenBundle(raw))
	write := func(name string, body []byte) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	for _, f := range sealed.Files() {
		write(f.Name, f.Bytes)
		names = append(names, f.Name)
	}
	write("META-INF/ASiCManifest001.xml", sealed.ManifestBytes())
	write("META-INF/signature001.p7s", sealed.SignatureBytes())
	write("bundle.asice", raw)
	return names
}
