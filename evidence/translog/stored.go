package translog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// batchName is where the entries lie that were appended together from a place on.
func batchName(place int64) string { return fmt.Sprintf("batch/%d", place) }

// unpackBatch reads a batch that has at most so many entries, and at least one.
func unpackBatch(raw []byte, room int) ([][]byte, error) {
	entries, err := unpackEntries(raw)
	if err == nil && (len(entries) == 0 || len(entries) > room) {
		err = fmt.Errorf("the batch has %d entries; there is room for 1 to %d", len(entries), room)
	}
	return entries, err
}

// stored is a log as it lies in a store: entry bundles and tiles of the lowest level once they are full, and batches until then.
type stored struct {
	Source

	mu    sync.Mutex
	first int64             // place of the first entry in tail
	tail  [][]byte          // what batches had from there on
	read  map[string][]byte // other parts, which never change
}

// maxRemembered bounds how many parts are remembered. What one checkpoint needs are fewer.
const maxRemembered = 16

// Stored makes of a log as it lies in a store one that has all files of C2SP tlog-tiles: an entry bundle or a tile that isn't full yet is made of batches.
// It remembers what it read of the end, and is safe for concurrent use.
func Stored(s Source) Source { return &stored{Source: s, read: map[string][]byte{}} }

// Get reads a file.
func (s *stored) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == checkpointName {
		return s.Source.Get(ctx, name, limit)
	}
	t, ok := parseTileName(name)
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrGone)
	}
	if t.L > 0 || t.W == bundleWidth {
		return s.remember(ctx, name, limit)
	}
	entries, err := s.partial(ctx, t.N*bundleWidth, t.W)
	if errors.Is(err, ErrGone) {
		// A copy that was made by the files of tlog-tiles has no batches.
		if whole, other := s.Source.Get(ctx, name, limit); other == nil {
			return whole, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if t.L < 0 {
		return packEntries(entries), nil
	}
	var hashes []byte
	for _, e := range entries {
		h := tlog.RecordHash(e)
		hashes = append(hashes, h[:]...)
	}
	return hashes, nil
}

func (s *stored) remember(ctx context.Context, name string, limit int64) ([]byte, error) {
	s.mu.Lock()
	body, there := s.read[name]
	s.mu.Unlock()
	if there {
		return body, nil
	}
	body, err := s.Source.Get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.read) >= maxRemembered {
		clear(s.read)
	}
	s.read[name] = body
	return body, nil
}

// partial are the first entries of a bundle that begins at a place.
func (s *stored) partial(ctx context.Context, first int64, width int) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != first {
		s.first, s.tail = first, nil
	}
	for len(s.tail) < width {
		name := batchName(first + int64(len(s.tail)))
		raw, err := s.Source.Get(ctx, name, maxBundle)
		if err != nil {
			return nil, err
		}
		entries, err := unpackBatch(raw, bundleWidth-len(s.tail))
		if err != nil {
			return nil, fmt.Errorf("couldn't read %s: %w", name, err)
		}
		s.tail = append(s.tail, entries...)
	}
	return s.tail[:width:width], nil
}

// keep remembers entries that are in the log for certain.
func (s *stored) keep(first int64, tail [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.tail = first, tail[:len(tail):len(tail)]
}

// parseTileName reads the name of a tile or an entry bundle (C2SP tlog-tiles).
func parseTileName(name string) (tlog.Tile, bool) {
	rest, ok := strings.CutPrefix(name, "tile/")
	if !ok || strings.HasPrefix(rest, "data/") {
		return tlog.Tile{}, false
	}
	if entries, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + entries
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", height, rest))
	return t, err == nil && tileName(t) == name
}

// MaxFile bounds every file of a log, in bytes.
const MaxFile = maxBundle

// Covers reads the name of a tile or an entry bundle, and says whether it has entries, and how many entries a log must have to have this file. A name that is
// none is not ok.
func Covers(name string) (entries bool, size int64, ok bool) {
	t, ok := parseTileName(name)
	above := height * max(t.L, 0) // each hash of a tile stands for so many entries, as a power of two
	last := t.N*bundleWidth + int64(t.W)
	if !ok || t.N > maxSize/bundleWidth || above > 40 || last > maxSize>>above {
		return false, 0, false
	}
	return t.L < 0, last << above, true
}
