package api

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever may not see a signing can't tell it from one that doesn't exist, by the clock neither: both answers wait for the same even time.
func TestR20_WhatIsNotYoursAndWhatDoesNotExistAreAnsweredAtEvenTimes(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	var held atomic.Int32
	s.server.hold = func(context.Context, time.Duration) { held.Add(1) }
	for _, c := range []struct {
		who, path    string
		status, held int
	}{
		{"hart/chris", "/v1/acme/signings/PO-1", http.StatusNotFound, 1},
		{"hart/chris", "/v1/acme/signings/PO-2", http.StatusNotFound, 1},
		{"hart/chris", "/v1/acme/signings/PO-1/document", http.StatusNotFound, 1},
		{"hart/chris", "/v1/acme/signings/PO-2/document", http.StatusNotFound, 1},
		{"alice", "/v1/acme/signings/PO-1", http.StatusOK, 0},
	} {
		held.Store(0)
		response, body := s.call("GET", c.path, s.token(c.who), nil, nil)
		if response.StatusCode != c.status || int(held.Load()) != c.held {
			t.Errorf("%s of %s: %d, held %d times; want %d, %d: %s", c.path, c.who, response.StatusCode, held.Load(), c.status, c.held, body)
		}
	}
}

func TestAnEvenTimeIsTheNextMultiple(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{0: 0, time.Nanosecond: even - 1, even - 1: 1, even: 0, even + time.Millisecond: even - time.Millisecond, 7*even + 3: even - 3} {
		if got := untilEven(took); got != want {
			t.Errorf("after %s it waits %s, want %s", took, got, want)
		}
	}
}
