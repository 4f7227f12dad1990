package vectors

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/evidence"
)

// built is the verifier as it is given away: one static file.
func built(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "verifier")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "../../verifier")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("couldn't build the verifier: %v\n%s", err, out)
	}
	return file
}

// TestR15_OneStaticFileVerifiesWithoutANetworkAnEnvironmentOrAHome gives the verifier nothing but the vectors: no network but in its absence
// (where the kernel lets us make such a namespace), an empty environment, and an empty directory as the root of all files.
func TestR15_OneStaticFileVerifiesWithoutANetworkAnEnvironmentOrAHome(t *testing.T) {
	t.Parallel()
	program := built(t)
	if out, err := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("this kernel gives no namespace without a network: %s", out)
	}
	tried, whole := 0, 0
	for i, v := range vectors(t, "bundles.json", func() []bundle { return bundles(t) }) {
		jail := t.TempDir()
		raw := read(t, v.File)
		if v.Flip != nil {
			raw[*v.Flip] ^= 1
		}
		given := map[string][]byte{"bundle.asice": raw, "tenant-ca.pem": read(t, v.TenantCA), "tsa-ca.pem": read(t, v.TSACA), "verifier": read(t, program)}
		args := []string{"--user", "--map-root-user", "--net", "--root=" + jail, "/verifier", "/bundle.asice", "--tenant-ca", "/tenant-ca.pem", "--tsa-ca", "/tsa-ca.pem", "--json"}
		if v.Quantum != "" {
			given["pq.pem"], args = read(t, v.Quantum), append(args, "--pq-key", "/pq.pem")
		}
		for name, body := range given {
			if err := os.WriteFile(filepath.Join(jail, name), body, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		// In a root of its own there is no library, no certificate of the system, no zone file: a program that is not static doesn't even start.
		cmd := exec.CommandContext(t.Context(), "unshare", args...)
		cmd.Env = []string{}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		want := 0
		if len(v.Fails) > 0 {
			want = 6
		}
		if exit := cmd.ProcessState.ExitCode(); exit != want {
			t.Errorf("%d, %s: exit code %d, want %d: %v %s", i, v.About, exit, want, err, &errs)
			continue
		}
		var verdict struct {
			Verified bool
			Findings []evidence.Finding
		}
		if err := json.Unmarshal(out.Bytes(), &verdict); err != nil {
			t.Errorf("%s: %v", v.About, err)
			continue
		}
		found := map[string]evidence.State{}
		for _, f := range verdict.Findings {
			found[f.Check] = f.State
		}
		if verdict.Verified != (want == 0) || !maps.Equal(found, v.Findings) {
			t.Errorf("%s: verified %v, %v", v.About, verdict.Verified, found)
		}
		tried++
		if verdict.Verified {
			whole++
		}
	}
	if tried < 10 || whole < 2 {
		t.Errorf("%d vectors were tried, %d are whole", tried, whole)
	}
}
