package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

func (c *cli) auditCommand() *cobra.Command {
	audit := &cobra.Command{
		Use:   "audit",
		Short: "Find, export, verify, replay and read evidence",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	audit.AddCommand(c.listCommand(), c.exportCommand(), c.verifyCommand(), c.renewCommand(), c.replayCommand(), c.timelineCommand(), c.exposureCommand(), c.readsCommand(), c.auditLogCommand())
	return audit
}

func (c *cli) exportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export REQUEST",
		Short: "Write the locked evidence bundle to a file",
		Args:  cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			s, err := api.Status(ctx, args[0])
			if err != nil {
				return err
			}
			if s.Evidence == nil {
				return &coded{exitConflict, "evidence-pending", fmt.Errorf("the evidence is not locked yet: the signing is at %s", s.State)}
			}
			body, err := api.Evidence(ctx, args[0], s.Evidence.Object.SHA256)
			if err != nil {
				return err
			}
			if output == "-" {
				_, err := c.out.Write(body)
				return err
			}
			if output == "" {
				output = args[0] + ".asice"
			}
			if err := writeFile(output, body); err != nil {
				return err
			}
			return c.answer(map[string]any{"file": output, "bytes": len(body), "sha256": s.Evidence.Object.SHA256}, func(w io.Writer) {
				fmt.Fprintf(w, "file\t%s\nbytes\t%d\nsha256\t%s\n", output, len(body), s.Evidence.Object.SHA256)
			})
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; - is the standard output (default: REQUEST.asice)")
	return cmd
}

func (c *cli) verifyCommand() *cobra.Command {
	var tenantCA, tsaCA, logKey, renewal string
	cmd := &cobra.Command{
		Use:   "verify FILE --tenant-ca PEM --tsa-ca PEM",
		Short: "Check an evidence bundle completely, without a network",
		Long: `Check an evidence bundle completely, without a network and without trusting whoever gave it to you. Each check is one line: pass,
fail or not recorded. The exit code is 6 if one failed. An evidence record (RFC 4998) that has time-stamped the bundle anew is checked as well: FILE.ers where
it lies there, or the one that --renewal names.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			roots, err := rootsOf(tenantCA, tsaCA)
			if err != nil {
				return err
			}
			if logKey != "" {
				reader, err := logReader("", logKey)
				if err != nil {
					return err
				}
				roots.Log = reader.Verifier
			}
			raw, err := readBounded(args[0], evidence.MaxBundleSize)
			if err != nil {
				return err
			}
			record, err := renewalOf(args[0], renewal)
			if err != nil {
				return err
			}
			report := evidence.Verify(raw, roots)
			if record != nil {
				report.Renewed(record, raw, roots)
			}
			answer := struct {
				*evidence.Report
				Verified bool   `json:"verified"`
				File     string `json:"file"`
				SHA256   string `json:"sha256"`
			}{report, report.Err() == nil, args[0], countersign.SHA256(raw)}
			if err := c.answer(answer, func(w io.Writer) {
				for _, f := range report.Findings {
					fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, f.Check, line(f.Detail))
				}
			}); err != nil {
				return err
			}
			if report.Err() != nil {
				return &coded{exitUnproven, "not-verified", errors.New("the evidence does not hold; see what failed")}
			}
			return nil
		}),
	}
	rootFlags(cmd, &tenantCA, &tsaCA)
	cmd.Flags().StringVar(&logKey, "log-key", "", "public key of the tenant's log as text; without it, nothing is said about the log")
	cmd.Flags().StringVar(&renewal, "renewal", "", "evidence record over the bundle (default: FILE.ers, where there is one)")
	must(cmd.MarkFlagRequired("tenant-ca"))
	must(cmd.MarkFlagRequired("tsa-ca"))
	return cmd
}

// renewalOf reads the evidence record that was named, or the one beside the bundle; nil where neither is there.
func renewalOf(bundle, named string) ([]byte, error) {
	if named != "" {
		return readBounded(named, evidence.MaxRenewalSize)
	}
	if _, err := os.Stat(bundle + ".ers"); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return readBounded(bundle+".ers", evidence.MaxRenewalSize)
}

func (c *cli) replayCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "replay FILE",
		Short: "Run the workflow code again over a recorded history",
		Long: `Run the workflow code of this build again over the history in an evidence bundle (.asice), or over a history as JSON, and compare
everything that the code does with everything that the history says. The exit code is 6 if they differ.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			raw, err := readBounded(args[0], evidence.MaxBundleSize)
			if err != nil {
				return err
			}
			events, writer, err := replay(ctx, raw)
			switch own := workflows.CodeDigest(); {
			case err != nil && writer != "" && writer != own:
				return &coded{exitUnproven, "other-code", fmt.Errorf("the history does not replay with this build: it was written by workflow code %s, this build has %s; replay it with that code: %w", line(writer), own, err)}
			case err != nil:
				return &coded{exitUnproven, "not-replayed", fmt.Errorf("the history does not replay: %w", err)}
			}
			return c.answer(map[string]any{"replayed": true, "file": args[0], "events": events, "code": workflows.CodeDigest()}, func(w io.Writer) {
				fmt.Fprintf(w, "pass\treplay\t%d events: the code does exactly what the history says\ncode\tworkflows\t%s\n", events, workflows.CodeDigest())
			})
		}),
	}
}

// replay replays a bundle's history, or a history as JSON. It says how many events it has and, where the bundle does, which workflow
// code wrote it.
func replay(ctx context.Context, raw []byte) (events int, writer string, err error) {
	var history *historypb.History
	if bytes.HasPrefix(raw, []byte("PK")) {
		bundle, err := evidence.OpenBundle(raw)
		if err != nil {
			return 0, "", err
		}
		pb, ok := bundle.File("history.pb")
		if !ok {
			return 0, "", errors.New("the bundle has no history.pb")
		}
		var worker evidence.Worker
		if body, ok := bundle.File("worker.json"); ok && json.Unmarshal(body, &worker) == nil {
			writer = worker.CodeDigest
		}
		if history, err = evidence.ParseHistory(pb); err != nil {
			return 0, writer, err
		}
	} else if history, err = evidence.ParseHistoryJSON(raw); err != nil {
		return 0, "", err
	}
	return len(history.GetEvents()), writer, evidence.Replay(ctx, history, workflows.Register)
}

func rootFlags(cmd *cobra.Command, tenantCA, tsaCA *string) {
	cmd.Flags().StringVar(tenantCA, "tenant-ca", "", "root certificates (PEM) that the tenant's seal must lead to")
	cmd.Flags().StringVar(tsaCA, "tsa-ca", "", "root certificates (PEM) that the time-stamp must lead to")
}

func rootsOf(tenantCA, tsaCA string) (roots evidence.Roots, err error) {
	if roots.Signers, err = pool(tenantCA); err != nil {
		return roots, fmt.Errorf("--tenant-ca: %w", err)
	}
	if roots.TSAs, err = pool(tsaCA); err != nil {
		return roots, fmt.Errorf("--tsa-ca: %w", err)
	}
	return roots, nil
}

func pool(file string) (*x509.CertPool, error) {
	raw, err := readBounded(file, 1<<20)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s has no certificate (PEM)", file)
	}
	return p, nil
}

// writeFile writes a file that only its owner reads, whole or not at all.
func writeFile(name string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".countersign-*")
	if err != nil {
		return fmt.Errorf("couldn't write the file: %w", err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("couldn't write the file: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
