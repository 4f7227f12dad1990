package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/policy"
)

func TestATenantAddsItsPoliciesToTheDefaultSet(t *testing.T) {
	t.Parallel()
	e, c, err := policy.LoadNamed(policy.Default(), "acme.cedar", `
// Acme's auditors read what is signed; nobody decides with a weak proof.
@id("acme-auditors-view")
permit (principal, action == Action::"view", resource is Signing)
when { principal.roles.contains("auditor") };

@id("acme-strong-proof")
@refusal("at Acme decisions need a key")
forbid (principal, action == Action::"decide", resource)
when { context.assurance < 2 };
`)
	if err != nil || c.Apart < 3 {
		t.Fatalf("up to %d parts: %v", c.Apart, err)
	}
	if a := e.Ask(but(policy.View, by("home", liam, "auditor"))); !a.Allowed || a.Policies[0] != "acme-auditors-view" {
		t.Errorf("an auditor: %+v", a)
	}
	if a := e.Ask(may(policy.Decide)); a.Allowed || a.Code() != "acme-strong-proof" || a.Refusal != "at Acme decisions need a key" {
		t.Errorf("a weak proof: %+v", a)
	}
	if a := e.Ask(may(policy.Request)); !a.Allowed {
		t.Errorf("the default set: %+v", a)
	}
	again := engine(t, e.Text())
	if again.Hash() != e.Hash() || !strings.HasPrefix(e.Text(), policy.Default()) {
		t.Error("the text alone is another set")
	}
}

func TestWithoutPoliciesOfItsOwnATenantHasTheDefaultSet(t *testing.T) {
	t.Parallel()
	e, err := policy.Combine(policy.Default(), "acme.cedar", "// nothing yet\n")
	if err != nil || e.Hash() != engine(t, policy.Default()).Hash() {
		t.Errorf("%v", err)
	}
}

func TestATenantCannotBreakAnInvariant(t *testing.T) {
	t.Parallel()
	_, _, err := policy.LoadNamed(policy.Default(), "tenant.cedar", `@id("owner-gives") permit (principal, action == Action::"delegate", resource is Grant) when { principal.roles.contains("owner") };`)
	var found *policy.Counterexample
	if !errors.As(err, &found) || found.Invariant.ID != "entitled-to-delegate" || !strings.Contains(err.Error(), "couldn't load tenant.cedar: the policy set breaks entitled-to-delegate") {
		t.Errorf("%v", err)
	}
}

func TestWhatATenantCannotMeanIsToldWithFileLineAndID(t *testing.T) {
	t.Parallel()
	const view = `permit (principal, action == Action::"view", resource is Signing)`
	for name, c := range map[string]struct{ text, message string }{
		"an attribute":           {"\n@id(\"a\") " + view + " when { principal.clearance > 3 };", "acme.cedar:2: policy \"a\": attribute `clearance` on entity type `Actor` not found"},
		"a context":              {`@id("a") ` + view + ` when { context.weekday == 1 };`, "acme.cedar:1: policy \"a\": attribute `weekday` in context"},
		"an action":              {`@id("a") permit (principal, action == Action::"viw", resource);`, "acme.cedar:1: policy \"a\": unrecognized action `Action::\"viw\"`"},
		"a kind of thing":        {`@id("a") permit (principal, action == Action::"view", resource is Contract);`, "unrecognized entity type `Contract`"},
		"a kind in a condition":  {`@id("a") ` + view + ` when { resource is Contract };`, "unrecognized entity type `Contract`"},
		"a kind of principal":    {`@id("a") permit (principal is User, action, resource);`, "unrecognized entity type `User`"},
		"a thing without action": {`@id("a") permit (principal, action == Action::"view", resource is Stage);`, "unable to find an applicable action"},
		"a wrong type":           {`@id("a") ` + view + ` when { principal.kind > 3 };`, "but saw String"},
		"a set as a string":      {`@id("a") ` + view + ` when { principal.roles == "auditor" };`, "not compatible"},
		"an unguarded grant":     {`@id("a") ` + view + ` when { context.grant.role == "legal" };`, "optional attribute `grant`"},
		"a slip in has":          {`@id("a") forbid (principal, action, resource) when { context has grnt };`, "acme.cedar:1: policy \"a\": nothing ever has an attribute `grnt`"},
		"no Cedar":               {"\n\nallow everybody;", "couldn't read acme.cedar: parser error: parse error at acme.cedar:3:7"},
		"no @id":                 {"\n" + view + ";", "acme.cedar:2: a policy needs an @id"},
		"an @id twice":           {`@id("a") ` + view + ";\n@id(\"a\") " + view + ";", "acme.cedar:2: policy \"a\": the policy at line 1 has this @id already"},
		"a default @id":          {`@id("tenant-wall") ` + view + ";", "acme.cedar:1: policy \"tenant-wall\": the default set has a policy of this @id"},
		"an open string":         {`@id("a`, "acme.cedar:1:5"},
		"more than 256 K":        {"//" + strings.Repeat("x", 256<<10), "acme.cedar: has 262146 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if e, err := policy.Combine(policy.Default(), "acme.cedar", c.text); err == nil || e != nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v; want %q", err, c.message)
			}
		})
	}
	if _, err := policy.Combine(`@id("a") permit (principal, action, resource) when { principal.x };`, "acme.cedar", ""); err == nil || !strings.HasPrefix(err.Error(), "default.cedar:1: policy") {
		t.Errorf("a fault of the default set: %v", err)
	}
}
