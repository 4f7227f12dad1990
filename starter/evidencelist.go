package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// period is the flags --from and --until of a list.
type period struct{ from, until string }

func (p *period) flags(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&p.from, "from", "", what+" from this day or instant on (2026-12-01, 2026-12-01T09:00:00Z)")
	cmd.Flags().StringVar(&p.until, "until", "", what+" until this day, which counts whole, or before this instant")
}

func (p *period) window() (from, until time.Time, err error) {
	if p.from != "" {
		if from, _, err = dayOrInstant("--from", p.from); err != nil {
			return from, until, err
		}
	}
	if p.until != "" {
		var whole bool
		if until, whole, err = dayOrInstant("--until", p.until); whole {
			until = until.AddDate(0, 0, 1)
		}
	}
	return from, until, err
}

// defaultLimit is how much a list shows of which nobody says it.
const defaultLimit = 100

func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", defaultLimit, "ask for no further page once this many are found")
}

// pages asks page after page, from a cursor on, until there is no more or enough is found. It returns where it stopped.
func pages(limit int, cursor string, next func(cursor string) (found int, after string, err error)) (stopped string, err error) {
	if limit < 1 {
		return "", usage("--limit must be at least 1")
	}
	for found := 0; ; {
		n, after, err := next(cursor)
		if err != nil {
			return "", err
		}
		found += n
		if cursor = after; cursor == "" || found >= limit {
			return cursor, nil
		}
	}
}

func (c *cli) listCommand() *cobra.Command {
	var filter client.EvidenceFilter
	var when period
	var limit int
	var cursor string
	var verify bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"search"},
		Short:   "Find signings that ended, for the tenant's compliance and its owner",
		Long: `Find signings that ended, the last to end first, by when they ended, who had a part in them, their document, outcome or purpose. A person or a
partner had a part by having requested, decided, or been one who could have decided: audit exposure tells these apart.

It is found by the index in the bucket (TENANT/index/), however long ago it ended and whatever Temporal has forgotten since, and what Temporal still knows
that has no record there stands beside it. Without --from it goes 90 days back. An ending is of the instant of its entry in the tenant's log. What the workers
are still sealing is not in it. Each page that is asked for is recorded as a read of evidence, and looks at 50 records.

The index proves nothing by itself. --verify compares it with the tenant's log, which says which records there have to be: each ending has exactly one that agrees
with the log, and each record has its ending. The workers do that, for the window or for all; exit code 6 says that something is not as it has to be, and
audit reindex makes missing records anew.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			if verify {
				return c.reindex(ctx, client.ReindexBody{DryRun: true}, when)
			}
			var err error
			if filter.From, filter.Until, err = when.window(); err != nil {
				return err
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			all := client.EvidenceList{Evidence: []client.EndedSigning{}}
			all.Cursor, err = pages(limit, cursor, func(after string) (int, string, error) {
				page, err := api.EvidencePage(ctx, filter, after)
				all.Evidence, all.Unanswered, all.From = append(all.Evidence, page.Evidence...), append(all.Unanswered, page.Unanswered...), page.From
				return len(page.Evidence), page.Cursor, err
			})
			if err != nil {
				return err
			}
			return c.answer(all, func(w io.Writer) {
				fmt.Fprint(w, "ended\toutcome\trequest\thold\tretained until\tpurpose\ttitle\n")
				for _, e := range all.Evidence {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", instant(e.Ended), e.Outcome, line(e.Request), heldWord(e.Kept), retainedUntil(e.Kept), line(e.Purpose), line(e.Title))
				}
				if len(all.Unanswered) > 0 {
					fmt.Fprintf(w, "could not be looked at\t%s\n", line(strings.Join(all.Unanswered, ", ")))
				}
				if all.From != nil && filter.From.IsZero() {
					fmt.Fprintf(w, "from\t%s on; --from goes further back\n", instant(*all.From))
				}
				more(w, all.Cursor)
			})
		}),
	}
	when.flags(cmd, "ended")
	f := cmd.Flags()
	f.StringVar(&filter.Person, "person", "", "a person or machine, as ISSUER#SUBJECT, who had a part")
	f.StringVar(&filter.Partner, "partner", "", "an organisation whose people had a part, by its name or its issuer's URL")
	f.StringVar(&filter.Document, "document", "", "SHA-256 of the document, or its object key")
	f.StringVar(&filter.Requester, "requester", "", "who requested, as ISSUER#SUBJECT")
	f.StringVar(&filter.Text, "text", "", "words that the title has, in any case")
	f.StringVar(&filter.Outcome, "outcome", "", "how it ended: completed, rejected, expired, withdrawn, refused, revoked, failed, voided or terminated")
	f.StringVar(&filter.Purpose, "purpose", "", "one of the tenant's purposes")
	limitFlag(cmd, &limit)
	f.StringVar(&cursor, "cursor", "", "go on where a list with the same flags stopped")
	f.BoolVar(&verify, "verify", false, "compare the index with the tenant's log instead, in the window or all of it")
	for _, other := range []string{"person", "partner", "document", "requester", "text", "outcome", "purpose", "limit", "cursor"} {
		cmd.MarkFlagsMutuallyExclusive("verify", other)
	}
	return cmd
}

func more(w io.Writer, cursor string) {
	if cursor != "" {
		fmt.Fprintf(w, "there may be more: --cursor %s\n", line(cursor))
	}
}

func (c *cli) readsCommand() *cobra.Command {
	var request, cursor string
	var when period
	var limit int
	cmd := &cobra.Command{
		Use:   "reads",
		Short: "List who read which evidence, for the tenant's compliance and its owner",
		Long: `List who read which evidence through the API, the first first: bundles, documents and lists of evidence. Each read was recorded, and the record
locked, before a byte was given out. What was read at the store itself, past the API, is in the store's own log of accesses.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			from, until, err := when.window()
			if err != nil {
				return err
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			all := client.Reads{Reads: []evidence.Reading{}, Unreadable: []string{}}
			all.Cursor, err = pages(limit, cursor, func(after string) (int, string, error) {
				page, err := api.ReadsPage(ctx, request, from, until, after)
				all.Reads, all.Unreadable, all.Markers = append(all.Reads, page.Reads...), append(all.Unreadable, page.Unreadable...), all.Markers+page.Markers
				return len(page.Reads), page.Cursor, err
			})
			if err != nil {
				return err
			}
			return c.answer(all, func(w io.Writer) {
				fmt.Fprint(w, "at\twhat\tof\tby\tSHA-256\n")
				for _, r := range all.Reads {
					digest := ""
					if r.Object != nil {
						digest = r.Object.SHA256
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", instant(r.At), r.What, line(cmp.Or(r.Request, filterOf(r))), line(namedOf(r.Reader)), line(digest))
				}
				for _, key := range all.Unreadable {
					fmt.Fprintf(w, "no record, or not readable\t%s\n", line(key))
				}
				if all.Markers > 0 {
					fmt.Fprintf(w, "delete markers\t%d: somebody tried to hide records; they are listed all the same\n", all.Markers)
				}
				more(w, all.Cursor)
			})
		}),
	}
	cmd.Flags().StringVar(&request, "request", "", "reads of this request's evidence alone")
	when.flags(cmd, "read")
	limitFlag(cmd, &limit)
	cmd.Flags().StringVar(&cursor, "cursor", "", "go on where a list with the same flags stopped")
	return cmd
}

// filterOf is what a list was asked for.
func filterOf(r evidence.Reading) string {
	asked, err := url.QueryUnescape(r.Filter)
	if err != nil || asked == "" {
		return "all"
	}
	return asked
}
