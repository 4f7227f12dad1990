package idp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	stateFile    = "state.json"
	passwordFile = "passwords.json"
)

// state is what survives a restart. It holds private keys: the file is 0600.
type state struct {
	Issuer string `json:"issuer"`
	// Keys are private keys, oldest first; the last one signs.
	Keys    []jose.JSONWebKey `json:"keys"`
	People  []account         `json:"people"`
	Refresh []refreshToken    `json:"refresh"`
}

type account struct {
	Login    string `json:"login"`
	Subject  string `json:"subject"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Hash     []byte `json:"hash"`
	Disabled bool   `json:"disabled"`
}

type refreshToken struct {
	// Hash is the SHA-256 of the token: the file alone gives no access.
	Hash     string    `json:"hash"`
	Client   string    `json:"client"`
	Subject  string    `json:"subject"`
	Scopes   []string  `json:"scopes"`
	AuthTime time.Time `json:"authTime"`
	Expires  time.Time `json:"expires"`
}

func (s *state) byLogin(login string) *account {
	for i := range s.People {
		if s.People[i].Login == login {
			return &s.People[i]
		}
	}
	return nil
}

func (s *state) bySubject(subject string) *account {
	for i := range s.People {
		if s.People[i].Subject == subject {
			return &s.People[i]
		}
	}
	return nil
}

// readJSON reports false when there is no such file.
func readJSON(path string, into any) (bool, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return false, fmt.Errorf("couldn't parse %s: %w", filepath.Base(path), err)
	}
	return true, nil
}

// writeJSON replaces the file in one step, so that a crash leaves the old or the
// new one. The file gets mode 0600.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
