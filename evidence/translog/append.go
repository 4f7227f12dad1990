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

	"github.com/countersign-dev/countersign"
)

// ErrExists says that somebody stored the object first, or changed it meanwhile.
var ErrExists = errors.New("the object exists already, or has changed")

// Store keeps a log. Everything in it but the checkpoint is written once.
type Store interface {
	Source
	// Add stores an object if none has its name, and else returns ErrExists.
	Add(ctx context.Context, name string, body []byte) error
	// Current reads the newest version of an object, with a tag that changes with it. Where there is none, the error is ErrGone.
	Current(ctx context.Context, name string, limit int64) (body []byte, tag string, err error)
	// Swap replaces the object that has the tag, or stores the first one where tag is empty. If it has changed, the error is ErrExists.
	Swap(ctx context.Context, name string, body []byte, tag string) error
}

// Log appends to a tenant's log. Several processes may, at once.
//
// A place in the log belongs to whoever stores the entry bundle that ends there: the store gives it to one. From then on everything about that place is
// determined, the tiles, the root and (Ed25519) the signature, so whoever comes next finishes what another one left: nothing is lost by a
// crash, and no order is changed by a race.
type Log struct {
	Store    Store
	Signer   note.Signer
	Verifier note.Verifier
}

// claim is stored before an entry is first tried: it fixes the entry's bytes, and that no place before From has it.
type claim struct {
	From  int64  `json:"from"`
	Entry string `json:"entry"`
}

// maxAttempts bounds the places that one call tries to get. Each that it does not get, another entry has.
const maxAttempts = 200

// claimName is where the claim of a step lies. A request is intended once and ends once.
func claimName(e Entry) string {
	step := Intended
	if e.Ended() {
		step = "ended"
	}
	return "claims/" + e.Request + "." + step + ".json"
}

// Append puts an entry into the log, once, however often and from wherever it is asked: where the same step is there already, the proof is of that
// one. It refuses an entry that contradicts what the log says of the step.
func (l Log) Append(ctx context.Context, e Entry) (Proof, error) {
	if err := e.check(); err != nil {
		return Proof{}, err
	}
	l.Store = remembering{l.Store, map[string][]byte{}}
	head, tag, err := l.head(ctx)
	if err != nil {
		return Proof{}, err
	}
	mine, err := l.claim(ctx, e, head.N)
	if err != nil {
		return Proof{}, err
	}
	for range maxAttempts {
		at, err := l.find(ctx, head.Tree, mine)
		if err != nil {
			return Proof{}, err
		}
		if at >= 0 {
			return prove(head, at, mine.Entry, l.reader().hashes(ctx, head.Tree))
		}
		mine.From = head.N
		proof, done, err := l.extend(ctx, head, tag, []byte(mine.Entry))
		if done || err != nil {
			return proof, err
		}
		if head, tag, err = l.head(ctx); err != nil {
			return Proof{}, err
		}
	}
	return Proof{}, fmt.Errorf("couldn't get a place in the log in %d attempts: too many append at once", maxAttempts)
}

func (l Log) reader() Reader { return Reader{l.Store, l.Verifier} }

// head is the current checkpoint with its tag; without one the log is empty.
func (l Log) head(ctx context.Context) (Checkpoint, string, error) {
	text, tag, err := l.Store.Current(ctx, checkpointName, maxCheckpoint)
	if errors.Is(err, ErrGone) {
		return Checkpoint{}, "", nil
	}
	if err != nil {
		return Checkpoint{}, "", fmt.Errorf("couldn't read the log's checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(string(text), l.Verifier)
	return c, tag, err
}

func (l Log) claim(ctx context.Context, e Entry, size int64) (claim, error) {
	entry, err := countersign.Canonical(e)
	if err != nil {
		return claim{}, err
	}
	if len(entry) > maxEntry {
		return claim{}, fmt.Errorf("couldn't log the entry: it has %d bytes, at most %d", len(entry), maxEntry)
	}
	mine := claim{size, string(entry)}
	body, err := countersign.Canonical(mine)
	if err != nil {
		return claim{}, err
	}
	switch err := l.Store.Add(ctx, claimName(e), body); {
	case err == nil:
		return mine, nil
	case !errors.Is(err, ErrExists):
		return claim{}, fmt.Errorf("couldn't store the claim of the entry: %w", err)
	}
	if body, err = l.Store.Get(ctx, claimName(e), 2*maxEntry); err != nil {
		return claim{}, fmt.Errorf("couldn't read the claim of the entry: %w", err)
	}
	if err := countersign.ParseStrict(body, &mine); err != nil {
		return claim{}, fmt.Errorf("couldn't read the claim of the entry: %w", err)
	}
	there, err := ParseEntry([]byte(mine.Entry))
	if err != nil || !there.Same(e) {
		return claim{}, errors.Join(ErrContradicts, err)
	}
	return mine, nil
}

// ErrContradicts says that the log has another entry for the same step of the same request.
var ErrContradicts = errors.New("the log says something else of this step already")

// find looks for the entry from its claim's place on. It returns -1 where the log doesn't have it.
func (l Log) find(ctx context.Context, tree tlog.Tree, mine claim) (int64, error) {
	at := int64(-1)
	err := l.reader().each(ctx, tree, mine.From, func(i int64, raw []byte) error {
		if at < 0 && string(raw) == mine.Entry {
			at = i
		}
		return nil
	})
	return at, err
}

// extend makes the log longer by one: by the entry, or by the one that another process has put into this place. Where it is done, the entry is in the log,
// with this proof; else another entry has the place, or another process has gone on from here.
func (l Log) extend(ctx context.Context, head Checkpoint, tag string, entry []byte) (proof Proof, done bool, err error) {
	var entries [][]byte
	if head.N%bundleWidth != 0 {
		first := head.N / bundleWidth * bundleWidth
		if err := l.reader().each(ctx, head.Tree, first, func(_ int64, raw []byte) error { entries = append(entries, raw); return nil }); err != nil {
			return proof, false, err
		}
	}
	entry, won, err := l.place(ctx, head.N, entries, entry)
	if err != nil {
		return proof, false, err
	}
	if !won {
		if now, _, err := l.head(ctx); err != nil || now.N > head.N {
			return proof, false, err // whoever has the place was still at work
		}
	}
	next, hashes, err := l.tiles(ctx, head.Tree, tlog.RecordHash(entry))
	if err != nil {
		return proof, false, err
	}
	signed, err := note.Sign(&note.Note{Text: checkpointText(l.Verifier.Name(), next)}, l.Signer)
	if err != nil {
		return proof, false, fmt.Errorf("couldn't sign the log's checkpoint: %w", err)
	}
	now, err := ParseCheckpoint(string(signed), l.Verifier)
	if err != nil {
		return proof, false, fmt.Errorf("couldn't use the signature of the log's key: %w", err)
	}
	switch err := l.Store.Swap(ctx, checkpointName, signed, tag); {
	case errors.Is(err, ErrExists):
		return proof, false, nil // somebody else has finished this place meanwhile, and perhaps gone on
	case err != nil:
		return proof, false, fmt.Errorf("couldn't store the log's checkpoint: %w", err)
	case !won:
		return proof, false, nil
	}
	proof, err = prove(now, head.N, string(entry), hashes)
	return proof, err == nil, err
}

// place stores the entry bundle that ends at a place with the entry. Where another one is there, it waits a little, because whoever stored that is probably
// still at work, and returns that entry.
func (l Log) place(ctx context.Context, at int64, before [][]byte, entry []byte) (placed []byte, won bool, err error) {
	name := tileName(entryTile(at + 1))
	err = l.Store.Add(ctx, name, packEntries(slices.Concat(before, [][]byte{entry})))
	if err == nil {
		return entry, true, nil
	}
	if !errors.Is(err, ErrExists) {
		return nil, false, fmt.Errorf("couldn't extend the log: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-time.After(time.Duration(5+rand.IntN(20)) * time.Millisecond):
	}
	there, err := l.reader().bundle(ctx, at+1)
	if err != nil {
		return nil, false, fmt.Errorf("couldn't extend the log: %w", err)
	}
	for i := range before {
		if !bytes.Equal(there[i], before[i]) {
			return nil, false, fmt.Errorf("couldn't extend the log: %s has another entry %d than the bundle before it", name, at-int64(len(before)-i))
		}
	}
	placed = there[len(before)]
	if e, fault := ParseEntry(placed); fault != nil || Origin(e.Tenant) != l.Verifier.Name() {
		return nil, false, errors.Join(fmt.Errorf("couldn't extend the log: %s ends with what is no entry of this log", name), fault)
	}
	return placed, false, nil
}

// tiles stores the tiles of the tree with one entry more, and returns that tree with its hashes.
func (l Log) tiles(ctx context.Context, old tlog.Tree, record tlog.Hash) (tlog.Tree, tlog.HashReader, error) {
	next := tlog.Tree{N: old.N + 1}
	stored := l.reader().hashes(ctx, old)
	added, err := tlog.StoredHashesForRecordHash(old.N, record, stored)
	if err != nil {
		return next, nil, fmt.Errorf("couldn't extend the log: %w", err)
	}
	base := tlog.StoredHashCount(old.N)
	both := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out, asked := make([]tlog.Hash, len(indexes)), []int64(nil)
		for _, i := range indexes {
			if i < base {
				asked = append(asked, i)
			}
		}
		found, err := stored.ReadHashes(asked)
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
	for _, t := range tlog.NewTiles(height, old.N, next.N) {
		body, err := tlog.ReadTileData(t, both)
		if err != nil {
			return next, nil, fmt.Errorf("couldn't make %s: %w", tileName(t), err)
		}
		err = l.Store.Add(ctx, tileName(t), body)
		if errors.Is(err, ErrExists) {
			var there []byte
			if there, err = l.Store.Get(ctx, tileName(t), bundleWidth*tlog.HashSize); err == nil && !bytes.Equal(there, body) {
				err = errors.New("other hashes are stored in its place")
			}
		}
		if err != nil {
			return next, nil, fmt.Errorf("couldn't store %s: %w", tileName(t), err)
		}
	}
	next.Hash, err = tlog.TreeHash(next.N, both)
	return next, both, err
}

func prove(head Checkpoint, at int64, entry string, stored tlog.HashReader) (Proof, error) {
	hashes, err := tlog.ProveRecord(head.N, at, stored)
	if err != nil {
		return Proof{}, fmt.Errorf("couldn't prove that the entry is in the log: %w", err)
	}
	return Proof{entry, at, hashes, head.Text}, nil
}

// remembering is a store that reads each tile and entry bundle once: they never change. It serves one call.
type remembering struct {
	Store
	read map[string][]byte
}

// Get reads an object, or what was read of it before.
func (r remembering) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if body, there := r.read[name]; there {
		return body, nil
	}
	body, err := r.Store.Get(ctx, name, limit)
	if err == nil {
		r.read[name] = body
	}
	return body, err
}

// Add stores an object once.
func (r remembering) Add(ctx context.Context, name string, body []byte) error {
	err := r.Store.Add(ctx, name, body)
	if err == nil {
		r.read[name] = body
	}
	return err
}
