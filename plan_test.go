package countersign_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestPlanFreezesStagesWithTheirPeople(t *testing.T) {
	t.Parallel()
	s := parsedSettings(t)
	given := start.Add(time.Hour).In(time.FixedZone("elsewhere", 3600))
	plan, refusal := s.Plan(countersign.Request{Purpose: "supplier-contract", Deadlines: map[string]time.Time{"counsel": given}}, countersign.Actor{}, start)
	if refusal != nil {
		t.Fatal(refusal)
	}
	legal, _ := plan.Stage("legal")
	if legal.Quorum != 2 || !legal.Deadline.Equal(start.Add(72*time.Hour)) || len(legal.Eligible) != 2 {
		t.Errorf("legal is %+v", legal)
	}
	for _, e := range legal.Eligible {
		if e.Actor.Subject == "procurement" {
			t.Error("a machine is eligible")
		}
	}
	counsel, _ := plan.Stage("counsel")
	if !counsel.Deadline.Equal(given) || counsel.Deadline.Location() != time.UTC {
		t.Errorf("counsel's deadline is %s, want the given one in UTC", counsel.Deadline)
	}
	if len(counsel.Eligible) != 1 || !counsel.Eligible[0].Partner {
		t.Errorf("counsel's people are %+v", counsel.Eligible)
	}
	if _, ok := legal.Find(counsel.Eligible[0].Actor); ok {
		t.Error("counsel is found in the legal stage")
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, code, message string
		request             countersign.Request
		requester           string
		change              func(*countersign.Settings)
	}{
		{"unknown purpose", "unknown-purpose", `has no purpose "birthday"; it has supplier-contract`, countersign.Request{Purpose: "birthday"}, "", nil},
		{"no purpose", "unknown-purpose", "has no purpose", countersign.Request{}, "", nil},
		{"past deadline", "past-deadline", `stage "legal" has the deadline 2026-03-01T11:59:59Z`, countersign.Request{Purpose: "supplier-contract", Deadlines: map[string]time.Time{"legal": start.Add(-time.Second)}}, "", nil},
		{"deadline of this instant", "past-deadline", "has passed", countersign.Request{Purpose: "supplier-contract", Deadlines: map[string]time.Time{"legal": start}}, "", nil},
		{"unknown stage", "unknown-stage", `the stage "board"`, countersign.Request{Purpose: "supplier-contract", Deadlines: map[string]time.Time{"board": start.Add(time.Hour)}}, "", nil},
		{"quorum too large", "quorum-too-large", `stage "legal" needs 2 approvals, but only 1 people hold the role "legal"`, countersign.Request{Purpose: "supplier-contract"}, "", func(s *countersign.Settings) { s.People = s.People[1:] }},
		{"machines don't fill a quorum", "quorum-too-large", `only 0 people`, countersign.Request{Purpose: "supplier-contract"}, "", func(s *countersign.Settings) { s.People = nil }},
		{"the requester would have to approve", "quorum-too-large", `stage "legal" needs 2 approvals, but only 1 people hold the role "legal" beside the requester, who can't approve`, countersign.Request{Purpose: "supplier-contract"}, "lena", nil},
		{"one person for two stages", "quorum-too-large", `stages "legal" and "counsel" need 3 approvals together, but only 2 people hold their roles; nobody counts twice`, countersign.Request{Purpose: "supplier-contract"}, "", func(s *countersign.Settings) {
			s.People = s.People[:2]
			s.People[0].Roles = []string{"legal", "counsel"}
		}},
		{"one person for two stages, but for the requester", "quorum-too-large", `need 3 approvals together, but only 2 people hold their roles beside the requester, who can't approve; nobody`, countersign.Request{Purpose: "supplier-contract"}, "carla", func(s *countersign.Settings) {
			s.People[0].Roles, s.People[1].Roles, s.People[2].Roles = []string{"legal", "counsel"}, []string{"legal", "counsel"}, []string{"legal", "counsel"}
			s.People[2].Issuer = "acme"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := parsedSettings(t)
			if c.change != nil {
				c.change(s)
			}
			plan, refusal := s.Plan(c.request, countersign.Actor{Issuer: "https://id.acme.example", Subject: c.requester}, start)
			if refusal == nil {
				t.Fatalf("planned %+v", plan)
			}
			if refusal.Code != c.code || !strings.Contains(refusal.Message, c.message) {
				t.Errorf("refused as %s: %s; want %s: …%s…", refusal.Code, refusal.Message, c.code, c.message)
			}
			if len(plan.Stages) != 0 {
				t.Error("a refused plan has stages")
			}
		})
	}
}

func TestR19_APlanKeepsTheRequesterAmongItsPeopleAndDoesNotCountOnThem(t *testing.T) {
	t.Parallel()
	s := parsedSettings(t)
	s.People = append(s.People, countersign.Person{Issuer: "acme", Subject: "lars", Name: "Lars Legal", Email: "lars@acme.example", Roles: []string{"legal"}})
	nobody, _ := s.Plan(countersign.Request{Purpose: "supplier-contract"}, countersign.Actor{}, start)
	plan, refusal := s.Plan(countersign.Request{Purpose: "supplier-contract"}, countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}, start)
	if refusal != nil {
		t.Fatalf("two of three are left, and two are needed: %v", refusal)
	}
	if one, other := must(plan.Digest()), must(nobody.Digest()); one != other {
		t.Error("the plan depends on who requests")
	}
}

func must(digest string, err error) string {
	if err != nil {
		panic(err)
	}
	return digest
}

// A plan is accepted exactly if some choice of people satisfies it; the other side of the comparison tries every choice.
func TestR16_APlanIsAcceptedExactlyIfDifferentPeopleCanMeetAllItsQuorums(t *testing.T) {
	t.Parallel()
	good := parsedSettings(t)
	rapid.Check(t, func(t *rapid.T) {
		s := *good
		s.People, s.Machines = nil, nil
		for n := range rapid.IntRange(0, 6).Draw(t, "people") {
			p := countersign.Person{Issuer: "acme", Subject: fmt.Sprint("p", n), Name: "P", Email: "p@acme.example"}
			for role := range 3 {
				if rapid.Bool().Draw(t, fmt.Sprintf("p%d has r%d", n, role)) {
					p.Roles = append(p.Roles, fmt.Sprint("r", role))
				}
			}
			s.People = append(s.People, p)
		}
		var stages []countersign.StageSetting
		for i := range rapid.IntRange(1, 3).Draw(t, "stages") {
			st := countersign.StageSetting{
				Name: fmt.Sprint("s", i), Role: fmt.Sprint("r", rapid.IntRange(0, 2).Draw(t, "role")), Quorum: rapid.IntRange(1, 3).Draw(t, "quorum"), Within: countersign.Duration(time.Hour),
			}
			for range rapid.IntRange(0, st.Quorum).Draw(t, "shares") {
				st.AtLeast = append(st.AtLeast, countersign.ShareSetting{Count: 1, Role: fmt.Sprint("r", rapid.IntRange(0, 2).Draw(t, "share"))})
			}
			stages = append(stages, st)
		}
		s.Purposes = map[string]countersign.Purpose{"any": {Title: "Any", Stages: stages}}
		requester := countersign.Actor{Issuer: "https://id.acme.example", Subject: fmt.Sprint("p", rapid.IntRange(0, 7).Draw(t, "requester"))}

		_, refusal := s.Plan(countersign.Request{Purpose: "any"}, requester, start)
		if possible := choice(&s, stages, requester); possible != (refusal == nil) {
			t.Fatalf("different people can meet the quorums: %v; the plan: %v", possible, refusal)
		}
		if refusal != nil && refusal.Code != "quorum-too-large" {
			t.Fatalf("refused as %s", refusal.Code)
		}
	})
}

// choice says whether some choice of places for the people, at most one each, fills all quorums.
func choice(s *countersign.Settings, stages []countersign.StageSetting, requester countersign.Actor) bool {
	type place struct{ role, share string }
	var open []place
	for _, st := range stages {
		for n := range st.Quorum {
			p := place{role: st.Role, share: st.Role}
			if n < len(st.AtLeast) {
				p.share = st.AtLeast[n].Role
			}
			open = append(open, p)
		}
	}
	members := s.Members()
	filled := make([]bool, len(open))
	var from func(n, left int) bool
	from = func(n, left int) bool {
		if left == 0 {
			return true
		}
		if n == len(members) || len(members)-n < left {
			return false
		}
		if from(n+1, left) {
			return true
		}
		for i, p := range open {
			roles := members[n].Roles
			if filled[i] || members[n].Actor == requester || !slices.Contains(roles, p.role) || !slices.Contains(roles, p.share) {
				continue
			}
			filled[i] = true
			met := from(n+1, left-1)
			filled[i] = false
			if met {
				return true
			}
		}
		return false
	}
	return from(0, len(open))
}

func person(n int) countersign.Actor {
	return countersign.Actor{Issuer: fmt.Sprintf("https://id%d.example", n%3), Subject: fmt.Sprint("p", n)}
}

// anyPlan draws a plan of one to four stages; its people may be eligible in several of them.
func anyPlan(t *rapid.T) countersign.Plan {
	var p countersign.Plan
	for i := range rapid.IntRange(1, 4).Draw(t, "stages") {
		s := countersign.Stage{Name: fmt.Sprint("s", i)}
		for n := range 8 {
			if rapid.Bool().Draw(t, fmt.Sprintf("p%d in s%d", n, i)) {
				s.Eligible = append(s.Eligible, countersign.Eligible{Actor: person(n)})
			}
		}
		s.Quorum = rapid.IntRange(1, 4).Draw(t, "quorum")
		p.Stages = append(p.Stages, s)
	}
	return p
}

func anyApprovals(t *rapid.T, p countersign.Plan) (list []countersign.Approval) {
	for range rapid.IntRange(0, 12).Draw(t, "approvals") {
		stage := p.Stages[rapid.IntRange(0, len(p.Stages)-1).Draw(t, "stage")]
		list = append(list, countersign.Approval{Stage: stage.Name, Actor: person(rapid.IntRange(0, 9).Draw(t, "person"))})
	}
	return list
}

// satisfying draws a plan with approvals that are exactly enough.
func satisfying(t *rapid.T) (countersign.Plan, []countersign.Approval) {
	var p countersign.Plan
	var list []countersign.Approval
	next := 0
	for i := range rapid.IntRange(1, 4).Draw(t, "stages") {
		s := countersign.Stage{Name: fmt.Sprint("s", i), Quorum: rapid.IntRange(1, 3).Draw(t, "quorum")}
		for range s.Quorum {
			s.Eligible = append(s.Eligible, countersign.Eligible{Actor: person(next)})
			list = append(list, countersign.Approval{Stage: s.Name, Actor: person(next)})
			next++
		}
		p.Stages = append(p.Stages, s)
	}
	return p, list
}

func TestSatisfiedNeverWithFewerDistinctEligiblePeopleThanTheQuorum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan(t)
		list := anyApprovals(t, p)
		if p.Satisfied(list) != nil {
			return
		}
		everybody := map[countersign.Actor]bool{}
		needed := 0
		for _, s := range p.Stages {
			people := map[countersign.Actor]bool{}
			for _, a := range list {
				if _, ok := s.Find(a.Actor); ok && a.Stage == s.Name {
					people[a.Actor], everybody[a.Actor] = true, true
				}
			}
			if len(people) < s.Quorum {
				t.Fatalf("stage %s is satisfied by %d people, its quorum is %d", s.Name, len(people), s.Quorum)
			}
			needed += s.Quorum
		}
		if len(everybody) < needed {
			t.Fatalf("%d people did what needs %d: somebody has two votes", len(everybody), needed)
		}
	})
}

func TestSatisfiedExactlyAtTheQuorum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, list := satisfying(t)
		if err := p.Satisfied(list); err != nil {
			t.Fatalf("enough approvals: %v", err)
		}
		drop := rapid.IntRange(0, len(list)-1).Draw(t, "dropped")
		if p.Satisfied(append(append([]countersign.Approval{}, list[:drop]...), list[drop+1:]...)) == nil {
			t.Fatal("satisfied with one approval less than enough")
		}
	})
}

func TestSatisfiedRefusesStrangersUnknownStagesAndSecondVotes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, list := satisfying(t)
		place := rapid.IntRange(0, len(list)).Draw(t, "place")
		with := func(a countersign.Approval) error {
			more := append([]countersign.Approval{}, list[:place]...)
			return p.Satisfied(append(append(more, a), list[place:]...))
		}
		known := list[rapid.IntRange(0, len(list)-1).Draw(t, "known")]
		otherIssuer := known.Actor
		otherIssuer.Issuer += "/other"
		for what, a := range map[string]countersign.Approval{
			"a stranger":                             {Stage: known.Stage, Actor: countersign.Actor{Issuer: "https://stranger.example", Subject: "s"}},
			"the same subject of another issuer":     {Stage: known.Stage, Actor: otherIssuer},
			"nobody":                                 {Stage: known.Stage},
			"an unknown stage":                       {Stage: "nowhere", Actor: known.Actor},
			"the same person again":                  known,
			"a person of one stage in another or so": {Stage: p.Stages[(place+1)%len(p.Stages)].Name, Actor: known.Actor},
		} {
			if with(a) == nil {
				t.Fatalf("adding %s is no error", what)
			}
		}
	})
}

// TestN07_AQuorumHasItsComposition is two of five, at least one counsel, none from the reseller.
func TestN07_AQuorumHasItsComposition(t *testing.T) {
	t.Parallel()
	const acme, hart, nord = "https://id.acme.example", "https://id.hart.example", "https://id.nord.example"
	who := func(issuer, name string, roles ...string) countersign.Eligible {
		return countersign.Eligible{Actor: countersign.Actor{Issuer: issuer, Subject: name}, Roles: roles}
	}
	ann, bob, cat, dan, eve := who(acme, "ann"), who(acme, "bob"), who(acme, "cat", "counsel"), who(hart, "dan", "counsel"), who(hart, "eve")
	rob := countersign.Actor{Issuer: nord, Subject: "rob"}
	plan := countersign.Plan{Stages: []countersign.Stage{{
		Name: "board", Role: "board", Quorum: 2, Eligible: []countersign.Eligible{ann, bob, cat, dan, eve},
		AtLeast: []countersign.Share{{Count: 1, Role: "counsel"}}, Without: []string{nord},
	}}}
	by := func(e countersign.Eligible, delegators ...countersign.Actor) countersign.Approval {
		return countersign.Approval{Stage: "board", Actor: e.Actor, Delegators: delegators}
	}
	for _, c := range []struct {
		name      string
		approvals []countersign.Approval
		refusal   string
	}{
		{"a counsel and somebody", []countersign.Approval{by(ann), by(cat)}, ""},
		{"in any order", []countersign.Approval{by(cat), by(ann)}, ""},
		{"two counsels", []countersign.Approval{by(cat), by(dan)}, ""},
		{"three, one of them counsel", []countersign.Approval{by(ann), by(bob), by(dan)}, ""},
		{"a counsel alone", []countersign.Approval{by(cat)}, `stage "board" has 1 of 2 approvals`},
		{"two without a counsel", []countersign.Approval{by(ann), by(bob)}, `stage "board" has 2 approvals, but not at least 1 of the role "counsel" among them`},
		{"all who are no counsel", []countersign.Approval{by(ann), by(bob), by(eve)}, `has 3 approvals, but not at least 1`},
		{"somebody in a counsel's place", []countersign.Approval{by(ann), {Stage: "board", Actor: bob.Actor, Delegators: []countersign.Actor{cat.Actor}}}, ""},
		{"a counsel in somebody's place", []countersign.Approval{by(ann), {Stage: "board", Actor: cat.Actor, Delegators: []countersign.Actor{bob.Actor}}}, `not at least 1 of the role "counsel"`},
		{"the reseller in a counsel's place", []countersign.Approval{by(ann), {Stage: "board", Actor: rob, Delegators: []countersign.Actor{cat.Actor}}}, "nobody of https://id.nord.example has a part in stage \"board\""},
		{"through the reseller's hands", []countersign.Approval{by(ann), {Stage: "board", Actor: bob.Actor, Delegators: []countersign.Actor{cat.Actor, rob}}}, "nobody of https://id.nord.example has a part"},
	} {
		err := plan.Satisfied(c.approvals)
		if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s: %v, want %q", c.name, err, c.refusal)
		}
	}
	each := plan
	each.Stages = []countersign.Stage{plan.Stages[0]}
	each.Stages[0].AtLeast = []countersign.Share{{Count: 1, Issuer: acme}, {Count: 1, Role: "counsel"}}
	if err := each.Satisfied([]countersign.Approval{by(cat), by(eve)}); err == nil {
		t.Error("one person fills two places")
	}
	if err := each.Satisfied([]countersign.Approval{by(cat), by(bob)}); err != nil {
		t.Errorf("cat is counsel, and bob of acme: %v", err)
	}
}

func TestR24_EscalationAddsPeopleFromItsInstantAndNeverLowersAQuorum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, list := satisfying(t)
		at := start.Add(time.Hour)
		for i := range p.Stages {
			p.Stages[i].Escalation = &countersign.Escalation{At: at, Role: "deputy", Eligible: []countersign.Eligible{{Actor: person(50 + i)}}}
		}
		i := rapid.IntRange(0, len(list)-1).Draw(t, "replaced")
		if p.Satisfied(append(append([]countersign.Approval{}, list[:i]...), list[i+1:]...)) == nil {
			t.Fatal("satisfied with one approval less than the quorum")
		}
		for j := range p.Stages {
			if p.Stages[j].Name == list[i].Stage {
				list[i].Actor = person(50 + j)
			}
		}
		list[i].At = at
		if err := p.Satisfied(list); err != nil {
			t.Fatalf("somebody whom escalation added: %v", err)
		}
		list[i].At = at.Add(-1)
		if p.Satisfied(list) == nil {
			t.Fatal("satisfied by somebody before the escalation that adds them")
		}
	})
}

func TestR24_WhoIsSkippedIncludesWhomEscalationHadAdded(t *testing.T) {
	t.Parallel()
	escalates := start.Add(time.Hour)
	p := countersign.Plan{Stages: []countersign.Stage{
		{Name: "met", Quorum: 1, Eligible: []countersign.Eligible{{Actor: person(1)}, {Actor: person(2)}}},
		{Name: "waits", Quorum: 2, Eligible: []countersign.Eligible{{Actor: person(3)}, {Actor: person(4)}},
			Escalation: &countersign.Escalation{At: escalates, Role: "deputy", Eligible: []countersign.Eligible{{Actor: person(5)}}}},
	}}
	for at, want := range map[time.Time][]countersign.Actor{escalates.Add(-1): {person(4)}, escalates: {person(4), person(5)}} {
		var got []countersign.Actor
		for _, e := range p.Skipped([]countersign.Approval{{Stage: "met", Actor: person(1)}, {Stage: "waits", Actor: person(3)}, {Stage: "waits", Actor: person(9), At: at, Skip: true}}) {
			got = append(got, e.Actor)
		}
		if !slices.Equal(got, want) {
			t.Errorf("broken at %s, skipped are %v, want %v", at, got, want)
		}
	}
}

func TestStagesOpenInOrderOrSideBySide(t *testing.T) {
	t.Parallel()
	p := countersign.Plan{Stages: []countersign.Stage{{Name: "a"}, {Name: "b", Beside: true}, {Name: "c"}, {Name: "d", Beside: true}, {Name: "e", Beside: true}}}
	var got []string
	for _, step := range p.Steps() {
		names := ""
		for _, s := range step {
			names += s.Name
		}
		got = append(got, names)
	}
	if strings.Join(got, " ") != "ab cde" {
		t.Errorf("the steps are %q", got)
	}
}

func TestSatisfiedDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan(t)
		list := anyApprovals(t, p)
		if rapid.Bool().Draw(t, "enough") {
			p, list = satisfying(t)
		}
		shuffled := rapid.Permutation(list).Draw(t, "order")
		if one, other := p.Satisfied(list), p.Satisfied(shuffled); (one == nil) != (other == nil) {
			t.Fatalf("in one order %v, in another %v", one, other)
		}
	})
}

func TestSatisfiedRefusesPlansThatAskForNothing(t *testing.T) {
	t.Parallel()
	if (countersign.Plan{}).Satisfied(nil) == nil {
		t.Error("a plan without a stage is satisfied")
	}
	for _, quorum := range []int{0, -1} {
		p := countersign.Plan{Stages: []countersign.Stage{{Name: "s", Quorum: quorum}}}
		if p.Satisfied(nil) == nil {
			t.Errorf("a quorum of %d is satisfied by nobody", quorum)
		}
	}
}
