package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// ErrorRefused is the type of the error with which the workflow of a grant or a key ends that was not admitted: its name is free again.
const ErrorRefused = "Refused"

// Access keeps one grant: it is offered, its grantee accepts it, and it ends by its own clock, or because it is revoked or given back.
// Whoever checks a decision asks it, so a revocation counts from the moment in which it is known here.
func Access(ctx workflow.Context, in countersign.SignedGrant) (evidence.GrantStatus, error) {
	a, err := newAccess(ctx, in)
	if err != nil {
		return evidence.GrantStatus{}, err
	}
	return a.run(ctx)
}

// access is the state of a grant.
type access struct {
	status evidence.GrantStatus
	heard  map[string]int
	over   bool // nobody needs to ask any more

	telling telling
}

// afterlife is how long a grant whose window closed still counts the uses of decisions that came in time: longer than any check takes.
const afterlife = 15 * time.Minute

// maxGrantSignals bounds the signals of one name that a grant looks at. A grant that is flooded ends: authority fails closed.
const maxGrantSignals = 1000

func newAccess(ctx workflow.Context, in countersign.SignedGrant) (*access, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	digest, err := in.Grant.Digest()
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError(err.Error(), ErrorRefused, nil)
	}
	if want := countersign.AccessID(in.Grant.Tenant, digest); info.ID != want {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("the workflow id must be %q for this grant: it is named by its digest", want), ErrorRefused, nil)
	}
	a := &access{heard: map[string]int{}, status: evidence.GrantStatus{
		Digest: digest, Access: evidence.Execution{Workflow: info.ID, Run: info.RunID},
		Signals: []evidence.GrantSignal{}, Uses: []string{},
	}}
	a.status.Grant = in
	if err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (evidence.GrantStatus, error) { return a.status, nil }); err != nil {
		return nil, fmt.Errorf("couldn't answer queries: %w", err)
	}
	if err := workflow.SetUpdateHandler(ctx, countersign.UpdateUse, a.use); err != nil {
		return nil, fmt.Errorf("couldn't count uses: %w", err)
	}
	return a, nil
}

// run is the life of a grant: offered, accepted, over.
func (a *access) run(ctx workflow.Context) (evidence.GrantStatus, error) {
	if err := a.offer(ctx); err != nil {
		return a.status, err
	}
	a.status.State = countersign.GrantInvited
	a.tell(ctx, evidence.EventGrantOffered, "")

	left := time.Unix(a.status.Grant.Grant.NotAfter, 0).Sub(workflow.Now(ctx))
	expiry, end := workflow.NewTimer(ctx, left), workflow.NewTimer(ctx, left+afterlife)
	for !a.over && ctx.Err() == nil {
		next := workflow.NewSelector(ctx)
		for _, name := range []string{countersign.SignalAccept, countersign.SignalRevoke, countersign.SignalGiveBack} {
			next.AddReceive(workflow.GetSignalChannel(ctx, name), func(c workflow.ReceiveChannel, _ bool) { a.hear(ctx, c, name) })
		}
		if a.open() {
			next.AddFuture(expiry, func(workflow.Future) { a.status.State = countersign.GrantExpired })
		}
		next.AddFuture(end, func(workflow.Future) { a.over = true })
		next.Select(ctx)
	}
	if ctx.Err() != nil {
		// An operator who cancels a grant takes it back.
		a.status.State = countersign.GrantRevoked
	}
	return a.status, a.telling.wait(ctx)
}

func (a *access) open() bool {
	return a.status.State == countersign.GrantInvited || a.status.State == countersign.GrantActive
}

// offer asks whether the grant may be given at all.
func (a *access) offer(ctx workflow.Context) error {
	var admitted evidence.GrantAdmission
	in := evidence.AdmitGrantInput{Grant: a.status.Grant, Access: a.status.Access}
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityAdmitGrant, in).Get(ctx, &admitted)
	if err != nil {
		admitted.Refusal = countersign.Refuse("not-checked", "the grant could not be checked in time; give it again")
	}
	if r := admitted.Refusal; r != nil {
		a.status.State, a.status.Refusal = countersign.GrantRefused, r
		return temporal.NewNonRetryableApplicationError(r.Code+": "+r.Message, ErrorRefused, nil)
	}
	a.status.Given = admitted.Given
	a.status.Above = admitted.Authority.Delegators()
	return nil
}

// hear has one signal checked, and follows it.
func (a *access) hear(ctx workflow.Context, c workflow.ReceiveChannel, name string) {
	var raw converter.RawValue
	if !c.ReceiveAsync(&raw) {
		return
	}
	a.heard[name]++
	if a.heard[name] > maxGrantSignals {
		a.status.State, a.over = countersign.GrantRevoked, true
		return
	}
	body := json.RawMessage(raw.Payload().GetData())
	if evidence.Unreadable(body) {
		body = json.RawMessage(evidence.NoDecision)
	}
	in := evidence.GrantSignalInput{Signal: name, Ordinal: a.heard[name], Payload: body, Grant: a.status.Grant, Chain: a.status.Above, Access: a.status.Access}
	var signal evidence.GrantSignal
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, prompt), evidence.ActivityCheckGrantSignal, in).Get(ctx, &signal); err != nil {
		signal = evidence.GrantSignal{Signal: name, At: workflow.Now(ctx).UTC(), Refusal: countersign.Refuse("not-checked", "the signal could not be checked in time; send it again")}
	}
	if len(a.status.Signals) < maxKept {
		a.status.Signals = append(a.status.Signals, signal)
	}
	if signal.Refusal != nil {
		return
	}
	switch name {
	case countersign.SignalAccept:
		if a.status.State == countersign.GrantInvited {
			a.status.State, a.status.Accepted, a.status.Taken = countersign.GrantActive, signal.Acceptance, signal.Taken
			a.tell(ctx, evidence.EventGrantAccepted, "")
		}
	case countersign.SignalRevoke:
		a.status.State, a.over = countersign.GrantRevoked, true
		a.tell(ctx, evidence.EventGrantEnded, "revoked: "+signal.Reason)
	case countersign.SignalGiveBack:
		a.status.State, a.over = countersign.GrantGivenBack, true
		a.tell(ctx, evidence.EventGrantEnded, "given back: "+signal.Reason)
	}
}

// maxKept bounds what a status lists of signals; all of them are in the history.
const maxKept = 50

// use notes that a decision used the grant, once a decision. It is asked by the worker that checks the decision, after everything else.
func (a *access) use(_ workflow.Context, u evidence.Use) (*countersign.Refusal, error) {
	switch {
	case slices.Contains(a.status.Uses, u.Decision):
		return nil, nil
	// A window that closed a moment ago is the checker's business: it compares it with when the decision came.
	case a.status.State != countersign.GrantActive && a.status.State != countersign.GrantExpired:
		return countersign.Refuse(evidence.RefusalEnded, "the grant is %s", a.status.State), nil
	case len(a.status.Uses) >= a.status.Grant.Grant.Uses:
		return countersign.Refuse(evidence.RefusalUsedUp, "the grant was for %d decisions, and they are made", a.status.Grant.Grant.Uses), nil
	}
	a.status.Uses = append(a.status.Uses, u.Decision)
	a.status.Used = len(a.status.Uses)
	return nil, nil
}

// tell tells those whom the grant is about. It never holds it up.
func (a *access) tell(ctx workflow.Context, kind, detail string) {
	g := a.status.Grant.Grant
	ends := time.Unix(g.NotAfter, 0).UTC()
	title := "authority for stages of " + g.Role
	if len(g.Purposes) > 0 {
		title = "cover for stages of " + g.Role + " in " + strings.Join(g.Purposes, ", ")
	}
	event := evidence.Event{
		Type: kind, Tenant: g.Tenant, Request: g.Request, Title: title, Context: a.status.Digest, Deadline: &ends, Detail: detail,
	}
	in := evidence.NotifyInput{ID: a.status.Access.Run + "-" + kind, Event: event, To: []countersign.Actor{g.Delegator, g.Grantee}, Owner: kind == evidence.EventGrantEnded}
	a.telling.tell(ctx, in)
}
