package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/records"
)

// periodExport is the flags of an export of a period.
type periodExport struct {
	when                     period
	tenantCA, tsaCA, logKey  string
	certificates, onlyListed bool
}

func (p *periodExport) flags(cmd *cobra.Command) {
	p.when.flags(cmd, "instead of one request, all that ended")
	rootFlags(cmd, &p.tenantCA, &p.tsaCA)
	f := cmd.Flags()
	f.StringVar(&p.logKey, "log-key", "", "of a period: public key of the tenant's log as text; without it, proofs of the log are not checked")
	f.BoolVar(&p.certificates, "certificates", false, "of a period: beside each bundle its certificate for people, and the certificate's JSON twin")
	f.BoolVar(&p.onlyListed, "dry-run", false, "of a period: say what would be exported, and export nothing")
}

// asked says that a period is meant, and not one request.
func (p *periodExport) asked() bool { return p.when.from != "" || p.when.until != "" }

func (c *cli) exportPeriod(ctx context.Context, p *periodExport, output string) error {
	from, until, err := p.when.window()
	switch {
	case err != nil:
		return err
	case from.IsZero() || until.IsZero():
		return usage("--from and --until are both needed: a period without an end is never complete")
	case !from.Before(until):
		return usage("--from must be before --until")
	case until.After(time.Now()):
		return usage("--until is in the future (%s): more would come into the period after its manifest", until.UTC().Format(time.RFC3339))
	case output == "" && !p.onlyListed:
		return usage("--output is needed: a directory, or s3://bucket/prefix")
	case p.tenantCA == "" && !p.onlyListed:
		return usage("--tenant-ca and --tsa-ca are needed: each bundle is verified before it goes out")
	}
	api, err := c.connect()
	if err != nil {
		return err
	}
	e := records.Export{Tenant: c.tenant, From: from, Until: until, Source: api, Progress: func(format string, args ...any) { fmt.Fprintln(c.err, line(fmt.Sprintf(format, args...))) }}
	if time.Since(until) < settling {
		e.Progress("the period ended just now: a signing of its last seconds may not be listed yet")
	}
	if p.onlyListed {
		return c.wouldExport(ctx, &e)
	}
	roots, err := allRoots(p.tenantCA, p.tsaCA, p.logKey)
	if err != nil {
		return err
	}
	e.Verify = func(raw, proof, renewal []byte) error {
		roots := roots
		roots.LogProof, roots.Renewal = proof, renewal
		if err := evidence.Verify(raw, roots).Err(); err != nil {
			return &coded{exitUnproven, "not-verified", fmt.Errorf("the evidence does not hold, so it does not go out: %w", err)}
		}
		return nil
	}
	if p.certificates {
		e.Certify = func(raw []byte) (page, twin []byte, err error) { return certify(raw, roots) }
	}
	if e.Store, err = records.Open(ctx, output); err != nil {
		return usage("--output: %w", err)
	}
	done, err := e.Run(ctx)
	if errors.Is(err, records.ErrChanged) {
		return &coded{exitConflict, "changed", err}
	}
	if err != nil {
		return err
	}
	return c.answer(done, func(w io.Writer) {
		fmt.Fprintf(w, "bundles\t%d\nbytes\t%d\nmanifest\t%s\nits SHA-256\t%s\ndigest of the export\t%s\n", done.Count, done.Bytes, done.Manifest.File, done.Manifest.SHA256, done.Digest)
	})
}

// settling is how long the Temporal server's index may take.
const settling = time.Minute

// wouldExport says what an export would hand out. It reads no evidence; the pages of the list are recorded as reads like any.
func (c *cli) wouldExport(ctx context.Context, e *records.Export) error {
	all, err := e.List(ctx)
	if err != nil {
		return err
	}
	return c.answer(map[string]any{"count": len(all), "signings": all}, func(w io.Writer) {
		fmt.Fprintf(w, "%d bundles would be exported\n", len(all))
		for _, s := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", instant(s.Ended), s.Outcome, line(s.Request), s.Evidence.Object.SHA256)
		}
	})
}
