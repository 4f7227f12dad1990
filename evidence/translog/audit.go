package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Audit is what reading a whole log found.
type Audit struct {
	Checkpoint Checkpoint
	Entries    int64
	// Open are the entries that say that the key was about to be asked, and which no ending follows.
	Open []Entry
	// Endings are the entries that say how a signing ended, each with its bundle.
	Endings []Entry
	Newest  time.Time // of all entries' times, the latest
}

// Audit reads the whole log: every entry and every tile, against the root that the log's key signed. It refuses a log in which anything is missing,
// changed or in another place, or says two things of one step. Whether the checkpoint is the newest one it can't know: see Watch.
func (r Reader) Audit(ctx context.Context) (*Audit, error) {
	head, err := r.Head(ctx)
	if err != nil {
		return nil, err
	}
	a := &Audit{Checkpoint: head, Entries: head.N}
	tenant, err := TenantOf(r.Verifier.Name())
	if err != nil {
		return nil, err
	}
	said := saying{tenant: tenant, steps: map[string]Entry{}}
	var hashes []tlog.Hash
	stored := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = hashes[index]
		}
		return out, nil
	})
	err = r.each(ctx, head.Tree, 0, func(i int64, raw []byte) error {
		added, err := tlog.StoredHashes(i, raw, stored)
		if err != nil {
			return err
		}
		hashes = append(hashes, added...)
		if err := said.hear(raw); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if root, err := tlog.TreeHash(head.N, stored); err != nil || root != head.Hash {
		return nil, errors.Join(errors.New("the entries don't have the root that the checkpoint signs"), err)
	}
	for _, t := range tlog.NewTiles(height, 0, head.N) {
		want, err := tlog.ReadTileData(t, stored)
		if err != nil {
			return nil, err
		}
		if got, err := r.Source.Get(ctx, tileName(t), bundleWidth*tlog.HashSize); err != nil || !bytes.Equal(got, want) {
			return nil, errors.Join(fmt.Errorf("%s is not the tile of this tree", tileName(t)), err)
		}
	}
	a.Open, a.Endings, a.Newest = said.unfinished(), said.endings, said.newest
	return a, nil
}

// saying is what a log said so far of each step of each request.
type saying struct {
	tenant  string
	steps   map[string]Entry // by request and step
	intents []Entry
	endings []Entry
	newest  time.Time
}

// hear takes the next entry, and refuses one that contradicts those before.
func (s *saying) hear(raw []byte) error {
	e, err := ParseEntry(raw)
	if err != nil {
		return err
	}
	if e.Tenant != s.tenant {
		return fmt.Errorf("it is of tenant %q", e.Tenant)
	}
	place := func(step string) string { return e.Request + " " + step }
	if _, double := s.steps[place(e.step())]; double {
		return fmt.Errorf("it says once more how request %s was %s", e.Request, e.step())
	}
	if before := e.before(); before != "" {
		b, there := s.steps[place(before)]
		if !there || *b.Bundle != *e.Bundle {
			return fmt.Errorf("it says that request %s is %s, and nothing before it says that the same bundle was %s", e.Request, e.Kind, before)
		}
	}
	if _, ended := s.steps[place("ended")]; ended && e.Kind == Intended {
		return fmt.Errorf("it intends request %s, which has ended", e.Request)
	}
	switch {
	case e.Kind == Intended:
		s.intents = append(s.intents, e)
	case e.Ended():
		s.endings = append(s.endings, e)
	}
	if e.At.After(s.newest) {
		s.newest = e.At
	}
	s.steps[place(e.step())] = e
	return nil
}

// unfinished are the intents that no ending follows.
func (s *saying) unfinished() (open []Entry) {
	for _, e := range s.intents {
		if _, ended := s.steps[e.Request+" ended"]; !ended {
			open = append(open, e)
		}
	}
	return open
}

// Overdue are the open intents from before an instant: a key that may have signed what no evidence tells of.
func (a *Audit) Overdue(before time.Time) (late []Entry) {
	for _, e := range a.Open {
		if e.At.Before(before) {
			late = append(late, e)
		}
	}
	return late
}

// Watch says whether the log as it is now continues the log as it was when the kept checkpoint was signed. A log that was rolled back,
// or that was forked, doesn't.
func (r Reader) Watch(ctx context.Context, kept string) (old, now Checkpoint, err error) {
	if old, err = ParseCheckpoint(kept, r.Verifier); err != nil {
		return old, now, fmt.Errorf("the kept checkpoint: %w", err)
	}
	if now, err = r.Head(ctx); err != nil {
		return old, now, err
	}
	if now.N < old.N {
		return old, now, fmt.Errorf("the log was rolled back: it had %d entries, and has %d", old.N, now.N)
	}
	proof, err := tlog.ProveTree(now.N, old.N, r.hashes(ctx, now.Tree))
	if err != nil {
		return old, now, fmt.Errorf("couldn't prove that the log continues the kept checkpoint: %w", err)
	}
	if err := tlog.CheckTree(proof, now.N, now.Hash, old.N, old.Hash); err != nil {
		return old, now, fmt.Errorf("the log was forked: its first %d entries are not those of the kept checkpoint: %w", old.N, err)
	}
	return old, now, nil
}

// Prove finds what the log says of a request, and proves each entry.
func (r Reader) Prove(ctx context.Context, request string) ([]Proof, error) {
	head, err := r.Head(ctx)
	if err != nil {
		return nil, err
	}
	var found []Proof
	err = r.each(ctx, head.Tree, 0, func(i int64, raw []byte) error {
		if e, err := ParseEntry(raw); err == nil && e.Request == request {
			found = append(found, Proof{Entry: string(raw), Index: i, Checkpoint: head.Text})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].Hashes, err = tlog.ProveRecord(head.N, found[i].Index, r.hashes(ctx, head.Tree)); err != nil {
			return nil, fmt.Errorf("couldn't prove entry %d: %w", found[i].Index, err)
		}
	}
	return found, nil
}
