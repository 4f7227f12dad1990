package activities

import (
	"slices"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// allowed asks the frozen policy once more about each decision, as of when the server took it: whether its check was made, and what it was made to
// check, is only the saga's word. The plan is the one that people approved, the policy's text is the admission's, roles are those of the tenant's
// file now. It asks nobody outside, and needs nothing that the signing step isn't given already.
func (t *Tenant) allowed(r record, in evidence.SignInput, current *countersign.Settings) *countersign.Refusal {
	engine, err := t.frozen(in.Context.Policy, r.policy)
	if err != nil {
		return countersign.Refuse("policy-changed", "the policy that the signing was admitted under can't be asked again: %s", err)
	}
	people := map[int][]countersign.Actor{} // signal → those whose one vote it used up
	for ordinal, checked := range r.counted {
		people[ordinal] = checked
	}
	for _, counted := range in.Decisions {
		ordinal, _ := r.ordinal(counted)
		people[ordinal] = append([]countersign.Actor{counted.Signed.Decision.Actor}, counted.Authority.Delegators()...)
	}
	for _, counted := range in.Decisions {
		d := counted.Signed.Decision
		ordinal, ok := r.ordinal(counted)
		if !ok {
			return notSent(d.Actor)
		}
		stage, ok := in.Plan.Stage(d.Stage)
		if !ok {
			return countersign.Refuse("not-allowed", "the plan has no stage %q, for which %s decided", d.Stage, d.Actor)
		}
		question := evidence.DecideQuestion(evidence.CheckInput{
			Saga: evidence.Execution{Workflow: in.Context.Signing, Run: in.Context.Run}, Tenant: in.Context.Tenant, Document: in.Context.Document,
			Requester: in.Context.Requester, Decided: before(people, ordinal), BreakGlass: in.Plan.BreakGlass, Purpose: in.Plan.Purpose,
		}, d, stage, policy.PrincipalOf(current, d.Actor), asHeldNow(counted.Authority, current), evidence.Assurance(counted.Enrolled), counted.At)
		if answer := engine.Ask(question); !answer.Allowed {
			return countersign.Refuse("not-allowed", "the policy doesn't allow the decision of %s for stage %q, as of when the server took it: %s (%s)", d.Actor, d.Stage, answer.Refusal, answer.Code())
		}
	}
	return nil
}

// before are the people of the decisions that were sent before one, in the order in which they were sent.
func before(people map[int][]countersign.Actor, ordinal int) []countersign.Actor {
	var earlier []int
	for o := range people {
		if o < ordinal {
			earlier = append(earlier, o)
		}
	}
	slices.Sort(earlier)
	decided := []countersign.Actor{}
	for _, o := range earlier {
		decided = append(decided, people[o]...)
	}
	return decided
}

// asHeldNow is lent authority with the roles that its holder has now. What the saga says of them is not believed.
func asHeldNow(a *evidence.Authority, current *countersign.Settings) *evidence.Authority {
	if a == nil || len(a.Grants) == 0 {
		return a
	}
	now := *a
	now.HolderRoles = []string{}
	if m, ok := current.Member(a.Grants[0].Grant.Grant.Delegator); ok {
		now.HolderRoles = append(now.HolderRoles, m.Roles...)
	}
	return &now
}
