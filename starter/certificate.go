package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/certificate"
)

func (c *cli) certificateCommand() *cobra.Command {
	var tenantCA, tsaCA, logKey, out, twin string
	cmd := &cobra.Command{
		Use:   "certificate FILE --tenant-ca PEM --tsa-ca PEM [--output PDF] [--twin JSON]",
		Short: "Write what an evidence bundle says as a page for people, without a network",
		Long: `Write what an evidence bundle says in plain English, as a tagged PDF (PDF/A-3a, PDF/UA-1) with the same facts as JSON in it: the document, how it
ended, who decided under which authority, the quorum, the active controls, time-stamps, key and log, and how to check it.

The bundle is verified first, and nothing is told of one that fails (exit code 6). The page is a reading aid: the bundle is the evidence. The same bundle
makes the same bytes. Characters that no font of the page shows stand as their Unicode numbers, and are listed at its end.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			roots, err := allRoots(tenantCA, tsaCA, logKey)
			if err != nil {
				return err
			}
			raw, err := readBounded(args[0], evidence.MaxBundleSize)
			if err != nil {
				return err
			}
			page, facts, err := certify(raw, roots)
			if err != nil {
				return &coded{exitUnproven, "not-verified", fmt.Errorf("%s: %w", args[0], err)}
			}
			if out == "" {
				out = args[0] + ".pdf"
			}
			if err := writeFile(out, page); err != nil {
				return err
			}
			if twin != "" {
				if err := writeFile(twin, facts); err != nil {
					return err
				}
			}
			answer := map[string]any{"file": out, "sha256": countersign.SHA256(page), "bundle": countersign.SHA256(raw), "twin": twin}
			return c.answer(answer, func(w io.Writer) {
				fmt.Fprintf(w, "file\t%s\nsha256\t%s\nof the bundle\t%s\n", out, answer["sha256"], answer["bundle"])
			})
		}),
	}
	rootFlags(cmd, &tenantCA, &tsaCA)
	f := cmd.Flags()
	f.StringVar(&logKey, "log-key", "", "public key of the tenant's log as text; without it, the proof in the bundle is not checked")
	f.StringVarP(&out, "output", "o", "", "file to write (default: FILE.pdf)")
	f.StringVar(&twin, "twin", "", "write the facts as JSON to this file as well")
	must(cmd.MarkFlagRequired("tenant-ca"))
	must(cmd.MarkFlagRequired("tsa-ca"))
	return cmd
}

// allRoots are the roots with the log's key, where one is given.
func allRoots(tenantCA, tsaCA, logKey string) (evidence.Roots, error) {
	anchors, err := readAnchors(tenantCA, tsaCA, logKey, "")
	if err != nil {
		return evidence.Roots{}, err
	}
	return anchors.Roots()
}

// certify makes the certificate of a bundle that holds, as a page and as its twin.
func certify(raw []byte, roots evidence.Roots) (page, twin []byte, err error) {
	cert, err := certificate.Of(raw, roots)
	if err != nil {
		return nil, nil, err
	}
	page, err = cert.PDF()
	twin, fault := cert.Twin()
	return page, twin, errors.Join(err, fault)
}
