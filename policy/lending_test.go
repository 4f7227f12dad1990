package policy_test

import (
	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// lends is a question that the default set answers with yes: lena, who holds the role legal, lends it to liam; liam takes it or gives it
// back; lena takes it back.
func lends(action string, changes ...func(*policy.Question)) policy.Question {
	q := policy.Question{
		Action: action, Now: deadline, Principal: policy.Principal{Actor: lena, Kind: "home", Roles: []string{"legal"}, Tenants: []string{"acme"}},
		Resource: policy.Resource{Tenant: "acme", Grant: "g1", Role: "legal", Delegators: []countersign.Actor{lena}, Grantee: &liam, GranteeKind: "home"},
	}
	if action == policy.Accept || action == policy.GiveBack {
		q.Principal.Actor, q.Principal.Roles = liam, nil
	}
	for _, change := range changes {
		change(&q)
	}
	return q
}

func to(kind string, a countersign.Actor) func(*policy.Question) {
	return func(q *policy.Question) { q.Resource.Grantee, q.Resource.GranteeKind = &a, kind }
}

// lendingRows are about giving, taking and ending grants.
func lendingRows() []row {
	const delegates, handsOn = "role-holder-delegates", "grantee-delegates"
	return []row{
		{"whoever holds the role delegates", lends(policy.Delegate), true, delegates},
		{"whoever holds the role delegates to a partner", lends(policy.Delegate, to("partner", carla)), true, delegates},
		{"a partner who holds the role delegates", lends(policy.Delegate, by("partner", carla, "legal")), true, delegates},
		{"without the role nobody delegates", lends(policy.Delegate, by("home", lena, "counsel", "owner", "requester")), false, ""},
		{"a machine delegates nothing", lends(policy.Delegate, by("machine", procurement, "legal")), false, "people-decide"},
		{"nobody delegates to a machine", lends(policy.Delegate, to("machine", procurement)), false, "grantee-is-a-known-person"},
		{"nobody delegates to a stranger", lends(policy.Delegate, to("stranger", otherLena)), false, "grantee-is-a-known-person"},
		{"nobody delegates to somebody of no kind", lends(policy.Delegate, to("", otherLena)), false, "grantee-is-a-known-person"},
		{"nobody delegates to themselves", lends(policy.Delegate, to("home", lena)), false, "nobody-delegates-to-themselves"},
		{"nobody delegates to themselves in another's name", lends(policy.Delegate, to("home", lena), func(q *policy.Question) {
			q.Resource.Delegators = []countersign.Actor{carla}
		}), false, "nobody-delegates-to-themselves"},
		{"nobody delegates in another tenant", lends(policy.Delegate, func(q *policy.Question) { q.Resource.Tenant = "globex" }), false, "tenant-wall"},

		{"a grantee hands on", lent(policy.Delegate), true, handsOn},
		{"a grant that only lets delegate is handed on", lent(policy.Delegate, func(q *policy.Question) { q.Grant.Actions = []string{"delegate"} }), true, handsOn},
		{"a grant that only lets decide is not handed on", lent(policy.Delegate, func(q *policy.Question) { q.Grant.Actions = []string{"decide"} }), false, ""},
		{"a grant of depth 0 is not handed on", lent(policy.Delegate, func(q *policy.Question) { q.Grant.Depth = 0 }), false, ""},
		{"a grant is handed on for its own role", lent(policy.Delegate, func(q *policy.Question) { q.Grant.Role = "counsel" }), false, ""},
		{"a grant of another role is not handed on as one's own", lent(policy.Delegate, by("home", liam, "legal"), func(q *policy.Question) { q.Grant.Role = "counsel" }), false, ""},
		{"a grant is not handed on when its holder lost the role", lent(policy.Delegate, func(q *policy.Question) { q.Grant.HolderRoles = nil }), false, ""},
		{"a grant is not handed on when its time is over", lent(policy.Delegate, at(notAfter)), false, "within-the-grants-window"},
		{"a grant is not handed on before its time", lent(policy.Delegate, at(notBefore.Add(-1))), false, "within-the-grants-window"},
		{"a revoked grant is not handed on", lent(policy.Delegate, func(q *policy.Question) { q.Grant.InForce = false }), false, "grant-is-in-force"},
		{"somebody else's grant is not handed on", lent(policy.Delegate, func(q *policy.Question) { q.Grant.Grantee = carla }), false, "grant-is-the-grantees-own"},
		{"another tenant's grant is not handed on", lent(policy.Delegate, func(q *policy.Question) { q.Grant.Tenant = "globex" }), false, "grant-is-of-this-tenant"},
		{"a grant is not handed back to whom it comes from", lent(policy.Delegate, to("home", lena)), false, "nobody-delegates-to-themselves"},
		{"a machine hands on nothing", lent(policy.Delegate, by("machine", procurement), func(q *policy.Question) { q.Grant.Grantee = procurement }), false, "people-decide"},

		{"the grantee accepts", lends(policy.Accept), true, "grantee-answers"},
		{"nobody accepts for another", lends(policy.Accept, by("home", lena, "legal", "owner")), false, ""},
		{"a machine accepts nothing", lends(policy.Accept, by("machine", procurement), to("machine", procurement)), false, "people-decide"},
		{"nobody accepts in another tenant", lends(policy.Accept, ofNobody), false, "tenant-wall"},
		{"the grantee gives back", lends(policy.GiveBack), true, "grantee-answers"},
		{"nobody gives back for another", lends(policy.GiveBack, by("home", lena, "legal", "owner")), false, ""},

		{"whoever gave it revokes", lends(policy.Revoke), true, "delegator-revokes"},
		{"anybody of the chain revokes", lends(policy.Revoke, func(q *policy.Question) { q.Resource.Delegators = []countersign.Actor{carla, lena} }), true, "delegator-revokes"},
		{"the owner revokes", lends(policy.Revoke, by("home", carla, "owner")), true, "owner-ends"},
		{"the grantee doesn't revoke", lends(policy.Revoke, by("home", liam, "legal")), false, ""},
		{"the owner of another tenant doesn't revoke", lends(policy.Revoke, by("home", carla, "owner"), ofNobody), false, "tenant-wall"},
	}
}

// owns is a question that the default set answers with yes: lena enrols a key of hers, or retires it.
func owns(action string, changes ...func(*policy.Question)) policy.Question {
	q := policy.Question{
		Action: action, Now: deadline, Principal: policy.Principal{Actor: lena, Kind: "home", Tenants: []string{"acme"}},
		Resource: policy.Resource{Tenant: "acme", Key: "k1", Holder: &lena},
	}
	for _, change := range changes {
		change(&q)
	}
	return q
}

// keyRows are about enrolling and retiring keys.
func keyRows() []row {
	return []row{
		{"a person enrols a key", owns(policy.Enrol), true, "person-enrols"},
		{"a partner enrols a key", owns(policy.Enrol, by("partner", lena)), true, "person-enrols"},
		{"nobody enrols a key for another", owns(policy.Enrol, by("home", liam, "owner", "legal")), false, ""},
		{"a machine enrols no key", owns(policy.Enrol, by("machine", lena)), false, ""},
		{"nobody enrols a key in another tenant", owns(policy.Enrol, ofNobody), false, "tenant-wall"},
		{"the holder retires a key", owns(policy.Retire), true, "holder-retires"},
		{"the owner retires a key", owns(policy.Retire, by("home", liam, "owner")), true, "owner-ends"},
		{"others retire no key", owns(policy.Retire, by("home", liam, "legal", "compliance")), false, ""},
		{"the owner of another tenant retires no key", owns(policy.Retire, by("home", liam, "owner"), ofNobody), false, "tenant-wall"},
		{"the owner revokes no signing and no stage", but(policy.Withdraw, by("home", liam, "owner")), false, ""},
	}
}
