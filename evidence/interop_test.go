package evidence

import (
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStrangersToolsAgree checks a bundle with unzip and openssl alone, as the README tells a stranger to.
func TestStrangersToolsAgree(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"openssl", "unzip", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing; install it on the build machine", tool)
			}
			t.Skipf("%s is not installed", tool)
		}
	}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, curve)
			dir := t.TempDir()
			raw := mustSeal(t, w)
			write(t, dir, "bundle.asice", raw)
			write(t, dir, "ca.pem", pemOf(w.signerRoot))
			write(t, dir, "tsa.pem", pemOf(w.tsaRoot))
			run(t, dir, "unzip", "-t", "bundle.asice")
			run(t, dir, "unzip", "-q", "bundle.asice", "-d", "out")

			b := mustOpen(t, raw)
			refs, err := parseManifest(b.ManifestBytes())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range refs {
				out := run(t, filepath.Join(dir, "out"), "sha256sum", r.name)
				if got, _, _ := strings.Cut(out, " "); got != hex.EncodeToString(r.digest[:]) {
					t.Errorf("sha256sum of %s is %s, the manifest has %x", r.name, got, r.digest)
				}
			}

			at := []string{"-attime", strconv.FormatInt(sealedAt.Add(time.Minute).Unix(), 10)}
			verify := append([]string{"cms", "-verify", "-binary", "-inform", "DER", "-in", "out/" + signatureName,
				"-content", "out/" + manifestName, "-CAfile", "ca.pem", "-purpose", "any", "-cades", "-out", os.DevNull}, at...)
			run(t, dir, "openssl", verify...)

			s, err := readSeal(digestOf(b.ManifestBytes()), b.SignatureBytes(), true)
			if err != nil {
				t.Fatal(err)
			}
			stamped := sha256.Sum256(s.signature)
			write(t, dir, "token.der", s.token)
			stamp := append([]string{"ts", "-verify", "-in", "token.der", "-token_in", "-digest", hex.EncodeToString(stamped[:]),
				"-CAfile", "tsa.pem"}, at...)
			run(t, dir, "openssl", stamp...)

			// The tools must be able to say no, or the above proves nothing.
			write(t, dir, "out/"+manifestName, append(b.ManifestBytes(), ' '))
			if out, err := command(dir, "openssl", verify...); err == nil {
				t.Errorf("openssl accepts a changed manifest: %s", out)
			}
		})
	}
}

func pemOf(c *certified) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

func write(t *testing.T, dir, name string, body []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
		t.Fatal(err)
	}
}

func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := command(dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}
