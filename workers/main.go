// Command workers runs the workers of every tenant: the saga, its custodian and their activities.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/workers/pool"
)

func main() {
	if err := command().ExecuteContext(context.Background()); err != nil {
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o pool.Options
	var level string
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "Run the workers of every tenant",
		Long: `Run the workers of every tenant in one process.

Before it takes work it checks, for each tenant, the issuers, the key, its certificate and the permission to sign, the buckets and their Object
Lock, and the time-stamp authority. Anything wrong is told at once, and nothing starts.

AWS credentials come from the profiles that the tenants' files name (AWS_SHARED_CREDENTIALS_FILE).`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: false,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := zerolog.ParseLevel(level)
			if err != nil {
				return fmt.Errorf("--log %q is not a level: use debug, info, warn or error", level)
			}
			o.Log = zerolog.New(os.Stderr).Level(parsed).With().Timestamp().Str("process", "workers").Logger()
			return run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Temporal, "temporal", env("COUNTERSIGN_TEMPORAL", "127.0.0.1:7233"), "Temporal frontend, host:port (COUNTERSIGN_TEMPORAL)")
	f.StringVar(&o.Tenants, "tenants", env("COUNTERSIGN_TENANTS", "tenants"), "directory of the tenants' files (COUNTERSIGN_TENANTS)")
	f.StringVar(&o.Platform, "platform", env("COUNTERSIGN_PLATFORM", "platform"), "directory of the processes' keys (COUNTERSIGN_PLATFORM)")
	f.Float64Var(&o.KeyRate, "key-rate", 50, "KMS activities a second and tenant, held by the server over all workers")
	f.StringVar(&level, "log", env("COUNTERSIGN_LOG", "info"), "least level that is logged (COUNTERSIGN_LOG)")
	return cmd
}

func run(ctx context.Context, o pool.Options) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	boot, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p, err := pool.Start(boot, o)
	if err != nil {
		return err
	}
	o.Log.Info().Msg("ready")
	err = p.Wait(ctx)
	o.Log.Info().Msg("stopped")
	return err
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
