package policy

import (
	"slices"
	gostrings "strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/countersign-dev/countersign"
)

// names are the values that policy sets compare with, by what they are compared to.
type names map[string][]types.Value

// maxNames bounds how many values of a sort a universe takes from its sets; tooMany is under which names says that it left some out.
const (
	maxNames = 60
	tooMany  = "too many"
)

// alike are attributes whose values are of one sort.
var alike = map[string]string{
	"roles": "role", "holderRoles": "role", "tenants": "tenant", "documents": "document", "notBefore": "now", "notAfter": "now", "deadline": "now",
	"purposes": "purpose", "issuers": "issuer", "requesterIssuer": "issuer", "decidedIssuers": "issuer", "granteeIssuer": "issuer",
	"requester": "principal", "eligible": "principal", "decided": "principal", "delegators": "principal", "grantee": "principal", "holder": "principal",
}

func namesIn(sets []*Engine) names {
	n := names{}
	for _, e := range sets {
		for _, p := range e.policies {
			policy := (*ast.Policy)(p.policy.AST())
			n.scope("principal", policy.Principal)
			n.scope("resource", policy.Resource)
			for _, c := range policy.Conditions {
				ast.Inspect(ast.NewNode(c.Body), func(node ast.IsNode) bool {
					if left, right, ok := sides(node); ok {
						n.compared(left, right)
						n.compared(right, left)
					}
					return true
				})
			}
		}
	}
	return n
}

// scope takes the entity that a policy's head names.
func (n names) scope(variable string, scope any) {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		n.add(variable, s.Entity)
	case ast.ScopeTypeIn:
		n.add(variable, s.Entity)
	case ast.ScopeTypeIsIn:
		n.add(variable, s.Entity)
	}
}

func (n names) compared(with, literal ast.IsNode) {
	var name string
	switch w := with.(type) {
	case ast.NodeTypeAccess:
		name = string(w.Value)
	case ast.NodeTypeVariable:
		name = string(w.Name)
	default:
		return
	}
	switch l := literal.(type) {
	case ast.NodeValue:
		n.add(name, l.Value)
	case ast.NodeTypeSet:
		for _, element := range l.Elements {
			if v, ok := element.(ast.NodeValue); ok {
				n.add(name, v.Value)
			}
		}
	}
}

func (n names) add(name string, v types.Value) {
	if sort, ok := alike[name]; ok {
		name = sort
	}
	switch {
	case slices.ContainsFunc(n[name], v.Equal):
	case len(n[name]) < maxNames:
		n[name] = append(n[name], v)
	default:
		n[tooMany] = []types.Value{types.String(name)}
	}
}

func sides(node ast.IsNode) (left, right ast.IsNode, ok bool) {
	var b ast.BinaryNode
	switch n := node.(type) {
	case ast.NodeTypeEquals:
		b = n.BinaryNode
	case ast.NodeTypeNotEquals:
		b = n.BinaryNode
	case ast.NodeTypeLessThan:
		b = n.BinaryNode
	case ast.NodeTypeLessThanOrEqual:
		b = n.BinaryNode
	case ast.NodeTypeGreaterThan:
		b = n.BinaryNode
	case ast.NodeTypeGreaterThanOrEqual:
		b = n.BinaryNode
	case ast.NodeTypeContains:
		b = n.BinaryNode
	case ast.NodeTypeContainsAll:
		b = n.BinaryNode
	case ast.NodeTypeContainsAny:
		b = n.BinaryNode
	case ast.NodeTypeIn:
		b = n.BinaryNode
	default:
		return nil, nil, false
	}
	return b.Left, b.Right, true
}

// known are the roles that the universe has anyway.
var known = []string{"legal", "counsel", "owner", "compliance", "requester"}

// texts are the strings of a sort that the universe doesn't have anyway.
func (n names) texts(sort string) []string {
	var out []string
	for _, v := range n[sort] {
		if s, ok := v.(types.String); ok && s != "" && (sort != "role" || !slices.Contains(known, string(s))) {
			out = append(out, string(s))
		}
	}
	return out
}

// usual is the first string of a sort: what a set is about is the usual case in its universe.
func (n names) usual(sort, otherwise string) string {
	if list := n.texts(sort); len(list) > 0 {
		return list[0]
	}
	return otherwise
}

// more are the strings of a sort after the first.
func (n names) more(sort string) []string {
	list := n.texts(sort)
	return list[min(1, len(list)):]
}

func (n names) numbers(sort string) []int64 {
	var out []int64
	for _, v := range n[sort] {
		if i, ok := v.(types.Long); ok {
			out = append(out, int64(i))
		}
	}
	return out
}

// small are numbers beside those that a set compares with, and that the universe doesn't have anyway.
func (n names) small(sort string) []int {
	var out []int
	for _, i := range n.numbers(sort) {
		for _, beside := range []int{int(i) - 1, int(i), int(i) + 1} {
			if (beside < 0 || beside > 2) && !slices.Contains(out, beside) {
				out = append(out, beside)
			}
		}
	}
	return out
}

// actors are the people whom a set names, and somebody of each issuer that it names.
func (n names) actors() []*countersign.Actor {
	var out []*countersign.Actor
	for _, issuer := range n.texts("issuer") {
		out = append(out, &countersign.Actor{Issuer: issuer, Subject: "somebody of " + issuer})
	}
	for _, v := range n["principal"] {
		if uid, ok := v.(types.EntityUID); ok {
			if i := gostrings.LastIndex(string(uid.ID), "#"); i >= 0 {
				out = append(out, &countersign.Actor{Issuer: string(uid.ID[:i]), Subject: string(uid.ID[i+1:])})
			}
		}
	}
	return out
}

func (n names) resources() []Resource {
	var out []Resource
	for _, v := range n["resource"] {
		uid, _ := v.(types.EntityUID)
		switch id := string(uid.ID); string(uid.Type) {
		case kindSigning:
			out = append(out, Resource{Signing: id})
		case kindStage:
			signing, stage, _ := gostrings.Cut(id, "#")
			out = append(out, Resource{Signing: signing, Stage: stage})
		case kindGrant:
			out = append(out, Resource{Grant: id})
		case kindKey:
			out = append(out, Resource{Key: id})
		}
	}
	return out
}
