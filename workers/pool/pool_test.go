package pool

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/worker"
)

// stoppable is a worker that notes that it was stopped.
type stoppable struct {
	worker.Worker
	stops int
}

func (s *stoppable) Stop() { s.stops++ }

func TestR25_AWorkerThatStopsByItselfEndsTheProcess(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	gone := errors.New("namespace acme is not found")
	one, other := &stoppable{}, &stoppable{}
	p := &Pool{workers: []worker.Worker{one, other}, fatal: make(chan error, 1)}
	p.stopped(zerolog.New(&log), "acme")(gone)
	p.stopped(zerolog.New(&log), "globex")(errors.New("another one, which must not wait"))
	if err := p.Wait(t.Context()); !errors.Is(err, gone) || !strings.Contains(err.Error(), "tenant acme") {
		t.Errorf("it ended with %v", err)
	}
	if one.stops != 1 || other.stops != 1 {
		t.Errorf("the workers were stopped %d and %d times", one.stops, other.stops)
	}
	if !strings.Contains(log.String(), `"tenant":"globex"`) {
		t.Errorf("the log says %s", log.String())
	}
}

func TestR25_AProcessThatIsAskedToEndEndsWell(t *testing.T) {
	t.Parallel()
	one := &stoppable{}
	p := &Pool{workers: []worker.Worker{one}, fatal: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx); err != nil || one.stops != 1 {
		t.Errorf("it ended with %v after %d stops", err, one.stops)
	}
}
