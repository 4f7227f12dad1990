package workflows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/workflows"
)

// In these tests time is the workflow's own: days pass in milliseconds, and activities take as long as the stage says.

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	lena        = countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}
	liam        = countersign.Actor{Issuer: "https://id.acme.example", Subject: "liam"}
	carla       = countersign.Actor{Issuer: "https://id.counsel.example", Subject: "carla"}
	procurement = countersign.Actor{Issuer: "https://id.acme.example", Subject: "procurement"}

	request = countersign.Request{V: 1, Tenant: "acme", ID: "PO-1", Purpose: "supplier-contract", Title: "Frame contract"}
)

// The plan of every saga here: two of legal within 72 hours, then one of counsel within 120 hours, both from the start.
const (
	legalDeadline   = 72 * time.Hour
	counselDeadline = 120 * time.Hour
)

func plan() countersign.Plan {
	return countersign.Plan{Purpose: "supplier-contract", Title: "Supplier contract", Stages: []countersign.Stage{
		{Name: "legal", Role: "legal", Quorum: 2, Deadline: start.Add(legalDeadline), Eligible: []countersign.Eligible{{Actor: lena}, {Actor: liam}}},
		{Name: "counsel", Role: "counsel", Quorum: 1, Deadline: start.Add(counselDeadline), Eligible: []countersign.Eligible{{Actor: carla, Partner: true}}},
	}}
}

// stage is a Temporal without a server, with activities that do what the test says and remember what they were asked.
type stage struct {
	t   *testing.T
	env *testsuite.TestWorkflowEnvironment

	// takes is how long an activity of that name works, on the workflow's clock.
	takes map[string]time.Duration

	admit    func(evidence.AdmitInput) (evidence.Admission, error)
	check    func(evidence.CheckInput) (evidence.Check, error)
	withdraw func(evidence.WithdrawInput) (evidence.Withdrawn, error)
	intend   func(evidence.SignInput) (evidence.Intent, error)
	sign     func(evidence.SignInput) (evidence.Signature, error)
	withhold func() error
	notify   func(evidence.NotifyInput) error
	seal     func(evidence.SealInput) (evidence.Sealed, error)
	lock     func(evidence.Sealed) (evidence.Locked, error)
	appends  func(translog.Entry) (translog.Proof, error)
	review   func(evidence.ReviewSignalInput) (evidence.ReviewSignal, error)

	mocks []func()

	mu       sync.Mutex
	ended    []string // activities in the order in which an attempt of them ended
	checks   []evidence.CheckInput
	intents  []evidence.SignInput
	signs    []evidence.SignInput
	notes    []evidence.NotifyInput
	seals    []evidence.SealInput
	locks    []evidence.Sealed
	entries  []translog.Entry
	admitted []evidence.AdmitInput
	earlier  evidence.Earlier
	dead     func(evidence.FindDeadInput) (evidence.FoundDead, error)
	late     func(evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error)
}

func newStage(t *testing.T) *stage {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	s := &stage{t: t, env: suite.NewTestWorkflowEnvironment(), takes: map[string]time.Duration{}}
	s.env.SetStartTime(start)
	s.env.SetTestTimeout(20 * time.Second)
	workflows.Register(s.env)
	s.wellBehaved()
	act(s, evidence.ActivityAdmit, func(in evidence.AdmitInput) (evidence.Admission, error) {
		s.note(func() { s.admitted = append(s.admitted, in) })
		return s.admit(in)
	})
	act(s, evidence.ActivityCheckDecision, func(in evidence.CheckInput) (evidence.Check, error) {
		s.note(func() { s.checks = append(s.checks, in) })
		return s.check(in)
	})
	act(s, evidence.ActivityCheckWithdrawal, func(in evidence.WithdrawInput) (evidence.Withdrawn, error) { return s.withdraw(in) })
	act(s, evidence.ActivityIntend, func(in evidence.SignInput) (evidence.Intent, error) {
		s.note(func() { s.intents = append(s.intents, in) })
		return s.intend(in)
	})
	act(s, evidence.ActivitySign, func(in evidence.SignInput) (evidence.Signature, error) {
		s.note(func() { s.signs = append(s.signs, in) })
		return s.sign(in)
	})
	act(s, evidence.ActivityWithhold, func(id string) (any, error) {
		if id != request.ID {
			t.Errorf("Withhold of %q", id)
		}
		return nil, s.withhold()
	})
	act(s, evidence.ActivityNotify, func(in evidence.NotifyInput) ([]evidence.Delivery, error) {
		s.note(func() { s.notes = append(s.notes, in) })
		return nil, s.notify(in)
	})
	act(s, evidence.ActivitySeal, func(in evidence.SealInput) (evidence.Sealed, error) {
		s.note(func() { s.seals = append(s.seals, in) })
		return s.seal(in)
	})
	act(s, evidence.ActivityCheckReview, func(in evidence.ReviewSignalInput) (evidence.ReviewSignal, error) { return s.review(in) })
	act(s, evidence.ActivityLock, func(in evidence.Sealed) (evidence.Locked, error) {
		s.note(func() { s.locks = append(s.locks, in) })
		return s.lock(in)
	})
	act(s, evidence.ActivityAppendLog, func(in translog.Entry) (translog.Proof, error) {
		s.note(func() { s.entries = append(s.entries, in) })
		return s.appends(in)
	})
	// It comes before everything, and is in no list of what ended.
	s.env.RegisterActivityWithOptions(func(context.Context, string) (evidence.Earlier, error) { return s.earlier, nil }, activity.RegisterOptions{Name: evidence.ActivityFindEarlier})
	s.env.RegisterActivityWithOptions(func(_ context.Context, in evidence.FindDeadInput) (evidence.FoundDead, error) { return s.dead(in) }, activity.RegisterOptions{Name: evidence.ActivityFindDead})
	s.env.RegisterActivityWithOptions(func(_ context.Context, in evidence.FindUnfinishedInput) (evidence.FoundUnfinished, error) {
		return s.late(in)
	}, activity.RegisterOptions{Name: evidence.ActivityFindUnfinished})
	for _, mock := range s.mocks { // only after all are registered: so the SDK wants it
		mock()
	}
	return s
}

// act registers an activity under its name. It is a mock of the SDK, because only a mock can take time on the workflow's clock.
func act[In, Out any](s *stage, name string, do func(In) (Out, error)) {
	f := func(_ context.Context, in In) (Out, error) {
		s.note(func() { s.ended = append(s.ended, name) })
		return do(in)
	}
	const anything = "mock.Anything" // of the mock package that the SDK's test suite is built on
	s.env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	s.mocks = append(s.mocks, func() {
		s.env.OnActivity(name, anything, anything).AfterFn(func() time.Duration { return s.takes[name] }).Return(f)
	})
}

func (s *stage) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// wellBehaved makes every activity succeed, and every decision that can be read count.
func (s *stage) wellBehaved() {
	s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) { return admission(in), nil }
	s.check = func(in evidence.CheckInput) (evidence.Check, error) { return judged(in, ""), nil }
	s.withdraw = func(in evidence.WithdrawInput) (evidence.Withdrawn, error) {
		var w countersign.Withdrawal
		err := json.Unmarshal(in.Withdrawal, &w)
		return evidence.Withdrawn{ID: w.ID, Reason: w.Reason}, err
	}
	s.intend = func(in evidence.SignInput) (evidence.Intent, error) {
		return evidence.Intent{V: 1, Context: in.Digest}, nil
	}
	s.sign = func(evidence.SignInput) (evidence.Signature, error) { return signature(), nil }
	s.withhold = func() error { return nil }
	s.notify = func(evidence.NotifyInput) error { return nil }
	s.seal = func(in evidence.SealInput) (evidence.Sealed, error) {
		return evidence.Sealed{Object: countersign.Object{Bucket: "documents", Key: string(in.Outcome)}, Bytes: 1}, nil
	}
	s.appends = func(in translog.Entry) (translog.Proof, error) {
		return translog.Proof{Checkpoint: "checkpoint after " + in.Kind}, nil
	}
	s.review = func(in evidence.ReviewSignalInput) (evidence.ReviewSignal, error) {
		var given countersign.ReviewClosing
		err := json.Unmarshal(in.Payload, &given)
		return evidence.ReviewSignal{Finding: given.Finding, Note: given.Note}, err
	}
	s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
		return evidence.Locked{Object: countersign.Object{Bucket: "evidence", Key: in.Object.Key}, Outcome: countersign.Outcome(in.Object.Key), Mode: "COMPLIANCE"}, nil
	}
}

func admission(in evidence.AdmitInput) evidence.Admission {
	return evidence.Admission{
		Digest: strings.Repeat("c", 64), Plan: plan(), PolicyText: "policy", ReleaseWithin: countersign.Duration(time.Hour),
		Context: countersign.Context{V: 1, Tenant: "acme", Signing: in.Saga.Workflow, Run: in.Saga.Run, Requester: procurement, Policy: "p"},
	}
}

func signature() evidence.Signature {
	return evidence.Signature{Object: countersign.Object{Bucket: "documents", Key: "withheld"}, Key: "arn:aws:kms:x", At: start.Add(4 * time.Hour)}
}

// judged is the result of checking one decide signal: refused with the code, or counted if there is none.
func judged(in evidence.CheckInput, code string) evidence.Check {
	var c evidence.Check
	signed, err := countersign.ParseSignedDecision(in.Signed)
	if err != nil {
		c.Record.Refusal = countersign.Refuse("malformed", "%s", err)
		return c
	}
	d := signed.Decision
	c.Record = countersign.DecisionRecord{ID: signed.ID, Stage: d.Stage, Verdict: d.Verdict, Actor: d.Actor}
	switch {
	case code != "":
		c.Record.Refusal = countersign.Refuse(code, "no")
	case !slices.ContainsFunc(in.Stages, func(s countersign.Stage) bool { return s.Name == d.Stage }):
		c.Record.Refusal = countersign.Refuse("no-open-stage", "no")
	case slices.Contains(in.Decided, d.Actor):
		c.Record.Refusal = countersign.Refuse("one-person-one-vote", "no")
	}
	c.Facts = &identity.Facts{Key: json.RawMessage(`{"kty":"EC"}`)}
	return c
}

func decision(id, stage string, who countersign.Actor, verdict countersign.Verdict) countersign.SignedDecision {
	return countersign.SignedDecision{ID: id, Decision: countersign.Decision{V: 1, Stage: stage, Actor: who, Verdict: verdict, Reason: "because", Grants: []string{}}}
}

// at does something that long after the start.
func (s *stage) at(after time.Duration, do func()) { s.env.RegisterDelayedCallback(do, after) }

func (s *stage) approves(after time.Duration, who countersign.Actor, stage string) {
	s.decides(after, decision(who.Subject+"-"+stage, stage, who, countersign.Approve))
}

func (s *stage) decides(after time.Duration, d countersign.SignedDecision) {
	s.at(after, func() { s.env.SignalWorkflow(countersign.SignalDecide, d) })
}

// everybodyApproves completes the plan after three hours.
func (s *stage) everybodyApproves() {
	s.approves(1*time.Hour, lena, "legal")
	s.approves(2*time.Hour, liam, "legal")
	s.approves(3*time.Hour, carla, "counsel")
}

// runSaga runs the saga alone.
func (s *stage) runSaga() evidence.SagaResult {
	s.t.Helper()
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.SagaID("acme", "PO-1"), TaskQueue: countersign.TaskQueueSigning})
	s.env.ExecuteWorkflow(countersign.WorkflowSigning, evidence.SagaInput{Request: request, Custodian: evidence.Execution{Workflow: "signing/acme/PO-1", Run: "r"}})
	var result evidence.SagaResult
	s.finished(&result)
	return result
}

// runCustodian runs the custodian, and with it the saga.
func (s *stage) runCustodian() evidence.Ending {
	s.t.Helper()
	s.startCustodian(countersign.CustodianID("acme", "PO-1"), request)
	var ending evidence.Ending
	s.finished(&ending)
	return ending
}

func (s *stage) startCustodian(id string, input any) {
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: countersign.TaskQueueSigning})
	s.env.ExecuteWorkflow(countersign.WorkflowRequestSigning, input)
}

func (s *stage) finished(result any) {
	s.t.Helper()
	if !s.env.IsWorkflowCompleted() {
		s.t.Fatal("the workflow didn't end")
	}
	if err := s.env.GetWorkflowResult(result); err != nil {
		s.t.Fatalf("the workflow failed: %v", err)
	}
}

func (s *stage) status() (status workflows.Status) {
	s.t.Helper()
	answer, err := s.env.QueryWorkflow(countersign.QueryStatus)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// wantOutcome demands an ending that says why.
func (s *stage) wantOutcome(got evidence.SagaResult, want countersign.Outcome, detail string) {
	s.t.Helper()
	if got.Outcome != want || !strings.Contains(got.Detail, detail) {
		s.t.Errorf("ended as %s: %q; want %s: …%s…", got.Outcome, got.Detail, want, detail)
	}
	if (got.Signature != nil) != (want == countersign.Completed) {
		s.t.Errorf("%s with the signature %+v", got.Outcome, got.Signature)
	}
	if len(got.Records) != 64 {
		s.t.Errorf("records are %q", got.Records)
	}
}

// wantElapsed demands that the workflow ended that long after its start, to the second.
func (s *stage) wantElapsed(want time.Duration) {
	s.t.Helper()
	if got := s.env.Now().Sub(start); got.Round(time.Second) != want {
		s.t.Errorf("it took %s, want %s", got, want)
	}
}

func (s *stage) times(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ended {
		if e == name {
			n++
		}
	}
	return n
}

func (s *stage) wantTimes(name string, want int) {
	s.t.Helper()
	if got := s.times(name); got != want {
		s.t.Errorf("%s was called %d times, want %d", name, got, want)
	}
}

// told are the types of the messages, each once, in their order.
func (s *stage) told() (types []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for _, n := range s.notes {
		if !seen[n.ID] {
			types = append(types, n.Event.Type)
		}
		seen[n.ID] = true
	}
	return types
}

func (s *stage) wantTold(want ...string) {
	s.t.Helper()
	if got := s.told(); !slices.Equal(got, want) {
		s.t.Errorf("people were told %q, want %q", got, want)
	}
}

// down is an activity that is out of order until the instant, and then works. The SDK's test suite gives up after ten attempts: that is
// three minutes with the retries of this package.
func (s *stage) down(until time.Duration) error {
	if s.env.Now().Before(start.Add(until)) {
		return fmt.Errorf("out of order until %s", until)
	}
	return nil
}

var keyUnusable = temporal.NewApplicationError("the key is disabled", "KeyUnusable", nil)
