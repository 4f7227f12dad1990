package translog

import (
	"context"
	"errors"
	"fmt"
)

// Entry reads one entry of the log as of a checkpoint, checked against its root. It costs one entry bundle and the tiles above it, however long the log is.
func (r Reader) Entry(ctx context.Context, head Checkpoint, index int64) (Entry, error) {
	if index < 0 || index >= head.N {
		return Entry{}, fmt.Errorf("couldn't read entry %d: the log has %d", index, head.N)
	}
	var found Entry
	read := errors.New("read")
	err := r.each(ctx, head.Tree, index, func(_ int64, raw []byte) (err error) {
		if found, err = ParseEntry(raw); err != nil {
			return err
		}
		return read
	})
	if !errors.Is(err, read) {
		return Entry{}, fmt.Errorf("couldn't read entry %d: %w", index, err)
	}
	return found, nil
}
