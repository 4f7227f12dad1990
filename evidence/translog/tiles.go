package translog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// height is the height of a tile: 256 hashes (C2SP tlog-tiles).
const height = 8

const checkpointName = "checkpoint"

// tileName is a tile's name below the log: tile/<level>/<place>, and .p/<width> of a tile that is not full yet.
func tileName(t tlog.Tile) string {
	rest := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", height))
	if data, ok := strings.CutPrefix(rest, "data/"); ok {
		rest = "entries/" + data
	}
	return "tile/" + rest
}

// entryTile is the entry bundle that has the last of so many entries, as of then.
func entryTile(size int64) tlog.Tile {
	t := tlog.Tile{H: height, L: -1, N: (size - 1) / bundleWidth, W: int((size-1)%bundleWidth) + 1}
	return t
}

// ErrGone says that there is no such object.
var ErrGone = errors.New("there is no such object")

// Source is where a log lies: a store, or a copy of it, or a server.
type Source interface {
	// Get reads one object, of at most limit bytes. Where there is none, the error is ErrGone.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
}

// Reader reads a log that somebody else keeps, and believes nothing but the log's key. Its source has the files of C2SP tlog-tiles: a log
// as it lies in a store is read through Stored.
type Reader struct {
	Source   Source
	Verifier note.Verifier
}

// Head is the log's current checkpoint.
func (r Reader) Head(ctx context.Context) (Checkpoint, error) {
	text, err := r.Source.Get(ctx, checkpointName, maxCheckpoint)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("couldn't read the log's checkpoint: %w", err)
	}
	return ParseCheckpoint(string(text), r.Verifier)
}

// hashes reads hashes out of tiles. Each tile is checked against the checkpoint's root before it is believed.
func (r Reader) hashes(ctx context.Context, tree tlog.Tree) tlog.HashReader {
	if tree.N == 0 {
		return noHashes
	}
	return tlog.TileHashReader(tree, tileReader{ctx, r.Source})
}

var noHashes = tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
	if len(indexes) > 0 {
		return nil, errors.New("an empty log has no hashes")
	}
	return nil, nil
})

type tileReader struct {
	ctx    context.Context
	source Source
}

func (r tileReader) Height() int { return height }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		body, err := r.source.Get(r.ctx, tileName(t), bundleWidth*tlog.HashSize)
		if err != nil {
			return nil, fmt.Errorf("couldn't read %s: %w", tileName(t), err)
		}
		if len(body) != t.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes instead of %d", tileName(t), len(body), t.W*tlog.HashSize)
		}
		out[i] = body
	}
	return out, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// bundle reads the entry bundle that has the last of size entries.
func (r Reader) bundle(ctx context.Context, size int64) ([][]byte, error) {
	t := entryTile(size)
	raw, err := r.Source.Get(ctx, tileName(t), maxBundle)
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", tileName(t), err)
	}
	entries, err := unpackEntries(raw)
	if err == nil && len(entries) != t.W {
		err = fmt.Errorf("it has %d entries instead of %d", len(entries), t.W)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", tileName(t), err)
	}
	return entries, nil
}

// each reads the entries from one place on, up to the size of a tree, and checks each against the tree.
func (r Reader) each(ctx context.Context, tree tlog.Tree, from int64, f func(index int64, raw []byte) error) error {
	hashes := r.hashes(ctx, tree)
	for from < tree.N {
		end := min((from/bundleWidth+1)*bundleWidth, tree.N)
		entries, err := r.bundle(ctx, end)
		if err != nil {
			return err
		}
		first := from / bundleWidth * bundleWidth
		var indexes []int64
		for i := from; i < end; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		want, err := hashes.ReadHashes(indexes)
		if err != nil {
			return fmt.Errorf("couldn't read the log's tiles: %w", err)
		}
		for i := from; i < end; i++ {
			raw := entries[i-first]
			if tlog.RecordHash(raw) != want[i-from] {
				return fmt.Errorf("entry %d is not the one that the log's tree has there", i)
			}
			if err := f(i, raw); err != nil {
				return err
			}
		}
		from = end
	}
	return nil
}
