package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// maxAnswer bounds each answer of an identity provider, in bytes.
const maxAnswer = 1 << 20

// outbound gives the calls to an identity provider their bounds: in time, in size, and without redirects.
func outbound(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, &http.Client{
		Timeout: 20 * time.Second, Transport: boundedTransport{},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("an identity provider's endpoints must not redirect")
		},
	})
}

type boundedTransport struct{}

func (boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	}
	return response, err
}

// plain keeps an error of the token endpoint to what RFC 6749 lets it say: the whole answer could hold a token.
func plain(err error) error {
	var told *oauth2.RetrieveError
	if !errors.As(err, &told) {
		return err
	}
	if told.ErrorCode != "" {
		return fmt.Errorf("%s: %s", printable(told.ErrorCode), printable(told.ErrorDescription))
	}
	return fmt.Errorf("status %d", told.Response.StatusCode)
}

// printable is what a stranger sent as one line of bounded length, so that it can't write over a terminal.
func printable(s string) string {
	var out strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > 300 {
			out.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		out.WriteRune(r)
	}
	return out.String()
}

// limited passes on as many bytes as are left, and swallows the rest.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.to.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// foreign counts answers that were not for us.
type foreign struct{ n atomic.Int64 }

func (f *foreign) add()         { f.n.Add(1) }
func (f *foreign) count() int64 { return f.n.Load() }
