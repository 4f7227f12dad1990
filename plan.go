package countersign

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Plan says who must approve, in which order and by when. It is made once, at intake, and frozen by its digest: what a
// tenant changes later does not reach a signing in flight.
type Plan struct {
	Purpose string  `json:"purpose"`
	Title   string  `json:"title"`
	Stages  []Stage `json:"stages"`
}

// Stage is one step of approval. Its deadline is an instant, not a period: a retry or a replay cannot move it.
type Stage struct {
	Name     string     `json:"name"`
	Role     string     `json:"role"`
	Quorum   int        `json:"quorum"`
	Deadline time.Time  `json:"deadline"`
	Eligible []Eligible `json:"eligible"`
	// Assurance is the least with which a decision must be proven: 1, an ID token bound to it; 2, a signature of the person's own enrolled
	// key as well. 0 is 1.
	Assurance int `json:"assurance,omitempty"`
}

// Eligible is a person who may decide in a stage, as the tenant listed them when the plan was frozen.
type Eligible struct {
	Actor        Actor  `json:"actor"`
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
	Partner      bool   `json:"partner,omitempty"`
}

// Digest freezes the plan.
func (p Plan) Digest() (string, error) { return Digest("countersign plan v1", p) }

// Stage finds a stage by name.
func (p Plan) Stage(name string) (Stage, bool) {
	for _, s := range p.Stages {
		if s.Name == name {
			return s, true
		}
	}
	return Stage{}, false
}

// Find says whether the actor is among those who may decide in the stage.
func (s Stage) Find(a Actor) (Eligible, bool) {
	for _, e := range s.Eligible {
		if e.Actor == a {
			return e, true
		}
	}
	return Eligible{}, false
}

// shortage is one stage or several whose quorums can't all be met: there are fewer people for them than approvals that they need.
type shortage struct {
	stages []int // places in the plan, in order
	needed int
	people int
	spared bool // the requester would be one of the people, and may not approve
}

// shortOf finds stages that can't all be met. A person counts once in a signing, and the requester never: so it gives each stage as many people
// as its quorum, moving those who are wanted elsewhere (augmenting paths), until somebody is missing. Whoever it then looked at in vain is
// the shortage (Hall's theorem). Without a requester, pass nobody.
func shortOf(stages []Stage, requester Actor) *shortage {
	for i, s := range stages {
		if people := s.others(requester); s.Quorum > len(people) {
			return lacking(stages, map[int]bool{i: true}, len(people), requester)
		}
	}
	kept := map[Actor]int{} // the stage that a person is kept for
	for i, s := range stages {
		for range s.Quorum {
			tried, asked := map[int]bool{}, map[Actor]bool{}
			var fill func(int) bool
			fill = func(stage int) bool {
				if tried[stage] {
					return false
				}
				tried[stage] = true
				for _, who := range stages[stage].others(requester) {
					if asked[who] {
						continue
					}
					asked[who] = true
					if elsewhere, taken := kept[who]; !taken || fill(elsewhere) {
						kept[who] = stage
						return true
					}
				}
				return false
			}
			if !fill(i) {
				return lacking(stages, tried, len(asked), requester)
			}
		}
	}
	return nil
}

// others are the different people who may decide in the stage, without the requester.
func (s Stage) others(requester Actor) []Actor {
	var out []Actor
	seen := map[Actor]bool{requester: true}
	for _, e := range s.Eligible {
		if !seen[e.Actor] {
			seen[e.Actor] = true
			out = append(out, e.Actor)
		}
	}
	return out
}

func lacking(stages []Stage, among map[int]bool, people int, requester Actor) *shortage {
	short := &shortage{people: people}
	for i, s := range stages {
		if among[i] {
			short.stages = append(short.stages, i)
			short.needed += s.Quorum
			_, holds := s.Find(requester)
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
		return Refuse("quorum-too-large", "stage %q needs %d approvals, but only %d people hold the role %q%s", st.Name, st.Quorum, s.people, st.Role, beside)
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

// Satisfied says whether the approvals are enough: as many different eligible people as the quorum asks, per stage. It
// is asked when a decision arrives, again in the moment of signing, and again by whoever verifies the evidence.
func (p Plan) Satisfied(approvals []Approval) error {
	if len(p.Stages) == 0 {
		return fmt.Errorf("the plan has no stage: nothing can be approved under it")
	}
	voted := map[Actor]string{}
	count := map[string]int{}
	for _, a := range approvals {
		stage, ok := p.Stage(a.Stage)
		if !ok {
			return fmt.Errorf("an approval names stage %q, which the plan doesn't have", clip(a.Stage))
		}
		if _, ok := stage.Find(a.holder()); !ok {
			return fmt.Errorf("%s approved in stage %q without being eligible there", a.holder(), a.Stage)
		}
		for _, person := range append([]Actor{a.Actor}, a.Delegators...) {
			if was, twice := voted[person]; twice {
				return fmt.Errorf("%s is counted twice, in stage %q and in %q", person, was, a.Stage)
			}
			voted[person] = a.Stage
		}
		count[a.Stage]++
	}
	for _, s := range p.Stages {
		if s.Quorum < 1 {
			return fmt.Errorf("stage %q has a quorum of %d; the least is 1", s.Name, s.Quorum)
		}
		if count[s.Name] < s.Quorum {
			return fmt.Errorf("stage %q has %d of %d approvals", s.Name, count[s.Name], s.Quorum)
		}
	}
	return nil
}

// Approval is one counted vote, reduced to what quorum arithmetic needs.
type Approval struct {
	Stage      string
	Actor      Actor
	Delegators []Actor // who lent the authority, the role's holder first; none where the actor holds the role
}

// holder is whose role the approval stands on.
func (a Approval) holder() Actor {
	if len(a.Delegators) > 0 {
		return a.Delegators[0]
	}
	return a.Actor
}
