package activities

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// LoadPolicy is the policy set of a tenant: the default one, with the tenant's own file on top of it where the settings name one. A set that
// names what no question has, breaks an invariant, or fails one of the tenant's example cases is refused, before it decides anything.
//
// The set's hash is what signings are frozen to, so each bundle holds the version that it was decided under.
func LoadPolicy(s *countersign.Settings, dir string) (*policy.Engine, error) {
	if s.Policy.File == "" {
		return policy.NewEngine(policy.Default())
	}
	text, err := os.ReadFile(beside(dir, s.Policy.File))
	if err != nil {
		return nil, s.Fault(err, "policy", "file")
	}
	engine, _, err := policy.LoadNamed(policy.Default(), filepath.Base(s.Policy.File), string(text))
	if err != nil {
		return nil, s.Fault(err, "policy", "file")
	}
	if s.Policy.Cases == "" {
		return engine, nil
	}
	raw, err := os.ReadFile(beside(dir, s.Policy.Cases))
	if err != nil {
		return nil, s.Fault(err, "policy", "cases")
	}
	cases, err := policy.ReadCases(filepath.Base(s.Policy.Cases), raw)
	if err != nil {
		return nil, s.Fault(err, "policy", "cases")
	}
	var failed []error
	for _, f := range policy.RunCases(engine, cases) {
		failed = append(failed, fmt.Errorf("line %d: case %q wants %s, and the answer is allowed: %t by %v", f.Line, f.Case, f.Wanted, f.Answer.Allowed, f.Answer.Policies))
	}
	if len(failed) > 0 {
		return nil, s.Fault(errors.Join(failed...), "policy", "cases")
	}
	return engine, nil
}

// beside is a file that a tenant's file names, relative to it.
func beside(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
