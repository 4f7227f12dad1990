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

func (c *cli) reviewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "review", Short: "Look at signings that did not wait for everybody, and close their reviews", Args: cobra.NoArgs,
		Long: `Where the glass was broken, a signing did not wait for everybody who has to approve. A review says afterwards whether that was justified. It
belongs to the purpose's owner; the tenant's compliance may close it too, and nobody who broke the glass or requested the signing.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.reviewListCommand(), c.reviewShowCommand(), c.reviewCloseCommand())
	return cmd
}

func (c *cli) reviewListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The open reviews that concern you", Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			list, err := api.Reviews(ctx)
			if err != nil {
				return err
			}
			err = c.answer(list, func(w io.Writer) {
				for _, r := range list.Reviews {
					fmt.Fprintf(w, "%s\t%s\tdue %s\t%s\n", r.Request, line(r.Title), instant(r.Due), line(r.Owner.Name))
				}
				if len(list.Reviews) == 0 {
					fmt.Fprintln(w, "no open review concerns you")
				}
			})
			return errors.Join(err, incomplete(list.Truncated, list.Unanswered))
		}),
	}
}

func (c *cli) reviewShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show REQUEST", Short: "Who did not wait, why, and what the review found", Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			r, err := api.Review(ctx, args[0])
			if err != nil {
				return err
			}
			return c.answer(r, func(w io.Writer) { showReview(w, r) })
		}),
	}
}

func (c *cli) reviewCloseCommand() *cobra.Command {
	var f client.Finding
	cmd := &cobra.Command{
		Use: "close REQUEST --finding justified|not-justified --note NOTE", Short: "Say what the review found, and close it", Args: cobra.ExactArgs(1),
		Example: `  countersign review close PO-4711 --finding justified --note "the supplier's line was down; both directors were on one flight"`,
		RunE: c.run(func(ctx context.Context, args []string) error {
			if f.Finding != countersign.FindingJustified && f.Finding != countersign.FindingNotJustified {
				return usage("--finding is justified or not-justified")
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			r, err := api.CloseReview(ctx, args[0], f)
			if err != nil {
				return err
			}
			return c.answer(r, func(w io.Writer) { showReview(w, r) })
		}),
	}
	cmd.Flags().StringVar(&f.Finding, "finding", "", "justified or not-justified")
	cmd.Flags().StringVar(&f.Note, "note", "", "what was looked at, and why the finding is what it is")
	must(cmd.MarkFlagRequired("finding"))
	must(cmd.MarkFlagRequired("note"))
	must(cmd.RegisterFlagCompletionFunc("finding", cobra.FixedCompletions([]string{countersign.FindingJustified, countersign.FindingNotJustified}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func showReview(w io.Writer, r evidence.ReviewStatus) {
	fmt.Fprintf(w, "request\t%s\ntitle\t%s\nstate\t%s\nowner\t%s\ndue\t%s\n", r.Request, line(r.Title), r.State, line(r.Owner.Name+" ("+r.Owner.Organisation+")"), instant(r.Due))
	for _, b := range r.Broke {
		fmt.Fprintf(w, "did not wait\t%s: %s\n", line(b.Actor.String()), line(b.Reason))
	}
	for _, a := range r.Skipped {
		fmt.Fprintf(w, "skipped\t%s\n", line(a.String()))
	}
	for _, s := range r.Signals {
		if s.Refusal != nil {
			fmt.Fprintf(w, "refused\t%s: %s (%s)\n", line(s.Sender), line(s.Refusal.Message), s.Refusal.Code)
			continue
		}
		fmt.Fprintf(w, "finding\t%s, by %s: %s\n", s.Finding, line(s.Sender), line(s.Note))
	}
}
