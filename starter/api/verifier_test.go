package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestR15_ThePageIsServedAsItWasBuiltToEverybody(t *testing.T) {
	t.Parallel()
	s := newService(t)
	get := func(path string, headers ...string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "identity")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, body
	}
	if response, body := get("/verify/"); response.StatusCode != http.StatusNotFound || !bytes.Contains(body, []byte("not-found")) {
		t.Errorf("without a page: %d %s", response.StatusCode, body)
	}

	file := filepath.Join(t.TempDir(), "verifier.html")
	page := `<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'">` + strings.Repeat("x", 10000)
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.server.verifier, err = readVerifier(file); err != nil {
		t.Fatal(err)
	}
	response, body := get("/verify/")
	if response.StatusCode != http.StatusOK || string(body) != page {
		t.Errorf("%d, %d bytes", response.StatusCode, len(body))
	}
	for header, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := response.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if again, body := get("/verify/", "If-None-Match", response.Header.Get("ETag")); again.StatusCode != http.StatusNotModified || len(body) > 0 {
		t.Errorf("asked again: %d, %d bytes", again.StatusCode, len(body))
	}
	packed, body := get("/verify/", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%d %v", packed.StatusCode, err)
	}
	if unpacked, err := io.ReadAll(z); err != nil || string(unpacked) != page {
		t.Errorf("packed: %d bytes, %v", len(unpacked), err)
	}
	if response, _ := get("/verify/other"); response.StatusCode != http.StatusNotFound {
		t.Errorf("beside it: %d", response.StatusCode)
	}
	if response, _ := s.call(http.MethodPost, "/verify/", "", nil, nil); response.StatusCode == http.StatusOK {
		t.Error("it takes something")
	}
}

func TestR15_WhatIsNoPageIsNotServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := filepath.Join(dir, "other.html")
	if err := os.WriteFile(other, []byte("<html>without a policy"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{other, dir, filepath.Join(dir, "missing")} {
		if p, err := readVerifier(file); err == nil || p != nil {
			t.Errorf("%s is served", file)
		}
	}
	if p, err := readVerifier(""); p != nil || err != nil {
		t.Errorf("no file: %v %v", p, err)
	}
}
