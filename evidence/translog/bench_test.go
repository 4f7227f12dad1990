package translog

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign-dev/countersign"
)

// million is a log of a million entries in memory, without a network: what is measured with it is what the log costs beside its store and its key.
func million(b *testing.B) (*Log, *memory) {
	b.Helper()
	store := newMemory()
	l := newLog(b, store)
	raw, err := countersign.Canonical(intended(0))
	if err != nil {
		b.Fatal(err)
	}
	before, after, _ := strings.Cut(string(raw), "PO-0")
	for at := 0; at < 1_000_000; at += bundleWidth {
		var batch []*appending
		for i := at; i < min(at+bundleWidth, 1_000_000); i++ {
			batch = append(batch, &appending{claim: claim{int64(at), fmt.Sprintf("%sPO-%d%s", before, i, after)}, done: make(chan struct{})})
		}
		if left, err := l.commit(context.Background(), batch); err != nil || len(left) > 0 {
			b.Fatal(err)
		}
		if at+bundleWidth <= 1_000_000 { // the full bundle has it, and nobody reads it again
			delete(store.objects, batchName(int64(at)))
		}
	}
	return l, store
}

// BenchmarkMillion measures a log of a million entries: appending one after another and many at once, and proving and verifying that an entry is
// there, with the size of the proof.
func BenchmarkMillion(b *testing.B) {
	l, store := million(b)
	r := read(l, store)
	head, err := r.Head(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	at := head.N / 3
	prove := func() Proof {
		hashes, err := tlog.ProveRecord(head.N, at, r.hashes(b.Context(), head.Tree))
		if err != nil {
			b.Fatal(err)
		}
		entries, err := r.bundle(b.Context(), (at/bundleWidth+1)*bundleWidth)
		if err != nil {
			b.Fatal(err)
		}
		return Proof{string(entries[at%bundleWidth]), at, hashes, head.Text}
	}
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			prove()
		}
	})
	proof := prove()
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := proof.Check(l.key); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(proof.Hashes)*tlog.HashSize), "proof-bytes")
	})
	var next atomic.Int64
	next.Store(head.N)
	appends := func(b *testing.B) {
		if _, err := l.Append(context.Background(), intended(int(next.Add(1)))); err != nil {
			b.Error(err)
		}
	}
	b.Run("append one after another", func(b *testing.B) {
		for b.Loop() {
			appends(b)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	})
	b.Run("append 64 at once", func(b *testing.B) {
		swaps := store.swaps
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				appends(b)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		b.ReportMetric(float64(store.swaps-swaps)/float64(b.N), "checkpoints/op")
	})
}
