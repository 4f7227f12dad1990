package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

func token(context.Context) (string, error) { return "secret-token", nil }

func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := New(server.URL, "acme", token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestATokenTravelsOverTLSOrToThisMachineAlone(t *testing.T) {
	t.Parallel()
	for raw, ok := range map[string]bool{
		"https://sign.example": true, "https://sign.example/base/": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost:1": true,
		"http://sign.example": false, "http://10.0.0.1": false, "http://localhost.example": false, "ftp://127.0.0.1": false, "": false, "https://u:p@sign.example": false, "https://sign.example?x=1": false,
	} {
		if err := CheckURL(raw); (err == nil) != ok {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestARedirectDoesNotTakeTheTokenElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked with %v", r.Header) }))
	defer elsewhere.Close()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	if _, err := c.Inbox(t.Context()); err == nil {
		t.Error("a redirect is a success")
	}
}

func TestProblemsKeepTheirCode(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret-token" || r.URL.EscapedPath() != "/v1/acme/signings/..%2Fx" {
			t.Errorf("asked for %s with %v", r.URL.EscapedPath(), r.Header)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"status":200,"detail":"there is another","code":"request-exists"}`)
	})
	_, err := c.Status(t.Context(), "../x")
	var p *Problem
	if !errors.As(err, &p) || p.Code != "request-exists" || p.Status != http.StatusConflict || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("the error is %v", err)
	}
}

func TestADownloadMustBeWhatWasNamed(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "bytes") })
	if body, err := c.Document(t.Context(), "PO-1", countersign.SHA256([]byte("bytes"))); err != nil || string(body) != "bytes" {
		t.Errorf("%s %v", body, err)
	}
	if _, err := c.Evidence(t.Context(), "PO-1", countersign.SHA256([]byte("other"))); err == nil {
		t.Error("other bytes are taken")
	}
}

func TestAStreamThatEndsWithoutAnEndIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	calls := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": hello\n\nevent: other\ndata: x\n\nevent: status\ndata: {\"state\":\"approval\",\ndata: \"request\":\"PO-1\"}\n\n")
		if calls == 2 {
			_, _ = io.WriteString(w, "event: status\ndata: {\"state\":\"done\"}\n\nevent: end\ndata: {}\n\n")
		}
	})
	var seen []string
	if err := c.Watch(t.Context(), "PO-1", func(s Status) bool { seen = append(seen, s.State+s.Request); return true }); err != nil {
		t.Fatal(err)
	}
	if strings.Join(seen, " ") != "approvalPO-1 approvalPO-1 done" {
		t.Errorf("saw %v", seen)
	}
}

func TestAnEndBeforeItIsDoneIsAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "event: status\ndata: {\"state\":\"sealing\"}\n\nevent: end\ndata: {}\n\n")
	})
	if err := c.Watch(t.Context(), "PO-1", func(Status) bool { return true }); !errors.Is(err, ErrEnded) {
		t.Errorf("ended with %v", err)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("event: status\ndata: {}\n\n")
	f.Add(": x\n\ndata\n\nevent\n")
	f.Fuzz(func(t *testing.T, text string) {
		events := 0
		if err := readEvents(strings.NewReader(text), func(string, string) (bool, error) { events++; return true, nil }); err == nil {
			t.Error("a stream that broke ended well")
		}
		if events > strings.Count(text, "\n") {
			t.Errorf("%d events in %d lines", events, strings.Count(text, "\n"))
		}
	})
}

func TestACountedRecordIsToldBeforeItsRefusedRepeat(t *testing.T) {
	t.Parallel()
	s := Status{Decisions: []countersign.DecisionRecord{{ID: "a", Refusal: countersign.Refuse("x", "x")}, {ID: "a"}, {ID: "a", Refusal: countersign.Refuse("y", "y")}, {ID: "b", Refusal: countersign.Refuse("z", "z")}}}
	if r, ok := s.Record("a"); !ok || !r.Counted() {
		t.Errorf("a is %+v", r)
	}
	if r, ok := s.Record("b"); !ok || r.Counted() {
		t.Errorf("b is %+v", r)
	}
	if _, ok := s.Record("c"); ok {
		t.Error("there is no c")
	}
}
