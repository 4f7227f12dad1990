package policy_test

import (
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

var (
	lara  = countersign.Actor{Issuer: "https://id.acme.example", Subject: "lara"}
	colin = countersign.Actor{Issuer: "https://id.other.example", Subject: "colin"}
)

// covers is a question that the default set answers with yes because lena is away, and liam, a colleague, covers for her in signings of the
// purpose supply.
func covers(action string, changes ...func(*policy.Question)) policy.Question {
	q := lent(action, func(q *policy.Question) {
		q.Grant.Documents, q.Grant.Purposes = nil, []string{"supply"}
		if action == policy.Delegate {
			q.Resource.Grantee, q.Resource.GranteeKind = &lara, "home"
		} else {
			q.Resource.Purpose = "supply"
		}
	})
	for _, change := range changes {
		change(&q)
	}
	return q
}

// giving makes a question about giving a grant one about giving cover.
func giving(purposes ...string) func(*policy.Question) {
	return func(q *policy.Question) { q.Resource.Purposes = purposes }
}

// partOfCover makes the cover a part of one: for a document, or for one request.
func partOfCover(document, request string) func(*policy.Question) {
	return func(q *policy.Question) {
		if q.Grant.Request = request; document != "" {
			q.Grant.Documents = []string{document}
		}
		q.Grant.Delegators, q.Grant.Depth = []countersign.Actor{lena, lara}, 0
	}
}

func ofPurpose(name string) func(*policy.Question) {
	return func(q *policy.Question) { q.Resource.Purpose = name }
}

// lasting sets the grant's window, which ends when it did.
func lasting(d time.Duration) func(*policy.Question) {
	return func(q *policy.Question) { q.Grant.NotBefore = q.Grant.NotAfter - int64(d/time.Second) }
}

// coverRows are about cover for an absence: a grant over purposes.
func coverRows() []row {
	const (
		decides, views, delegates, handsOn           = "grantee-decides", "grantee-views", "role-holder-delegates", "grantee-delegates"
		colleague, stays, brief, narrows, otherScope = "cover-is-by-a-colleague", "cover-stays-in-the-organisation", "cover-is-short", "cover-only-narrows", "within-the-grants-purposes within-the-grants-scope"
	)
	day := 24 * time.Hour
	lentByPartner := func(q *policy.Question) {
		q.Grant.Holder, q.Grant.Delegators, q.Resource.Eligible = carla, []countersign.Actor{carla}, []countersign.Actor{carla}
	}
	byPartner := func(q *policy.Question) {
		q.Principal.Actor, q.Principal.Kind, q.Grant.Grantee = colin, "partner", colin
	}
	return []row{
		{"a colleague covers", covers(policy.Decide), true, decides},
		{"a colleague covers for several purposes", covers(policy.Decide, func(q *policy.Question) { q.Grant.Purposes = []string{"resale", "supply"} }), true, decides},
		{"a colleague covers at the end of a chain", covers(policy.Decide, func(q *policy.Question) { q.Grant.Delegators = []countersign.Actor{lena, lara} }), true, decides},
		{"cover reaches no other purpose", covers(policy.Decide, ofPurpose("resale")), false, otherScope},
		{"cover reaches nothing of which the purpose is not known", covers(policy.Decide, ofPurpose("")), false, otherScope},
		{"cover for a document's purpose reaches it, and that for the document alone is none", covers(policy.Decide, func(q *policy.Question) { q.Grant.Purposes = nil }), false, "within-the-grants-scope"},
		{"a part of cover for one document", covers(policy.Decide, partOfCover(documentA, "")), true, decides},
		{"a part of cover for one document reaches no other", covers(policy.Decide, partOfCover(documentB, "")), false, "within-the-grants-scope"},
		{"a part of cover for one document reaches it in its purpose alone", covers(policy.Decide, partOfCover(documentA, ""), ofPurpose("resale")), false, "within-the-grants-purposes"},
		{"a part of cover for one request", covers(policy.Decide, partOfCover("", "PO-1")), true, decides},
		{"a part of cover for one request reaches no other", covers(policy.Decide, partOfCover("", "PO-2")), false, "within-the-grants-scope"},
		{"a part of cover for one request reaches it in its purpose alone", covers(policy.Decide, partOfCover("", "PO-1"), ofPurpose("resale")), false, "within-the-grants-purposes"},

		{"when cover begins", covers(policy.Decide, at(notBefore)), true, decides},
		{"a millisecond before cover begins", covers(policy.Decide, at(notBefore.Add(-time.Millisecond))), false, "within-the-grants-window"},
		{"in the last second of cover", covers(policy.Decide, at(notAfter.Add(-time.Second))), true, decides},
		{"when cover ends", covers(policy.Decide, at(notAfter)), false, "within-the-grants-window"},
		{"cover of 92 days", covers(policy.Decide, lasting(92*day)), true, decides},
		{"cover of 92 days and a second", covers(policy.Decide, lasting(92*day+time.Second)), false, brief},
		{"a grant that is no cover has no such bound here", lent(policy.Decide, lasting(93*day)), true, decides},
		{"cover that may be handed on twice", covers(policy.Decide, func(q *policy.Question) { q.Grant.Depth = 2 }), false, brief},
		{"a grant that is no cover may be handed on twice", lent(policy.Decide, func(q *policy.Question) { q.Grant.Depth = 2 }), true, decides},

		{"a partner doesn't cover for the tenant's own", covers(policy.Decide, byPartner), false, colleague},
		{"the tenant's own don't cover for a partner", covers(policy.Decide, lentByPartner), false, colleague},
		{"a partner doesn't cover for a partner's own colleague", covers(policy.Decide, byPartner, lentByPartner), false, colleague},
		{"cover that went through a partner's hands", covers(policy.Decide, func(q *policy.Question) { q.Grant.Delegators = []countersign.Actor{lena, carla} }), false, colleague},
		{"a part of cover in a partner's hands", covers(policy.Decide, partOfCover("", "PO-1"), byPartner), false, colleague},

		{"who covers requested", covers(policy.Decide, func(q *policy.Question) { q.Resource.Requester = &liam }), false, "requester-is-not-approver"},
		{"who is covered for requested", covers(policy.Decide, func(q *policy.Question) { q.Resource.Requester = &lena }), false, "requester-is-not-approver"},
		{"who is covered for has decided", covers(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{lena} }), false, "one-person-one-vote"},
		{"who covers has decided", covers(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{liam} }), false, "one-person-one-vote"},

		{"a colleague who covers views", covers(policy.View), true, views},
		{"who covers views no other purpose", covers(policy.View, ofPurpose("resale")), false, otherScope},
		{"a partner views nothing by cover", covers(policy.View, byPartner), false, colleague},
		{"cover that is too long shows nothing", covers(policy.View, lasting(93*day)), false, brief},

		{"who holds the role has a colleague cover", lends(policy.Delegate, giving("supply")), true, delegates},
		{"nobody has a partner cover", lends(policy.Delegate, giving("supply"), to("partner", carla)), false, stays},
		{"nobody has a partner of their own issuer cover", lends(policy.Delegate, giving("supply"), to("partner", liam)), false, stays},
		{"nobody has one of the tenant's own cover who is of another organisation", lends(policy.Delegate, giving("supply"), to("home", carla)), false, stays},
		{"a partner has no colleague cover", lends(policy.Delegate, giving("supply"), by("partner", carla, "legal"), to("partner", colin)), false, stays},
		{"a partner has nobody cover, not even whom the tenant calls its own", lends(policy.Delegate, giving("supply"), by("partner", carla, "legal"), to("home", colin)), false, stays},

		{"cover is handed on to a colleague", covers(policy.Delegate, giving("supply")), true, handsOn},
		{"a part of cover is handed on to a colleague", covers(policy.Delegate), true, handsOn},
		{"cover is not handed on to a partner", covers(policy.Delegate, giving("supply"), to("partner", carla)), false, stays},
		{"a part of cover is not handed on to a partner", covers(policy.Delegate, to("partner", carla)), false, stays},
		{"cover is not handed on for another purpose", covers(policy.Delegate, giving("resale", "supply")), false, narrows},
		{"a grant for a document is not handed on as cover", lent(policy.Delegate, giving("supply"), to("home", lara)), false, narrows},
		{"cover that is too long is not handed on", covers(policy.Delegate, giving("supply"), lasting(93*day)), false, brief},
		{"cover that came from a partner is not handed on", covers(policy.Delegate, giving("supply"), func(q *policy.Question) {
			q.Grant.Holder, q.Grant.Delegators = carla, []countersign.Actor{carla}
		}), false, colleague},
	}
}
