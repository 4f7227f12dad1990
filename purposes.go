package countersign

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// Purpose is a kind of signing, with the stages of approval that it needs. Its kind sets how strongly decisions must be proven: where
// consent is captured, an ID token bound to the decision is enough; where the signing is a control point, the person's own enrolled key
// signs as well. Assurance may raise that, never lower it.
type Purpose struct {
	Title     string         `yaml:"title"`
	Kind      string         `yaml:"kind"`
	Assurance int            `yaml:"assurance"`
	Stages    []StageSetting `yaml:"stages"`
	// Owner answers for this purpose; the tenant's owner does where it is left out.
	Owner      *PersonRef         `yaml:"owner"`
	BreakGlass *BreakGlassSetting `yaml:"breakGlass"`
}

// BreakGlassSetting lets as many holders of a role as the quorum says skip waiting in an emergency. Without it nobody may.
type BreakGlassSetting struct {
	Role   string `yaml:"role"`
	Quorum int    `yaml:"quorum"`
}

// leastAssurance is what each kind of purpose demands.
var leastAssurance = map[string]int{"consent": 1, "legal-approval": 2, "procurement": 2, "attestation": 2}

// least is the assurance that decisions of this purpose need.
func (p Purpose) least() int { return max(leastAssurance[p.Kind], p.Assurance) }

// StageSetting is one stage as the tenant sets it: a quorum of people holding a role, within a period from the start.
type StageSetting struct {
	Name   string   `yaml:"name"`
	Role   string   `yaml:"role"`
	Quorum int      `yaml:"quorum"`
	Within Duration `yaml:"within"`
	// Beside opens the stage together with the one before it.
	Beside bool `yaml:"beside"`
	// People narrows the role to those named.
	People []PersonRef `yaml:"people"`
	// AtLeast are shares of the quorum that certain people have to fill.
	AtLeast []ShareSetting `yaml:"atLeast"`
	// Without are issuers, by id, whose people have no part; "requester" is the issuer of whoever requests.
	Without []string `yaml:"without"`
	// Remind are periods before the deadline.
	Remind     []Duration         `yaml:"remind"`
	Escalation *EscalationSetting `yaml:"escalate"`
}

// PersonRef names a person of the file by issuer id and subject.
type PersonRef struct {
	Issuer  string `yaml:"issuer"`
	Subject string `yaml:"subject"`
}

// ShareSetting is a share of a quorum: holders of a role as well, people of an issuer by its id, or both.
type ShareSetting struct {
	Count  int    `yaml:"count"`
	Role   string `yaml:"role"`
	Issuer string `yaml:"issuer"`
}

// EscalationSetting adds the holders of a role to those who may decide, some time after the start.
type EscalationSetting struct {
	After Duration `yaml:"after"`
	Role  string   `yaml:"role"`
}

// theRequesters, among the issuers of Without, is the issuer of whoever requests.
const theRequesters = "requester"

// maxDeadline is how long a stage may stay open.
const maxDeadline = 366 * 24 * time.Hour

// Plan freezes the approval plan of a purpose for a request that starts at the given instant. It refuses one that can't be met without the
// requester, or only by people who count twice.
func (s *Settings) Plan(r Request, requester Actor, start time.Time) (Plan, *Refusal) {
	p, ok := s.Purposes[r.Purpose]
	if !ok {
		return Plan{}, Refuse("unknown-purpose", "%s has no purpose %q; it has %s", s.Name, r.Purpose, strings.Join(s.purposeNames(), ", "))
	}
	plan := Plan{Purpose: r.Purpose, Title: p.Title}
	for _, st := range p.Stages {
		deadline := start.Add(time.Duration(st.Within))
		if given, ok := r.Deadlines[st.Name]; ok {
			if !given.After(start) {
				return Plan{}, Refuse("past-deadline", "stage %q has the deadline %s, which has passed; give a later one", st.Name, given.UTC().Format(time.RFC3339))
			}
			if given.After(start.Add(maxDeadline)) {
				return Plan{}, Refuse("late-deadline", "stage %q has the deadline %s; the latest is a year from now", st.Name, given.UTC().Format(time.RFC3339))
			}
			deadline = given
		}
		stage := s.stage(st, requester)
		stage.Deadline = deadline.UTC()
		if least := p.least(); least > 1 {
			stage.Assurance = least
		}
		for i := len(st.Remind) - 1; i >= 0; i-- {
			if at := stage.Deadline.Add(-time.Duration(st.Remind[i])); at.After(start) {
				stage.Reminders = append(stage.Reminders, at)
			}
		}
		slices.SortFunc(stage.Reminders, time.Time.Compare)
		if stage.Escalation != nil {
			stage.Escalation.At = start.Add(time.Duration(st.Escalation.After)).UTC()
		}
		plan.Stages = append(plan.Stages, stage)
	}
	if p.Owner != nil {
		owner, _ := s.eligible(*p.Owner)
		plan.Owner = &owner
	}
	if b := p.BreakGlass; b != nil {
		plan.BreakGlass = &BreakGlass{Role: b.Role, Quorum: b.Quorum}
		for _, m := range s.Members() {
			if m.Kind != "machine" && slices.Contains(m.Roles, b.Role) {
				plan.BreakGlass.Eligible = append(plan.BreakGlass.Eligible, m.eligible())
			}
		}
	}
	for name := range r.Deadlines {
		if _, ok := plan.Stage(name); !ok {
			return Plan{}, Refuse("unknown-stage", "deadlines name the stage %q, which purpose %q doesn't have", clip(name), r.Purpose)
		}
	}
	if short := shortOf(plan.Stages, requester); short != nil {
		return Plan{}, short.refusal(plan.Stages)
	}
	return plan, nil
}

// stage is a stage with its people, without its instants. Nobody of an issuer that has no part in it is among them.
func (s *Settings) stage(st StageSetting, requester Actor) Stage {
	stage := Stage{Name: st.Name, Role: st.Role, Quorum: st.Quorum, Beside: st.Beside}
	for _, id := range st.Without {
		url := requester.Issuer
		if id != theRequesters {
			issuer, _ := s.issuerByID(id)
			url = issuer.URL
		}
		if url != "" {
			stage.Without = append(stage.Without, url)
		}
	}
	for _, share := range st.AtLeast {
		issuer, _ := s.issuerByID(share.Issuer)
		stage.AtLeast = append(stage.AtLeast, Share{Count: share.Count, Role: share.Role, Issuer: issuer.URL})
	}
	named := map[Actor]bool{}
	for _, ref := range st.People {
		issuer, _ := s.issuerByID(ref.Issuer)
		named[Actor{issuer.URL, ref.Subject}] = true
	}
	holders := func(role string) (out []Eligible) {
		for _, m := range s.Members() {
			if m.Kind == "machine" || !slices.Contains(m.Roles, role) || slices.Contains(stage.Without, m.Actor.Issuer) {
				continue
			}
			e := m.eligible()
			for _, share := range stage.AtLeast {
				if share.Role != "" && slices.Contains(m.Roles, share.Role) && !slices.Contains(e.Roles, share.Role) {
					e.Roles = append(e.Roles, share.Role)
				}
			}
			out = append(out, e)
		}
		return out
	}
	for _, e := range holders(st.Role) {
		if len(named) == 0 || named[e.Actor] {
			stage.Eligible = append(stage.Eligible, e)
		}
	}
	if st.Escalation != nil {
		stage.Escalation = &Escalation{Role: st.Escalation.Role, Eligible: holders(st.Escalation.Role)}
	}
	return stage
}

// eligible is the person as a plan names them.
func (m Member) eligible() Eligible {
	return Eligible{Actor: m.Actor, Name: m.Name, Organisation: m.Organisation, Partner: m.Kind == "partner"}
}

func (s *Settings) eligible(ref PersonRef) (Eligible, bool) {
	issuer, ok := s.issuerByID(ref.Issuer)
	if !ok {
		return Eligible{}, false
	}
	m, ok := s.Member(Actor{issuer.URL, ref.Subject})
	return m.eligible(), ok && m.Kind != "machine"
}

func (s *Settings) purposeNames() []string {
	var names []string
	for n := range s.Purposes {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
