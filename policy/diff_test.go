package policy_test

import (
	"slices"
	"testing"

	"github.com/countersign-dev/countersign/policy"
)

func TestDiffShowsWhatChangesSmallestFirst(t *testing.T) {
	t.Parallel()
	old := engine(t, policy.Default())
	changed := engine(t, edited(t, "context.now < resource.deadline", "context.now <= resource.deadline")+`
@id("strict") forbid (principal, action == Action::"decide", resource) when { context.assurance < 2 };
@id("auditors") permit (principal, action == Action::"view", resource is Signing) when { principal.roles.contains("auditor") };`)
	changes, c := policy.DiffWithin(old, changed, 3)
	if c.Asked < 100_000 {
		t.Errorf("asked %+v", c)
	}
	var kinds []string
	for _, change := range changes {
		kinds = append(kinds, change.Kind)
		if change.Total < len(change.Examples) || len(change.Examples) == 0 || len(change.Examples) > 20 {
			t.Errorf("%s: %d with %d examples", change.Kind, change.Total, len(change.Examples))
		}
		for i, x := range change.Examples {
			if before, after := old.Ask(x.Question), changed.Ask(x.Question); before.Allowed != x.Old.Allowed || after.Allowed != x.New.Allowed {
				t.Errorf("%s: %s: %+v, then %+v", change.Kind, x, before, after)
			}
			if i > 0 && len(x.But) < len(change.Examples[i-1].But) {
				t.Errorf("%s: a smaller one comes later: %s", change.Kind, x)
			}
		}
	}
	if !slices.Equal(kinds, []string{policy.DenyToAllow, policy.AllowToDeny, policy.OtherReason}) {
		t.Fatalf("changes: %v", kinds)
	}
	if x := changes[0].Examples[0]; len(x.But) > 2 {
		t.Errorf("the smallest new yes: %s", x)
	}
	if x := changes[1].Examples[0]; x.String() != "ana decides" || x.New.Code() != "strict" {
		t.Errorf("the smallest new no: %s by %s", x, x.New.Code())
	}
}
