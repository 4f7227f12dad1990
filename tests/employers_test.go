package tests

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/countersign-dev/countersign"
)

// A tenant separates duties by employer with a rule of its own: whoever works for the requester's organisation decides nothing there, and a stranger asks
// the same of the evidence.
func TestN06_ATenantSeparatesEmployersByARuleOfItsOwn(t *testing.T) {
	dir := withPolicy(t, `@id("globex-separates-employers")
@refusal("somebody of your organisation requested this, or has decided in it")
forbid (principal, action == Action::"decide", resource)
when
{
  resource.requesterIssuer == principal.issuer || resource.decidedIssuers.contains(principal.issuer) ||
  context has grant && (context.grant.issuers.contains(resource.requesterIssuer) || resource.decidedIssuers.containsAny(context.grant.issuers))
};
`, "")
	p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	g := begin(t, request(t, "globex", "supplier-contract")) // by globex's own procurement
	wantRefused(t, record(t, g, decide(t, g, "globex/gina", "legal", countersign.Approve)), "globex-separates-employers", "somebody of your organisation requested this")
	status, err := g.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := g.Put(t.Context(), "hart/chris", g.Decision(status, "hart/chris", "counsel", countersign.Approve))
	if err != nil {
		t.Fatal(err)
	}
	wantCounted(t, record(t, g, signed))
	withdraw(t, g, "machine:globex/procurement", "w1")
	_, report := ended(t, g, countersign.Withdrawn)
	if first := report.Statement.Decisions[0]; first.Counted || !slices.Contains(first.Policies, "globex-separates-employers") {
		t.Errorf("the evidence says %+v", first)
	}
}
