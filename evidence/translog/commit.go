package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A place in the log belongs to whoever stores the batch that begins there: the store gives the name to one. From then on everything about the batch is
// determined: its entries, the tiles, the root and (Ed25519) the signature. So whoever comes next finishes what another one left: nothing is lost by a
// crash, and no order is changed by a race. The key signs nothing that is not stored already.

// tip is a log's end: its checkpoint with the tag that changes with it, and the entries since the last full bundle, or of the one that has just become
// full. It isn't changed once it is made.
type tip struct {
	Checkpoint
	tag  string
	tail [][]byte
}

// partial are the entries of the bundle that isn't full yet.
func (t *tip) partial() [][]byte {
	if t.N%bundleWidth == 0 {
		return nil
	}
	return t.tail
}

// maxAttempts bounds the places that one batch tries to get. Each that it does not get, another process has.
const maxAttempts = 200

// load reads the log's end from the store.
func (l *Log) load(ctx context.Context) (*tip, error) {
	text, tag, err := l.store.Current(ctx, checkpointName, maxCheckpoint)
	if errors.Is(err, ErrGone) {
		return &tip{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read the log's checkpoint: %w", err)
	}
	head, err := ParseCheckpoint(string(text), l.key)
	if err != nil {
		return nil, err
	}
	t := &tip{Checkpoint: head, tag: tag}
	l.size.Store(head.N)
	if first := head.N / bundleWidth * bundleWidth; first < head.N {
		err = l.reader().each(ctx, head.Tree, first, func(_ int64, raw []byte) error {
			t.tail = append(t.tail, raw)
			return nil
		})
	}
	return t, err
}

// commit puts entries into the log. It settles those that it got there, and returns the others with the reason.
func (l *Log) commit(ctx context.Context, waiting []*appending) ([]*appending, error) {
	for range maxAttempts {
		t := l.known
		if t == nil {
			var err error
			if t, err = l.load(ctx); err != nil {
				return waiting, err
			}
		}
		l.known = nil // until it is certain again
		l.tiles.keep(t.N-int64(len(t.tail)), t.tail)
		hashes := remembered(l.reader().hashes(ctx, t.Tree))
		left, err := l.settle(ctx, t, hashes, waiting)
		if err != nil {
			return left, err
		}
		if waiting = left; len(waiting) == 0 {
			l.known = t
			return nil, nil
		}
		next, err := l.extend(ctx, t, hashes, distinct(waiting, room(t.N)))
		if err != nil {
			return waiting, err
		}
		l.known = next // nil, where another process went on
	}
	return waiting, fmt.Errorf("couldn't get a place in the log in %d attempts: too many append at once", maxAttempts)
}

// settle proves the entries that are in the log already, and returns those that are not.
func (l *Log) settle(ctx context.Context, t *tip, hashes tlog.HashReader, waiting []*appending) (left []*appending, err error) {
	for i, a := range waiting {
		at, err := l.find(ctx, t, a.claim)
		if err != nil {
			return append(left, waiting[i:]...), err
		}
		if at < 0 {
			a.From = t.N
			left = append(left, a)
			continue
		}
		proven, err := tlog.ProveRecord(t.N, at, hashes)
		if err != nil {
			return append(left, waiting[i:]...), fmt.Errorf("couldn't prove that the entry is in the log: %w", err)
		}
		a.settle(Proof{a.Entry, at, proven, t.Text}, nil)
	}
	return left, nil
}

// extend makes the log longer: by these entries, or by those that another process has put into this place. It returns the log's new end, and nil where
// that has to be read, because another process went on from here.
func (l *Log) extend(ctx context.Context, t *tip, hashes tlog.HashReader, entries [][]byte) (*tip, error) {
	entries, err := l.place(ctx, t, entries)
	if entries == nil || err != nil {
		return nil, err
	}
	tree, both, err := grow(t.Tree, entries, hashes)
	if err != nil {
		return nil, fmt.Errorf("couldn't extend the log: %w", err)
	}
	next := &tip{tail: slices.Concat(t.partial(), entries)}
	if tree.N%bundleWidth == 0 {
		if err := l.fill(ctx, tree, both, next.tail); err != nil {
			return nil, err
		}
	}
	signed, err := note.Sign(&note.Note{Text: checkpointText(l.key.Name(), tree)}, signer{l.key, ctx})
	if err != nil {
		return nil, fmt.Errorf("couldn't sign the log's checkpoint: %w", err)
	}
	if next.Checkpoint, err = ParseCheckpoint(string(signed), l.key); err != nil {
		return nil, fmt.Errorf("couldn't use the signature of the log's key: %w", err)
	}
	next.tag, err = l.store.Swap(ctx, checkpointName, signed, t.tag)
	if errors.Is(err, ErrExists) {
		return nil, nil // another process has finished this place meanwhile, and perhaps gone on
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't store the log's checkpoint: %w", err)
	}
	l.size.Store(next.N)
	return next, nil
}

// place stores the batch that begins at the log's end. Where another one is there, it waits a little, because whoever stored that is probably still at work,
// and returns its entries: none, if the log has gone on by then.
func (l *Log) place(ctx context.Context, t *tip, entries [][]byte) ([][]byte, error) {
	name := batchName(t.N)
	err := l.store.Add(ctx, name, packEntries(entries))
	if err == nil {
		return entries, nil
	}
	if !errors.Is(err, ErrExists) {
		return nil, fmt.Errorf("couldn't extend the log: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(5+rand.IntN(20)) * time.Millisecond):
	}
	text, tag, err := l.store.Current(ctx, checkpointName, maxCheckpoint)
	if errors.Is(err, ErrGone) {
		text, tag, err = nil, "", nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read the log's checkpoint: %w", err)
	}
	if tag != t.tag || string(text) != t.Text {
		return nil, nil
	}
	raw, err := l.store.Get(ctx, name, maxBundle)
	if err == nil {
		entries, err = unpackBatch(raw, room(t.N))
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't extend the log: %s: %w", name, err)
	}
	for _, raw := range entries {
		if e, fault := ParseEntry(raw); fault != nil || Origin(e.Tenant) != l.key.Name() {
			return nil, errors.Join(fmt.Errorf("couldn't extend the log: %s has what is no entry of this log", name), fault)
		}
	}
	return entries, nil
}

// fill stores the tiles of a tree whose last entry bundle has just become full.
func (l *Log) fill(ctx context.Context, tree tlog.Tree, hashes tlog.HashReader, bundle [][]byte) error {
	bodies := map[string][]byte{tileName(entryTile(tree.N)): packEntries(bundle)}
	for _, t := range tlog.NewTiles(height, tree.N-bundleWidth, tree.N) {
		body, err := tlog.ReadTileData(t, hashes)
		if err != nil {
			return fmt.Errorf("couldn't make %s: %w", tileName(t), err)
		}
		bodies[tileName(t)] = body
	}
	for name, body := range bodies {
		err := l.store.Add(ctx, name, body)
		if errors.Is(err, ErrExists) {
			var there []byte
			if there, err = l.store.Get(ctx, name, maxBundle); err == nil && !bytes.Equal(there, body) {
				err = errors.New("something else is stored in its place")
			}
		}
		if err != nil {
			return fmt.Errorf("couldn't store %s: %w", name, err)
		}
	}
	return nil
}

// grow adds entries to a tree, and returns the tree with its hashes.
func grow(old tlog.Tree, entries [][]byte, hashes tlog.HashReader) (tlog.Tree, tlog.HashReader, error) {
	base := tlog.StoredHashCount(old.N)
	var added []tlog.Hash
	both := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out, asked := make([]tlog.Hash, len(indexes)), []int64(nil)
		for _, i := range indexes {
			if i < base {
				asked = append(asked, i)
			}
		}
		found, err := hashes.ReadHashes(asked)
		if err != nil {
			return nil, err
		}
		for place, i := range indexes {
			if i >= base {
				out[place] = added[i-base]
			} else {
				out[place], found = found[0], found[1:]
			}
		}
		return out, nil
	})
	tree := tlog.Tree{N: old.N}
	for _, e := range entries {
		hashes, err := tlog.StoredHashes(tree.N, e, both)
		if err != nil {
			return tree, nil, err
		}
		added = append(added, hashes...)
		tree.N++
	}
	var err error
	tree.Hash, err = tlog.TreeHash(tree.N, both)
	return tree, both, err
}

// remembered reads each hash of a tree once.
func remembered(hashes tlog.HashReader) tlog.HashReader {
	read := map[int64]tlog.Hash{}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var missing []int64
		for _, i := range indexes {
			if _, there := read[i]; !there {
				missing = append(missing, i)
			}
		}
		if len(missing) > 0 {
			found, err := hashes.ReadHashes(missing)
			if err != nil {
				return nil, err
			}
			for n, i := range missing {
				read[i] = found[n]
			}
		}
		out := make([]tlog.Hash, len(indexes))
		for n, i := range indexes {
			out[n] = read[i]
		}
		return out, nil
	})
}

// signer signs by the log's key, as long as the context holds.
type signer struct {
	Key
	ctx context.Context
}

// Sign signs a checkpoint's text.
func (s signer) Sign(text []byte) ([]byte, error) { return s.Key.Sign(s.ctx, text) }
