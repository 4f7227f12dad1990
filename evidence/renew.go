package evidence

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"slices"
	"time"
)

// RenewalItem is one file to be time-stamped anew: its digest under the new algorithm, and the evidence record that it has; none means that it gets its first.
type RenewalItem struct {
	Digest []byte
	Record []byte
}

// MaxRenewalBatch bounds how many files share one time-stamp.
const MaxRenewalBatch = 1000

// Renew time-stamps a batch of files anew, with one token over the root of a hash tree, and returns their evidence records in the same order. A record whose last
// chain has the same digest algorithm is renewed by a time-stamp over its last one (RFC 4998, section 5.2, time-stamp renewal), any other by one over the
// file and the whole record (hash-tree renewal). Neither the files nor the records are verified: that is for the caller, before and after.
func Renew(ctx context.Context, items []RenewalItem, hash crypto.Hash, stamper Stamper) ([][]byte, error) {
	if len(items) == 0 || len(items) > MaxRenewalBatch {
		return nil, failed(CheckRenewal, "a batch of %d files: want 1 to %d", len(items), MaxRenewalBatch)
	}
	records, leaves := make([]*evidenceRecord, len(items)), make([][]byte, len(items))
	for i, item := range items {
		if len(item.Digest) != hash.Size() {
			return nil, failed(CheckRenewal, "file %d has a digest of %d bytes: want one of %s", i+1, len(item.Digest), hash)
		}
		var err error
		if records[i], leaves[i], err = prepare(item, hash); err != nil {
			return nil, inCheck(CheckRenewal, fmt.Errorf("file %d: %w", i+1, err))
		}
	}
	root, trees := hashTree(hash, leaves)
	token, err := stamper.Stamp(ctx, root)
	if err != nil {
		return nil, inCheck("timestamp", err)
	}
	out := make([][]byte, len(items))
	for i, r := range records {
		last := len(r.chains) - 1
		s := archiveStamp{hash: hash, tree: trees[i], token: token}
		if led, err := s.root(leaves[i]); err != nil || !bytes.Equal(led, root) {
			return nil, failed(CheckRenewal, "file %d: its hash tree doesn't lead to what was stamped", i+1)
		}
		r.chains[last] = append(r.chains[last], s)
		if out[i], err = r.marshal(); err != nil {
			return nil, inCheck(CheckRenewal, err)
		}
		if _, err := parseRecord(out[i]); err != nil {
			return nil, inCheck(CheckRenewal, fmt.Errorf("file %d: %w", i+1, err))
		}
	}
	return out, nil
}

// prepare returns the record with the chain that the new time-stamp goes to, and what it is to be over.
func prepare(item RenewalItem, hash crypto.Hash) (*evidenceRecord, []byte, error) {
	r := &evidenceRecord{}
	if item.Record != nil {
		var err error
		if r, err = parseRecord(item.Record); err != nil {
			return nil, nil, err
		}
		chain := r.chains[len(r.chains)-1]
		if last := chain[len(chain)-1]; last.hash == hash {
			return r, sum(hash, last.token), nil
		}
	}
	leaf, err := r.covered(len(r.chains), hash, item.Digest)
	r.chains = append(r.chains, nil)
	return r, leaf, err
}

// hashTree builds a binary tree over leaves. It returns its root, and for each leaf the reduced tree that leads there: a list with the leaf and its neighbour,
// then the neighbours above. One without a neighbour goes up a level as it is. A single leaf is the root, and needs no tree. Equal leaves are one leaf of the tree, with
// one reduced tree for all of them: a list has each value once (RFC 4998, section 4.2), and what was renewed together before has one token, so one leaf, to be renewed by.
func hashTree(hash crypto.Hash, all [][]byte) (root []byte, trees [][][][]byte) {
	var leaves [][]byte
	place := map[string]int{} // of each leaf in the tree
	for _, leaf := range all {
		if _, there := place[string(leaf)]; !there {
			place[string(leaf)] = len(leaves)
			leaves = append(leaves, leaf)
		}
	}
	root, distinct := treeOf(hash, leaves)
	for _, leaf := range all {
		trees = append(trees, distinct[place[string(leaf)]])
	}
	return root, trees
}

// treeOf is hashTree where all leaves differ.
func treeOf(hash crypto.Hash, leaves [][]byte) (root []byte, trees [][][][]byte) {
	trees = make([][][][]byte, len(leaves))
	level, below := slices.Clone(leaves), make([][]int, len(leaves)) // below: which leaves are under each node
	for i := range leaves {
		below[i] = []int{i}
	}
	for len(level) > 1 {
		var next [][]byte
		var under [][]int
		for i := 0; i < len(level); i += 2 {
			if i+1 == len(level) {
				next, under = append(next, level[i]), append(under, below[i])
				continue
			}
			for side, other := range map[int]int{i: i + 1, i + 1: i} {
				for _, leaf := range below[side] {
					list := [][]byte{level[other]}
					if len(trees[leaf]) == 0 {
						list = append(list, leaves[leaf])
						slices.SortFunc(list, bytes.Compare)
					}
					trees[leaf] = append(trees[leaf], list)
				}
			}
			next = append(next, node(hash, level[i:i+2]))
			under = append(under, slices.Concat(below[i], below[i+1]))
		}
		level, below = next, under
	}
	return level[0], trees
}

func (r RenewalRules) ending(h crypto.Hash) bool { return slices.Contains(r.Ending, h) }

// RenewalMediaType is the media type under which evidence records are stored. None is registered for them.
const RenewalMediaType = "application/octet-stream"

// RenewalRules say when a bundle is to be time-stamped anew.
type RenewalRules struct {
	Now    time.Time
	Within time.Duration // before certificates end
	Ending []crypto.Hash // algorithms that are not to be relied on any longer
}

// Due says why a bundle is to be time-stamped anew; "" where it isn't. Both were verified: facts are of the bundle's seal, stamps of its evidence record,
// if it has one. With one, only the last time-stamp counts: it keeps what came before.
func (r RenewalRules) Due(facts SignatureFacts, stamps []RenewalStamp) string {
	until, hashes, what := facts.StampUntil, []crypto.Hash{facts.Hash, crypto.SHA256}, "the seal's time-stamp" // files and stamped value are digested by SHA-256
	if len(stamps) > 0 {
		last := stamps[len(stamps)-1]
		until, hashes, what = last.Until, []crypto.Hash{last.Hash}, "the last renewal"
	}
	for _, h := range hashes {
		if r.ending(h) {
			return fmt.Sprintf("%s stands on %s, which is listed as ending", what, h)
		}
	}
	if r.Now.Add(r.Within).After(until) {
		return fmt.Sprintf("the certificates of %s end on %s", what, until.UTC().Format(time.DateOnly))
	}
	return ""
}
