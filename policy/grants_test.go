package policy_test

import (
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

var (
	carla = countersign.Actor{Issuer: "https://id.other.example", Subject: "carla"}

	documentA = countersign.SHA256([]byte("A"))
	documentB = countersign.SHA256([]byte("B"))

	notBefore = deadline.Add(-2 * time.Hour)
	notAfter  = deadline.Add(-30 * time.Minute)
)

// lent is a question that the default set answers with yes because lena, who holds the role legal, lent it to liam, who holds none.
func lent(action string, changes ...func(*policy.Question)) policy.Question {
	q := policy.Question{
		Action: action, Now: deadline.Add(-time.Hour), Assurance: 1,
		Principal: policy.Principal{Actor: liam, Kind: "home", Tenants: []string{"acme"}},
		Grant: &policy.Grant{
			Tenant: "acme", Holder: lena, HolderRoles: []string{"legal"}, Delegators: []countersign.Actor{lena}, Grantee: liam, Role: "legal",
			Actions: []string{"decide", "delegate"}, Documents: []string{documentA}, NotBefore: notBefore.Unix(), NotAfter: notAfter.Unix(), Depth: 1, InForce: true,
		},
		Resource: policy.Resource{Signing: "saga/acme/PO-1", Tenant: "acme", Request: "PO-1", Document: documentA, Requester: &procurement, Eligible: []countersign.Actor{lena}},
	}
	switch action {
	case policy.Decide:
		q.Resource.Stage, q.Resource.Role, q.Resource.Deadline, q.Resource.Assurance = "legal", "legal", deadline, 1
	case policy.Delegate:
		q.Resource = policy.Resource{Tenant: "acme", Grant: "g2", Role: "legal", Delegators: []countersign.Actor{lena, liam}, Grantee: &carla, GranteeKind: "partner"}
	}
	for _, change := range changes {
		change(&q)
	}
	return q
}

func at(t time.Time) func(*policy.Question) { return func(q *policy.Question) { q.Now = t } }

// onward makes the grant the second of a chain: lena lent it to carla, and carla to liam.
func onward(q *policy.Question) { q.Grant.Delegators = []countersign.Actor{lena, carla} }

func forRequest(id string) func(*policy.Question) {
	return func(q *policy.Question) { q.Grant.Documents, q.Grant.Request = nil, id }
}

// grantRows are about using a grant.
func grantRows() []row {
	const decides, views = "grantee-decides", "grantee-views"
	return []row{
		{"a grantee decides", lent(policy.Decide), true, decides},
		{"a grantee at the end of a chain decides", lent(policy.Decide, onward), true, decides},
		{"a partner decides under a grant", lent(policy.Decide, by("partner", carla), func(q *policy.Question) { q.Grant.Grantee = carla }), true, decides},
		{"a grant for one request decides there", lent(policy.Decide, forRequest("PO-1")), true, decides},
		{"a grant that only lets decide", lent(policy.Decide, func(q *policy.Question) { q.Grant.Actions, q.Grant.Depth = []string{"decide"}, 0 }), true, decides},

		{"a grant for document A is none for document B", lent(policy.Decide, func(q *policy.Question) { q.Resource.Document = documentB }), false, "within-the-grants-scope"},
		{"a grant for request 1 is none for request 2", lent(policy.Decide, forRequest("PO-2")), false, "within-the-grants-scope"},
		{"a grant for nothing is for nothing", lent(policy.Decide, forRequest("")), false, "within-the-grants-scope"},
		{"a grant for a document is none for a signing without an id", lent(policy.Decide, func(q *policy.Question) {
			q.Resource.Document, q.Resource.Request = documentB, ""
		}), false, "within-the-grants-scope"},
		{"a grant that only lets delegate decides nothing", lent(policy.Decide, func(q *policy.Question) { q.Grant.Actions = []string{"delegate"} }), false, ""},
		{"a grant of another role decides nothing", lent(policy.Decide, func(q *policy.Question) { q.Grant.Role = "counsel" }), false, ""},
		{"one's own role doesn't stretch a grant of another", lent(policy.Decide, by("home", liam, "legal"), func(q *policy.Question) {
			q.Grant.Role, q.Resource.Eligible = "counsel", []countersign.Actor{lena, liam}
		}), false, ""},
		{"a grant of another tenant", lent(policy.Decide, func(q *policy.Question) { q.Grant.Tenant = "globex" }), false, "grant-is-of-this-tenant"},
		{"a grant in another tenant", lent(policy.Decide, func(q *policy.Question) { q.Resource.Tenant = "globex" }), false, "grant-is-of-this-tenant tenant-wall"},
		{"a grant doesn't open the tenant", lent(policy.Decide, ofNobody), false, "tenant-wall"},
		{"somebody else's grant", lent(policy.Decide, func(q *policy.Question) { q.Grant.Grantee = carla }), false, "grant-is-the-grantees-own"},
		{"the same name at another issuer is not the grantee", lent(policy.Decide, by("partner", countersign.Actor{Issuer: otherLena.Issuer, Subject: "liam"})), false, "grant-is-the-grantees-own"},
		{"a grant that is not in force", lent(policy.Decide, func(q *policy.Question) { q.Grant.InForce = false }), false, "grant-is-in-force"},
		{"the holder lost the role", lent(policy.Decide, func(q *policy.Question) { q.Grant.HolderRoles = []string{"counsel"} }), false, ""},
		{"the holder is not eligible", lent(policy.Decide, func(q *policy.Question) { q.Resource.Eligible = []countersign.Actor{liam} }), false, ""},
		{"a machine decides under no grant", lent(policy.Decide, by("machine", procurement), func(q *policy.Question) {
			q.Grant.Grantee, q.Resource.Requester = procurement, &carla
		}), false, "people-decide"},
		{"a stranger decides under no grant", lent(policy.Decide, func(q *policy.Question) {
			q.Principal = policy.Principal{Actor: otherLena, Kind: "stranger"}
			q.Grant.Grantee = otherLena
		}), false, "tenant-wall"},

		{"before the grant begins", lent(policy.Decide, at(notBefore.Add(-time.Second))), false, "within-the-grants-window"},
		{"a millisecond before the grant begins", lent(policy.Decide, at(notBefore.Add(-time.Millisecond))), false, "within-the-grants-window"},
		{"when the grant begins", lent(policy.Decide, at(notBefore)), true, decides},
		{"a second before the grant ends", lent(policy.Decide, at(notAfter.Add(-time.Second))), true, decides},
		{"a millisecond before the grant ends", lent(policy.Decide, at(notAfter.Add(-time.Millisecond))), true, decides},
		{"when the grant ends", lent(policy.Decide, at(notAfter)), false, "within-the-grants-window"},
		{"after the grant ended", lent(policy.Decide, at(notAfter.Add(time.Minute))), false, "within-the-grants-window"},

		{"whoever lent it requested", lent(policy.Decide, func(q *policy.Question) { q.Resource.Requester = &lena }), false, "requester-is-not-approver"},
		{"somebody of the chain requested", lent(policy.Decide, onward, func(q *policy.Question) { q.Resource.Requester = &carla }), false, "requester-is-not-approver"},
		{"the grantee requested", lent(policy.Decide, func(q *policy.Question) { q.Resource.Requester = &liam }), false, "requester-is-not-approver"},
		{"whoever lent it has decided", lent(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{lena} }), false, "one-person-one-vote"},
		{"somebody of the chain has decided", lent(policy.Decide, onward, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{carla} }), false, "one-person-one-vote"},
		{"the grantee has decided", lent(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{liam} }), false, "one-person-one-vote"},
		{"whoever has nothing to do with the grant has decided", lent(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{carla} }), true, decides},
		{"a grant moves no deadline", lent(policy.Decide, func(q *policy.Question) { q.Resource.Deadline = q.Now }), false, "before-the-deadline"},
		{"a grant is no proof", lent(policy.Decide, func(q *policy.Question) { q.Assurance = 0 }), false, "proof-strong-enough"},

		{"a grantee views", lent(policy.View), true, views},
		{"a grantee views another document", lent(policy.View, func(q *policy.Question) { q.Resource.Document = documentB }), false, "within-the-grants-scope"},
		{"a grant of somebody who takes no part shows nothing", lent(policy.View, func(q *policy.Question) { q.Resource.Eligible = []countersign.Actor{carla} }), false, ""},
		{"a grantee whose grant is over views nothing", lent(policy.View, at(notAfter)), false, "within-the-grants-window"},
		{"a grantee whose grant was revoked views nothing", lent(policy.View, func(q *policy.Question) { q.Grant.InForce = false }), false, "grant-is-in-force"},
		{"under somebody else's grant nobody views", lent(policy.View, func(q *policy.Question) { q.Grant.Grantee = carla }), false, "grant-is-the-grantees-own"},
		{"a grant lets nobody request", lent(policy.Request), false, ""},
		{"a grant lets nobody withdraw", lent(policy.Withdraw), false, ""},
	}
}
