package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign/starter/client"
)

const (
	// followEvery is how often long work is asked how far it is.
	followEvery = time.Second
	// Where the service is busy it is asked again so often, after so long.
	followTries = 12
	followAgain = 2 * time.Second
)

// follow waits for the end of work that takes long, and tells on the standard error how far it is, whenever that changed.
func follow[T any](ctx context.Context, c *cli, ask func(context.Context) (T, error), ended func(T) (bool, error), progress func(T) string) (T, error) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for told := ""; ; {
		status, err := followed(ctx, ask)
		if err != nil {
			return status, err
		}
		if over, err := ended(status); over || err != nil {
			return status, err
		}
		if is := progress(status); is != told {
			told = is
			fmt.Fprintln(c.err, is)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return status, ctx.Err()
		}
	}
}

// followed asks how far something is that takes long, or for something that may be asked for twice. A part of the service that is busy for a moment doesn't end the waiting: what is waited for goes on.
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
