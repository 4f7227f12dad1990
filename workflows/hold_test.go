package workflows_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// ordering is a Temporal without a server that keeps one order about evidence.
type ordering struct {
	*keeper
	order   countersign.SignedOrder
	refuse  func(ordinal int) *countersign.Refusal // of an answer
	verdict countersign.Verdict
	failing int // how many rounds of carrying out fail
	carried []evidence.CarryOutInput
	logged  []string
	logs    error // of the log
}

func newOrdering(t *testing.T, act string) *ordering {
	t.Helper()
	o := &ordering{verdict: countersign.Approve, order: countersign.SignedOrder{Order: countersign.Order{
		V: 1, Tenant: "acme", Request: "PO-1", Act: act, Matter: "m", Reason: "r", Actor: countersign.Actor{Issuer: "https://id.acme.example", Subject: "cora"},
	}}}
	o.keeper = newKeeper(t, o.order.Order.Keeper())
	o.activity(evidence.ActivityAdmitOrder, func(evidence.AdmitOrderInput) (evidence.OrderAdmission, error) {
		return evidence.OrderAdmission{At: start, Title: "Supply", Refusal: o.refusal, Parties: []countersign.Actor{}}, nil
	})
	o.activity(evidence.ActivityCheckOrderAnswer, func(in evidence.OrderAnswerInput) (evidence.OrderAnswered, error) {
		a := evidence.OrderAnswered{Ordinal: in.Ordinal, At: start}
		if o.refuse != nil {
			a.Refusal = o.refuse(in.Ordinal)
		}
		if a.Refusal == nil {
			a.Answer, a.By = &countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{Verdict: o.verdict}}, &evidence.Named{}
		}
		return a, nil
	})
	o.activity(evidence.ActivityCarryOut, func(in evidence.CarryOutInput) (evidence.CarriedOut, error) {
		if o.failing > 0 {
			o.failing--
			return evidence.CarriedOut{}, temporal.NewNonRetryableApplicationError("the store is away", "Away", nil)
		}
		o.carried = append(o.carried, in)
		return evidence.CarriedOut{Record: in.Record}, nil
	})
	o.activity(evidence.ActivityAppendLog, func(e translog.Entry) (translog.Proof, error) {
		o.logged = append(o.logged, e.Kind)
		return translog.Proof{}, o.logs
	})
	return o
}

// run runs the order to its end.
func (o *ordering) run(workflow string) (status evidence.OrderStatus, err error) {
	o.env.ExecuteWorkflow(workflow, o.order)
	if !o.env.IsWorkflowCompleted() {
		o.t.Fatal("the order didn't end")
	}
	if err := o.env.GetWorkflowError(); err != nil {
		return status, err
	}
	return status, o.env.GetWorkflowResult(&status)
}

// outcome runs the order and wants it to end so, after that many tries, told to people as these events.
func (o *ordering) outcome(workflow, want string, told ...string) evidence.OrderStatus {
	o.t.Helper()
	status, err := o.run(workflow)
	if err != nil || status.State != want || len(o.carried) != 1 || o.carried[0].Record.Outcome != want {
		o.t.Fatalf("it ends as %+v, %v, carried out as %+v; want %s", status, err, o.carried, want)
	}
	if want := map[string][]string{evidence.OrderHeld: {translog.Held}, evidence.OrderLifted: {translog.Unheld}}[want]; o.logs == nil && !slices.Equal(o.logged, want) {
		o.t.Errorf("logged is %v, want %v", o.logged, want)
	}
	if !slices.Equal(o.told, told) {
		o.t.Errorf("told is %v, want %v", o.told, told)
	}
	return status
}

func TestN11_AnOrderThatNobodyAnswersEndsAndIsRecorded(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, countersign.OrderHold)
	o.at(countersign.OrderAnswerTime-time.Minute, func() {
		if len(o.carried) > 0 {
			t.Error("something was done though nobody answered")
		}
	})
	o.outcome(countersign.WorkflowHold, evidence.OrderExpired, evidence.EventOrderProposed, evidence.EventOrderEnded)
	if o.env.Now().Before(start.Add(countersign.OrderAnswerTime)) {
		t.Errorf("it ended at %s", o.env.Now())
	}
}

func TestN11_TheFirstAnswerThatCountsDecides(t *testing.T) {
	t.Parallel()
	for act, outcomes := range map[string][2]string{countersign.OrderHold: {evidence.OrderHeld, evidence.OrderRejected}, countersign.OrderLift: {evidence.OrderLifted, evidence.OrderRejected}} {
		for i, verdict := range []countersign.Verdict{countersign.Approve, countersign.Reject} {
			o := newOrdering(t, act)
			o.verdict = verdict
			o.refuse = func(ordinal int) *countersign.Refusal {
				if ordinal < 3 {
					return countersign.Refuse("same-person", "no")
				}
				return nil
			}
			for n := range 4 {
				o.at(time.Duration(n+1)*time.Hour, o.signal(countersign.SignalAnswer))
			}
			status := o.outcome(countersign.WorkflowHold, outcomes[i], [][]string{
				{evidence.EventOrderProposed, evidence.EventOrderApproved, evidence.EventOrderEnded}, {evidence.EventOrderProposed, evidence.EventOrderEnded},
			}[i]...)
			if len(status.Answers) != 3 || o.carried[0].Ordinal != 3 {
				t.Errorf("%d answers, of which the %d. counts", len(status.Answers), o.carried[0].Ordinal)
			}
		}
	}
}

// Whoever floods an order with answers makes it expire, and no answer is looked at beyond a bound.
func TestN11_AFloodOfAnswersEndsInNothing(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, countersign.OrderHold)
	o.refuse = func(ordinal int) *countersign.Refusal {
		if ordinal <= 50 {
			return countersign.Refuse("malformed", "no")
		}
		return nil
	}
	for range 60 {
		o.at(time.Hour, o.signal(countersign.SignalAnswer))
	}
	if status := o.outcome(countersign.WorkflowHold, evidence.OrderExpired, evidence.EventOrderProposed, evidence.EventOrderEnded); len(status.Answers) != 50 {
		t.Errorf("%d answers were looked at", len(status.Answers))
	}
}

func TestN11_WhatCountsIsTriedUntilItWorks(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, countersign.OrderLift)
	o.failing = 3
	o.at(time.Hour, o.signal(countersign.SignalAnswer))
	// Who cancels it now is late.
	o.at(time.Hour+90*time.Second, o.env.CancelWorkflow)
	status := o.outcome(countersign.WorkflowHold, evidence.OrderLifted, evidence.EventOrderProposed, evidence.EventOrderApproved, evidence.EventOrderStuck, evidence.EventOrderEnded)
	if status.Problem != "" {
		t.Errorf("in the end its problem is %q", status.Problem)
	}
}

func TestN11_OnePersonIsEnoughToRetainLonger(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, countersign.OrderRetain)
	o.outcome(countersign.WorkflowRetain, evidence.OrderRetained, evidence.EventOrderEnded)
}

func TestN11_AnOrderThatMayNotBeGivenIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(t *testing.T) (*ordering, string){
		"refused": func(t *testing.T) (*ordering, string) {
			o := newOrdering(t, countersign.OrderHold)
			o.refusal = countersign.Refuse("not-compliance", "no")
			return o, countersign.WorkflowHold
		},
		// Who could start it so would need no second person.
		"a hold as a retention": func(t *testing.T) (*ordering, string) {
			return newOrdering(t, countersign.OrderHold), countersign.WorkflowRetain
		},
		"a retention as a hold": func(t *testing.T) (*ordering, string) {
			return newOrdering(t, countersign.OrderRetain), countersign.WorkflowHold
		},
		"under another name": func(t *testing.T) (*ordering, string) {
			o := newOrdering(t, countersign.OrderHold)
			o.order.Order.Request = "PO-2"
			return o, countersign.WorkflowHold
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, workflow := make(t)
			_, err := o.run(workflow)
			var refused *temporal.ApplicationError
			if !errors.As(err, &refused) || refused.Type() != "Refused" || len(o.carried) > 0 {
				t.Errorf("it ends with %v, carried out %d times", err, len(o.carried))
			}
		})
	}
}

func TestN11_WhoCancelsAProposalEndsItWithoutAnything(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, countersign.OrderHold)
	o.at(time.Hour, o.env.CancelWorkflow)
	if _, err := o.run(countersign.WorkflowHold); err == nil || len(o.carried) > 0 {
		t.Errorf("it ends with %v, carried out %d times", err, len(o.carried))
	}
}

// A log that takes no entry holds up no hold, and least of all its end; a person is told.
func TestN11_ALogThatTakesNoEntryKeepsNoHold(t *testing.T) {
	t.Parallel()
	o := newOrdering(t, countersign.OrderLift)
	o.logs = temporal.NewNonRetryableApplicationError("it contradicts the log", "Setting", nil)
	o.at(time.Hour, o.signal(countersign.SignalAnswer))
	if s := o.outcome(countersign.WorkflowHold, evidence.OrderLifted, evidence.EventOrderProposed, evidence.EventOrderApproved, evidence.EventOrderStuck, evidence.EventOrderEnded); s.Problem == "" {
		t.Error("its status says nothing of the log")
	}
}
