package tests

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// resale starts a signing of acme that alice (legal) and then rhea (of a reseller), or whom she grants it to, have to approve by their keys.
func resale(t testing.TB) *stack.Signing {
	t.Helper()
	return begin(t, request(t, "acme", "resale-agreement"))
}

// passkey is a new passkey of somebody, enrolled for a tenant.
func passkey(t testing.TB, tenant, who string) *stack.Authenticator {
	t.Helper()
	a := stack.NewAuthenticator("localhost", "http://localhost:8080")
	id, err := local.Enrol(t.Context(), tenant, who, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Key(t.Context(), tenant, id, func(k evidence.KeyStatus) bool { return k.State == evidence.KeyActive }); err != nil {
		t.Fatal(err)
	}
	return a
}

// granted gives a grant and has it accepted.
func granted(t testing.TB, from, to string, g countersign.Grant) string {
	t.Helper()
	digest, err := local.Give(t.Context(), from, g)
	if err == nil {
		_, err = local.Grant(t.Context(), g.Tenant, digest, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantInvited })
	}
	if err == nil {
		err = local.Accept(t.Context(), g.Tenant, to, digest)
	}
	if err == nil {
		_, err = local.Grant(t.Context(), g.Tenant, digest, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantActive })
	}
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// approve lets somebody approve by passkey, on their own role or under grants of rhea's.
func approve(t testing.TB, g *stack.Signing, who, stage string, key *stack.Authenticator, grants ...string) countersign.DecisionRecord {
	t.Helper()
	status, err := g.Until(t.Context(), func(s workflows.Status) bool { return s.State == "approval" })
	if err != nil {
		t.Fatal(err)
	}
	d := g.Decision(status, who, stage, countersign.Approve)
	if len(grants) > 0 {
		d = stack.Under(d, local.Actor("nord/rhea"), grants...)
	}
	signed, err := g.PutWith(t.Context(), who, d, key)
	if err != nil {
		t.Fatal(err)
	}
	return record(t, g, signed)
}

func wantCounted(t testing.TB, r countersign.DecisionRecord) {
	t.Helper()
	if !r.Counted() {
		t.Fatalf("the decision was refused: %s: %s", r.Refusal.Code, r.Refusal.Message)
	}
}

func wantRefused(t testing.TB, r countersign.DecisionRecord, code, part string) {
	t.Helper()
	if r.Counted() || r.Refusal.Code != code || !strings.Contains(r.Refusal.Message, part) {
		t.Fatalf("became %+v, want a refusal %s that says %q", r.Refusal, code, part)
	}
}

// The whole path: a reseller's delegate, who may do nothing by herself, approves one signing by passkey under a grant. The evidence names
// both people, the grant and the key, and a stranger checks all of it.
func TestR03_ADelegateCompletesOneTransactionUnderAGrant(t *testing.T) {
	t.Parallel()
	g := resale(t)
	alice, remy := passkey(t, "acme", "acme/alice"), passkey(t, "acme", "nord/remy")
	grant := granted(t, "nord/rhea", "nord/remy", local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID))
	wantCounted(t, approve(t, g, "acme/alice", "legal", alice))
	wantCounted(t, approve(t, g, "nord/remy", "reseller", remy, grant))
	_, report := ended(t, g, countersign.Completed)

	decisions := report.Statement.Decisions
	last := decisions[len(decisions)-1]
	if last.Actor != local.Actor("nord/remy") || last.OnBehalfOf == nil || last.OnBehalfOf.Actor != local.Actor("nord/rhea") || last.OnBehalfOf.Name != "Rhea Rask" {
		t.Errorf("the evidence doesn't name both people: %+v", last)
	}
	if !slices.Equal(last.Grants, []string{grant}) || last.Assurance != 2 || last.Key == "" {
		t.Errorf("the evidence names grants %v, assurance %d, key %q", last.Grants, last.Assurance, last.Key)
	}
	if decisions[0].OnBehalfOf != nil || decisions[0].Assurance != 2 {
		t.Errorf("alice decided for herself, by her key: %+v", decisions[0])
	}
	status, err := local.Grant(t.Context(), "acme", grant, func(s evidence.GrantStatus) bool { return s.Used == 1 })
	if err != nil || len(status.Uses) != 1 {
		t.Errorf("the grant was used %v times: %v", status.Uses, err)
	}
}

// A grant is for one transaction and no wider: each row takes a good grant and one step beside it.
func TestR03_AGrantIsNotWidened(t *testing.T) {
	t.Parallel()
	g := resale(t)
	remy := passkey(t, "acme", "nord/remy")
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("0", 63) + "1"
	for name, row := range map[string]struct {
		change    func(*countersign.Grant)
		stage     string
		code, say string
	}{
		"another request":  {func(c *countersign.Grant) { c.Request = "PO-other" }, "reseller", "within-the-grants-scope", "another document or another request"},
		"another document": {func(c *countersign.Grant) { c.Request, c.Documents = "", []string{other} }, "reseller", "within-the-grants-scope", "another document or another request"},
		"another stage":    {func(*countersign.Grant) {}, "legal", "not-entitled", "nothing gives you this right"},
		"another action":   {func(c *countersign.Grant) { c.Actions, c.Depth = []string{countersign.GrantDelegate}, 1 }, "reseller", "not-entitled", "nothing gives you this right"},
		"before its time":  {func(c *countersign.Grant) { c.NotBefore += 1800 }, "reseller", "within-the-grants-window", "has not begun"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			draft := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID)
			draft.Reason = name // or two grants would be one
			row.change(&draft)
			grant := granted(t, "nord/rhea", "nord/remy", draft)
			wantRefused(t, approve(t, g, "nord/remy", row.stage, remy, grant), row.code, row.say)
		})
	}
	t.Run("somebody else's", func(t *testing.T) {
		t.Parallel()
		draft := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID)
		draft.Reason = "somebody else's"
		grant := granted(t, "nord/rhea", "nord/remy", draft)
		rona := passkey(t, "acme", "nord/rona")
		wantRefused(t, approve(t, g, "nord/rona", "reseller", rona, grant), "grant-chain", "lead from somebody else, or to somebody else")
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		d := g.Decision(status, "nord/remy", "reseller", countersign.Approve)
		signed, err := g.PutWith(t.Context(), "nord/remy", d, remy)
		if err != nil {
			t.Fatal(err)
		}
		wantRefused(t, record(t, g, signed), "not-entitled", "nothing gives you this right")
	})
	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, approve(t, g, "nord/remy", "reseller", remy, other), "grant-unknown", "there is no grant")
	})
}

// Whoever isn't entitled can't give: each row is refused with its reason, and its name stays free.
func TestR03_GrantsThatCannotBeGiven(t *testing.T) {
	t.Parallel()
	draft := func(from, to, role string) countersign.Grant {
		return local.Draft("acme", from, to, role, requestID(t))
	}
	for name, row := range map[string]struct {
		who   string
		grant countersign.Grant
		want  string
	}{
		"a role that one doesn't hold":    {"nord/remy", draft("nord/remy", "nord/rona", "reseller"), "not-entitled"},
		"somebody else's authority":       {"nord/remy", draft("nord/rhea", "nord/remy", "reseller"), "other-sender"},
		"a role that decides in no stage": {"acme/ben", draft("acme/ben", "acme/alice", "requester"), "role-not-delegable"},
		"to a stranger": {"nord/rhea", func() countersign.Grant {
			g := draft("nord/rhea", "nord/remy", "reseller")
			g.Grantee.Subject = "nobody"
			return g
		}(), "grantee-is-a-known-person"},
		"to a machine": {"nord/rhea", draft("nord/rhea", "acme/procurement", "reseller"), "grantee-is-a-known-person"},
		"a part of a grant that isn't there": {"nord/remy", func() countersign.Grant {
			g := draft("nord/remy", "nord/rona", "reseller")
			g.Parent = strings.Repeat("ab", 32)
			return g
		}(), "grant-unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.grant.Reason = name
			digest, err := row.grant.Digest()
			if err != nil {
				t.Fatal(err)
			}
			// The proof is of whoever sends it: nobody can log in for somebody else.
			if _, err := local.Give(t.Context(), row.who, row.grant); err != nil {
				t.Fatal(err)
			}
			if err := local.Failure(t.Context(), "acme", countersign.AccessID("acme", digest)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("ended with %v, want %s", err, row.want)
			}
		})
	}
}

// Rhea grants to Remy, who hands a part on to Rona; Rona decides. When Remy's grant is revoked, what hangs below it is gone: no signature.
func TestR14_RevokedBetweenQuorumAndSigningByTheGrantAbove(t *testing.T) {
	t.Parallel()
	g := resale(t)
	alice, rona := passkey(t, "acme", "acme/alice"), passkey(t, "acme", "nord/rona")
	first := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID)
	first.Actions, first.Depth = []string{countersign.GrantDecide, countersign.GrantDelegate}, 1
	above := granted(t, "nord/rhea", "nord/remy", first)
	second := local.Draft("acme", "nord/remy", "nord/rona", "reseller", g.Request.ID)
	second.Parent, second.NotBefore, second.NotAfter = above, first.NotBefore, first.NotAfter
	below := granted(t, "nord/remy", "nord/rona", second)

	wantCounted(t, approve(t, g, "nord/rona", "reseller", rona, above, below)) // early: it counts when its stage opens
	if err := local.Tell(t.Context(), "acme", "nord/rhea", countersign.AccessID("acme", above), countersign.SignalRevoke, countersign.GrantEnd{ID: "r1", Reason: "no longer ours"}); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Grant(t.Context(), "acme", above, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantRevoked }); err != nil {
		t.Fatal(err)
	}
	wantCounted(t, approve(t, g, "acme/alice", "legal", alice))
	_, report := ended(t, g, countersign.Revoked)
	if report.Statement.Signature != nil || !strings.Contains(report.Statement.Detail, "is revoked") {
		t.Errorf("it ended with %q, signed as %+v", report.Statement.Detail, report.Statement.Signature)
	}
	if signed := versions(t, "documents", countersign.WithheldKey("acme", g.Request.ID, "document-signed.pdf")); len(signed) != 0 {
		t.Errorf("%d signatures are stored", len(signed))
	}
}

// Only those whose authority it is, and the tenant's owner, take a grant back; what is revoked decides nothing.
func TestR14_ARevokedGrantDecidesNothing(t *testing.T) {
	t.Parallel()
	g := resale(t)
	remy := passkey(t, "acme", "nord/remy")
	grant := granted(t, "nord/rhea", "nord/remy", local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID))
	id := countersign.AccessID("acme", grant)
	if err := local.Tell(t.Context(), "acme", "nord/rona", id, countersign.SignalRevoke, countersign.GrantEnd{ID: "x", Reason: "mine now"}); err != nil {
		t.Fatal(err)
	}
	status, err := local.Grant(t.Context(), "acme", grant, func(s evidence.GrantStatus) bool { return len(s.Signals) == 2 })
	if err != nil {
		t.Fatal(err)
	}
	if status.State != countersign.GrantActive || status.Signals[1].Refusal == nil || status.Signals[1].Refusal.Code != "not-entitled" {
		t.Fatalf("a stranger's revocation made it %s: %+v", status.State, status.Signals[1])
	}
	if err := local.Tell(t.Context(), "acme", "acme/olivia", id, countersign.SignalRevoke, countersign.GrantEnd{ID: "y", Reason: "she left"}); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Grant(t.Context(), "acme", grant, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantRevoked }); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, approve(t, g, "nord/remy", "reseller", remy, grant), "grant-is-in-force", "was revoked or given back")
}

// A grant works until the second before its end, and not at it: the server's stamp on the signal decides, not when it is looked at.
func TestR08_AGrantEndsAtItsSecond(t *testing.T) {
	t.Parallel()
	g := resale(t)
	remy := passkey(t, "acme", "nord/remy")
	draft := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID)
	draft.NotAfter = time.Now().Unix() + 30 // a slow machine has to offer and accept it in time
	grant := granted(t, "nord/rhea", "nord/remy", draft)
	if _, err := local.Grant(t.Context(), "acme", grant, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantExpired }); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, approve(t, g, "nord/remy", "reseller", remy, grant), "within-the-grants-window", "or is over")
}

// What was offered and not taken entitles to nothing.
func TestR03_AGrantThatWasNotAcceptedDecidesNothing(t *testing.T) {
	t.Parallel()
	g := resale(t)
	remy := passkey(t, "acme", "nord/remy")
	grant, err := local.Give(t.Context(), "nord/rhea", local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID))
	if err == nil {
		_, err = local.Grant(t.Context(), "acme", grant, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantInvited })
	}
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, approve(t, g, "nord/remy", "reseller", remy, grant), "not-proven", "was never accepted")
	withdraw(t, g, "machine:acme/procurement", "w1")
	ended(t, g, countersign.Withdrawn)
}

// A grant for one decision is for one.
func TestR03_AGrantIsUsedUp(t *testing.T) {
	t.Parallel()
	one, two := resale(t), begin(t, func() countersign.Request { r := request(t, "acme", "resale-agreement"); r.ID += "-2"; return r }())
	remy := passkey(t, "acme", "nord/remy")
	draft := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", "")
	draft.Documents = []string{one.Request.Document.SHA256}
	grant := granted(t, "nord/rhea", "nord/remy", draft)
	wantCounted(t, approve(t, one, "nord/remy", "reseller", remy, grant))
	wantRefused(t, approve(t, two, "nord/remy", "reseller", remy, grant), "grant-used-up", "and they are made")
	withdraw(t, two, "machine:acme/procurement", "w1")
	ended(t, two, countersign.Withdrawn) // the policy allowed what the grant refused, and a stranger understands that
}

// Separation of duties follows the chain: whoever lent the authority has had the vote.
func TestR19_ADelegatorAndTheirDelegateHaveOneVote(t *testing.T) {
	t.Parallel()
	g := resale(t)
	rhea, remy := passkey(t, "acme", "nord/rhea"), passkey(t, "acme", "nord/remy")
	grant := granted(t, "nord/rhea", "nord/remy", local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID))
	wantCounted(t, approve(t, g, "nord/remy", "reseller", remy, grant))
	wantRefused(t, approve(t, g, "nord/rhea", "reseller", rhea), "one-person-one-vote", "one person has one vote")
}

// A misrouted request: whom it doesn't concern is refused, and that is recorded; whom it does concern hands it on to the right person.
func TestR07_AMisroutedDecisionIsRefusedRecordedAndRerouted(t *testing.T) {
	t.Parallel()
	g := resale(t)
	alice, rona := passkey(t, "acme", "acme/alice"), passkey(t, "acme", "nord/rona")
	wantRefused(t, approve(t, g, "nord/rona", "reseller", rona), "not-entitled", "nothing gives you this right")
	grant := granted(t, "nord/rhea", "nord/rona", local.Draft("acme", "nord/rhea", "nord/rona", "reseller", g.Request.ID))
	wantCounted(t, approve(t, g, "nord/rona", "reseller", rona, grant))
	wantCounted(t, approve(t, g, "acme/alice", "legal", alice))
	_, report := ended(t, g, countersign.Completed)
	if first := report.Statement.Decisions[0]; first.Counted || first.Refusal.Code != "not-entitled" || first.Actor != local.Actor("nord/rona") {
		t.Errorf("the evidence doesn't record the refusal: %+v", first)
	}
}

// Whoever could have decided, and whoever did, are told apart in the evidence.
func TestR06_TheEvidenceTellsWhoCouldHaveFromWhoDid(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	stage, ok := report.Statement.Plan.Stage("counsel")
	if _, carol := stage.Find(local.Actor("hart/carol")); !ok || !carol {
		t.Errorf("carol could have decided, and the plan doesn't say so: %+v", stage)
	}
	for _, d := range report.Statement.Decisions {
		if d.Actor == local.Actor("hart/carol") {
			t.Errorf("carol did not decide: %+v", d)
		}
	}
	if last := report.Statement.Decisions[1]; last.Actor != local.Actor("hart/chris") || !last.Counted {
		t.Errorf("chris decided: %+v", last)
	}
}

// A machine decides nothing, not even where a person's decision is put into its hands.
func TestR18_AMachineDecidesNothing(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	d := g.Decision(status, "acme/alice", "legal", countersign.Approve)
	token, err := local.Prove(t.Context(), "acme/alice", d)
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, "a machine's decide signal", g.Send(t.Context(), "machine:acme/procurement", countersign.SignedDecision{ID: "m", Decision: d, Proof: countersign.Proof{IDToken: token}}))
	if status, err := g.Status(t.Context()); err != nil || len(status.Decisions) != 0 {
		t.Errorf("the saga saw %+v (%v)", status.Decisions, err)
	}
}
