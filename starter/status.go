package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status REQUEST",
		Short: "Say where a signing stands",
		Args:  cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			s, err := api.Status(ctx, args[0])
			if err != nil {
				return err
			}
			return c.answer(s, func(w io.Writer) { describe(w, s) })
		}),
	}
}

// describe writes a status for people.
func describe(w io.Writer, s client.Status) {
	state := s.State
	if s.Pending {
		state += ": signed, evidence pending"
	}
	fmt.Fprintf(w, "request\t%s\ntitle\t%s\npurpose\t%s\nstate\t%s\n", s.Request, line(s.Title), s.Purpose, state)
	if s.Outcome != "" {
		fmt.Fprintf(w, "outcome\t%s: %s\n", s.Outcome, s.Meaning)
	}
	if s.Detail != "" {
		fmt.Fprintf(w, "detail\t%s\n", line(s.Detail))
	}
	if s.Problem != "" {
		fmt.Fprintf(w, "problem\t%s\n", line(s.Problem))
	}
	fmt.Fprintf(w, "released\t%t\n", s.Released)
	if s.Requester != nil {
		fmt.Fprintf(w, "requester\t%s\n", line(s.Requester.String()))
	}
	if s.Document != nil {
		fmt.Fprintf(w, "document\t%s\n", s.Document.SHA256)
	}
	if s.Plan != nil {
		for _, stage := range s.Plan.Stages {
			mark := ""
			if slices.Contains(s.Open, stage.Name) {
				mark = ", open"
			}
			fmt.Fprintf(w, "stage %s\t%d of %d approvals, until %s%s\n", stage.Name, approvals(s, stage), stage.Quorum, instant(stage.Deadline), mark)
		}
	}
	for _, d := range s.Decisions {
		fmt.Fprintf(w, "decision\t%s\n", recordLine(s, d))
	}
	for _, r := range s.Withdrawals {
		fmt.Fprintf(w, "withdrawal\t%s\n", withdrawalLine(r))
	}
	if s.Evidence != nil {
		fmt.Fprintf(w, "evidence\tlocked (%s) until %s, SHA-256 %s\n", s.Evidence.Mode, instant(s.Evidence.RetainUntil), s.Evidence.Object.SHA256)
	}
}

func approvals(s client.Status, stage countersign.Stage) (n int) {
	for _, d := range s.Decisions {
		if d.Stage == stage.Name && d.Verdict == countersign.Approve && d.Counted() {
			n++
		}
	}
	return n
}

func recordLine(s client.Status, d countersign.DecisionRecord) string {
	text := fmt.Sprintf("%s in stage %s by %s", line(string(d.Verdict)), line(d.Stage), nameOf(s, d.Actor))
	if len(d.Delegators) > 0 {
		text += " for " + nameOf(s, d.Delegators[0])
	}
	if d.Refusal != nil {
		return text + ": refused, " + line(d.Refusal.Message) + " (" + d.Refusal.Code + ")"
	}
	return text + ": counted"
}

func withdrawalLine(r countersign.WithdrawalRecord) string {
	text := line(r.ID)
	if r.Sender != "" {
		text += " by " + line(r.Sender)
	}
	if r.Reason != "" {
		text += ": " + line(r.Reason)
	}
	if r.Refusal != nil {
		return text + ": refused, " + line(r.Refusal.Message) + " (" + r.Refusal.Code + ")"
	}
	return text + ": counted"
}

// nameOf is an actor's name in the frozen plan, with what it stands for.
func nameOf(s client.Status, a countersign.Actor) string {
	if s.Plan != nil {
		for _, stage := range s.Plan.Stages {
			if e, ok := stage.Find(a); ok {
				return line(e.Name + " (" + e.Organisation + ")")
			}
		}
		if e, ok := s.Plan.BreakGlass.Find(a); ok {
			return line(e.Name + " (" + e.Organisation + ")")
		}
	}
	return line(a.String())
}

func (c *cli) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch REQUEST",
		Short: "Follow a signing until its evidence is locked",
		Args:  cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			_, err = c.follow(ctx, api, args[0])
			return err
		}),
	}
}

// follow writes each change of a signing, until it is done.
func (c *cli) follow(ctx context.Context, api *client.Client, request string) (client.Status, error) {
	var last client.Status
	var failed error
	err := api.Watch(ctx, request, func(s client.Status) bool {
		failed = c.answer(s, func(w io.Writer) {
			for _, text := range changes(last, s) {
				fmt.Fprintln(w, text)
			}
		})
		last = s
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return last, err
}

// changes says in words what is new in a status.
func changes(before, now client.Status) []string {
	var out []string
	for _, d := range now.Decisions[min(len(before.Decisions), len(now.Decisions)):] {
		out = append(out, recordLine(now, d))
	}
	for _, r := range now.Withdrawals[min(len(before.Withdrawals), len(now.Withdrawals)):] {
		out = append(out, "withdrawal "+withdrawalLine(r))
	}
	if before.State != now.State || !slices.Equal(before.Open, now.Open) {
		text := now.State
		if len(now.Open) > 0 {
			text += ", stage " + strings.Join(now.Open, " and ")
		}
		out = append(out, text)
	}
	if before.Outcome != now.Outcome {
		text := fmt.Sprintf("%s: %s", now.Outcome, now.Meaning)
		if now.Detail != "" {
			text += " " + line(now.Detail)
		}
		out = append(out, text)
	}
	if before.Problem != now.Problem && now.Problem != "" {
		out = append(out, "problem: "+line(now.Problem))
	}
	if before.Evidence == nil && now.Evidence != nil {
		out = append(out, fmt.Sprintf("evidence locked (%s) until %s", now.Evidence.Mode, instant(now.Evidence.RetainUntil)))
	}
	return out
}

func (c *cli) inboxCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inbox",
		Short: "List what waits for your decision",
		Args:  cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			inbox, err := api.Inbox(ctx)
			if err != nil {
				return err
			}
			return c.answer(inbox, func(w io.Writer) {
				for _, i := range inbox.Waiting {
					fmt.Fprintf(w, "%s\t%s\t%s\tuntil %s%s\n", i.Request, i.Stage, line(i.Title), instant(i.Deadline), inPlace(i))
				}
				if len(inbox.Waiting) == 0 {
					fmt.Fprintln(w, "nothing waits for your decision")
				}
				if inbox.Truncated || inbox.Unanswered > 0 {
					fmt.Fprintf(w, "not all running signings and live grants were seen: %d did not answer, more than were looked at: %t\n", inbox.Unanswered, inbox.Truncated)
				}
			})
		}),
	}
}

// inPlace says of a signing in whose place it waits, and under which grant.
func inPlace(w client.Waiting) string {
	if w.Grant == "" || w.OnBehalfOf == nil {
		return ""
	}
	return fmt.Sprintf("\tin place of %s, under %s", line(w.OnBehalfOf.String()), w.Grant)
}

func (c *cli) withdrawCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "withdraw REQUEST --reason REASON",
		Short: "Take your request back",
		Long: `Take your own request back. The command waits until the withdrawal was checked, and says whether it counts: somebody else's does not, and none
does once the key is being asked.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			accepted, err := api.Withdraw(ctx, args[0], client.WithdrawalBody{Reason: reason})
			if err != nil {
				return err
			}
			return c.withdrawn(ctx, api, args[0], accepted.ID)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; everybody who took part reads it")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

// withdrawn waits for what became of a withdrawal.
func (c *cli) withdrawn(ctx context.Context, api *client.Client, request, id string) error {
	var record countersign.WithdrawalRecord
	var found bool
	var last client.Status
	err := api.Watch(ctx, request, func(s client.Status) bool {
		last = s
		record, found = s.Withdrawal(id)
		return !found
	})
	switch {
	case err != nil:
		return err
	case !found:
		return refused("too-late", "the signing ended before your withdrawal was checked: %s", last.Outcome)
	}
	if err := c.answer(record, func(w io.Writer) { fmt.Fprintf(w, "withdrawal\t%s\n", withdrawalLine(record)) }); err != nil {
		return err
	}
	if r := record.Refusal; r != nil {
		return refused(r.Code, "your withdrawal does not count: %s", line(r.Message))
	}
	return nil
}
