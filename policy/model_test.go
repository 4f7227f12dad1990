package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"

	"github.com/countersign-dev/countersign/policy"
)

func TestTheDefaultSetKeepsEveryInvariantInTheWholeModel(t *testing.T) {
	t.Parallel()
	c, err := policy.CheckModel(engine(t, policy.Default()))
	if err != nil || c.Apart < 4 || c.Asked < 1_000_000 {
		t.Fatalf("asked %d questions, up to %d parts from a usual one: %v", c.Asked, c.Apart, err)
	}
}

// without is the default set without a policy.
func without(t testing.TB, id string) string {
	t.Helper()
	list := defaultList(t)
	i := slices.IndexFunc(list, func(p *cedar.Policy) bool { return string(p.Annotations()["id"]) == id })
	if i < 0 {
		t.Fatalf("the default set has no policy %q", id)
	}
	return string(slices.Delete(list, i, i+1).MarshalCedar())
}

// edited is the default set with another wording.
func edited(t testing.TB, before, after string) string {
	t.Helper()
	if strings.Count(policy.Default(), before) != 1 {
		t.Fatalf("the default set doesn't say once: %s", before)
	}
	return strings.Replace(policy.Default(), before, after, 1)
}

// Plausible bad sets: what somebody writes who means well, or who tidies up.
func TestBadSetsHaveASmallCounterexample(t *testing.T) {
	t.Parallel()
	add := func(text string) string { return policy.Default() + text }
	for name, c := range map[string]struct {
		text, invariant string
		parts           int // in which the counterexample differs from what is usual
	}{
		"everybody may do everything":                {`@id("all") permit (principal, action, resource);`, "entitled-to-delegate", 1},
		"counsel reaches every tenant":               {edited(t, "unless { principal.tenants.contains(resource.tenant) };", `unless { principal.tenants.contains(resource.tenant) || principal.roles.contains("counsel") };`), "tenant-wall", 2},
		"no wall":                                    {without(t, "tenant-wall"), "tenant-wall", 1},
		"no wall for the owner of one tenant":        {edited(t, "unless { principal.tenants.contains(resource.tenant) };", `unless { principal.tenants.contains(resource.tenant) || resource.tenant == "globex" };`), "tenant-wall", 1},
		"another tenant's grant counts at home":      {without(t, "grant-is-of-this-tenant"), "tenant-wall", 1},
		"a home role escapes the grant's scope":      {edited(t, "  !(context.grant.documents", "  !principal.roles.contains(resource.role) && !(context.grant.documents"), "grant-holds", 2},
		"a window that closes a second late":         {edited(t, "context.now >= context.grant.notAfter", "context.now > context.grant.notAfter"), "grant-holds", 1},
		"a window that is open before":               {edited(t, "(context.now < context.grant.notBefore || context.now >= context.grant.notAfter)", "context.now >= context.grant.notAfter"), "grant-holds", 1},
		"a grant of anybody":                         {without(t, "grant-is-the-grantees-own"), "grant-holds", 1},
		"a revoked grant counts":                     {without(t, "grant-is-in-force"), "grant-holds", 1},
		"a grant of any role":                        {edited(t, "context.grant.actions.contains(\"decide\") &&\n  context.grant.role == resource.role &&", `context.grant.actions.contains("decide") &&`), "grant-holds", 1},
		"a grant outlives its holder's role":         {edited(t, "context.grant.holderRoles.contains(resource.role) &&\n", ""), "grant-holds", 1},
		"one's own role works under any grant":       {edited(t, "!(context has grant) && principal.roles.contains(resource.role) && resource.eligible", "principal.roles.contains(resource.role) && resource.eligible"), "grant-holds", 2},
		"the board decides everything":               {add(`@id("board") permit (principal, action == Action::"decide", resource is Stage) when { principal.roles.contains("board") };`), "eligible-people-decide", 2},
		"an eligible board member decides anything":  {add(`@id("board") permit (principal, action == Action::"decide", resource is Stage) when { principal.roles.contains("board") && resource.eligible.contains(principal) };`), "grant-holds", 2},
		"any holder of the role decides":             {edited(t, " && resource.eligible.contains(principal) };\n\n@id(\"grantee-decides\")", " };\n\n@id(\"grantee-decides\")"), "eligible-people-decide", 1},
		"a grant for a document is for its request":  {edited(t, `context.grant.request != "" && context.grant.request == resource.request`, `context.grant.request == "" || context.grant.request == resource.request`), "grant-holds", 1},
		"cover for one purpose is for every":         {edited(t, ` && context.grant.purposes.contains(resource.purpose))`, `)`), "grant-holds", 1},
		"a part of cover leaves its purpose":         {without(t, "within-the-grants-purposes"), "grants-purposes", 2},
		"a partner covers":                           {without(t, "cover-is-by-a-colleague"), "cover-stays-at-home", 1},
		"one of the tenant's own covers for anybody": {edited(t, `!(principal.kind == "home" && context.grant.issuers == [principal.issuer])`, `principal.kind != "home"`), "cover-stays-at-home", 1},
		"cover for a year":                           {without(t, "cover-is-short"), "cover-stays-at-home", 1},
		"cover that is handed on and on":             {edited(t, " || context.grant.depth > 1)", ")"), "cover-stays-at-home", 1},
		"cover is given to a partner":                {without(t, "cover-stays-in-the-organisation"), "cover-stays-at-home", 1},
		"cover made of a grant for a document":       {without(t, "cover-only-narrows"), "cover-stays-at-home", 2},
		"who requested decides through another":      {edited(t, "resource.requester == principal || context has grant && context.grant.delegators.contains(resource.requester)", "resource.requester == principal"), "no-self-approval", 1},
		"who requested decides":                      {without(t, "requester-is-not-approver"), "no-self-approval", 1},
		"a second vote by delegate":                  {edited(t, " || context has grant && resource.decided.containsAny(context.grant.delegators)", ""), "one-vote", 1},
		"no rule about machines":                     {without(t, "people-decide"), "people-decide", 1},
		"machines may take authority":                {edited(t, `Action::"review", Action::"delegate", Action::"accept"]`, `Action::"review", Action::"delegate"]`), "people-decide", 2},
		"the owner delegates any role":               {add(`@id("x") permit (principal, action == Action::"delegate", resource is Grant) when { principal.roles.contains("owner") };`), "entitled-to-delegate", 1},
		"a grant is handed on for ever":              {edited(t, "  context.grant.depth > 0 &&\n", ""), "entitled-to-delegate", 1},
		"authority for anybody":                      {without(t, "grantee-is-a-known-person"), "entitled-to-delegate", 1},
		"authority for oneself":                      {without(t, "nobody-delegates-to-themselves"), "entitled-to-delegate", 1},
		"the deadline's own millisecond":             {edited(t, "context.now < resource.deadline", "context.now <= resource.deadline"), "in-time", 1},
		"one person is never late":                   {edited(t, "unless { context.now < resource.deadline }", `unless { context.now < resource.deadline || principal == Actor::"https://id.acme.example#boss" }`), "in-time", 3},
		"a weak proof is enough":                     {without(t, "proof-strong-enough"), "proven", 1},
		"an unproven decision where nothing is said": {edited(t, "context.assurance > 0 && ", ""), "proven", 2},
		"the glass is lent":                          {without(t, "the-glass-is-not-lent"), "reviewed-by-others", 2},
		"the glass breaks by a login":                {without(t, "the-glass-is-broken-by-the-persons-own-key"), "glass-is-not-lent", 1},
		"any officer breaks the glass": {edited(t, `principal.roles.contains(resource.role) && resource.eligible.contains(principal) };

@id("owner-reviews")`, `principal.roles.contains(resource.role) };

@id("owner-reviews")`), "glass-is-not-lent", 1},
		"the glass breaks across tenants": {edited(t, "unless { principal.tenants.contains(resource.tenant) };", `unless { principal.tenants.contains(resource.tenant) || action == Action::"break-glass" };`), "tenant-wall", 1},
		"people review themselves":        {without(t, "nobody-reviews-themselves"), "reviewed-by-others", 1},
		"a rule that starts some day":     {edited(t, "unless { context.now < resource.deadline }", `unless { context.now < resource.deadline || context.now == 1893456000000 }`), "in-time", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := engine(t, c.text)
			_, err := policy.CheckModel(e)
			var found *policy.Counterexample
			if !errors.As(err, &found) {
				t.Fatalf("no counterexample: %v", err)
			}
			if found.Invariant.ID != c.invariant || len(found.But) != c.parts {
				t.Errorf("breaks %s in %d parts; want %s in %d: %v", found.Invariant.ID, len(found.But), c.invariant, c.parts, err)
			}
			_, text, _ := strings.Cut(err.Error(), "\nthe question: ")
			var q policy.Question
			if err := json.Unmarshal([]byte(text), &q); err != nil {
				t.Fatal(err)
			}
			if !e.Ask(q).Allowed || engine(t, policy.Default()).Ask(q).Allowed {
				t.Errorf("asked again: %+v; the default set: %+v", e.Ask(q), engine(t, policy.Default()).Ask(q))
			}
		})
	}
}

// A set that only forbids more, or lets more people look, keeps the invariants.
func TestGoodAdditionsPassTheModelCheck(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"stricter proof": `@id("x") forbid (principal, action == Action::"decide", resource) when { context.assurance < 2 };`,
		"auditors view":  `@id("x") permit (principal, action == Action::"view", resource is Signing) when { principal.roles.contains("auditor") && resource.tenant == "acme" };`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := policy.CheckModel(engine(t, policy.Default()+text)); err != nil || c.Apart < 3 {
				t.Errorf("up to %d parts: %v", c.Apart, err)
			}
		})
	}
}

func TestASetWithMoreNamesThanAModelCanHoldIsNotPassed(t *testing.T) {
	t.Parallel()
	text := policy.Default()
	for i := range 61 {
		text += fmt.Sprintf("@id(\"r%d\") permit (principal, action == Action::\"view\", resource is Signing) when { principal.roles.contains(\"role-%d\") };\n", i, i)
	}
	if c, err := policy.CheckModel(engine(t, text)); err == nil || c.Asked != 0 || !strings.Contains(err.Error(), "compares role with more than 60 values") {
		t.Errorf("%+v: %v", c, err)
	}
}

func BenchmarkModelCheck(b *testing.B) {
	e := engine(b, policy.Default())
	for b.Loop() {
		c, err := policy.CheckModel(e)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(c.Asked), "questions/op")
	}
}
