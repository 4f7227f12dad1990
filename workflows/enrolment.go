package workflows

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Enrolment keeps one key of one person: it is enrolled by the person's own login, signs decisions, and is retired when it is lost or replaced.
// Its workflow id is the key's own name, so that a key has one holder for a tenant.
func Enrolment(ctx workflow.Context, in KeyInput) (evidence.KeyStatus, error) {
	k, err := newEnrolment(ctx, in)
	if err != nil {
		return evidence.KeyStatus{}, err
	}
	return k.run(ctx)
}

// KeyInput starts an enrolment. Carried is what an earlier run of the same key hands on, and nobody else: who starts one can't set it.
type KeyInput struct {
	countersign.SignedEnrolment
	Carried *evidence.KeyStatus `json:"carried,omitempty"`
}

// enrolment is the state of a key.
type enrolment struct {
	in     KeyInput
	status evidence.KeyStatus
	recent []string // decisions that the counter has counted already
	heard  int

	telling telling
}

// maxRecent is how many decisions of a key are remembered, for those that are checked twice.
const maxRecent = 20

func newEnrolment(ctx workflow.Context, in KeyInput) (*enrolment, error) {
	info := workflow.GetInfo(ctx)
	id, err := in.Enrolment.KeyID()
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError(err.Error(), ErrorRefused, nil)
	}
	if want := countersign.EnrolmentID(in.Enrolment.Tenant, id); info.WorkflowExecution.ID != want {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("the workflow id must be %q for this key: it is named by its credential", want), ErrorRefused, nil)
	}
	k := &enrolment{in: in, status: evidence.KeyStatus{Key: id, Retirements: []evidence.Retired{}}}
	switch {
	case in.Carried != nil && info.ContinuedExecutionRunID == "":
		return nil, temporal.NewNonRetryableApplicationError("nobody but an earlier run hands a key on", ErrorRefused, nil)
	case in.Carried != nil:
		k.status = *in.Carried
	}
	k.status.Keeper = evidence.Execution{Workflow: info.WorkflowExecution.ID, Run: info.WorkflowExecution.RunID}
	k.status.Enrolment = in.SignedEnrolment
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.KeyStatus, error) { return k.status, nil }); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	if err := workflow.SetUpdateHandler(ctx, countersign.UpdateUse, k.use); err != nil {
		return nil, fmt.Errorf("couldn't count uses: %w", err)
	}
	return k, nil
}

// run is the life of a key: enrolled, used, retired.
func (k *enrolment) run(ctx workflow.Context) (evidence.KeyStatus, error) {
	if k.status.State == "" {
		if err := k.enrol(ctx); err != nil {
			return k.status, err
		}
		k.status.State = evidence.KeyActive
		k.tell(ctx, evidence.EventKeyEnrolled, "")
	}
	retire := workflow.GetSignalChannel(ctx, countersign.SignalRetire)
	for k.status.State == evidence.KeyActive && ctx.Err() == nil {
		if err := workflow.Await(ctx, func() bool { return retire.Len() > 0 || workflow.GetInfo(ctx).GetContinueAsNewSuggested() }); err != nil {
			break
		}
		if retire.Len() == 0 {
			return k.status, k.handOn(ctx)
		}
		k.hear(ctx, retire)
	}
	if ctx.Err() != nil {
		k.status.State = evidence.KeyRetired // an operator who cancels a key takes it away
	}
	return k.status, k.telling.wait(ctx)
}

// enrol asks whether the key may be enrolled.
func (k *enrolment) enrol(ctx workflow.Context) error {
	var admitted evidence.KeyAdmission
	in := evidence.AdmitKeyInput{Enrolment: k.in.SignedEnrolment, Keeper: k.status.Keeper}
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityAdmitKey, in).Get(ctx, &admitted)
	if err != nil {
		admitted.Refusal = countersign.Refuse("not-checked", "the key could not be checked in time; enrol it again")
	}
	if r := admitted.Refusal; r != nil {
		k.status.State, k.status.Refusal = evidence.KeyRefused, r
		return temporal.NewNonRetryableApplicationError(r.Code+": "+r.Message, ErrorRefused, nil)
	}
	k.status.Proven, k.status.Counter = admitted.Proven, admitted.Counter
	return nil
}

// hear has one retire signal checked, and follows it.
func (k *enrolment) hear(ctx workflow.Context, c workflow.ReceiveChannel) {
	var raw converter.RawValue
	if !c.ReceiveAsync(&raw) {
		return
	}
	k.heard++
	body := json.RawMessage(raw.Payload().GetData())
	if evidence.Unreadable(body) {
		body = json.RawMessage(evidence.NoDecision)
	}
	e := k.in.Enrolment
	in := evidence.RetirementInput{Ordinal: k.heard, Payload: body, Tenant: e.Tenant, Key: k.status.Key, Holder: e.Actor, Keeper: k.status.Keeper}
	var retired evidence.Retired
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityCheckRetirement, in).Get(ctx, &retired); err != nil {
		retired = evidence.Retired{At: workflow.Now(ctx).UTC(), Refusal: countersign.Refuse("not-checked", "the retirement could not be checked in time; send it again")}
	}
	if len(k.status.Retirements) < maxKept {
		k.status.Retirements = append(k.status.Retirements, retired)
	}
	if retired.Refusal != nil {
		return
	}
	k.status.State = evidence.KeyRetired
	k.tell(ctx, evidence.EventKeyRetired, retired.Reason)
}

// handOn starts the key's next run, before its history grows too long.
func (k *enrolment) handOn(ctx workflow.Context) error {
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) && k.telling.open == 0 }); err != nil {
		return err
	}
	carried := k.status
	return workflow.NewContinueAsNewError(ctx, countersign.WorkflowEnrolment, KeyInput{SignedEnrolment: k.in.SignedEnrolment, Carried: &carried})
}

// use notes that the key signed a decision. A counter that does not grow shows that there may be two of the key (Web Authentication Level 3,
// section 6.1.1); keys that don't count always say 0.
func (k *enrolment) use(_ workflow.Context, u evidence.Use) (*countersign.Refusal, error) {
	switch {
	case slices.Contains(k.recent, u.Decision):
		return nil, nil
	case k.status.State != evidence.KeyActive:
		return countersign.Refuse(evidence.RefusalRetired, "the key is %s; enrol another one", k.status.State), nil
	case (u.Counter != 0 || k.status.Counter != 0) && u.Counter <= k.status.Counter:
		return countersign.Refuse(evidence.RefusalCounter, "the key counted back, from %d to %d: there may be a copy of it; retire it", k.status.Counter, u.Counter), nil
	}
	k.status.Counter = u.Counter
	if k.recent = append(k.recent, u.Decision); len(k.recent) > maxRecent {
		k.recent = k.recent[1:]
	}
	return nil, nil
}

// tell tells the key's holder. It never holds the key up.
func (k *enrolment) tell(ctx workflow.Context, kind, detail string) {
	e := k.in.Enrolment
	event := evidence.Event{Type: kind, Tenant: e.Tenant, Title: e.Kind + " key " + k.status.Key[:16], Context: k.status.Key, Detail: detail}
	in := evidence.NotifyInput{ID: k.status.Keeper.Run + "-" + kind, Event: event, To: []countersign.Actor{e.Actor}}
	k.telling.tell(ctx, in)
}
