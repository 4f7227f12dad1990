package translog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign"
)

func audited(t *testing.T, l *Log, store Source) (*Audit, error) {
	t.Helper()
	return read(l, store).Audit(t.Context())
}

func TestN04_EveryEntryIsProvenAndTheWholeLogHolds(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	// More than a tile, so that full and partial tiles of two levels are there.
	for i, p := range fill(t, l, 2*bundleWidth+3) {
		e, c, err := p.Check(l.key)
		if err != nil || !e.Same(intended(i)) || p.Index != int64(i) || c.N != int64(i)+1 {
			t.Fatalf("entry %d: %+v at %d of %d: %v", i, e, p.Index, c.N, err)
		}
	}
	a, err := audited(t, l, store)
	if err != nil || a.Entries != 2*bundleWidth+3 || len(a.Open) != 2*bundleWidth+3 {
		t.Errorf("the audit is %+v: %v", a, err)
	}
	if store.swaps != 2*bundleWidth+3 {
		t.Errorf("%d checkpoints for %d entries", store.swaps, 2*bundleWidth+3)
	}
	for _, name := range []string{"tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001", "tile/1/000.p/2", "batch/512", "batch/514"} {
		if _, there := store.objects[name]; !there {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestN04_AnEntryIsInTheLogOnceHoweverOftenItIsAppended(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	fill(t, l, 3)
	again := intended(1)
	again.At = start.Add(time.Hour)
	p, err := l.Append(t.Context(), again)
	if err != nil || p.Index != 1 {
		t.Errorf("appended again it is at %d: %v", p.Index, err)
	}
	other := intended(1)
	other.Run = "another run"
	if _, err := l.Append(t.Context(), other); !errors.Is(err, ErrContradicts) {
		t.Errorf("another run of the request: %v", err)
	}
	if a, err := audited(t, l, store); err != nil || a.Entries != 3 {
		t.Errorf("the audit is %+v: %v", a, err)
	}
}

// A process that dies at any write, before or after the store has it, leaves a log that the next append completes.
func TestN04_ACrashAtAnyWriteLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 1, bundleWidth - 1, bundleWidth} {
		for write := range 7 {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d entries, write %d, stored %v", before, write, late), func(t *testing.T) {
					t.Parallel()
					store := newMemory()
					l := newLog(t, store)
					fill(t, l, before)
					n := 0
					store.fails = func(string) (bool, bool) { n++; return n == write+1, late }
					_, err := l.Append(t.Context(), sealed(before))
					store.fails = nil
					if (err != nil) != (n > write) {
						t.Fatalf("%d writes, the error is %v", n, err)
					}
					// Another process appends first, then the entry is tried again, by a third one or by the one that failed.
					if _, err := another(l).Append(t.Context(), intended(before+1)); err != nil {
						t.Fatal(err)
					}
					again := l
					if late {
						again = another(l)
					}
					p, err := again.Append(t.Context(), sealed(before))
					if err != nil {
						t.Fatal(err)
					}
					if _, _, err := p.Check(l.key); err != nil {
						t.Error(err)
					}
					if a, err := audited(t, l, store); err != nil || a.Entries != int64(before)+2 {
						t.Errorf("the audit is %+v: %v", a, err)
					}
				})
			}
		}
	}
}

func TestN04_ManyAppendAtOnceAndEachEntryHasOnePlace(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	const each, processes = 20, 4
	var wait sync.WaitGroup
	for range processes {
		own := another(l)
		for i := range each { // the same entries: as if an attempt went on whose worker was given up
			wait.Go(func() {
				p, err := own.Append(context.Background(), intended(i))
				if err == nil {
					_, _, err = p.Check(l.key)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	if a, err := audited(t, l, store); err != nil || a.Entries != each {
		t.Errorf("the audit is %+v: %v", a, err)
	}
}

// What waits while a batch is worked on goes into the log together: one batch, one signature and one checkpoint, over the end of a full bundle as well.
func TestN04_WhatWaitsAtTheSameTimeSharesACheckpoint(t *testing.T) {
	t.Parallel()
	store := newMemory()
	key := &slowKey{keySigner: newKey(t), asked: make(chan struct{}), answers: make(chan struct{})}
	l := NewLog(store, key)
	const waiting = bundleWidth + 40
	var wait sync.WaitGroup
	proofs := make([]Proof, 1+waiting)
	add := func(i int) {
		wait.Go(func() {
			var err error
			if proofs[i], err = l.Append(context.Background(), intended(i)); err != nil {
				t.Error(err)
			}
		})
	}
	add(0)
	<-key.asked
	for i := range waiting {
		add(1 + i)
	}
	for queued := 0; queued < waiting; runtime.Gosched() {
		l.mu.Lock()
		queued = len(l.waiting)
		l.mu.Unlock()
	}
	close(key.answers)
	wait.Wait()
	checkpoints := map[string]bool{}
	for i, p := range proofs {
		e, _, err := p.Check(l.key)
		if err != nil || !e.Same(intended(i)) {
			t.Fatalf("the proof of entry %d is of %+v: %v", i, e, err)
		}
		checkpoints[p.Checkpoint] = true
	}
	a, err := audited(t, l, store)
	if err != nil || a.Entries != 1+waiting {
		t.Errorf("the audit is %+v: %v", a, err)
	}
	// The first entry alone, then what had room in its bundle, then the rest.
	if store.swaps != 3 || len(checkpoints) != 3 {
		t.Errorf("%d entries had %d checkpoints, and were proven under %d, want 3", 1+waiting, store.swaps, len(checkpoints))
	}
}

// slowKey says that it was asked, and answers once it may.
type slowKey struct {
	keySigner
	once           sync.Once
	asked, answers chan struct{}
}

func (k *slowKey) Sign(ctx context.Context, text []byte) ([]byte, error) {
	k.once.Do(func() { close(k.asked) })
	<-k.answers
	return k.keySigner.Sign(ctx, text)
}

func TestN04_WhatTheBucketsOwnerDoesIsFound(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	fill(t, l, bundleWidth+4)
	kept := store.objects[checkpointName]
	fill(t, l, bundleWidth+10)
	now := store.objects[checkpointName]
	if _, _, err := read(l, store).Watch(t.Context(), kept); err != nil {
		t.Fatalf("the log continues: %v", err)
	}
	// What another key signs, over the same entries and over others.
	forged := newLog(t, newMemory())
	fill(t, forged, bundleWidth+10)
	shorter := newMemory()
	short := NewLog(shorter, l.key)
	fill(t, short, 3)
	// Another history that the log's own key signed.
	forked := newMemory()
	fork := NewLog(forked, l.key)
	if _, err := fork.Append(t.Context(), sealed(9999)); err != nil {
		t.Fatal(err)
	}
	fill(t, fork, bundleWidth+9)

	swapEntries := func(o map[string]string) { o["batch/258"], o["batch/259"] = o["batch/259"], o["batch/258"] }
	for _, c := range []struct {
		what           string
		change         func(map[string]string)
		audit, watched string // what each says; empty where it sees nothing
	}{
		{"nothing", func(map[string]string) {}, "", ""},
		{"an entry bundle is deleted", func(o map[string]string) { delete(o, "tile/entries/000") }, "tile/entries/000", ""},
		{"a tile is deleted", func(o map[string]string) { delete(o, "tile/0/000") }, "tile/0/000", ""},
		{"a batch is deleted", func(o map[string]string) { delete(o, "batch/260") }, "no such object", "no such object"},
		{"a batch that a full bundle has is changed", func(o map[string]string) { o["batch/7"] = "x" }, "", ""},
		{"two entries change places", swapEntries, "inconsistent tile", "inconsistent tile"},
		{"the checkpoint is deleted", func(o map[string]string) { delete(o, checkpointName) }, "no such object", "no such object"},
		{"an older checkpoint is put back", func(o map[string]string) { o[checkpointName] = shorter.objects[checkpointName] }, "", "rolled back"},
		{"another key signs the same tree", func(o map[string]string) {
			tree, _ := ParseCheckpoint(now, l.key)
			signed, err := note.Sign(&note.Note{Text: checkpointText(Origin("acme"), tree.Tree)}, signer{forged.key, t.Context()})
			if err != nil {
				t.Fatal(err)
			}
			o[checkpointName] = string(signed)
		}, "not signed by the key", "not signed by the key"},
		{"another history takes its place, signed by the log's own key", func(o map[string]string) {
			clear(o)
			for name, body := range forked.objects {
				o[name] = body
			}
		}, "", "forked"},
		{"an entry is left out and the tree made anew", func(o map[string]string) {
			clear(o)
			for name, body := range forged.store.(*memory).objects {
				o[name] = body
			}
		}, "not signed by the key", "not signed by the key"},
	} {
		t.Run(c.what, func(t *testing.T) {
			changed := store.copied(c.change)
			_, err := audited(t, l, changed)
			wantFault(t, "the audit", err, c.audit)
			_, _, err = read(l, changed).Watch(t.Context(), kept)
			wantFault(t, "the watch", err, c.watched)
		})
	}
}

func wantFault(t *testing.T, who string, err error, text string) {
	t.Helper()
	if (err != nil) != (text != "") || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("%s says %v, want %q", who, err, text)
	}
}

func TestN04_AnIntentWithoutAnOutcomeIsTold(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	fill(t, l, 2)
	if _, err := l.Append(t.Context(), sealed(0)); err != nil {
		t.Fatal(err)
	}
	a, err := audited(t, l, store)
	if err != nil || len(a.Open) != 1 || a.Open[0].Request != "PO-1" {
		t.Fatalf("the audit is %+v: %v", a, err)
	}
	if late := a.Overdue(start); len(late) != 0 {
		t.Errorf("overdue at once are %v", late)
	}
	if late := a.Overdue(start.Add(time.Second)); len(late) != 1 {
		t.Errorf("overdue are %v", late)
	}
}

// Whoever may write to the bucket can take the next place. What is no entry of this log gets no signature there.
func TestN04_TheKeySignsNothingThatIsNoEntry(t *testing.T) {
	t.Parallel()
	stranger := intended(7)
	stranger.Tenant = "globex"
	foreign, err := countersign.Canonical(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{"", "{}", string(foreign)} {
		store := newMemory()
		l := newLog(t, store)
		fill(t, l, 1)
		store.objects["batch/1"] = string(packEntries([][]byte{[]byte(planted)}))
		if _, err := l.Append(t.Context(), sealed(0)); err == nil || !strings.Contains(err.Error(), "no entry of this log") {
			t.Errorf("%q in the next place: %v", planted, err)
		}
		if a, err := audited(t, l, store); err != nil || a.Entries != 1 {
			t.Errorf("the audit is %+v: %v", a, err)
		}
	}
}

func TestEntry_ContradictionsAreRefused(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Entry){
		"version":                        func(e *Entry) { e.V = 2 },
		"kind":                           func(e *Entry) { e.Kind = "signed" },
		"an intent with an outcome":      func(e *Entry) { e.Kind = Intended },
		"an ending without an outcome":   func(e *Entry) { e.Outcome = "" },
		"an ending without a bundle":     func(e *Entry) { e.Bundle = nil },
		"sealed as voided":               func(e *Entry) { e.Outcome = countersign.Voided },
		"voided as something else":       func(e *Entry) { e.Kind = Voided },
		"a tenant that can't be one":     func(e *Entry) { e.Tenant = "../acme" },
		"a request id that can't be one": func(e *Entry) { e.Request = "a/../b" },
	} {
		e := sealed(1)
		change(&e)
		raw, err := countersign.Canonical(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseEntry(raw); err == nil {
			t.Errorf("%s: it is read", what)
		}
	}
}

// Between any two sizes of any log the consistency proof holds, and holds for no other root.
func TestN04_AnyLogContinuesAnyCheckpointOfItsOwn(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	var kept []string
	for _, p := range fill(t, l, bundleWidth+40) {
		kept = append(kept, p.Checkpoint)
	}
	r := read(l, store)
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(kept)-1).Draw(t, "kept")
		old, now, err := r.Watch(context.Background(), kept[at])
		if err != nil || old.N != int64(at)+1 || now.N != int64(len(kept)) {
			t.Fatalf("%d to %d: %v", old.N, now.N, err)
		}
		wrong := old.Tree
		wrong.Hash[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		signed, err := note.Sign(&note.Note{Text: checkpointText(Origin("acme"), wrong)}, signer{l.key, context.Background()})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Watch(context.Background(), string(signed)); err == nil {
			t.Fatal("another root is continued as well")
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add("countersign/acme\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := parseTree(text, "countersign/acme")
		if err == nil && checkpointText("countersign/acme", tree) != text {
			t.Errorf("%q is read as %v", text, tree)
		}
	})
}

func FuzzUnpackEntries(f *testing.F) {
	f.Add(packEntries([][]byte{[]byte("a"), nil}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if entries, err := unpackEntries(raw); err == nil && string(packEntries(entries)) != string(raw) {
			t.Errorf("%x is read as %q", raw, entries)
		}
	})
}
