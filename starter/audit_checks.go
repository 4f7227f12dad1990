package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

const maxReport = 4 << 20

func (c *cli) checksCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checks DIR|FILE",
		Short: "List the reports of evidence checks, or show one",
		Long: `List the reports of evidence checks in a copy of what lies under <tenant>/checks/ in the bucket of evidence, the first first, or show one report:

  aws s3 sync s3://BUCKET/TENANT/checks DIR

A report is believed as it is: that nobody changed it since, the store's lock on it says. The exit code is 6 where a report that is shown says that something did not hold.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			info, err := os.Stat(args[0])
			if err != nil {
				return usage("%w", err)
			}
			if info.IsDir() {
				return c.listChecks(args[0])
			}
			return c.showCheck(args[0])
		}),
	}
}

func readCheck(file string) (r evidence.EvidenceReport, err error) {
	body, err := readBounded(file, maxReport)
	if err == nil {
		err = countersign.ParseStrict(body, &r)
	}
	if err != nil {
		return r, &coded{exitUnproven, "no-report", fmt.Errorf("couldn't read %s as the report of an evidence check: %w", file, err)}
	}
	return r, nil
}

func (c *cli) listChecks(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json")) // in the order of their time
	if err != nil {
		return err
	}
	reports := []evidence.EvidenceReport{}
	for _, file := range files {
		r, err := readCheck(file)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	return c.answer(map[string]any{"checks": reports}, func(w io.Writer) {
		fmt.Fprint(w, "at\tresult\tbundles\tlog\tproblems\n")
		for _, r := range reports {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", r.At.UTC().Format(time.RFC3339), resultOf(r), len(r.Bundles), r.Entries, line(strings.Join(r.Problems(), "; ")))
		}
	})
}

func resultOf(r evidence.EvidenceReport) evidence.State {
	if r.Passed && len(r.Problems()) == 0 {
		return evidence.Pass
	}
	return evidence.Fail
}

func (c *cli) showCheck(file string) error {
	r, err := readCheck(file)
	if err != nil {
		return err
	}
	if err := c.answer(r, func(w io.Writer) {
		fmt.Fprintf(w, "tenant\t%s\nat\t%s\nseed\t%s\nentries\t%d\n", line(r.Tenant), r.At.UTC().Format(time.RFC3339), line(r.Seed), r.Entries)
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Log.State, line(r.Log.Check), line(r.Log.Detail))
		for _, b := range r.Bundles {
			state, says := evidence.Pass, "verified, "+b.Mode
			if b.RetainUntil != nil {
				says += " until " + b.RetainUntil.UTC().Format(time.RFC3339)
			}
			if len(b.Problems) > 0 {
				state, says = evidence.Fail, strings.Join(b.Problems, "; ")
			}
			fmt.Fprintf(w, "%s\t%s (%s, entry %d)\t%s\n", state, line(b.Request), line(b.Why), b.Entry, line(says))
		}
		for _, f := range r.Canary {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, line(f.Check), line(f.Detail))
		}
	}); err != nil {
		return err
	}
	if problems := r.Problems(); len(problems) > 0 || !r.Passed {
		return &coded{exitUnproven, "evidence-does-not-hold", fmt.Errorf("%d things did not hold", max(len(problems), 1))}
	}
	return nil
}
