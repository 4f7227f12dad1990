package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) grantCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grant",
		Short: "Lend a part of your authority, take what is lent to you, end it",
		Long: `A grant lets one person decide in another person's place: for one request, for named documents, or for whatever comes of a purpose, in
stages of one role, for a while, a number of times. It is offered by whoever holds the role, proven by a fresh login; it counts when its grantee has
accepted it, proven the same way; and it ends by its own clock, when it is revoked, or when it is given back. What was decided under
a grant that was revoked before the key signed is not signed.`,
	}
	cmd.AddCommand(c.grantOfferCommand(), c.grantListCommand(), c.grantShowCommand(), c.grantAcceptCommand(),
		c.grantEndCommand("revoke", "Take back a grant that you gave, or that stands on one of yours"), c.grantEndCommand("give-back", "Give up a grant that you took"))
	return cmd
}

func (c *cli) grantOfferCommand() *cobra.Command {
	var to, role, request, from, until, parent, reason string
	var documents, purposes []string
	var life time.Duration
	var uses, depth int
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "offer --to ISSUER#SUBJECT --role ROLE (--request ID | --document FILE|SHA256 | --purpose PURPOSE)",
		Short: "Offer somebody a part of your authority",
		Long: `Offer somebody a part of your authority.

With --purpose it is cover for your absence: whoever takes it decides in your place in signings of these purposes, whichever may come. It
is for a colleague of your own organisation alone, for at most 92 days, handed on at most once. Partners lend and are lent one request, or
documents.

--from and --until are days in UTC, or instants (RFC 3339). A day counts whole: until 2026-12-20 is over when the 21st begins.`,
		Example: `  countersign grant offer --to https://id.nord.example#n-4002 --role reseller --request PO-4711 --for 48h
  countersign grant offer --to https://id.hart.example#h-3002 --role counsel --document nda.pdf --uses 1 --dry-run
  countersign grant offer --to https://id.acme.example#a-1003 --role legal --purpose supplier-contract --from 2026-12-01 --until 2026-12-20`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			grantee, ok := countersign.ParseActor(to)
			if !ok {
				return usage("--to must be ISSUER#SUBJECT: people are known by both, never by name alone")
			}
			digests, err := documentDigests(documents)
			if err != nil {
				return err
			}
			now := time.Now()
			begins, ends, err := window(from, until, life, now)
			if err != nil {
				return err
			}
			slices.Sort(purposes)
			if uses == 0 {
				if uses = 1; len(purposes) > 0 {
					uses = countersign.MaxGrantUses
				}
			}
			g := countersign.Grant{
				V: countersign.Version, Tenant: c.tenant, Grantee: grantee, Role: role, Actions: []string{countersign.GrantDecide}, Documents: digests, Request: request,
				Purposes: slices.Compact(purposes), NotBefore: begins.Unix(), NotAfter: ends.Unix(), Depth: depth, Uses: uses, Parent: parent, Reason: reason, IssuedAt: now.Unix(),
			}
			if depth > 0 {
				g.Actions = append(g.Actions, countersign.GrantDelegate)
			}
			return c.offer(ctx, g, dryRun)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "who may use it: issuer URL, '#', subject")
	f.StringVar(&role, "role", "", "the role in whose stages it may be used")
	f.StringVar(&request, "request", "", "the request that it is for")
	f.StringArrayVar(&documents, "document", nil, "a document that it is for, as a file or as its SHA-256; repeatable")
	f.StringArrayVar(&purposes, "purpose", nil, "a purpose whose signings it covers, whichever may come; repeatable")
	f.DurationVar(&life, "for", 0, "how long it lasts, at most 2160h; 24h if neither this nor --until is given")
	f.StringVar(&from, "from", "", "the day or the instant at which it begins; now if left out")
	f.StringVar(&until, "until", "", "the day after which it is over, or the instant at which it is; instead of --for")
	f.IntVar(&uses, "uses", 0, "how many decisions it is for; if left out 1, or 100 with --purpose")
	f.IntVar(&depth, "depth", 0, "how often it may be handed on, at most 3, and 1 with --purpose")
	f.StringVar(&parent, "parent", "", "digest of the grant that it is a part of, where you hold no role of your own")
	f.StringVar(&reason, "reason", "", "why; it becomes part of the evidence")
	f.BoolVar(&dryRun, "dry-run", false, "show the grant and give nothing")
	return cmd
}

// offer proves a grant by a fresh login and gives it to its keeper.
func (c *cli) offer(ctx context.Context, g countersign.Grant, dryRun bool) error {
	api, actor, err := c.connectAs(ctx)
	if err != nil {
		return err
	}
	g.Delegator = actor
	digest, err := checked(g)
	if err != nil {
		return err
	}
	if dryRun {
		return c.answer(map[string]any{"grant": g, "digest": digest}, func(w io.Writer) { showGrant(w, g, digest) })
	}
	showGrant(c.err, g, digest)
	proof, err := c.prove(ctx, digest, actor)
	if err != nil {
		return err
	}
	kept, err := api.Give(ctx, countersign.SignedGrant{Grant: g, Proof: proof})
	return c.kept(kept, "offered", err)
}

// self is who is logged in, as their own identity provider names them.
func (c *cli) self(ctx context.Context) (countersign.Actor, error) {
	if c.machineKey != "" {
		return countersign.Actor{}, usage("machines lend no authority and enrol no keys; a person has to")
	}
	if os.Getenv("COUNTERSIGN_TOKEN") != "" {
		return countersign.Actor{}, usage("COUNTERSIGN_TOKEN says nothing of who you are; unset it and log in with --issuer")
	}
	s, err := c.session(ctx, false)
	return s.Actor, err
}

// documentDigests are the SHA-256 of files, or what is one already, sorted.
func documentDigests(documents []string) ([]string, error) {
	digests := []string{}
	for _, d := range documents {
		if len(d) == 64 && strings.Trim(d, "0123456789abcdef") == "" {
			digests = append(digests, d)
			continue
		}
		body, err := os.ReadFile(d)
		if err != nil {
			return nil, fmt.Errorf("couldn't read the document: %w", err)
		}
		digests = append(digests, countersign.SHA256(body))
	}
	slices.Sort(digests)
	return slices.Compact(digests), nil
}

// kept tells what became of a grant or a key.
func (c *cli) kept(k client.Kept, what string, err error) error {
	if err != nil {
		return err
	}
	return c.answer(k, func(w io.Writer) {
		state := k.State
		if state == "" {
			state = what + "; what became of it is not known yet, ask again"
		}
		fmt.Fprintf(w, "%s\t%s\n", k.ID, state)
	})
}

func (c *cli) grantListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The live grants that concern you", Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			list, err := api.Grants(ctx)
			if err != nil {
				return err
			}
			err = c.answer(list, func(w io.Writer) {
				for _, g := range list.Grants {
					fmt.Fprintln(w, grantLine(g))
				}
				if len(list.Grants) == 0 {
					fmt.Fprintln(w, "no live grant concerns you")
				}
			})
			return errors.Join(err, incomplete(list.Truncated, list.Unanswered))
		}),
	}
}

func incomplete(truncated bool, unanswered int) error {
	if truncated || unanswered > 0 {
		return fmt.Errorf("the list is not complete: %d did not answer, more were left out: %v", unanswered, truncated)
	}
	return nil
}

func (c *cli) grantShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show GRANT", Short: "Where a grant stands, and what became of each signal to it", Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			g, err := api.Grant(ctx, args[0])
			if err != nil {
				return err
			}
			return c.answer(g, func(w io.Writer) {
				showGrant(w, g.Grant.Grant, g.Digest)
				fmt.Fprintf(w, "  state\t%s, used %d of %d times\n", g.State, g.Used, g.Grant.Grant.Uses)
				for _, s := range g.Signals {
					became := "counted"
					if s.Refusal != nil {
						became = "refused: " + line(s.Refusal.Message)
					}
					fmt.Fprintf(w, "  %s\t%s by %s, %s\n", s.Signal, instant(s.At), line(s.Sender), became)
				}
			})
		}),
	}
}

func (c *cli) grantAcceptCommand() *cobra.Command {
	return &cobra.Command{
		Use: "accept GRANT", Short: "Take a grant that was offered to you, proven by a fresh login", Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, actor, err := c.connectAs(ctx)
			if err != nil {
				return err
			}
			g, err := api.Grant(ctx, args[0])
			if err != nil {
				return err
			}
			// The API is not believed: what is accepted is what has this digest.
			digest, err := g.Grant.Grant.Digest()
			if err != nil || digest != args[0] || g.Grant.Grant.Grantee != actor {
				return errors.New("couldn't trust what the API showed: it is another grant, or it is not for you")
			}
			showGrant(c.err, g.Grant.Grant, digest)
			a := countersign.Acceptance{V: countersign.Version, Tenant: c.tenant, Grant: digest, Actor: actor, IssuedAt: time.Now().Unix()}
			bound, err := a.Digest()
			if err != nil {
				return err
			}
			proof, err := c.prove(ctx, bound, actor)
			if err != nil {
				return err
			}
			kept, err := api.AcceptGrant(ctx, countersign.SignedAcceptance{Acceptance: a, Proof: proof})
			return c.kept(kept, "accepted", err)
		}),
	}
}

func (c *cli) grantEndCommand(how, short string) *cobra.Command {
	return c.endCommand(how+" GRANT", short, "why; it is kept", how, func(ctx context.Context, api *client.Client, id, reason string) (client.Kept, error) {
		return api.EndGrant(ctx, id, how, reason)
	})
}

// showGrant puts a grant before whoever gives or takes it.
func showGrant(w io.Writer, g countersign.Grant, digest string) {
	fmt.Fprintf(w, "  grant\t%s\n  from\t%s\n  to\t%s\n  may\t%s in stages of %s, for %s\n  window\t%s\n  uses\t%d, handed on at most %d times\n",
		digest, line(g.Delegator.String()), line(g.Grantee.String()), strings.Join(g.Actions, " and "), line(g.Role), scopeOf(g), windowOf(g), g.Uses, g.Depth)
	if g.Reason != "" {
		fmt.Fprintf(w, "  reason\t%s\n", line(g.Reason))
	}
}

func grantLine(g evidence.GrantStatus) string {
	grant := g.Grant.Grant
	return fmt.Sprintf("%s\t%s\t%s -> %s\t%s, for %s\t%s", g.Digest[:16], g.State, line(grant.Delegator.String()), line(grant.Grantee.String()), line(grant.Role), scopeOf(grant), windowOf(grant))
}
