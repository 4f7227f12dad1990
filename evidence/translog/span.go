package translog

import (
	"context"
	"fmt"
	"sort"
	"time"
)

// Entries reads the entries from one place to before another, as of a checkpoint, each checked against its root.
func (r Reader) Entries(ctx context.Context, head Checkpoint, from, end int64, f func(index int64, e Entry) error) error {
	if from < 0 || end > head.N {
		return fmt.Errorf("couldn't read the entries %d to %d: the log has %d", from, end, head.N)
	}
	return r.span(ctx, head.Tree, from, end, func(i int64, raw []byte) error {
		e, err := ParseEntry(raw)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		return f(i, e)
	})
}

// Since is the first place in the log whose entry is from an instant on, by halves: entries are about in the order of their times, so give an instant with
// some distance to what is looked for.
func (r Reader) Since(ctx context.Context, head Checkpoint, at time.Time) (int64, error) {
	var fault error
	place := sort.Search(int(head.N), func(i int) bool {
		if fault != nil {
			return true
		}
		e, err := r.Entry(ctx, head, int64(i))
		if err != nil {
			fault = err
		}
		return err == nil && !e.At.Before(at)
	})
	return int64(place), fault
}
