package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/big"

	"github.com/countersign-dev/countersign/evidence/translog"
)

// maxSteps bounds the entries that are passed by in the search for one that names a bundle.
const maxSteps = 256

// Sampled is one entry of the log whose bundle a check looks at, and why: newest, random or rotating.
type Sampled struct {
	Index int64
	Why   string
	Entry translog.Entry
}

// Sample chooses the entries of a log whose bundles a check looks at, each once: the newest n, n by the seed, and n on from where the last check stopped, so that in time
// each has its turn. It returns where the next check goes on. Without a seed none is taken at random, as before a check, when its seed is not drawn yet.
func Sample(ctx context.Context, reader translog.Reader, head translog.Checkpoint, n int, seed string, cursor int64) ([]Sampled, int64, error) {
	s := sample{ctx: ctx, reader: reader, head: head, taken: map[int64]bool{}}
	for at, steps := head.N-1, 0; at >= 0 && steps < maxSteps && len(s.all) < n; at, steps = at-1, steps+1 {
		if _, err := s.add(at, "newest"); err != nil {
			return nil, cursor, err
		}
	}
	if seed != "" {
		for i := range n {
			if _, err := s.walk(Pick(seed, i, head.N), "random"); err != nil {
				return nil, cursor, err
			}
		}
	}
	at := cursor % head.N
	for range n {
		next, err := s.walk(at, "rotating")
		if err != nil {
			return nil, cursor, err
		}
		at = next
	}
	return s.all, at, nil
}

// Pick is the i-th place that a seed takes out of a log of so many entries.
func Pick(seed string, i int, size int64) int64 {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("countersign evidence check v1\x00"+seed+"\x00"), uint32(i)))
	return new(big.Int).Mod(new(big.Int).SetBytes(sum[:]), big.NewInt(size)).Int64()
}

type sample struct {
	ctx    context.Context
	reader translog.Reader
	head   translog.Checkpoint
	taken  map[int64]bool
	all    []Sampled
}

// walk takes the first entry from a place on that names a bundle, and returns the place behind it.
func (s *sample) walk(at int64, why string) (int64, error) {
	for range min(maxSteps, s.head.N) {
		ended, err := s.add(at, why)
		at = (at + 1) % s.head.N
		if err != nil || ended {
			return at, err
		}
	}
	return at, nil
}

// add takes an entry if it names a bundle, and says whether it does. One that was taken already counts.
func (s *sample) add(at int64, why string) (bool, error) {
	if s.taken[at] {
		return true, nil
	}
	e, err := s.reader.Entry(s.ctx, s.head, at)
	if err != nil || !e.Ended() {
		return false, err
	}
	s.taken[at] = true
	s.all = append(s.all, Sampled{at, why, e})
	return true, nil
}
