package translog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

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
	// Swap replaces the object that has the tag, or stores the first one where tag is empty, and returns the tag of what it stored. If the object has
	// changed, the error is ErrExists.
	Swap(ctx context.Context, name string, body []byte, tag string) (string, error)
}

// Key is the log's key. It signs a checkpoint's text as it is.
type Key interface {
	note.Verifier
	Sign(ctx context.Context, text []byte) ([]byte, error)
}

// Log appends to a tenant's log. It is safe for concurrent use, and a process needs one for a tenant: what waits at the same time goes into
// the log together, under one checkpoint. Several processes may append to one log.
type Log struct {
	store Store
	key   Key
	tiles *stored // of the store, with what was read of it

	// known is the log as this process last left it; nil where that is not certain. It may be out of date: whoever takes a place finds out. Only
	// the goroutine that works touches it.
	known *tip
	// size is one that the log once had; 0 until it was read.
	size atomic.Int64

	mu      sync.Mutex
	waiting []*appending
	working bool
}

// NewLog makes a log of its store and key. It reaches neither.
func NewLog(store Store, key Key) *Log {
	return &Log{store: store, key: key, tiles: Stored(store).(*stored)}
}

// appending is an entry that waits for its place, and who waits for it.
type appending struct {
	claim
	done chan struct{} // closed once proof or err is there
	proof
}

type proof struct {
	Proof
	err error
}

func (a *appending) settle(p Proof, err error) {
	a.proof = proof{p, err}
	close(a.done)
}

// ErrContradicts says that the log has another entry for the same step of the same request, or lacks the one that this one follows.
var ErrContradicts = errors.New("the log says something else of this request")

// maxCommit bounds how long one batch is worked on.
const maxCommit = 90 * time.Second

// Append puts an entry into the log, once, however often and from wherever it is asked: where the same step is there already, the proof is of that
// one. It refuses an entry that contradicts what the log says of the step, and one that follows what the log doesn't have. If the context ends
// first, the entry may still get its place.
func (l *Log) Append(ctx context.Context, e Entry) (Proof, error) {
	if err := e.check(); err != nil {
		return Proof{}, err
	}
	if err := l.follows(ctx, e); err != nil {
		return Proof{}, err
	}
	mine, err := l.claim(ctx, e)
	if err != nil {
		return Proof{}, err
	}
	a := &appending{claim: mine, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, a)
	if !l.working {
		l.working = true
		go l.work()
	}
	l.mu.Unlock()
	select {
	case <-a.done:
		return a.Proof, a.err
	case <-ctx.Done():
		return Proof{}, ctx.Err()
	}
}

// work puts what waits into the log, batch by batch, until nothing waits. One goroutine of a log does.
func (l *Log) work() {
	for {
		l.mu.Lock()
		batch := l.waiting
		l.waiting = nil
		if len(batch) == 0 {
			l.working = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		// Whoever asked first must not take the others along when it gives up.
		ctx, cancel := context.WithTimeout(context.Background(), maxCommit)
		left, err := l.commit(ctx, batch)
		cancel()
		for _, a := range left {
			a.settle(Proof{}, err)
		}
	}
}

// claim is stored before an entry is first tried: it fixes the entry's bytes, and that no place before From has it.
type claim struct {
	From  int64  `json:"from"`
	Entry string `json:"entry"`
}

func claimName(request, step string) string { return "claims/" + request + "/" + step + ".json" }

func (l *Log) claim(ctx context.Context, e Entry) (claim, error) {
	entry, err := countersign.Canonical(e)
	if err != nil {
		return claim{}, err
	}
	if len(entry) > maxEntry {
		return claim{}, fmt.Errorf("couldn't log the entry: it has %d bytes, at most %d", len(entry), maxEntry)
	}
	// The log only grows, so any size that it had is one before which the entry can't be.
	if l.size.Load() == 0 {
		if _, err := l.load(ctx); err != nil {
			return claim{}, err
		}
	}
	mine := claim{l.size.Load(), string(entry)}
	body, err := countersign.Canonical(mine)
	if err != nil {
		return claim{}, err
	}
	switch err := l.store.Add(ctx, claimName(e.Request, e.step()), body); {
	case err == nil:
		return mine, nil
	case !errors.Is(err, ErrExists):
		return claim{}, fmt.Errorf("couldn't store the claim of the entry: %w", err)
	}
	mine, there, err := l.claimed(ctx, e.Request, e.step())
	if err == nil && !there.Same(e) {
		err = ErrContradicts
	}
	return mine, err
}

// claimed reads the claim of a step.
func (l *Log) claimed(ctx context.Context, request, step string) (c claim, e Entry, err error) {
	body, err := l.store.Get(ctx, claimName(request, step), 2*maxEntry)
	if err == nil {
		err = countersign.ParseStrict(body, &c)
	}
	if err == nil {
		e, err = ParseEntry([]byte(c.Entry))
	}
	if err == nil && c.From < 0 {
		err = errors.New("it is from before the log")
	}
	if err != nil {
		return c, e, fmt.Errorf("couldn't read the claim of the entry: %w", err)
	}
	return c, e, nil
}

// follows puts what the entry follows into the log before it: a hold stands on an ending, and its end on the hold.
func (l *Log) follows(ctx context.Context, e Entry) error {
	step := e.before()
	if step == "" {
		return nil
	}
	_, before, err := l.claimed(ctx, e.Request, step)
	if errors.Is(err, ErrGone) {
		return fmt.Errorf("%w: an entry that is %s follows one that isn't there", ErrContradicts, e.Kind)
	}
	if err == nil && *before.Bundle != *e.Bundle {
		err = fmt.Errorf("%w: the entry that it follows names another bundle", ErrContradicts)
	}
	if err == nil {
		_, err = l.Append(ctx, before)
	}
	return err
}

// find looks for an entry from its claim's place on. It returns -1 where the log doesn't have it.
func (l *Log) find(ctx context.Context, t *tip, c claim) (int64, error) {
	if first := t.N - int64(len(t.tail)); c.From >= first {
		for i := max(c.From, first); i < t.N; i++ {
			if string(t.tail[i-first]) == c.Entry {
				return i, nil
			}
		}
		return -1, nil
	}
	at := int64(-1)
	found := errors.New("found")
	err := l.reader().each(ctx, t.Tree, c.From, func(i int64, raw []byte) error {
		if string(raw) == c.Entry {
			at = i
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		err = nil
	}
	return at, err
}

func (l *Log) reader() Reader { return Reader{l.tiles, l.key} }

// room is how many entries the next batch may have: none reaches over the end of a full entry bundle.
func room(size int64) int { return int(bundleWidth - size%bundleWidth) }

// distinct are the entries of what waits, each once, as many as have room.
func distinct(waiting []*appending, room int) (entries [][]byte) {
	for _, a := range waiting {
		if len(entries) < room && !slices.ContainsFunc(entries, func(e []byte) bool { return string(e) == a.Entry }) {
			entries = append(entries, []byte(a.Entry))
		}
	}
	return entries
}
