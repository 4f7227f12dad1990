package policy_test

import (
	"slices"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	internal "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Each condition carries its weight: a part of && or || that goes missing, or a whole condition, changes an answer.
func TestNoConditionOfTheDefaultSetCanBeWeakenedUnnoticed(t *testing.T) {
	t.Parallel()
	list := defaultList(t)
	rows := table()
	made := 0
	for i, p := range list {
		for n, mutant := range mutants((*internal.Policy)(p.AST())) {
			weaker := slices.Clone(list)
			weaker[i] = cedar.NewPolicyFromAST((*ast.Policy)(mutant))
			made++
			e := engine(t, string(weaker.MarshalCedar()))
			if !slices.ContainsFunc(rows, func(r row) bool { return e.Ask(r.question).Allowed != r.allowed }) {
				t.Errorf("every answer stays the same with mutant %d of %s:\n%s", n, p.Annotations()["id"], weaker[i].MarshalCedar())
			}
		}
	}
	if made < 80 {
		t.Errorf("there are only %d mutants", made)
	}
}

// mutants are the policy without one part of an && or || anywhere in its conditions, without one condition, and without any.
func mutants(p *internal.Policy) []*internal.Policy {
	var out []*internal.Policy
	with := func(conditions []internal.ConditionType) {
		mutant := *p
		mutant.Conditions = conditions
		out = append(out, &mutant)
	}
	for i, c := range p.Conditions {
		with(slices.Delete(slices.Clone(p.Conditions), i, i+1))
		for _, body := range weakened(c.Body) {
			changed := slices.Clone(p.Conditions)
			changed[i].Body = body
			with(changed)
		}
	}
	if len(p.Conditions) > 1 {
		with(nil)
	}
	return out
}

// weakened are the expressions that are left when one part of an && or || in it goes.
func weakened(n internal.IsNode) []internal.IsNode {
	var out []internal.IsNode
	binary := func(b internal.BinaryNode, join func(internal.BinaryNode) internal.IsNode) {
		out = append(out, b.Left, b.Right)
		for _, left := range weakened(b.Left) {
			out = append(out, join(internal.BinaryNode{Left: left, Right: b.Right}))
		}
		for _, right := range weakened(b.Right) {
			out = append(out, join(internal.BinaryNode{Left: b.Left, Right: right}))
		}
	}
	switch n := n.(type) {
	case internal.NodeTypeAnd:
		binary(n.BinaryNode, func(b internal.BinaryNode) internal.IsNode { return internal.NodeTypeAnd{BinaryNode: b} })
	case internal.NodeTypeOr:
		binary(n.BinaryNode, func(b internal.BinaryNode) internal.IsNode { return internal.NodeTypeOr{BinaryNode: b} })
	case internal.NodeTypeNot:
		for _, arg := range weakened(n.Arg) {
			out = append(out, internal.NodeTypeNot{UnaryNode: internal.UnaryNode{Arg: arg}})
		}
	}
	return out
}
