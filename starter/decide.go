package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/starter/session"
)

func (c *cli) decideCommand() *cobra.Command {
	var approve, reject, skip bool
	var how deciding
	cmd := &cobra.Command{
		Use:   "decide REQUEST --approve|--reject|--break-glass",
		Short: "Approve or reject, with a proof of your own identity provider",
		Long: `Approve or reject a signing that waits for you.

The command believes the API nothing that it can compute itself: it downloads the document and compares its SHA-256 with the
decision's, compares the decision with what you asked for, and computes its digest and that of the whole transaction from title,
document, plan and requester as it shows them. You then log in afresh at your identity
provider, which binds the digest to you. What is not yours to decide, but waits for you in another person's place, is decided under the
grant that your inbox names, and you are told so; with --yes you have to name it. Where --key names your enrolled key, that signs the digest too. The command waits until your
decision was checked, and says whether it counts.

In an emergency, whoever the purpose names for it may break the glass: the signing then waits for nobody else. It takes --reason and --key, tells
those who were skipped, overrules no rejection, and is reviewed.

With --show nothing is decided: the command shows the decision and its digest as this computer computes them from the document itself,
to compare with what a page asks you to confirm.`,
		Example: `  countersign decide PO-4711 --approve
  countersign decide PO-4711 --reject --reason "clause 7 is missing"
  countersign decide PO-4711 --approve --key key.pem --grant 3f1c…`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			var verdict countersign.Verdict
			given := 0
			for _, flag := range []struct {
				set  bool
				says countersign.Verdict
			}{{approve, countersign.Approve}, {reject, countersign.Reject}, {skip, countersign.Skip}} {
				if flag.set {
					verdict = flag.says
					given++
				}
			}
			if given != 1 {
				return usage("give one of --approve, --reject and --break-glass")
			}
			if skip && (how.reason == "" || how.key == "") {
				return usage("--break-glass needs --reason, which those who are skipped will read, and --key")
			}
			return c.decide(ctx, args[0], verdict, how)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&approve, "approve", false, "approve")
	f.BoolVar(&reject, "reject", false, "reject; one rejection ends the signing")
	f.BoolVar(&skip, "break-glass", false, "in an emergency, don't wait for anybody else")
	f.StringVar(&how.reason, "reason", "", "why; it becomes part of the evidence")
	f.StringVar(&how.save, "save", "", "write the document here before you are asked")
	f.BoolVar(&how.yes, "yes", false, "don't ask whether you are sure")
	f.StringVar(&how.key, "key", env("COUNTERSIGN_KEY", ""), "file of your enrolled key, which signs the decision as well (COUNTERSIGN_KEY)")
	f.Lookup("key").DefValue = ""
	f.StringVar(&how.grant, "grant", "", "digest of the grant under which you decide, in another person's place; found in your inbox if left out")
	f.BoolVar(&how.show, "show", false, "show the decision and its digest, computed here, and decide nothing")
	return cmd
}

// deciding is how somebody decides.
type deciding struct {
	reason, save, key, grant string
	yes, show                bool
}

func (c *cli) decide(ctx context.Context, request string, verdict countersign.Verdict, how deciding) error {
	api, err := c.connect()
	if err != nil {
		return err
	}
	api = api.Under(how.grant)
	var key *session.DeviceKey
	if how.key != "" {
		if key, err = session.OpenDeviceKey(how.key); err != nil {
			return err
		}
	}
	if c.issuer == "" {
		return usage("--issuer (COUNTERSIGN_ISSUER) is needed: a decision is proven by your identity provider")
	}
	if c.machineKey != "" {
		return usage("machines don't decide; a person has to")
	}
	status, draft, err := drafted(ctx, api, request, verdict, how)
	if grant, ok := coveredBy(ctx, api, request, how, err); ok {
		if how.yes {
			return usage("it waits for you in another person's place alone; look at the grant with: countersign grant show %s, and give --grant", grant)
		}
		how.grant, api = grant, api.Under(grant)
		fmt.Fprintf(c.err, "you decide in another person's place, under the grant %s\n", grant)
		status, draft, err = drafted(ctx, api, request, verdict, how)
	}
	if err != nil {
		return err
	}
	d := draft.Decision
	if err := c.checkDraft(draft, status, request, verdict, how, time.Now()); err != nil {
		return fmt.Errorf("couldn't trust what the API drafted: %w", err)
	}
	body, err := api.Document(ctx, request, d.Document.SHA256)
	if err != nil {
		return err
	}
	if how.save != "" {
		if err := writeFile(how.save, body); err != nil {
			return err
		}
	}
	digest, err := d.Digest()
	if err != nil {
		return err
	}
	show(c.err, status, draft, len(body))
	if how.show {
		return c.answer(draft, func(w io.Writer) { fmt.Fprintf(w, "digest\t%s\n", digest) })
	}
	if !how.yes {
		if err := confirm(c.in, c.err, verdict); err != nil {
			return err
		}
	}
	proof, err := c.prove(ctx, digest, d.Actor)
	if err != nil {
		return err
	}
	if key != nil {
		signature, err := key.Prove(digest)
		if err != nil {
			return err
		}
		proof.Key = &signature
	}
	signed := countersign.SignedDecision{ID: uuid.NewString(), Decision: d, Proof: proof}
	if _, err := api.Decide(ctx, request, signed); err != nil {
		return err
	}
	return c.checked(ctx, api, request, signed.ID)
}

// drafted is where the signing stands, and the decision as the API drafts it.
func drafted(ctx context.Context, api *client.Client, request string, verdict countersign.Verdict, how deciding) (status client.Status, draft client.Draft, err error) {
	if status, err = api.Status(ctx, request); err == nil {
		draft, err = api.Draft(ctx, request, verdict, how.reason)
	}
	return status, draft, err
}

// coveredBy finds the grant under which a signing waits that is not the person's own to decide, or not even to see, where they named none.
func coveredBy(ctx context.Context, api *client.Client, request string, how deciding, err error) (grant string, ok bool) {
	var p *client.Problem
	if how.grant != "" || !errors.As(err, &p) || p.Code != "not-found" && p.Code != "not-eligible" {
		return "", false
	}
	inbox, err := api.Inbox(ctx)
	if err != nil {
		return "", false // what was wrong at first is the better answer
	}
	for _, w := range inbox.Waiting {
		if w.Request == request && w.Grant != "" {
			return w.Grant, true
		}
	}
	return "", false
}

// checkDraft compares a draft with what was asked for: its digest will be bound to the person, so it must say what the person means.
func (c *cli) checkDraft(draft client.Draft, status client.Status, request string, verdict countersign.Verdict, how deciding, now time.Time) error {
	d := draft.Decision
	switch {
	case d.Tenant != c.tenant || d.Signing != countersign.SagaID(c.tenant, request):
		return errors.New("it is about another signing")
	case d.Verdict != verdict || d.Reason != how.reason:
		return errors.New("it says something else than you do")
	case d.Actor.Issuer != c.issuer:
		return fmt.Errorf("it is of somebody at %s, not at your identity provider", line(d.Actor.Issuer))
	case how.grant == "" && (d.OnBehalfOf != nil || len(d.Grants) > 0):
		return errors.New("it is on behalf of somebody else")
	case how.grant != "" && (len(d.Grants) == 0 || d.Grants[len(d.Grants)-1] != how.grant):
		return errors.New("it is under another grant than you named")
	case status.Document == nil || d.Document != *status.Document || d.Run != status.Saga.Run || d.Context != status.Context || d.Policy != status.Policy:
		return errors.New("it differs from the signing's status")
	case time.Unix(d.IssuedAt, 0).After(now.Add(time.Minute)) || !time.Unix(d.ExpiresAt, 0).After(now):
		return errors.New("it is not for now; check the clock of this computer")
	}
	if status.Plan == nil {
		return errors.New("the signing has no plan")
	}
	if stage, ok := status.Plan.Stage(d.Stage); !ok || !stage.Deadline.Equal(draft.Deadline) {
		return errors.New("it names a stage or a deadline that the plan doesn't have")
	}
	if err := checkTransaction(status); err != nil {
		return err
	}
	digest, err := d.Digest()
	if err != nil {
		return err
	}
	if digest != draft.Digest {
		return errors.New("its digest is another one than this computer computes")
	}
	return d.Check()
}

// checkTransaction computes the context that a decision binds from what the person is shown: title, purpose, document, plan, requester. A status that
// shows something else than what is decided about does not get through.
func checkTransaction(s client.Status) error {
	if s.Transaction == nil || s.Asked == nil || s.Requester == nil || s.Document == nil || s.Plan == nil {
		return errors.New("the API doesn't show what the transaction consists of")
	}
	t := *s.Transaction
	context, err := t.Digest()
	if err != nil {
		return err
	}
	plan, err := s.Plan.Digest()
	if err != nil {
		return err
	}
	asked, err := s.Asked.Fingerprint()
	if err != nil {
		return err
	}
	switch {
	case context != s.Context:
		return errors.New("the transaction doesn't have the digest that is decided about")
	case t.Tenant != s.Tenant || t.Signing != s.Saga.Workflow || t.Run != s.Saga.Run || t.Policy != s.Policy:
		return errors.New("the transaction is another signing's")
	case asked != t.Request || s.Asked.ID != s.Request || s.Asked.Title != s.Title || s.Asked.Purpose != s.Purpose || s.Asked.Document != *s.Document:
		return errors.New("title, purpose or document that are shown are not those of the request")
	case s.Plan.Purpose != s.Asked.Purpose:
		return errors.New("the plan that is shown is of another purpose than the request")
	case t.Document != *s.Document:
		return errors.New("the document that is shown is not the transaction's")
	case plan != t.Plan:
		return errors.New("the plan that is shown is not the transaction's")
	case t.Requester != *s.Requester:
		return errors.New("the requester who is shown is not the transaction's")
	}
	return nil
}

// show puts everything before the person that the decision binds them to.
func show(w io.Writer, s client.Status, draft client.Draft, bytes int) {
	d := draft.Decision
	fmt.Fprintf(w, "\n  title     %s\n  purpose   %s\n  document  %d bytes, SHA-256 %s (downloaded and compared)\n  stage     %s, until %s\n",
		line(s.Title), line(s.Purpose), bytes, d.Document.SHA256, d.Stage, instant(draft.Deadline))
	if !draft.Open {
		fmt.Fprintf(w, "            this stage opens later; your decision will count then\n")
	}
	if s.Requester != nil {
		fmt.Fprintf(w, "  requester %s\n", line(s.Requester.String()))
	}
	decided := 0
	for _, r := range s.Decisions {
		if r.Counted() {
			decided++
			fmt.Fprintf(w, "  decided   %s\n", recordLine(s, r))
		}
	}
	if decided == 0 {
		fmt.Fprintf(w, "  decided   nobody yet\n")
	}
	if d.OnBehalfOf != nil {
		fmt.Fprintf(w, "  in place  of %s\n", nameOf(s, *d.OnBehalfOf))
	}
	fmt.Fprintf(w, "  you       %s\n  decision  %s", nameOf(s, d.Actor), d.Verdict)
	if d.Reason != "" {
		fmt.Fprintf(w, ": %s", line(d.Reason))
	}
	fmt.Fprint(w, "\n\n")
}

// confirm asks the person. Where nobody can be asked, nothing is decided.
func confirm(in io.Reader, out io.Writer, verdict countersign.Verdict) error {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return usage("nobody can be asked here, as the input is not a terminal; look at the above and give --yes")
		}
	}
	fmt.Fprintf(out, "Type %q to decide: ", verdict)
	answer, err := bufio.NewReader(io.LimitReader(in, 1000)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("couldn't read your answer: %w", err)
	}
	if strings.TrimSpace(answer) != string(verdict) {
		return refused("not-confirmed", "nothing was decided")
	}
	return nil
}

// checked waits for what became of a decision.
func (c *cli) checked(ctx context.Context, api *client.Client, request, id string) error {
	var record countersign.DecisionRecord
	var found bool
	var last client.Status
	err := api.Watch(ctx, request, func(s client.Status) bool {
		last = s
		record, found = s.Record(id)
		return !found
	})
	switch {
	case err != nil:
		return err
	case !found:
		return refused("too-late", "the signing ended before your decision was checked: %s", last.Outcome)
	}
	if err := c.answer(record, func(w io.Writer) { fmt.Fprintln(w, recordLine(last, record)) }); err != nil {
		return err
	}
	if r := record.Refusal; r != nil {
		return refused(r.Code, "your decision does not count: %s", line(r.Message))
	}
	return nil
}
