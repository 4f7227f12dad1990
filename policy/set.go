package policy

import (
	"fmt"
	"slices"
	gostrings "strings"

	"github.com/cedar-policy/cedar-go"
)

// LoadNamed reads a tenant's policies, of a file of that name, on top of the default set's text, and says how far the model check looked. The tenant may add permits and forbids; an @id of the default set is
// not free. What names something that no question has is refused with file, line and id, and what breaks an invariant with a
// *Counterexample: nothing that a tenant writes may weaken what every signing stands on.
//
// The engine's text is both together, so that a bundle's policy is complete by itself. NewEngine reads it again.
func LoadNamed(defaultText, name, tenantText string) (*Engine, Coverage, error) {
	e, err := Combine(defaultText, name, tenantText)
	if err != nil {
		return nil, Coverage{}, err
	}
	c, err := CheckModel(e)
	if err != nil {
		return nil, c, fmt.Errorf("couldn't load %s: %w", name, err)
	}
	return e, c, nil
}

// Combine is LoadNamed without the model check: for whoever wants to see what such a set would answer, and never for one that decides. An
// empty default text leaves the other as it is: a whole set.
func Combine(defaultText, name, tenantText string) (*Engine, error) {
	defaults, err := parse("default.cedar", defaultText)
	if err != nil {
		return nil, err
	}
	own, err := parse(name, tenantText)
	if err != nil {
		return nil, err
	}
	for _, p := range own {
		id := p.Annotations()["id"]
		if slices.ContainsFunc(defaults, func(d *cedar.Policy) bool { return d.Annotations()["id"] == id }) {
			return nil, fmt.Errorf("%s:%d: policy %q: the default set has a policy of this @id; choose another", name, p.Position().Line, id)
		}
	}
	if err := validatePolicies(append(defaults, own...)); err != nil {
		return nil, err
	}
	text := defaultText
	switch {
	case len(defaults) == 0:
		text = tenantText
	case len(own) > 0:
		text += "\n" + tenantText
	}
	e, err := NewEngine(text)
	if err != nil {
		return nil, err
	}
	if len(e.policies) != len(defaults)+len(own) {
		return nil, fmt.Errorf("couldn't load %s: with the default set it reads as %d policies, and by themselves they are %d", name, len(e.policies), len(defaults)+len(own))
	}
	return e, nil
}

// Summary is a policy of a set, without its text.
type Summary struct {
	ID      string `json:"id"`
	Effect  string `json:"effect"` // permit or forbid
	Refusal string `json:"refusal,omitempty"`
}

// Policies lists a set's policies by id.
func (e *Engine) Policies() []Summary {
	var out []Summary
	for _, p := range e.policies {
		effect := "permit"
		if p.policy.Effect() == cedar.Forbid {
			effect = "forbid"
		}
		out = append(out, Summary{string(p.id), effect, e.refusals[string(p.id)]})
	}
	return out
}

// parse reads the policies of one file, each with an @id of its own. An empty file has none.
func parse(name, text string) (cedar.PolicyList, error) {
	if len(text) > maxPolicyText {
		return nil, fmt.Errorf("%s: has %d bytes, at most %d", name, len(text), maxPolicyText)
	}
	list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %s", name, gostrings.Replace(err.Error(), "<input>", name, 1))
	}
	seen := map[cedar.String]int{}
	for _, p := range list {
		id, line := p.Annotations()["id"], p.Position().Line
		switch before, twice := seen[id]; {
		case id == "":
			return nil, fmt.Errorf("%s:%d: a policy needs an @id: what decided is named by it", name, line)
		case twice:
			return nil, fmt.Errorf("%s:%d: policy %q: the policy at line %d has this @id already", name, line, id, before)
		}
		seen[id] = line
	}
	return list, nil
}
