package policy_test

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// separateEmployers is what a tenant writes who wants every stage decided by another organisation, and none by the requester's.
const separateEmployers = `
@id("acme-separates-employers")
@refusal("somebody of your organisation requested this, or has decided in it")
forbid (principal, action == Action::"decide", resource)
when
{
  resource.requesterIssuer == principal.issuer || resource.decidedIssuers.contains(principal.issuer) ||
  context has grant && (context.grant.issuers.contains(resource.requesterIssuer) || resource.decidedIssuers.containsAny(context.grant.issuers))
};
`

// Who employs whom is known of the requester, of whoever decided, of the approver and of whoever lent the authority: a tenant's own rule may
// separate duties by it, and keeps every invariant.
func TestN06_ATenantsRuleSeparatesTheEmployersOfRequesterApproverAndDelegator(t *testing.T) {
	t.Parallel()
	e, _, err := policy.LoadNamed(policy.Default(), "tenant.cedar", separateEmployers)
	if err != nil {
		t.Fatal(err)
	}
	const rule = "acme-separates-employers"
	requestedAt := func(a countersign.Actor) func(*policy.Question) {
		return func(q *policy.Question) { q.Resource.Requester = &a }
	}
	decidedBy := func(a ...countersign.Actor) func(*policy.Question) {
		return func(q *policy.Question) { q.Resource.Decided = a }
	}
	viaCarla := func(q *policy.Question) { q.Grant.Delegators = []countersign.Actor{lena, carla} }
	for name, c := range map[string]struct {
		question policy.Question
		ids      string
	}{
		"another organisation requested":                       {but(policy.Decide, requestedAt(carla)), "stage-role-decides"},
		"a colleague requested":                                {but(policy.Decide, requestedAt(lara)), rule},
		"a colleague has decided":                              {but(policy.Decide, requestedAt(carla), decidedBy(lara)), rule},
		"another organisation has decided":                     {but(policy.Decide, requestedAt(carla), decidedBy(colin)), "stage-role-decides"},
		"under a grant":                                        {lent(policy.Decide, requestedAt(carla)), "grantee-decides"},
		"whoever lent it has a colleague who requested":        {lent(policy.Decide, viaCarla, requestedAt(colin)), rule},
		"whoever lent it has a colleague who has decided":      {lent(policy.Decide, viaCarla, requestedAt(otherRequester), decidedBy(colin)), rule},
		"who covers has a colleague who requested":             {covers(policy.Decide, requestedAt(lara)), rule},
		"who covers for an absence, where strangers requested": {covers(policy.Decide, requestedAt(carla)), "grantee-decides"},
	} {
		if a := e.Ask(c.question); strings.Join(a.Policies, " ") != c.ids || len(a.Errors) > 0 {
			t.Errorf("%s: answered %+v, want %s", name, a, c.ids)
		}
	}
}

var otherRequester = countersign.Actor{Issuer: "https://id.third.example", Subject: "rita"}

// Whichever way cover goes, the requester has no part in the decision, and whoever is covered for has the one vote together with whoever covers.
func TestN06_CoverIsNoWayAroundTheSeparationOfDuties(t *testing.T) {
	t.Parallel()
	e := engine(t, policy.Default())
	people := []countersign.Actor{lena, liam, lara}
	chains := [][]countersign.Actor{{lena}, {lara}, {lena, lara}, {lara, lena}}
	allowed := 0
	for _, requester := range people {
		for _, voted := range append([]countersign.Actor{procurement}, people...) {
			for _, chain := range chains {
				q := covers(policy.Decide, func(q *policy.Question) {
					q.Resource.Requester, q.Resource.Decided, q.Resource.Eligible = &requester, []countersign.Actor{voted}, people
					q.Grant.Holder, q.Grant.Delegators = chain[0], chain
				})
				takesPart := map[countersign.Actor]bool{liam: true, chain[0]: true, chain[len(chain)-1]: true}
				want := !takesPart[requester] && !takesPart[voted]
				if a := e.Ask(q); a.Allowed != want {
					t.Errorf("requested by %s, decided by %s, lent along %v: %+v", requester.Subject, voted.Subject, chain, a)
				} else if a.Allowed {
					allowed++
				}
			}
		}
	}
	if allowed == 0 {
		t.Error("nothing is allowed: nothing was tried")
	}
}
