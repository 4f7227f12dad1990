package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

//go:embed schema.cedarschema
var schemaText []byte

// vocabulary knows which entities, actions, attributes and types a policy may name.
var vocabulary = sync.OnceValues(func() (*resolved.Schema, error) {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar(schemaText); err != nil {
		return nil, fmt.Errorf("couldn't read the schema of policies: %w", err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the schema of policies: %w", err)
	}
	return r, nil
})

// validatePolicies finds what can't be meant: names that no question has, and types that don't fit. Every fault says file, line and id.
func validatePolicies(list cedar.PolicyList) error {
	schema, err := vocabulary()
	if err != nil {
		return err
	}
	validator := validate.New(schema)
	var faults []error
	for _, p := range list {
		texts := neverThere(schema, (*ast.Policy)(p.AST()))
		if err := validator.Policy("", (*ast.Policy)(p.AST())); err != nil {
			found := []error{err}
			if many, ok := err.(interface{ Unwrap() []error }); ok {
				found = many.Unwrap()
			}
			for _, fault := range found {
				texts = append(texts, fault.Error())
			}
		}
		slices.Sort(texts) // the validator's order is a map's
		for _, text := range slices.Compact(texts) {
			faults = append(faults, fmt.Errorf("%s:%d: policy %q: %s", p.Position().Filename, p.Position().Line, p.Annotations()["id"], text))
		}
	}
	return errors.Join(faults...)
}

// neverThere finds tests for what no question has. They are always false, which the validator finds correct: in a forbid, a slip of the
// pen ("context has grnt") would let everything pass.
func neverThere(s *resolved.Schema, p *ast.Policy) []string {
	attributes := map[types.String]bool{}
	for _, e := range s.Entities {
		for name := range e.Shape {
			attributes[name] = true
		}
	}
	for _, a := range s.Actions {
		for name, attribute := range a.AppliesTo.Context {
			attributes[name] = true
			if record, ok := attribute.Type.(resolved.RecordType); ok {
				for name := range record {
					attributes[name] = true
				}
			}
		}
	}
	var out []string
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeHas:
				if !attributes[n.Value] {
					out = append(out, fmt.Sprintf("nothing ever has an attribute `%s`", n.Value))
				}
			case ast.NodeTypeIs:
				if _, ok := s.Entities[n.EntityType]; !ok {
					out = append(out, fmt.Sprintf("unrecognized entity type `%s`", n.EntityType))
				}
			case ast.NodeTypeIsIn:
				if _, ok := s.Entities[n.EntityType]; !ok {
					out = append(out, fmt.Sprintf("unrecognized entity type `%s`", n.EntityType))
				}
			}
			return true
		})
	}
	return out
}
