package countersign

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A quorum is a number of places. Some are kept for certain people (Share), the others are for anybody who may decide in the stage. Each
// approval fills one place, and people move to where they are needed: so more approvals never make a met quorum unmet.

// places are the quorum's, those that are kept for somebody first.
func (s Stage) places() []*Share {
	var out []*Share
	for i := range s.AtLeast {
		for range s.AtLeast[i].Count {
			out = append(out, &s.AtLeast[i])
		}
	}
	for len(out) < s.Quorum {
		out = append(out, nil)
	}
	return out
}

// fits says whether a person can fill a place.
func (e Eligible) fits(kept *Share) bool {
	return kept == nil || (kept.Role == "" || slices.Contains(e.Roles, kept.Role)) && (kept.Issuer == "" || kept.Issuer == e.Actor.Issuer)
}

// String names a share: "2 of the role \"counsel\"".
func (s Share) String() string {
	var of []string
	if s.Role != "" {
		of = append(of, fmt.Sprintf("of the role %q", s.Role))
	}
	if s.Issuer != "" {
		of = append(of, "of "+s.Issuer)
	}
	return fmt.Sprintf("%d %s", s.Count, strings.Join(of, " "))
}

// seating gives each place a person who fits it, moving others where that helps (augmenting paths).
type seating struct {
	people func(place int) []int // who fits it
	holds  map[int]int           // person → place
}

// fill fills one more place. Where it can't, it returns the places and people among which it looked in vain: there are fewer of these than of
// those (Hall's theorem).
func (s *seating) fill(place int) (ok bool, places, people map[int]bool) {
	places, people = map[int]bool{}, map[int]bool{}
	var try func(int) bool
	try = func(place int) bool {
		if places[place] {
			return false
		}
		places[place] = true
		for _, who := range s.people(place) {
			if people[who] {
				continue
			}
			people[who] = true
			if elsewhere, taken := s.holds[who]; !taken || try(elsewhere) {
				s.holds[who] = place
				return true
			}
		}
		return false
	}
	return try(place), places, people
}

// Met says whether the approvals are the stage's quorum, with every share of it.
func (s Stage) Met(approvals []Approval) bool { return s.Lacks(approvals) == "" }

// Lacks says in words what the stage still needs beside the approvals; nothing where it is met.
func (s Stage) Lacks(approvals []Approval) string {
	if s.Quorum < 1 {
		return fmt.Sprintf("has a quorum of %d; the least is 1", s.Quorum)
	}
	var holders []Eligible
	for _, a := range approvals {
		if e, ok := s.At(a.At).Find(a.holder()); ok && a.Stage == s.Name && !a.Skip {
			holders = append(holders, e)
		}
	}
	places := s.places()
	if len(holders) < len(places) {
		return fmt.Sprintf("has %d of %d approvals", len(holders), len(places))
	}
	seats := &seating{holds: map[int]int{}, people: func(place int) (fit []int) {
		for i, e := range holders {
			if e.fits(places[place]) {
				fit = append(fit, i)
			}
		}
		return fit
	}}
	for i, kept := range places {
		if ok, _, _ := seats.fill(i); !ok {
			return fmt.Sprintf("has %d approvals, but not at least %s among them; each approval fills one place", len(holders), kept)
		}
	}
	return ""
}

// Satisfied says whether the approvals are enough: as many different eligible people as the quorum asks, per stage, with those among them who
// have to be. It is asked when a decision arrives, again in the moment of signing, and again by whoever verifies the evidence.
func (p Plan) Satisfied(approvals []Approval) error {
	if len(p.Stages) == 0 {
		return fmt.Errorf("the plan has no stage: nothing can be approved under it")
	}
	voted := map[Actor]string{}
	for _, a := range approvals {
		stage, ok := p.Stage(a.Stage)
		if !ok {
			return fmt.Errorf("an approval names stage %q, which the plan doesn't have", clip(a.Stage))
		}
		if _, ok := p.BreakGlass.Find(a.Actor); a.Skip && (!ok || len(a.Delegators) > 0) {
			return fmt.Errorf("%s broke the glass without being entitled to it", a.Actor)
		}
		if _, ok := stage.At(a.At).Find(a.holder()); !ok && !a.Skip {
			return fmt.Errorf("%s approved in stage %q without being eligible there", a.holder(), a.Stage)
		}
		people := append([]Actor{a.Actor}, a.Delegators...)
		if refusal := stage.Bars(people...); refusal != nil {
			return refusal
		}
		for _, person := range people {
			if was, twice := voted[person]; twice {
				return fmt.Errorf("%s is counted twice, in stage %q and in %q", person, was, a.Stage)
			}
			voted[person] = a.Stage
		}
	}
	if p.Broken(approvals) {
		return nil
	}
	for _, s := range p.Stages {
		if lacks := s.Lacks(approvals); lacks != "" {
			return fmt.Errorf("stage %q %s", s.Name, lacks)
		}
	}
	return nil
}

// Broken says that as many broke the glass as it takes.
func (p Plan) Broken(approvals []Approval) bool {
	if p.BreakGlass == nil || p.BreakGlass.Quorum < 1 {
		return false
	}
	broke := map[Actor]bool{}
	for _, a := range approvals {
		if _, ok := p.BreakGlass.Find(a.Actor); a.Skip && ok {
			broke[a.Actor] = true
		}
	}
	return len(broke) >= p.BreakGlass.Quorum
}

// Approval is one counted vote, reduced to what quorum arithmetic needs.
type Approval struct {
	Stage      string
	Actor      Actor
	Delegators []Actor   // who lent the authority, the role's holder first; none where the actor holds the role
	At         time.Time // when the server took the decision
	Skip       bool      // it breaks the glass, and fills no place of a quorum
}

// holder is whose role the approval stands on.
func (a Approval) holder() Actor {
	if len(a.Delegators) > 0 {
		return a.Delegators[0]
	}
	return a.Actor
}

// shortage is one stage or several whose quorums can't all be met: there are fewer people for them than places.
type shortage struct {
	stages []int  // places in the plan, in order
	share  *Share // of a single stage, where it is this one that nobody fills
	needed int
	people int
	spared bool // the requester would be one of the people, and may not approve
}

// shortOf finds stages that can't all be met. A person counts once in a signing, and the requester never: so it seats as many people as
// the quorums ask, until somebody is missing. It counts on nobody whom only escalation brings. Without a requester, pass nobody.
func shortOf(stages []Stage, requester Actor) *shortage {
	for i, s := range stages {
		people := s.others(requester)
		if s.Quorum > len(people) {
			return lacking(stages, map[int]bool{i: true}, s.Quorum, len(people), requester)
		}
		for j := range s.AtLeast {
			share := &s.AtLeast[j]
			if n := len(slices.DeleteFunc(slices.Clone(people), func(e Eligible) bool { return !e.fits(share) })); n < share.Count {
				short := lacking(stages, map[int]bool{i: true}, share.Count, n, requester)
				short.share = share
				return short
			}
		}
	}
	type place struct {
		stage int
		kept  *Share
	}
	var places []place
	for i, s := range stages {
		for _, kept := range s.places() {
			places = append(places, place{i, kept})
		}
	}
	var numbers []Actor
	number := map[Actor]int{}
	seats := &seating{holds: map[int]int{}, people: func(at int) (fit []int) {
		for _, e := range stages[places[at].stage].others(requester) {
			if !e.fits(places[at].kept) {
				continue
			}
			n, known := number[e.Actor]
			if !known {
				n = len(numbers)
				number[e.Actor], numbers = n, append(numbers, e.Actor)
			}
			fit = append(fit, n)
		}
		return fit
	}}
	for at := range places {
		if ok, tried, asked := seats.fill(at); !ok {
			among, needed := map[int]bool{}, 0
			for p := range tried {
				among[places[p].stage] = true
			}
			// The places of a stage that are not tried yet want the same people.
			for _, p := range places {
				if among[p.stage] && p.kept == nil {
					needed++
				}
			}
			for p := range tried {
				if places[p].kept != nil {
					needed++
				}
			}
			return lacking(stages, among, needed, len(asked), requester)
		}
	}
	return nil
}

// others are the different people who may decide in the stage, without the requester.
func (s Stage) others(requester Actor) []Eligible {
	var out []Eligible
	seen := map[Actor]bool{requester: true}
	for _, e := range s.Eligible {
		if !seen[e.Actor] {
			seen[e.Actor] = true
			out = append(out, e)
		}
	}
	return out
}

func lacking(stages []Stage, among map[int]bool, needed, people int, requester Actor) *shortage {
	short := &shortage{needed: needed, people: people}
	for i, s := range stages {
		if among[i] {
			short.stages = append(short.stages, i)
			_, _, holds := s.find(requester, false)
			short.spared = short.spared || holds
		}
	}
	return short
}

// refusal says which stages are short of people, and why.
func (s *shortage) refusal(stages []Stage) *Refusal {
	beside := ""
	if s.spared {
		beside = " beside the requester, who can't approve"
	}
	if len(s.stages) == 1 {
		st := stages[s.stages[0]]
		if s.share != nil {
			return Refuse("quorum-too-large", "stage %q needs at least %s among its approvals, but only %d of its people are that%s", st.Name, s.share, s.people, beside)
		}
		if s.needed <= s.people || len(st.AtLeast) > 0 {
			return Refuse("quorum-too-large", "stage %q can't fill the %d places of its quorum with different people%s; each approval fills one", st.Name, len(st.places()), beside)
		}
		return Refuse("quorum-too-large", "stage %q needs %d approvals, but only %d people hold the role %q%s", st.Name, s.needed, s.people, st.Role, beside)
	}
	return Refuse("quorum-too-large", "stages %s need %d approvals together, but only %d people hold their roles%s; nobody counts twice in a signing",
		s.names(stages), s.needed, s.people, beside)
}

func (s *shortage) names(stages []Stage) string {
	var names []string
	for _, i := range s.stages {
		names = append(names, strconv.Quote(stages[i].Name))
	}
	return strings.Join(names, " and ")
}
