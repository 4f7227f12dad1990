package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/records"
)

func (c *cli) recordsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "records",
		Short: "Check what a records system received",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(c.recordsVerifyCommand())
	return cmd
}

func (c *cli) recordsVerifyCommand() *cobra.Command {
	var tenantCA, tsaCA, logKey string
	var postQuantum, digests []string
	var when period
	var quiet bool
	cmd := &cobra.Command{
		Use:   "verify DIR --tenant-ca PEM --tsa-ca PEM",
		Short: "Check that exports of periods are complete and hold, without a network",
		Long: `Check what audit export --from --until has handed out, without a network and without trusting whoever handed it out: for each export in the directory the final
manifest, the manifest, that each file is there with its digest and size, that each bundle holds and says what its line says, and that nothing is there besides.
What is wrong is one line each; the exit code is 6 if anything is. Of what lies in a bucket, check a copy:

  aws s3 sync s3://BUCKET/PREFIX DIR

A manifest is signed by nobody: whoever can write in the directory can leave a signing out and write another manifest. So have the digest that the export printed given to you by another
way, and give it here (--digest); or hold the bundles to the tenant's log (audit log verify). With --log-key each ending is held to the log by its proof.

One bundle is looked at at a time, in a temporary file (TMPDIR) and not in memory.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			from, until, err := when.window()
			if err == nil && from.IsZero() != until.IsZero() {
				err = usage("--from and --until belong together: they are the period that has to be there")
			}
			if err != nil {
				return err
			}
			anchors, err := readAnchors(tenantCA, tsaCA, logKey, "", postQuantum...)
			if err != nil {
				return err
			}
			roots, err := anchors.Roots()
			if err != nil {
				return err
			}
			dir, err := os.OpenRoot(args[0])
			if err != nil {
				return fmt.Errorf("couldn't open the directory: %w", err)
			}
			defer dir.Close()
			r := records.Received{Root: dir, Tenant: c.tenant, From: from, Until: until, Digests: digests, Progress: func(format string, args ...any) {
				if !quiet {
					fmt.Fprintln(c.err, line(fmt.Sprintf(format, args...)))
				}
			}}
			r.Verify = func(bundle, proof, renewal []byte) *evidence.Report {
				of := roots
				of.LogProof, of.Renewal = proof, renewal
				return evidence.Verify(bundle, of)
			}
			r.Renewed = func(record, bundle []byte) error {
				_, err := evidence.VerifyRenewal(record, bundle, roots)
				return err
			}
			if roots.Log != nil {
				r.Ending = func(proof []byte) (index int64, at time.Time, err error) {
					p, err := evidence.ParseLogProof(proof)
					if err != nil {
						return 0, at, err
					}
					entry, _, err := p.Check(roots.Log)
					return p.Index, entry.At, err
				}
			}
			receipt, err := r.Check(ctx)
			if err != nil {
				return err
			}
			if err := c.answer(receipt, func(w io.Writer) { receiptText(w, receipt, roots.Log != nil) }); err != nil {
				return err
			}
			if !receipt.Complete {
				return &coded{exitUnproven, "not-complete", errors.New("what was received is not complete, or does not hold; see what failed")}
			}
			return nil
		}),
	}
	rootFlags(cmd, &tenantCA, &tsaCA)
	when.flags(cmd, "the period that has to be there:")
	f := cmd.Flags()
	f.StringVar(&logKey, "log-key", "", "public key of the tenant's log as text; without it, proofs of the log are not checked")
	f.StringArrayVar(&postQuantum, "pq-key", nil, "a file with an ML-DSA public key of the tenant (PEM), again for each; a bundle without a post-quantum signature by one of them fails")
	f.StringArrayVar(&digests, "digest", nil, "digest of an export, as the export printed it, again for each; an export with another one fails, and so does a missing one")
	f.BoolVar(&quiet, "quiet", false, "don't tell how far it is")
	must(cmd.MarkFlagRequired("tenant-ca"))
	must(cmd.MarkFlagRequired("tsa-ca"))
	return cmd
}

// receiptText tells what was received, what failed first.
func receiptText(w io.Writer, r *records.Receipt, logged bool) {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "fail\t%s\t%s\t%s\n", p.Check, line(p.File), line(p.Detail))
	}
	if more := r.Failed - len(r.Problems); more > 0 {
		fmt.Fprintf(w, "fail\t%d more\n", more)
	}
	for _, e := range r.Exports {
		fmt.Fprintf(w, "export\t%s\tfrom %s until %s\t%d signings, digest %s\n", line(e.Tenant), instant(e.From), instant(e.Until), e.Count, e.Digest)
	}
	fmt.Fprintf(w, "%d bundles hold\n", r.Verified)
	switch {
	case !logged && r.Verified > 0:
		fmt.Fprintln(w, "the log's public key was not given, so whether their endings are in the tenant's log was not checked")
	case r.Unlogged > 0:
		fmt.Fprintf(w, "of %d bundles nothing shows that the ending is in the tenant's log\n", r.Unlogged)
	}
	if r.Shredded > 0 {
		fmt.Fprintf(w, "%d signings have no bundle here, because personal data in it was shredded\n", r.Shredded)
	}
	if r.Complete {
		fmt.Fprintln(w, "complete: everything is there, holds, and nothing is there besides")
	}
}
