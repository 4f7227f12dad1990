package main

import (
	"context"
	"errors"
	"net/http"
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
