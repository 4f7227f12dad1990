package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) renewCommand() *cobra.Command {
	var body client.RenewalBody
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "Have evidence time-stamped anew before what it stands on ends, for the tenant's compliance and its owner",
		Long: `Have the tenant's locked bundles time-stamped anew, those whose last time-stamp stands on certificates that end soon or on an algorithm that is listed as
ending. The workers verify each bundle, ask one time-stamp for many of them, and lock an evidence record (RFC 4998) beside each, as
TENANT/evidence/REQUEST/renewal-001.ers; where personal data in it is concealed, also one over what is stored, stored-001.ers, which still holds when somebody was
shredded. What was renewed is not due any more: the command can be repeated at any time, and one that is interrupted goes on at the workers. The exit code is 6 if a
bundle could not be renewed.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			// Two renewals at once do no harm, should one have begun whose answer was lost.
			kept, err := followed(ctx, func(ctx context.Context) (client.Kept, error) { return api.Renew(ctx, body) })
			if err != nil {
				return err
			}
			status, err := c.followRenewal(ctx, api, kept.ID)
			if err != nil {
				return err
			}
			if err := c.answer(status, func(w io.Writer) { writeRenewal(w, status) }); err != nil {
				return err
			}
			if status.Failed > 0 {
				return &coded{exitUnproven, "not-renewed", fmt.Errorf("%d bundles could not be renewed; see why, mend it, and renew again", status.Failed)}
			}
			return nil
		}),
	}
	cmd.Flags().IntVar(&body.WithinDays, "within-days", 365, "renew what stands on certificates that end within as many days")
	cmd.Flags().StringSliceVar(&body.Ending, "ending", nil, "and what stands on this algorithm: sha256, sha384 or sha512; repeatable")
	cmd.Flags().BoolVar(&body.DryRun, "dry-run", false, "tell what is due and why, and stamp nothing")
	return cmd
}

// followRenewal waits for the end of a renewal.
func (c *cli) followRenewal(ctx context.Context, api *client.Client, id string) (evidence.RenewalStatus, error) {
	ask := func(ctx context.Context) (evidence.RenewalStatus, error) { return api.Renewal(ctx, id) }
	return follow(ctx, c, ask, func(s evidence.RenewalStatus) (bool, error) {
		switch {
		case s.Refusal != nil:
			return false, &coded{exitRefused, s.Refusal.Code, errors.New(s.Refusal.Message)}
		case s.State == evidence.RenewalFailed:
			return false, &coded{exitFailed, "renewal-failed", fmt.Errorf("the renewal ended after %d bundles: %s", s.Looked, s.Problem)}
		}
		return s.State == evidence.RenewalDone, nil
	}, func(s evidence.RenewalStatus) string {
		return fmt.Sprintf("renewal %s: looked at %d bundles, %d due, %d failed%s", id, s.Looked, s.Due, s.Failed, line(withProblem(s.Problem)))
	})
}

func writeRenewal(w io.Writer, s evidence.RenewalStatus) {
	for _, b := range s.Renewed {
		if b.Record == nil && b.Stored == nil {
			fmt.Fprintf(w, "due\t%s\t-\t%s\n", line(b.Request), line(b.Why))
		}
		for _, record := range []*countersign.Object{b.Record, b.Stored} {
			if record != nil {
				fmt.Fprintf(w, "renewed\t%s\t%s\t%s\n", line(b.Request), line(record.Key), line(b.Why))
			}
		}
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "failed\t%s\t-\t%s\n", line(p.Request), line(p.Problem))
	}
	fmt.Fprintf(w, "looked at\t%d\n", s.Looked)
}
