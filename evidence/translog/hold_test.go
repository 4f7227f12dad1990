package translog

import (
	"errors"
	"testing"

	"github.com/countersign-dev/countersign"
)

func hold(kind, id string, i int) Entry {
	e := sealed(i)
	e.Kind, e.Outcome, e.Context, e.Hold = kind, "", "", id
	e.Proposed, e.Approved = &countersign.Actor{Issuer: "https://idp.example", Subject: "a"}, &countersign.Actor{Issuer: "https://idp.example", Subject: "b"}
	return e
}

func TestN04_AHoldStandsOnAnEndingAndEndsOnce(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	refused := func(what string, e Entry) {
		t.Helper()
		if _, err := l.Append(t.Context(), e); !errors.Is(err, ErrContradicts) {
			t.Errorf("%s: %v", what, err)
		}
	}
	added := func(e Entry) {
		t.Helper()
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	refused("a hold on what has not ended", hold(Held, "matter-1", 1))
	added(sealed(1))
	refused("the end of a hold that never began", hold(Unheld, "matter-1", 1))
	elsewhere := hold(Held, "matter-1", 1)
	elsewhere.Bundle.SHA256 = countersign.SHA256(nil)
	refused("a hold on another bundle", elsewhere)
	for _, id := range []string{"matter-1", "matter-2"} { // at once
		added(hold(Held, id, 1))
		added(hold(Held, id, 1)) // once
	}
	again := hold(Held, "matter-1", 1)
	again.Approved = again.Proposed
	refused("the same hold, approved by somebody else", again)
	added(hold(Unheld, "matter-1", 1))
	added(hold(Held, "matter-3", 1)) // held again
	a, err := audited(t, l, store)
	if err != nil || a.Entries != 5 || len(a.Open) != 0 {
		t.Errorf("the audit is %+v: %v", a, err)
	}
	// A claim whose entry never got its place: the end of a hold brings its beginning first.
	claimed := hold(Held, "matter-4", 1)
	if _, err := l.claim(t.Context(), claimed); err != nil {
		t.Fatal(err)
	}
	added(hold(Unheld, "matter-4", 1))
	if a, err := audited(t, l, store); err != nil || a.Entries != 7 {
		t.Errorf("the audit is %+v: %v", a, err)
	}
}

// The log's own key signs what contradicts itself only if its process is somebody else's; the audit finds it all the same.
func TestN04_TheAuditFindsHoldsThatContradict(t *testing.T) {
	t.Parallel()
	elsewhere := hold(Held, "matter-1", 1)
	elsewhere.Bundle.SHA256 = countersign.SHA256(nil)
	for what, entries := range map[string][]Entry{
		"a hold before the ending":   {hold(Held, "matter-1", 1), sealed(1)},
		"an end before its hold":     {sealed(1), hold(Unheld, "matter-1", 1)},
		"a hold twice":               {sealed(1), hold(Held, "matter-1", 1), hold(Held, "matter-1", 1)},
		"a hold on another bundle":   {sealed(1), elsewhere},
		"an intent after the ending": {sealed(1), intended(1)},
		"two endings":                {sealed(1), sealed(1)},
	} {
		said := saying{tenant: "acme", steps: map[string]Entry{}}
		var err error
		for _, e := range entries {
			raw, fault := countersign.Canonical(e)
			if fault != nil {
				t.Fatal(fault)
			}
			if err = said.hear(raw); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
