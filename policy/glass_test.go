package policy_test

import (
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// breaks is a question that the default set answers with yes: lena, an officer, breaks the glass by her own key.
func breaks(changes ...func(*policy.Question)) policy.Question {
	q := policy.Question{Action: policy.BreakGlass, Now: deadline.Add(-time.Hour), Assurance: 2, Resource: policy.Resource{
		Signing: "saga/acme/PO-1", Stage: "legal", Tenant: "acme", Role: "officer", Deadline: deadline, Assurance: 2, Requester: &procurement, Eligible: []countersign.Actor{lena},
	}}
	by("home", lena, "officer")(&q)
	for _, change := range changes {
		change(&q)
	}
	return q
}

// reviews is another: liam reviews what lena did.
func reviews(changes ...func(*policy.Question)) policy.Question {
	q := policy.Question{Action: policy.Review, Now: deadline, Resource: policy.Resource{
		Signing: "saga/acme/PO-1", Tenant: "acme", Requester: &procurement, Eligible: []countersign.Actor{liam}, Decided: []countersign.Actor{lena},
	}}
	by("home", liam)(&q)
	for _, change := range changes {
		change(&q)
	}
	return q
}

func underAGrant(q *policy.Question) {
	q.Grant = &policy.Grant{
		Tenant: "acme", Holder: liam, HolderRoles: []string{"officer"}, Delegators: []countersign.Actor{liam}, Grantee: q.Principal.Actor, Role: "officer",
		Actions: []string{policy.BreakGlass, policy.Review, policy.Decide}, Documents: []string{}, Request: "PO-1", NotBefore: deadline.Add(-24 * time.Hour).Unix(), NotAfter: deadline.Add(24 * time.Hour).Unix(), InForce: true,
	}
	q.Resource.Request = "PO-1"
}

func glassRows() []row {
	return []row{
		{"an officer breaks the glass", breaks(), true, "emergency-role-breaks-the-glass"},
		{"an officer of another tenant doesn't", breaks(ofNobody), false, "tenant-wall"},
		{"nor in a tenant of others", breaks(func(q *policy.Question) { q.Resource.Tenant = "globex" }), false, "tenant-wall"},
		{"nobody breaks the glass on another role", breaks(by("home", lena, "legal")), false, ""},
		{"nobody does whom the plan doesn't name for it", breaks(func(q *policy.Question) { q.Resource.Eligible = []countersign.Actor{liam} }), false, ""},
		{"whoever requested doesn't", breaks(func(q *policy.Question) { q.Resource.Requester = &lena }), false, "requester-is-not-approver"},
		{"whoever decided doesn't", breaks(func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{lena} }), false, "one-person-one-vote"},
		{"a machine doesn't", breaks(by("machine", lena, "officer")), false, "people-decide"},
		{"not at the deadline", breaks(func(q *policy.Question) { q.Now = deadline }), false, "before-the-deadline"},
		{"not by a login alone", breaks(func(q *policy.Question) { q.Assurance, q.Resource.Assurance = 1, 1 }), false, "the-glass-is-broken-by-the-persons-own-key"},
		{"not by a login alone, where the purpose asks for a key", breaks(func(q *policy.Question) { q.Assurance = 1 }), false, "proof-strong-enough the-glass-is-broken-by-the-persons-own-key"},
		{"not by proof that is less than asked", breaks(func(q *policy.Question) { q.Resource.Assurance = 3 }), false, "proof-strong-enough"},
		{"not for somebody else", breaks(underAGrant), false, "the-glass-is-not-lent"},

		{"the owner reviews", reviews(), true, "owner-reviews"},
		{"compliance reviews", reviews(by("home", otherLena, "compliance")), true, "owner-reviews"},
		{"others don't review", reviews(by("home", otherLena, "legal")), false, ""},
		{"an owner of another tenant doesn't review", reviews(ofNobody), false, "tenant-wall"},
		{"whoever broke the glass doesn't review it", reviews(by("home", lena, "compliance")), false, "nobody-reviews-themselves"},
		{"whoever requested doesn't review it", reviews(func(q *policy.Question) { q.Resource.Requester = &liam }), false, "nobody-reviews-themselves"},
		{"a machine reviews nothing", reviews(by("machine", liam)), false, "people-decide"},
		{"nobody reviews for somebody else", reviews(underAGrant), false, "the-glass-is-not-lent"},
	}
}
