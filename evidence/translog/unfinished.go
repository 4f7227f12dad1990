package translog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Position is how far somebody has read a log: the checkpoint that was read up to, how many of its entries were looked at, and the intents among
// these that had not ended. The zero value is the log's beginning. Whoever keeps it as JSON goes on from there, in another process as well.
type Position struct {
	Checkpoint string  `json:"checkpoint,omitempty"`
	Next       int64   `json:"next"`
	Open       []Entry `json:"open,omitempty"`
}

// Unfinished is what Reader.Unfinished found.
type Unfinished struct {
	// Late are the intents from before the instant that was asked for, which no ending follows, oldest place first. While Behind isn't zero,
	// an ending may still be among the entries that were not read yet.
	Late     []Entry
	Position Position // to go on from the next time
	Behind   int64    // entries that this call did not get to; call again from Position
}

// maxUnfinished bounds the entries that one call of Unfinished reads.
const maxUnfinished = 16 * bundleWidth

// Unfinished says which intents from before an instant have no ending: a key may have signed what no evidence tells of. It reads the entries since a
// position, at most 4,096, and so costs what was appended since, however long the log is. It also holds the log to the checkpoint of that position: one that
// was rolled back or forked since is an error.
func (r Reader) Unfinished(ctx context.Context, from Position, before time.Time) (*Unfinished, error) {
	head, err := r.since(ctx, from)
	if err != nil {
		return nil, err
	}
	open := slices.Clone(from.Open)
	end := min(head.N, from.Next+maxUnfinished)
	err = r.span(ctx, head.Tree, from.Next, end, func(i int64, raw []byte) error {
		e, err := ParseEntry(raw)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		switch {
		case e.Kind == Intended:
			open = append(open, e)
		case e.Ended():
			open = slices.DeleteFunc(open, func(o Entry) bool { return o.Request == e.Request })
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := &Unfinished{Position: Position{head.Text, end, open}, Behind: head.N - end}
	for _, e := range open {
		if e.At.Before(before) {
			found.Late = append(found.Late, e)
		}
	}
	return found, nil
}

// since is the log's checkpoint, which has to continue the one of the position. Where there is none yet, nothing was ever logged.
func (r Reader) since(ctx context.Context, from Position) (Checkpoint, error) {
	if from.Next < 0 {
		return Checkpoint{}, fmt.Errorf("couldn't go on in the log: there is no place %d", from.Next)
	}
	if from.Checkpoint == "" {
		head, err := r.Head(ctx)
		if errors.Is(err, ErrGone) && from.Next == 0 {
			return Checkpoint{}, nil
		}
		if err == nil && from.Next > 0 {
			err = errors.New("couldn't go on in the log: the position has no checkpoint")
		}
		return head, err
	}
	old, now, err := r.Watch(ctx, from.Checkpoint)
	if err == nil && from.Next > old.N {
		err = fmt.Errorf("couldn't go on in the log: the position is at %d of %d entries", from.Next, old.N)
	}
	return now, err
}

// span reads the entries from one place to before another.
func (r Reader) span(ctx context.Context, tree tlog.Tree, from, end int64, f func(index int64, raw []byte) error) error {
	stop := errors.New("read")
	err := r.each(ctx, tree, from, func(i int64, raw []byte) error {
		if i >= end {
			return stop
		}
		return f(i, raw)
	})
	if errors.Is(err, stop) {
		return nil
	}
	return err
}
