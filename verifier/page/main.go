// Page builds the verifier for a browser, into one HTML file that needs nothing else: no server, no network, no other file. The installation
// serves the same file that a person saves and opens from disk, so its SHA-256 can be published and compared.
//
//	go run ./verifier/page -o var/bin/verifier.html [-anchors anchors.json]
//
// anchors.json is what an installation wants its page to offer: [{"name", "tenantCA", "tsaCA", "logKey", "pqKey"}], the roots as PEM text.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed page.html
var html string

//go:embed page.css
var css string

//go:embed page.js
var script string

// anchors are roots that an installation offers by name.
type anchors struct {
	Name     string `json:"name"`
	TenantCA string `json:"tenantCA"`
	TSACA    string `json:"tsaCA"`
	LogKey   string `json:"logKey,omitempty"`
	PQKey    string `json:"pqKey,omitempty"`
}

func main() {
	out := flag.String("o", "verifier.html", "file to write")
	offered := flag.String("anchors", "", "anchors to offer (JSON)")
	flag.Parse()
	if err := build(*out, *offered); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func build(out, offered string) error {
	list := []anchors{}
	if offered != "" {
		raw, err := os.ReadFile(offered)
		if err != nil {
			return fmt.Errorf("couldn't read the anchors: %w", err)
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&list); err != nil {
			return fmt.Errorf("couldn't read the anchors: %w", err)
		}
	}
	program, size, err := compile()
	if err != nil {
		return err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("couldn't ask go for its root: %w", err)
	}
	glue, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return fmt.Errorf("couldn't read what joins Go and the browser: %w", err)
	}
	page, err := assemble(program, string(glue), list)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, page, 0o644); err != nil {
		return fmt.Errorf("couldn't write the page: %w", err)
	}
	fmt.Printf("%s: %d bytes, of which the program %d (%d before gzip); SHA-256 %x\n", out, len(page), len(program), size, sha256.Sum256(page))
	return nil
}

// compile builds the verifier for a browser and compresses it. The same sources and Go give the same bytes.
func compile() (compressed []byte, size int, err error) {
	dir, err := os.MkdirTemp("", "page")
	if err != nil {
		return nil, 0, fmt.Errorf("couldn't build the verifier: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "verifier.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, "github.com/countersign-dev/countersign/verifier")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("couldn't build the verifier: %w", err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, 0, fmt.Errorf("couldn't read the built verifier: %w", err)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(raw)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, 0, fmt.Errorf("couldn't compress the verifier: %w", err)
	}
	return out.Bytes(), len(raw), nil
}

// assemble writes the page. Its content security policy allows the two scripts and the style by their digests, WebAssembly, its own icon, and nothing
// else: a browser that keeps to it can't send what it was given anywhere.
func assemble(program []byte, glue string, list []anchors) ([]byte, error) {
	offered, err := json.Marshal(list) // escapes <, so that no name ends the element
	if err != nil {
		return nil, err
	}
	for _, s := range []string{glue, script} {
		if strings.Contains(strings.ToLower(s), "</script") {
			return nil, errors.New("couldn't put a script into the page: it would end its own element")
		}
	}
	policy := fmt.Sprintf("default-src 'none'; script-src 'wasm-unsafe-eval' %s %s; style-src %s; img-src data:; base-uri 'none'; form-action 'none'", hash(glue), hash(script), hash(css))
	return []byte(strings.NewReplacer(
		"{{policy}}", policy, "{{css}}", css, "{{glue}}", glue, "{{script}}", script, "{{anchors}}", string(offered), "{{program}}", base64.StdEncoding.EncodeToString(program),
	).Replace(html)), nil
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
