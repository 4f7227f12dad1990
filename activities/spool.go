package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/countersign-dev/countersign"
)

// spooled is an object in a temporary file that has no name any more: when the process ends, however it ends, its bytes are gone.
// Documents have hundreds of megabytes, and a worker signs many at once. Whoever gets one closes it.
type spooled struct {
	*os.File
	size   int64
	sha256 string
}

// spool reads one version of one object of the tenant into a temporary file, with ReadObject's checks. TMPDIR says where files lie.
func (t *Tenant) spool(ctx context.Context, o countersign.Object, limit int64) (*spooled, error) {
	in, _, err := openObject(ctx, t.s3, t.settings.Tenant, o, limit)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	file, err := os.CreateTemp("", "countersign-")
	if err != nil {
		return nil, fmt.Errorf("couldn't make a temporary file for a document (TMPDIR names their directory): %w", err)
	}
	s := &spooled{File: file}
	if err := os.Remove(file.Name()); err != nil {
		return nil, s.broken(fmt.Errorf("couldn't take the name from a temporary file: %w", err))
	}
	h := sha256.New()
	if s.size, err = io.Copy(io.MultiWriter(file, h), io.LimitReader(in, limit+1)); err != nil {
		return nil, s.broken(fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, err))
	}
	s.sha256 = hex.EncodeToString(h.Sum(nil))
	if err := isObject(o, s.size, limit, s.sha256); err != nil {
		return nil, s.broken(err)
	}
	return s, nil
}

func (s *spooled) broken(err error) error {
	_ = s.Close()
	return err
}

// add writes what follows the object, and takes the digest of all of it.
func (s *spooled) add(tail []byte) error {
	if _, err := s.WriteAt(tail, s.size); err != nil {
		return fmt.Errorf("couldn't write a temporary file (TMPDIR names their directory): %w", err)
	}
	s.size += int64(len(tail))
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(s, 0, s.size)); err != nil {
		return fmt.Errorf("couldn't read a temporary file: %w", err)
	}
	s.sha256 = hex.EncodeToString(h.Sum(nil))
	return nil
}
