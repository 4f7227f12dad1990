package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// withPolicy is a directory with globex's file, which names policies and cases of its own.
func withPolicy(t *testing.T, text, cases string) string {
	t.Helper()
	files := t.TempDir()
	setting := "policy: {file: " + filepath.Join(files, "globex.cedar")
	if err := os.WriteFile(filepath.Join(files, "globex.cedar"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if cases != "" {
		setting += ", cases: " + filepath.Join(files, "cases.yaml")
		if err := os.WriteFile(filepath.Join(files, "cases.yaml"), []byte(cases), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := local.Tenant(t.TempDir(), "globex", "passkeys:", setting+"}\npasskeys:")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A tenant's own policy decides beside the default set, is cited by its hash, and a stranger finds it in the evidence and asks it again.
func TestR21_ATenantsOwnPolicyDecidesAndIsCited(t *testing.T) {
	dir := withPolicy(t, `@id("chris-reads-no-contracts")
@refusal("Chris does not decide here")
forbid (principal == Actor::"`+local.Actor("hart/chris").String()+`", action == Action::"decide", resource);
`, "")
	p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	r := request(t, "globex", "supplier-contract")
	g := begin(t, r)
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	wantRefused(t, record(t, g, decide(t, g, "hart/chris", "counsel", countersign.Approve)), "chris-reads-no-contracts", "Chris does not decide here")
	withdraw(t, g, "machine:globex/procurement", "w1")
	_, report := ended(t, g, countersign.Withdrawn)
	last := report.Statement.Decisions[len(report.Statement.Decisions)-1]
	if last.Counted || !slices.Contains(last.Policies, "chris-reads-no-contracts") {
		t.Errorf("the evidence says %+v", last)
	}
}

// What weakens the default set, or breaks the tenant's own cases, is found before it decides anything.
func TestR21_APolicySetThatFailsItsChecksIsNotLoaded(t *testing.T) {
	for name, c := range map[string]struct{ text, cases, says string }{
		"one that lets requesters approve": {`@id("trust-me")
permit (principal, action == Action::"decide", resource) when { principal.kind == "home" };`, "", "trust-me"},
		"one that names what isn't there": {`@id("typo")
forbid (principal, action == Action::"decide", resource) when { resource.rolle == "legal" };`, "", `globex.cedar:1: policy "typo"`},
		"one that takes an id of the default set": {`@id("tenant-wall")
permit (principal, action == Action::"view", resource) when { principal.kind == "nobody" };`, "", "the default set has a policy of this @id"},
		"one that breaks a case": {`@id("no-views")
forbid (principal, action == Action::"view", resource);`, `cases:
  - name: compliance looks at everything
    question:
      action: view
      principal: {actor: {iss: "https://id.globex.example", sub: officer}, kind: home, roles: [compliance], tenants: [globex]}
      resource: {signing: saga/globex/PO-1, tenant: globex}
    allowed: true
`, "compliance looks at everything"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := local.Workers(filepath.Join(local.Bin, "workers"), withPolicy(t, c.text, c.cases))
			if err == nil {
				p.Stop()
				t.Fatal("the workers started")
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "globex.yaml:") {
				t.Errorf("they said %v, want %q and the place in the file", err, c.says)
			}
		})
	}
}
