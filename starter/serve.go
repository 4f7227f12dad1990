package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/starter/api"
)

func (c *cli) serveCommand() *cobra.Command {
	var o api.Options
	var listen, level, proxies string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the HTTP API",
		Long: `Serve the HTTP API of every tenant. Its description is at /openapi.json.

Before it listens it checks, for each tenant, the settings, this process's key (starter-TENANT.pem), Temporal, the buckets and the
issuers. Anything wrong is told at once, and nothing starts. It speaks plain HTTP: put TLS before it where others than this
machine reach it.

AWS credentials come from the profiles that the tenants' files name (AWS_SHARED_CREDENTIALS_FILE).`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			parsed, err := zerolog.ParseLevel(level)
			if err != nil {
				return usage("--log %q is not a level: use debug, info, warn or error", level)
			}
			if _, _, err := net.SplitHostPort(listen); err != nil {
				return usage("--listen %q is not host:port", listen)
			}
			if o.Proxies, err = api.ParseProxies(proxies); err != nil {
				return usage("--proxies: %s", err)
			}
			o.Log = zerolog.New(c.err).Level(parsed).With().Timestamp().Str("process", "starter").Logger()
			return serve(ctx, o, listen)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", env("COUNTERSIGN_LISTEN", "127.0.0.1:8080"), "address to listen on (COUNTERSIGN_LISTEN)")
	f.StringVar(&o.Temporal, "temporal", env("COUNTERSIGN_TEMPORAL", "127.0.0.1:7233"), "Temporal frontend, host:port (COUNTERSIGN_TEMPORAL)")
	f.StringVar(&o.Tenants, "tenants", env("COUNTERSIGN_TENANTS", "tenants"), "directory of the tenants' files (COUNTERSIGN_TENANTS)")
	f.StringVar(&o.Platform, "platform", env("COUNTERSIGN_PLATFORM", "platform"), "directory of the processes' keys (COUNTERSIGN_PLATFORM)")
	f.StringVar(&proxies, "proxies", env("COUNTERSIGN_PROXIES", ""), "addresses and networks of your own proxies, whose X-Forwarded-For is believed (COUNTERSIGN_PROXIES)")
	f.StringVar(&o.Verifier, "verifier", env("COUNTERSIGN_VERIFIER", ""), "page that checks evidence in a browser, served at /verify/ (COUNTERSIGN_VERIFIER)")
	f.StringVar(&level, "log", env("COUNTERSIGN_LOG", "info"), "least level that is logged (COUNTERSIGN_LOG)")
	return cmd
}

// graceful is how long requests may still take after the process was asked to stop.
const graceful = 20 * time.Second

func serve(ctx context.Context, o api.Options, listen string) error {
	boot, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	s, err := api.Open(boot, o)
	if err != nil {
		return err
	}
	defer s.Close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("couldn't listen: %w", err)
	}
	server := s.HTTP()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if host, ok := listener.Addr().(*net.TCPAddr); ok && !host.IP.IsLoopback() {
		o.Log.Warn().Msg("others than this machine can reach the API over plain HTTP; put TLS before it")
	}
	o.Log.Info().Str("address", "http://"+listener.Addr().String()).Msg("ready")
	select {
	case err := <-ended:
		return fmt.Errorf("couldn't go on serving: %w", err)
	case <-ctx.Done():
	}
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), graceful)
	defer cancelStop()
	if err := server.Shutdown(stop); err != nil {
		return fmt.Errorf("couldn't end every request in %s: %w", graceful, errors.Join(err, server.Close()))
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	o.Log.Info().Msg("stopped")
	return nil
}
