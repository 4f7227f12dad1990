package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// tables answers the questions of a universe as an engine does, a hundred times faster: each policy is evaluated once for each
// combination of the parts that it reads, and remembered. Whoever finds something with it asks the engine before saying so.
type tables struct {
	universe *universe
	rules    []rule
}

type rule struct {
	id      string
	forbid  bool
	policy  sorted // this one
	parts   []int
	strides []uint64
	known   map[uint64]verdict
	dense   []verdict // instead of known, where there are not too many
}

type verdict uint8

const (
	unknown verdict = iota
	silent
	speaks
	errs
)

// maxDense is how many verdicts of one policy are kept in a slice.
const maxDense = 1 << 20

func newTables(u *universe, e *Engine) *tables {
	t := &tables{universe: u}
	for _, n := range e.policies {
		r := rule{id: string(n.id), forbid: n.policy.Effect() == cedar.Forbid, policy: sorted{n}}
		reads := readBy((*ast.Policy)(n.policy.AST()))
		stride := uint64(1)
		for i, p := range u.parts {
			if slices.ContainsFunc(p.reads, func(name string) bool { return reads[name] }) {
				r.parts, r.strides = append(r.parts, i), append(r.strides, stride)
				stride *= uint64(len(p.values))
			}
		}
		if stride <= maxDense {
			r.dense = make([]verdict, stride)
		} else {
			r.known = map[uint64]verdict{}
		}
		t.rules = append(t.rules, r)
	}
	return t
}

// allows is what the engine answers.
func (t *tables) allows(at point) bool {
	allowed := false
	for i := range t.rules {
		r := &t.rules[i]
		switch v := t.verdict(r, at); {
		case v == errs, v == speaks && r.forbid:
			return false
		case v == speaks:
			allowed = true
		}
	}
	return allowed
}

// reasons are the ids that the engine would name, appended to a list: of the policies that failed, else forbade, else permitted.
func (t *tables) reasons(at point, list []string) (allowed bool, ids []string) {
	const permits, forbids, fails = 1, 2, 3
	strongest := 0
	for i := range t.rules {
		r := &t.rules[i]
		rank := 0
		switch v := t.verdict(r, at); {
		case v == errs:
			rank = fails
		case v == speaks && r.forbid:
			rank = forbids
		case v == speaks:
			rank = permits
		}
		if rank > strongest {
			strongest, list = rank, list[:0]
		}
		if rank > 0 && rank == strongest {
			list = append(list, r.id)
		}
	}
	return strongest == permits, list
}

func (t *tables) verdict(r *rule, at point) verdict {
	key := uint64(0)
	for i, p := range r.parts {
		key += uint64(at[p]) * r.strides[i]
	}
	if r.dense != nil {
		if r.dense[key] == unknown {
			r.dense[key] = t.evaluate(r, at)
		}
		return r.dense[key]
	}
	v, ok := r.known[key]
	if !ok {
		v = t.evaluate(r, at)
		r.known[key] = v
	}
	return v
}

func (t *tables) evaluate(r *rule, at point) verdict {
	request, entities := t.universe.question(at).cedar()
	_, diagnostic := cedar.Authorize(r.policy, entities, request)
	switch {
	case len(diagnostic.Errors) > 0:
		return errs
	case len(diagnostic.Reasons) > 0:
		return speaks
	}
	return silent
}

// readBy are the variables and attributes that a policy names: it can't depend on anything else.
func readBy(p *ast.Policy) map[string]bool {
	reads := map[string]bool{}
	for variable, scope := range map[string]any{"principal": p.Principal, "action": p.Action, "resource": p.Resource} {
		if _, all := scope.(ast.ScopeTypeAll); !all {
			reads[variable] = true
		}
	}
	whole := 0 // how often the context or the grant is named, less how often one attribute of it is
	isWhole := func(n ast.IsNode) bool {
		switch n := n.(type) {
		case ast.NodeTypeVariable:
			return n.Name == "context"
		case ast.NodeTypeAccess:
			return n.Value == "grant"
		}
		return false
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if isWhole(n) {
				whole++
			}
			var of ast.StrOpNode
			switch n := n.(type) {
			case ast.NodeTypeVariable:
				reads[string(n.Name)] = true
				return true
			case ast.NodeTypeAccess:
				of = n.StrOpNode
			case ast.NodeTypeHas:
				of = n.StrOpNode
			default:
				return true
			}
			reads[string(of.Value)] = true
			if isWhole(of.Arg) {
				whole--
			}
			return true
		})
	}
	if whole > 0 {
		reads[wholeGrant] = true
	}
	return reads
}
