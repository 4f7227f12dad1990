package workflows_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/workflows"
)

// sweeps runs one sweep of acme after another one, whose result it is told.
func (s *stage) sweeps(last evidence.Swept, dead []evidence.DeadCustodian, late func(evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error)) (since time.Time, swept evidence.Swept) {
	s.t.Helper()
	s.late = late
	s.dead = func(in evidence.FindDeadInput) (evidence.FoundDead, error) {
		since = in.Since
		return evidence.FoundDead{Dead: dead, Until: start}, nil
	}
	s.env.SetLastCompletionResult(last)
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.SweepID("acme"), TaskQueue: countersign.TaskQueueSigning})
	s.env.ExecuteWorkflow(countersign.WorkflowSweep, "acme")
	s.finished(&swept)
	return since, swept
}

func none(evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error) {
	return evidence.FoundUnfinished{}, nil
}

func dead() evidence.DeadCustodian {
	return evidence.DeadCustodian{
		Request: "PO-1", Saga: evidence.Execution{Workflow: "saga/acme/PO-1", Run: "s"}, Custodian: evidence.Execution{Workflow: "signing/acme/PO-1", Run: "c"}, Closing: "terminated", Closed: start,
	}
}

func TestCustodySweep_GoesOnWhereTheLastOneStoppedAndStartsARecovery(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var given evidence.DeadCustodian
	s.env.OnWorkflow(countersign.WorkflowRecovery, "mock.Anything", "mock.Anything").Return(func(_ workflow.Context, in evidence.DeadCustodian) (evidence.Ending, error) {
		given = in
		return evidence.Ending{}, nil
	})
	last := start.Add(-time.Hour)
	since, swept := s.sweeps(evidence.Swept{Until: last}, []evidence.DeadCustodian{dead()}, none)
	if !since.Equal(last) || !swept.Until.Equal(start) {
		t.Errorf("it looked from %s, and the next one from %s", since, swept.Until)
	}
	if len(swept.Recovered) != 1 || given != dead() {
		t.Errorf("recovered is %q with %+v", swept.Recovered, given)
	}
}

func TestCustodySweep_TellsOfALateIntentOnce(t *testing.T) {
	t.Parallel()
	late := func(in evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error) {
		if in.From.Next != 7 || len(in.Told) != 1 || in.Told[0] != "old" {
			return evidence.FoundUnfinished{}, errors.New("it doesn't go on from the last position")
		}
		return evidence.FoundUnfinished{
			Known:    []string{"old"},
			Late:     []evidence.LateIntent{{Request: "PO-2", Run: "new", Context: "c", At: start, Custody: "unknown"}},
			Position: translog.Position{Next: 9},
		}, nil
	}
	s := newStage(t)
	_, swept := s.sweeps(evidence.Swept{Log: translog.Position{Next: 7}, Alarmed: []string{"old"}}, nil, late)
	s.wantTold(evidence.EventUnfinished)
	if n := s.notes[0]; n.Event.Request != "PO-2" || !n.Owner || !strings.Contains(n.Event.Detail, "unknown") {
		t.Errorf("told was %+v", n)
	}
	if strings.Join(swept.Alarmed, " ") != "old new" || swept.Log.Next != 9 {
		t.Errorf("the next one goes on from %+v", swept)
	}
}

func TestCustodySweep_ALogThatIsNotTheOneItWasIsAnAlarmOnce(t *testing.T) {
	t.Parallel()
	forked := func(evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error) {
		return evidence.FoundUnfinished{}, temporal.NewNonRetryableApplicationError("the log was forked", "Setting", nil)
	}
	s := newStage(t)
	_, swept := s.sweeps(evidence.Swept{Log: translog.Position{Next: 7}, Alarmed: []string{"old"}}, nil, forked)
	s.wantTold(evidence.EventEvidenceAlarm)
	if !strings.Contains(swept.Problem, "forked") || swept.Log.Next != 7 || len(swept.Alarmed) != 1 {
		t.Errorf("the next one goes on from %+v", swept)
	}
	again := newStage(t)
	again.sweeps(swept, nil, forked)
	again.wantTold()
}

// A recovery is nobody's to start but a sweep's: who could start one elsewhere could void what waits for its lock.
func TestRecovery_StartedByNoSweepDoesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.RecoveryID("acme", "PO-1"), TaskQueue: countersign.TaskQueueSigning})
	s.env.ExecuteWorkflow(countersign.WorkflowRecovery, dead())
	if err := s.env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "started by a sweep") {
		t.Errorf("it ended with %v", err)
	}
	s.wantEnded()
}

func TestRequestSigning_AnIdThatAnEarlierSigningHasIsNotSignedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.earlier.Key = "acme/evidence/PO-1.asice"
	s.startCustodian(countersign.CustodianID("acme", "PO-1"), request)
	if err := s.env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "nothing is signed twice") {
		t.Errorf("it ended with %v", err)
	}
	s.wantEnded()
	s.wantStatus(workflows.StateNotASigning, "", "acme/evidence/PO-1.asice")
}
