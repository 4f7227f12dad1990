package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	signednote "golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

// logOfThree puts a log of three entries behind the API, and returns its key's public half.
func (s *service) logOfThree() signednote.Verifier {
	s.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := translog.VerifierText("acme", public)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := translog.ParseVerifier(text, "acme")
	if err != nil {
		s.t.Fatal(err)
	}
	s.server.tenants["acme"].logKey = v
	log := translog.NewLog(memoryLog{s.objects}, logKey{v, private})
	for i := range 3 {
		e := translog.Entry{V: 1, Tenant: "acme", Kind: translog.Intended, Request: fmt.Sprintf("PO-%d", i), Run: "run", At: time.Unix(1, 0).UTC()}
		if _, err := log.Append(s.t.Context(), e); err != nil {
			s.t.Fatal(err)
		}
	}
	return v
}

type logKey struct {
	signednote.Verifier
	private ed25519.PrivateKey
}

func (k logKey) Sign(_ context.Context, text []byte) ([]byte, error) {
	return ed25519.Sign(k.private, text), nil
}

func (m memoryLog) Add(_ context.Context, name string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored[countersign.LogKey("acme", name)] = bytes.Clone(body)
	return nil
}

func (m memoryLog) Current(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	body, err := m.Get(ctx, name, limit)
	return body, string(body), err
}

func (m memoryLog) Swap(ctx context.Context, name string, body []byte, _ string) (string, error) {
	return string(body), m.Add(ctx, name, body)
}

func TestN04_PartnersWatchTheLogAndReadNoEntries(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const checkpoint, tile, entries = "/v1/acme/log/checkpoint", "/v1/acme/log/tile/0/000.p/3", "/v1/acme/log/tile/entries/000.p/3"
	if response, body := s.call(http.MethodGet, checkpoint, s.token("hart/carol"), nil, nil); response.StatusCode != http.StatusServiceUnavailable && response.StatusCode != http.StatusNotFound {
		t.Errorf("a log without entries answers %d %s", response.StatusCode, body)
	}
	key := s.logOfThree()
	for _, who := range []string{"alice", "hart/carol", "procurement"} {
		response, body := s.call(http.MethodGet, checkpoint, s.token(who), nil, nil)
		if c, err := translog.ParseCheckpoint(string(body), key); response.StatusCode != http.StatusOK || err != nil || c.N != 3 {
			t.Errorf("%s reads the checkpoint %d %s: %v", who, response.StatusCode, body, err)
		}
		if response, body := s.call(http.MethodGet, tile, s.token(who), nil, nil); response.StatusCode != http.StatusOK || len(body) != 3*32 {
			t.Errorf("%s reads a tile %d of %d bytes", who, response.StatusCode, len(body))
		}
		response, body = s.call(http.MethodGet, entries, s.token(who), nil, nil)
		s.refusal(response, body, http.StatusForbidden, "not-entitled")
	}
	// Somebody of a trusted issuer whom the file doesn't list.
	for _, path := range []string{checkpoint, tile, entries} {
		response, body := s.call(http.MethodGet, path, s.token("hart/hugo"), nil, nil)
		s.refusal(response, body, http.StatusForbidden, "not-entitled")
	}
	response, body := s.call(http.MethodGet, entries, s.token("olivia"), nil, nil)
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"PO-2"`) {
		t.Errorf("compliance reads the entries %d %s", response.StatusCode, body)
	}
	if reads := s.reads(""); len(reads) != 1 || reads[0].Filter != "log=tile/entries/000.p/3" {
		t.Errorf("recorded are %+v", reads)
	}
	// A partner watches by the API alone.
	api, err := client.New(s.url, "acme", fixed(s.token("hart/carol")))
	if err != nil {
		t.Fatal(err)
	}
	reader := translog.Reader{Source: api.Log(), Verifier: key}
	head, err := reader.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, now, err := reader.Watch(t.Context(), head.Text); err != nil || now.N != 3 {
		t.Errorf("the watch ends at %d: %v", now.N, err)
	}
}

func TestN04_TheAPIShowsNoFileThatTheCheckpointDoesNotCover(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.logOfThree()
	for _, name := range []string{"0/000", "0/000.p/4", "0/000.p/0", "0/001.p/1", "1/000.p/1", "entries/000.p/4", "9/000.p/1", "0/x999/999.p/1", "data/000.p/3", "../checkpoint", "0/..", "claims"} {
		response, body := s.call(http.MethodGet, "/v1/acme/log/tile/"+strings.ReplaceAll(name, "..", "%2e%2e"), s.token("olivia"), nil, nil)
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered %d %s", name, response.StatusCode, body)
		}
	}
	// A checkpoint that the log's key didn't sign is not passed on.
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.server.tenants["acme"].logKey = s.otherKey(other)
	if response, body := s.call(http.MethodGet, "/v1/acme/log/checkpoint", s.token("alice"), nil, nil); response.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(body), "countersign/acme") {
		t.Errorf("a checkpoint of another key is answered %d %s", response.StatusCode, body)
	}
}

func (s *service) otherKey(private ed25519.PrivateKey) signednote.Verifier {
	s.t.Helper()
	text, err := translog.VerifierText("acme", private.Public().(ed25519.PublicKey))
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := translog.ParseVerifier(text, "acme")
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}
