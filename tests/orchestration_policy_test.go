package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// The orchestration has decisions checked as if their deadline were later, and as if nobody had decided before, so that they count and are
// time-stamped. The signing step asks the policy by the plan that people approved, and by what the server took before each, and refuses them.
func TestN08_TheSigningStepAsksThePolicyItself(t *testing.T) {
	own := filepath.Join(t.TempDir(), "globex.cedar")
	if err := os.WriteFile(own, []byte(`@id("globex-wants-two-employers")
@refusal("somebody of your organisation has decided in it")
forbid (principal, action == Action::"decide", resource) when { resource.decidedIssuers.contains(principal.issuer) };
`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := compromise(t, "\npurposes:\n", "\npurposes:\n"+
		"    one: {title: One, kind: consent, stages: [{name: legal, role: legal, quorum: 1, within: 1h}]}\n"+
		"    pair: {title: Pair, kind: consent, stages: [{name: legal, role: legal, quorum: 2, within: 1h}]}\n",
		"roles: [finance, requester]", "roles: [finance, legal]",
		"name: Chris Lowe\n      email: chris@hart.example\n      roles: [", "name: Chris Lowe\n      email: chris@hart.example\n      roles: [legal, ",
		"passkeys:", "policy: {file: "+own+"}\npasskeys:")

	t.Run("past the deadline", func(t *testing.T) {
		r := request(t, "globex", "one")
		deadline := time.Now().Add(8 * time.Second).UTC()
		r.Deadlines = map[string]time.Time{"legal": deadline}
		g := o.begin(t, "machine:globex/procurement", r)
		calls := keyCalls(t)
		inTime := o.put(t, g, "hart/chris", "legal", countersign.Approve, nil)
		if _, err := g.Until(t.Context(), func(workflows.Status) bool { return time.Now().After(deadline) }); err != nil {
			t.Fatal(err)
		}
		late := o.put(t, g, "globex/gina", "legal", countersign.Approve, nil)
		if refusal := o.ask(t, g, checking("honestly", late, 2, 0)).Refusal; refusal == nil || refusal.Code != "before-the-deadline" {
			t.Fatalf("checked honestly, the late decision is answered with %+v", refusal)
		}
		in := o.input(t, g)
		in.Decisions = set(o.checked(t, g, checking("with a later deadline", late, 2, time.Hour)))
		wantNotAllowed(t, o.sign(t, g, "late", in), "before-the-deadline")
		if asked := keyCalls(t) - calls; asked != 0 {
			t.Errorf("the key was asked %d times", asked)
		}
		// Signing may come after the deadline; the decision may not.
		in.Decisions = set(o.checked(t, g, checking("in time", inTime, 1, 0)))
		if signature := o.sign(t, g, "in time", in); signature.Refusal != nil {
			t.Errorf("a decision that came in time is answered with %+v", signature.Refusal)
		}
	})
	t.Run("against a rule of the tenant", func(t *testing.T) {
		g := o.begin(t, "machine:globex/procurement", request(t, "globex", "pair"))
		var decisions []evidence.CountedDecision
		for i, who := range []string{"globex/gina", "globex/paul", "hart/chris"} {
			decisions = append(decisions, o.checked(t, g, checking(who, o.put(t, g, who, "legal", countersign.Approve, nil), i+1, 0)))
		}
		gina, paul, chris := decisions[0], decisions[1], decisions[2]
		calls := keyCalls(t)
		for name, colleagues := range map[string][]evidence.CountedDecision{
			"two of one employer": set(gina, paul), "the other way round": set(paul, gina), "without who was first": set(paul, chris),
		} {
			in := o.input(t, g)
			in.Decisions = colleagues
			wantNotAllowed(t, o.sign(t, g, name, in), "globex-wants-two-employers")
		}
		if asked := keyCalls(t) - calls; asked != 0 {
			t.Errorf("the key was asked %d times", asked)
		}
		in := o.input(t, g)
		in.Decisions = set(gina, chris)
		if signature := o.sign(t, g, "two of two employers", in); signature.Refusal != nil {
			t.Errorf("two of two employers are answered with %+v", signature.Refusal)
		}
	})
}

// The orchestration follows somebody who broke the glass, and opens no review. The key is not asked before the review is there.
func TestR24_TheKeyIsNotAskedForABrokenGlassWithoutItsReview(t *testing.T) {
	o := compromise(t, "\npurposes:\n", "\npurposes:\n    urgent: {title: Urgent, kind: consent, owner: {issuer: globex, subject: g-2002}, breakGlass: {role: legal, quorum: 1}, "+
		"stages: [{name: counsel, role: counsel, quorum: 1, within: 1h}]}\n")
	gina := passkey(t, "globex", "globex/gina")
	g := o.begin(t, "machine:globex/procurement", request(t, "globex", "urgent"))
	other := request(t, "globex", "urgent")
	other.ID += "-other"
	reviewed := o.begin(t, "machine:globex/procurement", other)
	calls := keyCalls(t)
	in := o.input(t, g)
	in.Decisions = set(o.checked(t, g, checking("gina", o.put(t, g, "globex/gina", "counsel", countersign.Skip, gina), 1, 0)))
	// Another signing's review is none of this one.
	if answer := o.ask(t, reviewed, asked{Name: "review", Review: true}); answer.Refusal != nil {
		t.Fatalf("the other signing's review was not opened: %s", answer.Refusal)
	}
	if signature := o.sign(t, g, "no review", in); signature.Refusal == nil || signature.Refusal.Code != "not-reviewed" {
		t.Errorf("without a review the signing step answered %+v", signature.Refusal)
	}
	if asked := keyCalls(t) - calls; asked != 0 {
		t.Errorf("the key was asked %d times", asked)
	}
	if answer := o.ask(t, g, asked{Name: "review", Review: true}); answer.Refusal != nil {
		t.Fatalf("the review was not opened: %s", answer.Refusal)
	}
	if signature := o.sign(t, g, "reviewed", in); signature.Refusal != nil {
		t.Errorf("with its review the signing step answered %+v", signature.Refusal)
	}
}

func wantNotAllowed(t *testing.T, signature evidence.Signature, by string) {
	t.Helper()
	if r := signature.Refusal; r == nil || r.Code != "not-allowed" || !strings.Contains(r.Message, "("+by+")") {
		t.Errorf("the signing step answered %+v, want the policy's %q", r, by)
	}
}

// checking asks to have a decision checked, with deadlines that are later by a while.
func checking(name string, signed countersign.SignedDecision, ordinal int, later time.Duration) asked {
	body, err := json.Marshal(signed)
	if err != nil {
		panic(err) // it was read from JSON
	}
	return asked{Name: "check " + name, Check: body, Ordinal: ordinal, Later: later}
}

// put sends somebody's decision, without waiting for what becomes of it.
func (o *orchestration) put(t *testing.T, g *stack.Signing, who, stage string, verdict countersign.Verdict, key *stack.Authenticator) countersign.SignedDecision {
	t.Helper()
	d := g.Decision(o.approval(t, g), who, stage, verdict)
	if verdict == countersign.Skip {
		d.Reason = "the line to counsel is down"
	}
	signed, err := g.PutWith(t.Context(), who, d, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// checked has a decision checked, which has to find that it counts, and is the decision as the check counted it.
func (o *orchestration) checked(t *testing.T, g *stack.Signing, what asked) (counted evidence.CountedDecision) {
	t.Helper()
	if refusal := o.ask(t, g, what).Refusal; refusal != nil {
		t.Fatalf("%s: it is refused: %s", what.Name, refusal)
	}
	signed, err := countersign.ParseSignedDecision(what.Check)
	if err != nil {
		t.Fatal(err)
	}
	checks := map[int64]bool{}
	o.history(t, g, func(e *historypb.HistoryEvent) {
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == evidence.ActivityCheckDecision {
			checks[e.GetEventId()] = true
		}
		a := e.GetActivityTaskCompletedEventAttributes()
		if !checks[a.GetScheduledEventId()] {
			return
		}
		var check evidence.Check
		for _, p := range a.GetResult().GetPayloads() {
			if err := json.Unmarshal(p.GetData(), &check); err != nil {
				t.Fatal(err)
			}
		}
		if check.Record.Counted() && check.Record.ID == signed.ID {
			counted = check.Counted(signed)
		}
	})
	if counted.At.IsZero() {
		t.Fatalf("%s: the history has no check by which it counts", what.Name)
	}
	return counted
}

// history reads a saga's events, as the worker does.
func (o *orchestration) history(t *testing.T, g *stack.Signing, each func(*historypb.HistoryEvent)) {
	t.Helper()
	events := o.client.GetWorkflowHistory(t.Context(), countersign.SagaID("globex", g.Request.ID), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		each(e)
	}
}

// openReview opens the saga's review, as an honest one does. It ends with the saga, so that no test leaves one behind.
func openReview(ctx workflow.Context, r countersign.Request, self evidence.Execution, a evidence.Admission) error {
	in := evidence.ReviewInput{
		Tenant: r.Tenant, Request: r.ID, Title: r.Title, Saga: self, Context: a.Digest, Requester: a.Context.Requester, Owner: *a.Plan.Owner, Skipped: []countersign.Actor{},
	}
	return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: countersign.ReviewID(in.Tenant, in.Request), TaskQueue: countersign.TaskQueueSigning, ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_TERMINATE,
	}), countersign.WorkflowReview, in).GetChildWorkflowExecution().Get(ctx, nil)
}
