package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) checksCommand() *cobra.Command {
	var when period
	var limit int
	var cursor string
	cmd := &cobra.Command{
		Use:   "checks [CHECK|DIR|FILE]",
		Short: "List the reports of evidence checks, or show one, for the tenant's compliance and its owner",
		Long: `List the reports of the scheduled checks of evidence by the API, the last first, or show one by its name. Each page and each report that is read is recorded with its
reader. The exit code is 6 where the newest check that is listed, or the report that is shown, says that something did not hold, and where no report is as young as the
schedule has them: a check that did not run leaves none. Of a new installation it says until when the first one is due.

Given a directory or a file, it reads a copy of what lies under <tenant>/checks/ in the bucket of evidence, without the API, the first first:

  aws s3 sync s3://BUCKET/TENANT/checks DIR

A report is believed as it is: that nobody changed it since, the store's lock on it says.`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return c.checksByAPI(ctx, &when, limit, cursor)
			}
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				return c.listChecks(args[0])
			} else if err == nil {
				r, err := readCheck(args[0])
				if err != nil {
					return err
				}
				return c.showCheck(r)
			}
			if !checkName().MatchString(args[0]) {
				return usage("%s is no directory, no file, and no name of a check (2026-11-26T150405Z-...)", args[0])
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			return c.checkByAPI(ctx, api, args[0])
		}),
	}
	when.flags(cmd, "that began")
	limitFlag(cmd, &limit)
	cmd.Flags().StringVar(&cursor, "cursor", "", "go on where a list with the same flags stopped")
	return cmd
}

// checkName is the form of a report's name. It is compiled when it is asked for: that takes a tenth of a command's start.
var checkName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z-[0-9A-Za-z-]{1,64}$`)
})

func readCheck(file string) (r evidence.EvidenceReport, err error) {
	body, err := readBounded(file, client.MaxCheckReport)
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

func (c *cli) showCheck(r evidence.EvidenceReport) error {
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
