package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/api/serviceerror"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// largest is the largest document that a tenant's file may allow, in bytes.
const largest = 256 << 20

// narrow is a command that gives another one at most so much memory of its own (RLIMIT_DATA): heap and stacks, and not what it maps of files, which the system
// takes back when it needs it. A process that asks for more ends.
func narrow(t *testing.T, command string, limit int) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), filepath.Base(command))
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nulimit -d %d && exec %s \"$@\"\n", limit>>10, command), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// largePDF is a document of a size, unlike any other.
func largePDF(t *testing.T, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	out.Grow(size)
	var places []any
	object := func(format string, args ...any) {
		places = append(places, out.Len())
		fmt.Fprintf(&out, format, args...)
	}
	fmt.Fprint(&out, "%PDF-1.7\n")
	object("1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n")
	object("2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n")
	object("3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>\nendobj\n")
	picture := size - out.Len() - 400
	object("4 0 obj\n<< /Length %d >>\nstream\n", picture)
	out.Write(bytes.Repeat([]byte("pixel..."), picture/8+1)[:picture])
	fmt.Fprintf(&out, "\nendstream\nendobj\n%% %s\n", t.Name())
	table := out.Len()
	fmt.Fprintf(&out, "xref\n0 5\n0000000000 65535 f \n%010d 00000 n \n%010d 00000 n \n%010d 00000 n \n%010d 00000 n \n", places...)
	fmt.Fprintf(&out, "trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", table)
	return out.Bytes()
}

// TestM4_LargeDocumentsAtOnceFitIntoLittleMemory uploads, signs, seals, locks and reads documents of the largest size, by workers and an API that have less memory than
// one of them: concealed, and without anything to conceal.
func TestM4_LargeDocumentsAtOnceFitIntoLittleMemory(t *testing.T) {
	const memory = 224 << 20
	for name, c := range map[string]struct {
		atOnce  int
		replace []string
	}{
		"concealed": {2, nil},
		"plain":     {1, []string{"personalDataKey: ", "# "}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := local.Tenant(t.TempDir(), "globex", append(c.replace, "maxBytes: 52428800", fmt.Sprintf("maxBytes: %d", largest))...)
			if err != nil {
				t.Fatal(err)
			}
			worker, err := local.Workers(narrow(t, filepath.Join(local.Bin, "workers"), memory), dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(worker.Stop)
			server, address, err := local.ServeBy(narrow(t, filepath.Join(local.Bin, "countersign"), memory), dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Stop)
			api, err := client.New(address, "globex", func(ctx context.Context) (string, error) { return local.Token(ctx, "machine:globex/procurement") })
			if err != nil {
				t.Fatal(err)
			}
			t.Run("signing", func(t *testing.T) {
				for i := range c.atOnce {
					t.Run(fmt.Sprint(i), func(t *testing.T) {
						t.Parallel()
						signLarge(t, api, address, name == "concealed")
					})
				}
			})
			for _, p := range []*stack.Process{worker, server} {
				select {
				case <-p.Done():
					t.Errorf("a process ended:\n%s", p.Log())
				default:
				}
			}
		})
	}
}

func signLarge(t *testing.T, api *client.Client, address string, concealed bool) {
	t.Helper()
	body := largePDF(t, largest)
	document, err := api.PutDocument(t.Context(), body)
	if err != nil {
		t.Fatal(err)
	}
	g := begin(t, countersign.Request{V: 1, Tenant: "globex", ID: requestID(t), Purpose: "supplier-contract", Title: "A very long contract", Document: document})
	patiently(t, func() error { _, err := g.Open(t.Context(), "legal"); return err })
	want := approved(t, g)
	patiently(t, func() error { _, err := g.End(t.Context()); return err })
	ending, _ := ended(t, g, want)
	if (ending.Evidence.Concealed != "") != concealed {
		t.Errorf("it is concealed as %q", ending.Evidence.Concealed)
	}
	for what, read := range map[string]func() ([]byte, error){
		"document": func() ([]byte, error) { return api.Document(t.Context(), g.Request.ID, document.SHA256) },
		"evidence": func() ([]byte, error) { return api.Evidence(t.Context(), g.Request.ID, ending.Evidence.Object.SHA256) },
		"signed": func() ([]byte, error) {
			return readAs(t, "machine:globex/procurement", address+"/v1/globex/signings/"+g.Request.ID+"/signed")
		},
	} {
		got, err := read()
		if err != nil || len(got) < len(body) || what == "signed" && !bytes.HasPrefix(got, body) {
			t.Errorf("%s: read are %d bytes, %v", what, len(got), err)
		}
	}
}

func readAs(t *testing.T, who, url string) ([]byte, error) {
	t.Helper()
	token, err := local.Token(t.Context(), who)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it is answered with %s", response.Status)
	}
	return io.ReadAll(response.Body)
}

// patiently waits longer than tests do else: much is read and written, and the machine may have other work.
func patiently(t *testing.T, wait func() error) {
	t.Helper()
	for tries := 1; ; tries++ {
		err := wait()
		if err == nil {
			return
		}
		var late *serviceerror.DeadlineExceeded
		if tries == 5 || !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &late) {
			t.Fatal(err)
		}
	}
}

// TestM4_ALargeBundleIsVerifiedInLittleMemory verifies a file of 256 MiB with less memory than that, and where there is no room for a copy either, with what it takes.
func TestM4_ALargeBundleIsVerifiedInLittleMemory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "large.asice")
	if err := os.WriteFile(file, []byte("PK not a bundle"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, largest); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ command, temporary string }{
		"little memory":      {narrow(t, filepath.Join(local.Bin, "countersign"), 224<<20), t.TempDir()},
		"no temporary files": {filepath.Join(local.Bin, "countersign"), filepath.Join(t.TempDir(), "none")},
	} {
		cmd := exec.CommandContext(t.Context(), c.command, "audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA)
		cmd.Env = append(os.Environ(), "TMPDIR="+c.temporary)
		out, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != 6 || !strings.Contains(string(out), "container") {
			t.Errorf("%s: %v\n%.2000s", name, err, out)
		}
	}
}
