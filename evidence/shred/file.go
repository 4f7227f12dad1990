package shred

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/countersign-dev/countersign"
)

const (
	// MediaType is the media type of a concealed bundle as it is locked.
	MediaType = "application/vnd.countersign.concealed"
	// FileMediaType is the media type of a shredded file.
	FileMediaType = "application/vnd.countersign.shredded"
	// FileSuffix ends the name of a shredded file.
	FileSuffix = ".shredded"
	// FileMagic begins a shredded file.
	FileMagic = "countersign shredded bundle v1\n"

	// maxKeys bounds the keys in a shredded file, in bytes: an id of 32 and a key of 64 characters each.
	maxKeys = 128 * MaxSubjects
)

// WriteFile writes a shredded file: a concealed bundle as it is stored, after the keys for it that are left. It is what goes out where some of a bundle was
// shredded, and all that it takes to check the rest.
func WriteFile(w io.Writer, stored *Concealed, keys Keys) error {
	if keys == nil {
		keys = Keys{}
	}
	text, err := countersign.Canonical(keys)
	if err != nil {
		return fmt.Errorf("couldn't write the shredded file: %w", err)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32([]byte(FileMagic), uint32(len(text))), text...)); err != nil {
		return err
	}
	_, err = w.Write(stored.raw)
	return err
}

// IsFile says whether bytes are a shredded file.
func IsFile(raw []byte) bool { return bytes.HasPrefix(raw, []byte(FileMagic)) }

// ReadFile reads a shredded file, and refuses keys of people of whom the bundle says nothing.
func ReadFile(raw []byte) (*Concealed, Keys, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(FileMagic))
	if !ok || len(rest) < 4 {
		return nil, nil, errors.New("couldn't read the shredded file: it doesn't begin as one")
	}
	size := binary.BigEndian.Uint32(rest)
	if rest = rest[4:]; size > maxKeys || int(size) > len(rest) {
		return nil, nil, errors.New("couldn't read the shredded file: its keys are cut")
	}
	keys := Keys{}
	if err := countersign.ParseStrict(rest[:size], &keys); err != nil {
		return nil, nil, fmt.Errorf("couldn't read the keys of the shredded file: %w", err)
	}
	c, err := Read(rest[size:])
	if err != nil {
		return nil, nil, err
	}
	known := map[string]bool{}
	for _, id := range c.header.Subjects {
		known[id] = true
	}
	for id := range keys {
		if !known[id] {
			return nil, nil, errors.New("couldn't read the shredded file: it has a key of somebody of whom the bundle says nothing")
		}
	}
	return c, keys, nil
}
