package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/starter/session"
)

func (c *cli) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login",
		Short: "Log in, and say who you are",
		Long: `Log in at your identity provider, and say who you are.

$BROWSER is the command that shows the page; it gets the URL as its last argument. Without it the URL is printed. The access
token is kept until it expires, readable by you alone, in COUNTERSIGN_CACHE (a directory; "off" keeps none).`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			s, err := c.session(ctx, true)
			if err != nil {
				return err
			}
			who := map[string]any{"actor": s.Actor, "name": s.Name, "email": s.Email, "expires": s.Expires.UTC()}
			return c.answer(who, func(w io.Writer) {
				fmt.Fprintf(w, "name\t%s\nsubject\t%s\nissuer\t%s\nuntil\t%s\n", line(s.Name), line(s.Actor.Subject), s.Actor.Issuer, instant(s.Expires))
			})
		}),
	}
}

func (c *cli) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the kept access token",
		Args:  cobra.NoArgs,
		RunE: c.run(func(context.Context, []string) error {
			if c.issuer == "" {
				return usage("--issuer (COUNTERSIGN_ISSUER) is needed: whose token is to be forgotten?")
			}
			id := c.client
			if c.machineClient != "" {
				id = "machine:" + c.machineClient
			}
			if err := (session.Cache{Dir: cacheDir()}).Drop(c.issuer, id); err != nil {
				return err
			}
			return c.answer(map[string]string{"forgotten": c.issuer}, func(w io.Writer) { fmt.Fprintln(w, "forgotten") })
		}),
	}
}
