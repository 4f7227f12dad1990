package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/workflows"
)

// ends makes the saga a mock that ends like this, so that a test is about the custodian alone.
func (s *stage) ends(result evidence.SagaResult, err error) {
	const anything = "mock.Anything"
	s.env.OnWorkflow(countersign.WorkflowSigning, anything, anything).Return(result, err)
}

func completed() evidence.SagaResult {
	signed := signature()
	signed.At = start
	return evidence.SagaResult{
		Outcome: countersign.Completed, Context: strings.Repeat("c", 64), Signature: &signed, Told: []countersign.Actor{lena, procurement},
		ReleaseWithin: countersign.Duration(time.Hour), Records: strings.Repeat("0", 64),
	}
}

func (s *stage) wantEnded(want ...string) {
	s.t.Helper()
	if got := slices.Compact(slices.Clone(s.ended)); !slices.Equal(got, want) {
		s.t.Errorf("activities were %q, want %q", got, want)
	}
}

func TestRequestSigning_CompletedIsSealedLockedAndOnlyThenReleased(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	got := s.runCustodian()
	s.wantEnded("Seal", "Lock", "AppendLog", "Notify")
	s.wantTold(evidence.EventReleased)
	if got.Outcome != countersign.Completed || got.Meaning != countersign.Completed.Meaning() || got.Context != completed().Context || got.Evidence.Mode != "COMPLIANCE" {
		t.Errorf("the ending is %+v", got)
	}
	if in := s.seals[0]; in.Outcome != countersign.Completed || in.Signature == nil || in.Saga.Workflow != "saga/acme/PO-1" || in.Saga.Run == "" || in.Custodian.Workflow != "signing/acme/PO-1" {
		t.Errorf("sealed was %+v", in)
	}
	if n := s.notes[0]; n.Event.Evidence == nil || *n.Event.Evidence != got.Evidence.Object || !n.Owner || !slices.Equal(n.To, completed().Told) {
		t.Errorf("told was %+v", n)
	}
	s.wantStatus("done", countersign.Completed, "")
}

// custody asks the custodian for its status.
func (s *stage) custody() (status workflows.CustodyStatus) {
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

// wantStatus demands what the custodian says of itself; evidence it names once it is done, and not before.
func (s *stage) wantStatus(state string, outcome countersign.Outcome, detail string) {
	s.t.Helper()
	got := s.custody()
	if got.State != state || got.Outcome != outcome || !strings.Contains(got.Detail, detail) || detail == "" && got.Detail != "" || (got.Evidence != nil) != (state == "done") {
		s.t.Errorf("the status is %+v, want %s %q with %q", got, state, outcome, detail)
	}
}

// Who asks for the status hears how it ended, and not how the saga would have liked it to.
func TestM4_TheCustodiansStatusSaysHowItEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		result        evidence.SagaResult
		err           error
		unlockable    bool
		state         string // while the last lock is being made
		before, after countersign.Outcome
		detail        string
	}{
		"completed":  {result: completed(), state: "locking", after: countersign.Completed},
		"voided":     {result: completed(), unlockable: true, state: "voiding", after: countersign.Voided, detail: evidence.DetailVoided + ": stored but not locked"},
		"terminated": {err: &temporal.TerminatedError{}, state: "sealing", before: countersign.Terminated, after: countersign.Terminated, detail: evidence.DetailTerminated},
		"broken":     {err: temporal.NewNonRetryableApplicationError("a bug", "Bug", nil), state: "sealing", before: countersign.Failed, after: countersign.Failed, detail: evidence.DetailBroken},
		"failed":     {result: evidence.SagaResult{Outcome: countersign.Failed, Detail: "the key could not sign"}, state: "sealing", before: countersign.Failed, after: countersign.Failed, detail: "the key could not sign"},
		"rejected":   {result: evidence.SagaResult{Outcome: countersign.Rejected, Detail: "no"}, state: "sealing", before: countersign.Rejected, after: countersign.Rejected, detail: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.ends(c.result, c.err)
			lock := s.lock
			s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
				if c.unlockable && in.Object.Key == string(countersign.Completed) {
					return evidence.Locked{}, temporal.NewNonRetryableApplicationError("stored but not locked", "Setting", nil)
				}
				return lock(in)
			}
			s.takes[evidence.ActivityLock] = time.Minute
			asked := 30 * time.Second
			if c.unlockable {
				asked += time.Minute
			}
			s.at(asked, func() {
				detail := c.detail
				if c.before == "" {
					detail = ""
				}
				s.wantStatus(c.state, c.before, detail)
			})
			s.runCustodian()
			s.wantStatus("done", c.after, c.detail)
		})
	}
}

func TestRequestSigning_FromRequestToLockedEvidence(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	saga := countersign.SagaID("acme", "PO-1")
	for n, d := range []countersign.SignedDecision{
		decision("1", "legal", lena, countersign.Approve), decision("2", "legal", liam, countersign.Approve), decision("3", "counsel", carla, countersign.Approve),
	} {
		s.at(time.Duration(n+1)*time.Hour, func() {
			if err := s.env.SignalWorkflowByID(saga, countersign.SignalDecide, d); err != nil {
				t.Error(err)
			}
		})
	}
	if got := s.runCustodian(); got.Outcome != countersign.Completed {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalRequested, evidence.EventSigned, evidence.EventReleased)
	s.wantTimes(evidence.ActivityWithhold, 0)
}

func TestRequestSigning_ReleaseWaitsForALockThatIsLate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
		if told := s.told(); len(told) > 0 {
			t.Errorf("before the lock people were told %q", told)
		}
		return evidence.Locked{Object: in.Object, Outcome: countersign.Outcome(in.Object.Key), Mode: "COMPLIANCE"}, s.down(100 * time.Second)
	}
	if got := s.runCustodian(); got.Outcome != countersign.Completed {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTimes(evidence.ActivityWithhold, 0)
	s.wantTold(evidence.EventReleased)
}

// An attempt to lock may have worked without our hearing of it. The store lets one bundle have the place, and that one says how it ended.
func TestRequestSigning_ALockThatWorkedAfterAllIsNotVoided(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
		if in.Object.Key == string(countersign.Completed) {
			return evidence.Locked{}, temporal.NewNonRetryableApplicationError("stored, and then nobody answered", "Setting", nil)
		}
		return evidence.Locked{Object: countersign.Object{Bucket: "evidence", Key: "completed"}, Outcome: countersign.Completed, Mode: "COMPLIANCE"}, nil
	}
	if got := s.runCustodian(); got.Outcome != countersign.Completed || got.Detail != "" || got.Evidence.Object.Key != "completed" {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTimes(evidence.ActivityWithhold, 0)
	s.wantTold(evidence.EventReleased)
}

func TestRequestSigning_WhatCannotBeLockedInTimeIsVoided(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]struct {
		change func(*stage)
		ended  []string
	}{
		"the lock fails until after the deadline": {func(s *stage) {
			s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
				return evidence.Locked{Object: in.Object, Outcome: countersign.Outcome(in.Object.Key), Mode: "COMPLIANCE"}, s.down(150 * time.Second)
			}
		}, []string{"Seal", "Lock", "Seal", "Lock", "Withhold", "AppendLog", "Notify"}},
		"the lock fails for good": {func(s *stage) {
			s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
				if in.Object.Key == string(countersign.Completed) {
					return evidence.Locked{}, temporal.NewNonRetryableApplicationError("stored but not locked", "Setting", nil)
				}
				return evidence.Locked{Object: in.Object, Outcome: countersign.Outcome(in.Object.Key), Mode: "COMPLIANCE"}, nil
			}
		}, []string{"Seal", "Lock", "Seal", "Lock", "Withhold", "AppendLog", "Notify"}},
		"the seal fails until after the deadline": {func(s *stage) {
			s.seal = func(in evidence.SealInput) (evidence.Sealed, error) {
				return evidence.Sealed{Object: countersign.Object{Key: string(in.Outcome)}}, s.down(150 * time.Second)
			}
		}, []string{"Seal", "Lock", "Withhold", "AppendLog", "Notify"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			hurried := completed()
			hurried.ReleaseWithin = countersign.Duration(2 * time.Minute)
			s.ends(hurried, nil)
			breaks.change(s)
			got := s.runCustodian()
			if got.Outcome != countersign.Voided || !strings.Contains(got.Detail, "the evidence could not be locked in time: ") || got.Evidence.Mode != "COMPLIANCE" {
				t.Errorf("the ending is %+v", got)
			}
			s.wantEnded(breaks.ended...)
			s.wantTold(evidence.EventVoided)
			last := s.seals[len(s.seals)-1]
			if last.Outcome != countersign.Voided || last.Signature != nil || last.Detail != evidence.DetailVoided {
				t.Errorf("sealed in the end was %+v", last)
			}
			if s.locks[len(s.locks)-1].Object.Key != string(countersign.Voided) {
				t.Errorf("locked in the end was %+v", s.locks[len(s.locks)-1])
			}
		})
	}
}

// However a signing ended: where its evidence can't be locked, what was signed is destroyed, everybody hears of it once, and the custodian goes on.
func TestM4_TheCustodianOutlivesALockThatFails(t *testing.T) {
	t.Parallel()
	for _, outcome := range []countersign.Outcome{
		countersign.Completed, countersign.Rejected, countersign.Expired, countersign.Withdrawn, countersign.Refused, countersign.Revoked, countersign.Failed, countersign.Terminated,
	} {
		t.Run(string(outcome), func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			want, signed := outcome, outcome == countersign.Failed || outcome == countersign.Terminated
			switch outcome {
			case countersign.Completed:
				want, signed = countersign.Voided, true
				s.ends(completed(), nil)
			case countersign.Terminated:
				s.ends(evidence.SagaResult{}, &temporal.TerminatedError{})
			default:
				s.ends(evidence.SagaResult{Outcome: outcome, Detail: "why", Told: []countersign.Actor{lena}}, nil)
			}
			lock := s.lock
			s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
				if s.env.Now().Before(start.Add(3 * time.Hour)) {
					return evidence.Locked{}, temporal.NewNonRetryableApplicationError("stored but not locked", "Setting", nil)
				}
				return lock(in)
			}
			s.at(2*time.Hour, func() {
				got := s.custody()
				if got.State == "done" || !strings.Contains(got.Problem, "the evidence can't be locked: stored but not locked") || got.Outcome == countersign.Completed || got.Outcome == countersign.Voided {
					t.Errorf("the status is %+v", got)
				}
				if (s.times(evidence.ActivityWithhold) > 0) != signed {
					t.Errorf("withheld %d times", s.times(evidence.ActivityWithhold))
				}
				s.wantTold(evidence.EventStuck)
				if n := s.notes[0]; !n.Owner || n.Event.Outcome != "" || n.Event.Detail != got.Problem || outcome == countersign.Completed && len(n.To) != 2 {
					t.Errorf("told was %+v", n)
				}
			})
			got := s.runCustodian()
			if got.Outcome != want || got.Evidence.Mode != "COMPLIANCE" || s.env.Now().Sub(start) < 3*time.Hour {
				t.Errorf("the ending is %+v", got)
			}
			if left := s.custody(); left.Problem != "" || left.Outcome != want {
				t.Errorf("the status is %+v", left)
			}
			if outcome == countersign.Completed && (len(s.told()) != 2 || s.told()[1] != evidence.EventVoided || !strings.HasSuffix(got.Detail, ": stored but not locked")) {
				t.Errorf("told was %q, the detail is %q", s.told(), got.Detail)
			}
		})
	}
}

// A custodian that an older build ended still answers: its history is replayed as that build wrote it.
func TestM5_ACustodianOfAnOlderBuildEndsAsItDid(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env.OnGetVersion("custody-insists", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	s.ends(evidence.SagaResult{Outcome: countersign.Rejected, Detail: "no"}, nil)
	s.lock = func(evidence.Sealed) (evidence.Locked, error) {
		return evidence.Locked{}, temporal.NewNonRetryableApplicationError("stored but not locked", "Setting", nil)
	}
	s.startCustodian(countersign.CustodianID("acme", "PO-1"), request)
	if err := s.env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "stored but not locked") {
		t.Errorf("it ended with %v", err)
	}
	s.wantEnded("Seal", "Lock")
}

// What the custodian could not lock itself may have its lock when it looks again.
func TestM4_ALockThatIsMendedByHandReleases(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	s.lock = func(evidence.Sealed) (evidence.Locked, error) {
		if s.env.Now().Before(start.Add(time.Hour)) {
			return evidence.Locked{}, temporal.NewNonRetryableApplicationError("something else is locked in its place", "Setting", nil)
		}
		return evidence.Locked{Object: countersign.Object{Bucket: "evidence", Key: "completed"}, Outcome: countersign.Completed, Mode: "COMPLIANCE"}, nil
	}
	if got := s.runCustodian(); got.Outcome != countersign.Completed || got.Detail != "" {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTold(evidence.EventStuck, evidence.EventReleased)
	s.wantStatus("done", countersign.Completed, "")
}

func TestM4_TheCustodianOutlivesASignatureThatCannotBeDestroyed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(evidence.SagaResult{Outcome: countersign.Failed, Detail: "why"}, nil)
	s.withhold = func() error {
		if s.env.Now().Before(start.Add(3 * time.Hour)) {
			return temporal.NewNonRetryableApplicationError("access denied", "AccessDenied", nil)
		}
		return nil
	}
	s.at(2*time.Hour, func() {
		if got := s.custody(); got.State == "done" || got.Problem != "the withheld signature can't be destroyed: access denied" {
			t.Errorf("the status is %+v", got)
		}
	})
	if got := s.runCustodian(); got.Outcome != countersign.Failed || s.env.Now().Sub(start) < 3*time.Hour {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTold(evidence.EventStuck)
}

// The release deadline counts from the signature, not from when the custodian comes to it.
func TestRequestSigning_ReleaseDeadlineThatHasPassedVoids(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	late := completed()
	late.Signature.At = start.Add(-2 * time.Hour)
	s.ends(late, nil)
	if got := s.runCustodian(); got.Outcome != countersign.Voided {
		t.Errorf("locked and released two hours after the signature, with one hour to do so: %+v", got)
	}
}

func TestRequestSigning_TerminatedSagaIsWithheldArchivedAndTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(evidence.SagaResult{}, &temporal.TerminatedError{})
	s.sealKnows(lena, procurement)
	got := s.runCustodian()
	if got.Outcome != countersign.Terminated || got.Detail != "an operator terminated the saga" || got.Context != completed().Context {
		t.Errorf("the ending is %+v", got)
	}
	s.wantEnded("Seal", "Lock", "Withhold", "AppendLog", "Notify")
	if in := s.seals[0]; in.Outcome != countersign.Terminated || in.Signature != nil {
		t.Errorf("sealed was %+v", in)
	}
	s.wantToldForTheSaga(got)
}

func TestRequestSigning_FailedSagaIsWithheldArchivedAndTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(evidence.SagaResult{}, temporal.NewNonRetryableApplicationError("a bug", "Bug", nil))
	s.sealKnows(lena, procurement)
	got := s.runCustodian()
	if got.Outcome != countersign.Failed || got.Detail != evidence.DetailBroken {
		t.Errorf("the ending is %+v", got)
	}
	s.wantEnded("Seal", "Lock", "Withhold", "AppendLog", "Notify")
	s.wantToldForTheSaga(got)
}

// sealKnows lets the evidence say who took part in which transaction.
func (s *stage) sealKnows(who ...countersign.Actor) {
	seal := s.seal
	s.seal = func(in evidence.SealInput) (evidence.Sealed, error) {
		sealed, err := seal(in)
		sealed.Told, sealed.Context = who, completed().Context
		return sealed, err
	}
}

// wantToldForTheSaga demands one message to lena, procurement and the owner, with how it ended.
func (s *stage) wantToldForTheSaga(got evidence.Ending) {
	s.t.Helper()
	s.wantTold(evidence.EventEnded)
	if n := s.notes[0]; !n.Owner || !slices.Equal(n.To, []countersign.Actor{lena, procurement}) || n.Event.Outcome != got.Outcome || n.Event.Detail != got.Detail || n.Event.Context != got.Context || n.Event.Evidence == nil {
		s.t.Errorf("told was %+v", n)
	}
}

func TestM5_ATerminatedCustodyOfAnOlderBuildReplaysWithoutAMessage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env.OnGetVersion("custody-tells-for-the-saga", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	s.ends(evidence.SagaResult{}, &temporal.TerminatedError{})
	s.runCustodian()
	s.wantEnded("Seal", "Lock", "Withhold", "AppendLog")
}

func TestRequestSigning_OtherEndingsAreArchivedHoweverLongItTakes(t *testing.T) {
	t.Parallel()
	for _, outcome := range []countersign.Outcome{countersign.Rejected, countersign.Expired, countersign.Withdrawn, countersign.Refused, countersign.Revoked, countersign.Failed} {
		t.Run(string(outcome), func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.ends(evidence.SagaResult{Outcome: outcome, Detail: "why", ReleaseWithin: countersign.Duration(time.Second)}, nil)
			s.lock = func(in evidence.Sealed) (evidence.Locked, error) {
				return evidence.Locked{Object: in.Object, Outcome: countersign.Outcome(in.Object.Key), Mode: "COMPLIANCE"}, s.down(2 * time.Minute)
			}
			got := s.runCustodian()
			if got.Outcome != outcome || got.Detail != "why" || got.Meaning != outcome.Meaning() || got.Evidence.Mode != "COMPLIANCE" {
				t.Errorf("the ending is %+v", got)
			}
			s.wantTimes(evidence.ActivitySeal, 1)
			s.wantTold()
		})
	}
}

func TestRequestSigning_MessagesThatFailForGoodNeverBlock(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	s.notify = func(evidence.NotifyInput) error { return errors.New("no route to host") }
	if got := s.runCustodian(); got.Outcome != countersign.Completed {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTimes(evidence.ActivityNotify, 4)
}

// What was started wrongly fails at once, and says to whoever asks what is wrong.
func TestM4_AWrongStartFailsAndStillAnswers(t *testing.T) {
	t.Parallel()
	changed := func(change func(*countersign.Request)) countersign.Request {
		r := request
		change(&r)
		return r
	}
	for _, c := range []struct {
		name, id string
		input    any
		message  string
	}{
		{"another workflow id", "signing/acme/PO-2", request, `the workflow id must be "signing/acme/PO-1"`},
		{"the saga's workflow id", "saga/acme/PO-1", request, "the workflow id must be"},
		{"another tenant's workflow id", "signing/globex/PO-1", request, "the workflow id must be"},
		{"bad tenant", "signing/Acme/PO-1", changed(func(r *countersign.Request) { r.Tenant = "Acme" }), "tenant"},
		{"bad request id", "signing/acme/../PO-1", changed(func(r *countersign.Request) { r.ID = "../PO-1" }), "request id"},
		{"an empty request", "signing//", countersign.Request{}, "tenant"},
		{"no request", "signing/acme/PO-1", "PO-1", "the input is not a request"},
		{"a field of another kind", "signing/acme/PO-1", map[string]any{"v": "one"}, "the input is not a request"},
		{"bytes", "signing/acme/PO-1", []byte("{}"), `must be one request as JSON (json/plain), not "binary/plain"`},
		{"nothing", "signing/acme/PO-1", nil, `not "binary/null"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.startCustodian(c.id, c.input)
			var app *temporal.ApplicationError
			if err := s.env.GetWorkflowError(); !errors.As(err, &app) || !app.NonRetryable() || app.Type() != "BadRequest" || !strings.Contains(app.Message(), c.message) {
				t.Errorf("it ended with %v", err)
			}
			if len(s.ended) > 0 {
				t.Errorf("activities were %q", s.ended)
			}
			s.wantStatus(workflows.StateNotASigning, "", c.message)
		})
	}
}

func TestRequestSigning_CancelledCustodianStillArchives(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.at(time.Hour, s.env.CancelWorkflow)
	got := s.runCustodian()
	if got.Outcome != countersign.Failed || !strings.Contains(got.Detail, "cancel") || got.Evidence.Mode != "COMPLIANCE" {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTimes(evidence.ActivitySeal, 1)
	s.wantTimes(evidence.ActivityLock, 1)
}

func TestRequestSigning_CancelledWhileSealingStillReleases(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	s.takes[evidence.ActivitySeal] = 10 * time.Minute
	s.at(5*time.Minute, s.env.CancelWorkflow)
	if got := s.runCustodian(); got.Outcome != countersign.Completed {
		t.Errorf("the ending is %+v", got)
	}
	s.wantEnded("Seal", "Lock", "AppendLog", "Notify")
	s.wantTold(evidence.EventReleased)
}

// The ending is in the log before anything is released, and what is told of it has the checkpoint.
func TestN04_NothingIsReleasedBeforeItIsInTheLog(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ends(completed(), nil)
	s.appends = func(in translog.Entry) (translog.Proof, error) {
		if s.env.Now().Before(start.Add(3 * time.Hour)) {
			return translog.Proof{}, temporal.NewNonRetryableApplicationError("the log's key can't be used", evidence.ErrorKeyUnusable, nil)
		}
		return translog.Proof{Checkpoint: "the checkpoint"}, nil
	}
	s.at(2*time.Hour, func() {
		if got := s.custody(); got.State == "done" || got.Problem != "the ending can't be put into the log: the log's key can't be used" {
			t.Errorf("the status is %+v", got)
		}
		s.wantTold(evidence.EventStuck)
	})
	got := s.runCustodian()
	if got.Outcome != countersign.Completed || got.Log == nil || got.Log.Checkpoint != "the checkpoint" {
		t.Errorf("the ending is %+v", got)
	}
	s.wantTold(evidence.EventStuck, evidence.EventReleased)
	if told := s.notes[len(s.notes)-1].Event; told.Checkpoint != "the checkpoint" {
		t.Errorf("told was %+v", told)
	}
	if e := s.entries[0]; e.Kind != translog.Sealed || e.Outcome != countersign.Completed || e.Request != "PO-1" || e.Bundle == nil || *e.Bundle != got.Evidence.Object || e.Context != completed().Context {
		t.Errorf("the entry is %+v", e)
	}
}

func TestN04_AVoidedSigningIsInTheLogAsVoided(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	late := completed()
	late.Signature.At = start.Add(-2 * time.Hour)
	s.ends(late, nil)
	s.runCustodian()
	if e := s.entries[0]; len(s.entries) != 1 || e.Kind != translog.Voided || e.Outcome != countersign.Voided {
		t.Errorf("the entries are %+v", s.entries)
	}
}

func TestN04_ACustodyOfAnOlderBuildReplaysWithoutALog(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env.OnGetVersion("endings-are-logged", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	s.ends(completed(), nil)
	s.runCustodian()
	s.wantEnded("Seal", "Lock", "Notify")
}
