package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-dev/countersign"
)

// Cache keeps access tokens between commands, one file for each issuer and client, readable by their owner alone. It never keeps the
// proof of a decision.
type Cache struct {
	Dir string // empty: nothing is kept
}

// margin is how long before its end a token is no longer used.
const margin = 30 * time.Second

func (c Cache) file(issuer, clientID string) string {
	return filepath.Join(c.Dir, countersign.SHA256([]byte(issuer+"\x00"+clientID))+".json")
}

// Get finds a token that is still good for a while.
func (c Cache) Get(issuer, clientID string, now time.Time) (Session, bool) {
	var s Session
	if c.Dir == "" {
		return s, false
	}
	info, err := os.Lstat(c.file(issuer, clientID))
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() > 1<<20 {
		return s, false
	}
	raw, err := os.ReadFile(c.file(issuer, clientID))
	if err != nil || json.Unmarshal(raw, &s) != nil || s.Actor.Issuer != issuer || s.Access == "" || !now.Add(margin).Before(s.Expires) {
		return Session{}, false
	}
	return s, true
}

// Put keeps a token until it expires.
func (c Cache) Put(issuer, clientID string, s Session) error {
	if c.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("couldn't keep the token: %w", err)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("couldn't keep the token: %w", err)
	}
	// A new file has mode 0600; renaming it keeps a second command from reading half of it.
	f, err := os.CreateTemp(c.Dir, ".token-*")
	if err != nil {
		return fmt.Errorf("couldn't keep the token: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.file(issuer, clientID))
	}
	if err != nil {
		return fmt.Errorf("couldn't keep the token: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// Drop forgets a token.
func (c Cache) Drop(issuer, clientID string) error {
	if c.Dir == "" {
		return nil
	}
	if err := os.Remove(c.file(issuer, clientID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("couldn't forget the token: %w", err)
	}
	return nil
}
