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
	cmd.AddCommand(c.shredProposeCommand(), c.shredAnswerCommand("approve", countersign.Approve), c.shredAnswerCommand("reject", countersign.Reject), c.shredShowCommand())
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
			api, err := c.connect()
			if err != nil {
				return err
			}
			nonce := make([]byte, 32)
			if _, err := rand.Read(nonce); err != nil {
				return fmt.Errorf("couldn't make a nonce: %w", err)
			}
			s := countersign.Shredding{V: countersign.Version, Tenant: c.tenant, Person: whose, Reason: reason, DryRun: dryRun, Nonce: hex.EncodeToString(nonce), IssuedAt: time.Now().Unix()}
			if s.Actor, err = c.self(ctx); err != nil {
				return err
			}
			if err := s.Check(); err != nil {
				return usage("%w", err)
			}
			digest, err := s.Digest()
			if err != nil {
				return err
			}
			proof, err := c.browser().Prove(ctx, c.issuer, c.client+"-evidence", digest, s.Actor)
			if err != nil {
				return err
			}
			status, err := api.ProposeShredding(ctx, countersign.SignedShredding{Shredding: s, Proof: proof})
			if err != nil {
				return err
			}
			return c.answer(status, func(w io.Writer) { showShredding(w, status) })
		}),
	}
	cmd.Flags().StringVar(&person, "person", "", "whose data: issuer URL, '#', subject")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the workflow's history and is not locked")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say which key would be destroyed, and propose nothing")
	must(cmd.MarkFlagRequired("person"))
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func (c *cli) shredAnswerCommand(name string, verdict countersign.Verdict) *cobra.Command {
	var reason string
	short := "Approve what another one of compliance proposed: the key is destroyed at once"
	if verdict == countersign.Reject {
		short = "Reject what another one of compliance proposed"
	}
	cmd := &cobra.Command{
		Use: name + " DIGEST", Short: short, Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			status, err := api.Shredding(ctx, args[0])
			if err != nil {
				return err
			}
			a := countersign.ShreddingAnswer{V: countersign.Version, Tenant: c.tenant, Shredding: status.Digest, Key: status.Key, Verdict: verdict, Reason: reason, IssuedAt: time.Now().Unix()}
			if a.Actor, err = c.self(ctx); err != nil {
				return err
			}
			if err := a.Check(); err != nil {
				return usage("%w", err)
			}
			// What is proven is what was proposed, as this program computes it, and not what the API calls it.
			if digest, err := status.Shredding.Digest(); err != nil || digest != args[0] {
				return errors.New("couldn't use the API's answer: what it shows is another shredding")
			}
			showShredding(c.err, status)
			digest, err := a.Digest()
			if err != nil {
				return err
			}
			proof, err := c.browser().Prove(ctx, c.issuer, c.client+"-evidence", digest, a.Actor)
			if err != nil {
				return err
			}
			if status, err = api.AnswerShredding(ctx, countersign.SignedShreddingAnswer{Answer: a, Proof: proof}); err != nil {
				return err
			}
			return c.answer(status, func(w io.Writer) { showShredding(w, status) })
		}),
	}
	if verdict == countersign.Reject {
		cmd.Use += " --reason REASON"
		cmd.Flags().StringVar(&reason, "reason", "", "why")
		must(cmd.MarkFlagRequired("reason"))
	}
	return cmd
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
				if err != nil {
					return err
				}
				return c.answer(status, func(w io.Writer) { showShredding(w, status) })
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
	if s.Due != nil && s.State == evidence.ShreddingProposed {
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
