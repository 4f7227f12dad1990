package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// signing is the state of a saga.
type signing struct {
	ctx  workflow.Context
	in   evidence.SagaInput
	self evidence.Execution

	admission evidence.Admission
	signature evidence.Signature
	logged    *translog.Proof // that the intent is in the log

	state  string   // intake, approval, signing or ending
	opened []string // the open stages
	over   bool     // nothing counts any more

	tooLate bool // the key is being asked, so nothing can be withdrawn

	decisions []countersign.DecisionRecord
	counted   []evidence.CountedDecision
	decided   []countersign.Actor
	approvals []countersign.Approval
	broke     []evidence.Broke
	rejected  map[string]*countersign.Decision
	closed    map[string]bool
	seen      map[string]bool
	withdrawn *evidence.Withdrawn
	// withdrawals are told by the status alone; the evidence has them from the history
	withdrawals []countersign.WithdrawalRecord
	told        []countersign.Actor

	heard    struct{ decide, withdraw int }
	ignored  int
	checking bool
	asking   int
	messages int

	compensate []func(workflow.Context) error
	records    ledger
}

func newSigning(ctx workflow.Context, in evidence.SagaInput) (*signing, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	s := &signing{
		ctx: ctx, in: in, self: evidence.Execution{Workflow: info.ID, Run: info.RunID},
		rejected: map[string]*countersign.Decision{}, closed: map[string]bool{}, seen: map[string]bool{},
	}
	s.records.add("start", []byte(info.ID))
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, s.status); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	return s, nil
}

// ledger folds everything that a saga saw into one digest.
type ledger struct{ digest [sha256.Size]byte }

func (l *ledger) add(kind string, body []byte) {
	h := sha256.New()
	h.Write(l.digest[:])
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(body)
	h.Sum(l.digest[:0])
}

func (l *ledger) sum() string { return hex.EncodeToString(l.digest[:]) }

// noticed is how soon the death of a worker is noticed.
const noticed = 10 * time.Second

// The ways in which activities are tried.
var (
	// prompt: somebody waits for the answer.
	prompt = workflow.ActivityOptions{
		TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 30 * time.Second, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: 90 * time.Second, RetryPolicy: retries(10 * time.Second),
	}
	// patient: an outside system may be down for a while.
	patient = workflow.ActivityOptions{
		TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 2 * time.Minute, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: time.Hour, RetryPolicy: retries(time.Minute),
	}
	// keys: calls of KMS, on a queue of their own whose rate the server holds. A key that can't be used is not asked again.
	keys = workflow.ActivityOptions{
		WaitForCancellation: true, TaskQueue: countersign.TaskQueueKeys, StartToCloseTimeout: 2 * time.Minute, HeartbeatTimeout: noticed, ScheduleToCloseTimeout: time.Hour,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: time.Minute, NonRetryableErrorTypes: []string{evidence.ErrorKeyUnusable}},
	}
	// logging: the log's key. What waits at the same time shares one call of it, so it needs no rate, and no queue of its own.
	logging = func() workflow.ActivityOptions { how := keys; how.TaskQueue = countersign.TaskQueueSigning; return how }()
	// stubborn: it has to happen, however long it takes.
	stubborn = workflow.ActivityOptions{
		TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: 2 * time.Minute, HeartbeatTimeout: noticed, RetryPolicy: retries(time.Minute),
	}
	// messages: tried a few times, never in the way.
	messages = workflow.ActivityOptions{
		TaskQueue: countersign.TaskQueueSigning, StartToCloseTimeout: time.Minute, HeartbeatTimeout: noticed,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 3, MaximumInterval: 10 * time.Second, MaximumAttempts: evidence.NotifyAttempts},
	}
)

func retries(longest time.Duration) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: longest}
}

// do runs one activity and folds its result, byte for byte, into the records.
func (s *signing) do(ctx workflow.Context, how workflow.ActivityOptions, name string, in, out any) error {
	return s.end(ctx, name, workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), name, in), out)
}

// end waits for an activity that was begun, and folds its result into the records.
func (s *signing) end(ctx workflow.Context, name string, begun workflow.Future, out any) error {
	var raw converter.RawValue
	if err := begun.Get(ctx, &raw); err != nil {
		s.records.add(name+" failed", []byte(reason(err)))
		return err
	}
	s.records.add(name, raw.Payload().GetData())
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw.Payload().GetData(), out); err != nil {
		return fmt.Errorf("couldn't read the result of %s: %w", name, err)
	}
	return nil
}

// tell tells everybody how the saga ended. Where it signed, the evidence is still to be locked, and the custodian tells the rest.
func (s *signing) tell(ctx workflow.Context, e ending) {
	kind := evidence.EventEnded
	if e.outcome == countersign.Completed {
		kind = evidence.EventSigned
	}
	event := s.event(kind)
	event.Outcome, event.Detail = e.outcome, e.detail
	requester := s.admission.Context.Requester
	// Where intake refused, there is no transaction yet; who asked is known all the same.
	if s.admission.Refusal != nil && workflow.GetVersion(ctx, "tell-whom-intake-refused", workflow.DefaultVersion, 1) > workflow.DefaultVersion {
		requester = s.admission.Requester.Actor
	}
	if !requester.IsZero() {
		s.told = append(s.told, requester)
	}
	s.notify(ctx, event, s.told, true)
}

func (s *signing) event(kind string) evidence.Event {
	event := evidence.Event{Type: kind, Tenant: s.in.Request.Tenant, Request: s.in.Request.ID, Title: s.in.Request.Title, Context: s.admission.Digest}
	if s.logged != nil {
		event.Checkpoint = s.logged.Checkpoint
	}
	return event
}

// notify is tried a few times. What could not be delivered is in its result, and so in the evidence; it never stops the saga.
func (s *signing) notify(ctx workflow.Context, event evidence.Event, to []countersign.Actor, owner bool) {
	s.messages++
	in := evidence.NotifyInput{ID: fmt.Sprintf("%s-%d", s.self.Run, s.messages), Event: event, To: to, Owner: owner}
	if err := s.do(ctx, messages, evidence.ActivityNotify, in, nil); err != nil {
		workflow.GetLogger(ctx).Warn("couldn't tell everybody", "event", event.Type, "problem", reason(err))
	}
}

// Status is the answer to the status query.
type Status struct {
	State     string              `json:"state"`
	Stage     string              `json:"stage,omitempty"` // the first of the open ones
	Open      []string            `json:"open,omitempty"`
	Saga      evidence.Execution  `json:"saga"`
	Request   countersign.Request `json:"request"`
	Requester countersign.Actor   `json:"requester"`
	Context   string              `json:"context"`
	// Transaction is what the context is the digest of, so that whoever decides can compute it.
	Transaction countersign.Context            `json:"transaction"`
	Document    countersign.Object             `json:"document"`
	Policy      string                         `json:"policy"`
	Plan        countersign.Plan               `json:"plan"`
	Decisions   []countersign.DecisionRecord   `json:"decisions"`
	Decided     []countersign.Actor            `json:"decided"`
	Withdrawals []countersign.WithdrawalRecord `json:"withdrawals,omitempty"`
	Ignored     int                            `json:"ignored"` // signals that came after the end, or beyond the limit
}

func (s *signing) status() (Status, error) {
	stage := ""
	if len(s.opened) > 0 {
		stage = s.opened[0]
	}
	return Status{
		State: s.state, Stage: stage, Open: s.opened, Saga: s.self, Request: s.in.Request, Requester: s.admission.Context.Requester, Context: s.admission.Digest, Transaction: s.admission.Context,
		Document: s.admission.Context.Document, Policy: s.admission.Context.Policy, Plan: s.admission.Plan,
		Decisions: s.decisions, Decided: s.decided, Withdrawals: s.withdrawals, Ignored: s.ignored,
	}, nil
}
