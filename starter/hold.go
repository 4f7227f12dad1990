package main

import (
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

func (c *cli) holdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hold", Short: "Hold locked evidence for a matter, as two people of compliance", Args: cobra.NoArgs,
		Long: `A legal hold keeps the locked evidence of a signing whatever its retention says: as long as it is held, nobody deletes it, administrators
neither. One person of the tenant's compliance proposes it for a matter, a second one approves; it is lifted the same way. Whoever requested
the signing or decided in it does neither. Each step is proven by a fresh login, and each order that ended has a record that is locked.

A proposal that nobody answers ends after 14 days. Evidence that is held for several matters stays held until the last of them is lifted.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		c.proposeCommand("propose", countersign.OrderHold, "Propose to hold a request's evidence"),
		c.proposeCommand("lift", countersign.OrderLift, "Propose to lift the hold of a matter"),
		c.answerCommand(reply{use: "approve REQUEST", short: "Approve what another one of compliance proposed", verdict: countersign.Approve, find: c.waitingOrder}),
		c.answerCommand(reply{use: "reject REQUEST", short: "Reject what another one of compliance proposed", verdict: countersign.Reject, find: c.waitingOrder}),
		c.holdListCommand(), c.holdShowCommand())
	return cmd
}

func (c *cli) proposeCommand(name, act, short string) *cobra.Command {
	var matter, reason string
	var dryRun bool
	cmd := &cobra.Command{
		Use: name + " REQUEST --matter MATTER --reason REASON", Short: short, Args: cobra.ExactArgs(1),
		Example: fmt.Sprintf("  countersign audit hold %s PO-4711 --matter \"LG Berlin 12 O 34/26\" --reason \"claim by the supplier\"", name),
		RunE: c.run(func(ctx context.Context, args []string) error {
			return c.order(ctx, countersign.Order{Act: act, Request: args[0], Matter: matter, Reason: reason}, dryRun)
		}),
	}
	cmd.Flags().StringVar(&matter, "matter", "", "reference of the matter, as the case's own files have it")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is locked with the order")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the order and give nothing")
	must(cmd.MarkFlagRequired("matter"))
	must(cmd.MarkFlagRequired("reason"))
	must(cmd.RegisterFlagCompletionFunc("matter", cobra.NoFileCompletions))
	must(cmd.RegisterFlagCompletionFunc("reason", cobra.NoFileCompletions))
	return cmd
}

// order completes an order with what the API knows of the evidence, proves it by a fresh login, and gives it.
func (c *cli) order(ctx context.Context, o countersign.Order, dryRun bool) error {
	api, actor, err := c.connectAs(ctx)
	if err != nil {
		return err
	}
	book, err := api.Orders(ctx, o.Request)
	if err != nil {
		return err
	}
	if book.Bundle == nil {
		return &coded{exitConflict, "evidence-pending", errors.New("the evidence is not locked yet, or neither Temporal nor an earlier order knows its version any more")}
	}
	if o.Act == countersign.OrderRetain && !time.Unix(o.Until, 0).After(book.Kept.RetainUntil) {
		return refused("retention-shorter", "the evidence is retained until %s already; a retention is extended, never shortened", instant(book.Kept.RetainUntil))
	}
	o.V, o.Tenant, o.Actor, o.Bundle, o.IssuedAt = countersign.Version, c.tenant, actor, *book.Bundle, time.Now().Unix()
	digest, err := checked(o)
	if err != nil {
		return err
	}
	if dryRun {
		body, show := orderIn(book, o, digest)
		return c.answer(body, show)
	}
	showOrder(c.err, o, digest)
	proof, err := c.prove(ctx, digest, actor)
	if err != nil {
		return err
	}
	status, err := api.GiveOrder(ctx, countersign.SignedOrder{Order: o, Proof: proof})
	return c.ordered(status, err)
}

// orderIn is an order with how its evidence is kept, as JSON and for people.
func orderIn(book client.OrderBook, o countersign.Order, digest string) (any, func(io.Writer)) {
	return map[string]any{"order": o, "digest": digest, "kept": book.Kept, "matters": book.Matters}, func(w io.Writer) {
		showOrder(w, o, digest)
		showKept(w, book)
	}
}

// waitingOrder is the order about a request's evidence that waits for its second person.
func (c *cli) waitingOrder(ctx context.Context, api *client.Client, request string) (waiting, error) {
	book, err := api.Orders(ctx, request)
	if err != nil {
		return waiting{}, err
	}
	if book.Waiting == nil {
		return waiting{}, &coded{exitConflict, "no-order", errors.New("no order about this evidence waits for an answer")}
	}
	digest, signed := book.Waiting.Digest, book.Waiting.Order
	if signed.Order.Request != request {
		return waiting{}, errors.New("couldn't trust what the API showed: it is an order about another request")
	}
	w := waiting{order: signed, answer: countersign.OrderAnswer{Order: digest}}
	w.asJSON, w.show = orderIn(book, signed.Order, digest)
	w.give = func(ctx context.Context, a countersign.SignedOrderAnswer) error {
		status, err := api.AnswerOrder(ctx, request, a)
		return c.ordered(status, err)
	}
	return w, nil
}

// ordered tells where an order stands.
func (c *cli) ordered(s evidence.OrderStatus, err error) error {
	if err != nil {
		return err
	}
	return c.answer(s, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\n", s.Digest, stateOf(s.OrderProgress))
		if s.Done != nil {
			fmt.Fprintf(w, "record\t%s\tSHA-256 %s\n", s.Done.Object.Key, s.Done.Object.SHA256)
		}
	})
}

func stateOf(s evidence.OrderProgress) string {
	switch {
	case s.Problem != "":
		return "can't be carried out yet, and is tried again: " + line(s.Problem)
	case s.State == evidence.OrderProposed && s.Due != nil:
		return "waits for a second person, until " + instant(*s.Due)
	case s.State == evidence.OrderDoing:
		return "is being carried out; ask again"
	case s.State == "":
		return "given; what became of it is not known yet, ask again"
	}
	return s.State
}

func (c *cli) holdListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The evidence that is held, and the proposals that wait", Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			list, err := api.Holds(ctx)
			if err != nil {
				return err
			}
			err = c.answer(list, func(w io.Writer) {
				for _, h := range list.Held {
					fmt.Fprintf(w, "%s\theld since %s\t%s\n", line(h.Request), instant(h.Since), line(strings.Join(h.Matters, "; ")))
				}
				for _, o := range list.Waiting {
					fmt.Fprintf(w, "%s\t%s %s\t%s\n", line(o.Order.Order.Request), o.Order.Order.Act, stateOf(o.OrderProgress), line(o.Order.Order.Matter))
				}
				for _, key := range list.Unreadable {
					fmt.Fprintf(w, "no record, or not readable\t%s\n", line(key))
				}
				if len(list.Held)+len(list.Waiting)+len(list.Unreadable) == 0 {
					fmt.Fprintln(w, "nothing is held, and no proposal waits")
				}
			})
			return errors.Join(err, incomplete(list.Truncated, list.Unanswered+len(list.Unreadable)))
		}),
	}
}

func (c *cli) holdShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show REQUEST", Short: "How a request's evidence is kept, and each order about it", Args: cobra.ExactArgs(1),
		Long: `How a request's evidence is kept, as the store says, and each order about it. The proofs of each record are checked here; that both
people had their role that day is known to the tenant's file alone.`,
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			book, err := api.Orders(ctx, args[0])
			if err != nil {
				return err
			}
			var faults []error
			for _, o := range book.Orders {
				if err := o.Record.Verify(nil); err != nil {
					faults = append(faults, fmt.Errorf("%s: %w", o.Object.Key, err))
				}
			}
			if err := c.answer(book, func(w io.Writer) { showBook(w, book) }); err != nil {
				return err
			}
			if err := errors.Join(faults...); err != nil {
				return &coded{exitUnproven, "not-verified", err}
			}
			return nil
		}),
	}
}

func showBook(w io.Writer, book client.OrderBook) {
	showKept(w, book)
	for _, o := range book.Orders {
		r := o.Record
		fmt.Fprintf(w, "%s\t%s\t%s by %s\t%s\n", r.Outcome, instant(r.Ended), r.Order.Order.Act, line(namedOf(r.By)), line(r.Order.Order.Matter))
		if r.Order.Order.Until != 0 {
			fmt.Fprintf(w, "\tuntil\t%s\n", instant(time.Unix(r.Order.Order.Until, 0)))
		}
		fmt.Fprintf(w, "\treason\t%s\n", line(r.Order.Order.Reason))
		if r.Answer != nil && r.Second != nil {
			fmt.Fprintf(w, "\t%s\tby %s %s\n", r.Answer.Answer.Verdict, line(namedOf(*r.Second)), line(r.Answer.Answer.Reason))
		}
		fmt.Fprintf(w, "\trecord\t%s\tSHA-256 %s\n", line(o.Object.Key), o.Object.SHA256)
	}
	if s := book.Waiting; s != nil {
		fmt.Fprintf(w, "%s\t%s\tby %s\t%s\n", s.Order.Order.Act, stateOf(s.OrderProgress), line(namedOf(s.By)), line(s.Order.Order.Matter))
		for _, a := range s.Answers {
			if a.Refusal != nil {
				fmt.Fprintf(w, "\trefused\t%s: %s (%s)\n", line(a.Sender), line(a.Refusal.Message), a.Refusal.Code)
			}
		}
	}
}

// showKept tells how the bundle is kept.
func showKept(w io.Writer, book client.OrderBook) {
	if book.Bundle != nil {
		fmt.Fprintf(w, "bundle\t%s\tversion %s\n", line(book.Bundle.Key), line(book.Bundle.VersionID))
	}
	fmt.Fprintf(w, "hold\t%s\t%s\nretained until\t%s\n", heldWord(book.Kept), line(strings.Join(book.Matters, "; ")), retainedUntil(book.Kept))
}

func heldWord(k *evidence.KeptObject) string {
	switch {
	case k == nil:
		return "not known"
	case k.Held:
		return "held"
	}
	return "none"
}

func retainedUntil(k *evidence.KeptObject) string {
	switch {
	case k == nil:
		return "not known"
	case k.RetainUntil.IsZero():
		return "no retention"
	}
	return instant(k.RetainUntil)
}

// showOrder puts an order before whoever gives or answers it.
func showOrder(w io.Writer, o countersign.Order, digest string) {
	fmt.Fprintf(w, "  order\t%s\n  act\t%s\n  request\t%s\n", digest, o.Act, line(o.Request))
	if o.Matter != "" {
		fmt.Fprintf(w, "  matter\t%s\n", line(o.Matter))
	}
	if o.Until != 0 {
		fmt.Fprintf(w, "  until\t%s\n", instant(time.Unix(o.Until, 0)))
	}
	fmt.Fprintf(w, "  reason\t%s\n  by\t%s\n  bundle\t%s, version %s\n  SHA-256\t%s\n", line(o.Reason), line(o.Actor.String()), line(o.Bundle.Key), line(o.Bundle.VersionID), o.Bundle.SHA256)
}
