// Command sidecar stands beside a process in its container's network: it relays the
// loopback to other services, and it is the health check of images without a shell.
//
//	sidecar relay PORT=HOST:PORT ...       relay until it is stopped
//	sidecar tcp HOST:PORT ...              whether all of them listen
//	sidecar http URL                       whether GET answers 200
//	sidecar pollers --temporal HOST:PORT --tenants DIR --platform DIR
//	                                       whether every tenant's queue has a worker
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/countersign-dev/countersign/infra/compose/relay"
)

// checkTimeout is less than the timeout of every health check in docker-compose.yml.
const checkTimeout = 4 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("say what to do: relay, tcp, http or pollers, with its arguments")
	}
	if args[0] == "relay" {
		return carry(ctx, args[1:])
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	switch args[0] {
	case "tcp":
		return listens(ctx, args[1:])
	case "http":
		return answers(ctx, args[1])
	case "pollers":
		set := flag.NewFlagSet("pollers", flag.ContinueOnError)
		temporal := set.String("temporal", "", "Temporal frontend, `host:port`")
		tenants := set.String("tenants", "", "`directory` of the tenants' files")
		platform := set.String("platform", "", "`directory` of the worker's keys")
		if err := set.Parse(args[1:]); err != nil {
			return err
		}
		return pollers(ctx, *temporal, *tenants, *platform)
	}
	return fmt.Errorf("there is no command %q", args[0])
}

func carry(ctx context.Context, texts []string) error {
	var routes []relay.Route
	for _, text := range texts {
		route, err := relay.ParseRoute(text)
		if err != nil {
			return err
		}
		routes = append(routes, route)
	}
	r, err := relay.Start(routes...)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready")
	<-ctx.Done()
	return r.Close()
}

func listens(ctx context.Context, addresses []string) error {
	var dialer net.Dialer
	for _, address := range addresses {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}

func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
