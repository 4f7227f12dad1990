// Package relay carries TCP connections from the loopback of one container to a
// service of another.
//
// Tokens, tenant files and evidence name issuers by URL, and plain http is allowed on
// the loopback alone. With a relay beside each process, http://127.0.0.1:9742/acme is
// the same issuer in every container and in the browser of whoever forwards that port.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// maxConnections bounds the connections of one route at a time; more wait.
	maxConnections = 512
)

// Route leads from an address that is listened on to one that is connected to.
type Route struct{ From, To string }

// ParseRoute reads PORT=HOST:PORT; the first port is on 127.0.0.1.
func ParseRoute(text string) (Route, error) {
	port, to, ok := strings.Cut(text, "=")
	number, err := strconv.Atoi(port)
	host, toPort, splitErr := net.SplitHostPort(to)
	toNumber, toErr := strconv.Atoi(toPort)
	if !ok || err != nil || splitErr != nil || toErr != nil || host == "" || number < 1 || number > 65535 || toNumber < 1 || toNumber > 65535 {
		return Route{}, fmt.Errorf("couldn't read the route %q: write PORT=HOST:PORT", text)
	}
	return Route{From: net.JoinHostPort("127.0.0.1", port), To: to}, nil
}

// Relay is a set of open routes.
type Relay struct {
	listeners []net.Listener
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// Start opens every route and returns when all of them listen. A service that doesn't
// answer closes the connection, not the route.
func Start(routes ...Route) (*Relay, error) {
	ctx, stop := context.WithCancel(context.Background())
	r := &Relay{stop: stop}
	for _, route := range routes {
		listener, err := net.Listen("tcp", route.From)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("couldn't open the route from %s to %s: %w", route.From, route.To, err), r.Close())
		}
		r.listeners = append(r.listeners, listener)
		r.done.Go(func() { r.accept(ctx, listener, route.To) })
	}
	return r, nil
}

// Close ends the routes and their connections.
func (r *Relay) Close() error {
	r.stop()
	var failures []error
	for _, listener := range r.listeners {
		failures = append(failures, listener.Close())
	}
	r.done.Wait()
	return errors.Join(failures...)
}

func (r *Relay) accept(ctx context.Context, listener net.Listener, to string) {
	slots := make(chan struct{}, maxConnections)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := listener.Accept()
		if err != nil {
			<-slots
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of file descriptors, most likely: let some connections end
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		r.done.Go(func() {
			defer func() { <-slots }()
			carry(ctx, conn, to)
		})
	}
}

// carry copies both ways until both sides have said all, or one of them breaks.
func carry(ctx context.Context, near net.Conn, to string) {
	defer near.Close()
	dialer := net.Dialer{Timeout: dialTimeout}
	far, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { near.Close(); far.Close() })()
	var both sync.WaitGroup
	both.Go(func() { copyAndClose(far, near) })
	both.Go(func() { copyAndClose(near, far) })
	both.Wait()
}

// copyAndClose passes on the end of the stream; after an error it ends both directions.
func copyAndClose(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // the other direction may still have something to say
	}
}
