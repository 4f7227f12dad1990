package main

import (
	"io"
	"os"

	"github.com/countersign-dev/countersign/evidence/spool"
)

// largeFile is the size from which on a file is not read onto the heap.
const largeFile = 16 << 20

// evidenceFile reads a bundle that is to be verified, until the returned function is called. A large one is copied into a temporary file without a name, which is mapped: where
// that can't be done, for want of room or of such files, it is read as any other. The file itself is never mapped: somebody could change it between the digest and
// the checks, or cut it off, which ends the process.
func evidenceFile(name string, limit int64) (raw []byte, done func() error, err error) {
	if file := ownCopy(name, limit); file != nil {
		if raw, err := file.Bytes(); err == nil {
			return raw, file.Close, nil
		}
		_ = file.Close()
	}
	raw, err = readBounded(name, limit)
	return raw, func() error { return nil }, err
}

// ownCopy is a copy of a large regular file; nil where there is none.
func ownCopy(name string, limit int64) *spool.File {
	info, err := os.Stat(name) // before it is opened: a pipe can be read once
	if err != nil || !info.Mode().IsRegular() || info.Size() < largeFile || info.Size() > limit {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	file, err := spool.Keep(func(to io.Writer) error {
		n, err := io.Copy(to, io.LimitReader(f, limit+1))
		if err == nil && n > limit {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return nil
	}
	return file
}
