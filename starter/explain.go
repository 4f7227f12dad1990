package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

func (c *cli) explainCommand() *cobra.Command {
	var purpose, file string
	cmd := &cobra.Command{
		Use:   "explain (REQUEST | --purpose PURPOSE | --evidence FILE)",
		Short: "Say who must approve and why, who could stand in, and what each refusal was for",
		Long: `Explain an approval plan: of a signing, at any time; of a purpose, before you request; or of an evidence bundle, years later and without a network.
What is explained is the plan that was frozen at intake. Whether a bundle is genuine is another question: countersign audit verify.`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			given := len(args)
			for _, flag := range []string{purpose, file} {
				if flag != "" {
					given++
				}
			}
			if given != 1 {
				return usage("name one of them: a request, --purpose, or --evidence")
			}
			if file != "" {
				e, err := explainBundle(file)
				if err != nil {
					return err
				}
				return c.answer(e, func(w io.Writer) { explained(w, e) })
			}
			api, err := c.connect()
			if err != nil {
				return err
			}
			var e countersign.Explanation
			if purpose != "" {
				e, err = api.ExplainPurpose(ctx, purpose)
			} else {
				e, err = api.Explain(ctx, args[0])
			}
			if err != nil {
				return err
			}
			return c.answer(e, func(w io.Writer) { explained(w, e) })
		}),
	}
	cmd.Flags().StringVar(&purpose, "purpose", "", "the plan that a request of yours would have now")
	cmd.Flags().StringVar(&file, "evidence", "", "an evidence bundle (ASiC-E)")
	return cmd
}

// explainBundle explains what a bundle's history says. It believes the history: verifying is another command's work.
func explainBundle(file string) (countersign.Explanation, error) {
	raw, err := readBounded(file, evidence.MaxBundleSize)
	if err != nil {
		return countersign.Explanation{}, err
	}
	told, err := evidence.ReadBundle(raw)
	if err != nil {
		return countersign.Explanation{}, &coded{exitUnproven, "unreadable-bundle", fmt.Errorf("couldn't read %s: %w", file, err)}
	}
	if told.Admission == nil || told.Admission.Refusal != nil {
		return countersign.Explanation{}, refused("no-plan", "the signing was not admitted, so it had no plan")
	}
	var decisions []countersign.DecisionRecord
	for _, d := range told.Decisions {
		if d.Check != nil {
			decisions = append(decisions, d.Check.Record)
		}
	}
	return told.Admission.Plan.Explain(told.Admission.Context.Requester, decisions, nil, true), nil
}

var stateWords = map[string]string{
	countersign.MayDecide: "may decide", countersign.MayLater: "may decide later", countersign.CouldHave: "could have decided", countersign.HasApproved: "approved", countersign.HasRejected: "rejected",
	countersign.HasDecided: "has used the one vote that a person has", countersign.HasSkipped: "broke the glass", countersign.IsRequester: "requested, so may not decide",
}

func explainPeople(w io.Writer, people []countersign.PersonExplanation) {
	for _, p := range people {
		text := stateWords[p.State]
		if p.From != nil {
			text = strings.TrimSuffix(text, " later") + " from " + instant(*p.From)
		}
		if p.By != nil {
			text += ", by " + line(p.By.String()) + " under a grant"
		}
		who := p.Name + " (" + p.Organisation + ")"
		if len(p.Roles) > 0 {
			who += ", also " + strings.Join(p.Roles, ", ")
		}
		fmt.Fprintf(w, "  %s\t%s, as %s\n", line(who), text, line(p.Role))
	}
}

// explained writes an explanation for people.
func explained(w io.Writer, e countersign.Explanation) {
	fmt.Fprintf(w, "purpose\t%s: %s\n", line(e.Purpose), line(e.Title))
	for _, s := range e.Stages {
		fmt.Fprintf(w, "\nstage %s\t%s", line(s.Name), s.State)
		if s.Deadline != nil {
			fmt.Fprintf(w, ", until %s", instant(*s.Deadline))
		}
		fmt.Fprintln(w)
		for _, ask := range s.Asks {
			fmt.Fprintf(w, "  asks\t%s\n", line(ask))
		}
		if s.Lacks != "" {
			fmt.Fprintf(w, "  lacks\tit %s\n", line(s.Lacks))
		}
		explainPeople(w, s.People)
		for _, r := range s.Refused {
			fmt.Fprintf(w, "  refused\t%s of %s: %s (%s)\n", line(string(r.Verdict)), line(r.Actor.String()), line(r.Refusal.Message), r.Refusal.Code)
		}
	}
	if b := e.BreakGlass; b != nil {
		state := "whole"
		if b.Broken {
			state = "broken"
		}
		fmt.Fprintf(w, "\nglass\t%s\n", state)
		for _, ask := range b.Asks {
			fmt.Fprintf(w, "  asks\t%s\n", line(ask))
		}
		explainPeople(w, b.People)
		fmt.Fprintf(w, "  owner\t%s\n", line(b.Owner.Name+" ("+b.Owner.Organisation+")"))
	}
}
