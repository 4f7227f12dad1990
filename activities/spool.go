package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/spool"
)

// Spooled is an object in a temporary file without a name, or what was made of one: documents and bundles have hundreds of megabytes, and a process has
// many at once. Whoever gets one closes it.
type Spooled struct {
	*spool.File
	Raw    []byte // until Close; not to be changed
	SHA256 string
}

// SpoolObject reads one version of one object of a tenant into a temporary file, with ReadObject's checks.
func SpoolObject(ctx context.Context, c *s3.Client, tenant string, o countersign.Object, limit int64) (*Spooled, error) {
	in, err := openObject(ctx, c, tenant, o, limit)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	s, err := spooled(func(w io.Writer) error {
		if _, err := io.Copy(w, io.LimitReader(in, limit+1)); err != nil {
			return fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := isObject(o, s.Size(), limit, s.SHA256); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (t *Tenant) spool(ctx context.Context, o countersign.Object, limit int64) (*Spooled, error) {
	return SpoolObject(ctx, t.s3, t.settings.Tenant, o, limit)
}

// currentSpooled is current for what may be large.
func (t *Tenant) currentSpooled(ctx context.Context, bucket, key string, limit int64) (countersign.Object, *Spooled, error) {
	o, err := t.newest(ctx, bucket, key)
	if err != nil {
		return o, nil, err
	}
	s, err := t.spool(ctx, o, limit)
	if err != nil {
		return o, nil, err
	}
	o.SHA256 = s.SHA256
	return o, s, nil
}

// spooled keeps what a function writes in a temporary file.
func spooled(write func(io.Writer) error) (*Spooled, error) {
	h := sha256.New()
	file, err := spool.Keep(func(w io.Writer) error { return write(io.MultiWriter(w, h)) })
	if err != nil {
		return nil, err
	}
	return opened(file, hex.EncodeToString(h.Sum(nil)))
}

func opened(file *spool.File, digest string) (*Spooled, error) {
	raw, err := file.Bytes()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Spooled{file, raw, digest}, nil
}

// add writes what follows the object, and takes the digest of all of it.
func (s *Spooled) add(tail []byte) (err error) {
	if _, err := s.Write(tail); err != nil {
		return err
	}
	if s.Raw, err = s.Bytes(); err != nil {
		return err
	}
	s.SHA256 = countersign.SHA256(s.Raw)
	return nil
}

// Close lets go of the file and its bytes.
func (s *Spooled) Close() error {
	if s == nil {
		return nil
	}
	s.Raw = nil
	return s.File.Close()
}
