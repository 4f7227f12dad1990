package policy

import (
	"encoding/json"
	"fmt"
	gostrings "strings"
)

// Coverage says how far a model check looked.
type Coverage struct {
	Asked int `json:"asked"` // questions
	Apart int `json:"apart"` // in how many parts a question may differ from a usual one; every such question was asked
}

// CheckModel asks a policy set every question of a small world that differs from a usual one in a few parts, and compares each yes with
// the invariants. Its error is a *Counterexample where the set breaks one: a smallest one, as fewer parts are tried first.
//
// It is bounded. A set can break an invariant in a question that needs more parts, or that depends on what is in no small world: a pattern
// (like), or an amount that a rule computes. No tenant's policies should need either.
func CheckModel(e *Engine) (Coverage, error) {
	u := newUniverse(e)
	if u.lacks != "" {
		return Coverage{}, fmt.Errorf("couldn't check the policy set: it compares %s with more than %d values", u.lacks, maxNames)
	}
	t := newTables(u, e)
	invariants := Invariants()
	c := Coverage{Apart: u.reach()}
	var found error
	for parts := 0; parts <= c.Apart && found == nil; parts++ {
		u.each(parts, func(from *start, at point) bool {
			c.Asked++
			if !t.allows(at) {
				return true
			}
			q := u.question(at)
			for _, i := range invariants {
				if why := i.broken(q); why != "" {
					found = counterexample(e, u, from, at, i, why)
					return false
				}
			}
			return true
		})
	}
	return c, found
}

// Counterexample is a question that a policy set allows and must not.
type Counterexample struct {
	Invariant Invariant `json:"invariant"`
	Why       string    `json:"why"`
	Usual     string    `json:"usual"` // what is usual, and allowed rightly
	But       []string  `json:"but"`   // in what the question differs from it
	Question  Question  `json:"question"`
	Answer    Answer    `json:"answer"`
}

// Error tells the counterexample in plain words, with the question to ask again.
func (c *Counterexample) Error() string {
	question, err := json.Marshal(c.Question)
	if err != nil {
		question = []byte(err.Error())
	}
	return fmt.Sprintf("the policy set breaks %s (%s). Allowed by %s, though %s: %s\nthe question: %s", c.Invariant.ID, c.Invariant.Promise,
		gostrings.Join(c.Answer.Policies, " and "), c.Why, c.Difference(), question)
}

// Difference says in words which question it is.
func (c *Counterexample) Difference() string { return differing(c.Usual, c.But) }

func differing(usual string, but []string) string {
	if len(but) == 0 {
		return usual
	}
	return usual + ", but " + gostrings.Join(but, ", ")
}

func counterexample(e *Engine, u *universe, from *start, at point, i Invariant, why string) error {
	q := u.question(at)
	a := e.Ask(q)
	if !a.Allowed {
		return fmt.Errorf("couldn't check the policy set: the engine refuses what the check's tables allow: %s", differing(from.says, u.differs(from, at)))
	}
	return &Counterexample{Invariant: i, Why: why, Usual: from.says, But: u.differs(from, at), Question: q, Answer: a}
}

// differs says in what a point is not its start.
func (u *universe) differs(from *start, at point) []string {
	out := []string{}
	for i, v := range at {
		if v != from.at[i] {
			out = append(out, u.parts[i].name+": "+u.parts[i].values[v].says)
		}
	}
	return out
}
