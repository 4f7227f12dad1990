package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
)

// What a person gives by a fresh login that is bound to exactly it: grants, keys, orders, and the answers to them.

// connectAs connects to the API, and says who is logged in.
func (c *cli) connectAs(ctx context.Context) (*client.Client, countersign.Actor, error) {
	api, err := c.connect()
	if err != nil {
		return nil, countersign.Actor{}, err
	}
	actor, err := c.self(ctx)
	return api, actor, err
}

// checked is the digest of what is about to be given, once nothing is wrong with it by itself.
func checked(what interface {
	Check() error
	Digest() (string, error)
}) (string, error) {
	if err := what.Check(); err != nil {
		return "", usage("%w", err)
	}
	return what.Digest()
}

// prove has a person prove a digest by a fresh login.
func (c *cli) prove(ctx context.Context, digest string, by countersign.Actor) (countersign.Proof, error) {
	return c.browser().Prove(ctx, c.issuer, c.client+"-evidence", digest, by)
}

// endCommand ends something that is kept: a grant, or a key.
func (c *cli) endCommand(use, short, flag, became string, end func(ctx context.Context, api *client.Client, id, reason string) (client.Kept, error)) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			kept, err := end(ctx, api, args[0], reason)
			return c.kept(kept, became, err)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", flag)
	return cmd
}

// waiting is an order of compliance that waits for its second person, as the API shows it.
type waiting struct {
	order  countersign.Given
	answer countersign.OrderAnswer // what it names
	show   func(w io.Writer)
	asJSON any
	give   func(context.Context, countersign.SignedOrderAnswer) error // passes the answer on, and tells where the order stands then
}

// reply is one way to answer an order, and how the order is found by the command's argument.
type reply struct {
	use, short string
	verdict    countersign.Verdict
	silent     bool // an approval has no reason
	find       func(ctx context.Context, api *client.Client, arg string) (waiting, error)
}

func (c *cli) answerCommand(a reply) *cobra.Command {
	var reason string
	var show bool
	cmd := &cobra.Command{
		Use: a.use, Short: a.short, Args: cobra.ExactArgs(1),
		Long: a.short + `. What was ordered is shown first, with its digest as this computer computes it; the answer is bound to that digest.

With --show nothing is answered.`,
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, actor, err := c.connectAs(ctx)
			if err != nil {
				return err
			}
			w, err := a.find(ctx, api, args[0])
			if err != nil {
				return err
			}
			// The API is not believed: what is answered is what has this digest.
			o, err := w.order.Ordered()
			if err != nil || o.Digest != w.answer.Order+w.answer.Shredding || o.Tenant != c.tenant {
				return errors.New("couldn't trust what the API showed: it is another order")
			}
			if show {
				return c.answer(w.asJSON, w.show)
			}
			w.show(c.err)
			said := w.answer
			said.V, said.Tenant, said.Verdict, said.Reason, said.Actor, said.IssuedAt = countersign.Version, c.tenant, a.verdict, reason, actor, time.Now().Unix()
			bound, err := checked(said)
			if err != nil {
				return err
			}
			proof, err := c.prove(ctx, bound, actor)
			if err != nil {
				return err
			}
			return w.give(ctx, countersign.SignedOrderAnswer{Answer: said, Proof: proof})
		}),
	}
	if a.verdict == countersign.Reject || !a.silent {
		cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept with the answer, and a rejection needs it")
		must(cmd.RegisterFlagCompletionFunc("reason", cobra.NoFileCompletions))
	}
	if a.verdict == countersign.Reject {
		must(cmd.MarkFlagRequired("reason"))
	}
	cmd.Flags().BoolVar(&show, "show", false, "show what was ordered and its digest, computed here, and answer nothing")
	return cmd
}
