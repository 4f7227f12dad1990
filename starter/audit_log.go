package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) auditLogCommand() *cobra.Command {
	log := &cobra.Command{
		Use:   "log",
		Short: "Verify, prove and watch a tenant's log",
		Long: `Verify, prove and watch a tenant's log, in a copy of what lies under <tenant>/log/ in its bucket of evidence:

  aws s3 sync s3://BUCKET/TENANT/log DIR

Nothing but the log's public key is believed, which the tenant hands out (log.publicKey of its file).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	log.AddCommand(c.logVerifyCommand(), c.logProveCommand(), c.logWatchCommand())
	return log
}

func (c *cli) logProveCommand() *cobra.Command {
	var key, output string
	cmd := &cobra.Command{
		Use:   "prove DIR REQUEST --log-key TEXT",
		Short: "Write the proofs that a request's entries are in the log",
		Long: `Write the proofs that a request's entries are in the log: each entry, its place, and the hashes that lead from it to the root of the
checkpoint (RFC 6962). The exit code is 4 where the log has no entry of the request.`,
		Args: cobra.ExactArgs(2),
		RunE: c.run(func(ctx context.Context, args []string) error {
			reader, err := logReader(args[0], key)
			if err != nil {
				return err
			}
			proofs, err := reader.Prove(ctx, args[1])
			if err != nil {
				return &coded{exitUnproven, "log-broken", err}
			}
			if len(proofs) == 0 {
				return &coded{exitNotFound, "not-found", fmt.Errorf("the log has no entry of request %s", args[1])}
			}
			body, err := json.MarshalIndent(proofs, "", "  ")
			if err != nil {
				return err
			}
			if output == "" {
				output = args[1] + ".log.json"
			}
			if err := writeFile(output, append(body, '\n')); err != nil {
				return err
			}
			return c.answer(map[string]any{"file": output, "entries": len(proofs)}, func(w io.Writer) {
				fmt.Fprintf(w, "file\t%s\nentries\t%d\n", output, len(proofs))
			})
		}),
	}
	logKeyFlag(cmd, &key)
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (default: REQUEST.log.json)")
	return cmd
}

func (c *cli) logWatchCommand() *cobra.Command {
	var key, since string
	var first bool
	cmd := &cobra.Command{
		Use:   "watch [DIR] --since FILE --log-key TEXT",
		Short: "Hold the log to a checkpoint that was kept",
		Long: `Say whether the log as it is now continues the log as it was when a checkpoint was kept: from a webhook, or from an earlier watch. A log that was
rolled back or forked does not, and the exit code is 6. Where it does, the file has the newer checkpoint afterwards.

Without DIR the log is asked of the API (--api), by anybody whom the tenant's file lists, and nothing but its key is believed. With --first, where the file
is not there yet, the first checkpoint is kept: nothing is compared then.`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			reader, err := c.watchedLog(args, key)
			if err != nil {
				return err
			}
			kept, err := readBounded(since, 64<<10)
			if first && errors.Is(err, os.ErrNotExist) {
				return c.keepFirst(ctx, reader, since)
			}
			if err != nil {
				return err
			}
			old, now, err := reader.Watch(ctx, string(kept))
			if err != nil {
				return unproven("log-not-continued", err)
			}
			if err := writeFile(since, []byte(now.Text)); err != nil {
				return err
			}
			return c.answer(map[string]any{"continued": true, "from": old.N, "to": now.N, "root": now.Hash}, func(w io.Writer) {
				fmt.Fprintf(w, "pass\tlog\tits %d entries continue the %d of the kept checkpoint\nroot\tlog\t%s\n", now.N, old.N, now.Hash)
			})
		}),
	}
	logKeyFlag(cmd, &key)
	cmd.Flags().StringVar(&since, "since", "", "file with the checkpoint that was kept")
	cmd.Flags().BoolVar(&first, "first", false, "keep the first checkpoint where the file is not there yet")
	must(cmd.MarkFlagRequired("since"))
	return cmd
}

// unproven is a log that does not hold. An API that could not be asked has proven nothing either way, and keeps its own exit code.
func unproven(code string, err error) error {
	var told *client.Problem
	if errors.As(err, &told) || errors.Is(err, client.ErrUnreachable) {
		return err
	}
	return &coded{exitUnproven, code, err}
}

// watchedLog is the log in a directory, or as the API shows it.
func (c *cli) watchedLog(args []string, key string) (translog.Reader, error) {
	if len(args) == 1 {
		return logReader(args[0], key)
	}
	api, err := c.connect()
	if err != nil {
		return translog.Reader{}, err
	}
	verifier, err := logVerifier(key)
	return translog.Reader{Source: api.Log(), Verifier: verifier}, err
}

func (c *cli) keepFirst(ctx context.Context, reader translog.Reader, file string) error {
	now, err := reader.Head(ctx)
	if err != nil {
		return unproven("log-not-continued", err)
	}
	if err := writeFile(file, []byte(now.Text)); err != nil {
		return err
	}
	return c.answer(map[string]any{"continued": false, "first": true, "to": now.N, "root": now.Hash}, func(w io.Writer) {
		fmt.Fprintf(w, "kept\tlog\tthe first checkpoint, of %d entries; nothing was compared\nroot\tlog\t%s\n", now.N, now.Hash)
	})
}

func logKeyFlag(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "log-key", "", "the log's public key as text: countersign/TENANT+HASH+KEY")
	must(cmd.MarkFlagRequired("log-key"))
}

func logVerifier(key string) (note.Verifier, error) {
	tenant, err := translog.TenantOf(key)
	if err != nil {
		return nil, usage("--log-key: %w", err)
	}
	verifier, err := translog.ParseVerifier(key, tenant)
	if err != nil {
		return nil, usage("--log-key: %w", err)
	}
	return verifier, nil
}

func logReader(dir, key string) (translog.Reader, error) {
	verifier, err := logVerifier(key)
	return translog.Reader{Source: translog.Stored(logCopy(dir)), Verifier: verifier}, err
}

// logCopy is a directory with a copy of a log.
type logCopy string

// Get reads one file of the copy.
func (dir logCopy) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	body, err := readBounded(filepath.Join(string(dir), filepath.FromSlash(name)), limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, translog.ErrGone)
	}
	return body, err
}
