package workflows_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

// keeper is a Temporal without a server that keeps one grant or key. Whatever is asked of activities is granted, unless refusal says no.
type keeper struct {
	t       *testing.T
	env     *testsuite.TestWorkflowEnvironment
	refusal *countersign.Refusal // of whatever is asked

	mu   sync.Mutex
	told []string
}

func newKeeper(t *testing.T, id string) *keeper {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	k := &keeper{t: t, env: suite.NewTestWorkflowEnvironment()}
	k.env.SetStartTime(start)
	k.env.SetTestTimeout(20 * time.Second)
	k.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: countersign.TaskQueueSigning})
	workflows.Register(k.env)
	k.activity(evidence.ActivityAdmitGrant, func(in evidence.AdmitGrantInput) (evidence.GrantAdmission, error) {
		return evidence.GrantAdmission{Refusal: k.refusal, Given: &evidence.Proven{At: start}, At: start}, nil
	})
	k.activity(evidence.ActivityCheckGrantSignal, func(in evidence.GrantSignalInput) (evidence.GrantSignal, error) {
		s := evidence.GrantSignal{Signal: in.Signal, Refusal: k.refusal}
		if in.Signal == countersign.SignalAccept {
			s.Acceptance, s.Taken = &countersign.SignedAcceptance{}, &evidence.Proven{}
		}
		return s, nil
	})
	k.activity(evidence.ActivityAdmitKey, func(in evidence.AdmitKeyInput) (evidence.KeyAdmission, error) {
		return evidence.KeyAdmission{Refusal: k.refusal, Proven: &evidence.Proven{At: start}, Counter: 3}, nil
	})
	k.activity(evidence.ActivityCheckRetirement, func(in evidence.RetirementInput) (evidence.Retired, error) {
		return evidence.Retired{Reason: "lost", Refusal: k.refusal}, nil
	})
	k.activity(evidence.ActivityNotify, func(in evidence.NotifyInput) ([]evidence.Delivery, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.told = append(k.told, in.Event.Type)
		return nil, nil
	})
	return k
}

func (k *keeper) activity(name string, f any) {
	k.env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
}

// at does something on the workflow's clock.
func (k *keeper) at(after time.Duration, f func()) { k.env.RegisterDelayedCallback(f, after) }

func (k *keeper) signal(name string) func() {
	return func() { k.env.SignalWorkflow(name, map[string]string{"id": "1"}) }
}

// use asks for a use and wants that answer's code.
func (k *keeper) use(decision string, counter uint32, want string) func() {
	return func() {
		k.env.UpdateWorkflow(countersign.UpdateUse, decision+want, &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { k.t.Errorf("the update was rejected: %v", err) },
			OnComplete: func(answer any, err error) {
				code := ""
				if r, _ := answer.(*countersign.Refusal); r != nil {
					code = r.Code
				}
				if err != nil || code != want {
					k.t.Errorf("use by %s became %q (%v), want %q", decision, code, err, want)
				}
			},
		}, evidence.Use{Decision: decision, Counter: counter})
	}
}

func (k *keeper) grant() (status evidence.GrantStatus) {
	k.t.Helper()
	answer, err := k.env.QueryWorkflow(countersign.QueryStatus)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return status
}

func (k *keeper) wants(state string) func() {
	return func() {
		if got := k.grant().State; got != state {
			k.t.Errorf("at %s the grant is %s, want %s", k.env.Now().Sub(start), got, state)
		}
	}
}

func lent() (countersign.SignedGrant, string) {
	g := countersign.Grant{
		V: 1, Tenant: "acme", Delegator: lena, Grantee: procurement, Role: "legal", Actions: []string{countersign.GrantDecide}, Documents: []string{}, Request: "PO-1",
		NotBefore: start.Unix(), NotAfter: start.Add(time.Hour).Unix(), Uses: 2, IssuedAt: start.Unix(),
	}
	digest, err := g.Digest()
	if err != nil {
		panic(err)
	}
	return countersign.SignedGrant{Grant: g}, countersign.AccessID("acme", digest)
}

func TestR08_AGrantIsOfferedAcceptedAndEndsByItsClock(t *testing.T) {
	t.Parallel()
	grant, id := lent()
	k := newKeeper(t, id)
	k.at(time.Second, k.wants(countersign.GrantInvited))
	k.at(2*time.Second, k.use("early", 0, "grant-is-in-force")) // nobody has taken it yet
	k.at(3*time.Second, k.signal(countersign.SignalAccept))
	k.at(4*time.Second, k.wants(countersign.GrantActive))
	k.at(5*time.Second, k.use("one", 0, ""))
	k.at(6*time.Second, k.use("one", 0, "")) // the same decision uses it once
	k.at(time.Hour-time.Second, k.wants(countersign.GrantActive))
	k.at(time.Hour+time.Second, k.wants(countersign.GrantExpired))
	k.at(time.Hour+time.Minute, k.use("two", 0, "")) // it came in time; its check took longer
	k.at(time.Hour+2*time.Minute, k.use("three", 0, "grant-used-up"))
	k.env.ExecuteWorkflow(countersign.WorkflowAccess, grant)
	var status evidence.GrantStatus
	if err := k.env.GetWorkflowResult(&status); err != nil {
		t.Fatal(err)
	}
	if status.State != countersign.GrantExpired || status.Used != 2 || len(status.Uses) != 2 {
		t.Errorf("it ended as %s, used by %v", status.State, status.Uses)
	}
	if lived := k.env.Now().Sub(start); lived < time.Hour || lived > 2*time.Hour {
		t.Errorf("it lived %s", lived)
	}
	if got := strings.Join(k.told, " "); got != evidence.EventGrantOffered+" "+evidence.EventGrantAccepted {
		t.Errorf("told were %s", got)
	}
}

func TestR14_AGrantThatIsTakenBackEndsAtOnce(t *testing.T) {
	t.Parallel()
	for signal, state := range map[string]string{countersign.SignalRevoke: countersign.GrantRevoked, countersign.SignalGiveBack: countersign.GrantGivenBack} {
		t.Run(signal, func(t *testing.T) {
			t.Parallel()
			grant, id := lent()
			k := newKeeper(t, id)
			k.at(time.Second, k.signal(countersign.SignalAccept))
			k.at(time.Minute, k.signal(signal))
			k.env.ExecuteWorkflow(countersign.WorkflowAccess, grant)
			var status evidence.GrantStatus
			if err := k.env.GetWorkflowResult(&status); err != nil {
				t.Fatal(err)
			}
			if status.State != state || k.env.Now().Sub(start) > 2*time.Minute {
				t.Errorf("after %s it is %s", k.env.Now().Sub(start), status.State)
			}
			if last := k.told[len(k.told)-1]; last != evidence.EventGrantEnded {
				t.Errorf("the last message is %s", last)
			}
		})
	}
}

// An operator who cancels a grant takes it back, and people are told all that they were to be told.
func TestR14_ACancelledGrantIsRevoked(t *testing.T) {
	t.Parallel()
	grant, id := lent()
	k := newKeeper(t, id)
	k.at(time.Second, k.signal(countersign.SignalAccept))
	k.at(time.Minute, k.env.CancelWorkflow)
	k.env.ExecuteWorkflow(countersign.WorkflowAccess, grant)
	var status evidence.GrantStatus
	if err := k.env.GetWorkflowResult(&status); err != nil || status.State != countersign.GrantRevoked {
		t.Errorf("it ended as %s (%v)", status.State, err)
	}
}

// A refused signal changes nothing, and is listed; a flood of them ends the grant, because authority fails closed.
func TestR14_RefusedSignalsChangeNothingAndAFloodEndsTheGrant(t *testing.T) {
	t.Parallel()
	grant, id := lent()
	k := newKeeper(t, id)
	k.at(time.Second, k.signal(countersign.SignalAccept))
	k.at(time.Minute, func() {
		k.refusal = countersign.Refuse("not-entitled", "no")
		k.signal(countersign.SignalRevoke)()
	})
	k.at(2*time.Minute, func() {
		if status := k.grant(); status.State != countersign.GrantActive || len(status.Signals) != 2 || status.Signals[1].Refusal == nil {
			t.Errorf("a refused revocation made it %s: %+v", status.State, status.Signals)
		}
		for range 1000 {
			k.signal(countersign.SignalRevoke)()
		}
	})
	k.env.ExecuteWorkflow(countersign.WorkflowAccess, grant)
	var status evidence.GrantStatus
	if err := k.env.GetWorkflowResult(&status); err != nil || status.State != countersign.GrantRevoked {
		t.Errorf("it ended as %s (%v)", status.State, err)
	}
}

// What is refused fails, so that its name is free again, and says why.
func TestR03_WhatCannotBeGivenFailsWithItsReason(t *testing.T) {
	t.Parallel()
	grant, id := lent()
	key, keyID := enrolled()
	for name, c := range map[string]struct {
		id, workflow string
		input        any
		refusal      *countersign.Refusal
		want         string
	}{
		"a refused grant":      {id, countersign.WorkflowAccess, grant, countersign.Refuse("not-entitled", "nothing gives you this right"), "not-entitled: nothing gives you this right"},
		"a grant's wrong name": {"access/acme/other", countersign.WorkflowAccess, grant, nil, "named by its digest"},
		"a refused key":        {keyID, countersign.WorkflowEnrolment, key, countersign.Refuse("token-expired", "the token expired"), "token-expired"},
		"a key's wrong name":   {"enrolment/acme/other", countersign.WorkflowEnrolment, key, nil, "named by its credential"},
		"a key that hands on to itself": {keyID, countersign.WorkflowEnrolment, func() workflows.KeyInput {
			k := key
			k.Carried = &evidence.KeyStatus{KeyRecord: evidence.KeyRecord{State: evidence.KeyActive}}
			return k
		}(), nil, "nobody but an earlier run hands a key on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t, c.id)
			k.refusal = c.refusal
			k.env.ExecuteWorkflow(c.workflow, c.input)
			var app *temporal.ApplicationError
			if err := k.env.GetWorkflowError(); !errors.As(err, &app) || app.Type() != workflows.ErrorRefused || !app.NonRetryable() || !strings.Contains(app.Message(), c.want) {
				t.Errorf("ended with %v, want %q", err, c.want)
			}
		})
	}
}

func enrolled() (workflows.KeyInput, string) {
	e := countersign.Enrolment{V: 1, Tenant: "acme", Actor: lena, Kind: countersign.KeyDevice, Credential: "AAEC", PublicKey: "AAEC", IssuedAt: 1, ExpiresAt: 100}
	id, err := e.KeyID()
	if err != nil {
		panic(err)
	}
	return workflows.KeyInput{SignedEnrolment: countersign.SignedEnrolment{Enrolment: e}}, countersign.EnrolmentID("acme", id)
}

func TestR05_AKeyCountsForwardsAndSignsNothingOnceItIsRetired(t *testing.T) {
	t.Parallel()
	key, id := enrolled()
	k := newKeeper(t, id)
	k.at(time.Second, k.use("one", 4, ""))
	k.at(2*time.Second, k.use("one", 4, "")) // checked twice, signed once
	k.at(3*time.Second, k.use("two", 4, "key-counter"))
	k.at(4*time.Second, k.use("three", 2, "key-counter"))
	k.at(5*time.Second, k.use("four", 0, "key-counter"))
	k.at(6*time.Second, k.use("five", 9, ""))
	k.at(time.Minute, k.signal(countersign.SignalRetire))
	k.env.ExecuteWorkflow(countersign.WorkflowEnrolment, key)
	var status evidence.KeyStatus
	if err := k.env.GetWorkflowResult(&status); err != nil {
		t.Fatal(err)
	}
	if status.State != evidence.KeyRetired || status.Counter != 9 || len(status.Retirements) != 1 {
		t.Errorf("it ended as %+v", status)
	}
	if got := strings.Join(k.told, " "); got != evidence.EventKeyEnrolled+" "+evidence.EventKeyRetired {
		t.Errorf("told were %s", got)
	}
}

// A key lives for years. Before its history grows too long, its next run takes over what is known of it.
func TestR05_AKeyHandsItsStateOnToItsNextRun(t *testing.T) {
	t.Parallel()
	key, id := enrolled()
	k := newKeeper(t, id)
	k.at(time.Second, k.use("one", 7, ""))
	k.at(2*time.Second, func() { k.env.SetContinueAsNewSuggested(true) })
	k.at(3*time.Second, func() { k.env.SignalWorkflow("nudge", nil) }) // any task lets it see that
	k.env.ExecuteWorkflow(countersign.WorkflowEnrolment, key)
	var next *workflow.ContinueAsNewError
	if err := k.env.GetWorkflowError(); !errors.As(err, &next) {
		t.Fatalf("ended with %v", err)
	}
	var carried workflows.KeyInput
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &carried); err != nil || carried.Carried == nil || carried.Carried.Counter != 7 || carried.Carried.State != evidence.KeyActive {
		t.Errorf("handed on was %+v (%v)", carried.Carried, err)
	}

}
