package activities

import (
	"context"
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
	in, _, err := openObject(ctx, c, tenant, o, limit)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	s, err := Spool(func(w io.Writer) error {
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

// storeSpooled is storeFirst for what is in a temporary file.
func (t *Tenant) storeSpooled(ctx context.Context, bucket, key, mediaType string, s *Spooled, lock func(*s3.PutObjectInput)) (countersign.Object, error) {
	return storeFirst(ctx, t.s3, t.settings.Tenant, bucket, key, mediaType, s.Body(), s.SHA256, lock)
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

// Spool keeps what a function writes in a temporary file.
func Spool(write func(io.Writer) error) (*Spooled, error) {
	file, err := spool.Keep(write)
	if err != nil {
		return nil, err
	}
	return opened(file)
}

// opened takes a file over.
func opened(file *spool.File) (*Spooled, error) {
	raw, err := file.Bytes()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Spooled{file, raw, countersign.SHA256(raw)}, nil
}

// Body is the object as what is sent to a store. It is the file and no slice of Raw, so that a client that reads on after it was cancelled gets an error.
func (s *Spooled) Body() io.ReadSeeker { return io.NewSectionReader(s, 0, s.Size()) }

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
