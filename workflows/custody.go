package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// RequestSigning is the custodian of one request, and what a procurement system starts. It runs the saga as its child,
// outlives it however it ends, and turns its whole history into locked evidence. Only then is a signature released: a saga cannot
// export its own closing event, and a terminated one exports nothing.
//
// It takes its input as it came, and reads it once it can be asked: what is no request fails, and still answers what is wrong with it.
func RequestSigning(ctx workflow.Context, input converter.RawValue) (evidence.Ending, error) {
	c, err := newCustody(ctx, input)
	if err != nil {
		return evidence.Ending{}, err
	}
	return c.run(ctx)
}

// custody is the state of a custodian.
type custody struct {
	request countersign.Request
	self    evidence.Execution
	saga    evidence.Execution
	result  evidence.SagaResult
	silent  bool   // the saga left no result, and told nobody
	state   string // saga, sealing, locking, voiding, done, or StateNotASigning
	locked  *evidence.Locked
	index   *evidence.IndexRecord // what the index will say of what is locked
	logged  *translog.Proof       // that the ending is in the log

	// How it ended, as far as that is settled: the saga's own outcome, but completed only once that is what is locked.
	outcome countersign.Outcome
	detail  string
	problem string // what it can't do and tries again, for a person to mend
	cried   bool   // everybody was told of a problem
	late    string // of a recovery: why what was signed is not released
}

// StateNotASigning is the state of a custodian that was started wrongly: there is no saga, and its detail says why.
const StateNotASigning = "not-a-signing"

func newCustody(ctx workflow.Context, input converter.RawValue) (*custody, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	c := &custody{self: evidence.Execution{Workflow: info.ID, Run: info.RunID}, state: "saga"}
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, c.status); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	if err := c.read(input.Payload()); err != nil {
		return nil, c.notASigning("BadRequest", err.Error())
	}
	return c, nil
}

// read reads the request. Only what would give the child a wrong name stops here: everything else is refused by intake, with evidence.
func (c *custody) read(input *commonpb.Payload) error {
	if encoding := string(input.GetMetadata()[converter.MetadataEncoding]); encoding != converter.MetadataEncodingJSON {
		return fmt.Errorf("the input must be one request as JSON (%s), not %q", converter.MetadataEncodingJSON, encoding)
	}
	if err := json.Unmarshal(input.GetData(), &c.request); err != nil {
		return fmt.Errorf("the input is not a request: %w", err)
	}
	if err := countersign.CheckTenantID(c.request.Tenant); err != nil {
		return err
	}
	if err := countersign.CheckRequestID(c.request.ID); err != nil {
		return err
	}
	if want := countersign.CustodianID(c.request.Tenant, c.request.ID); c.self.Workflow != want {
		return fmt.Errorf("the workflow id must be %q for this request", want)
	}
	return nil
}

func (c *custody) notASigning(kind, why string) error {
	c.state, c.detail = StateNotASigning, why
	return temporal.NewNonRetryableApplicationError(why, kind, nil)
}

// run is the procedure: run the saga, then keep what became of it.
func (c *custody) run(ctx workflow.Context) (evidence.Ending, error) {
	if err := c.notEarlier(ctx); err != nil {
		return evidence.Ending{}, err
	}
	outcome, detail := c.runSaga(ctx)
	if c.saga.Run == "" {
		return evidence.Ending{}, c.notASigning("NoSaga", detail)
	}
	// Custody does not end because somebody cancels it.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return c.keep(ctx, outcome, detail)
}

// keep turns an ended saga into locked evidence: seal, lock, release. What was signed but can't be locked in time is voided.
func (c *custody) keep(ctx workflow.Context, outcome countersign.Outcome, detail string) (evidence.Ending, error) {
	if outcome != countersign.Completed && outcome != countersign.Voided {
		c.outcome, c.detail = outcome, detail
	}
	locked, err := c.archive(ctx, outcome, detail, aWhile)
	why := c.late
	if err != nil && outcome == countersign.Completed {
		c.state, why = "voiding", reason(err)
		outcome, detail = countersign.Voided, evidence.DetailVoided
		locked, err = c.archive(ctx, outcome, detail, aWhile)
	}
	if err != nil {
		if locked, err = c.archiveInTheEnd(ctx, outcome, detail, err); err != nil {
			return evidence.Ending{}, err
		}
	}
	// What is locked in the end is how it ended: an earlier attempt may have got its lock after all.
	switch {
	case outcome == countersign.Voided && locked.Outcome == countersign.Voided:
		detail += ": " + why
	case outcome == countersign.Voided:
		outcome, detail = countersign.Completed, ""
	}
	c.outcome, c.detail = outcome, detail
	// After the lock, because an attempt whose worker was lost may still store a signature for a moment.
	if mayHaveSigned(outcome) {
		if err := c.withholdInTheEnd(ctx); err != nil {
			return evidence.Ending{}, err
		}
	}
	if err := c.logInTheEnd(ctx, locked); err != nil {
		return evidence.Ending{}, err
	}
	if outcome == countersign.Voided {
		c.tell(ctx, evidence.EventVoided, outcome, detail, &locked.Object)
	}
	c.locked, c.state = &locked, "done"
	if outcome == countersign.Completed {
		c.tell(ctx, evidence.EventReleased, outcome, detail, &locked.Object)
	}
	if c.silent && workflow.GetVersion(ctx, "custody-tells-for-the-saga", workflow.DefaultVersion, 1) > workflow.DefaultVersion {
		c.tell(ctx, evidence.EventEnded, outcome, detail, &locked.Object)
	}
	return evidence.Ending{Outcome: outcome, Meaning: outcome.Meaning(), Detail: detail, Context: c.result.Context, Evidence: locked, Log: c.logged}, nil
}

// notEarlier ends a request whose id an earlier signing has, of which the server knows nothing any more: its evidence holds the place, so neither a signature nor a
// refusal could be locked there.
func (c *custody) notEarlier(ctx workflow.Context) error {
	if workflow.GetVersion(ctx, "a-request-is-signed-once", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	var earlier evidence.Earlier
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, stubborn), evidence.ActivityFindEarlier, c.request.ID).Get(ctx, &earlier); err != nil {
		return c.notASigning("NoSaga", "whether this request id was used before could not be found out: "+reason(err))
	}
	if earlier.Key == "" {
		return nil
	}
	return c.notASigning("RequestTaken", "an earlier signing has this request id ("+earlier.Key+" is locked), and nothing is signed twice")
}

// mayHaveSigned says that a signature may be left that will not be released. A saga that was ended from outside could not undo its own steps.
func mayHaveSigned(outcome countersign.Outcome) bool {
	return outcome == countersign.Voided || outcome == countersign.Terminated || outcome == countersign.Failed
}

// runSaga runs the saga to its end, whichever that is.
func (c *custody) runSaga(ctx workflow.Context) (countersign.Outcome, string) {
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            countersign.SagaID(c.request.Tenant, c.request.ID),
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		WaitForCancellation:   true,
		TaskQueue:             countersign.TaskQueueSigning,
	}), countersign.WorkflowSigning, evidence.SagaInput{Request: c.request, Custodian: c.self})

	var started workflow.Execution
	if err := child.GetChildWorkflowExecution().Get(ctx, &started); err != nil {
		return countersign.Failed, "the saga could not be started: " + reason(err)
	}
	c.saga = evidence.Execution{Workflow: started.ID, Run: started.RunID}

	err := child.Get(ctx, &c.result)
	var terminated *temporal.TerminatedError
	switch {
	case err == nil:
		return c.result.Outcome, c.result.Detail
	case errors.As(err, &terminated):
		c.silent = true
		return countersign.Terminated, evidence.DetailTerminated
	}
	c.silent = true
	workflow.GetLogger(ctx).Error("the saga ended without a result", "problem", reason(err))
	return countersign.Failed, evidence.DetailBroken
}

// How long something is tried before everybody is told that a person has to mend it, and in which rounds it is tried from then on.
const (
	aWhile       = time.Hour
	aDay         = 24 * time.Hour
	shortPause   = time.Minute
	longestPause = 6 * time.Hour // keeps the history of years short enough
)

// archive seals the evidence and locks it. A completed signing has until its release deadline; for any other ending, sealing and locking are
// each tried for a time.
func (c *custody) archive(ctx workflow.Context, outcome countersign.Outcome, detail string, within time.Duration) (evidence.Locked, error) {
	var sealed evidence.Sealed
	var locked evidence.Locked
	how := workflow.ActivityOptions{StartToCloseTimeout: 5 * time.Minute, HeartbeatTimeout: noticed, RetryPolicy: retries(time.Minute), ScheduleToCloseTimeout: within}
	if outcome == countersign.Completed {
		if how.ScheduleToCloseTimeout = c.untilRelease(ctx); how.ScheduleToCloseTimeout <= 0 {
			return locked, errTooLate
		}
	}
	in := evidence.SealInput{Request: c.request, Saga: c.saga, Custodian: c.self, Outcome: outcome, Detail: detail, Signature: c.result.Signature}
	if outcome != countersign.Completed {
		in.Signature = nil
	}
	if outcome != countersign.Voided {
		c.state = "sealing"
	}
	how.TaskQueue = countersign.TaskQueueKeys
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivitySeal, in).Get(ctx, &sealed); err != nil {
		return locked, err
	}
	if c.silent {
		c.result.Context, c.result.Told = sealed.Context, sealed.Told
	}
	if outcome == countersign.Completed {
		if how.ScheduleToCloseTimeout = c.untilRelease(ctx); how.ScheduleToCloseTimeout <= 0 {
			return locked, errTooLate
		}
		c.state = "locking"
	}
	how.TaskQueue = countersign.TaskQueueSigning
	var read evidence.LockedAndRead
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityLock, sealed).Get(ctx, &read)
	c.index = read.Index
	return read.Locked, err
}

var errTooLate = errors.New("its release deadline has passed")

// untilRelease is how long a signature may still wait for its lock.
func (c *custody) untilRelease(ctx workflow.Context) time.Duration {
	left := time.Duration(c.result.ReleaseWithin)
	if c.result.Signature != nil {
		left = c.result.Signature.At.Add(time.Duration(c.result.ReleaseWithin)).Sub(workflow.Now(ctx))
	}
	return left
}

// archiveInTheEnd goes on with evidence that could not be locked, until it is. What may have been signed is destroyed before that, because nobody
// knows how long it takes.
func (c *custody) archiveInTheEnd(ctx workflow.Context, outcome countersign.Outcome, detail string, failed error) (locked evidence.Locked, err error) {
	withheld := !mayHaveSigned(outcome)
	err = c.insist(ctx, "the evidence can't be locked", failed, func() error {
		if !withheld {
			withheld = c.withhold(ctx, aWhile) == nil
		}
		locked, err = c.archive(ctx, outcome, detail, aDay)
		return err
	})
	return locked, err
}

// withholdInTheEnd destroys what was signed and will not be released. It goes on until nothing of it is left.
func (c *custody) withholdInTheEnd(ctx workflow.Context) error {
	if err := c.withhold(ctx, aWhile); err != nil {
		return c.insist(ctx, "the withheld signature can't be destroyed", err, func() error { return c.withhold(ctx, aDay) })
	}
	return nil
}

func (c *custody) withhold(ctx workflow.Context, within time.Duration) error {
	how := stubborn
	how.ScheduleToCloseTimeout = within
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityWithhold, c.request.ID).Get(ctx, nil)
}

// logInTheEnd puts the ending into the tenant's log, and its record into the index, before anything is released. It goes on until it is there.
func (c *custody) logInTheEnd(ctx workflow.Context, locked evidence.Locked) error {
	if workflow.GetVersion(ctx, "endings-are-logged", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	if err := c.log(ctx, locked, aWhile); err != nil {
		return c.insist(ctx, "the ending can't be put into the log", err, func() error { return c.log(ctx, locked, aDay) })
	}
	return nil
}

func (c *custody) log(ctx workflow.Context, locked evidence.Locked, within time.Duration) error {
	how := stubborn
	how.ScheduleToCloseTimeout = within
	in := evidence.LogInput{Entry: evidence.EndingEntry(c.request, c.saga, c.result.Context, locked), Index: c.index}
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, how), evidence.ActivityAppendLog, in).Get(ctx, &c.logged)
}

// insist goes on with what failed until it works: custody never ends with evidence that is not locked, or with a signature left. Everybody is told
// once, because a person has to mend what is broken; the status says what it is, as long as it is. The error is that of custodians of older builds, which
// ended there.
func (c *custody) insist(ctx workflow.Context, what string, failed error, again func() error) error {
	if workflow.GetVersion(ctx, "custody-insists", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return failed
	}
	c.problem = what + ": " + reason(failed)
	if !c.cried {
		c.cried = true
		c.tell(ctx, evidence.EventStuck, "", c.problem, nil)
	}
	for pause := shortPause; ; pause = min(2*pause, longestPause) {
		if failed = again(); failed == nil {
			c.problem = ""
			return nil
		}
		c.problem = what + ": " + reason(failed)
		if err := workflow.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// tell tells everybody who took part. It never stops the custodian.
func (c *custody) tell(ctx workflow.Context, kind string, outcome countersign.Outcome, detail string, locked *countersign.Object) {
	in := evidence.NotifyInput{
		ID: c.self.Run + "-" + kind, To: c.result.Told, Owner: true,
		Event: evidence.Event{
			Type: kind, Tenant: c.request.Tenant, Request: c.request.ID, Title: c.request.Title, Context: c.result.Context,
			Outcome: outcome, Detail: detail, Evidence: locked,
		},
	}
	if c.logged != nil {
		in.Event.Checkpoint = c.logged.Checkpoint
	}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, messages), evidence.ActivityNotify, in).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("couldn't tell everybody", "event", kind, "problem", reason(err))
	}
}

// CustodyStatus is the answer to the custodian's status query.
type CustodyStatus struct {
	State    string              `json:"state"`
	Saga     evidence.Execution  `json:"saga"`
	Outcome  countersign.Outcome `json:"outcome,omitempty"` // absent where it can still change: completed and voided are settled by the lock
	Detail   string              `json:"detail,omitempty"`
	Problem  string              `json:"problem,omitempty"` // what a person has to mend, so that it can go on
	Evidence *evidence.Locked    `json:"evidence,omitempty"`
	Log      *translog.Proof     `json:"log,omitempty"` // that the ending is in the tenant's log; absent until it is
}

func (c *custody) status() (CustodyStatus, error) {
	return CustodyStatus{State: c.state, Saga: c.saga, Outcome: c.outcome, Detail: c.detail, Problem: c.problem, Evidence: c.locked, Log: c.logged}, nil
}
