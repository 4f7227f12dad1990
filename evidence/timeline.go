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

// Timeline is one signing, line by line, as its history tells it. Whether the history is genuine is for Verify to find out.
type Timeline struct {
	V        int                 `json:"v"`
	Tenant   string              `json:"tenant"`
	Request  string              `json:"request"`
	Purpose  string              `json:"purpose"`
	Title    string              `json:"title"`
	Saga     Execution           `json:"saga"`
	Document countersign.Object  `json:"document"`
	Context  string              `json:"context,omitempty"`
	Policy   string              `json:"policy,omitempty"`  // hash of the frozen policy set
	Outcome  countersign.Outcome `json:"outcome,omitempty"` // as the bundle's statement has it: a signing can be voided after its saga ended
	Meaning  string              `json:"meaning,omitempty"`
	Lines    []TimelineLine      `json:"lines"`
	// Head is the digest of the last line, as Previous is of each line before: without it a cut end would not show.
	Head string `json:"head"`
	// Exposure is who could have decided, beside who did; nil where the signing was not admitted.
	Exposure *Exposure `json:"exposure,omitempty"`
}

// TimelineLine is one thing that happened. Several lines can be of one event of the history.
type TimelineLine struct {
	ID       string `json:"id"`       // of the line: the event's, and which of its lines this is (41.1)
	Sequence int64  `json:"sequence"` // id of the event in the history
	At       string `json:"at"`       // RFC 3339, UTC, with milliseconds: when the Temporal server recorded it
	Kind     string `json:"kind"`
	// Actor is an issuer and a subject (iss#sub), a process as the Temporal server stamped it, or "not recorded".
	Actor        string `json:"actor"`
	Name         string `json:"name,omitempty"`
	Organisation string `json:"organisation,omitempty"`
	OnBehalfOf   *Named `json:"onBehalfOf,omitempty"`
	// Authentication is how the actor was: a proof made for exactly this, a login that the Temporal server checked and stamped, or "not recorded".
	Authentication string              `json:"authentication"`
	Proof          *TimelineProof      `json:"proof,omitempty"`
	To             []string            `json:"to,omitempty"` // who was to be told
	Stage          string              `json:"stage,omitempty"`
	Verdict        countersign.Verdict `json:"verdict,omitempty"`
	Reason         string              `json:"reason,omitempty"`
	Document       string              `json:"document"`           // its SHA-256
	Policies       []string            `json:"policies,omitempty"` // ids of the determining policies
	Set            string              `json:"set,omitempty"`      // hash of the set that answered
	Code           string              `json:"code,omitempty"`     // of a refusal or a failure
	Attempt        int32               `json:"attempt,omitempty"`  // of a step that was tried again: how often it was tried
	Detail         string              `json:"detail,omitempty"`
	IP             string              `json:"ip"`
	UserAgent      string              `json:"userAgent"`
	// Previous is the SHA-256 of the line before it as canonical JSON (RFC 8785), its own Previous in it; of the first, it is the digest of the saga's name.
	Previous string `json:"previous"`
}

// TimelineProof is how somebody was authenticated for exactly this.
type TimelineProof struct {
	Assurance int    `json:"assurance"`
	Issuer    string `json:"issuer"`
	IssuerKey string `json:"issuerKey"`     // id of the issuer's key, or "not recorded"
	Key       string `json:"key,omitempty"` // id of the person's own enrolled key, where it signed as well
	AuthTime  string `json:"authTime"`
	Stamped   string `json:"stamped,omitempty"` // the time-stamp authority's time of the decision
	Authority string `json:"authority,omitempty"`
}

// The kinds of lines.
const (
	KindRequested          = "requested"
	KindAdmitted           = "admitted"
	KindRefusedAtIntake    = "refused at intake"
	KindAsked              = "asked"
	KindReminded           = "reminded"
	KindEscalated          = "escalated"
	KindTelling            = "telling" // any other message on its way
	KindTold               = "told"
	KindBounced            = "bounced"
	KindDecisionReceived   = "decision received"
	KindDecisionCounted    = "decision counted"
	KindDecisionRefused    = "decision refused"
	KindGlassBroken        = "glass broken"
	KindReviewOpened       = "review opened"
	KindWithdrawalReceived = "withdrawal received"
	KindWithdrawn          = "withdrawn"
	KindWithdrawalRefused  = "withdrawal refused"
	KindIntentLocked       = "intent locked"
	KindSigned             = "signed"
	KindSigningRefused     = "signing refused"
	KindDestroyed          = "signature destroyed"
	KindStepFailed         = "step failed"
	KindStepRetried        = "step tried again" // and not for the first time: what the time before failed with
	KindCancelled          = "cancellation asked"
	KindEnded              = "ended"
)

// How an actor of a line was authenticated.
const (
	ByDecision = "an ID token of their own identity provider, made for this decision alone"
	ByKey      = ByDecision + ", and a signature of their own enrolled key"
	ByServer   = "a login that the Temporal server checked, and stamped on the event"
	ByStart    = "a login that the Temporal server checked, and stamped on the start of the request"
)

// notRecorded stands where the history says nothing: nothing is ever made up.
const notRecorded = string(NotRecorded)

// millis is RFC 3339 in UTC, always with milliseconds.
const millis = "2006-01-02T15:04:05.000Z07:00"

// ReadTimeline reads the timeline of the history in a container, and believes it: whether the container is genuine is for Verify to find out.
func ReadTimeline(raw []byte) (*Timeline, error) {
	h, c, outcome, err := readTold(raw)
	if err != nil {
		return nil, err
	}
	return timeline(h, c, outcome)
}

// readTold reads what a container tells: its history, and the outcome that its statement names.
func readTold(raw []byte) (*historypb.History, *Case, countersign.Outcome, error) {
	b, err := OpenBundle(raw)
	if err != nil {
		return nil, nil, "", err
	}
	pb, ok := b.File(historyFile)
	if !ok {
		return nil, nil, "", fmt.Errorf("it has no %s", historyFile)
	}
	h, err := ParseHistory(pb)
	if err != nil {
		return nil, nil, "", err
	}
	c, err := ReadHistory(h)
	if err != nil {
		return nil, nil, "", err
	}
	body, ok := b.File(statementFile)
	if !ok {
		return nil, nil, "", fmt.Errorf("it has no %s", statementFile)
	}
	var s Statement
	if err := countersign.ParseStrict(body, &s); err != nil {
		return nil, nil, "", fmt.Errorf("couldn't read the statement: %w", err)
	}
	return h, c, s.Predicate.Outcome, nil
}

func timeline(h *historypb.History, c *Case, outcome countersign.Outcome) (*Timeline, error) {
	r := c.Input.Request
	t := &Timeline{V: 2, Tenant: r.Tenant, Request: r.ID, Purpose: r.Purpose, Title: r.Title, Saga: c.Saga, Document: r.Document, Outcome: outcome, Meaning: outcome.Meaning(), Lines: []TimelineLine{}}
	if a := c.Admission; a != nil && a.Refusal == nil {
		t.Context, t.Policy = a.Digest, a.Context.Policy
		e := exposure(c, outcome)
		t.Exposure = &e
	}
	w := &timelineWriter{t: t, c: c, scheduled: map[int64]*historypb.ActivityTaskScheduledEventAttributes{}}
	for _, e := range h.GetEvents() {
		before := len(t.Lines)
		if err := w.event(e); err != nil {
			return nil, fmt.Errorf("couldn't tell event %d (%s): %w", e.GetEventId(), e.GetEventType(), err)
		}
		for i := before; i < len(t.Lines); i++ {
			l := &t.Lines[i]
			l.Sequence, l.At = e.GetEventId(), e.GetEventTime().AsTime().UTC().Format(millis)
			source := c.source(e)
			l.IP, l.UserAgent = cmp.Or(source.IP, notRecorded), cmp.Or(source.UserAgent, notRecorded)
			l.Document = r.Document.SHA256
			l.ID = fmt.Sprintf("%d.%d", e.GetEventId(), i-before+1)
			if l.Actor == "" {
				l.Actor = cmp.Or(e.GetPrincipal().GetName(), notRecorded)
			}
			l.Authentication = authentication(l, e)
			who := c.named(l.Actor)
			l.Name, l.Organisation = who.Name, who.Organisation
		}
	}
	return t, t.chain()
}

// authentication says how the actor of a line was authenticated, as far as the history shows it.
func authentication(l *TimelineLine, e *historypb.HistoryEvent) string {
	// A refused decision can hold the proof of somebody else than its sender.
	proven := l.Proof != nil && l.Kind != KindDecisionRefused
	switch {
	case proven && l.Proof.Key != "":
		return ByKey
	case proven:
		return ByDecision
	case l.Actor == notRecorded:
		return notRecorded
	case l.Kind == KindRequested || l.Kind == KindAdmitted || l.Kind == KindRefusedAtIntake:
		return ByStart
	case l.Actor == e.GetPrincipal().GetName() || l.Kind == KindWithdrawn || l.Kind == KindWithdrawalRefused || l.Kind == KindDecisionRefused:
		return ByServer // a check names the sender of its signal, whose own event has the stamp
	}
	return notRecorded
}

// chain links each line to the one before, so that a cut, a changed or a moved line shows.
func (t *Timeline) chain() (err error) {
	if t.Head, err = countersign.Digest("countersign timeline v2", t.Saga); err != nil {
		return err
	}
	for i := range t.Lines {
		t.Lines[i].Previous = t.Head
		body, err := countersign.Canonical(t.Lines[i])
		if err != nil {
			return fmt.Errorf("couldn't link line %d: %w", i+1, err)
		}
		t.Head = countersign.SHA256(body)
	}
	return nil
}

// named is what the frozen plan, intake or a grant called a person; no more than the actor where none of them did.
func (c *Case) named(actor string) Named {
	who, ok := countersign.ParseActor(actor)
	if !ok {
		return Named{}
	}
	named := Named{Actor: who}
	a := c.Admission
	if a == nil {
		return named
	}
	if a.Requester.Actor == who {
		return Named{who, a.Requester.Name, a.Requester.Organisation}
	}
	for _, e := range inPlan(a.Plan) {
		if e.Actor == who {
			return Named{who, e.Name, e.Organisation}
		}
	}
	for _, d := range c.Decisions {
		if d.Check != nil && d.Check.Authority != nil {
			if n := d.Check.Authority.named(who); n.Name != "" {
				return n
			}
		}
	}
	return named
}

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
