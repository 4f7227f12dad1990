// Package spool keeps documents and bundles off the heap: in temporary files that have no name, mapped into memory to be read.
//
// A document has up to 256 MiB, a bundle holds it, and a worker has several at once: on the heap, four of them end a process that is given a gigabyte.
// What is mapped lies in the system's page cache, which takes the memory back when it needs it.
//
// Files are made in the directory that TMPDIR names, readable by their owner alone, and lose their name before the first byte is written: when a process
// ends, however it ends, the system frees them, so that no document is left behind and nothing has to be cleaned up after a crash. That directory
// must be on a disk: where it is in memory (tmpfs), so is what is spooled. Whoever may read that disk's blocks can read what was on it: give it the
// encryption that documents need.
package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// File is a temporary file. One goroutine at a time writes it; whoever makes one closes it.
type File struct {
	file   *os.File
	size   int64
	mapped []byte
	closed bool
}

// New makes an empty file.
func New() (*File, error) {
	file, err := os.CreateTemp("", "countersign-")
	if err != nil {
		return nil, fmt.Errorf("couldn't make a temporary file for a document (TMPDIR names their directory): %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("couldn't take the name from a temporary file: %w", err)
	}
	return &File{file: file}, nil
}

// Keep makes a file of what a function writes.
func Keep(write func(io.Writer) error) (*File, error) {
	f, err := New()
	if err != nil {
		return nil, err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.WriteAt(p, f.size)
	f.size += int64(n)
	if err != nil {
		err = fmt.Errorf("couldn't write a temporary file (TMPDIR names their directory): %w", err)
	}
	return n, err
}

// ReadAt reads from a place in the file. Of a file that is closed, also while it reads, it has an error: what may go on after its caller gave it up, as
// the body of a request that was answered early, reads a file so and never by Bytes.
func (f *File) ReadAt(p []byte, at int64) (int, error) { return f.file.ReadAt(p, at) }

// Size is how many bytes were written.
func (f *File) Size() int64 { return f.size }

// Bytes are the file's bytes. They must not be changed, and neither they nor a slice of them may be touched after Close, or after Bytes was asked again
// for what Write appended: that ends the process. If the disk can't give them back any more, touching them does so too.
func (f *File) Bytes() ([]byte, error) {
	if int64(len(f.mapped)) == f.size {
		return f.mapped, nil
	}
	if f.size > math.MaxInt {
		return nil, errors.New("couldn't map a temporary file: it is larger than this machine can address")
	}
	if err := f.unmap(); err != nil {
		return nil, err
	}
	mapped, err := mapFile(f.file, int(f.size))
	if err != nil {
		return nil, fmt.Errorf("couldn't map a temporary file of %d bytes: %w", f.size, err)
	}
	f.mapped = mapped
	return mapped, nil
}

// Close lets go of the file and its bytes. A second Close does nothing.
func (f *File) Close() error {
	if f == nil || f.closed {
		return nil
	}
	f.closed = true
	return errors.Join(f.unmap(), f.file.Close())
}

func (f *File) unmap() error {
	if f.mapped == nil {
		return nil
	}
	mapped := f.mapped
	f.mapped = nil
	if err := unmapFile(mapped); err != nil {
		return fmt.Errorf("couldn't let go of a temporary file: %w", err)
	}
	return nil
}
