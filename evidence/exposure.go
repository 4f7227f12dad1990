package evidence

import (
	"slices"

	"github.com/countersign-dev/countersign"
)

// Exposure tells two things of one signing that are easily taken for each other: who could have decided, by the plan that was frozen at intake, and
// who did. A grant that was given and never used is not in it: a signing's history doesn't know it, the grant's own does.
type Exposure struct {
	Tenant   string              `json:"tenant"`
	Request  string              `json:"request"`
	Purpose  string              `json:"purpose"`
	Title    string              `json:"title"`
	Document string              `json:"document"`          // its SHA-256
	Context  string              `json:"context,omitempty"` // digest of the transaction
	Policy   string              `json:"policy,omitempty"`  // hash of the frozen policy set
	Outcome  countersign.Outcome `json:"outcome"`
	// Requester is who asked, as the Temporal server stamped it; nil where intake never got that far.
	Requester *Named      `json:"requester,omitempty"`
	Could     []CouldHave `json:"could"`
	Did       []Did       `json:"did"`
}

// CouldHave is one person who could decide in one stage, or skip waiting, whether they did or not.
type CouldHave struct {
	countersign.Eligible
	Stage string `json:"stage"` // empty for the way round the stages
	Role  string `json:"role"`
	State string `json:"state"`          // what they were to the stage when it closed, as in an explanation
	From  string `json:"from,omitempty"` // of whom escalation added
	Asked bool   `json:"asked"`          // a message was to go to them
}

// Did is one decision that somebody sent, counted or not.
type Did struct {
	Sequence   int64                `json:"sequence"` // id of the signal's event in the history
	At         string               `json:"at"`
	By         Named                `json:"by"` // as the Temporal server stamped it
	OnBehalfOf *Named               `json:"onBehalfOf,omitempty"`
	Grants     []string             `json:"grants,omitempty"` // digests of those that lead from there
	Stage      string               `json:"stage,omitempty"`
	Verdict    countersign.Verdict  `json:"verdict,omitempty"`
	Digest     string               `json:"digest,omitempty"` // of the decision
	Assurance  int                  `json:"assurance,omitempty"`
	Counted    bool                 `json:"counted"`
	Refusal    *countersign.Refusal `json:"refusal,omitempty"`
}

// ReadExposure reads the exposure in the history of a container, and believes it. A signing that was not admitted exposed nothing to anybody: what
// was sent to it all the same is what somebody did.
func ReadExposure(raw []byte) (Exposure, error) {
	_, c, outcome, err := readTold(raw)
	if err != nil {
		return Exposure{}, err
	}
	return exposure(c, outcome), nil
}

func exposure(c *Case, outcome countersign.Outcome) Exposure {
	r := c.Input.Request
	e := Exposure{Tenant: r.Tenant, Request: r.ID, Purpose: r.Purpose, Title: r.Title, Document: r.Document.SHA256, Outcome: outcome, Could: []CouldHave{}, Did: []Did{}}
	if a := c.Admission; a != nil && !a.Requester.Actor.IsZero() {
		who := c.named(a.Requester.Actor.String())
		e.Requester = &who
	}
	var plan *countersign.Plan
	if a := c.Admission; a != nil && a.Refusal == nil {
		plan, e.Context, e.Policy = &a.Plan, a.Digest, a.Context.Policy
		e.Could = c.could(a)
	}
	for i, d := range c.Decisions {
		e.Did = append(e.Did, c.did(i, d, plan))
	}
	return e
}

func (c *Case) could(a *Admission) []CouldHave {
	var records []countersign.DecisionRecord
	for _, d := range c.Decisions {
		if d.Check != nil {
			records = append(records, d.Check.Record)
		}
	}
	explained := a.Plan.Explain(a.Context.Requester, records, nil, true)
	could := []CouldHave{}
	add := func(stage string, people []countersign.PersonExplanation) {
		for _, p := range people {
			if p.State == countersign.IsRequester {
				continue // who requests decides nowhere
			}
			one := CouldHave{Eligible: p.Eligible, Stage: stage, Role: p.Role, State: p.State, Asked: slices.Contains(c.Asked, p.Actor)}
			if p.From != nil {
				one.From = p.From.UTC().Format(millis)
			}
			could = append(could, one)
		}
	}
	for _, s := range explained.Stages {
		add(s.Name, s.People)
	}
	if explained.BreakGlass != nil {
		add("", explained.BreakGlass.People)
	}
	return could
}

func (c *Case) did(i int, d DecisionCase, plan *countersign.Plan) Did {
	s := decisionStatement(i, d, plan)
	by := c.named(d.Sender)
	if by.Actor.IsZero() {
		by.Name = d.Sender // a process, which is nobody: it is told as the server stamped it
	}
	return Did{
		Sequence: d.Event, At: d.At.UTC().Format(millis), By: by, OnBehalfOf: s.OnBehalfOf, Grants: s.Grants, Stage: s.Stage, Verdict: s.Verdict,
		Digest: s.Digest, Assurance: s.Assurance, Counted: s.Counted, Refusal: s.Refusal,
	}
}

// Of keeps what concerns the people of one issuer: what they could have decided, and what they sent or what was decided in their place. A signing of
// which nothing is left doesn't concern them.
func (e Exposure) Of(issuer string) (mine Exposure, concerned bool) {
	mine = e
	mine.Could, mine.Did = []CouldHave{}, []Did{}
	for _, one := range e.Could {
		if one.Actor.Issuer == issuer {
			mine.Could = append(mine.Could, one)
		}
	}
	for _, one := range e.Did {
		if one.By.Actor.Issuer == issuer || one.OnBehalfOf != nil && one.OnBehalfOf.Actor.Issuer == issuer {
			mine.Did = append(mine.Did, one)
		}
	}
	return mine, len(mine.Could)+len(mine.Did) > 0
}

// inPlan are all people whom a plan names.
func inPlan(p countersign.Plan) (all []countersign.Eligible) {
	for _, s := range p.Stages {
		all = append(all, s.Everybody()...)
	}
	if p.BreakGlass != nil {
		all = append(all, p.BreakGlass.Eligible...)
	}
	if p.Owner != nil {
		all = append(all, *p.Owner)
	}
	return all
}

// People are all who could have decided, or sent a decision, or had one made in their place, as they were named.
func (e Exposure) People() (all []Named) {
	for _, one := range e.Could {
		all = append(all, Named{one.Actor, one.Name, one.Organisation})
	}
	for _, one := range e.Did {
		all = append(all, one.By)
		if one.OnBehalfOf != nil {
			all = append(all, *one.OnBehalfOf)
		}
	}
	return all
}
