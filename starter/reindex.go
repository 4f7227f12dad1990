package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) reindexCommand() *cobra.Command {
	var body client.ReindexBody
	var when period
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Make missing records of the index of evidence anew, for the tenant's compliance and its owner",
		Long: `Make missing records of the index of evidence (TENANT/index/) anew: for each ending in the tenant's log that has none, out of its locked bundle, which is
verified first. The workers do it. Endings of builds that kept no index are made findable so. Nothing that is there is changed: what differs, is hidden or is
more than the log knows is told, as by audit list --verify. It can be repeated at any time. The exit code is 6 if something is still not as it has to be.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error { return c.reindex(ctx, body, when) }),
	}
	when.flags(cmd, "endings that were logged")
	cmd.Flags().BoolVar(&body.Bundles, "bundles", false, "compare each record with its bundle as well, which reads them all")
	cmd.Flags().BoolVar(&body.DryRun, "dry-run", false, "tell what is missing, and make nothing")
	return cmd
}

// reindex has a window of the index compared, and made whole unless it is a dry run.
func (c *cli) reindex(ctx context.Context, body client.ReindexBody, when period) error {
	from, until, err := when.window()
	if err != nil {
		return err
	}
	if !from.IsZero() {
		body.From = &from
	}
	if !until.IsZero() {
		body.Until = &until
	}
	api, err := c.connect()
	if err != nil {
		return err
	}
	// Two reindexings at once do no harm, should one have begun whose answer was lost.
	kept, err := followed(ctx, func(ctx context.Context) (client.Kept, error) { return api.Reindex(ctx, body) })
	if err != nil {
		return err
	}
	status, err := c.followReindexing(ctx, api, kept.ID)
	if err != nil {
		return err
	}
	if err := c.answer(status, func(w io.Writer) { writeReindexing(w, status) }); err != nil {
		return err
	}
	if status.Wrong > 0 {
		return &coded{exitUnproven, "index-wrong", fmt.Errorf("%d records of the index are not as the log says they have to be; the bundles are the evidence, not the index: audit reindex makes what is missing, and who wrote the rest is to be found out", status.Wrong)}
	}
	return nil
}

// followReindexing waits for the end of a reindexing.
func (c *cli) followReindexing(ctx context.Context, api *client.Client, id string) (evidence.ReindexStatus, error) {
	ask := func(ctx context.Context) (evidence.ReindexStatus, error) { return api.Reindexing(ctx, id) }
	return follow(ctx, c, ask, func(s evidence.ReindexStatus) (bool, error) {
		switch {
		case s.Refusal != nil:
			return false, &coded{exitRefused, s.Refusal.Code, errors.New(s.Refusal.Message)}
		case s.State == evidence.ReindexFailed:
			return false, &coded{exitFailed, "reindexing-failed", fmt.Errorf("it ended after %d endings and %d records: %s", s.Endings, s.Records, s.Problem)}
		}
		return s.State == evidence.ReindexDone, nil
	}, func(s evidence.ReindexStatus) string {
		return fmt.Sprintf("reindexing %s: looked at %d endings and %d records%s", id, s.Endings, s.Records, line(withProblem(s.Problem)))
	})
}

func writeReindexing(w io.Writer, s evidence.ReindexStatus) {
	for _, f := range s.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.What, line(f.Request), line(f.Key), line(f.Detail))
	}
	if n := s.Made + s.Wrong - len(s.Findings); n > 0 {
		fmt.Fprintf(w, "and %d more\n", n)
	}
	fmt.Fprintf(w, "endings in the log\t%d\nrecords in the index\t%d\nmade\t%d\nnot as they have to be\t%d\n", s.Endings, s.Records, s.Made, s.Wrong)
}
