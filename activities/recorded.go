package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// asker checks that the signing which is asked for is the one that asks, and not another one in its name: the server says who scheduled this.
func asker(ctx context.Context, in evidence.SignInput) *countersign.Refusal {
	saga := activity.GetInfo(ctx).WorkflowExecution
	if saga.ID != in.Context.Signing || saga.RunID != in.Context.Run || in.Context.Signing != countersign.SagaID(in.Context.Tenant, in.Request) {
		return countersign.Refuse("other-signing", "the signature is asked for by another signing than the one that people approved")
	}
	return nil
}

// recorded checks what the signing step is given against what the Temporal server wrote down itself: the saga's admission, and each decision as a
// signal by the person whom it names, taken when it is said to have been. A saga that says anything else is broken or in somebody else's hands: it
// could bring decisions that nobody sent, with an identity provider's key that it made up, or that the policy doesn't allow. Where the glass is
// broken, its review has to be open. And the intent has to be in the tenant's log: see logged.
func (t *Tenant) recorded(ctx context.Context, in evidence.SignInput, current *countersign.Settings, broken bool) (*countersign.Refusal, error) {
	r := newRecord(activity.GetInfo(ctx).ActivityID)
	events := t.temporal.GetWorkflowHistory(ctx, in.Context.Signing, in.Context.Run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
			return countersign.Refuse("other-signing", "the server has no such signing"), nil
		}
		if err == nil {
			err = r.read(event)
		}
		if err != nil {
			return nil, fmt.Errorf("couldn't read the signing's history: %w", err)
		}
	}
	if r.admitted != in.Digest {
		return countersign.Refuse("context-changed", "the transaction is not the one that was admitted"), nil
	}
	if r.intended != t.settings.KMS.ARN {
		// Evidence in which one key was to sign and another one did would not verify.
		return countersign.Refuse("key-changed", "the tenant's key is another one than the locked intent names; the document has to be requested again"), nil
	}
	for _, counted := range in.Decisions {
		if _, sent := r.ordinal(counted); !sent {
			return notSent(counted.Signed.Decision.Actor), nil
		}
		if refusal, err := t.dated(r, in.Context, counted); refusal != nil || err != nil {
			return refusal, err
		}
	}
	if broken && r.review != countersign.ReviewID(in.Context.Tenant, in.Request) {
		return countersign.Refuse("not-reviewed", "the glass was broken, and no review of it was opened"), nil
	}
	if refusal := t.logged(r, in); refusal != nil {
		return refusal, nil
	}
	return t.allowed(r, in, current), nil
}

func notSent(who countersign.Actor) *countersign.Refusal {
	return countersign.Refuse("not-sent", "the server took no such decision from %s at that time", who)
}

// dated checks the decision's time-stamp, where the context says that there is one: the server's word on when it took a decision is not enough.
func (t *Tenant) dated(r record, c countersign.Context, counted evidence.CountedDecision) (*countersign.Refusal, error) {
	if !c.Stamped {
		return nil, nil
	}
	digest, err := counted.Signed.Decision.Digest()
	if err != nil {
		return nil, err
	}
	if _, err := evidence.VerifyStamp(r.stamps[digest], digest, counted.At, time.Now(), t.roots); err != nil {
		return countersign.Refuse("not-dated", "the decision of %s has no time-stamp that fits: %s", counted.Signed.Decision.Actor, err), nil
	}
	return nil, nil
}

// record is what of a saga's history the server vouches for, as far as the signing step asks.
type record struct {
	admit    int64                       // the event that scheduled the first admission
	admitted string                      // digest of the context that it found
	policy   string                      // text of the policy set that it froze
	signals  int                         // how many decisions were sent
	taken    map[string][]taken          // decision and sender → when the server took it
	intend   int64                       // the event that scheduled the last intent
	intended string                      // the key that the intent names
	review   string                      // workflow id of the review that was opened
	checks   map[int64]int               // the events that scheduled checks of decisions → the how-manieth signal each is of
	counted  map[int][]countersign.Actor // signal → whose one vote it used up, where a check found that it counts
	stamps   map[string][]byte           // digest of a decision that counted → its time-stamp
	step     string                      // id of the activity that reads this
	asked    bool                        // that activity was scheduled: what comes after it is too late
	appends  map[int64]bool              // the events that scheduled an append to the log
	proof    *translog.Proof             // that the last append gave before the activity was scheduled, whoever ran it
}

// newRecord is for the activity with this id.
func newRecord(step string) record {
	return record{step: step, appends: map[int64]bool{}, taken: map[string][]taken{}, checks: map[int64]int{}, counted: map[int][]countersign.Actor{}, stamps: map[string][]byte{}}
}

// taken is one decide signal: the how-manieth, from 1, and when the server took it.
type taken struct {
	ordinal int
	at      time.Time
}

// ordinal finds the signal by which the server took a decision, from whom it names and when it is said to have been.
func (r *record) ordinal(counted evidence.CountedDecision) (int, bool) {
	key, err := sentBy(counted.Signed, counted.Signed.Decision.Actor)
	if err != nil {
		return 0, false // nothing was ever taken under it
	}
	for _, t := range r.taken[key] {
		if t.at.Equal(counted.At) {
			return t.ordinal, true
		}
	}
	return 0, false
}

func (r *record) read(e *historypb.HistoryEvent) error {
	if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == evidence.ActivityAdmit && r.admit == 0 {
		r.admit = e.GetEventId()
	}
	if err := r.readAppend(e); err != nil {
		return err
	}
	if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == evidence.ActivityCheckDecision {
		var in evidence.CheckInput
		if err := evidence.ReadRunning(a.GetInput(), &in); err != nil {
			return fmt.Errorf("what a decision was checked for can't be read: %w", err)
		}
		r.checks[e.GetEventId()] = in.Ordinal
	}
	if a := e.GetActivityTaskCompletedEventAttributes(); a != nil {
		if ordinal, ok := r.checks[a.GetScheduledEventId()]; ok {
			return r.checked(ordinal, a.GetResult())
		}
	}
	if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && r.admit != 0 && a.GetScheduledEventId() == r.admit {
		var admission evidence.Admission
		if err := evidence.ReadRunning(a.GetResult(), &admission); err != nil {
			return fmt.Errorf("the admission can't be read: %w", err)
		}
		r.admitted, r.policy = admission.Digest, admission.PolicyText
	}
	if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == evidence.ActivityIntend {
		r.intend = e.GetEventId()
	}
	if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && r.intend != 0 && a.GetScheduledEventId() == r.intend {
		var intent evidence.Intent
		if err := evidence.ReadRunning(a.GetResult(), &intent); err != nil {
			return fmt.Errorf("the intent can't be read: %w", err)
		}
		r.intended = intent.Key
	}
	if a := e.GetChildWorkflowExecutionStartedEventAttributes(); a.GetWorkflowType().GetName() == countersign.WorkflowReview {
		r.review = a.GetWorkflowExecution().GetWorkflowId()
	}
	a := e.GetWorkflowExecutionSignaledEventAttributes()
	if a.GetSignalName() != countersign.SignalDecide {
		return nil
	}
	r.signals++
	sender, ok := evidence.ActorOf(e.GetPrincipal())
	if !ok {
		return nil
	}
	for _, p := range a.GetInput().GetPayloads() {
		signed, err := countersign.ParseSignedDecision(p.GetData())
		if err != nil {
			continue // whatever it is, it is no decision that counts
		}
		key, err := sentBy(signed, sender)
		if err != nil {
			return err
		}
		r.taken[key] = append(r.taken[key], taken{r.signals, e.GetEventTime().AsTime()})
	}
	return nil
}

// checked keeps the time-stamp of a decision that counted, and whose it was.
func (r *record) checked(ordinal int, result *commonpb.Payloads) error {
	var check evidence.Check
	if err := evidence.ReadRunning(result, &check); err != nil {
		return fmt.Errorf("the check of a decision can't be read: %w", err)
	}
	if check.Record.Counted() {
		r.stamps[check.Record.Digest] = check.Stamp
		r.counted[ordinal] = check.People()
	}
	return nil
}

// sentBy names a decision, with its proof, and who sent it.
func sentBy(signed countersign.SignedDecision, sender countersign.Actor) (string, error) {
	body, err := countersign.Canonical(signed)
	return sender.String() + " " + string(body), err
}
