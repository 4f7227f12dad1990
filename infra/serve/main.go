// Command serve runs one part of the local stack alone, for a shared test installation
// whose parts are containers of their own.
//
//	serve prepare  --devstack COMMAND --data DIR
//	serve temporal --listen ADDRESS --postgres HOST:PORT ...
//	serve kms      --listen ADDRESS --data DIR ...
//	serve idp      --listen ADDRESS --data DIR --config FILE
//	serve tsa      --listen ADDRESS --data DIR
//	serve buckets  --listen ADDRESS --s3 URL ...
//	serve gate     --listen ADDRESS --s3 URL ...
//
// Each part answers GET /healthz, says "ready" on the standard error, and runs until
// SIGINT or SIGTERM. None of them speaks TLS; none is for production.
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

	"github.com/countersign-dev/countersign/infra/compose/prepared"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	err := command(ctx, os.Args[1:])
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// usageError is a mistake of whoever called the command.
type usageError struct{ error }

func command(ctx context.Context, args []string) error {
	parts := map[string]func(context.Context, []string) error{
		"prepare": prepare, "temporal": serveTemporal, "kms": serveKMS, "idp": serveIDP, "tsa": serveTSA, "buckets": serveBuckets, "gate": serveGate,
	}
	if len(args) == 0 || parts[args[0]] == nil {
		return usageError{errors.New("say which part: prepare, temporal, kms, idp, tsa, buckets or gate")}
	}
	return parts[args[0]](ctx, args[1:])
}

func prepare(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("prepare", flag.ContinueOnError)
	devstack := set.String("devstack", "", "the built devstack `command`")
	data := set.String("data", "", "`directory` of the installation; it must hold none yet")
	if err := parse(set, args); err != nil {
		return err
	}
	return prepared.Make(ctx, *devstack, *data)
}

// parse wants every flag that has no default, and no other argument.
func parse(set *flag.FlagSet, args []string) error {
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	var missing error
	set.VisitAll(func(f *flag.Flag) {
		if f.Value.String() == "" && missing == nil {
			missing = usageError{fmt.Errorf("%s needs --%s", set.Name(), f.Name)}
		}
	})
	if missing == nil && set.NArg() > 0 {
		missing = usageError{fmt.Errorf("%s takes flags alone, not %q", set.Name(), set.Arg(0))}
	}
	return missing
}

// healthPath is before every part's own handler.
const healthPath = "/healthz"

// serve answers health at healthPath, and everything else by handler, until ctx ends.
// A nil health means that answering is healthy.
func serve(ctx context.Context, address string, handler http.Handler, health func(context.Context) error) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("couldn't listen: %w", err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != healthPath {
				handler.ServeHTTP(w, r)
				return
			}
			answerHealth(w, r, health)
		}),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintln(os.Stderr, "ready", listener.Addr())
	select {
	case err := <-ended:
		return fmt.Errorf("couldn't go on serving: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return server.Close() // a client that won't hang up doesn't keep the part alive
	}
	return nil
}

func answerHealth(w http.ResponseWriter, r *http.Request, health func(context.Context) error) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "ask with GET", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if health != nil {
		if err := health(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "unhealthy:", err)
			http.Error(w, "unhealthy; the log says why", http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "healthy")
}
