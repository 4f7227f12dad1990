package main

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

func TestR08_ADayOfAGrantCountsWholeAndNoLonger(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 13, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		from, until string
		life        time.Duration
		want        string
	}{
		"nothing said":      {"", "", 0, "2026-11-26T13:00:00Z 2026-11-27T13:00:00Z"},
		"for a while":       {"", "", 48 * time.Hour, "2026-11-26T13:00:00Z 2026-11-28T13:00:00Z"},
		"days":              {"2026-12-01", "2026-12-20", 0, "2026-12-01T00:00:00Z 2026-12-21T00:00:00Z"},
		"one day":           {"2026-12-01", "2026-12-01", 0, "2026-12-01T00:00:00Z 2026-12-02T00:00:00Z"},
		"a day of summer":   {"2026-03-28", "2026-03-29", 0, "2026-03-28T00:00:00Z 2026-03-30T00:00:00Z"},
		"instants":          {"2026-12-01T09:00:00+01:00", "2026-12-20T17:00:00Z", 0, "2026-12-01T08:00:00Z 2026-12-20T17:00:00Z"},
		"from a day for":    {"2026-12-01", "", time.Hour, "2026-12-01T00:00:00Z 2026-12-01T01:00:00Z"},
		"both ends":         {"", "2026-12-01", time.Hour, "either --for or --until"},
		"no day":            {"tomorrow", "2026-12-01", 0, "--from must be a day"},
		"no such day":       {"", "2026-02-30", 0, "--until must be a day"},
		"an hour of no day": {"", "2026-12-01 09:00", 0, "--until must be a day"},
	} {
		begins, ends, err := window(c.from, c.until, c.life, now)
		got := begins.UTC().Format(time.RFC3339) + " " + ends.UTC().Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// The longest three months by days are the longest that cover may be.
func TestR08_CoverOfThreeMonthsByDaysIsJustNotTooLong(t *testing.T) {
	t.Parallel()
	begins, ends, err := window("2026-07-01", "2026-09-30", 0, time.Time{})
	if err != nil || ends.Sub(begins) != countersign.MaxCoverLife {
		t.Errorf("it lasts %s, and cover %s: %v", ends.Sub(begins), countersign.MaxCoverLife, err)
	}
}
