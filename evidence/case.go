package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// Case is what the history of a saga says, read without believing anything else.
type Case struct {
	Saga        Execution
	Input       SagaInput
	Admit       *AdmitInput // what intake was asked; nil where it wasn't
	Admission   *Admission
	Decisions   []DecisionCase
	Withdrawals []Withdrawn
	withdrew    []int64        // events of the withdraw signals, in order
	withdraws   []withdrawCase // in the order in which their checks were asked for
	Intent      *Intent
	asked       []SignInput     // of each Intend, as of then
	entries     []LogInput      // of each AppendLog
	messages    []*messageCase  // in the order in which they were asked for
	steps       map[string]span // when the activities that are done once were asked for, and ended
	Cancelled   bool            // an operator asked it to end
	Logged      *translog.Proof // that the intent is in the tenant's log; nil in histories of builds without one
	SignInput   *SignInput
	Intended    int64 // event that ended the last Intend
	LoggedAs    int64 // event that ended the last AppendLog
	SignAsked   int64 // event that scheduled Sign
	Signature   *Signature
	Review      string              // workflow id of the review that was opened; empty where everybody was waited for
	Asked       []countersign.Actor // everybody to whom a message was to go, each once
	Deliveries  []Delivery
	Result      *SagaResult // nil where the saga did not end by itself
	Closing     string      // completed, terminated, failed, canceled or timed out
	ClosedBy    string      // principal of the closing event
	Started     time.Time
	Closed      time.Time
}

// DecisionCase is one decide signal, with what the saga made of it.
type DecisionCase struct {
	Event   int64     // id of the signal's event in the history
	At      time.Time // when the server took the signal
	Sender  string    // principal that the server stamped on it
	Input   CheckInput
	Check   *Check    // nil where the check never ended
	Began   time.Time // when the last attempt of the check began
	Ended   time.Time // when the check ended
	EndedAs int64     // id of the event that ended it
	number  int       // the how-manieth decide signal, from 1
	payload []byte    // as it came
}

// Names of the activities, as the history has them.
const (
	ActivityAdmit           = "Admit"
	ActivityCheckDecision   = "CheckDecision"
	ActivityCheckWithdrawal = "CheckWithdrawal"
	ActivityIntend          = "Intend"
	ActivitySign            = "Sign"
	ActivityWithhold        = "Withhold"
	ActivityNotify          = "Notify"
	ActivitySeal            = "Seal"
	ActivityLock            = "Lock"
	ActivityAppendLog       = "AppendLog"
)

// ErrorKeyUnusable is the type of the error of a key that is disabled, deleted or of the wrong kind: asking again at once is no use.
const ErrorKeyUnusable = "KeyUnusable"

// NotifyAttempts is how often a message is tried. On the last attempt, what still fails is a result, not an error: a dead
// recipient never stops a signing, and the evidence shows it.
const NotifyAttempts = 4

// Bounds on a history that comes from outside.
const (
	maxHistory = 64 << 20
	maxEvents  = 60_000
)

// ParseHistory reads the protobuf bytes of a history.
func ParseHistory(raw []byte) (*historypb.History, error) {
	if len(raw) > maxHistory {
		return nil, fmt.Errorf("couldn't read the history: it has %d bytes, at most %d", len(raw), maxHistory)
	}
	h := &historypb.History{}
	if err := proto.Unmarshal(raw, h); err != nil {
		return nil, fmt.Errorf("couldn't read the history: %w", err)
	}
	return h, nil
}

// ParseHistoryJSON reads a history in the form that Temporal's own tools write. It accepts nothing that they would not.
func ParseHistoryJSON(raw []byte) (*historypb.History, error) {
	if len(raw) > 4*maxHistory {
		return nil, fmt.Errorf("couldn't read the history: it has %d bytes, at most %d", len(raw), 4*maxHistory)
	}
	h := &historypb.History{}
	if err := (temporalproto.CustomJSONUnmarshalOptions{}).Unmarshal(raw, h); err != nil {
		return nil, fmt.Errorf("couldn't read the history as JSON: %w", err)
	}
	return h, nil
}

// ReadBundle reads what the history in a container says, and believes it: whether the container is genuine is for Verify to find out.
func ReadBundle(raw []byte) (*Case, error) {
	b, err := OpenBundle(raw)
	if err != nil {
		return nil, err
	}
	pb, ok := b.File(historyFile)
	if !ok {
		return nil, fmt.Errorf("it has no %s", historyFile)
	}
	h, err := ParseHistory(pb)
	if err != nil {
		return nil, err
	}
	return ReadHistory(h)
}

// ReadHistory reads a whole, closed history of a saga. What it finds is what the events say; whether that is true is for
// Verify and Replay to find out.
func ReadHistory(h *historypb.History) (*Case, error) {
	if n := len(h.GetEvents()); n == 0 || n > maxEvents {
		return nil, fmt.Errorf("couldn't read the history: it has %d events", n)
	}
	r := &caseReader{c: &Case{steps: map[string]span{}}, scheduled: map[int64]*historypb.ActivityTaskScheduledEventAttributes{}, askedAt: map[int64]time.Time{}, begun: map[int64]int64{}, ended: map[int64]bool{}, checks: map[int64]int{}, ordinals: map[int64]int{}}
	for i, e := range h.Events {
		if e.GetEventId() != int64(i)+1 {
			return nil, fmt.Errorf("couldn't read the history: event %d stands at place %d", e.GetEventId(), i+1)
		}
		if starts := e.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED; starts != (i == 0) {
			return nil, errors.New("couldn't read the history: its first event, and no other, has to start the workflow")
		}
		if r.c.Closing != "" {
			return nil, fmt.Errorf("couldn't read the history: it goes on with event %d after it was closed", e.GetEventId())
		}
		if err := r.event(e); err != nil {
			return nil, fmt.Errorf("couldn't read event %d (%s): %w", e.GetEventId(), e.GetEventType(), err)
		}
	}
	if r.c.Closing == "" {
		return nil, errors.New("couldn't read the history: its last event doesn't close it, so it may be cut")
	}
	if err := r.waited(); err != nil {
		return nil, err
	}
	for _, s := range r.signals {
		if !s.looked {
			r.c.Decisions = append(r.c.Decisions, s.DecisionCase)
		}
	}
	return r.c, nil
}

type caseReader struct {
	c         *Case
	scheduled map[int64]*historypb.ActivityTaskScheduledEventAttributes
	askedAt   map[int64]time.Time // when those were scheduled
	begun     map[int64]int64     // the events that started them
	ended     map[int64]bool      // which of those are over
	signals   []*decideSignal     // in order
	withdrew  []withdrawSignal    // in order
	checks    map[int64]int       // scheduled event of a CheckDecision → place in c.Decisions
	ordinals  map[int64]int       // scheduled event of a CheckWithdrawal → which withdraw signal
}

// decideSignal is one decide signal, and whether the saga looked at it.
type decideSignal struct {
	DecisionCase
	looked bool
}

func (r *caseReader) event(e *historypb.HistoryEvent) error {
	c := r.c
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		a := e.GetWorkflowExecutionStartedEventAttributes()
		if a.GetWorkflowType().GetName() != countersign.WorkflowSigning {
			return fmt.Errorf("this is the history of a %q, not of a %s", a.GetWorkflowType().GetName(), countersign.WorkflowSigning)
		}
		c.Saga, c.Started = Execution{Workflow: a.GetWorkflowId(), Run: a.GetOriginalExecutionRunId()}, e.GetEventTime().AsTime()
		return decode(a.GetInput(), &c.Input)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		c.Cancelled = true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		a, sender := e.GetWorkflowExecutionSignaledEventAttributes(), e.GetPrincipal().GetName()
		switch a.GetSignalName() {
		case countersign.SignalDecide:
			s := &decideSignal{DecisionCase: DecisionCase{Event: e.GetEventId(), At: e.GetEventTime().AsTime(), Sender: sender, number: len(r.signals) + 1}}
			if p := a.GetInput().GetPayloads(); len(p) > 0 {
				s.payload = p[0].GetData()
			}
			r.signals = append(r.signals, s)
		case countersign.SignalWithdraw:
			c.withdrew = append(c.withdrew, e.GetEventId())
			r.withdrew = append(r.withdrew, withdrawSignal{sender, e.GetEventTime().AsTime(), a.GetInput()})
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		return r.schedule(e)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		if a := e.GetChildWorkflowExecutionStartedEventAttributes(); a.GetWorkflowType().GetName() == countersign.WorkflowReview && c.SignInput == nil {
			c.Review = a.GetWorkflowExecution().GetWorkflowId()
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		if err := r.began(e); err != nil {
			return err
		}
		if i, ok := r.checks[e.GetActivityTaskStartedEventAttributes().GetScheduledEventId()]; ok {
			c.Decisions[i].Began = e.GetEventTime().AsTime()
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		return r.over(e)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		if err := r.over(e); err != nil {
			return err
		}
		a := e.GetActivityTaskCompletedEventAttributes()
		if i, ok := r.checks[a.GetScheduledEventId()]; ok {
			c.Decisions[i].Ended, c.Decisions[i].EndedAs = e.GetEventTime().AsTime(), e.GetEventId()
		}
		return r.complete(e.GetEventId(), a.GetScheduledEventId(), e.GetEventTime().AsTime(), a.GetResult())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		c.Result = &SagaResult{}
		r.close("completed", e)
		return decode(e.GetWorkflowExecutionCompletedEventAttributes().GetResult(), c.Result)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		r.close("terminated", e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		r.close("failed", e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		r.close("canceled", e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		r.close("timed out", e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return errors.New("it goes on in another run, so this is not all of it")
	}
	return nil
}

func (r *caseReader) close(how string, e *historypb.HistoryEvent) {
	r.c.Closing, r.c.Closed, r.c.ClosedBy = how, e.GetEventTime().AsTime(), e.GetPrincipal().GetName()
}

func (r *caseReader) schedule(e *historypb.HistoryEvent) error {
	a := e.GetActivityTaskScheduledEventAttributes()
	r.scheduled[e.GetEventId()], r.askedAt[e.GetEventId()] = a, e.GetEventTime().AsTime()
	switch a.GetActivityType().GetName() {
	case ActivityCheckDecision:
		var in CheckInput
		if err := decode(a.GetInput(), &in); err != nil {
			return err
		}
		if in.Ordinal < 1 || in.Ordinal > len(r.signals) {
			return fmt.Errorf("it checks decide signal number %d, but only %d came before it", in.Ordinal, len(r.signals))
		}
		s := r.signals[in.Ordinal-1]
		brought := s.payload
		if Unreadable(brought) {
			brought = []byte(NoDecision)
		}
		if s.looked || !sameJSON(in.Signed, brought) {
			return errors.New("it checks something else than the signal brought")
		}
		s.looked, s.Input = true, in
		r.checks[e.GetEventId()] = len(r.c.Decisions)
		r.c.Decisions = append(r.c.Decisions, s.DecisionCase)
	case ActivityCheckWithdrawal:
		var in WithdrawInput
		if err := decode(a.GetInput(), &in); err != nil {
			return err
		}
		if in.Ordinal < 1 || in.Ordinal > len(r.withdrew) {
			return fmt.Errorf("it checks withdraw signal number %d, but only %d came before it", in.Ordinal, len(r.withdrew))
		}
		if slices.ContainsFunc(r.c.withdraws, func(w withdrawCase) bool { return w.input.Ordinal == in.Ordinal }) {
			return fmt.Errorf("it checks withdraw signal number %d a second time", in.Ordinal)
		}
		r.ordinals[e.GetEventId()] = in.Ordinal
		r.c.withdraws = append(r.c.withdraws, withdrawCase{asked: e.GetEventId(), input: in, signal: r.withdrew[in.Ordinal-1]})
		return r.withdrew[in.Ordinal-1].brought(in.Withdrawal)
	case ActivityAdmit:
		if r.c.Admit != nil {
			return errors.New("it asks intake a second time")
		}
		r.c.Admit = &AdmitInput{}
		return decode(a.GetInput(), r.c.Admit)
	case ActivityIntend:
		if len(r.c.asked) > 0 {
			return errors.New("it asks for the intent a second time")
		}
		r.c.asked = append(r.c.asked, SignInput{})
		return decode(a.GetInput(), &r.c.asked[len(r.c.asked)-1])
	case ActivityAppendLog:
		if len(r.c.entries) > 0 {
			return errors.New("it asks for the intent's entry in the log a second time")
		}
		r.c.entries = append(r.c.entries, LogInput{})
		return decode(a.GetInput(), &r.c.entries[len(r.c.entries)-1])
	case ActivitySign:
		if r.c.SignInput != nil {
			return errors.New("it asks the key a second time")
		}
		r.c.SignInput, r.c.SignAsked = &SignInput{}, e.GetEventId()
		return decode(a.GetInput(), r.c.SignInput)
	case ActivityNotify:
		var in NotifyInput
		if err := decode(a.GetInput(), &in); err != nil {
			return err
		}
		r.c.messages = append(r.c.messages, &messageCase{scheduled: e.GetEventId(), asked: e.GetEventTime().AsTime(), input: in})
		for _, actor := range in.To {
			if !slices.Contains(r.c.Asked, actor) {
				r.c.Asked = append(r.c.Asked, actor)
			}
		}
	}
	return nil
}

// TookPart are those who took part so far: who requested, and who was asked.
func (c *Case) TookPart() []countersign.Actor {
	who := slices.Clone(c.Asked)
	if a := c.Admission; a != nil && !a.Requester.Actor.IsZero() && !slices.Contains(who, a.Requester.Actor) {
		who = append(who, a.Requester.Actor)
	}
	return who
}

func (r *caseReader) complete(event, scheduled int64, at time.Time, result *commonpb.Payloads) error {
	a, ok := r.scheduled[scheduled]
	if !ok {
		return fmt.Errorf("it completes an activity (event %d) that was never scheduled", scheduled)
	}
	r.c.steps[a.GetActivityType().GetName()] = span{r.askedAt[scheduled], at}
	switch a.GetActivityType().GetName() {
	case ActivityAdmit:
		if r.c.Admission != nil {
			return errors.New("it admits a second time")
		}
		r.c.Admission = &Admission{}
		return decode(result, r.c.Admission)
	case ActivityCheckDecision:
		check := &Check{}
		r.c.Decisions[r.checks[scheduled]].Check = check
		return decode(result, check)
	case ActivityCheckWithdrawal:
		var w Withdrawn
		if err := decode(result, &w); err != nil {
			return err
		}
		for i := range r.c.withdraws {
			if r.c.withdraws[i].asked == scheduled {
				r.c.withdraws[i].result = &w
			}
		}
		if err := r.withdrew[r.ordinals[scheduled]-1].became(w); err != nil {
			return err
		}
		r.c.Withdrawals = append(r.c.Withdrawals, w)
	case ActivityIntend:
		r.c.Intent, r.c.Intended = &Intent{}, event
		return decode(result, r.c.Intent)
	case ActivityAppendLog:
		r.c.Logged, r.c.LoggedAs = &translog.Proof{}, event
		return decode(result, r.c.Logged)
	case ActivitySign:
		r.c.Signature = &Signature{}
		return decode(result, r.c.Signature)
	case ActivityNotify:
		var d []Delivery
		err := decode(result, &d)
		r.c.Deliveries = append(r.c.Deliveries, d...)
		for _, m := range r.c.messages {
			if m.scheduled == scheduled {
				m.deliveries, m.ended = d, at
			}
		}
		return err
	}
	return nil
}

// NoDecision stands in a check's input for a payload that is no JSON, or too large to be a decision.
const NoDecision = `"not JSON, or too large to be a decision"`

// Unreadable says that a signal's payload is passed on as NoDecision. The saga asks it, and the reader of its history asks it again: what can be
// read can't be set aside as unreadable.
func Unreadable(payload []byte) bool {
	return len(payload) > countersign.MaxSignedDecision || !json.Valid(payload) || deeper(payload, deepest)
}

// deepest is how deep what is sent may be nested. Readers of JSON take 10,000 levels, and what was sent is read inside other values too: a sender who used up
// all of them would have a payload that nobody can pass on. It is no lower because sagas took everything below.
const deepest = 9_990

// deeper says whether JSON, which has to be valid, is nested deeper than that. It counts brackets outside of strings, and reads nothing: workflows ask it.
func deeper(valid []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(valid); i++ {
		switch c := valid[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > most {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// sameJSON says whether two texts are the same JSON but for white space.
func sameJSON(a, b []byte) bool {
	x, err := json.Marshal(json.RawMessage(a))
	if err != nil {
		return false
	}
	y, err := json.Marshal(json.RawMessage(b))
	return err == nil && bytes.Equal(x, y)
}
