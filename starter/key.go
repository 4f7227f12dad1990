package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/starter/session"
)

func (c *cli) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Enrol the key that signs your decisions, look at your keys, retire one",
		Long: `Where a purpose is a control point, a login alone decides nothing: the person's own key signs the decision as well. In a browser that is
a passkey; here it is a key in a file that only you can read. A key is enrolled once, by a fresh login that is bound to it, and belongs
to one person. Retire it when it is lost or replaced: decisions that it signed and that are not signed by the tenant's key yet will
not be.`,
	}
	cmd.AddCommand(c.keyEnrolCommand(), c.keyListCommand(), c.keyRetireCommand())
	return cmd
}

// enrolmentLife is how long an offer to enrol is open, in seconds.
const enrolmentLife = 10 * 60

func (c *cli) keyEnrolCommand() *cobra.Command {
	return &cobra.Command{
		Use: "enrol FILE", Short: "Make a key in FILE, if there is none, and enrol it as yours",
		Example: `  countersign key enrol ~/.config/countersign/key.pem
  countersign decide PO-4711 --approve --key ~/.config/countersign/key.pem`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, actor, err := c.connectAs(ctx)
			if err != nil {
				return err
			}
			key, err := session.CreateDeviceKey(args[0])
			if errors.Is(err, os.ErrExist) {
				key, err = session.OpenDeviceKey(args[0])
			}
			if err != nil {
				return err
			}
			now := time.Now().Unix()
			e := countersign.Enrolment{
				V: countersign.Version, Tenant: c.tenant, Actor: actor, Kind: countersign.KeyDevice, Credential: key.Credential(), PublicKey: key.PublicKey(),
				IssuedAt: now, ExpiresAt: now + enrolmentLife,
			}
			digest, err := checked(e)
			if err != nil {
				return err
			}
			possession, err := key.Prove(digest)
			if err != nil {
				return err
			}
			proof, err := c.prove(ctx, digest, actor)
			if err != nil {
				return err
			}
			kept, err := api.Enrol(ctx, countersign.SignedEnrolment{Enrolment: e, Proof: proof, Possession: possession})
			return c.kept(kept, "enrolled", err)
		}),
	}
}

func (c *cli) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Your live keys; everybody's for the tenant's owner", Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			list, err := api.Keys(ctx)
			if err != nil {
				return err
			}
			err = c.answer(list, func(w io.Writer) {
				for _, k := range list.Keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Key, k.Enrolment.Enrolment.Kind, k.State, line(k.Enrolment.Enrolment.Actor.String()))
				}
				if len(list.Keys) == 0 {
					fmt.Fprintln(w, "you have no live key here; enrol one: countersign key enrol FILE")
				}
			})
			return errors.Join(err, incomplete(list.Truncated, list.Unanswered))
		}),
	}
}

func (c *cli) keyRetireCommand() *cobra.Command {
	return c.endCommand("retire KEY", "Take a key out of use, because it is lost or replaced", "why: lost, replaced; it is kept", "retired", func(ctx context.Context, api *client.Client, id, reason string) (client.Kept, error) {
		return api.RetireKey(ctx, id, reason)
	})
}

func (c *cli) offboardCommand() *cobra.Command {
	var who, issuer, reason string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "offboard (--person ISSUER#SUBJECT | --partner ISSUER)",
		Short: "End what a person, or a whole partner, may do, and tell what that touched",
		Long: `Revokes every live grant that the person gave or took, and retires every key of theirs; for a partner, of everybody of its issuer. Only the
tenant's owner may. Roles stand in the tenant's file: the command names who is still listed there, so that you take them out.`,
		Example: `  countersign offboard --person https://id.nord.example#n-4002 --reason "left the company" --dry-run
  countersign offboard --partner https://id.nord.example --reason "contract ended"`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			if (who == "") == (issuer == "") {
				return usage("give either --person or --partner")
			}
			leaver := client.Leaver{Issuer: issuer, Reason: reason, DryRun: dryRun}
			if who != "" {
				actor, ok := countersign.ParseActor(who)
				if !ok {
					return usage("--person must be ISSUER#SUBJECT")
				}
				leaver.Issuer, leaver.Subject = actor.Issuer, actor.Subject
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			out, err := api.Offboard(ctx, leaver)
			if err != nil {
				return err
			}
			err = c.answer(out, func(w io.Writer) { showOffboarding(w, out) })
			return errors.Join(err, incomplete(out.Truncated, out.Unanswered))
		}),
	}
	f := cmd.Flags()
	f.StringVar(&who, "person", "", "the person who leaves")
	f.StringVar(&issuer, "partner", "", "the issuer of the organisation that leaves")
	f.StringVar(&reason, "reason", "", "why; it is kept")
	f.BoolVar(&dryRun, "dry-run", false, "only tell what would end")
	return cmd
}

func showOffboarding(w io.Writer, o client.Offboarding) {
	word := "ended"
	if o.DryRun {
		word = "would end"
	}
	for _, g := range o.Grants {
		fmt.Fprintf(w, "%s\tgrant %s\n", word, g)
	}
	for _, k := range o.Keys {
		fmt.Fprintf(w, "%s\tkey %s\n", word, k)
	}
	if len(o.Grants)+len(o.Keys) == 0 {
		fmt.Fprintln(w, "no live grant and no key")
	}
	for _, who := range o.Listed {
		fmt.Fprintf(w, "still listed\t%s\n", line(who))
	}
}
