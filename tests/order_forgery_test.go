package tests

import (
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// shredAsked has the shredding of the attacker ask for a person's key to be destroyed.
type shredAsked struct {
	Name  string
	Input evidence.ShredInput
}

// shreddingOfTheAttacker admits a proposal, and then asks for what it is told. Its query "ask" says what became of that.
func shreddingOfTheAttacker(ctx workflow.Context, in countersign.SignedShredding) error {
	info := workflow.GetInfo(ctx).WorkflowExecution
	self := evidence.Execution{Workflow: info.ID, Run: info.RunID}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	var admission evidence.OrderAdmission
	answers := map[string]string{}
	err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.ShredInput, error) {
		return evidence.ShredInput{Shredding: in, Admission: admission, Keeper: self}, nil
	})
	if err == nil {
		err = workflow.SetQueryHandler(ctx, ask, func(name string) (string, error) { return answers[name], nil })
	}
	if err != nil {
		return err
	}
	if err := workflow.ExecuteActivity(ctx, evidence.ActivityAdmitShredding, evidence.AdmitShreddingInput{Shredding: in, Keeper: self}).Get(ctx, &admission); err != nil {
		return err
	}
	for {
		var a shredAsked
		workflow.GetSignalChannel(ctx, ask).Receive(ctx, &a)
		became := "done"
		if err := workflow.ExecuteActivity(ctx, evidence.ActivityShred, a.Input).Get(ctx, nil); err != nil {
			became = err.Error()
		}
		answers[a.Name] = became
	}
}

// Whoever has the workflow of an order in hand has nothing done that two people didn't send, whatever it says of them.
func TestN11_N13_AWorkflowInWrongHandsShredsNothingThatTwoPeopleDidNotOrder(t *testing.T) {
	t.Run("sealed", func(t *testing.T) {
		globexAPI(t)
		supplied(t, requestID(t))
	})
	o := compromise(t)
	p := proposal(t, "globex/greta", "hart/chris", false)
	digest, err := p.Shredding.Digest()
	if err != nil {
		t.Fatal(err)
	}
	id := countersign.ShreddingID("globex", digest)
	greta, err := local.Dial(t.Context(), "globex", "globex/greta")
	if err != nil {
		t.Fatal(err)
	}
	defer greta.Close()
	run, err := greta.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: id, TaskQueue: countersign.TaskQueueSigning, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
	}, countersign.WorkflowShredding, p)
	if err != nil {
		t.Fatal(err)
	}
	var honest evidence.ShredInput
	eventually(t, "the proposal is admitted", func() bool {
		value, err := o.client.QueryWorkflow(t.Context(), id, run.GetRunID(), countersign.QueryStatus)
		return err == nil && value.Get(&honest) == nil && honest.Admission.Given != nil
	})
	if honest.Admission.Refusal != nil {
		t.Fatalf("the proposal is refused: %+v", honest.Admission.Refusal)
	}
	proposed := evidence.ShreddingStatus{Key: honest.Admission.Key}
	proposed.Digest = digest
	approves := approval(t, "globex/georg", proposed)
	claim := func(signed countersign.SignedOrderAnswer, ordinal int, at time.Time) evidence.ShredInput {
		t.Helper()
		bound, err := signed.Answer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		facts, err := o.registry.VerifyBound(t.Context(), evidence.OrderAnswerBound(signed.Answer, bound), signed.Proof.IDToken, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		in := honest
		in.Answered = evidence.OrderAnswered{Ordinal: ordinal, Answer: &signed, By: &evidence.Named{Actor: signed.Answer.Actor}, Taken: &evidence.Proven{Key: facts.Key, At: at}}
		return in
	}
	want := func(name string, in evidence.ShredInput, says string) {
		t.Helper()
		if err := o.client.SignalWorkflow(t.Context(), id, run.GetRunID(), ask, shredAsked{name, in}); err != nil {
			t.Fatal(err)
		}
		var became string
		eventually(t, "the attacker is answered", func() bool {
			value, err := o.client.QueryWorkflow(t.Context(), id, run.GetRunID(), ask, name)
			return err == nil && value.Get(&became) == nil && became != ""
		})
		if !strings.Contains(became, says) {
			t.Errorf("%s became %q, want %q", name, became, says)
		}
		if left := versions(t, "documents", countersign.SubjectKey("globex", honest.Admission.Key)); (len(left) == 0) != (says == "done") {
			t.Fatalf("%s: the key has %d versions", name, len(left))
		}
	}
	tell := func(who string, signed countersign.SignedOrderAnswer) (at time.Time) {
		t.Helper()
		if err := local.Tell(t.Context(), "globex", who, id, countersign.SignalAnswer, signed); err != nil {
			t.Fatal(err)
		}
		events := o.client.GetWorkflowHistory(t.Context(), id, run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			e, err := events.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == countersign.SignalAnswer {
				at = e.GetEventTime().AsTime()
			}
		}
		return at
	}

	want("no answer", honest, "no second person approved it")
	want("an approval that was proven and never sent", claim(approves, 1, time.Now()), "couldn't find signal")
	at := tell("globex/greta", approves)
	want("an approval that somebody else sent", claim(approves, 1, at), "somebody else sent it")
	rejects := approval(t, "globex/georg", proposed)
	rejects.Answer.Verdict, rejects.Answer.Reason = countersign.Reject, "no"
	at = tell("globex/georg", rejects)
	want("an approval in the place of a rejection", claim(approves, 2, at), "the server took something else")
	at = tell("globex/georg", approves)
	want("an approval at another time", claim(approves, 3, at.Add(time.Second)), "at another time")
	other := claim(approves, 3, at)
	other.Shredding.Shredding.Person = local.Actor("globex/gina")
	want("another person", other, "another workflow asks")
	other = claim(approves, 3, at)
	other.Shredding.Proof = approves.Proof
	want("another proof of the proposal", other, "the server took something else")
	other = claim(approves, 3, at)
	other.Admission.Key = strings.Repeat("0", 32)
	want("another key", other, "the answer is to something else")
	other = claim(approves, 3, at)
	other.Answered.By = &evidence.Named{Actor: local.Actor("globex/gina"), Name: "Gina Gross"}
	want("somebody else's name in the record", other, "is somebody else")
	own := approval(t, "globex/greta", proposed)
	at4 := tell("globex/greta", own)
	want("the proposer's own approval", claim(own, 4, at4), "of one person")
	want("what two people ordered", claim(approves, 3, at), "done")
	if err := terminated(t, id); err != nil {
		t.Error(err)
	}
}

// terminated ends a workflow of globex as its operator.
func terminated(t *testing.T, id string) error {
	c, err := local.Dial(t.Context(), "globex", "platform:operator/globex")
	if err != nil {
		return err
	}
	defer c.Close()
	return c.TerminateWorkflow(t.Context(), id, "", "drill")
}
