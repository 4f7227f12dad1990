package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	gostrings "strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxCases bounds a file of cases, in bytes.
const maxCases = 1 << 20

// Case is a question with the answer that somebody expects of a policy set.
type Case struct {
	Name     string   `json:"name"`
	Question Question `json:"question"`
	Allowed  *bool    `json:"allowed"`
	Policies []string `json:"policies,omitempty"` // ids that decide; empty where it doesn't matter which
	Line     int      `json:"-"`
}

// Failure is a case that a policy set answers otherwise.
type Failure struct {
	Case   string `json:"case"`
	Line   int    `json:"line"`
	Wanted string `json:"wanted"`
	Answer Answer `json:"answer"`
}

// ReadCases reads a YAML file: `cases:`, a list of name, question (in the names of its JSON), allowed and, optionally, policies. Every
// fault is told at once, each with file and line.
func ReadCases(file string, raw []byte) ([]Case, error) {
	if len(raw) > maxCases {
		return nil, fmt.Errorf("%s: has %d bytes, at most %d", file, len(raw), maxCases)
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	var root yaml.Node
	if err := dec.Decode(&root); err != nil {
		return nil, fmt.Errorf("couldn't read the cases: %s: %w", file, err)
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return nil, fmt.Errorf("%s: has a second document; a file of cases is one", file)
	}
	var set struct {
		Cases []Case `json:"cases"`
	}
	r := &strict{file: file}
	r.read(root.Content[0], reflect.ValueOf(&set).Elem())
	seen := map[string]bool{}
	for i := range set.Cases {
		c := &set.Cases[i]
		switch {
		case c.Name == "":
			r.fault(c.Line, "a case needs a name")
		case seen[c.Name]:
			r.fault(c.Line, "another case has the name %q", c.Name)
		case c.Allowed == nil:
			r.fault(c.Line, "case %q doesn't say whether it is allowed", c.Name)
		case c.Question.Action == "":
			r.fault(c.Line, "case %q asks about no action", c.Name)
		}
		seen[c.Name] = true
	}
	if len(r.faults) == 0 && len(set.Cases) == 0 {
		r.fault(1, "there are no cases")
	}
	return set.Cases, errors.Join(r.faults...)
}

// RunCases asks a policy set every case, and lists those that it answers otherwise.
func RunCases(e *Engine, cases []Case) []Failure {
	var out []Failure
	for _, c := range cases {
		a := e.Ask(c.Question)
		wanted := map[bool]string{true: "allowed", false: "refused"}[*c.Allowed]
		policies := slices.Sorted(slices.Values(c.Policies))
		if len(policies) > 0 {
			wanted += " by " + gostrings.Join(policies, " and ")
		}
		if a.Allowed != *c.Allowed || len(policies) > 0 && !slices.Equal(a.Policies, policies) {
			out = append(out, Failure{c.Name, c.Line, wanted, a})
		}
	}
	return out
}

// strict reads YAML into what has JSON names: the same names as in a recorded question, and no other.
type strict struct {
	file   string
	faults []error
}

func (r *strict) fault(line int, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s:%d: "+format, append([]any{r.file, line}, args...)...))
}

func (r *strict) read(n *yaml.Node, into reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		r.read(n, into.Elem())
	case into.Kind() == reflect.Struct && into.Type() != reflect.TypeFor[time.Time]():
		r.object(n, into)
	case into.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.fault(n.Line, "here goes a list")
			return
		}
		list := reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content))
		for i, element := range n.Content {
			r.read(element, list.Index(i))
		}
		into.Set(list)
	default:
		if err := n.Decode(into.Addr().Interface()); err != nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.fault(n.Line, "%q is not %s", n.Value, map[reflect.Kind]string{
				reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a number", reflect.Int64: "a number", reflect.Struct: "a time, as in 2026-03-04T12:00:00Z",
			}[into.Kind()])
		}
	}
}

func (r *strict) object(n *yaml.Node, into reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.fault(n.Line, "here go names with values")
		return
	}
	if c, ok := into.Addr().Interface().(*Case); ok {
		c.Line = n.Line
	}
	fields := map[string]int{}
	for i := range into.NumField() {
		if name, _, _ := gostrings.Cut(into.Type().Field(i).Tag.Get("json"), ","); name != "-" {
			fields[name] = i
		}
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		field, ok := fields[key.Value]
		switch {
		case !ok:
			r.fault(key.Line, "there is nothing called %q here", key.Value)
		case seen[key.Value]:
			r.fault(key.Line, "%q is said twice", key.Value)
		default:
			r.read(n.Content[i+1], into.Field(field))
		}
		seen[key.Value] = true
	}
}
