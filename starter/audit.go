package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/replay"
	"github.com/countersign-dev/countersign/evidence/shred"
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
	audit.AddCommand(c.listCommand(), c.exportCommand(), c.verifyCommand(), c.renewCommand(), c.reindexCommand(), c.replayCommand(), c.timelineCommand(), c.exposureCommand(), c.certificateCommand(), c.readsCommand(), c.checksCommand(), c.checkNowCommand(), c.auditLogCommand(),
		c.holdCommand(), c.retainCommand(), c.disputeCommand(), c.shredCommand(), c.recordsCommand())
	return audit
}

func (c *cli) exportCommand() *cobra.Command {
	var output string
	var many periodExport
	var signed bool
	cmd := &cobra.Command{
		Use:   "export REQUEST [--signed] | --from DAY --until DAY --output DIR|s3://BUCKET/PREFIX",
		Short: "Write locked evidence, or the signed PDF in it, to a file, or that of a period to a records system",
		Long: `Write the locked evidence bundle of one request to a file, with the proof that it is in the tenant's log (FILE.log.json) and the newest evidence record that has
time-stamped it anew (FILE.ers) beside it where there are any, or the signed PDF in it alone, or each bundle of a period to a directory or a bucket, for a central records system. Where personal data in a bundle was shredded, the file
(REQUEST.asice.shredded) holds what is left of it and the keys for that; audit verify checks it.

Of a period, each bundle is verified before it goes out, and lies there once, under its SHA-256, with its proof (.asice.log.json) and its newest evidence record
(.asice.renewal-NNN.ers) beside it. A manifest (JSON lines) names them all, and a last file
names the manifest, with how many there are: with it the receiving system proves that it has all of it. An export that was killed is run again with the same
flags: what is there is not read a second time, nothing is written over, and the end is the same. One export at a time writes to a directory. A bucket is
reached with the AWS settings of the environment. Each bundle that is read is recorded with its reader before it is given out.`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			if many.asked() != (len(args) == 0) {
				return usage("either a REQUEST or a period (--from, --until) is needed, and not both")
			}
			if many.asked() {
				return c.exportPeriod(ctx, &many, output)
			}
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
			body, shredded, err := api.EvidenceFile(ctx, args[0], *s.Evidence)
			if err != nil {
				return err
			}
			digest, name := countersign.SHA256(body), args[0]+".asice"
			if shredded {
				name += shred.FileSuffix
			}
			if signed {
				if body, err = signedPDF(body); err != nil {
					return &coded{exitUnproven, "evidence-unreadable", err}
				}
				if body == nil {
					return &coded{exitConflict, "not-signed", errors.New("there is no signed PDF: the signing ended without a signature, or a version up to v0.1.0 signed beside the document")}
				}
				digest, name = countersign.SHA256(body), args[0]+"-signed.pdf"
			}
			if output == "-" {
				_, err := c.out.Write(body)
				return err
			}
			output = cmp.Or(output, name)
			if err := writeFile(output, body); err != nil {
				return err
			}
			answer := map[string]any{"file": output, "bytes": len(body), "sha256": digest}
			if shredded {
				answer["shredded"] = true
			}
			var proof, renewal []byte
			if !signed {
				if proof, err = api.EvidenceProof(ctx, args[0]); err != nil {
					return err
				}
			}
			if !signed {
				record := api.EvidenceRenewal
				if shredded { // what is left of a bundle fits the record over what is stored, and not the one over the bundle
					record = api.StoredRenewal
				}
				if renewal, _, err = record(ctx, args[0]); err != nil {
					return err
				}
			}
			if renewal != nil {
				if err := writeFile(output+renewalSuffix, renewal); err != nil {
					return err
				}
				answer["renewal"] = output + renewalSuffix
			}
			if proof != nil {
				if err := writeFile(output+proofSuffix, proof); err != nil {
					return err
				}
				answer["proof"] = output + proofSuffix
			}
			return c.answer(answer, func(w io.Writer) {
				fmt.Fprintf(w, "file\t%s\nbytes\t%d\nsha256\t%s\n", output, len(body), digest)
				if shredded {
					fmt.Fprintln(w, "shredded\tpersonal data in this evidence was shredded: the file holds what is left, with the keys for that")
				}
				if proof != nil {
					fmt.Fprintf(w, "proof\t%s\n", output+proofSuffix)
				}
				if renewal != nil {
					fmt.Fprintf(w, "renewal\t%s\n", output+renewalSuffix)
				}
			})
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write, - is the standard output (default: REQUEST.asice, or REQUEST-signed.pdf); of a period, a directory or s3://BUCKET/PREFIX")
	cmd.Flags().BoolVar(&signed, "signed", false, "write the signed PDF alone")
	many.flags(cmd)
	return cmd
}

func (c *cli) verifyCommand() *cobra.Command {
	var tenantCA, tsaCA, logKey, lock, logProof, renewal string
	var postQuantum []string
	cmd := &cobra.Command{
		Use:   "verify FILE --tenant-ca PEM --tsa-ca PEM",
		Short: "Check an evidence bundle completely, without a network",
		Long: `Check an evidence bundle completely, without a network and without trusting whoever gave it to you. Each check is one line: pass,
fail or not recorded. The exit code is 6 if one failed.

With the log's public key it is also held to the tenant's log: that the intent was there before the key was asked, by the proof in the bundle, and that
the ending is there with the digest of exactly this file, by the proof that export wrote beside it (FILE.log.json). An evidence record (RFC 4998) that has time-stamped the
bundle anew is checked as well: FILE.ers where it lies there, else the last FILE.renewal-NNN.ers, or the one that --renewal names.

Of a file in which personal data was shredded (FILE.shredded) it checks what is left: the seal, its time-stamp, each file of which nothing is lost, and that the log has the
digest of what is stored.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			defer withoutCollecting()()
			anchors, err := readAnchors(tenantCA, tsaCA, logKey, lock, postQuantum...)
			if err != nil {
				return err
			}
			if anchors.LogProof, err = beside(args[0]+proofSuffix, logProof, evidence.MaxLogProof); err != nil {
				return err
			}
			if anchors.Renewal, err = beside(evidence.RenewalFile(args[0]), renewal, evidence.MaxRenewalSize); err != nil {
				return err
			}
			roots, err := anchors.Roots()
			if err != nil {
				return err
			}
			raw, done, err := evidenceFile(args[0], maxEvidenceFile)
			if err != nil {
				return err
			}
			defer done()
			verdict := evidence.Judge(args[0], raw, roots)
			if err := c.answer(verdict, verdict.WriteText); err != nil {
				return err
			}
			if !verdict.Verified {
				return &coded{exitUnproven, "not-verified", errors.New("the evidence does not hold; see what failed")}
			}
			return nil
		}),
	}
	rootFlags(cmd, &tenantCA, &tsaCA)
	cmd.Flags().StringVar(&logKey, "log-key", "", "public key of the tenant's log as text; without it, nothing is said about the log")
	cmd.Flags().StringArrayVar(&postQuantum, "pq-key", nil, "a file with an ML-DSA public key of the tenant (PEM), again for each; a bundle without a post-quantum signature by one of them fails")
	cmd.Flags().StringVar(&lock, "lock", "", "what the store says of the locked object (JSON of aws s3api head-object --checksum-mode ENABLED); without it, nothing is said about the lock")
	cmd.Flags().StringVar(&logProof, "log-proof", "", "proof that the ending is in the log (default: FILE.log.json, where it is there)")
	cmd.Flags().StringVar(&renewal, "renewal", "", "evidence record over the bundle (default: FILE.ers, else the last FILE.renewal-NNN.ers, where there is one)")
	must(cmd.MarkFlagRequired("tenant-ca"))
	must(cmd.MarkFlagRequired("tsa-ca"))
	return cmd
}

// verifyMemory is how much a verification allocates before it collects garbage.
const verifyMemory = 1 << 30

// withoutCollecting leaves garbage where it is, up to verifyMemory, until the returned function is called: checking a bundle takes less time than collecting would add.
func withoutCollecting() (back func()) {
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(verifyMemory)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// signedPDF is the signed PDF in a bundle, or in what is left of one.
func signedPDF(body []byte) ([]byte, error) {
	if !shred.IsFile(body) {
		return evidence.SignedPDF(body)
	}
	c, keys, err := shred.ReadFile(body)
	if err != nil {
		return nil, err
	}
	return evidence.SignedPDFOf(c, keys)
}

// maxEvidenceFile bounds a bundle, or what is left of one with its keys, in bytes.
const maxEvidenceFile = evidence.MaxBundleSize + 2*shred.MaxOverhead

// beside reads the named file, or the usual one beside the bundle if there is one.
func beside(usual, named string, limit int64) ([]byte, error) {
	if named != "" {
		return readBounded(named, limit)
	}
	if usual == "" {
		return nil, nil
	}
	body, err := readBounded(usual, limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return body, err
}

// What the names of the files beside a bundle end with, after the bundle's: the log's proof of the ending, and an evidence record.
const (
	proofSuffix   = ".log.json"
	renewalSuffix = evidence.RenewalSuffix
)

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
			events, writer, err := replayed(ctx, raw)
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

// replayed replays a bundle's history, or a history as JSON. It says how many events it has and, where the bundle does, which workflow
// code wrote it.
func replayed(ctx context.Context, raw []byte) (events int, writer string, err error) {
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
	return len(history.GetEvents()), writer, replay.History(ctx, history, workflows.Register)
}

func rootFlags(cmd *cobra.Command, tenantCA, tsaCA *string) {
	cmd.Flags().StringVar(tenantCA, "tenant-ca", "", "root certificates (PEM) that the tenant's seal must lead to")
	cmd.Flags().StringVar(tsaCA, "tsa-ca", "", "root certificates (PEM) that the time-stamp must lead to")
}

func rootsOf(tenantCA, tsaCA string) (evidence.Roots, error) { return allRoots(tenantCA, tsaCA, "") }

func readAnchors(tenantCA, tsaCA, logKey, lock string, postQuantum ...string) (a evidence.Anchors, err error) {
	a.LogKey = logKey
	if a.TenantCA, err = readBounded(tenantCA, evidence.MaxRoots); err != nil {
		return a, fmt.Errorf("--tenant-ca: %w", err)
	}
	if a.TSACA, err = readBounded(tsaCA, evidence.MaxRoots); err != nil {
		return a, fmt.Errorf("--tsa-ca: %w", err)
	}
	if lock != "" {
		if a.Lock, err = readBounded(lock, evidence.MaxLockRecord); err != nil {
			return a, fmt.Errorf("--lock: %w", err)
		}
	}
	for _, file := range postQuantum {
		key, err := readBounded(file, evidence.MaxRoots)
		if err != nil {
			return a, fmt.Errorf("--pq-key: %w", err)
		}
		a.PostQuantum = append(append(a.PostQuantum, key...), '\n')
	}
	return a, nil
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
