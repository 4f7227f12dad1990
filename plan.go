package countersign

import (
	"slices"
	"time"
)

// Plan says who must approve, in which order and by when. It is made once, at intake, and frozen by its digest: what a
// tenant changes later does not reach a signing in flight.
type Plan struct {
	Purpose string  `json:"purpose"`
	Title   string  `json:"title"`
	Stages  []Stage `json:"stages"`
	// Owner answers for signings of this purpose, where the tenant named a person for it.
	Owner      *Eligible   `json:"owner,omitempty"`
	BreakGlass *BreakGlass `json:"breakGlass,omitempty"`
	// Salt is random where what evidence says of people can be shredded: once it is, a guess of what it said can't be compared with a digest.
	Salt string `json:"salt,omitempty"`
}

// BreakGlass is who may skip waiting in an emergency: as many of them as the quorum says, each for themselves, with a reason and their own key. It
// skips those who have not decided. It overrules nobody who has, changes nothing about the tenant or the document, and is reviewed afterwards.
type BreakGlass struct {
	Role     string     `json:"role"`
	Quorum   int        `json:"quorum"`
	Eligible []Eligible `json:"eligible"`
}

// Find says whether the actor is among those who may break the glass.
func (b *BreakGlass) Find(a Actor) (Eligible, bool) {
	if b != nil {
		for _, e := range b.Eligible {
			if e.Actor == a {
				return e, true
			}
		}
	}
	return Eligible{}, false
}

// Skipped are those who might decide, when the glass was broken, in a stage that the approvals don't meet, and had not: who is told that they were
// skipped. Whom escalation had added by then is among them.
func (p Plan) Skipped(approvals []Approval) (people []Eligible) {
	seen := map[Actor]bool{}
	var broken time.Time
	for _, a := range approvals {
		if a.Skip && a.At.After(broken) {
			broken = a.At
		}
		for _, who := range append([]Actor{a.Actor}, a.Delegators...) {
			seen[who] = true
		}
	}
	for _, s := range p.Stages {
		if s.Met(approvals) {
			continue
		}
		for _, e := range s.At(broken).Everybody() {
			if !seen[e.Actor] {
				seen[e.Actor] = true
				people = append(people, e)
			}
		}
	}
	return people
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
	// Beside says that the stage opens together with the one before it, and not after it.
	Beside bool `json:"beside,omitempty"`
	// AtLeast are the shares of the quorum that are kept for certain people. Each approval fills one place.
	AtLeast []Share `json:"atLeast,omitempty"`
	// Without are issuers whose people have no part here: not as approvers, and not as anybody's delegate.
	Without []string `json:"without,omitempty"`
	// Reminders are the instants at which those who have not decided are asked again.
	Reminders  []time.Time `json:"reminders,omitempty"`
	Escalation *Escalation `json:"escalation,omitempty"`
}

// Share is a part of a quorum that only certain people can fill: holders of a role as well, people of an issuer, or both.
type Share struct {
	Count  int    `json:"count"`
	Role   string `json:"role,omitempty"`
	Issuer string `json:"issuer,omitempty"` // URL
}

// Escalation is who else may decide in a stage from an instant on. It adds people, and never lowers the quorum: there is no field to lower it with.
type Escalation struct {
	At       time.Time  `json:"at"`
	Role     string     `json:"role"`
	Eligible []Eligible `json:"eligible"`
}

// Eligible is a person who may decide in a stage, as the tenant listed them when the plan was frozen.
type Eligible struct {
	Actor        Actor  `json:"actor"`
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
	Partner      bool   `json:"partner,omitempty"`
	// Roles are those of the person's roles that a share of the stage names.
	Roles []string `json:"roles,omitempty"`
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

// Steps are the stages in the order in which they open: those of one step open together, the next step when all of them have closed.
func (p Plan) Steps() [][]Stage {
	var steps [][]Stage
	for i, s := range p.Stages {
		if i > 0 && s.Beside {
			steps[len(steps)-1] = append(steps[len(steps)-1], s)
		} else {
			steps = append(steps, []Stage{s})
		}
	}
	return steps
}

// As is the plan with those of its people's roles left out that the settings, as they are now, don't give them any more. People stay: whether they
// may still decide is another question.
func (p Plan) As(now *Settings) Plan {
	held := func(people []Eligible) []Eligible {
		out := slices.Clone(people)
		for i, e := range out {
			m, _ := now.Member(e.Actor)
			out[i].Roles = slices.DeleteFunc(slices.Clone(e.Roles), func(role string) bool { return !slices.Contains(m.Roles, role) })
		}
		return out
	}
	p.Stages = slices.Clone(p.Stages)
	for i, s := range p.Stages {
		p.Stages[i].Eligible = held(s.Eligible)
		if s.Escalation != nil {
			e := *s.Escalation
			e.Eligible = held(e.Eligible)
			p.Stages[i].Escalation = &e
		}
	}
	return p
}

// Find says whether the actor is among those who may decide in the stage, from the beginning or by escalation.
func (s Stage) Find(a Actor) (Eligible, bool) {
	e, _, ok := s.find(a, true)
	return e, ok
}

// At is the stage as of an instant: who may decide in it then. Before its escalation that is nobody more than from the beginning.
func (s Stage) At(when time.Time) Stage {
	if s.Escalation != nil && when.Before(s.Escalation.At) {
		s.Escalation = nil
	}
	return s
}

// RoleOf is the role on which somebody may decide in the stage: its own, or that of its escalation. Of others it is the stage's own.
func (s Stage) RoleOf(a Actor) string {
	if _, role, ok := s.find(a, true); ok {
		return role
	}
	return s.Role
}

// Everybody is who may decide in the stage, from the beginning or by escalation, each once.
func (s Stage) Everybody() []Eligible {
	if s.Escalation == nil {
		return s.Eligible
	}
	all := slices.Clone(s.Eligible)
	for _, e := range s.Escalation.Eligible {
		if _, _, twice := s.find(e.Actor, false); !twice {
			all = append(all, e)
		}
	}
	return all
}

func (s Stage) find(a Actor, escalated bool) (Eligible, string, bool) {
	for _, e := range s.Eligible {
		if e.Actor == a {
			return e, s.Role, true
		}
	}
	if escalated && s.Escalation != nil {
		for _, e := range s.Escalation.Eligible {
			if e.Actor == a {
				return e, s.Escalation.Role, true
			}
		}
	}
	return Eligible{}, "", false
}

// Bars refuses whoever has no part in the stage because of whom they work for.
func (s Stage) Bars(people ...Actor) *Refusal {
	for _, a := range people {
		if slices.Contains(s.Without, a.Issuer) {
			return Refuse("employer-barred", "nobody of %s has a part in stage %q, and so %s has none, in person or for somebody else", a.Issuer, s.Name, a)
		}
	}
	return nil
}
