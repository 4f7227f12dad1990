package kms

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// temporaryPrefix begins the name of a file that isn't complete yet.
const temporaryPrefix = ".new-"

// writePrivate replaces the file at path by v as JSON, with mode 0600. After
// it returns nil the new content survives a crash; a crash before that leaves
// the old content or the new, never a mixture.
func writePrivate(path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporaryPrefix) // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// removeTemporary removes the files that a crash left incomplete.
func removeTemporary(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// readPrivate reads what writePrivate wrote. It refuses a file that others
// than its owner may touch, because its secret may have leaked.
func readPrivate(path string, v any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o, so that others may have read it; if nobody did, run chmod 600 on it", path, mode)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
