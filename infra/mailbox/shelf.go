package mailbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// shelf keeps the newest values in memory and as one JSON file each.
type shelf[T any] struct {
	dir string
	max int

	mu   sync.Mutex
	last int64
	kept []item[T]
}

type item[T any] struct {
	id    string
	value T
}

func openShelf[T any](dir string, limit int) (*shelf[T], error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir) // sorted by name, so by age
	if err != nil {
		return nil, err
	}
	s := &shelf[T]{dir: dir, max: limit}
	for _, entry := range entries {
		id, isValue := strings.CutSuffix(entry.Name(), ".json")
		number, err := strconv.ParseInt(id, 10, 64)
		if !isValue || err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		one := item[T]{id: id}
		if err := json.Unmarshal(raw, &one.value); err != nil {
			return nil, fmt.Errorf("couldn't parse %s (remove it to go on): %w", entry.Name(), err)
		}
		s.kept, s.last = append(s.kept, one), number
	}
	return s, s.trim()
}

// add keeps a value once it's on disk.
func (s *shelf[T]) add(value T) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("%012d", s.last+1)
	file, err := os.CreateTemp(s.dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), s.path(id)); err != nil {
		return err
	}
	s.last++
	s.kept = append(s.kept, item[T]{id: id, value: value})
	return s.trim()
}

// all returns the kept values, newest last.
func (s *shelf[T]) all() []item[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept)
}

func (s *shelf[T]) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(len(s.kept))
}

func (s *shelf[T]) trim() error {
	return s.drop(len(s.kept) - s.max)
}

// drop forgets the oldest values. The caller holds the lock.
func (s *shelf[T]) drop(count int) error {
	if count <= 0 {
		return nil
	}
	var failed error
	for _, one := range s.kept[:count] {
		failed = errors.Join(failed, os.Remove(s.path(one.id)))
	}
	s.kept = slices.Clone(s.kept[count:])
	return failed
}

func (s *shelf[T]) path(id string) string { return filepath.Join(s.dir, id+".json") }
