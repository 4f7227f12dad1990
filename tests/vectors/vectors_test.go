// Package vectors holds test vectors for whoever writes a verifier of their own: see README.md here and docs/evidence-format.md. The tests hold
// this project to the same files.
package vectors

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign"
)

var update = flag.Bool("update", false, "write the vectors anew, with fresh keys")

// vectors reads the vectors of a file; with -update, it writes those that make returns there first.
func vectors[T any](t *testing.T, file string, make func() T) T {
	t.Helper()
	if *update {
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(make()); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read T
	if err := countersign.ParseStrict(raw, &read); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return read
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
