// Package awspolicy judges requests by AWS policies as AWS does, for exactly the part of IAM's language that the files in infra/aws use.
// Everything else is refused when a policy is loaded, so that the local stack can't pass over what production would enforce.
//
// It knows one account, roles with session tags, and four kinds of policies. It does not know other accounts, permission boundaries,
// service control policies, session policies or grants of KMS.
package awspolicy

import (
	"fmt"
	"slices"
	"strings"
)

// Request is one action on one resource.
type Request struct {
	// Principal is the ARN of the role, or of the user, that asks; empty is nobody. The context says the same as aws:PrincipalArn.
	Principal string
	Action    string
	Resource  string // ARN
	Context   Context
}

// Decision says whether a request is allowed and by what it was decided: "file Sid" of a statement, or that no statement allows it.
type Decision struct {
	Allowed bool
	Denied  bool // explicitly, by a Deny
	By      string
}

// Decide judges a request by the policies of the role that asks and by that of the resource, all in one account.
//
//   - A Deny that applies wins, wherever it stands.
//   - A resource's policy that allows the role itself is enough.
//   - What a role's own policy allows is enough for a bucket. A key's policy, or that of a role, has to hand it to the account first
//     (principal "arn:aws:iam::ACCOUNT:root"): without it no role's policy counts.
//
// A statement with a variable that has no value in the request doesn't apply, a Deny neither, as AWS warns: a Deny that must not fail so needs another
// one beside it that asks for the value (Null). Resource may be nil where a bucket has no policy; a key and a role always have one.
func Decide(r Request, role []*Policy, resource *Policy) Decision {
	// What the language has no words for must not fall through a Deny.
	if _, known := actions[r.Action]; !known {
		return Decision{Denied: true, By: fmt.Sprintf("the action %q isn't known", r.Action)}
	}
	for key, values := range r.Context {
		if k, known := conditionKeys[key]; !known || len(values) != 1 && !k.many {
			return Decision{Denied: true, By: fmt.Sprintf("the condition key %q isn't known, or has several values", key)}
		}
	}
	own, granted := "", ""
	delegated := strings.HasPrefix(r.Action, "s3:")
	for _, p := range append(slices.Clone(role), resource) {
		if p == nil {
			continue
		}
		for i := range p.statements {
			s := &p.statements[i]
			whom := s.names(p.kind, r.Principal)
			if whom == nobody || !s.applies(r) {
				continue
			}
			by := p.name + " " + s.sid
			switch {
			case s.deny:
				return Decision{Denied: true, By: by}
			case p.kind == RolePolicy:
				own = by
			case whom == theAccount:
				delegated = true
			default:
				granted = by
			}
		}
	}
	switch {
	case granted != "":
		return Decision{Allowed: true, By: granted}
	case own != "" && delegated:
		return Decision{Allowed: true, By: own}
	case own != "":
		return Decision{By: fmt.Sprintf("no statement of %s hands it to the account", resource.title())}
	}
	return Decision{By: "no statement allows it"}
}

func (p *Policy) title() string {
	if p == nil {
		return "the resource's policy"
	}
	return p.name
}

type whom int

const (
	nobody whom = iota
	theAccount
	thePrincipal
)

// names says whether the statement speaks of who asks.
func (s *statement) names(kind Kind, principal string) whom {
	if kind == RolePolicy || s.anyone {
		return thePrincipal // of a role's policy: it is the one that asks
	}
	if principal == "" {
		return nobody
	}
	found := nobody
	for _, arn := range s.principals {
		if arn == principal {
			return thePrincipal
		}
		if account, ok := strings.CutSuffix(arn, ":root"); ok && strings.HasPrefix(principal, account+":") {
			found = theAccount
		}
	}
	return found
}

func (s *statement) applies(r Request) bool {
	if !slices.Contains(s.actions, r.Action) && !(strings.HasPrefix(r.Action, "s3:") && slices.Contains(s.actions, everyS3Action)) {
		return false
	}
	if s.resources != nil {
		var hit bool
		for _, pattern := range s.resources {
			resolved, err := pattern.resolve(r.Context)
			if err != nil {
				return false
			}
			hit = hit || resolved.matches(r.Resource)
		}
		if hit == s.inverted {
			return false
		}
	}
	for _, c := range s.conditions {
		holds, err := c.holds(r.Context)
		if err != nil || !holds {
			return false
		}
	}
	return true
}
