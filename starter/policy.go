package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/policy"
)

// builtIn names the built-in set where a file's name is expected.
const builtIn = "built-in"

const maxPolicyFile = 1 << 20

func (c *cli) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show, check and compare policy sets",
		Long: `Show, check and compare policy sets, without a network. A FILE holds what a tenant adds to the built-in set, in Cedar; with --whole it
holds a complete set, as policy/policy.cedar of an evidence bundle.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	whole := cmd.PersistentFlags().Bool("whole", false, "FILE is a complete set, not an addition to the built-in one")
	cmd.AddCommand(c.policyShowCommand(whole), c.policyCheckCommand(whole), c.policyDiffCommand(whole))
	return cmd
}

// set reads a policy set and checks its names and types: the built-in one, or a file.
func set(file string, whole bool) (*policy.Engine, error) {
	base, own := policy.Default(), ""
	if file != builtIn {
		raw, err := readBounded(file, maxPolicyFile)
		if err != nil {
			return nil, err
		}
		if own = string(raw); whole {
			base = ""
		}
	}
	e, err := policy.Combine(base, file, own)
	if err != nil {
		return nil, &coded{exitUnproven, "policy-invalid", err}
	}
	return e, nil
}

// first is the only argument, or the built-in set.
func first(args []string) string {
	if len(args) == 0 {
		return builtIn
	}
	return args[0]
}

func (c *cli) policyShowCommand(whole *bool) *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE]",
		Short: "Write a policy set",
		Long:  "Write a policy set as it decides: the built-in one, with what FILE adds. With --json also its hash, its policies and what every set must keep.",
		Example: `  countersign policy show
  countersign policy show acme.cedar --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			e, err := set(first(args), *whole)
			if err != nil {
				return err
			}
			if !c.json {
				_, err := io.WriteString(c.out, e.Text())
				return err
			}
			return c.answer(map[string]any{"set": e.Hash(), "policies": e.Policies(), "invariants": policy.Invariants(), "text": e.Text()}, nil)
		}),
	}
}

// policyReport is what a check of a policy set found.
type policyReport struct {
	Holds          bool                   `json:"holds"`
	File           string                 `json:"file"`
	Set            string                 `json:"set"`
	Policies       int                    `json:"policies"`
	Model          policy.Coverage        `json:"model"`
	Seconds        float64                `json:"seconds"`
	Counterexample *policy.Counterexample `json:"counterexample,omitempty"`
	Cases          int                    `json:"cases"`
	Failed         []policy.Failure       `json:"failed,omitempty"`
}

func (c *cli) policyCheckCommand(whole *bool) *cobra.Command {
	var casesFile string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a policy set: names and types, what every set must keep, and your own cases",
		Long: `Check what a tenant's FILE adds to the built-in policy set; without FILE the built-in set itself. Names and types are compared with
what questions have. Then each question of a small world that differs from a usual one in a few parts is asked, and each yes compared
with what must hold whatever a tenant writes; where that is broken, the smallest such question is shown. Cases are questions of your own,
with the answers that you expect. The exit code is 6 if anything did not hold.`,
		Example: `  countersign policy check
  countersign policy check acme.cedar --cases acme-cases.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run(func(_ context.Context, args []string) error {
			report := policyReport{File: first(args)}
			e, err := set(report.File, *whole)
			if err != nil {
				return err
			}
			var cases []policy.Case
			if casesFile != "" {
				raw, err := readBounded(casesFile, maxPolicyFile)
				if err != nil {
					return fmt.Errorf("--cases: %w", err)
				}
				if cases, err = policy.ReadCases(casesFile, raw); err != nil {
					return fmt.Errorf("--cases: %w", err)
				}
			}
			report.Set, report.Policies, report.Cases = e.Hash(), len(e.Policies()), len(cases)
			began := time.Now()
			report.Model, err = policy.CheckModel(e)
			report.Seconds = time.Since(began).Seconds()
			if err != nil && !errors.As(err, &report.Counterexample) {
				return err
			}
			report.Failed = policy.RunCases(e, cases)
			report.Holds = err == nil && len(report.Failed) == 0
			if err := c.answer(report, func(w io.Writer) { report.describe(w, casesFile) }); err != nil {
				return err
			}
			if !report.Holds {
				return &coded{exitUnproven, "policy-broken", errors.New("the policy set does not hold; see what failed")}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&casesFile, "cases", "", "questions with the answers that you expect (YAML)")
	return cmd
}

func (r policyReport) describe(w io.Writer, casesFile string) {
	fmt.Fprintf(w, "pass\tpolicies\t%d, with names and types that questions have; set %s\n", r.Policies, r.Set)
	asked := fmt.Sprintf("%d questions in %.1f s, up to %d parts from a usual one", r.Model.Asked, r.Seconds, r.Model.Apart)
	if x := r.Counterexample; x == nil {
		fmt.Fprintf(w, "pass\tmodel\t%s\n", asked)
	} else {
		fmt.Fprintf(w, "fail\tmodel\t%s: %s\n", x.Invariant.ID, x.Invariant.Promise)
		fmt.Fprintf(w, "\tbut allowed\t%s\n\tby\t%s\n\tthough\t%s\n", line(x.Difference()), line(strings.Join(x.Answer.Policies, " ")), line(x.Why))
		if question, err := json.Marshal(x.Question); err == nil {
			fmt.Fprintf(w, "\tquestion\t%s\n", line(string(question)))
		}
		fmt.Fprintf(w, "\tafter\t%s\n", asked)
	}
	for _, f := range r.Failed {
		fmt.Fprintf(w, "fail\tcase\t%s:%d: %s: wanted %s, is %s\n", casesFile, f.Line, line(f.Case), line(f.Wanted), line(verdict(f.Answer)))
	}
	if r.Cases > 0 && len(r.Failed) == 0 {
		fmt.Fprintf(w, "pass\tcases\t%d\n", r.Cases)
	}
}

// verdict is an answer in words.
func verdict(a policy.Answer) string {
	switch {
	case a.Allowed:
		return "allowed by " + strings.Join(a.Policies, " and ")
	case len(a.Errors) > 0:
		return "refused, because it fails: " + strings.Join(a.Errors, " and ")
	case len(a.Policies) == 0:
		return "refused: nothing permits it"
	}
	return "refused by " + strings.Join(a.Policies, " and ")
}

func (c *cli) policyDiffCommand(whole *bool) *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show which questions two policy sets answer differently",
		Long: `Ask two policy sets the same questions as check does, and show which ones they answer differently: how many, and the smallest. OLD and
NEW are files; "built-in" is the built-in set without any.`,
		Example: `  countersign policy diff built-in acme.cedar
  countersign policy diff --whole old/policy/policy.cedar new/policy/policy.cedar`,
		Args: cobra.ExactArgs(2),
		RunE: c.run(func(_ context.Context, args []string) error {
			old, err := set(args[0], *whole)
			if err != nil {
				return err
			}
			changed, err := set(args[1], *whole)
			if err != nil {
				return err
			}
			began := time.Now()
			changes, coverage := policy.Diff(old, changed)
			seconds := time.Since(began).Seconds()
			answer := map[string]any{"old": old.Hash(), "new": changed.Hash(), "changes": changes, "model": coverage, "seconds": seconds}
			return c.answer(answer, func(w io.Writer) {
				for _, change := range changes {
					fmt.Fprintf(w, "%s\t%d questions\n", change.Kind, change.Total)
					for _, x := range change.Examples {
						fmt.Fprintf(w, "\t%s\twas %s\tis %s\n", line(x.String()), line(verdict(x.Old)), line(verdict(x.New)))
					}
				}
				if len(changes) == 0 {
					fmt.Fprintln(w, "no question is answered differently")
				}
				fmt.Fprintf(w, "asked\t%d questions in %.1f s, up to %d parts from a usual one\n", coverage.Asked, seconds, coverage.Apart)
			})
		}),
	}
}
