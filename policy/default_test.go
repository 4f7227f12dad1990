package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

var (
	deadline = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

	lena        = countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}
	otherLena   = countersign.Actor{Issuer: "https://id.other.example", Subject: "lena"}
	liam        = countersign.Actor{Issuer: "https://id.acme.example", Subject: "liam"}
	procurement = countersign.Actor{Issuer: "https://id.acme.example", Subject: "procurement"}
)

// may is a question that the default set answers with yes, as a start for the ones that it doesn't.
func may(action string) policy.Question {
	q := policy.Question{Action: action, Now: deadline.Add(-time.Hour), Resource: policy.Resource{Signing: "saga/acme/PO-1", Tenant: "acme"}}
	q.Principal = policy.Principal{Actor: lena, Kind: "home", Roles: []string{"legal"}, Tenants: []string{"acme"}}
	switch action {
	case policy.Request:
		q.Principal = policy.Principal{Actor: procurement, Kind: "machine", Roles: []string{"requester"}, Tenants: []string{"acme"}}
	case policy.Decide:
		q.Assurance = 1
		q.Resource.Stage, q.Resource.Role, q.Resource.Deadline, q.Resource.Assurance = "legal", "legal", deadline, 1
		q.Resource.Requester, q.Resource.Eligible = &procurement, []countersign.Actor{liam, lena}
	case policy.Withdraw:
		q.Resource.Requester = &lena
	case policy.View:
		q.Resource.Requester, q.Resource.Eligible = &procurement, []countersign.Actor{lena}
	}
	return q
}

func but(action string, changes ...func(*policy.Question)) policy.Question {
	q := may(action)
	for _, change := range changes {
		change(&q)
	}
	return q
}

func by(kind string, a countersign.Actor, roles ...string) func(*policy.Question) {
	return func(q *policy.Question) {
		q.Principal = policy.Principal{Actor: a, Kind: kind, Roles: roles, Tenants: []string{"acme"}}
	}
}

func ofNobody(q *policy.Question) { q.Principal.Tenants = nil }

// row is a question with the answer of the default set and the ids of the policies that determine it.
type row struct {
	name     string
	question policy.Question
	allowed  bool
	ids      string
}

// table is every row, by subject: what people and machines do on their own, and what they do with grants and keys.
func table() []row {
	return slices.Concat(ownRows(), grantRows(), coverRows(), lendingRows(), keyRows(), glassRows())
}

func ownRows() []row {
	return []row{
		{"a requester requests", may(policy.Request), true, "requester-requests"},
		{"a person with that role requests", but(policy.Request, by("home", lena, "legal", "requester")), true, "requester-requests"},
		{"without the role nobody requests", but(policy.Request, by("machine", procurement, "legal")), false, ""},
		{"a stranger requests nothing", but(policy.Request, func(q *policy.Question) {
			q.Principal = policy.Principal{Actor: otherLena, Kind: "stranger"}
		}), false, "tenant-wall"},
		{"a requester of another tenant requests nothing here", but(policy.Request, func(q *policy.Question) { q.Principal.Tenants = []string{"globex"} }), false, "tenant-wall"},

		{"an eligible holder of the role decides", may(policy.Decide), true, "stage-role-decides"},
		{"a partner decides", but(policy.Decide, by("partner", lena, "legal")), true, "stage-role-decides"},
		{"the role alone is not enough", but(policy.Decide, func(q *policy.Question) { q.Resource.Eligible = []countersign.Actor{liam} }), false, ""},
		{"being eligible alone is not enough", but(policy.Decide, by("home", lena)), false, ""},
		{"another role is not enough", but(policy.Decide, by("home", lena, "counsel", "requester", "compliance")), false, ""},
		{"the same name at another issuer is somebody else", but(policy.Decide, by("partner", otherLena, "legal")), false, ""},
		{"nobody is eligible", but(policy.Decide, func(q *policy.Question) { q.Resource.Eligible = nil }), false, ""},
		{"whoever requested doesn't decide", but(policy.Decide, func(q *policy.Question) { q.Resource.Requester = &lena }), false, "requester-is-not-approver"},
		{"nobody decides twice", but(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{liam, lena} }), false, "one-person-one-vote"},
		{"somebody else's vote is no hindrance", but(policy.Decide, func(q *policy.Question) { q.Resource.Decided = []countersign.Actor{liam, otherLena} }), true, "stage-role-decides"},
		{"a machine doesn't decide", but(policy.Decide, by("machine", lena, "legal")), false, "people-decide"},
		{"a millisecond before the deadline", but(policy.Decide, func(q *policy.Question) { q.Now = deadline.Add(-time.Millisecond) }), true, "stage-role-decides"},
		{"at the deadline", but(policy.Decide, func(q *policy.Question) { q.Now = deadline }), false, "before-the-deadline"},
		{"a nanosecond before the deadline", but(policy.Decide, func(q *policy.Question) { q.Now = deadline.Add(-time.Nanosecond) }), true, "stage-role-decides"},
		{"after the deadline", but(policy.Decide, func(q *policy.Question) { q.Now = deadline.Add(time.Hour) }), false, "before-the-deadline"},
		{"without a deadline", but(policy.Decide, func(q *policy.Question) { q.Resource.Deadline = time.Time{} }), false, "before-the-deadline"},
		{"not proven", but(policy.Decide, func(q *policy.Question) { q.Assurance = 0 }), false, "proof-strong-enough"},
		{"not proven, where nobody said how strongly", but(policy.Decide, func(q *policy.Question) { q.Assurance, q.Resource.Assurance = 0, 0 }), false, "proof-strong-enough"},
		{"proven less than asked", but(policy.Decide, func(q *policy.Question) { q.Resource.Assurance = 2 }), false, "proof-strong-enough"},
		{"proven more than asked", but(policy.Decide, func(q *policy.Question) { q.Assurance = 2 }), true, "stage-role-decides"},
		{"in a tenant of others", but(policy.Decide, func(q *policy.Question) { q.Resource.Tenant = "globex" }), false, "tenant-wall"},
		{"everything at once", but(policy.Decide, by("machine", procurement), ofNobody, func(q *policy.Question) {
			q.Now, q.Assurance, q.Resource.Decided = deadline, 0, []countersign.Actor{procurement}
		}), false, "before-the-deadline one-person-one-vote people-decide proof-strong-enough requester-is-not-approver tenant-wall"},

		{"the requester withdraws", may(policy.Withdraw), true, "requester-withdraws"},
		{"an approver doesn't withdraw", but(policy.Withdraw, by("home", liam, "legal", "requester")), false, ""},
		{"the same name at another issuer doesn't withdraw", but(policy.Withdraw, by("home", otherLena, "requester")), false, ""},
		{"a requester who was removed doesn't withdraw", but(policy.Withdraw, ofNobody), false, "tenant-wall"},

		{"an approver views", may(policy.View), true, "parties-view"},
		{"the requester views", but(policy.View, by("machine", procurement)), true, "parties-view"},
		{"compliance views", but(policy.View, by("home", liam, "compliance")), true, "compliance-views"},
		{"compliance that takes part views", but(policy.View, by("home", lena, "compliance")), true, "compliance-views parties-view"},
		{"others don't view", but(policy.View, by("home", liam, "legal")), false, ""},
		{"compliance of another tenant doesn't view", but(policy.View, by("home", liam, "compliance"), ofNobody), false, "tenant-wall"},

		{"an action that nobody knows", but("terminate", by("home", lena, "legal", "requester", "compliance")), false, ""},
		{"no action", but("", by("home", lena, "legal", "requester", "compliance")), false, ""},
	}
}

func engine(t testing.TB, text string) *policy.Engine {
	t.Helper()
	e, err := policy.NewEngine(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDefaultSet(t *testing.T) {
	t.Parallel()
	e := engine(t, policy.Default())
	for _, r := range table() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a := e.Ask(r.question)
			if a.Allowed != r.allowed || strings.Join(a.Policies, " ") != r.ids || len(a.Errors) > 0 {
				t.Fatalf("answered %+v; want %v by %q", a, r.allowed, r.ids)
			}
			if a.Set != e.Hash() || a.Set != countersign.SHA256([]byte(policy.Default())) {
				t.Errorf("the answer cites set %s", a.Set)
			}
			first, _, _ := strings.Cut(r.ids, " ")
			switch {
			case r.allowed:
				if a.Refusal != "" || a.Code() != "" {
					t.Errorf("allowed, with the refusal %q, code %q", a.Refusal, a.Code())
				}
			case r.ids == "":
				if a.Code() != "not-entitled" || a.Refusal != "nothing gives you this right here" {
					t.Errorf("refused as %s: %q", a.Code(), a.Refusal)
				}
			default:
				if a.Code() != first || !strings.Contains(policy.Default(), "@refusal(\""+a.Refusal+"\")") || a.Refusal == "" {
					t.Errorf("refused as %s: %q", a.Code(), a.Refusal)
				}
			}
		})
	}
}

func TestEveryForbidOfTheDefaultSetTellsThePersonWhy(t *testing.T) {
	t.Parallel()
	for _, p := range defaultList(t) {
		if p.Effect() == cedar.Forbid && p.Annotations()["refusal"] == "" {
			t.Errorf("%s has no @refusal", p.Annotations()["id"])
		}
	}
}

func defaultList(t testing.TB) cedar.PolicyList {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes("default.cedar", []byte(policy.Default()))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Each policy carries its weight: without it, somebody may do what they may not, or may not what they may.
func TestNoPolicyOfTheDefaultSetCanBeRemovedUnnoticed(t *testing.T) {
	t.Parallel()
	list := defaultList(t)
	for i, removed := range list {
		id := string(removed.Annotations()["id"])
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			rest := slices.Delete(slices.Clone(list), i, i+1)
			e := engine(t, string(rest.MarshalCedar()))
			for _, r := range table() {
				if e.Ask(r.question).Allowed != r.allowed {
					return
				}
			}
			t.Error("every answer stays the same without it")
		})
	}
}

func TestRewritingTheTextKeepsTheAnswers(t *testing.T) {
	t.Parallel()
	list := defaultList(t)
	slices.Reverse(list)
	e := engine(t, string(list.MarshalCedar()))
	for _, r := range table() {
		if a := e.Ask(r.question); a.Allowed != r.allowed || strings.Join(a.Policies, " ") != r.ids {
			t.Errorf("%s: answered %+v", r.name, a)
		}
	}
	if e.Hash() == countersign.SHA256([]byte(policy.Default())) {
		t.Error("another text has the same hash")
	}
}

func TestAnErrorInAnyPolicyDenies(t *testing.T) {
	t.Parallel()
	const permit = `@id("a") permit (principal, action, resource);`
	for name, text := range map[string]string{
		"a permit that errs":           permit + `@id("z") permit (principal, action, resource) when { principal.clearance > 3 };`,
		"a forbid that errs":           permit + `@id("z") forbid (principal, action, resource) when { resource.frozen };`,
		"a context that is missing":    permit + `@id("z") forbid (principal, action, resource) when { context.weekday == 7 };`,
		"a wrong type":                 permit + `@id("z") forbid (principal, action, resource) when { principal.kind > 3 };`,
		"an overflow":                  permit + `@id("z") forbid (principal, action, resource) when { context.now * 9223372036854775807 > 0 };`,
		"a forbid that errs over deny": permit + `@id("f") forbid (principal, action, resource);@id("z") forbid (principal, action, resource) when { resource.frozen };`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := engine(t, text).Ask(may(policy.Decide))
			if a.Allowed || !reflect.DeepEqual(a.Errors, []string{"z"}) || a.Code() != "policy-error" || !strings.Contains(a.Refusal, "could not be evaluated") {
				t.Errorf("answered %+v, code %s", a, a.Code())
			}
		})
	}
}

func TestADecisionWithoutARequesterIsDeniedByTheError(t *testing.T) {
	t.Parallel()
	a := engine(t, policy.Default()).Ask(but(policy.Decide, func(q *policy.Question) { q.Resource.Requester = nil }))
	if a.Allowed || a.Code() != "policy-error" || !reflect.DeepEqual(a.Errors, []string{"requester-is-not-approver"}) {
		t.Errorf("answered %+v", a)
	}
}

func TestPolicySetsThatCannotBeCitedAreRefused(t *testing.T) {
	t.Parallel()
	const good = `@id("a") permit (principal, action, resource);`
	for name, c := range map[string]struct{ text, message string }{
		"empty":           {"", "it has no policy"},
		"only a comment":  {"// nothing\n", "it has no policy"},
		"no @id":          {good + "\npermit (principal, action, resource);", "line 2 needs an @id"},
		"empty @id":       {good + "\n\n@id(\"\") permit (principal, action, resource);", "line 3 needs an @id"},
		"duplicate @id":   {good + "\n" + good, `(it has "a")`},
		"another tag":     {`@name("a") permit (principal, action, resource);`, "needs an @id"},
		"no Cedar":        {"allow everybody;", "couldn't load the policy set"},
		"a cut policy":    {good[:20], "couldn't load the policy set"},
		"more than 256 K": {good + "//" + strings.Repeat("x", 256<<10), "at most 262144"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if e, err := policy.NewEngine(c.text); err == nil || e != nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v; want %q", err, c.message)
			}
		})
	}
}

func TestForbidWithoutATextStillSaysWhichOne(t *testing.T) {
	t.Parallel()
	a := engine(t, `@id("shut") forbid (principal, action, resource);`).Ask(may(policy.View))
	if a.Allowed || a.Code() != "shut" || a.Refusal != "policy shut forbids it" {
		t.Errorf("answered %+v", a)
	}
}

func TestReasonsHaveOneOrderInFiveHundredAsks(t *testing.T) {
	t.Parallel()
	for _, r := range table() {
		if strings.Count(r.ids, " ") == 0 {
			continue
		}
		want := engine(t, policy.Default()).Ask(r.question)
		e := engine(t, policy.Default())
		for range 500 {
			q := r.question
			q.Principal.Roles, q.Resource.Decided = shuffled(q.Principal.Roles), shuffled(q.Resource.Decided)
			if a := e.Ask(q); !reflect.DeepEqual(a, want) {
				t.Fatalf("%s: answered %+v, then %+v", r.name, want, a)
			}
		}
	}
}

func shuffled[T any](list []T) []T {
	list = slices.Clone(list)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// A question is recorded beside its answer: it comes back from JSON with the same answer, and asking does not change it.
func TestAskIsPure(t *testing.T) {
	t.Parallel()
	e := engine(t, policy.Default())
	var all sync.WaitGroup
	for _, r := range table() {
		before, err := json.Marshal(r.question)
		if err != nil {
			t.Fatal(err)
		}
		var recorded policy.Question
		if err := json.Unmarshal(before, &recorded); err != nil {
			t.Fatal(err)
		}
		want := e.Ask(r.question)
		for range 4 {
			all.Go(func() {
				if a := e.Ask(r.question); !reflect.DeepEqual(a, want) {
					t.Errorf("%s: %+v, then %+v", r.name, want, a)
				}
				if a := e.Ask(recorded); !reflect.DeepEqual(a, want) {
					t.Errorf("%s: from JSON the answer is %+v, not %+v", r.name, a, want)
				}
			})
		}
		all.Wait()
		if after, err := json.Marshal(r.question); err != nil || string(after) != string(before) {
			t.Errorf("%s: asking made\n%s of\n%s (%v)", r.name, after, before, err)
		}
	}
}

func TestPrincipalOfIsWhatTheTenantSaysOfSomebody(t *testing.T) {
	t.Parallel()
	s := &countersign.Settings{
		Tenant: "acme",
		Issuers: []countersign.Issuer{
			{ID: "acme", URL: lena.Issuer, Kind: "home"}, {ID: "other", URL: otherLena.Issuer, Kind: "partner"},
		},
		People: []countersign.Person{
			{Issuer: "acme", Subject: "lena", Roles: []string{"legal"}}, {Issuer: "other", Subject: "carla", Roles: []string{"counsel"}},
		},
		Machines: []countersign.Machine{{Issuer: "acme", Subject: "procurement", Roles: []string{"requester"}}},
	}
	for _, c := range []struct {
		actor               countersign.Actor
		kind, roles, tenant string
	}{
		{lena, "home", "legal", "acme"},
		{otherLena, "stranger", "", ""},
		{countersign.Actor{Issuer: otherLena.Issuer, Subject: "carla"}, "partner", "counsel", "acme"},
		{procurement, "machine", "requester", "acme"},
		{countersign.Actor{}, "stranger", "", ""},
	} {
		p := policy.PrincipalOf(s, c.actor)
		if p.Kind != c.kind || fmt.Sprint(p.Roles) != "["+c.roles+"]" || fmt.Sprint(p.Tenants) != "["+c.tenant+"]" || p.Actor != c.actor {
			t.Errorf("%s is %+v", c.actor, p)
		}
	}
}

func BenchmarkAsk(b *testing.B) {
	for _, people := range []int{2, 200} {
		b.Run(fmt.Sprintf("people=%d", people), func(b *testing.B) {
			e := engine(b, policy.Default())
			q := may(policy.Decide)
			for n := range people - 2 {
				q.Resource.Eligible = append(q.Resource.Eligible, countersign.Actor{Issuer: lena.Issuer, Subject: fmt.Sprint("p", n)})
			}
			b.ReportAllocs()
			for b.Loop() {
				if !e.Ask(q).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}
