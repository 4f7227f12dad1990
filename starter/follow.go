package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign/starter/client"
)

// How often, and after which times, the progress of long work is asked for again.
const (
	followTries = 12
	followAgain = 2 * time.Second
)

// followed asks how far something is that takes long. A part of the service that is busy for a moment doesn't end the waiting: what is waited for goes on.
func followed[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	for tries := 1; ; tries++ {
		status, err := ask(ctx)
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || tries == followTries {
			return status, err
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
			return status, err
		}
	}
}
