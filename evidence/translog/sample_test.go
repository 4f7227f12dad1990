package translog

import (
	"strings"
	"testing"
)

func TestN04_OneEntryIsReadAndHeldToTheCheckpoint(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	fill(t, l, 300) // more than one entry bundle
	r := l.reader()
	head, err := r.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]string{0: "PO-0", 255: "PO-255", 256: "PO-256", 299: "PO-299"} {
		e, err := r.Entry(t.Context(), head, at)
		if err != nil || e.Request != want {
			t.Errorf("entry %d is %q, %v; want %s", at, e.Request, err, want)
		}
	}
	for _, at := range []int64{-1, 300} {
		if _, err := r.Entry(t.Context(), head, at); err == nil {
			t.Errorf("the log has an entry %d", at)
		}
	}
	changed := store.copied(func(objects map[string]string) {
		for name, body := range objects {
			if strings.HasPrefix(name, "batch/") {
				objects[name] = strings.ReplaceAll(body, "PO-256", "PO-652")
			}
		}
	})
	if _, err := (Reader{Stored(changed), l.key}).Entry(t.Context(), head, 256); err == nil {
		t.Error("an entry that was changed is read")
	}
}
