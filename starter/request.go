package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
)

// maxFile is the largest document that is read; the tenant's own limit is the API's to hold.
const maxFile = 512 << 20

func (c *cli) requestCommand() *cobra.Command {
	var file, purpose, title, id string
	var deadlines []string
	var wait bool
	cmd := &cobra.Command{
		Use:   "request --file PDF --purpose PURPOSE --title TITLE",
		Short: "Ask for a document to be signed",
		Long: `Ask for a document to be signed: upload it, and start its signing.

The same --request with the same content is the same signing, however often it is asked for. Without --request an id is made
and written. The command ends when intake has admitted the request or refused it. With --wait it ends when the signing has: with
exit code 0 only if it is signed and its evidence locked.`,
		Example: `  countersign request --file contract.pdf --purpose supplier-contract --title "Supply agreement" --request PO-4711 --wait`,
		Args:    cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			due, err := parseDeadlines(deadlines)
			if err != nil {
				return err
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			body, err := readBounded(file, maxFile)
			if err != nil {
				return err
			}
			if id == "" {
				id = "r-" + uuid.NewString()
			}
			document, err := api.PutDocument(ctx, body)
			if err != nil {
				return err
			}
			started, err := api.Request(ctx, client.SigningRequest{V: countersign.Version, Tenant: c.tenant, ID: id, Purpose: purpose, Title: title, Document: document, Deadlines: due})
			if err != nil {
				return err
			}
			if err := c.answer(started, func(w io.Writer) {
				fmt.Fprintf(w, "request\t%s\ndocument\t%s\n", started.Request, document.SHA256)
			}); err != nil {
				return err
			}
			if !wait {
				return c.admitted(ctx, api, started.Request)
			}
			last, err := c.follow(ctx, api, started.Request)
			if err != nil {
				return err
			}
			if !last.Released {
				return refused(string(last.Outcome), "the signing ended as %s: %s", last.Outcome, line(last.Detail))
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&file, "file", "", "the PDF")
	f.StringVar(&purpose, "purpose", "", "one of the tenant's purposes; it decides who must approve")
	f.StringVar(&title, "title", "", "what approvers read")
	f.StringVar(&id, "request", "", "your own id of the request")
	f.StringArrayVar(&deadlines, "deadline", nil, "absolute deadline of a stage, STAGE=RFC3339; may be given again")
	f.BoolVar(&wait, "wait", false, "wait until the signing has ended")
	for _, name := range []string{"file", "purpose", "title"} {
		must(cmd.MarkFlagRequired(name))
	}
	must(cmd.MarkFlagFilename("file", "pdf"))
	return cmd
}

// intakePatience is how long the command waits to hear of intake, which takes a moment.
const intakePatience = 15 * time.Second

// admitted waits for intake: who asks wants to hear at once what is refused, and the next command finds the signing open.
func (c *cli) admitted(ctx context.Context, api *client.Client, request string) error {
	within, cancel := context.WithTimeout(ctx, intakePatience)
	defer cancel()
	var last client.Status
	err := api.Watch(within, request, func(s client.Status) bool {
		last = s
		return s.Plan == nil && s.Outcome == ""
	})
	switch {
	case err != nil && ctx.Err() == nil && within.Err() != nil:
		fmt.Fprintf(c.err, "intake takes longer than usual; countersign status %s tells when it has ended\n", request)
		return nil
	case err != nil:
		return err
	case last.Plan == nil:
		return refused(string(last.Outcome), "the signing was %s at intake: %s", last.Outcome, line(last.Detail))
	}
	return c.answer(last, func(w io.Writer) {
		for _, stage := range last.Plan.Stages {
			fmt.Fprintf(w, "stage %s\t%d of %d people, until %s\n", stage.Name, stage.Quorum, len(stage.Eligible), instant(stage.Deadline))
		}
	})
}

func parseDeadlines(given []string) (map[string]time.Time, error) {
	var due map[string]time.Time
	for _, d := range given {
		stage, when, ok := strings.Cut(d, "=")
		t, err := time.Parse(time.RFC3339, when)
		if !ok || stage == "" || err != nil {
			return nil, usage("--deadline %q is not STAGE=RFC3339, such as legal=2030-01-31T17:00:00Z", d)
		}
		if _, twice := due[stage]; twice {
			return nil, usage("--deadline names stage %q twice", stage)
		}
		if due == nil {
			due = map[string]time.Time{}
		}
		due[stage] = t.UTC()
	}
	return due, nil
}

// readBounded reads a file that somebody named, unless it is too large.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the file: %w", err)
	}
	defer f.Close()
	var body bytes.Buffer
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() { // into memory of its size: a bundle can be large
		body.Grow(int(min(info.Size(), limit)) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, fmt.Errorf("couldn't read the file: %w", err)
	}
	if int64(body.Len()) > limit {
		return nil, fmt.Errorf("couldn't read %s: it has more than %d bytes", name, limit)
	}
	return body.Bytes(), nil
}

// must is for what only a mistake in this code can break.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
