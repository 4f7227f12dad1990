package translog

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// counting counts what is read of a store.
type counting struct {
	Source
	reads int
}

func (c *counting) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	c.reads++
	return c.Source.Get(ctx, name, limit)
}

func unfinished(t *testing.T, r Reader, from Position, before time.Time) *Unfinished {
	t.Helper()
	u, err := r.Unfinished(t.Context(), from, before)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestN04_AnIntentThatNeverEndsIsFoundFromASavedPosition(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	r := read(l, store)
	empty := unfinished(t, r, Position{}, start.Add(time.Hour))
	if len(empty.Late) != 0 || empty.Behind != 0 {
		t.Fatalf("an empty log has %+v", empty)
	}
	fill(t, l, 3)
	if _, err := l.Append(t.Context(), sealed(1)); err != nil {
		t.Fatal(err)
	}
	first := unfinished(t, r, empty.Position, start.Add(time.Second))
	if len(first.Late) != 2 || first.Late[0].Request != "PO-0" || first.Late[1].Request != "PO-2" {
		t.Fatalf("late are %v", first.Late)
	}
	if u := unfinished(t, r, empty.Position, start); len(u.Late) != 0 {
		t.Errorf("an intent is late at once: %v", u.Late)
	}
	// Kept as JSON, and gone on from: one of the two has ended since.
	kept, err := json.Marshal(first.Position)
	if err != nil {
		t.Fatal(err)
	}
	var again Position
	if err := json.Unmarshal(kept, &again); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), sealed(2)); err != nil {
		t.Fatal(err)
	}
	second := unfinished(t, r, again, start.Add(time.Second))
	if len(second.Late) != 1 || second.Late[0].Request != "PO-0" || second.Position.Next != 5 {
		t.Errorf("from the position, late are %v, and it is at %d", second.Late, second.Position.Next)
	}
}

func TestN04_LookingForUnfinishedIntentsCostsWhatIsNewAndIsBounded(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	fill(t, l, maxUnfinished+10)
	source := &counting{Source: store}
	r := read(l, source)
	var at Position
	for i, behind := range []int64{10, 0} {
		u := unfinished(t, r, at, start)
		if u.Behind != behind {
			t.Errorf("call %d leaves %d entries, want %d", i, u.Behind, behind)
		}
		at = u.Position
	}
	source.reads = 0
	unfinished(t, r, at, start)
	if source.reads > 12 {
		t.Errorf("a look at nothing new reads %d objects of a log of %d entries", source.reads, maxUnfinished+10)
	}
}

func TestN04_ALogThatWasRolledBackOrForkedSinceThePositionIsAnError(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	fill(t, l, 3)
	older := store.copied(func(map[string]string) {})
	fill(t, l, 5)
	at := unfinished(t, read(l, store), Position{}, start).Position
	if _, err := read(l, older).Unfinished(t.Context(), at, start); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("a log that was rolled back: %v", err)
	}
	ahead := at
	ahead.Next++
	if _, err := read(l, store).Unfinished(t.Context(), ahead, start); err == nil {
		t.Error("a position beyond its checkpoint is gone on from")
	}
	bare := Position{Next: 2}
	if _, err := read(l, store).Unfinished(t.Context(), bare, start); err == nil {
		t.Error("a position without a checkpoint is gone on from")
	}
}
