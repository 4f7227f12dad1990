package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// ordering is what is particular about one kind of order of the tenant's compliance.
type ordering interface {
	countersign.Given
	// may says why somebody may neither give nor answer it, though they are of compliance; nil where they may.
	may(who countersign.Actor) *countersign.Refusal
	// possible says why it can't be given now, and completes its admission with what is to be known of it.
	possible(ctx context.Context, t *Tenant, o countersign.Ordered, a *evidence.OrderAdmission) (*countersign.Refusal, error)
	// named is what an answer to it has to name.
	named(digest string) (order, shredding, key string)
}

// admitOrder decides whether an order may be given: by one of the tenant's own compliance, as the tenant's file has it now and the server stamped the start,
// proven by the person's own identity provider for exactly this order.
func (t *Tenant) admitOrder(ctx context.Context, keeper evidence.Execution, in ordering) (a evidence.OrderAdmission, err error) {
	sender, at, err := t.started(ctx, keeper)
	if err != nil {
		return a, err
	}
	a.At = at
	refuse := func(r *countersign.Refusal) (evidence.OrderAdmission, error) {
		// Who gave it, and whom to tell, stays only once it is proven.
		return evidence.OrderAdmission{At: a.At, By: a.By, Given: a.Given, Compliance: a.Compliance, Refusal: r}, nil
	}
	if err := in.Check(); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	o, err := in.Ordered()
	switch {
	case err != nil:
		return refuse(countersign.Refuse("malformed", "%s", err))
	case o.Tenant != t.settings.Tenant:
		return refuse(countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the %s names another one", t.settings.Tenant, o.What))
	case sender != o.Actor:
		return refuse(countersign.Refuse("other-sender", "the %s names one person, but another one gave it", o.What))
	case at.Sub(time.Unix(o.IssuedAt, 0)).Abs() > countersign.MaxDecisionLife:
		return refuse(countersign.Refuse("order-stale", "the %s was written at %s; give it within %s of writing it", o.What, time.Unix(o.IssuedAt, 0).UTC().Format(time.RFC3339), countersign.MaxDecisionLife))
	}
	current, err := LoadSettings(t.file)
	if err != nil {
		return a, err
	}
	by, refusal := compliance(current, sender)
	if refusal == nil {
		refusal = in.may(sender)
	}
	if refusal != nil {
		return refuse(refusal)
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.OrderBound(o), o.Proof.IDToken, at)
	if errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if err != nil {
		return a, fmt.Errorf("couldn't check the proof of the %s: %w", o.What, err)
	}
	a.By, a.Given, a.Issuers = by, &evidence.Proven{Key: facts.Key, At: at}, t.settings.Issuers
	for _, m := range current.Members() {
		if _, refusal := compliance(current, m.Actor); refusal == nil {
			a.Compliance = append(a.Compliance, m.Actor)
		}
	}
	if refusal, err = in.possible(ctx, t, o, &a); err == nil && refusal != nil {
		return refuse(refusal)
	}
	return a, err
}

// compliance is one of the tenant's own compliance. People of partners are none, whatever roles the tenant's file gives them, and neither are machines.
func compliance(s *countersign.Settings, who countersign.Actor) (evidence.Named, *countersign.Refusal) {
	m, ok := s.Member(who)
	if !ok || m.Kind != "home" || !slices.Contains(m.Roles, countersign.RoleCompliance) {
		return evidence.Named{}, countersign.Refuse("not-compliance", "what becomes of locked evidence is ordered by the tenant's own people who hold the role %s", countersign.RoleCompliance)
	}
	return evidence.Named{Actor: who, Name: m.Name, Organisation: m.Organisation}, nil
}

// checkOrderAnswer decides whether one answer to an order counts: of another one of the tenant's own compliance than gave it, as the tenant's file has it now
// and the server stamped the signal, proven by the person's own identity provider for exactly this answer.
func (t *Tenant) checkOrderAnswer(ctx context.Context, keeper evidence.Execution, ordinal int, payload json.RawMessage, in ordering) (evidence.OrderAnswered, error) {
	s := evidence.OrderAnswered{Ordinal: ordinal}
	event, err := t.signal(ctx, keeper, countersign.SignalAnswer, ordinal)
	if err != nil {
		return s, err
	}
	s.Sender, s.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	sender, refusal := senderOf(event)
	if refusal == nil {
		refusal, err = t.readAnswer(ctx, in, sender, payload, &s)
	}
	if s.Refusal = refusal; refusal != nil {
		s.Answer, s.Taken = nil, nil
	}
	return s, err
}

func (t *Tenant) readAnswer(ctx context.Context, in ordering, sender countersign.Actor, payload json.RawMessage, s *evidence.OrderAnswered) (*countersign.Refusal, error) {
	var signed countersign.SignedOrderAnswer
	err := countersign.ParseStrict(payload, &signed)
	if err == nil {
		err = signed.Answer.Check()
	}
	if err != nil {
		return countersign.Refuse("malformed", "%s", err), nil
	}
	o, err := in.Ordered()
	if err != nil {
		return nil, err
	}
	a := signed.Answer
	bound, err := a.Digest()
	order, shredding, key := in.named(o.Digest)
	switch {
	case err != nil:
		return countersign.Refuse("malformed", "%s", err), nil
	case a.Tenant != o.Tenant || a.Order != order || a.Shredding != shredding || a.Key != key:
		return countersign.Refuse("other-order", "the answer is to something else than this %s", o.What), nil
	case sender != a.Actor:
		return countersign.Refuse("other-sender", "the answer names one person, but another one sent it"), nil
	case sender == o.Actor:
		return countersign.Refuse("same-person", "whoever gave it does not approve or reject it; a second person of compliance has to"), nil
	}
	current, err := LoadSettings(t.file)
	if err != nil {
		return nil, err
	}
	by, refusal := compliance(current, sender)
	if refusal == nil {
		refusal = in.may(sender)
	}
	if refusal != nil {
		return refusal, nil
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.OrderAnswerBound(a, bound), signed.Proof.IDToken, s.At)
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't check the answer's proof: %w", err)
	}
	s.By, s.Answer, s.Taken = &by, &signed, &evidence.Proven{Key: facts.Key, At: s.At}
	return nil, nil
}

// ordered is what a workflow says was ordered and answered, when it asks for it to be carried out.
type ordered struct {
	keeper  evidence.Execution
	given   *evidence.Proven
	answer  *countersign.SignedOrderAnswer // nil where nobody answered
	ordinal int                            // of the answer's signal
	taken   *evidence.Proven
	does    bool // something is to be done, and not only recorded
}

// confirmed checks what is to be carried out against what the Temporal server wrote down itself, against its own proofs, and against the roles of this moment: a
// workflow that says anything else is broken or in somebody else's hands. The keys of identity providers are those of the day, which the providers may have
// replaced since: so what counts as well is that the server took exactly this from exactly these people, then.
func (t *Tenant) confirmed(ctx context.Context, in ordering, said ordered) (countersign.Ordered, error) {
	o, err := in.Ordered()
	if err != nil {
		return o, err
	}
	asks := activity.GetInfo(ctx).WorkflowExecution
	switch {
	case asks.ID != said.keeper.Workflow || asks.RunID != said.keeper.Run || asks.ID != o.Keeper || o.Tenant != t.settings.Tenant || o.DryRun:
		return o, errors.New("another workflow asks for it than was given it")
	case said.does && o.Second && (said.answer == nil || said.answer.Answer.Verdict != countersign.Approve):
		return o, errors.New("no second person approved it")
	case said.given == nil || said.answer != nil && said.taken == nil:
		return o, errors.New("it is not proven")
	}
	current, err := LoadSettings(t.file)
	if err != nil {
		return o, err
	}
	first, err := t.first(ctx, said.keeper)
	if err == nil {
		err = sentAs(first, first.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads(), o.Actor, said.given.At, in)
	}
	if err != nil {
		return o, fmt.Errorf("the %s: %w", o.What, err)
	}
	people := []countersign.Actor{o.Actor}
	if said.answer != nil {
		people = append(people, said.answer.Answer.Actor)
		event, err := t.signal(ctx, said.keeper, countersign.SignalAnswer, said.ordinal)
		if err == nil {
			err = sentAs(event, event.GetWorkflowExecutionSignaledEventAttributes().GetInput().GetPayloads(), people[1], said.taken.At, *said.answer)
		}
		if err != nil {
			return o, fmt.Errorf("the answer: %w", err)
		}
		if order, shredding, key := in.named(o.Digest); said.answer.Answer.Order != order || said.answer.Answer.Shredding != shredding || said.answer.Answer.Key != key {
			return o, errors.New("the answer is to something else")
		}
	}
	if err := evidence.VerifyOrdered(o, said.given, said.answer, said.taken, current.Issuers); err != nil {
		return o, err
	}
	for _, who := range people {
		if !said.does {
			break // that nobody approved it is recorded, whoever has which role by then
		}
		_, refusal := compliance(current, who)
		if refusal == nil {
			refusal = in.may(who)
		}
		if refusal != nil {
			return o, fmt.Errorf("%s may not order it any more: %w", who, refusal)
		}
	}
	return o, nil
}

// errorInTheWay is the type of the error of what can't be carried out now and would be refused again at once.
const errorInTheWay = "InTheWay"

// notNow makes a refusal in the moment of carrying out an error that is told at once, instead of after an hour of tries: somebody else has to do something first.
func notNow(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
		return temporal.NewNonRetryableApplicationError(err.Error(), errorInTheWay, nil)
	}
	return err
}

// sentAs says whether an event of the server's has exactly this, by that person, at that time.
func sentAs(event *historypb.HistoryEvent, payloads []*commonpb.Payload, who countersign.Actor, at time.Time, what any) error {
	if sender, ok := evidence.ActorOf(event.GetPrincipal()); !ok || sender != who {
		return errors.New("somebody else sent it")
	}
	if !event.GetEventTime().AsTime().Equal(at) || len(payloads) != 1 {
		return errors.New("the server took it at another time, or something else")
	}
	// It is read as the workflow read it: what two clients write differently is the same.
	got := reflect.New(reflect.TypeOf(what))
	if err := json.Unmarshal(payloads[0].GetData(), got.Interface()); err != nil {
		return fmt.Errorf("what the server took can't be read: %w", err)
	}
	took, err := countersign.Canonical(got.Interface())
	if err != nil {
		return err
	}
	want, err := countersign.Canonical(what)
	if err != nil {
		return err
	}
	if !bytes.Equal(took, want) {
		return errors.New("the server took something else")
	}
	return nil
}
