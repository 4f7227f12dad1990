package policy

import (
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign"
)

// Invariant is what every policy set must keep, whatever a tenant writes.
type Invariant struct {
	ID      string                `json:"id"`
	Promise string                `json:"promise"`
	broken  func(Question) string // how a question breaks it by being allowed; empty where it doesn't
}

// Invariants are written in Go and know nothing of Cedar: two descriptions of the same rules that must agree.
func Invariants() []Invariant {
	return []Invariant{
		{"tenant-wall", "nobody is allowed anything in a tenant that has not named them, and a grant of another tenant never helps", acrossTenants},
		{"grant-holds", "a grant gives nothing that is beyond it: not to another person, outside its window, or when it is not in force; no decision for another document, request, role or action", beyondTheGrant},
		{"grants-purposes", "no decision is beyond the purposes of a grant, or of the cover that it is a part of, and nothing is seen beyond them", beyondThePurposes},
		{"cover-stays-at-home", "cover for an absence, and what is a part of it, is given, taken and used by people of one organisation of the tenant's own, for 92 days at most, handed on at most once, and never made of less", coverAbroad},
		{"eligible-people-decide", "whoever decides on a role of their own is eligible in the stage; the quorum counts nobody else", notEligible},
		{"no-self-approval", "whoever requested never decides, neither in person nor through those to whom their authority was lent, or from whom", selfApproval},
		{"one-vote", "nobody votes twice, in person or by delegate", secondVote},
		{"people-decide", "machines and strangers never decide, and never give or take authority", notAPerson},
		{"entitled-to-delegate", "authority is given by whoever holds the role, or a grant that may be handed on, and never to themselves, to a stranger or to a machine", notTheirsToGive},
		{"proven", "no decision counts that is proven less than the stage asks, or not at all", unproven},
		{"in-time", "no decision counts at the deadline or after it, or where there is none", late},
		{"glass-is-not-lent", "the glass is broken by whom the purpose names for it, in person, by their own key, and never under a grant", brokenByOthers},
		{"reviewed-by-others", "nobody reviews what they did or requested themselves, or what is not theirs to review", reviewed},
	}
}

// deciding says that the question is about a decision, whatever its verdict.
func deciding(q Question) bool { return q.Action == Decide || q.Action == BreakGlass }

func brokenByOthers(q Question) string {
	switch {
	case q.Action != BreakGlass:
		return ""
	case q.Grant != nil:
		return "it is lent"
	case !slices.Contains(q.Resource.Eligible, q.Principal.Actor) || !slices.Contains(q.Principal.Roles, q.Resource.Role):
		return fmt.Sprintf("%s is not among those who may break the glass", q.Principal.Actor.Subject)
	case q.Assurance < 2:
		return "it is not proven by the person's own key"
	}
	return ""
}

func reviewed(q Question) string {
	who := q.Principal.Actor
	switch {
	case q.Action != Review:
		return ""
	case q.Grant != nil:
		return "it is lent"
	case !slices.Contains(q.Resource.Eligible, who) && !slices.Contains(q.Principal.Roles, "compliance"):
		return fmt.Sprintf("the review is not %s's", who.Subject)
	case slices.Contains(q.Resource.Decided, who) || q.Resource.Requester != nil && *q.Resource.Requester == who:
		return fmt.Sprintf("%s would review what they did themselves", who.Subject)
	}
	return ""
}

func acrossTenants(q Question) string {
	switch {
	case !slices.Contains(q.Principal.Tenants, q.Resource.Tenant):
		return fmt.Sprintf("%s has no role in %q", q.Principal.Actor.Subject, q.Resource.Tenant)
	case q.Grant != nil && q.Grant.Tenant != q.Resource.Tenant:
		return fmt.Sprintf("the grant is of %q, and this belongs to %q", q.Grant.Tenant, q.Resource.Tenant)
	}
	return ""
}

func beyondTheGrant(q Question) string {
	g := q.Grant
	if g == nil {
		return ""
	}
	switch {
	case g.Grantee != q.Principal.Actor:
		return fmt.Sprintf("the grant is %s's, not %s's", g.Grantee.Subject, q.Principal.Actor.Subject)
	case !g.InForce:
		return "the grant is not in force"
	case q.Now.UnixMilli() < g.NotBefore*1000:
		return "the grant's time has not begun"
	case q.Now.UnixMilli() >= g.NotAfter*1000:
		return "the grant's time is over"
	}
	covered := slices.Contains(g.Documents, q.Resource.Document) || g.Request != "" && g.Request == q.Resource.Request
	if len(g.Documents) == 0 && g.Request == "" {
		covered = slices.Contains(g.Purposes, q.Resource.Purpose)
	}
	if (q.Action == Decide || q.Action == View) && !covered {
		return "the grant is for another document or another request"
	}
	if q.Action != Decide {
		return ""
	}
	switch {
	case !slices.Contains(g.Actions, Decide):
		return "the grant doesn't let anybody decide"
	case g.Role != q.Resource.Role:
		return fmt.Sprintf("the grant is of the role %q, and the stage is of %q", g.Role, q.Resource.Role)
	case !slices.Contains(g.HolderRoles, q.Resource.Role):
		return fmt.Sprintf("%s, whose role was lent, doesn't hold it any more", g.Holder.Subject)
	case !slices.Contains(q.Resource.Eligible, g.Holder):
		return fmt.Sprintf("%s, whose role was lent, is not eligible in this stage", g.Holder.Subject)
	}
	return ""
}

func beyondThePurposes(q Question) string {
	g := q.Grant
	if (q.Action == Decide || q.Action == View) && g != nil && len(g.Purposes) > 0 && !slices.Contains(g.Purposes, q.Resource.Purpose) {
		return fmt.Sprintf("the grant covers other purposes than %q", q.Resource.Purpose)
	}
	return ""
}

// The bounds of cover, once more: what the root package says must not change alone.
const (
	longestCover = 92 * 24 * 60 * 60 // seconds
	deepestCover = 1
)

func coverAbroad(q Question) string {
	if q.Action != Decide && q.Action != View && q.Action != Delegate {
		return ""
	}
	g, who := q.Grant, q.Principal
	under := g != nil && len(g.Purposes) > 0
	gives := q.Action == Delegate && (under || len(q.Resource.Purposes) > 0)
	if (under || gives) && who.Kind != "home" {
		return fmt.Sprintf("%s is a %s", who.Actor.Subject, who.Kind)
	}
	if under {
		for _, d := range append([]countersign.Actor{g.Holder}, g.Delegators...) {
			if d.Issuer != who.Actor.Issuer {
				return fmt.Sprintf("%s is of another organisation than %s", who.Actor.Subject, d.Subject)
			}
		}
		switch {
		case g.NotAfter-g.NotBefore > longestCover:
			return "the cover is too long"
		case g.Depth > deepestCover:
			return "the cover may be handed on too often"
		}
	}
	if !gives {
		return ""
	}
	switch to := q.Resource.Grantee; {
	case to == nil || q.Resource.GranteeKind != "home":
		return "it is not known to be for somebody of the tenant's own"
	case to.Issuer != who.Actor.Issuer:
		return fmt.Sprintf("%s is of another organisation than %s", to.Subject, who.Actor.Subject)
	case g != nil && slices.ContainsFunc(q.Resource.Purposes, func(p string) bool { return !slices.Contains(g.Purposes, p) }):
		return "it covers more than the grant that it is made of"
	}
	return ""
}

func notEligible(q Question) string {
	if q.Action == Decide && q.Grant == nil && !slices.Contains(q.Resource.Eligible, q.Principal.Actor) {
		return fmt.Sprintf("%s is not eligible in this stage", q.Principal.Actor.Subject)
	}
	return ""
}

func selfApproval(q Question) string {
	r := q.Resource.Requester
	switch {
	case !deciding(q):
		return ""
	case r == nil:
		return "it is not known who requested"
	case *r == q.Principal.Actor:
		return fmt.Sprintf("%s requested it", r.Subject)
	case q.Grant != nil && (slices.Contains(q.Grant.Delegators, *r) || q.Grant.Holder == *r):
		return fmt.Sprintf("%s requested it, and the authority comes from %s", r.Subject, r.Subject)
	}
	return ""
}

func secondVote(q Question) string {
	if !deciding(q) {
		return ""
	}
	for _, voter := range q.Resource.Decided {
		switch {
		case voter == q.Principal.Actor:
			return fmt.Sprintf("%s has decided already", voter.Subject)
		case q.Grant != nil && (slices.Contains(q.Grant.Delegators, voter) || q.Grant.Holder == voter):
			return fmt.Sprintf("%s has decided already, and the authority comes from %s", voter.Subject, voter.Subject)
		}
	}
	return ""
}

func notAPerson(q Question) string {
	switch q.Action {
	case Decide, BreakGlass, Review, Delegate, Accept:
		if q.Principal.Kind != "home" && q.Principal.Kind != "partner" {
			return fmt.Sprintf("%s is a %s", q.Principal.Actor.Subject, q.Principal.Kind)
		}
	}
	return ""
}

func notTheirsToGive(q Question) string {
	if q.Action != Delegate {
		return ""
	}
	role, grantee, g := q.Resource.Role, q.Resource.Grantee, q.Grant
	switch {
	case grantee == nil:
		return "it is not known to whom"
	case q.Resource.GranteeKind != "home" && q.Resource.GranteeKind != "partner":
		return fmt.Sprintf("%s is a %s", grantee.Subject, q.Resource.GranteeKind)
	case *grantee == q.Principal.Actor, slices.Contains(q.Resource.Delegators, *grantee):
		return fmt.Sprintf("the authority comes from %s", grantee.Subject)
	case g == nil && !slices.Contains(q.Principal.Roles, role):
		return fmt.Sprintf("%s doesn't hold the role %q", q.Principal.Actor.Subject, role)
	case g == nil:
		return ""
	case g.Role != role:
		return fmt.Sprintf("the grant is of the role %q, and not of %q", g.Role, role)
	case !slices.Contains(g.Actions, Delegate) || g.Depth < 1:
		return "the grant may not be handed on"
	case !slices.Contains(g.HolderRoles, role):
		return fmt.Sprintf("%s, whose role was lent, doesn't hold it any more", g.Holder.Subject)
	}
	return ""
}

func unproven(q Question) string {
	switch {
	case !deciding(q):
		return ""
	case q.Assurance < 1:
		return "it is not proven"
	case q.Assurance < q.Resource.Assurance:
		return fmt.Sprintf("it is proven with assurance %d, and the stage asks for %d", q.Assurance, q.Resource.Assurance)
	}
	return ""
}

func late(q Question) string {
	switch {
	case !deciding(q):
		return ""
	case q.Resource.Deadline.IsZero():
		return "there is no deadline"
	case q.Now.UnixMilli() >= q.Resource.Deadline.UnixMilli():
		return "the deadline has passed"
	}
	return ""
}
