package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

const unverified = "NOT VERIFIED: this is what the file says; give --tenant-ca and --tsa-ca to check it first"

// bundleReader reads bundles for commands that tell what is in them: verified where roots are given, else only said not to be.
type bundleReader struct{ tenantCA, tsaCA string }

func (b *bundleReader) flags(cmd *cobra.Command) {
	rootFlags(cmd, &b.tenantCA, &b.tsaCA)
	cmd.MarkFlagsRequiredTogether("tenant-ca", "tsa-ca")
}

// read is the bytes of a bundle. What was to be verified and doesn't hold is an error: nothing of it is told.
func (b *bundleReader) read(file string) (raw []byte, verified bool, err error) {
	raw, err = readBounded(file, evidence.MaxBundleSize)
	if err != nil || b.tenantCA == "" {
		return raw, false, err
	}
	roots, err := rootsOf(b.tenantCA, b.tsaCA)
	if err != nil {
		return nil, false, err
	}
	if err := evidence.Verify(raw, roots).Err(); err != nil {
		return nil, false, &coded{exitUnproven, "not-verified", fmt.Errorf("the evidence in %s does not hold, so nothing of it is told: %w", file, err)}
	}
	return raw, true, nil
}

func unreadable(file string, err error) error {
	return &coded{exitUnproven, "unreadable-bundle", fmt.Errorf("couldn't read %s: %w", file, err)}
}

func (c *cli) timelineCommand() *cobra.Command {
	var bundle bundleReader
	cmd := &cobra.Command{
		Use:   "timeline FILE [--tenant-ca PEM --tsa-ca PEM]",
		Short: "Tell one signing line by line out of its evidence bundle, without a network",
		Long: `Tell one signing line by line out of its evidence bundle: what happened, when the Temporal server recorded it, who did it, in whose place,
how that was proven, and by which policies. Beside it stands who could have decided. What the history doesn't say is told as "not recorded".

With --tenant-ca and --tsa-ca the bundle is verified first, and nothing is told of one that fails (exit code 6). Each line holds the SHA-256 of the
line before it: what was cut out of a print-out, or moved, shows.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			raw, verified, err := bundle.read(args[0])
			if err != nil {
				return err
			}
			t, err := evidence.ReadTimeline(raw)
			if err != nil {
				return unreadable(args[0], err)
			}
			answer := struct {
				Verified bool   `json:"verified"`
				SHA256   string `json:"sha256"` // of the bundle
				*evidence.Timeline
			}{verified, countersign.SHA256(raw), t}
			return c.answer(answer, func(w io.Writer) { told(w, t, answer.SHA256, verified) })
		}),
	}
	bundle.flags(cmd)
	return cmd
}

// told writes a timeline for people.
func told(w io.Writer, t *evidence.Timeline, bundle string, verified bool) {
	state := "the bundle was verified: seal, time-stamp, proofs, policies and quorum hold"
	if !verified {
		state = unverified
	}
	fmt.Fprintf(w, "%s\nrequest\t%s of %s: %s\noutcome\t%s\ndocument\t%s, version %s\npolicy\t%s\nsaga\t%s, run %s\nbundle\t%s\n",
		state, line(t.Request), line(t.Tenant), line(t.Title), t.Outcome, line(t.Document.SHA256), line(t.Document.VersionID), cmp.Or(t.Policy, "none: it was not admitted"),
		line(t.Saga.Workflow), line(t.Saga.Run), bundle)
	for _, l := range t.Lines {
		fmt.Fprintf(w, "\n%s\t%s\t%s\n", l.ID, l.At, strings.ToUpper(l.Kind))
		for _, pair := range detailsOf(l) {
			if pair[1] != "" {
				fmt.Fprintf(w, "\t%s\t%s\n", pair[0], line(pair[1]))
			}
		}
	}
	fmt.Fprintf(w, "\nhead\t%s\n", t.Head)
	if t.Exposure != nil {
		exposed(w, *t.Exposure)
	}
}

func detailsOf(l evidence.TimelineLine) [][2]string {
	details := [][2]string{{"by", personOf(l.Actor, l.Name, l.Organisation)}}
	if l.OnBehalfOf != nil {
		details = append(details, [2]string{"on behalf of", namedOf(*l.OnBehalfOf)})
	}
	switch l.Kind {
	case evidence.KindRequested, evidence.KindDecisionReceived, evidence.KindWithdrawalReceived:
		details = append(details, [2]string{"from", "address " + l.IP + ", program " + l.UserAgent})
	}
	decision := string(l.Verdict)
	if l.Stage != "" {
		decision = strings.TrimSpace(decision + " in stage " + l.Stage)
	}
	details = append(details, [2]string{"what", decision}, [2]string{"to", strings.Join(l.To, ", ")}, [2]string{"authenticated by", l.Authentication})
	if p := l.Proof; p != nil {
		proof := fmt.Sprintf("assurance %d: ID token of %s, its key %s, logged in %s", p.Assurance, p.Issuer, p.IssuerKey, p.AuthTime)
		if p.Key != "" {
			proof += "; own key " + p.Key
		}
		if p.Stamped != "" {
			proof += "; time-stamped " + p.Stamped + " by " + p.Authority
		}
		details = append(details, [2]string{"proof", proof})
	}
	if len(l.Policies) > 0 {
		details = append(details, [2]string{"policies", strings.Join(l.Policies, ", ") + " of set " + l.Set})
	}
	code := "refusal"
	if l.Kind == evidence.KindStepFailed || l.Kind == evidence.KindStepRetried {
		code = "failure"
	}
	if l.Attempt > 0 {
		details = append(details, [2]string{"attempts", strconv.Itoa(int(l.Attempt))})
	}
	return append(details, [2]string{code, l.Code}, [2]string{"reason", l.Reason}, [2]string{"detail", l.Detail}, [2]string{"document", l.Document}, [2]string{"previous", l.Previous})
}

func personOf(actor, name, organisation string) string {
	if name == "" {
		return actor
	}
	return name + " (" + organisation + "), " + actor
}

func namedOf(n evidence.Named) string {
	if n.Actor.IsZero() {
		return cmp.Or(n.Name, "not recorded")
	}
	return personOf(n.Actor.String(), n.Name, n.Organisation)
}

// exposed writes who could have decided beside who did.
func exposed(w io.Writer, e evidence.Exposure) {
	fmt.Fprint(w, "\ncould have decided\n")
	for _, p := range e.Could {
		where := "stage " + p.Stage
		if p.Stage == "" {
			where = "breaking the glass"
		}
		text := stateWords[p.State]
		if p.From != "" {
			text += ", from " + p.From
		}
		if !p.Asked {
			text += ", never asked"
		}
		fmt.Fprintf(w, "\t%s\t%s, as %s: %s\n", line(where), line(personOf(p.Actor.String(), p.Name, p.Organisation)), line(p.Role), text)
	}
	fmt.Fprint(w, "\ndid\n")
	for _, d := range e.Did {
		text := "counted"
		if d.Refusal != nil {
			text = "did not count (" + d.Refusal.Code + ")"
		}
		if d.OnBehalfOf != nil {
			text += ", on behalf of " + namedOf(*d.OnBehalfOf)
		}
		fmt.Fprintf(w, "\t%d\t%s, %s in stage %s: %s\n", d.Sequence, line(namedOf(d.By)), cmp.Or(string(d.Verdict), "not recorded"), cmp.Or(line(d.Stage), "not recorded"), line(text))
	}
}

func (c *cli) exposureCommand() *cobra.Command {
	var bundle bundleReader
	var partner string
	cmd := &cobra.Command{
		Use:   "exposure FILE... [--partner ISSUER] [--tenant-ca PEM --tsa-ca PEM]",
		Short: "Export who could have decided apart from who did, of many evidence bundles, without a network",
		Long: `Export as one JSON object who could have decided (could) apart from who did (did), of each evidence bundle given. With --partner only what concerns
the people of that issuer is left, and signings that don't concern them are left out. What could have been is the plan that was frozen at intake; a
grant that was given and never used stands in the grant's own history alone, and is not in it.

With --tenant-ca and --tsa-ca each bundle is verified first, and nothing is told if one fails (exit code 6); else "verified" is false.`,
		Args: cobra.MinimumNArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			answer := exposures{V: 1, Partner: partner, Verified: true, Looked: len(args), Signings: []exposureOf{}}
			for _, file := range args {
				raw, verified, err := bundle.read(file)
				if err != nil {
					return err
				}
				e, err := evidence.ReadExposure(raw)
				if err != nil {
					return unreadable(file, err)
				}
				answer.Verified = answer.Verified && verified
				concerned := true
				if partner != "" {
					e, concerned = e.Of(partner)
				}
				if concerned {
					answer.Signings = append(answer.Signings, exposureOf{countersign.SHA256(raw), e})
				}
			}
			return c.answer(answer, func(w io.Writer) {
				if !answer.Verified {
					fmt.Fprintln(w, unverified)
				}
				fmt.Fprintf(w, "%d of %d signings\n", len(answer.Signings), answer.Looked)
				for _, s := range answer.Signings {
					fmt.Fprintf(w, "\nrequest\t%s of %s: %s\noutcome\t%s\nbundle\t%s\n", line(s.Request), line(s.Tenant), line(s.Title), s.Outcome, s.Bundle)
					exposed(w, s.Exposure)
				}
			})
		}),
	}
	bundle.flags(cmd)
	cmd.Flags().StringVar(&partner, "partner", "", "URL of an issuer: only what its people could and did")
	return cmd
}

// exposures is what the command exports.
type exposures struct {
	V        int          `json:"v"`
	Partner  string       `json:"partner,omitempty"`
	Verified bool         `json:"verified"`
	Looked   int          `json:"looked"` // how many bundles were read
	Signings []exposureOf `json:"signings"`
}

type exposureOf struct {
	Bundle string `json:"bundle"` // its SHA-256
	evidence.Exposure
}
