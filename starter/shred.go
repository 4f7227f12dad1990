package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) shredCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "shred", Short: "Shred what the tenant's evidence says of a person, by two people of compliance", Args: cobra.NoArgs,
		Long: `Shred the personal data of one person in all of the tenant's locked evidence, by destroying the key under which it is concealed. The evidence
stays as it is locked, and everything else in it still verifies; what it says of that person can't be read by anybody any more, and nobody can undo that.
One person of the tenant's compliance proposes it, another one approves, each by a fresh login. Where the tenant has no key for personal data
(evidence.personalDataKey), its evidence is locked plain, and nothing in it can be shredded.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.shredProposeCommand(),
		c.answerCommand(reply{use: "approve DIGEST", short: "Approve what another one of compliance proposed: the key is destroyed at once", verdict: countersign.Approve, silent: true, find: c.waitingShredding}),
		c.answerCommand(reply{use: "reject DIGEST --reason REASON", short: "Reject what another one of compliance proposed", verdict: countersign.Reject, find: c.waitingShredding}),
		c.shredShowCommand())
	return cmd
}

func (c *cli) shredProposeCommand() *cobra.Command {
	var person, reason string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "propose --person ISSUER#SUBJECT --reason REASON", Short: "Propose that a person's data is shredded", Args: cobra.NoArgs,
		Example: `  countersign audit shred propose --person https://id.acme.example#a-1002 --reason "erasure asked for in DSR-2026-17"`,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			whose, ok := countersign.ParseActor(person)
			if !ok {
				return usage("--person must be ISSUER#SUBJECT: people are known by both, never by name alone")
			}
			api, actor, err := c.connectAs(ctx)
			if err != nil {
				return err
			}
			nonce := make([]byte, 32)
			if _, err := rand.Read(nonce); err != nil {
				return fmt.Errorf("couldn't make a nonce: %w", err)
			}
			s := countersign.Shredding{
				V: countersign.Version, Tenant: c.tenant, Person: whose, Reason: reason, DryRun: dryRun, Nonce: hex.EncodeToString(nonce), Actor: actor, IssuedAt: time.Now().Unix(),
			}
			digest, err := checked(s)
			if err != nil {
				return err
			}
			proof, err := c.prove(ctx, digest, actor)
			if err != nil {
				return err
			}
			status, err := api.ProposeShredding(ctx, countersign.SignedShredding{Shredding: s, Proof: proof})
			return c.shredding(status, err)
		}),
	}
	cmd.Flags().StringVar(&person, "person", "", "whose data: issuer URL, '#', subject")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the workflow's history and is not locked")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say which key would be destroyed, and propose nothing")
	must(cmd.MarkFlagRequired("person"))
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

// waitingShredding is a shredding that waits for its second person, by its digest.
func (c *cli) waitingShredding(ctx context.Context, api *client.Client, digest string) (waiting, error) {
	status, err := api.Shredding(ctx, digest)
	if err != nil {
		return waiting{}, err
	}
	return waiting{
		order:  countersign.SignedShredding{Shredding: status.Shredding},
		answer: countersign.OrderAnswer{Shredding: digest, Key: status.Key},
		show:   func(w io.Writer) { showShredding(w, status) },
		asJSON: status,
		give: func(ctx context.Context, a countersign.SignedOrderAnswer) error {
			status, err := api.AnswerShredding(ctx, a)
			return c.shredding(status, err)
		},
	}, nil
}

// shredding tells where a shredding stands.
func (c *cli) shredding(s evidence.ShreddingStatus, err error) error {
	if err != nil {
		return err
	}
	return c.answer(s, func(w io.Writer) { showShredding(w, s) })
}

func (c *cli) shredShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show [DIGEST]", Short: "Where a shredding stands; without a digest, which ones wait for a second person", Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				status, err := api.Shredding(ctx, args[0])
				return c.shredding(status, err)
			}
			list, err := api.Shreddings(ctx)
			if err != nil {
				return err
			}
			err = c.answer(list, func(w io.Writer) {
				for _, s := range list.Shreddings {
					fmt.Fprintf(w, "%s\t%s\t%s\tby %s\n", s.Digest, s.State, line(s.Shredding.Person.String()), line(s.By.Name))
				}
				if len(list.Shreddings) == 0 {
					fmt.Fprintln(w, "nothing waits")
				}
			})
			return errors.Join(err, incomplete(list.Truncated, list.Unanswered))
		}),
	}
}

func showShredding(w io.Writer, s evidence.ShreddingStatus) {
	fmt.Fprintf(w, "shredding\t%s\nstate\t%s\nperson\t%s\nreason\t%s\nproposed by\t%s\nkey\t%s\n", s.Digest, s.State, line(s.Shredding.Person.String()), line(s.Shredding.Reason), line(s.By.Name), s.Key)
	if s.Due != nil && s.State == evidence.OrderProposed {
		fmt.Fprintf(w, "waits until\t%s\n", instant(*s.Due))
	}
	for _, a := range s.Answers {
		if a.Refusal != nil {
			fmt.Fprintf(w, "refused\t%s: %s (%s)\n", line(a.Sender), line(a.Refusal.Message), a.Refusal.Code)
		} else if a.Answer != nil {
			fmt.Fprintf(w, "%s\tby %s\t%s\n", a.Answer.Answer.Verdict, line(a.Sender), line(a.Answer.Answer.Reason))
		}
	}
	if s.Problem != "" {
		fmt.Fprintf(w, "problem\t%s\n", line(s.Problem))
	}
	if s.Done != nil {
		fmt.Fprintf(w, "gone\t%s\nrecord\t%s\n", instant(s.Done.Record.Gone), s.Done.Object.Key)
	}
}
