package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-dev/countersign"
)

// maxVerifier is the largest page that is served, in bytes.
const maxVerifier = 64 << 20

// verifierPage is the page that checks evidence in a browser, as verifier/page builds it. Everybody may have it: it holds nothing of any tenant but
// the roots that the installation put into it.
type verifierPage struct {
	body, packed []byte
	tag          string
}

// readVerifier reads the page. Without a file there is none.
func readVerifier(file string) (*verifierPage, error) {
	if file == "" {
		return nil, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the verifier's page; build it with make verifier, or leave --verifier out: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxVerifier {
		return nil, fmt.Errorf("couldn't read the verifier's page: %s is no file of at most %d bytes", file, maxVerifier)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the verifier's page: %w", err)
	}
	if !bytes.Contains(body[:min(len(body), 4096)], []byte(`http-equiv="Content-Security-Policy"`)) {
		return nil, fmt.Errorf("couldn't read the verifier's page: %s is not what make verifier builds", file)
	}
	p := &verifierPage{body: body, tag: `"` + countersign.SHA256(body) + `"`}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("couldn't compress the verifier's page: %w", err)
	}
	p.packed = packed.Bytes()
	return p, nil
}

// verify gives the page out. Its own policy lets its scripts run and nothing leave; what only a header can say is added.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	p := s.verifier
	if p == nil || r.URL.Path != verifierPath {
		s.nothing(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // may be kept, and is asked for again by its tag
	h.Set("ETag", p.tag)
	h.Set("Vary", "Accept-Encoding")
	if slices.ContainsFunc(strings.Split(r.Header.Get("If-None-Match"), ","), func(t string) bool { return strings.TrimPrefix(strings.TrimSpace(t), "W/") == p.tag }) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	body := p.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = p.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // whoever asked may have gone
	}
}

// nothing is the answer where nothing is.
func (s *Server) nothing(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, newProblem(http.StatusNotFound, "not-found", "there is nothing here; /openapi.json names every route"))
}

const verifierPath = "/verify/"
