package translog

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
)

// memory keeps a log in memory, with the promises of a store that gives each name to one writer.
type memory struct {
	mu      sync.Mutex
	objects map[string]string
	swaps   int
	// fails is asked before each write; the write happens first where late says so.
	fails func(name string) (fail, late bool)
}

func newMemory() *memory { return &memory{objects: map[string]string{}} }

func (m *memory) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrGone)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d", name, len(body), limit)
	}
	return []byte(body), nil
}

func (m *memory) Current(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	body, err := m.Get(ctx, name, limit)
	return body, countersign.SHA256(body), err
}

var errDown = errors.New("the store is down")

func (m *memory) Add(_ context.Context, name string, body []byte) error {
	return m.write(name, func() error {
		if _, there := m.objects[name]; there {
			return ErrExists
		}
		m.objects[name] = string(body)
		return nil
	})
}

func (m *memory) Swap(_ context.Context, name string, body []byte, tag string) (string, error) {
	return countersign.SHA256(body), m.write(name, func() error {
		old, there := m.objects[name]
		if there != (tag != "") || there && countersign.SHA256([]byte(old)) != tag {
			return ErrExists
		}
		m.objects[name] = string(body)
		m.swaps++
		return nil
	})
}

func (m *memory) write(name string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail, late := false, false
	if m.fails != nil {
		fail, late = m.fails(name)
	}
	if fail && !late {
		return errDown
	}
	err := do()
	if fail {
		return errDown
	}
	return err
}

// copied is the store as it is now, with a change.
func (m *memory) copied(change func(map[string]string)) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemory()
	c.objects = maps.Clone(m.objects)
	change(c.objects)
	return c
}

type keySigner struct {
	note.Verifier
	private ed25519.PrivateKey
}

func (s keySigner) Sign(_ context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(s.private, msg), nil
}

func newKey(t testing.TB) keySigner {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := VerifierText("acme", public)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseVerifier(text, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return keySigner{v, private}
}

func newLog(t testing.TB, store Store) *Log {
	t.Helper()
	return NewLog(store, newKey(t))
}

// another is the same log in another process.
func another(l *Log) *Log { return NewLog(l.store, l.key) }

// read reads a log as it lies in a store.
func read(l *Log, store Source) Reader { return Reader{Stored(store), l.key} }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func intended(i int) Entry {
	return Entry{V: 1, Tenant: "acme", Kind: Intended, Request: fmt.Sprintf("PO-%d", i), Run: "run", Context: strings.Repeat("c", 64), At: start}
}

func sealed(i int) Entry {
	e := intended(i)
	e.Kind, e.Outcome = Sealed, countersign.Completed
	e.Bundle = &countersign.Object{Bucket: "evidence", Key: "acme/evidence/x", VersionID: "1", SHA256: strings.Repeat("e", 64)}
	return e
}

func fill(t testing.TB, l *Log, n int) (proofs []Proof) {
	t.Helper()
	for i := range n {
		p, err := l.Append(context.Background(), intended(i))
		if err != nil {
			t.Fatal(err)
		}
		proofs = append(proofs, p)
	}
	return proofs
}
