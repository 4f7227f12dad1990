package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/countersign-dev/countersign/activities"
)

// transfer is the upload or download of one document or bundle. It is in temporary files and never on the heap; they are there until the answer is written.
type transfer struct {
	body  io.Reader // of the request
	files []io.Closer
}

type transferKey struct{}

// during keeps a file until the answer to this request is written.
func during(ctx context.Context, file io.Closer) {
	t, ok := ctx.Value(transferKey{}).(*transfer)
	if !ok {
		panic("a document is handed out by a route that is no transfer")
	}
	t.files = append(t.files, file)
}

// oneTransfer keeps one tenant from filling the disk, and taking the time, that all share.
func (s *Server) oneTransfer(ctx huma.Context, next func(huma.Context)) {
	t := callerOf(ctx.Context()).tenant
	select {
	case t.transfers <- struct{}{}:
		defer func() { <-t.transfers }()
		one := &transfer{body: ctx.BodyReader()}
		defer func() {
			for _, file := range one.files {
				if err := file.Close(); err != nil {
					logged(ctx.Context(), err)
				}
			}
		}()
		_ = ctx.SetReadDeadline(time.Now().Add(transferTimeout)) // a reader without deadlines keeps the server's
		next(huma.WithValue(ctx, transferKey{}, one))
	case <-time.After(5 * time.Second):
		_, w := humago.Unwrap(ctx)
		w.Header().Set("Retry-After", "5")
		writeProblem(w, newProblem(http.StatusServiceUnavailable, "busy", "too many documents are under way for this tenant; try again later"))
	case <-ctx.Context().Done():
	}
}

// received is the body of an upload: at most limit bytes.
func received(ctx context.Context, limit int64) (*activities.Spooled, error) {
	one, ok := ctx.Value(transferKey{}).(*transfer)
	if !ok || one.body == nil {
		return nil, newProblem(http.StatusBadRequest, "bad-request", "the request has no body")
	}
	from := &failing{Reader: io.LimitReader(one.body, limit+1)}
	file, err := activities.Spool(func(w io.Writer) error {
		_, err := io.Copy(w, from)
		return err
	})
	var slow net.Error
	switch {
	case errors.As(from.err, &slow) && slow.Timeout():
		return nil, newProblem(http.StatusRequestTimeout, "too-slow", "the body did not come in time")
	case from.err != nil:
		return nil, newProblem(http.StatusBadRequest, "bad-request", "the body ended before its end")
	case err != nil:
		return nil, fault(ctx, "receive the document", err)
	}
	during(ctx, file)
	if file.Size() > limit {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the document has more than the allowed %d bytes", limit))
	}
	return file, nil
}

// failing keeps the error of a reader, which copying would mix with the writer's.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
