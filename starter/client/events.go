package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxReconnects is how many times in a row a broken stream is taken up again without an event in between.
const maxReconnects = 5

// ErrEnded says that the signing's custodian ended and no state was reached in which it is done.
var ErrEnded = errors.New("the signing's custodian has ended without locked evidence; an operator has to look at it")

// Watch calls changed with the status as it is, and again at each change, until the signing is done or changed returns false. A
// broken connection is taken up again.
func (c *Client) Watch(ctx context.Context, request string, changed func(Status) bool) error {
	for broken := 0; ; broken++ {
		var got, over bool
		err := c.watch(ctx, request, func(s Status) bool {
			got = true
			over = !changed(s) || s.State == StateDone
			return !over
		})
		var told *Problem
		switch {
		case over:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrEnded), errors.As(err, &told) && told.Status < http.StatusInternalServerError:
			return err
		case got:
			broken = 0
		case broken >= maxReconnects:
			return fmt.Errorf("couldn't watch the signing: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(broken+1) * 500 * time.Millisecond):
		}
	}
}

func (c *Client) watch(ctx context.Context, request string, changed func(Status) bool) error {
	response, err := c.send(ctx, c.stream, http.MethodGet, signing(request, "/events"+c.with(url.Values{})), nil, http.Header{"Accept": {"text/event-stream"}})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return readEvents(response.Body, func(name, data string) (bool, error) {
		switch name {
		case "end":
			return false, ErrEnded
		case "status":
			var s Status
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				return false, fmt.Errorf("couldn't read an event: %w", err)
			}
			return changed(s), nil
		}
		return true, nil
	})
}

// readEvents reads server-sent events (WHATWG HTML, section 9.2) as far as this API uses them: names and data, until on says no more.
func readEvents(r io.Reader, on func(name, data string) (bool, error)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var name string
	var data []string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if len(data) > 0 {
				if more, err := on(name, strings.Join(data, "\n")); err != nil || !more {
					return err
				}
			}
			name, data = "", nil
		case field == "event":
			name = value
		case field == "data":
			data = append(data, value)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the stream broke: %w", err)
	}
	return fmt.Errorf("the stream broke: %w", io.ErrUnexpectedEOF)
}
