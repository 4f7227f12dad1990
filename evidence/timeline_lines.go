package evidence

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
)

type timelineWriter struct {
	t         *Timeline
	c         *Case
	scheduled map[int64]*historypb.ActivityTaskScheduledEventAttributes
}

func (w *timelineWriter) line(l TimelineLine) { w.t.Lines = append(w.t.Lines, l) }

func (w *timelineWriter) event(e *historypb.HistoryEvent) error {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		// The server stamped this event with the custodian's worker, which requested nothing.
		l := TimelineLine{Kind: KindRequested, Actor: notRecorded, Detail: w.t.Title}
		if a := w.c.Admission; a != nil && !a.Requester.Actor.IsZero() {
			l.Actor = a.Requester.Actor.String()
		}
		w.line(l)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		w.signal(e)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		a := e.GetActivityTaskScheduledEventAttributes()
		w.scheduled[e.GetEventId()] = a
		if a.GetActivityType().GetName() == ActivityNotify {
			return w.telling(a.GetInput())
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		// The server writes this event once the step has ended, with how often it was begun.
		if a := e.GetActivityTaskStartedEventAttributes(); a.GetAttempt() > 1 {
			w.line(TimelineLine{
				Kind: KindStepRetried, Detail: w.scheduled[a.GetScheduledEventId()].GetActivityType().GetName(), Attempt: a.GetAttempt(), Code: failureOf(a.GetLastFailure()),
				Reason: clipped(a.GetLastFailure().GetMessage()),
			})
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		a := e.GetWorkflowTaskFailedEventAttributes()
		w.line(TimelineLine{Kind: KindStepFailed, Detail: workflowTask, Code: a.GetCause().String(), Reason: clipped(a.GetFailure().GetMessage())})
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		w.line(TimelineLine{Kind: KindStepFailed, Detail: workflowTask, Code: "timed out"})
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := e.GetStartChildWorkflowExecutionFailedEventAttributes()
		w.line(TimelineLine{Kind: KindStepFailed, Detail: a.GetWorkflowType().GetName(), Code: a.GetCause().String()})
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		a := e.GetActivityTaskCompletedEventAttributes()
		return w.complete(a.GetScheduledEventId(), a.GetResult())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		a := e.GetActivityTaskFailedEventAttributes()
		w.failed(a.GetScheduledEventId(), failureOf(a.GetFailure()), a.GetFailure().GetMessage())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		a := e.GetActivityTaskTimedOutEventAttributes()
		w.failed(a.GetScheduledEventId(), "timed out", a.GetFailure().GetMessage())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		if a := e.GetChildWorkflowExecutionStartedEventAttributes(); a.GetWorkflowType().GetName() == countersign.WorkflowReview {
			w.line(TimelineLine{Kind: KindReviewOpened, Detail: a.GetWorkflowExecution().GetWorkflowId()})
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		w.line(TimelineLine{Kind: KindCancelled, Actor: e.GetPrincipal().GetName()})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		w.line(TimelineLine{Kind: KindEnded, Detail: strings.TrimSuffix(string(w.c.Result.Outcome)+": "+w.c.Result.Detail, ": ")})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		w.line(TimelineLine{Kind: KindEnded, Actor: w.c.ClosedBy, Detail: w.c.Closing})
	}
	return nil
}

func (w *timelineWriter) signal(e *historypb.HistoryEvent) {
	sender := e.GetPrincipal().GetName()
	switch e.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() {
	case countersign.SignalDecide:
		l := TimelineLine{Kind: KindDecisionReceived, Actor: sender}
		i := slices.IndexFunc(w.c.Decisions, func(d DecisionCase) bool { return d.Event == e.GetEventId() })
		switch d := w.c.Decisions[i]; {
		case d.Input.Ordinal == 0:
			l.Code, l.Detail = "not-looked-at", "it repeated a decision that counted, came after the end, or beyond what one saga looks at"
		case d.Check == nil:
			l.Code, l.Detail = "not-checked", "the saga ended before this decision was checked"
		}
		w.line(l)
	case countersign.SignalWithdraw:
		w.line(TimelineLine{Kind: KindWithdrawalReceived, Actor: sender})
	}
}

// tellings are the kinds of messages that have a word of their own.
var tellings = map[string]string{EventApprovalRequested: KindAsked, EventApprovalReminder: KindReminded, EventApprovalEscalated: KindEscalated}

func (w *timelineWriter) telling(input *commonpb.Payloads) error {
	var in NotifyInput
	if err := decode(input, &in); err != nil {
		return err
	}
	l := TimelineLine{Kind: tellings[in.Event.Type], Stage: in.Event.Stage, Detail: in.Event.Type}
	if l.Kind == "" {
		l.Kind = KindTelling
	}
	for _, who := range in.To {
		l.To = append(l.To, who.String())
	}
	if in.Owner {
		l.To = append(l.To, "owner")
	}
	w.line(l)
	return nil
}

func (w *timelineWriter) failed(scheduled int64, code, why string) {
	w.line(TimelineLine{Kind: KindStepFailed, Detail: w.scheduled[scheduled].GetActivityType().GetName(), Code: code, Reason: clipped(why)})
}

// workflowTask is the step in which a worker decides what comes next.
const workflowTask = "workflow task"

// failureOf is the kind of a failure, in a word.
func failureOf(f *failurepb.Failure) string {
	switch {
	case f == nil:
		return notRecorded
	case f.GetTimeoutFailureInfo() != nil:
		return "timed out"
	}
	return cmp.Or(f.GetApplicationFailureInfo().GetType(), "failed")
}

// clipped keeps a failure's message as long as a line can bear: all of it is in the history.
func clipped(message string) string {
	if runes := []rune(message); len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return message
}

func (w *timelineWriter) complete(scheduled int64, result *commonpb.Payloads) error {
	switch w.scheduled[scheduled].GetActivityType().GetName() {
	case ActivityAdmit:
		w.admitted(w.c.Admission)
	case ActivityCheckDecision:
		var check Check
		if err := decode(result, &check); err != nil {
			return err
		}
		var in CheckInput
		if err := decode(w.scheduled[scheduled].GetInput(), &in); err != nil {
			return err
		}
		w.decided(in, check)
	case ActivityCheckWithdrawal:
		var x Withdrawn
		if err := decode(result, &x); err != nil {
			return err
		}
		l := TimelineLine{Kind: KindWithdrawn, Actor: x.Sender, Reason: x.Reason}
		if x.Answer != nil {
			l.Policies, l.Set = x.Answer.Policies, x.Answer.Set
		}
		if x.Refusal != nil {
			l.Kind = KindWithdrawalRefused
		}
		w.refused(l, x.Refusal)
	case ActivityIntend:
		w.line(TimelineLine{Kind: KindIntentLocked, Detail: w.c.Intent.Key})
	case ActivitySign:
		s := w.c.Signature
		if s.Refusal != nil {
			w.refused(TimelineLine{Kind: KindSigningRefused}, s.Refusal)
			break
		}
		w.line(TimelineLine{Kind: KindSigned, Detail: s.Key + ", time-stamped " + s.At.UTC().Format(millis)})
	case ActivityWithhold:
		w.line(TimelineLine{Kind: KindDestroyed})
	case ActivityNotify:
		var all []Delivery
		if err := decode(result, &all); err != nil {
			return err
		}
		for _, d := range all {
			l := TimelineLine{Kind: KindTold, To: []string{d.Recipient}, Detail: d.Event}
			if !d.Delivered {
				l.Kind, l.Detail = KindBounced, fmt.Sprintf("%s, after %d attempts: %s", d.Event, d.Attempts, d.Problem)
			}
			w.line(l)
		}
	}
	return nil
}

// refused adds a line with the refusal that it tells, if there is one.
func (w *timelineWriter) refused(l TimelineLine, r *countersign.Refusal) {
	if r != nil {
		l.Code, l.Detail = r.Code, r.Message
	}
	w.line(l)
}

func (w *timelineWriter) admitted(a *Admission) {
	l := TimelineLine{Kind: KindAdmitted}
	if !a.Requester.Actor.IsZero() {
		l.Actor = a.Requester.Actor.String()
	}
	if a.Answer != nil {
		l.Policies, l.Set = a.Answer.Policies, a.Answer.Set
	}
	if a.Refusal != nil {
		l.Kind = KindRefusedAtIntake
	}
	w.refused(l, a.Refusal)
}

// decided tells what became of a decision, as of who sent it: whom a refused one names is what it claimed.
func (w *timelineWriter) decided(in CheckInput, check Check) {
	r := check.Record
	l := TimelineLine{Kind: KindDecisionCounted, Actor: check.Sender, Stage: r.Stage, Verdict: r.Verdict}
	switch {
	case r.Refusal != nil:
		l.Kind = KindDecisionRefused
	case r.Verdict == countersign.Skip:
		l.Kind = KindGlassBroken
	}
	if signed, err := countersign.ParseSignedDecision(in.Signed); err == nil {
		l.Reason = signed.Decision.Reason
	}
	if f := check.Facts; f != nil {
		l.Proof = &TimelineProof{Assurance: f.Assurance, Issuer: f.Actor.Issuer, IssuerKey: keyID(f.Key), AuthTime: f.AuthTime.UTC().Format(time.RFC3339)}
		if f.EnrolledKey != nil {
			l.Proof.Key = f.EnrolledKey.Key
		}
		if at, authority, ok := stampedAt(check.Stamp); ok {
			l.Proof.Stamped, l.Proof.Authority = at.UTC().Format(millis), authority
		}
	}
	if check.Authority != nil && len(check.Authority.Grants) > 0 {
		holder := check.Authority.named(check.Authority.Delegators()[0])
		l.OnBehalfOf = &holder
	}
	if check.Answer != nil {
		l.Policies, l.Set = check.Answer.Policies, check.Answer.Set
	}
	w.refused(l, r.Refusal)
}

// keyID is the id of an issuer's key as the issuer published it.
func keyID(raw json.RawMessage) string {
	var key struct {
		ID string `json:"kid"`
	}
	if json.Unmarshal(raw, &key) != nil || key.ID == "" {
		return notRecorded
	}
	return key.ID
}
