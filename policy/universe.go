package policy

import (
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/countersign-dev/countersign"
)

// A universe is a small world in which every question can be asked that differs from a usual one in few parts. Its people are ana and
// ben, who belong to the tenant like amy, to whom something may be handed on, pat of a partner, bot, a machine, and sam, a stranger. Usually ana holds the role of the stage, lends it
// to ben, and bot requests. Names that a policy set compares with are part of its universe: a rule for the role "board" is asked about
// somebody who holds it.
type universe struct {
	parts  []part
	kinds  []string // of the values of the part partKind
	starts []start
	lacks  string // of what sort of name it left some out
}

// part is one thing in which a question can differ from a usual one.
type part struct {
	name     string
	reads    []string // what a policy names to read it
	kinds    []string // of resources that have it; empty for all
	ofGrant  bool     // only under a grant
	ofMember bool     // a stranger has none
	values   []value
}

type value struct {
	says string
	set  func(*Question)
}

// start is a usual question, which a good set allows.
type start struct {
	says string
	at   point
}

// point is one question of a universe: which value each part has.
type point []uint8

// The parts that others depend on come first.
const (
	partAction = iota
	partKind
	partWho
	partGrant
	firstFree
)

const stranger = "stranger"

var (
	ana = countersign.Actor{Issuer: "https://id.home.example", Subject: "ana"}
	ben = countersign.Actor{Issuer: "https://id.home.example", Subject: "ben"}
	amy = countersign.Actor{Issuer: "https://id.home.example", Subject: "amy"}
	pat = countersign.Actor{Issuer: "https://id.partner.example", Subject: "pat"}
	bot = countersign.Actor{Issuer: "https://id.home.example", Subject: "bot"}
	sam = countersign.Actor{Issuer: "https://id.elsewhere.example", Subject: "sam"}

	opens  = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	closes = opens.Add(8 * time.Hour)
)

// kindOf is what the tenant's settings say of somebody of the universe. Who is named by the policy set is at home.
func kindOf(a countersign.Actor) string {
	switch a {
	case pat:
		return "partner"
	case bot:
		return "machine"
	case sam:
		return stranger
	}
	return "home"
}

var (
	resourceAttributes = []string{
		"tenant", "role", "requester", "requesterIssuer", "eligible", "decided", "decidedIssuers", "deadline", "assurance", "request", "document", "purpose",
		"delegators", "grantee", "granteeKind", "granteeIssuer", "purposes", "holder",
	}
	grantAttributes = []string{
		"tenant", "holder", "holderRoles", "delegators", "issuers", "grantee", "role", "actions", "documents", "request", "purposes", "notBefore", "notAfter",
		"depth", "inForce",
	}
)

// wholeGrant is read by whoever compares the context or the grant itself, not one of its attributes.
const wholeGrant = "the whole grant"

// newUniverse is the universe of the given sets.
func newUniverse(sets ...*Engine) *universe {
	n := namesIn(sets)
	here, there := n.usual("tenant", "here"), "there"
	documentA, documentB := n.usual("document", countersign.SHA256([]byte("A"))), countersign.SHA256([]byte("B"))
	request1, request2 := n.usual("request", "R-1"), "R-2"
	buy, sell := n.usual("purpose", "buy"), "sell"
	signing := "saga/" + here + "/" + request1

	u := &universe{parts: []part{
		{name: "action", reads: []string{"action"}, values: texts(func(q *Question, s string) { q.Action = s },
			Decide, Delegate, Request, Withdraw, View, Accept, GiveBack, Revoke, Enrol, Retire, BreakGlass, Review)},
		{name: "resource", reads: append([]string{"resource"}, resourceAttributes...), values: kinds(signing, n.resources())},
		{name: "principal", reads: []string{"principal", "kind", "roles", "tenants", "issuer"}, values: people(func(q *Question, a *countersign.Actor) {
			q.Principal.Actor, q.Principal.Kind = *a, kindOf(*a)
		}, append([]*countersign.Actor{&ana, &ben, &pat, &bot, &sam}, n.actors()...)...)},
		{name: "grant", reads: append([]string{"grant", wholeGrant}, grantAttributes...), values: []value{
			{"none", func(*Question) {}},
			{"lent by ana", func(q *Question) { q.Grant = lentBy(ana) }},
			{"lent by pat", func(q *Question) { q.Grant = lentBy(pat) }},
			{"lent by ana, handed on by pat", func(q *Question) { q.Grant = lentBy(ana, pat) }},
		}},

		{name: "principal's roles", reads: []string{"roles"}, ofMember: true, values: lists(func(q *Question, s []string) { q.Principal.Roles = s },
			append([][]string{{"legal"}, {}, {"counsel"}, {"owner"}, {"compliance"}, {"requester"}, {"legal", "counsel", "owner", "compliance", "requester"}}, each(n.texts("role"))...)...)},
		{name: "principal's tenants", reads: []string{"tenants"}, ofMember: true, values: lists(func(q *Question, s []string) { q.Principal.Tenants = s },
			append([][]string{{here}, {}, {there}, {here, there}}, each(n.more("tenant"))...)...)},
		{name: "tenant", reads: []string{"tenant"}, values: texts(func(q *Question, s string) { q.Resource.Tenant = s }, append([]string{here, there}, n.more("tenant")...)...)},
		{name: "role", reads: []string{"role"}, kinds: []string{kindStage, kindGrant}, values: texts(func(q *Question, s string) { q.Resource.Role = s },
			append([]string{"legal", "counsel", ""}, n.texts("role")...)...)},
		{name: "requester", reads: []string{"requester", "requesterIssuer"}, kinds: []string{kindSigning, kindStage}, values: people(func(q *Question, a *countersign.Actor) {
			q.Resource.Requester = a
		}, append([]*countersign.Actor{&bot, &ana, &ben, &pat, nil}, n.actors()...)...)},
		{name: "eligible", reads: []string{"eligible"}, kinds: []string{kindSigning, kindStage}, values: groups(func(q *Question, a []countersign.Actor) { q.Resource.Eligible = a },
			append([][]countersign.Actor{{ana}, nil, {ben}, {pat}, {bot}, {ana, ben, pat}}, alone(n.actors())...)...)},
		{name: "decided", reads: []string{"decided", "decidedIssuers"}, kinds: []string{kindSigning, kindStage}, values: groups(func(q *Question, a []countersign.Actor) { q.Resource.Decided = a },
			nil, []countersign.Actor{ana}, []countersign.Actor{ben}, []countersign.Actor{pat})},
		{name: "now", reads: []string{"now", "deadline", wholeGrant}, values: instants(n.numbers("now"))},
		{name: "deadline", reads: []string{"deadline"}, kinds: []string{kindStage}, values: []value{
			{"a week later", func(q *Question) { q.Resource.Deadline = q.Now.Add(7 * 24 * time.Hour) }},
			{"now", func(q *Question) { q.Resource.Deadline = q.Now }},
			{"a millisecond later", func(q *Question) { q.Resource.Deadline = q.Now.Add(time.Millisecond) }},
			{"a millisecond ago", func(q *Question) { q.Resource.Deadline = q.Now.Add(-time.Millisecond) }},
			{"none", func(*Question) {}},
		}},
		{name: "assurance", reads: []string{"assurance", wholeGrant}, values: numbers(func(q *Question, i int) { q.Assurance = i }, append([]int{1, 0, 2}, n.small("assurance")...)...)},
		{name: "assurance asked for", reads: []string{"assurance"}, kinds: []string{kindStage}, values: numbers(func(q *Question, i int) { q.Resource.Assurance = i },
			append([]int{1, 0, 2}, n.small("assurance")...)...)},
		{name: "document", reads: []string{"document"}, kinds: []string{kindSigning, kindStage}, values: texts(func(q *Question, s string) { q.Resource.Document = s },
			append([]string{documentA, documentB, ""}, n.more("document")...)...)},
		{name: "request", reads: []string{"request"}, kinds: []string{kindSigning, kindStage}, values: texts(func(q *Question, s string) { q.Resource.Request = s },
			append([]string{request1, request2, ""}, n.more("request")...)...)},
		{name: "purpose", reads: []string{"purpose"}, kinds: []string{kindSigning, kindStage}, values: texts(func(q *Question, s string) { q.Resource.Purpose = s },
			append([]string{buy, sell}, n.more("purpose")...)...)},
		{name: "delegators", reads: []string{"delegators"}, kinds: []string{kindGrant}, values: groups(func(q *Question, a []countersign.Actor) { q.Resource.Delegators = a },
			[]countersign.Actor{ana}, []countersign.Actor{ana, ben}, []countersign.Actor{ana, pat, ben}, []countersign.Actor{pat}, nil)},
		{name: "grantee", reads: []string{"grantee", "granteeKind", "granteeIssuer"}, kinds: []string{kindGrant}, values: people(func(q *Question, a *countersign.Actor) {
			if q.Resource.Grantee = a; a != nil {
				q.Resource.GranteeKind = kindOf(*a)
			}
		}, append([]*countersign.Actor{&ben, &pat, &ana, &bot, &sam, nil, &amy}, n.actors()...)...)},
		{name: "covers", reads: []string{"purposes"}, kinds: []string{kindGrant}, values: lists(func(q *Question, s []string) { q.Resource.Purposes = s },
			[]string{}, []string{buy}, []string{sell})},
		{name: "holder", reads: []string{"holder"}, kinds: []string{kindKey}, values: people(func(q *Question, a *countersign.Actor) { q.Resource.Holder = a }, &ana, &ben, &bot, nil)},

		{name: "grant's tenant", reads: []string{"tenant", wholeGrant}, ofGrant: true, values: texts(func(q *Question, s string) { q.Grant.Tenant = s }, here, there)},
		{name: "holder's roles", reads: []string{"holderRoles", wholeGrant}, ofGrant: true, values: lists(func(q *Question, s []string) { q.Grant.HolderRoles = s }, []string{"legal"}, []string{}, []string{"counsel"})},
		{name: "grant's grantee", reads: []string{"grantee", wholeGrant}, ofGrant: true, values: people(func(q *Question, a *countersign.Actor) { q.Grant.Grantee = *a }, append([]*countersign.Actor{&ben, &ana, &pat, &bot, &sam}, n.actors()...)...)},
		{name: "grant's role", reads: []string{"role", wholeGrant}, ofGrant: true, values: texts(func(q *Question, s string) { q.Grant.Role = s }, "legal", "counsel")},
		{name: "grant's actions", reads: []string{"actions", wholeGrant}, ofGrant: true, values: lists(func(q *Question, s []string) { q.Grant.Actions = s },
			[]string{Decide, Delegate}, []string{Decide}, []string{Delegate}, []string{})},
		{name: "grant's scope", reads: []string{"documents", "request", wholeGrant}, ofGrant: true, values: []value{
			{"document A", func(q *Question) { q.Grant.Documents = []string{documentA} }},
			{"document B", func(q *Question) { q.Grant.Documents = []string{documentB} }},
			{"request 1", func(q *Question) { q.Grant.Documents, q.Grant.Request = []string{}, request1 }},
			{"request 2", func(q *Question) { q.Grant.Documents, q.Grant.Request = []string{}, request2 }},
			{"nothing", func(q *Question) { q.Grant.Documents = []string{} }},
		}},
		{name: "grant's purposes", reads: []string{"purposes", wholeGrant}, ofGrant: true, values: lists(func(q *Question, s []string) { q.Grant.Purposes = s },
			append([][]string{{}, {buy}}, each(n.more("purpose"))...)...)},
		{name: "grant's window", reads: []string{"notBefore", "notAfter", wholeGrant}, ofGrant: true, values: []value{
			{"8 hours", func(*Question) {}},
			{"92 days and a second", func(q *Question) { q.Grant.NotAfter = opens.Add(92*24*time.Hour + time.Second).Unix() }},
		}},
		{name: "grant's depth", reads: []string{"depth", wholeGrant}, ofGrant: true, values: numbers(func(q *Question, i int) { q.Grant.Depth = i }, append([]int{1, 0, 2}, n.small("depth")...)...)},
		{name: "grant's state", reads: []string{"inForce", wholeGrant}, ofGrant: true, values: []value{
			{"in force", func(q *Question) { q.Grant.InForce = true }}, {"not in force", func(q *Question) { q.Grant.InForce = false }},
		}},
	}}
	if left := n[tooMany]; left != nil {
		u.lacks = string(left[0].(types.String))
	}
	for _, v := range u.parts[partKind].values {
		var q Question
		v.set(&q)
		u.kinds = append(u.kinds, string(q.Resource.entity().Type))
	}
	u.starts = []start{
		u.start("ana decides", Decide, kindStage, "ana"),
		u.start("ben decides under ana's grant", Decide, kindStage, "ben", "principal's roles", "none", "grant", "lent by ana"),
		u.start("ben decides under ana's cover", Decide, kindStage, "ben", "principal's roles", "none", "grant", "lent by ana", "grant's scope", "nothing", "grant's purposes", buy),
		u.start("ana delegates to ben", Delegate, kindGrant, "ana"),
		u.start("ben hands ana's grant on to pat", Delegate, kindGrant, "ben", "principal's roles", "none", "grant", "lent by ana", "grantee", "pat", "delegators", "ana ben"),
		u.start("bot requests", Request, kindSigning, "bot", "principal's roles", "requester"),
		u.start("bot withdraws", Withdraw, kindSigning, "bot", "principal's roles", "requester"),
		u.start("ana views", View, kindSigning, "ana"),
		u.start("ben views under ana's grant", View, kindSigning, "ben", "principal's roles", "none", "grant", "lent by ana"),
		u.start("ben accepts", Accept, kindGrant, "ben", "principal's roles", "none"),
		u.start("ben gives back", GiveBack, kindGrant, "ben", "principal's roles", "none"),
		u.start("ana revokes", Revoke, kindGrant, "ana"),
		u.start("ana enrols a key", Enrol, kindKey, "ana"),
		u.start("ana breaks the glass", BreakGlass, kindStage, "ana", "assurance", "2"),
		u.start("ana reviews", Review, kindSigning, "ana", "principal's roles", "none"),
		u.start("ana retires a key", Retire, kindKey, "ana"),
	}
	return u
}

func lentBy(chain ...countersign.Actor) *Grant {
	return &Grant{Holder: chain[0], Delegators: chain, NotBefore: opens.Unix(), NotAfter: closes.Unix()}
}
