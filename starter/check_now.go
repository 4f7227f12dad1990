package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// checkWords is how often it is told that a check still runs.
const checkWords = 15 * time.Second

func (c *cli) checksByAPI(ctx context.Context, when *period, limit int, cursor string) error {
	from, until, err := when.window()
	if err != nil {
		return err
	}
	api, err := c.connect()
	if err != nil {
		return err
	}
	all := client.EvidenceChecks{Checks: []client.EvidenceCheck{}, Unreadable: []string{}, Overwritten: []string{}}
	whole := cursor == ""
	all.Cursor, err = pages(limit, cursor, func(after string) (int, string, error) {
		page, err := api.ChecksPage(ctx, from, until, after)
		all.Checks, all.Unreadable = append(all.Checks, page.Checks...), append(all.Unreadable, page.Unreadable...)
		all.Overwritten, all.Markers, all.Schedule = page.Overwritten, page.Markers, page.Schedule // each page tells all of them
		return len(page.Checks), page.Cursor, err
	})
	if err != nil {
		return err
	}
	if err := c.answer(all, func(w io.Writer) { writeChecks(w, all) }); err != nil {
		return err
	}
	switch {
	case whole && len(all.Checks) > 0 && !all.Checks[0].Passed:
		return &coded{exitUnproven, "evidence-does-not-hold", fmt.Errorf("the newest check of these found what does not hold: countersign audit checks %s", all.Checks[0].Check)}
	case len(all.Unreadable) > 0 || len(all.Overwritten) > 0 || all.Markers > 0:
		return &coded{exitUnproven, "reports-do-not-hold", errors.New("somebody wrote among the reports of checks, or one can't be read")}
	case all.Schedule.Late:
		return &coded{exitUnproven, "check-missed", fmt.Errorf("no report is as young as the schedule has them (every %s): see whether the tenant's workers run, and have one made by countersign audit check-now", all.Schedule.Every)}
	}
	return nil
}

func writeChecks(w io.Writer, all client.EvidenceChecks) {
	fmt.Fprint(w, "at\tresult\tbundles\tlog\tcheck\tproblems\n")
	for _, r := range all.Checks {
		result := evidence.Pass
		if !r.Passed {
			result = evidence.Fail
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", r.At.UTC().Format(time.RFC3339), result, r.Bundles, r.Entries, line(r.Check), line(strings.Join(r.Problems, "; ")))
	}
	for _, key := range all.Unreadable {
		fmt.Fprintf(w, "no report, or not readable\t%s\n", line(key))
	}
	for _, key := range all.Overwritten {
		fmt.Fprintf(w, "written over\t%s: the first version is what is told\n", line(key))
	}
	if all.Markers > 0 {
		fmt.Fprintf(w, "delete markers\t%d: somebody tried to hide reports; they are listed all the same\n", all.Markers)
	}
	s := all.Schedule
	told := "every " + s.Every
	if s.Running != nil {
		told += ", one runs since " + instant(*s.Running)
	}
	if s.Next != nil {
		told += ", next " + instant(*s.Next)
	}
	if s.Problem != "" {
		told += "; " + s.Problem
	}
	switch {
	case s.FirstDue != nil:
		told += "; not yet: the first is due by " + instant(*s.FirstDue)
	case s.Late && s.Newest == nil:
		told += "; LATE: there is no report"
	case s.Late:
		told += "; LATE: the newest report is of " + instant(*s.Newest)
	}
	fmt.Fprintf(w, "schedule\t%s\n", line(told))
	more(w, all.Cursor)
}

func (c *cli) checkByAPI(ctx context.Context, api *client.Client, name string) error {
	body, err := api.Check(ctx, name)
	if err != nil {
		return err
	}
	var r evidence.EvidenceReport
	if err := countersign.ParseStrict(body, &r); err != nil {
		return fmt.Errorf("couldn't read the report %s: %w", name, err)
	}
	return c.showCheck(r)
}

func (c *cli) checkNowCommand() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "check-now",
		Short: "Have evidence checked now, for the tenant's compliance and its owner",
		Long: `Have the scheduled check of evidence made now, by the tenant's workers, wait for it, and show its report. Who asked is recorded. One check runs at a time: while one runs,
the exit code is 5. The command can be interrupted; the check goes on, and its report will be among the others. The exit code is 6 where something did not hold, and 1 where
the check could not be made.

With --dry-run it tells which bundles a check would take now: the newest, and those whose turn it is. The others are taken at random, by a seed that is drawn when a
check begins.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			run, err := api.RunCheck(ctx, client.CheckBody{DryRun: dry})
			if err != nil {
				return err
			}
			if dry {
				return c.answer(run, func(w io.Writer) { writeWould(w, run) })
			}
			if run, err = c.followCheck(ctx, api, run.Run); err != nil {
				return err
			}
			return c.checkByAPI(ctx, api, run.Check)
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "tell what a check would take now, and make none")
	return cmd
}

func writeWould(w io.Writer, run client.CheckRun) {
	for _, s := range run.Sample {
		fmt.Fprintf(w, "would verify\t%s\t%s, entry %d of %d\n", line(s.Request), line(s.Why), s.Entry, run.Entries)
	}
	if run.Random > 0 {
		fmt.Fprintf(w, "would verify\tup to %d more\tat random\n", run.Random)
	}
	fmt.Fprint(w, "would hold\tthe log to the checkpoint of the check before\nwould try\tto shorten and to delete a locked object, which has to be refused\n")
}

// followCheck waits for the end of a check.
func (c *cli) followCheck(ctx context.Context, api *client.Client, name string) (client.CheckRun, error) {
	began := time.Now()
	ask := func(ctx context.Context) (client.CheckRun, error) { return api.CheckRun(ctx, name) }
	return follow(ctx, c, ask, func(r client.CheckRun) (bool, error) {
		if r.State == client.CheckFailed {
			return false, &coded{exitFailed, "check-failed", fmt.Errorf("the check could not be made: %s", line(r.Problem))}
		}
		return r.State == client.CheckDone, nil
	}, func(r client.CheckRun) string {
		return fmt.Sprintf("check %s: runs for %s, attempt %d%s", line(name), time.Since(began).Truncate(checkWords), cmp.Or(r.Attempt, 1), line(withProblem(r.Problem)))
	})
}

func withProblem(problem string) string {
	if problem == "" {
		return ""
	}
	return "; before: " + problem
}
