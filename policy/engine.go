// Package policy answers what somebody may do, with which policies decided it. It is pure: every input is in the
// question, so the same question under the same policy set has the same answer years later.
package policy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"sort"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/countersign-dev/countersign"
)

//go:embed default.cedar
var defaultText []byte

// maxPolicyText bounds a policy set, in bytes.
const maxPolicyText = 256 << 10

// Default is the text of the default policy set.
func Default() string { return string(defaultText) }

// Engine evaluates one policy set, frozen by the hash of its text. It is safe for concurrent use.
type Engine struct {
	hash     string
	text     string
	policies sorted
	refusals map[string]string
}

// NewEngine reads a policy set. Every policy needs an @id of its own: positions move when a text is edited.
func NewEngine(text string) (*Engine, error) {
	if len(text) > maxPolicyText {
		return nil, fmt.Errorf("couldn't load the policy set: it has %d bytes, at most %d", len(text), maxPolicyText)
	}
	list, err := cedar.NewPolicyListFromBytes("policy", bytes.TrimSpace([]byte(text)))
	if err != nil {
		return nil, fmt.Errorf("couldn't load the policy set: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("couldn't load the policy set: it has no policy")
	}
	e := &Engine{hash: countersign.SHA256([]byte(text)), text: text, refusals: map[string]string{}}
	seen := map[string]bool{}
	for _, p := range list {
		id := string(p.Annotations()["id"])
		if id == "" || seen[id] {
			return nil, fmt.Errorf("couldn't load the policy set: the policy at line %d needs an @id that no other one has (it has %q)", p.Position().Line, id)
		}
		seen[id] = true
		e.refusals[id] = string(p.Annotations()["refusal"])
		e.policies = append(e.policies, named{types.PolicyID(id), p})
	}
	sort.Slice(e.policies, func(i, j int) bool { return e.policies[i].id < e.policies[j].id })
	return e, nil
}

// Hash is the SHA-256 of the set's text: what decisions cite.
func (e *Engine) Hash() string { return e.hash }

// Text is the set as it was loaded.
func (e *Engine) Text() string { return e.text }

// Answer is the result of one evaluation, with what decided it.
type Answer struct {
	Allowed  bool     `json:"allowed"`
	Policies []string `json:"policies"`         // ids of the determining policies, sorted
	Errors   []string `json:"errors,omitempty"` // ids of the policies that failed to evaluate; any is a denial
	Set      string   `json:"set"`              // hash of the policy set
	Refusal  string   `json:"refusal,omitempty"`
}

// Ask evaluates a question. An error in any policy denies: Cedar itself skips a forbid that errs, which would allow.
func (e *Engine) Ask(q Question) Answer {
	request, entities := q.cedar()
	decision, diagnostic := cedar.Authorize(e.policies, entities, request)
	a := Answer{Allowed: decision == cedar.Allow, Set: e.hash, Policies: []string{}}
	for _, r := range diagnostic.Reasons {
		a.Policies = append(a.Policies, string(r.PolicyID))
	}
	for _, r := range diagnostic.Errors {
		a.Errors = append(a.Errors, string(r.PolicyID))
	}
	sort.Strings(a.Policies)
	sort.Strings(a.Errors)
	switch {
	case len(a.Errors) > 0:
		a.Allowed = false
		a.Refusal = "the policy could not be evaluated, so the answer is no"
	case a.Allowed:
	case len(a.Policies) == 0:
		a.Refusal = "nothing gives you this right here"
	default:
		a.Refusal = e.refusals[a.Policies[0]]
		if a.Refusal == "" {
			a.Refusal = "policy " + a.Policies[0] + " forbids it"
		}
	}
	return a
}

// Code names the refusal for machines: the id of the first policy that forbade, or "not-entitled" where nothing permitted.
func (a Answer) Code() string {
	switch {
	case a.Allowed:
		return ""
	case len(a.Errors) > 0:
		return "policy-error"
	case len(a.Policies) == 0:
		return "not-entitled"
	}
	return a.Policies[0]
}

type named struct {
	id     types.PolicyID
	policy *cedar.Policy
}

// sorted iterates in the order of ids, so that equal questions list equal reasons.
type sorted []named

func (s sorted) All() iter.Seq2[types.PolicyID, *cedar.Policy] {
	return func(yield func(types.PolicyID, *cedar.Policy) bool) {
		for _, n := range s {
			if !yield(n.id, n.policy) {
				return
			}
		}
	}
}
