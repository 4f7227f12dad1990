package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
)

func (c *cli) retainCommand() *cobra.Command {
	var until, matter, reason string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "retain REQUEST --until DATE --reason REASON", Short: "Retain a request's evidence longer", Args: cobra.ExactArgs(1),
		Long: `Retain the locked evidence of a request at least until a day. A retention is extended, never shortened, and nobody takes it back: the store
refuses whatever is shorter, and so does this command. One person of the tenant's compliance is enough; who it was, and why, is locked with
the evidence.

--until is a day in UTC, which counts whole, or an instant (RFC 3339).`,
		Example: `  countersign audit retain PO-4711 --until 2046-12-31 --reason "warranty of twenty years" --dry-run`,
		RunE: c.run(func(ctx context.Context, args []string) error {
			at, whole, err := dayOrInstant("--until", until)
			if err != nil {
				return err
			}
			if whole {
				at = at.AddDate(0, 0, 1)
			}
			return c.order(ctx, countersign.Order{Act: countersign.OrderRetain, Request: args[0], Matter: matter, Reason: reason, Until: at.Unix()}, dryRun)
		}),
	}
	cmd.Flags().StringVar(&until, "until", "", "the day until which it is retained, or the instant")
	cmd.Flags().StringVar(&matter, "matter", "", "reference of the matter, where there is one")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is locked with the order")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the order and give nothing")
	must(cmd.MarkFlagRequired("until"))
	must(cmd.MarkFlagRequired("reason"))
	for _, name := range []string{"until", "matter", "reason"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	return cmd
}
