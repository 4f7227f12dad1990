package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// countedBody says how many bytes of it were asked for.
type countedBody struct {
	io.Reader
	read atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// Who may not upload is told so before a byte of the document is taken.
func TestR12_NothingOfADocumentIsReadFromWhoMayNotUpload(t *testing.T) {
	t.Parallel()
	s := newService(t)
	patient := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	for who, want := range map[string]struct {
		status int
		taken  bool
	}{"alice": {http.StatusForbidden, false}, "ben": {http.StatusUnprocessableEntity, true}} {
		body := &countedBody{Reader: strings.NewReader("no PDF")}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+"/v1/acme/documents", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + s.token(who)}, "Content-Type": {pdfType}, "Expect": {"100-continue"}}
		response, err := patient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want.status || (body.read.Load() > 0) != want.taken {
			t.Errorf("%s is answered %d, after %d bytes were taken", who, response.StatusCode, body.read.Load())
		}
	}
}

// A document is held until the answer is written, and not longer, also where it isn't given out.
func TestM4_ADocumentIsLetGoOfOnceItIsAnswered(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	// Served here, and not by a server: an answer is read before who gave it has ended.
	ask := func() *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/acme/signings/PO-1/document", nil)
		r.Header.Set("Authorization", "Bearer "+s.token("alice"))
		w := httptest.NewRecorder()
		s.server.Handler().ServeHTTP(w, r)
		s.objects.mu.Lock()
		defer s.objects.mu.Unlock()
		if s.objects.open != 0 {
			t.Errorf("answered is %d, and %d documents are still held", w.Code, s.objects.open)
		}
		return w
	}
	if w := ask(); w.Code != http.StatusOK || w.Body.String() != "the document" {
		t.Errorf("alice is answered %d %q", w.Code, w.Body)
	}
	s.objects.mu.Lock()
	s.objects.full = errors.New("full")
	s.objects.mu.Unlock()
	if w := ask(); w.Code != http.StatusServiceUnavailable {
		t.Errorf("alice is answered %d, though nothing can be recorded", w.Code)
	}
}
