package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/countersign-dev/countersign/starter/client"
)

const (
	eventStream = "text/event-stream"
	// keepAlive is how often a quiet stream shows that it lives, so that a dead connection is found.
	keepAlive = 20 * time.Second
	// writeTimeout is how long one event may take to be taken.
	writeTimeout = 10 * time.Second
	// maxStream is how long one stream lives: whoever wants to watch longer shows a current token again.
	maxStream = time.Hour
)

// watchSigning streams the status at each change. What may change it is told by the histories of saga and custodian, for whose next
// event the server is waited at: nothing asks again and again.
func (s *Server) watchSigning(ctx context.Context, in *signingInput) (*huma.StreamResponse, error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	select {
	case s.streams <- struct{}{}:
	default:
		return nil, retryLater(newProblem(http.StatusServiceUnavailable, "busy", "too many are watching; try again later"))
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-s.streams }()
		ctx, cancel := context.WithTimeout(hc.Context(), maxStream)
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", eventStream)
		w.Header().Set("X-Accel-Buffering", "no")
		stream := &stream{w: w, control: http.NewResponseController(w)}
		if err := s.stream(ctx, stream, in.Request, status); err != nil && ctx.Err() == nil {
			logged(ctx, fmt.Errorf("couldn't go on watching %s: %w", in.Request, err))
		}
	}}, nil
}

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *stream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *stream) event(name string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write("event: " + name + "\ndata: " + string(body) + "\n\n")
}

func (s *Server) stream(ctx context.Context, out *stream, request string, last client.Status) error {
	t := callerOf(ctx).tenant
	if err := out.event("status", last); err != nil {
		return err
	}
	if last.State == client.StateDone { // nothing follows, and Temporal may have forgotten it
		return out.event("end", struct{}{})
	}
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // one that is still to be read covers this one
		}
	}
	follow := func(workflow string) chan error {
		ended := make(chan error, 1)
		go func() { ended <- t.pipeline.Follow(ctx, workflow, tell) }()
		return ended
	}
	custodian := follow(last.Custodian)
	var saga chan error
	following := false
	quiet := time.NewTicker(keepAlive)
	defer quiet.Stop()
	for ended := false; ; {
		if last.Saga.Run != "" && !following {
			following, saga = true, follow(last.Saga.Workflow)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-quiet.C:
			if err := out.write(": still here\n\n"); err != nil {
				return err
			}
			continue
		case err := <-saga:
			if err != nil && !errors.Is(err, errNotFound) {
				return err
			}
			saga = nil
		case err := <-custodian:
			if err != nil {
				return err
			}
			ended = true
		case <-changed:
		}
		status, err := t.status(ctx, request)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(status, last) {
			last = status
			if err := out.event("status", status); err != nil {
				return err
			}
		}
		if ended || status.State == client.StateDone {
			return out.event("end", struct{}{})
		}
	}
}
