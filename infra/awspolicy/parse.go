package awspolicy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Kind says what a policy is attached to: it decides which elements it must have.
type Kind string

const (
	RolePolicy   Kind = "role policy"   // what a role may do
	TrustPolicy  Kind = "trust policy"  // who may take a role
	BucketPolicy Kind = "bucket policy" // of one bucket
	KeyPolicy    Kind = "key policy"    // of one key
)

// version is the only version of the language. The older one has no variables, and would take them as text.
const version = "2012-10-17"

// Policy is a policy that was read and understood completely.
type Policy struct {
	name       string
	kind       Kind
	statements []statement
}

type statement struct {
	sid        string
	deny       bool
	anyone     bool     // principal "*"
	principals []string // ARNs
	actions    []string
	resources  []pattern
	inverted   bool // resources are those of NotResource
	conditions []condition
}

// maxStatements bounds a policy.
const maxStatements = 50

var (
	sidPattern       = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	principalPattern = regexp.MustCompile(`^arn:aws:iam::[0-9]{12}:(root|(role|user)/[A-Za-z0-9/_+=,.@-]+)$`)
	resourcePatterns = map[resourceType]*regexp.Regexp{
		bucketResource: regexp.MustCompile(`^arn:aws:s3:::[a-z0-9.-]{3,63}$`),
		objectResource: regexp.MustCompile(`^arn:aws:s3:::[a-z0-9.-]{3,63}/.+$`),
		keyResource:    regexp.MustCompile(`^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/.+$`),
	}
)

// Parse reads a rendered policy. Whatever it doesn't know is an error that names the file and the line: an element, a version, an operator, a
// condition key, a variable, an action, a resource that no action of its statement can have, a condition that no action of its statement knows.
func Parse(name string, kind Kind, text []byte) (*Policy, error) {
	p := &parser{Policy: Policy{name: name, kind: kind}}
	root, err := readTree(name, text)
	if err == nil {
		err = p.document(root)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't use the %s %w", kind, err)
	}
	return &p.Policy, nil
}

type parser struct{ Policy }

func (p *parser) fault(n *node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.name, n.line, fmt.Sprintf(format, args...))
}

func (p *parser) document(root *node) error {
	if root.kind != '{' {
		return p.fault(root, "a policy is a JSON object")
	}
	var versioned bool
	for _, m := range root.members {
		switch m.name {
		case "Version":
			if m.value.kind != '"' || m.value.text != version {
				return p.fault(m.value, "the Version must be %q", version)
			}
			versioned = true
		case "Statement":
			if m.value.kind != '[' || len(m.value.items) == 0 || len(m.value.items) > maxStatements {
				return p.fault(m.value, "Statement must be an array of 1 to %d statements", maxStatements)
			}
			for _, item := range m.value.items {
				if err := p.statement(item); err != nil {
					return err
				}
			}
		default:
			return p.fault(m.value, "the element %q isn't known", m.name)
		}
	}
	if !versioned || len(p.statements) == 0 {
		return p.fault(root, "Version and Statement are both needed")
	}
	return nil
}

func (p *parser) statement(n *node) error {
	if n.kind != '{' {
		return p.fault(n, "a statement is a JSON object")
	}
	var s statement
	var effect bool
	for _, m := range n.members {
		var err error
		switch m.name {
		case "Sid":
			s.sid = m.value.text
			if m.value.kind != '"' || !sidPattern.MatchString(s.sid) {
				err = p.fault(m.value, "a Sid has 1 to 64 letters and digits")
			} else if slices.ContainsFunc(p.statements, func(other statement) bool { return other.sid == s.sid }) {
				err = p.fault(m.value, "two statements have the Sid %q", s.sid)
			}
		case "Effect":
			if m.value.text != "Allow" && m.value.text != "Deny" {
				err = p.fault(m.value, "the Effect must be Allow or Deny")
			}
			effect, s.deny = true, m.value.text == "Deny"
		case "Principal":
			err = p.principal(&s, m.value)
		case "Action":
			s.actions, err = p.texts(m.value)
			for _, name := range s.actions {
				if name != everyS3Action && !KnownAction(name) && err == nil {
					err = p.fault(m.value, "the action %q isn't known", name)
				}
			}
		case "Resource", "NotResource":
			if s.resources != nil {
				err = p.fault(m.value, "a statement has Resource or NotResource, once")
				break
			}
			s.inverted = m.name == "NotResource"
			err = p.resources(&s, m.value)
		case "Condition":
			err = p.conditions(&s, m.value)
		default:
			err = p.fault(m.value, "the element %q isn't known", m.name)
		}
		if err != nil {
			return err
		}
	}
	if s.sid == "" || !effect || s.actions == nil {
		return p.fault(n, "a statement needs Sid, Effect and Action")
	}
	if err := p.consistent(n, &s); err != nil {
		return err
	}
	p.statements = append(p.statements, s)
	return nil
}

// texts reads a string or an array of strings, each there once.
func (p *parser) texts(n *node) ([]string, error) {
	items := n.items
	if n.kind == '"' {
		items = []*node{n}
	}
	var all []string
	for _, item := range items {
		if item.kind != '"' || item.text == "" || slices.Contains(all, item.text) {
			return nil, p.fault(item, "this must be strings, none of them empty or there twice")
		}
		all = append(all, item.text)
	}
	if len(all) == 0 {
		return nil, p.fault(n, "this must be a string or an array of strings")
	}
	return all, nil
}

func (p *parser) principal(s *statement, n *node) error {
	if n.kind == '"' && n.text == "*" {
		s.anyone = true
		return nil
	}
	if n.kind != '{' || len(n.members) != 1 || n.members[0].name != "AWS" {
		return p.fault(n, `the Principal must be "*" or {"AWS": ...}`)
	}
	var err error
	s.principals, err = p.texts(n.members[0].value)
	for _, arn := range s.principals {
		if err == nil && !principalPattern.MatchString(arn) {
			err = p.fault(n, "%q is no ARN of an account, a role or a user", arn)
		}
	}
	return err
}

func (p *parser) resources(s *statement, n *node) error {
	texts, err := p.texts(n)
	if err != nil {
		return err
	}
	for _, text := range texts {
		if text == "*" && p.kind == KeyPolicy {
			s.resources = append(s.resources, pattern{{wild: '*'}}) // in a key's policy it is the key
			continue
		}
		if resourceOf(text) == "" {
			return p.fault(n, "the resource %q isn't known", text)
		}
		parsed, err := parsePattern(text, true)
		if err != nil {
			return p.fault(n, "%v", err)
		}
		s.resources = append(s.resources, parsed)
	}
	return nil
}

func resourceOf(arn string) resourceType {
	for kind, known := range resourcePatterns {
		if known.MatchString(arn) {
			return kind
		}
	}
	return ""
}

func (p *parser) conditions(s *statement, n *node) error {
	if n.kind != '{' || len(n.members) == 0 {
		return p.fault(n, "a Condition is an object of operators")
	}
	for _, m := range n.members {
		o, known := operators[m.name]
		if !known {
			return p.fault(m.value, "the operator %q isn't known", m.name)
		}
		if m.value.kind != '{' || len(m.value.members) == 0 {
			return p.fault(m.value, "an operator has an object of condition keys")
		}
		for _, k := range m.value.members {
			key, known := conditionKeys[k.name]
			if !known {
				return p.fault(k.value, "the condition key %q isn't known", k.name)
			}
			if m.name != "Null" && (!slices.Contains(o.takes, key.values) || o.many != key.many) {
				return p.fault(k.value, "%s can't be compared by %s", k.name, m.name)
			}
			texts, err := p.texts(k.value)
			if err != nil {
				return err
			}
			if m.name == "Null" && len(texts) != 1 {
				return p.fault(k.value, "Null takes one value")
			}
			c := condition{operator: m.name, key: k.name}
			for _, text := range texts {
				if o.check != nil {
					if err := o.check(text); err != nil {
						return p.fault(k.value, "%v", err)
					}
				}
				value, err := parsePattern(text, o.wild)
				if err == nil && o.check != nil && slices.ContainsFunc(value, func(part piece) bool { return part.variable != "" }) {
					err = fmt.Errorf("%s takes no variables", m.name)
				}
				if err != nil {
					return p.fault(k.value, "%v", err)
				}
				c.values = append(c.values, value)
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return nil
}

// consistent refuses what AWS would refuse to store: elements that don't belong to this kind of policy, and resources or conditions that mean
// nothing for the statement's actions.
func (p *parser) consistent(n *node, s *statement) error {
	named := s.anyone || s.principals != nil
	switch {
	case named != (p.kind != RolePolicy):
		return p.fault(n, "statement %s: a %s has a Principal if and only if it isn't of a role", s.sid, p.kind)
	case s.anyone && !s.deny:
		return p.fault(n, "statement %s: nothing is allowed to everybody", s.sid)
	case (s.resources != nil) != (p.kind != TrustPolicy):
		return p.fault(n, "statement %s: a %s has a Resource if and only if it isn't a trust policy", s.sid, p.kind)
	case s.inverted && !s.deny:
		return p.fault(n, "statement %s: NotResource is for Deny", s.sid)
	}
	services := map[Kind][]string{RolePolicy: {"s3", "kms"}, TrustPolicy: {"sts"}, BucketPolicy: {"s3"}, KeyPolicy: {"kms"}}[p.kind]
	for _, name := range s.actions {
		if service, _, _ := strings.Cut(name, ":"); !slices.Contains(services, service) {
			return p.fault(n, "statement %s: %s doesn't belong into a %s", s.sid, name, p.kind)
		}
		if name == everyS3Action {
			continue
		}
		for _, c := range s.conditions {
			if !strings.HasPrefix(c.key, "aws:") && !slices.Contains(actions[name].keys, c.key) {
				return p.fault(n, "statement %s: %s doesn't know %s", s.sid, name, c.key)
			}
		}
		if p.kind == TrustPolicy || s.inverted {
			continue
		}
		if !slices.ContainsFunc(s.resources, func(r pattern) bool { return p.kind == KeyPolicy || resourceOf(r.source()) == actions[name].resource }) {
			return p.fault(n, "statement %s: none of its resources is one of %s", s.sid, name)
		}
	}
	if slices.Contains(s.actions, everyS3Action) {
		for _, c := range s.conditions {
			if !strings.HasPrefix(c.key, "aws:") {
				return p.fault(n, "statement %s: not every action knows %s", s.sid, c.key)
			}
		}
	}
	return nil
}

// source is the text that a pattern was read from.
func (p pattern) source() string {
	var b strings.Builder
	for _, part := range p {
		switch {
		case part.variable != "":
			b.WriteString("${" + part.variable + "}")
		case part.wild != 0:
			b.WriteByte(part.wild)
		default:
			b.WriteString(part.literal)
		}
	}
	return b.String()
}
