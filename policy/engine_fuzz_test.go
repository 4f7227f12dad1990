package policy

import (
	text "strings"
	"testing"
)

// FuzzNewEngine feeds the policy of a stranger's bundle to the engine: it may refuse it, and never allows what no policy permits.
func FuzzNewEngine(f *testing.F) {
	f.Add(Default())
	f.Add(`@id("x") permit(principal, action, resource) when { context.a.b == 1 };`)
	f.Fuzz(func(t *testing.T, set string) {
		e, err := NewEngine(set)
		if err != nil {
			return
		}
		if answer := e.Ask(Question{Action: Decide}); answer.Allowed && !text.Contains(set, "permit") {
			t.Errorf("%q allows", set)
		}
	})
}

// A stranger's policy may be nested as deeply as its size lets it. It is refused or read, and doesn't end the process.
func TestR21_ADeeplyNestedPolicyEndsNothing(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"(", ")"}, {"[", "]"}, {"!", ""}, {"-", ""}, {"if true then ", " else false"}, {`{"a":`, "}"}} {
		n := (maxPolicyText - 200) / (len(pair[0]) + len(pair[1]))
		set := `@id("deep") permit(principal, action, resource) when { ` + text.Repeat(pair[0], n) + "true" + text.Repeat(pair[1], n) + " };"
		if e, err := NewEngine(set); err == nil {
			e.Ask(Question{Action: Decide})
		}
	}
}
