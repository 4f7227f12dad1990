package translog

import (
	"maps"
	"slices"
	"time"
)

// Bundle is a bundle as it lies in a copy of the evidence: its digest, and when the store took it, as far as the copy says.
type Bundle struct {
	SHA256   string
	Modified time.Time
}

// Differences are what the log and the evidence don't have in common. The first three are a fault of whoever keeps them.
type Differences struct {
	Missing  []Entry  // endings whose bundle is not there
	Changed  []Entry  // endings in whose bundle's place lie other bytes
	Unlogged []string // keys of bundles that no entry names
	// Later are bundles that no entry names, and that are about as new as the newest entry, or newer: a bundle is locked before it is logged, and others are
	// logged meanwhile. The next copy of the log has to have them.
	Later []string
}

// loggedWithin is how much older than the newest entry a bundle may be that has no entry yet.
const loggedWithin = 10 * time.Minute

// Hold says whether log and evidence say the same, but for what is later than the log.
func (d Differences) Hold() bool {
	return len(d.Missing)+len(d.Changed)+len(d.Unlogged) == 0
}

// Compare holds the log's endings to the bundles that are there, by their keys in the bucket. A bundle may lie there as it is locked, with its personal
// data concealed, or as it was handed out. The copy of the log must be the older one.
func (a *Audit) Compare(there map[string]Bundle) (d Differences) {
	named := map[string]bool{}
	for _, e := range a.Endings {
		named[e.Bundle.Key] = true
		switch b, ok := there[e.Bundle.Key]; {
		case !ok:
			d.Missing = append(d.Missing, e)
		case b.SHA256 != e.Bundle.SHA256 && (e.Concealed == "" || b.SHA256 != e.Concealed):
			d.Changed = append(d.Changed, e)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		switch {
		case named[key]:
		case there[key].Modified.After(a.Newest.Add(-loggedWithin)):
			d.Later = append(d.Later, key)
		default:
			d.Unlogged = append(d.Unlogged, key)
		}
	}
	return d
}
