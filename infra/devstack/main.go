// Command devstack runs everything that Countersign needs around it in one process:
// Temporal with its Web UI, S3, KMS, four identity providers, a time-stamping
// authority and a mailbox. All of it listens on the loopback alone and keeps its state
// in one directory.
//
//	go -C infra run ./devstack [--data DIR] [--json] [--fixed-ports] [--port name=N] [--for-tests --without LAYER]
//	devstack login --data DIR --as acme/alice URL
//	devstack token --data DIR --as acme/alice | --machine acme/procurement | --platform operator/acme
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// usageError is a mistake of whoever called the command, and a directory that is in use.
type usageError struct{ error }

func main() {
	// Libraries print notes to the standard output. It must carry our one answer
	// alone, so everything else goes to the standard error.
	output := os.Stdout
	os.Stdout = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	err := command(ctx, os.Args[1:], output)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, output *os.File) error {
	if len(args) > 0 {
		switch args[0] {
		case "login":
			return loginCommand(ctx, args[1:])
		case "token":
			return tokenCommand(ctx, args[1:], output)
		}
	}
	return startCommand(ctx, args, output)
}

// flags makes a flag set with the one flag that all commands share.
func flags(name string) (*flag.FlagSet, *string) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(os.Stderr)
	return set, set.String("data", "", "data `directory` (default: countersign/devstack in the user's cache directory)")
}

func parse(set *flag.FlagSet, args []string, positional int) error {
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if set.NArg() != positional {
		return usageError{fmt.Errorf("%s takes %d arguments besides its flags, not %d", set.Name(), positional, set.NArg())}
	}
	return nil
}

// dataDirectory returns the absolute path of the data directory. It must be
// absolute: the object store changes the process's working directory.
func dataDirectory(given string) (string, error) {
	if given == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("couldn't find the cache directory; give --data: %w", err)
		}
		given = filepath.Join(cache, "countersign", "devstack")
	}
	return filepath.Abs(given)
}
