package idp

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/bcrypt"
)

// refusal is an error whose text the person who logs in reads.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errWrongPassword = refusal("The login or the password is wrong.")
	errDisabled      = refusal("This account is disabled. Ask your organisation's administrator to enable it.")
	errNoRequest     = refusal("This login has expired or is already finished. Start it again from the program that sent you here.")
)

// errUnknownLogin is returned for a login that nobody has.
var errUnknownLogin = errors.New("nobody has this login")

// hashCost is a variable so that tests under the race detector can lower it.
var hashCost = bcrypt.DefaultCost

// newNoHash makes the hash that is checked for logins that don't exist, so that they take as long as
// those that do.
func newNoHash() []byte {
	hash, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), hashCost)
	if err != nil {
		panic(err) // only an unfit cost gets here
	}
	return hash
}

// enrol joins the people of the configuration with those of the directory and
// keeps the clear passwords in their own file.
func (s *storage) enrol(dir string, people []Person) error {
	kept := map[string]string{}
	if _, err := readJSON(filepath.Join(dir, passwordFile), &kept); err != nil {
		return err
	}
	plain := make(map[string]string, len(people))
	accounts := make([]account, 0, len(people))
	for _, person := range people {
		next := account{Login: person.Login, Subject: person.Subject, Name: person.Name, Email: person.Email, Disabled: person.Disabled}
		old := s.state.byLogin(person.Login)
		if old != nil {
			if old.Subject != person.Subject {
				return fmt.Errorf("the login %q belongs to subject %q here; a subject never changes hands", person.Login, old.Subject)
			}
			next.Disabled, next.Hash = old.Disabled, old.Hash
		}
		password := person.Password
		if password == "" {
			password = kept[person.Login]
		}
		if password == "" {
			password = rand.Text()
		}
		same := subtle.ConstantTimeCompare([]byte(password), []byte(kept[person.Login])) == 1
		if next.Hash == nil || !same {
			hash, err := bcrypt.GenerateFromPassword([]byte(password), hashCost)
			if err != nil {
				return fmt.Errorf("couldn't hash the password of %q: %w", person.Login, err)
			}
			next.Hash = hash
		}
		plain[person.Login] = password
		accounts = append(accounts, next)
	}
	s.state.People = accounts
	s.passwords = plain
	return writeJSON(filepath.Join(dir, passwordFile), plain)
}

// authenticate returns the account, errWrongPassword or errDisabled. Only who
// knows the password learns that an account is disabled.
func (s *storage) authenticate(login, password string) (account, error) {
	s.mu.Lock()
	found := s.state.byLogin(login)
	hash := s.noHash
	if found != nil {
		hash = found.Hash
	}
	s.mu.Unlock()
	// Outside of the lock: bcrypt is slow on purpose.
	wrong := bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	found = s.state.byLogin(login)
	if wrong || found == nil {
		return account{}, errWrongPassword
	}
	if found.Disabled {
		return account{}, errDisabled
	}
	return *found, nil
}

func (s *storage) setDisabled(login string, disabled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(func(next *state) error {
		next.People = slices.Clone(next.People)
		found := next.byLogin(login)
		if found == nil {
			return fmt.Errorf("%w: %q", errUnknownLogin, login)
		}
		found.Disabled = disabled
		return nil
	})
}

// active returns the account of a subject that may still get tokens. The caller
// holds the lock.
func (s *storage) active(subject string) (*account, error) {
	found := s.state.bySubject(subject)
	if found == nil {
		return nil, errors.New("nobody has this subject")
	}
	if found.Disabled {
		return nil, errDisabled
	}
	return found, nil
}
