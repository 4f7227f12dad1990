package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/countersign-dev/countersign/starter/client"
)

func TestProgressIsAskedForAgainWhileTheServiceIsBusyAndNotForEver(t *testing.T) {
	t.Parallel()
	busy, refused := &client.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable"}, &client.Problem{Status: http.StatusForbidden, Code: "not-entitled"}
	for name, tt := range map[string]struct {
		answers []error
		asked   int
		want    error
	}{
		"at once":          {[]error{nil}, 1, nil},
		"busy for moments": {[]error{busy, busy, nil}, 3, nil},
		"busy for ever":    {nil, followTries, busy},
		"refused":          {[]error{busy, refused}, 2, refused},
		"not reached":      {[]error{client.ErrUnreachable}, 1, client.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				_, err := followed(t.Context(), func(context.Context) (int, error) {
					asked++
					if asked > len(tt.answers) {
						return 0, busy
					}
					return asked, tt.answers[asked-1]
				})
				if asked != tt.asked || !errors.Is(err, tt.want) {
					t.Errorf("asked %d times: %v", asked, err)
				}
			})
		})
	}
}

func TestLongWorkIsToldWheneverItWentOnAndUntilItEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		c := &cli{terminal: terminal{err: &told}}
		states := []int{0, 0, 40, 40, 99, 100}
		asked := 0
		got, err := follow(t.Context(), c, func(context.Context) (int, error) {
			asked++
			return states[asked-1], nil
		}, func(n int) (bool, error) { return n == 100, nil }, func(n int) string { return fmt.Sprintf("looked at %d", n) })
		if got != 100 || err != nil || asked != len(states) {
			t.Errorf("it ended with %d, %v, asked %d times", got, err, asked)
		}
		if told.String() != "looked at 0\nlooked at 40\nlooked at 99\n" {
			t.Errorf("told is %q", told.String())
		}
		refused := errors.New("refused")
		if _, err := follow(t.Context(), c, func(context.Context) (int, error) { return 0, nil }, func(int) (bool, error) { return false, refused }, strconv.Itoa); !errors.Is(err, refused) {
			t.Errorf("a refusal ends with %v", err)
		}
	})
}
