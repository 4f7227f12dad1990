package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/starter/session"
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// cli is what all commands share.
type cli struct {
	terminal
	api, tenant, issuer, client string
	machineKey, machineClient   string
	json                        bool
	running                     bool // the command line was understood, and the command's own work began
}

// execute runs one command line and is its exit code.
func execute(ctx context.Context, args []string, t terminal) int {
	c := &cli{terminal: t}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var own *coded
	if !c.running && !errors.As(err, &own) {
		err = usage("%w; see countersign --help", err)
	}
	tell(t.err, c.json, err)
	exit, _ := exitOf(err)
	return exit
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "Ask for signatures, decide, and check the evidence",
		Long: `Countersign runs the signing of one document between organisations. This command asks for signatures, decides, watches, checks
evidence and policies without a network, and serves the HTTP API.

A person logs in at their own identity provider (--issuer); a machine by its key (--machine-key, --machine-client).
COUNTERSIGN_TOKEN gives an access token instead.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%w", err) })
	f := root.PersistentFlags()
	f.StringVar(&c.api, "api", env("COUNTERSIGN_API", "http://127.0.0.1:8080"), "address of the HTTP API (COUNTERSIGN_API)")
	f.StringVar(&c.tenant, "tenant", env("COUNTERSIGN_TENANT", ""), "tenant whose signings are meant (COUNTERSIGN_TENANT)")
	f.StringVar(&c.issuer, "issuer", env("COUNTERSIGN_ISSUER", ""), "URL of your identity provider (COUNTERSIGN_ISSUER)")
	f.StringVar(&c.client, "client", env("COUNTERSIGN_CLIENT", "countersign"), "client id at your identity provider; decisions are proven to this id with -evidence at its end (COUNTERSIGN_CLIENT)")
	f.StringVar(&c.machineKey, "machine-key", env("COUNTERSIGN_MACHINE_KEY", ""), "private key (PEM) of a machine that logs in instead of a person (COUNTERSIGN_MACHINE_KEY)")
	f.StringVar(&c.machineClient, "machine-client", env("COUNTERSIGN_MACHINE_CLIENT", ""), "client id of that machine (COUNTERSIGN_MACHINE_CLIENT)")
	f.BoolVar(&c.json, "json", false, "write JSON, one object to a line")
	// The defaults come from the caller's environment; help must read the same everywhere.
	f.VisitAll(func(flag *pflag.Flag) {
		if strings.Contains(flag.Usage, "(COUNTERSIGN_") && flag.Name != "api" && flag.Name != "client" {
			flag.DefValue = ""
		}
	})
	root.AddCommand(c.requestCommand(), c.inboxCommand(), c.decideCommand(), c.statusCommand(), c.explainCommand(), c.watchCommand(), c.withdrawCommand(),
		c.grantCommand(), c.keyCommand(), c.offboardCommand(), c.reviewCommand(),
		c.auditCommand(), c.policyCommand(), c.controlsCommand(), c.loginCommand(), c.logoutCommand(), c.serveCommand(), exitCodesTopic())
	return root
}

// run marks where the command line was understood: an error from here on is no misuse of the command.
func (c *cli) run(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.running = true
		return work(cmd.Context(), args)
	}
}

// connect is a client of the API for whoever is logged in.
func (c *cli) connect() (*client.Client, error) {
	if c.tenant == "" {
		return nil, usage("--tenant (COUNTERSIGN_TENANT) is needed: whose signings are meant?")
	}
	api, err := client.New(c.api, c.tenant, c.token)
	if err != nil {
		return nil, usage("%w", err)
	}
	return api, nil
}

// token is an access token: the environment's, the machine's, a kept one, or one of a new login.
func (c *cli) token(ctx context.Context) (string, error) {
	if token := os.Getenv("COUNTERSIGN_TOKEN"); token != "" {
		return token, nil
	}
	s, err := c.session(ctx, false)
	return s.Access, err
}

func (c *cli) session(ctx context.Context, fresh bool) (session.Session, error) {
	cache := session.Cache{Dir: cacheDir()}
	clientID := c.client
	if c.issuer == "" {
		return session.Session{}, usage("--issuer (COUNTERSIGN_ISSUER) is needed to log in, or COUNTERSIGN_TOKEN")
	}
	if (c.machineKey == "") != (c.machineClient == "") {
		return session.Session{}, usage("--machine-key and --machine-client belong together")
	}
	if c.machineKey != "" {
		clientID = "machine:" + c.machineClient
	}
	if s, ok := cache.Get(c.issuer, clientID, time.Now()); ok && !fresh {
		return s, nil
	}
	var s session.Session
	var err error
	if c.machineKey != "" {
		s, err = session.Machine(ctx, c.issuer, c.machineClient, c.machineKey)
	} else {
		s, err = c.browser().Login(ctx, c.issuer, c.client)
	}
	if err != nil {
		return s, err
	}
	return s, cache.Put(c.issuer, clientID, s)
}

func (c *cli) browser() session.Browser {
	return session.Browser{Command: os.Getenv("BROWSER"), Out: c.err}
}

// cacheDir is where tokens are kept; "off" keeps none.
func cacheDir() string {
	switch dir := os.Getenv("COUNTERSIGN_CACHE"); dir {
	case "off":
		return ""
	case "":
		base, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		return filepath.Join(base, "countersign", "tokens")
	default:
		return dir
	}
}

// answer writes a result: as JSON where that was asked for, else as text.
func (c *cli) answer(v any, text func(io.Writer)) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(v)
	}
	// A table writes each of its cells, and each gap, by itself.
	page := bufio.NewWriter(c.out)
	table := tabwriter.NewWriter(page, 0, 0, 2, ' ', 0)
	text(table)
	return errors.Join(table.Flush(), page.Flush())
}

// line is what others wrote, on one line and without what could write over a terminal.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
