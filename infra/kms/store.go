package kms

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// errClosed answers calls after Close.
var errClosed = errors.New("the key store is closed")

// store holds keys and aliases in memory and on disk:
//
//	dir/lock           flock of the Service that has dir open
//	dir/aliases.json   alias name → alias
//	dir/keys/<id>.json one key
//
// Records are never changed in place: a change is written to disk, durably,
// and only then replaces the record in memory. If the process ends between the
// two, the next start finds the change, which its caller may then repeat.
type store struct {
	dir    string
	lock   *os.File
	mu     sync.RWMutex
	closed bool
	keys   map[string]*key
	alias  map[string]alias
}

// alias names a key. Times are in Unix seconds.
type alias struct {
	Target  string  `json:"target"`
	Created float64 `json:"created"`
	Updated float64 `json:"updated"`
}

func openStore(dir string, now time.Time) (_ *store, err error) {
	st := &store{dir: dir, keys: map[string]*key{}, alias: map[string]alias{}}
	for _, d := range []string{dir, st.keyDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("couldn't make the key directory: %w", err)
		}
		if err := os.Chmod(d, 0o700); err != nil {
			return nil, fmt.Errorf("couldn't make the key directory private: %w", err)
		}
	}
	st.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the lock of the key directory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = st.lock.Close() // the first error is the one to tell
		}
	}()
	if err := syscall.Flock(int(st.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("couldn't lock %s: another process has it open; end that one first: %w", dir, err)
	}
	if err := st.load(); err != nil {
		return nil, err
	}
	return st, st.purge(now)
}

func (st *store) keyDir() string           { return filepath.Join(st.dir, "keys") }
func (st *store) keyFile(id string) string { return filepath.Join(st.keyDir(), id+".json") }
func (st *store) aliasFile() string        { return filepath.Join(st.dir, "aliases.json") }

func (st *store) close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil
	}
	st.closed = true
	if err := st.lock.Close(); err != nil {
		return fmt.Errorf("couldn't close the lock of the key directory: %w", err)
	}
	return nil
}

func (st *store) load() error {
	// What a crash left before the rename: its caller was never answered.
	for _, dir := range []string{st.dir, st.keyDir()} {
		if err := removeTemporary(dir); err != nil {
			return fmt.Errorf("couldn't remove half-written files: %w", err)
		}
	}
	entries, err := os.ReadDir(st.keyDir())
	if err != nil {
		return fmt.Errorf("couldn't list the keys: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(st.keyDir(), e.Name())
		id, isKey := strings.CutSuffix(e.Name(), ".json")
		if !isKey || uuid.Validate(id) != nil || !e.Type().IsRegular() {
			return fmt.Errorf("%s is not a key; move it away", path)
		}
		k := &key{}
		if err := readPrivate(path, &k.record); err != nil {
			return fmt.Errorf("couldn't read key %s: %w", id, err)
		}
		if k.record.ID != id {
			return fmt.Errorf("couldn't read key %s: the file holds another key's record", id)
		}
		if err := k.parseMaterial(); err != nil {
			return fmt.Errorf("couldn't read key %s: %w", id, err)
		}
		st.keys[id] = k
	}
	if err := readPrivate(st.aliasFile(), &st.alias); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("couldn't read the aliases: %w", err)
	}
	if st.alias == nil {
		st.alias = map[string]alias{}
	}
	return nil
}

// purge removes the keys whose deletion date has passed, and their aliases.
// The aliases go first: an alias without its key would be found broken, a key
// without its alias is only removed a little later.
// Call it with mu held, or before anybody else has the store.
func (st *store) purge(now time.Time) error {
	kept := maps.Clone(st.alias)
	gone := map[string]bool{}
	for id, k := range st.keys {
		if k.goneAt(now) {
			gone[id] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	maps.DeleteFunc(kept, func(_ string, a alias) bool { return gone[a.Target] })
	if len(kept) != len(st.alias) {
		if err := st.putAliases(kept); err != nil {
			return err
		}
	}
	for id := range gone {
		if err := os.Remove(st.keyFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("couldn't remove a deleted key: %w", err)
		}
		delete(st.keys, id)
	}
	return syncDir(st.keyDir())
}

// read runs f with the store held for reading. f must not keep the maps.
func (st *store) read(f func() error) error {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.closed {
		return errClosed
	}
	return f()
}

// change runs f with the store held for writing.
func (st *store) change(now time.Time, f func() error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return errClosed
	}
	if err := st.purge(now); err != nil {
		return err
	}
	return f()
}

// putKey makes k durable, then visible. Call it inside change.
func (st *store) putKey(k *key) error {
	if err := writePrivate(st.keyFile(k.record.ID), k.record); err != nil {
		return fmt.Errorf("couldn't store key %s: %w", k.record.ID, err)
	}
	st.keys[k.record.ID] = k
	return nil
}

// putAliases makes all aliases durable, then visible. Call it inside change.
func (st *store) putAliases(all map[string]alias) error {
	if err := writePrivate(st.aliasFile(), all); err != nil {
		return fmt.Errorf("couldn't store the aliases: %w", err)
	}
	st.alias = all
	return nil
}
