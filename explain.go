package countersign

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says of a plan who must approve and why, who could stand in, and what became of every decision: before anything is decided, while
// it is, and afterwards. It follows from the frozen plan and the records of decisions alone, so that everybody who has these explains alike.
type Explanation struct {
	Purpose string             `json:"purpose"`
	Title   string             `json:"title"`
	Stages  []StageExplanation `json:"stages"`
	// BreakGlass explains who may skip waiting in an emergency, and who did.
	BreakGlass *GlassExplanation `json:"breakGlass,omitempty"`
}

// GlassExplanation explains the way round the stages.
type GlassExplanation struct {
	Asks   []string            `json:"asks"`
	Broken bool                `json:"broken"`
	People []PersonExplanation `json:"people"`
	Owner  Eligible            `json:"owner"` // of the review
}

// The states of a stage in an explanation.
const (
	StageComing   = "coming"   // it opens when the step before it has closed
	StageOpen     = "open"     // it waits for decisions
	StageApproved = "approved" // it has its quorum
	StageRejected = "rejected"
	StageSkipped  = "skipped" // the glass was broken: it was not waited for
	StageOver     = "over"    // the signing ended without it
)

// StageExplanation explains one stage.
type StageExplanation struct {
	Name     string              `json:"name"`
	State    string              `json:"state" enum:"coming,open,approved,rejected,skipped,over"`
	Asks     []string            `json:"asks"`            // in words, what the stage demands
	Lacks    string              `json:"lacks,omitempty"` // in words, what is still missing
	Deadline *time.Time          `json:"deadline,omitempty"`
	People   []PersonExplanation `json:"people"`
	Refused  []RefusedDecision   `json:"refused,omitempty"`
}

// What a person can be to a stage.
const (
	MayDecide   = "may-decide"
	MayLater    = "may-decide-later" // escalation adds them
	HasApproved = "approved"
	HasRejected = "rejected"
	CouldHave   = "could-have"        // and did not, until the stage closed
	HasDecided  = "decided-elsewhere" // one person has one vote in a signing
	HasSkipped  = "broke-the-glass"
	IsRequester = "requester" // and can't approve
)

// PersonExplanation is one person who may decide in a stage, or could.
type PersonExplanation struct {
	Eligible
	Role  string     `json:"role"` // on which they may decide
	State string     `json:"state" enum:"may-decide,may-decide-later,could-have,broke-the-glass,approved,rejected,decided-elsewhere,requester"`
	From  *time.Time `json:"from,omitempty"` // of whom escalation adds
	By    *Actor     `json:"by,omitempty"`   // who decided in their place, under a grant
}

// RefusedDecision is a decision that did not count, and why.
type RefusedDecision struct {
	Actor   Actor   `json:"actor"`
	At      string  `json:"at"`
	Verdict Verdict `json:"verdict"`
	Refusal Refusal `json:"refusal"`
}

// Explain explains the plan to whoever may see the signing. Decisions are all records so far; open are the stages that wait, none before the
// start and after the end; over says that it has ended.
func (p Plan) Explain(requester Actor, decisions []DecisionRecord, open []string, over bool) Explanation {
	out := Explanation{Purpose: p.Purpose, Title: p.Title, Stages: []StageExplanation{}}
	var approvals []Approval
	for _, d := range decisions {
		if d.Counted() && d.Verdict != Reject {
			at, _ := time.Parse(time.RFC3339Nano, d.At)
			approvals = append(approvals, Approval{Stage: d.Stage, Actor: d.Actor, Delegators: d.Delegators, At: at, Skip: d.Verdict == Skip})
		}
	}
	for _, s := range p.Stages {
		e := StageExplanation{Name: s.Name, Asks: s.asks(), Lacks: s.Lacks(approvals), People: []PersonExplanation{}}
		if !s.Deadline.IsZero() {
			e.Deadline = &s.Deadline
		}
		e.State = s.stateAmong(decisions, e.Lacks == "", slices.Contains(open, s.Name), over)
		if (e.State == StageOver || e.State == StageOpen || e.State == StageComing) && p.Broken(approvals) {
			e.State = StageSkipped
		}
		closed := over || e.State == StageSkipped || e.State == StageApproved && !slices.Contains(open, s.Name)
		for _, who := range s.Everybody() {
			person := s.person(who, requester, decisions)
			if closed && (person.State == MayDecide || person.State == MayLater) {
				person.State = CouldHave
			}
			e.People = append(e.People, person)
		}
		for _, d := range decisions {
			if d.Stage == s.Name && !d.Counted() {
				e.Refused = append(e.Refused, RefusedDecision{d.Actor, d.At, d.Verdict, *d.Refusal})
			}
		}
		out.Stages = append(out.Stages, e)
	}
	out.BreakGlass = p.explainGlass(requester, decisions, p.Broken(approvals), over)
	return out
}

func (p Plan) explainGlass(requester Actor, decisions []DecisionRecord, broken, over bool) *GlassExplanation {
	b := p.BreakGlass
	if b == nil || p.Owner == nil {
		return nil
	}
	e := &GlassExplanation{Broken: broken, Owner: *p.Owner, People: []PersonExplanation{}, Asks: []string{
		fmt.Sprintf("in an emergency, %d of %d people who hold the role %q may skip waiting", b.Quorum, len(b.Eligible), b.Role),
		"each with a reason, signed by their own enrolled key, for nobody else", "no rejection is overruled, whoever is skipped is told, and the owner reviews it",
	}}
	for _, who := range b.Eligible {
		person := PersonExplanation{Eligible: who, Role: b.Role, State: MayDecide}
		switch {
		case who.Actor == requester:
			person.State = IsRequester
		case slices.ContainsFunc(decisions, func(d DecisionRecord) bool { return d.Counted() && d.Actor == who.Actor && d.Verdict == Skip }):
			person.State = HasSkipped
		case slices.ContainsFunc(decisions, func(d DecisionRecord) bool {
			return d.Counted() && (d.Actor == who.Actor || slices.Contains(d.Delegators, who.Actor))
		}):
			person.State = HasDecided
		case over || broken:
			person.State = CouldHave
		}
		e.People = append(e.People, person)
	}
	return e
}

func (s Stage) stateAmong(decisions []DecisionRecord, met, open, over bool) string {
	for _, d := range decisions {
		if d.Stage == s.Name && d.Counted() && d.Verdict == Reject {
			return StageRejected
		}
	}
	switch {
	case met:
		return StageApproved
	case over:
		return StageOver
	case open:
		return StageOpen
	}
	return StageComing
}

// person is what somebody is to the stage.
func (s Stage) person(who Eligible, requester Actor, decisions []DecisionRecord) PersonExplanation {
	e := PersonExplanation{Eligible: who, Role: s.RoleOf(who.Actor), State: MayDecide}
	if _, _, fromTheStart := s.find(who.Actor, false); !fromTheStart {
		e.State, e.From = MayLater, &s.Escalation.At
	}
	if who.Actor == requester {
		e.State, e.From = IsRequester, nil
		return e
	}
	for _, d := range decisions {
		if !d.Counted() || d.Actor != who.Actor && !slices.Contains(d.Delegators, who.Actor) {
			continue
		}
		holder := d.Actor
		if len(d.Delegators) > 0 {
			holder = d.Delegators[0]
		}
		e.From = nil
		switch {
		case d.Stage != s.Name || holder != who.Actor || d.Verdict == Skip:
			e.State = HasDecided
		case d.Verdict == Reject:
			e.State = HasRejected
		default:
			e.State = HasApproved
		}
		if e.State != HasDecided && d.Actor != who.Actor {
			e.By = &d.Actor
		}
	}
	return e
}

// asks says in words what the stage demands.
func (s Stage) asks() []string {
	asks := []string{fmt.Sprintf("%d of %d people who hold the role %q", s.Quorum, len(s.Eligible), s.Role)}
	for _, share := range s.AtLeast {
		asks = append(asks, "at least "+share.String()+" among them")
	}
	if len(s.Without) > 0 {
		asks = append(asks, "nobody of "+strings.Join(s.Without, " or ")+", in person or for somebody else")
	}
	if s.Assurance > 1 {
		asks = append(asks, "each decision signed by the person's own enrolled key as well")
	}
	if s.Beside {
		asks = append(asks, "side by side with the stage before it")
	}
	if e := s.Escalation; e != nil {
		asks = append(asks, fmt.Sprintf("from %s on also any of %d who hold the role %q; the quorum stays", e.At.UTC().Format(time.RFC3339), len(e.Eligible), e.Role))
	}
	return append(asks, "who lends their authority by a grant is decided for by its grantee", "the requester approves nowhere, and nobody twice")
}
