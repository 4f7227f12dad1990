package main

import (
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
)

// What a grant is for, and when, as people give it and as they are shown it.

// defaultLife is how long a grant lasts of which nobody says it.
const defaultLife = 24 * time.Hour

// window is when a grant may be used: from a day or an instant, or from now; until one, or for a while. A day is in UTC, as everything here is, and
// counts whole: until a day is until the next one begins.
func window(from, until string, life time.Duration, now time.Time) (begins, ends time.Time, err error) {
	begins = now
	if from != "" {
		if begins, _, err = dayOrInstant("--from", from); err != nil {
			return begins, ends, err
		}
	}
	switch {
	case until != "" && life != 0:
		return begins, ends, usage("give either --for or --until")
	case until == "" && life == 0:
		life = defaultLife
	}
	if until == "" {
		return begins, begins.Add(life), nil
	}
	ends, whole, err := dayOrInstant("--until", until)
	if whole {
		ends = ends.AddDate(0, 0, 1)
	}
	return begins, ends, err
}

func dayOrInstant(flag, text string) (at time.Time, day bool, err error) {
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, true, nil
	}
	at, err = time.Parse(time.RFC3339, text)
	if err != nil {
		return at, false, usage("%s must be a day (2026-12-01) or an instant (2026-12-01T09:00:00Z)", flag)
	}
	return at, false, nil
}

// scopeOf says in words what a grant is for.
func scopeOf(g countersign.Grant) string {
	switch {
	case len(g.Purposes) > 0:
		return "whatever comes of " + line(strings.Join(g.Purposes, ", "))
	case g.Request != "":
		return "request " + line(g.Request)
	}
	return "documents " + line(strings.Join(g.Documents, ", "))
}

func windowOf(g countersign.Grant) string {
	return "from " + instant(time.Unix(g.NotBefore, 0)) + " until " + instant(time.Unix(g.NotAfter, 0))
}
