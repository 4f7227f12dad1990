package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/api/serviceerror"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
)

// problem is an error on its way out as problem+json (RFC 9457).
type problem struct{ client.Problem }

func (p *problem) GetStatus() int { return p.Status }

// ContentType names the media type of a problem.
func (p *problem) ContentType(kind string) string {
	if kind == "application/json" {
		return "application/problem+json"
	}
	return kind
}

func newProblem(status int, code, detail string) *problem {
	return &problem{client.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code}}
}

// refused is a refusal on its way out, word for word.
func refused(status int, r *countersign.Refusal) *problem {
	return newProblem(status, r.Code, r.Message)
}

// codes are those of errors that huma finds by itself.
var codes = map[int]string{
	http.StatusBadRequest: "bad-request", http.StatusNotFound: "not-found", http.StatusNotAcceptable: "not-acceptable",
	http.StatusRequestTimeout: "too-slow", http.StatusRequestEntityTooLarge: "too-large", http.StatusUnsupportedMediaType: "media-type", http.StatusUnprocessableEntity: "invalid",
}

// init makes huma tell its own errors as problems of ours. It repeats no value that was sent: a body may hold a proof.
func init() {
	huma.NewError = func(status int, message string, faults ...error) huma.StatusError {
		code := codes[status]
		if code == "" {
			code = "internal"
		}
		if status >= http.StatusInternalServerError {
			return newProblem(status, code, "something went wrong here; the service's log tells more under this request's id")
		}
		p := newProblem(status, code, message)
		for _, f := range faults {
			var detail *huma.ErrorDetail
			switch {
			case errors.As(f, &detail) && detail.Location != "":
				p.Errors = append(p.Errors, detail.Location+": "+detail.Message)
			case errors.As(f, &detail):
				p.Errors = append(p.Errors, detail.Message)
			}
		}
		return p
	}
}

// notThere is the one answer for a signing that doesn't exist and for one that the caller may not see.
func notThere() error {
	return newProblem(http.StatusNotFound, "not-found", "there is no such signing, or it is not yours to see")
}

var (
	errNotFound = errors.New("there is no such workflow")
	errClosed   = errors.New("the workflow has ended")
)

// fault turns an error of a part behind us into an answer. What the part said goes to the log, not to the caller.
func fault(ctx context.Context, doing string, err error) error {
	var told huma.StatusError
	if errors.As(err, &told) {
		return err
	}
	// What the caller asked for wrongly, and a caller who left, are no faults of ours.
	if !errors.Is(err, errNotFound) && !errors.Is(err, errClosed) && !errors.Is(ctx.Err(), context.Canceled) {
		logged(ctx, fmt.Errorf("couldn't %s: %w", doing, err))
	}
	var denied *serviceerror.PermissionDenied
	var busy *serviceerror.ResourceExhausted
	switch {
	case errors.Is(err, errNotFound):
		return notThere()
	case errors.Is(err, errClosed):
		return newProblem(http.StatusConflict, "ended", "the signing has ended; nothing can be decided in it any more")
	case errors.As(err, &denied):
		return newProblem(http.StatusForbidden, "not-permitted", "the Temporal server does not permit you to "+doing)
	case errors.As(err, &busy):
		return retryLater(newProblem(http.StatusServiceUnavailable, "busy", "couldn't "+doing+": too much is asked at once; try again later"))
	}
	return retryLater(newProblem(http.StatusServiceUnavailable, "unavailable", "couldn't "+doing+": a part of the service did not answer in time; try again later"))
}

func retryLater(p *problem) error {
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"5"}})
}
