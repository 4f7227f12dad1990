package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) disputeCommand() *cobra.Command {
	var d dispute
	cmd := &cobra.Command{
		Use: "dispute REQUEST --out DIR --tenant-ca PEM --tsa-ca PEM", Short: "Freeze a signing's evidence, gather all about it, check it, and write a report", Args: cobra.ExactArgs(1),
		Long: `What a dispute about one signing needs, in one directory: with --matter, a hold of the evidence is proposed, which a second person of compliance
approves. Then the bundle, its timeline, the orders about it, who read it, the review of broken glass, the grants and keys that were used, and other
signings of the same document are gathered and checked, and a report says what was found, for people and as JSON. MANIFEST.sha256 has the digest of each
file, as sha256sum --check reads it.

The command can be called again: it shows where the hold stands, fetches the bundle only if it isn't there yet, and writes the rest anew. Each read of
evidence is recorded with its reader. The exit code is 6 if something that was gathered does not hold; the report is written all the same.`,
		Example: `  countersign audit dispute PO-4711 --out dispute-PO-4711 --matter "LG Berlin 12 O 34/26" --reason "claim by the supplier" \
    --tenant-ca tenant-ca.pem --tsa-ca tsa-ca.pem`,
		RunE: c.run(func(ctx context.Context, args []string) error {
			d.request = args[0]
			return c.dispute(ctx, d)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&d.dir, "out", "", "directory to write into; it is made if it isn't there")
	f.StringVar(&d.matter, "matter", "", "reference of the matter to hold the evidence for; without it nothing is held")
	f.StringVar(&d.reason, "reason", "dispute", "why it is held; it is locked with the order")
	f.StringVar(&d.logKey, "log-key", "", "public key of the tenant's log as text; without it, nothing is said about the log")
	f.BoolVar(&d.dryRun, "dry-run", false, "show the order to hold, and neither give it nor gather anything")
	rootFlags(cmd, &d.tenantCA, &d.tsaCA)
	for _, name := range []string{"out", "tenant-ca", "tsa-ca"} {
		must(cmd.MarkFlagRequired(name))
	}
	must(cmd.MarkFlagDirname("out"))
	for _, name := range []string{"matter", "reason", "log-key"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	return cmd
}

// dispute is what is asked for.
type dispute struct {
	request, dir, matter, reason, tenantCA, tsaCA, logKey string
	dryRun                                                bool
}

// The states of what a dispute looked for.
const (
	factHolds = "holds"
	factFails = "fails"
	factNone  = "none"         // there is none
	factFound = "found"        // gathered; there is nothing in it that could be checked offline
	factNot   = "not gathered" // it may be there
)

// fact is one thing that a dispute looked for.
type fact struct {
	What   string `json:"what"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	File   string `json:"file,omitempty"`
}

// disputeReport is what a dispute found, as JSON.
type disputeReport struct {
	V        int                   `json:"v"`
	Tenant   string                `json:"tenant"`
	Request  string                `json:"request"`
	Title    string                `json:"title"`
	Outcome  countersign.Outcome   `json:"outcome"`
	Document string                `json:"document"` // its SHA-256
	Bundle   countersign.Object    `json:"bundle"`
	Kept     *evidence.KeptObject  `json:"kept"`
	Matters  []string              `json:"matters"`
	Waiting  *evidence.OrderStatus `json:"waiting,omitempty"`
	Written  time.Time             `json:"written"`
	By       string                `json:"by"`
	Facts    []fact                `json:"facts"`
	Exposure *evidence.Exposure    `json:"exposure,omitempty"`
}

// gathering is a dispute at work.
type gathering struct {
	dispute
	api    *client.Client
	roots  evidence.Roots
	report disputeReport
	files  map[string][]byte // what was gathered, by its name in the directory
	bundle *evidence.Report
	// shredded says that somebody's personal data in the bundle was shredded, so that there is only what is left of it.
	shredded bool
}

func (c *cli) dispute(ctx context.Context, d dispute) error {
	g := &gathering{dispute: d, files: map[string][]byte{}}
	var err error
	if g.roots, err = rootsOf(d.tenantCA, d.tsaCA); err != nil {
		return err
	}
	var log note.Verifier
	if err := countersign.CheckRequestID(d.request); err != nil {
		return usage("%w", err)
	}
	if d.logKey != "" {
		reader, err := logReader("", d.logKey)
		if err != nil {
			return err
		}
		log = reader.Verifier
	}
	g.roots.Log = log
	if g.api, err = c.connect(); err != nil {
		return err
	}
	actor, err := c.self(ctx)
	if err != nil {
		return err
	}
	if d.dryRun {
		if d.matter == "" {
			return usage("--dry-run shows the order to hold, and needs --matter")
		}
		return c.order(ctx, countersign.Order{Act: countersign.OrderHold, Request: d.request, Matter: d.matter, Reason: d.reason}, true)
	}
	book, err := c.freeze(ctx, g)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("couldn't make the directory of the dispute: %w", err)
	}
	g.report = disputeReport{
		V: countersign.Version, Tenant: c.tenant, Request: d.request, Bundle: *book.Bundle, Kept: book.Kept, Matters: book.Matters, Waiting: book.Waiting,
		Written: time.Now().UTC().Truncate(time.Second), By: actor.String(), Facts: []fact{},
	}
	if err := g.gather(ctx, book); err != nil {
		return err
	}
	if err := g.write(); err != nil {
		return err
	}
	if err := c.answer(g.report, func(w io.Writer) { g.report.tell(w) }); err != nil {
		return err
	}
	if slices.ContainsFunc(g.report.Facts, func(f fact) bool { return f.State == factFails }) {
		return &coded{exitUnproven, "not-verified", errors.New("something that was gathered does not hold; see the report")}
	}
	return nil
}

// freeze proposes the hold that was asked for, unless it is there or waits already, and returns how the evidence is kept.
func (c *cli) freeze(ctx context.Context, g *gathering) (client.OrderBook, error) {
	book, err := g.api.Orders(ctx, g.request)
	if err == nil && book.Bundle == nil {
		err = &coded{exitConflict, "evidence-pending", errors.New("the evidence is not locked yet")}
	}
	if err != nil || g.matter == "" || slices.Contains(book.Matters, g.matter) || book.Waiting != nil {
		return book, err
	}
	quiet := *c
	quiet.out = io.Discard // where the hold stands is part of the report
	if err := quiet.order(ctx, countersign.Order{Act: countersign.OrderHold, Request: g.request, Matter: g.matter, Reason: g.reason}, false); err != nil {
		return book, err
	}
	return g.api.Orders(ctx, g.request)
}

// note says what became of one thing that was looked for.
func (g *gathering) note(what, state, file, format string, args ...any) {
	g.report.Facts = append(g.report.Facts, fact{what, state, fmt.Sprintf(format, args...), file})
}

// keep keeps something gathered as JSON.
func (g *gathering) keep(file string, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("couldn't write %s: %w", file, err)
	}
	g.files[file] = append(body, '\n')
	return nil
}

// gather fetches and checks everything. What can't be fetched now is an error: the command is called again.
func (g *gathering) gather(ctx context.Context, book client.OrderBook) error {
	for _, part := range []func(context.Context, client.OrderBook) error{g.theBundle, g.theOrders, g.theReads, g.theReview, g.theAuthority, g.theRelated} {
		if err := part(ctx, book); err != nil {
			return err
		}
	}
	return nil
}

// write writes everything that was gathered, the report, and last the manifest: what it names was written before.
func (g *gathering) write() error {
	if err := g.keep("report.json", g.report); err != nil {
		return err
	}
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	g.report.tell(table)
	if err := table.Flush(); err != nil {
		return err
	}
	g.files["report.txt"] = text.Bytes()
	var manifest strings.Builder
	names := []string{}
	for name := range g.files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := writeFile(filepath.Join(g.dir, name), g.files[name]); err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "%s  %s\n", countersign.SHA256(g.files[name]), name)
	}
	return writeFile(filepath.Join(g.dir, "MANIFEST.sha256"), []byte(manifest.String()))
}

// tell writes the report for people.
func (r disputeReport) tell(w io.Writer) {
	fmt.Fprintf(w, "request\t%s of %s: %s\noutcome\t%s\ndocument\t%s\nbundle\t%s, version %s\nSHA-256\t%s\nwritten\t%s by %s\n",
		line(r.Request), line(r.Tenant), line(r.Title), r.Outcome, r.Document, line(r.Bundle.Key), line(r.Bundle.VersionID), r.Bundle.SHA256, instant(r.Written), line(r.By))
	fmt.Fprintf(w, "hold\t%s\t%s\nretained until\t%s\n\n", heldWord(r.Kept), line(strings.Join(r.Matters, "; ")), retainedUntil(r.Kept))
	for _, f := range r.Facts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.What, f.State, line(f.Detail), f.File)
	}
	if r.Exposure != nil {
		exposed(w, *r.Exposure)
	}
}
