package translog

import (
	"strings"
	"testing"
	"time"
)

func TestN04_ABundleWithoutAnEntryAndAnEntryWithoutItsBundleAreTold(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	for i := range 3 {
		e := sealed(i)
		e.Bundle.Key += string(rune('0' + i))
		if i == 2 { // what lies in its place is not the bundle itself
			e.Concealed = strings.Repeat("c", 64)
		}
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	a, err := audited(t, l, store)
	if err != nil {
		t.Fatal(err)
	}
	good, wrong := strings.Repeat("e", 64), strings.Repeat("0", 64)
	all := func() map[string]Bundle {
		return map[string]Bundle{"acme/evidence/x0": {good, start}, "acme/evidence/x1": {good, start}, "acme/evidence/x2": {strings.Repeat("c", 64), start}}
	}
	if d := a.Compare(all()); !d.Hold() || len(d.Later) != 0 {
		t.Errorf("what holds differs: %+v", d)
	}
	there := all()
	delete(there, "acme/evidence/x0")
	there["acme/evidence/x1"] = Bundle{wrong, start}
	there["acme/evidence/x7"] = Bundle{good, start.Add(-loggedWithin)}
	there["acme/evidence/x8"] = Bundle{good, start.Add(time.Second)}
	d := a.Compare(there)
	if d.Hold() || len(d.Missing) != 1 || d.Missing[0].Request != "PO-0" || len(d.Changed) != 1 || d.Changed[0].Request != "PO-1" ||
		len(d.Unlogged) != 1 || d.Unlogged[0] != "acme/evidence/x7" || len(d.Later) != 1 || d.Later[0] != "acme/evidence/x8" {
		t.Errorf("the differences are %+v", d)
	}
}

func TestN13_ABundleLiesThereConcealedOrAsItWasHandedOut(t *testing.T) {
	t.Parallel()
	store := newMemory()
	l := newLog(t, store)
	e := sealed(0)
	e.Concealed = strings.Repeat("c", 64)
	if _, err := l.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	a, err := audited(t, l, store)
	if err != nil {
		t.Fatal(err)
	}
	for digest, holds := range map[string]bool{e.Bundle.SHA256: true, e.Concealed: true, strings.Repeat("0", 64): false} {
		if d := a.Compare(map[string]Bundle{e.Bundle.Key: {digest, start}}); d.Hold() != holds {
			t.Errorf("%s: the differences are %+v", digest, d)
		}
	}
}
