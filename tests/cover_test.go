package tests

import (
	"slices"
	"strings"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// absence is alice's cover for supplier contracts, not yet given: olivia, a colleague without her role, decides in her place.
func absence(t testing.TB, to string) countersign.Grant {
	t.Helper()
	g := local.Draft("acme", "acme/alice", to, "legal", "")
	g.Purposes, g.Uses, g.Reason = []string{"supplier-contract"}, countersign.MaxGrantUses, t.Name()
	return g
}

// another is a request like one of the test's, under an id of its own.
func another(t testing.TB, purpose, suffix string) countersign.Request {
	t.Helper()
	r := request(t, "acme", purpose)
	r.ID += "-" + suffix
	return r
}

// inPlaceOfAlice lets somebody approve under grants of alice's.
func inPlaceOfAlice(t testing.TB, g *stack.Signing, who, stage string, key *stack.Authenticator, grants ...string) countersign.DecisionRecord {
	t.Helper()
	status, err := g.Until(t.Context(), func(s workflows.Status) bool { return s.State == "approval" })
	if err != nil {
		t.Fatal(err)
	}
	signed, err := g.PutWith(t.Context(), who, stack.Under(g.Decision(status, who, stage, countersign.Approve), local.Actor("acme/alice"), grants...), key)
	if err != nil {
		t.Fatal(err)
	}
	return record(t, g, signed)
}

// notGiven wants a grant's keeper to refuse it, whoever started it straight at the server.
func notGiven(t *testing.T, who string, g countersign.Grant, want string) {
	t.Helper()
	digest, err := local.Give(t.Context(), who, g)
	if err != nil {
		t.Fatal(err)
	}
	if err := local.Failure(t.Context(), "acme", countersign.AccessID("acme", digest)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("ended with %v, want %s", err, want)
	}
}

// The whole path: alice goes on holiday without knowing what will come. Olivia decides in what comes, and the evidence names both; in a signing of
// another purpose, in another stage and in a part that was handed on she reaches nothing more.
func TestR03_CoverOfAPurposeReachesNoOther(t *testing.T) {
	t.Parallel()
	draft := absence(t, "acme/olivia")
	draft.Actions, draft.Depth = []string{countersign.GrantDecide, countersign.GrantDelegate}, 1
	cover := granted(t, "acme/alice", "acme/olivia", draft)
	other := begin(t, another(t, "resale-agreement", "other")) // it comes after the cover was given, as the next one does
	g := contract(t)

	key := passkey(t, "acme", "acme/olivia")
	wantRefused(t, inPlaceOfAlice(t, other, "acme/olivia", "legal", key, cover), "within-the-grants-purposes", "cover for another purpose")
	wantRefused(t, inPlaceOfAlice(t, g, "acme/olivia", "counsel", nil, cover), "not-entitled", "nothing gives you this right")

	// What ben is handed on is for the other signing alone, and the cover doesn't reach that.
	part := local.Draft("acme", "acme/olivia", "acme/ben", "legal", other.Request.ID)
	part.Parent, part.NotBefore, part.NotAfter = cover, draft.NotBefore, draft.NotAfter
	below := granted(t, "acme/olivia", "acme/ben", part)
	wantRefused(t, inPlaceOfAlice(t, other, "acme/ben", "legal", passkey(t, "acme", "acme/ben"), cover, below), "within-the-grants-purposes", "cover for another purpose")
	wantRefused(t, inPlaceOfAlice(t, g, "acme/ben", "legal", nil, cover, below), "within-the-grants-scope", "another document or another request")

	wantCounted(t, inPlaceOfAlice(t, g, "acme/olivia", "legal", nil, cover))
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	i := slices.IndexFunc(report.Statement.Decisions, func(d evidence.DecisionStatement) bool { return d.Counted && d.Stage == "legal" })
	if i < 0 {
		t.Fatalf("the evidence has no such decision: %+v", report.Statement.Decisions)
	}
	if d := report.Statement.Decisions[i]; d.Actor != local.Actor("acme/olivia") || d.OnBehalfOf == nil || d.OnBehalfOf.Name != "Alice Ahn" || !slices.Equal(d.Grants, []string{cover}) {
		t.Errorf("the evidence doesn't name both people and the cover: %+v", d)
	}
	withdraw(t, other, "machine:acme/procurement", "w1")
	ended(t, other, countersign.Withdrawn)
}

// What can't be cover is not given, not even straight at the server.
func TestR03_CoverThatIsTooWideIsNotGiven(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*countersign.Grant)
		want   string
	}{
		"for a day more than 92": {func(g *countersign.Grant) { g.NotAfter = g.NotBefore + 93*24*3600 }, "at most 92 days"},
		"handed on twice": {func(g *countersign.Grant) {
			g.Depth, g.Actions = 2, []string{countersign.GrantDecide, countersign.GrantDelegate}
		}, "give 0 to 1"},
		"for everything":            {func(g *countersign.Grant) { g.Purposes = nil }, "a grant for everything is no grant"},
		"for an unknown purpose":    {func(g *countersign.Grant) { g.Purposes = []string{"anything"} }, "nothing to cover"},
		"where the role has no say": {func(g *countersign.Grant) { g.Purposes = []string{"internal-policy"} }, "nothing to cover"},
		"of a role not held":        {func(g *countersign.Grant) { g.Role = "counsel" }, "not-entitled"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			g := absence(t, "acme/olivia")
			row.change(&g)
			notGiven(t, "acme/alice", g, row.want)
		})
	}
}

// Cover counts until the second before its end, by the server's stamp on the decision, and what was decided within it stands after it.
func TestR08_CoverWorksUntilItsLastSecond(t *testing.T) {
	t.Parallel()
	g, late := contract(t), begin(t, another(t, "supplier-contract", "late"))
	draft := absence(t, "acme/olivia")
	draft.NotAfter = time.Now().Unix() + 30
	cover := granted(t, "acme/alice", "acme/olivia", draft)
	r := inPlaceOfAlice(t, g, "acme/olivia", "legal", nil, cover)
	wantCounted(t, r)
	if at, err := time.Parse(time.RFC3339Nano, r.At); err != nil || at.Unix() >= draft.NotAfter {
		t.Fatalf("it counted at %s (%v), and the cover ended at %d", r.At, err, draft.NotAfter)
	}
	if _, err := local.Grant(t.Context(), "acme", cover, func(s evidence.GrantStatus) bool { return s.State == countersign.GrantExpired }); err != nil {
		t.Fatal(err)
	}
	r = inPlaceOfAlice(t, late, "acme/olivia", "legal", nil, cover)
	wantRefused(t, r, "within-the-grants-window", "or is over")
	if at, err := time.Parse(time.RFC3339Nano, r.At); err != nil || at.Unix() < draft.NotAfter {
		t.Fatalf("it was refused at %s (%v), and the cover ended at %d", r.At, err, draft.NotAfter)
	}
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
	withdraw(t, late, "machine:acme/procurement", "w1")
	ended(t, late, countersign.Withdrawn)
}

func TestR08_CoverDoesNotWorkBeforeItsFirstSecond(t *testing.T) {
	t.Parallel()
	g := contract(t)
	draft := absence(t, "acme/olivia")
	draft.NotBefore += 1800
	cover := granted(t, "acme/alice", "acme/olivia", draft) // it is given and taken before the holiday begins
	wantRefused(t, inPlaceOfAlice(t, g, "acme/olivia", "legal", nil, cover), "within-the-grants-window", "has not begun")
}

// Partners have no standing access, so they neither give nor take cover, nor a part of it; and without a live grant their inbox has nothing of it.
func TestR20_APartnerGetsNoCover(t *testing.T) {
	t.Parallel()
	g := contract(t)
	t.Run("of_the_tenants_own", func(t *testing.T) {
		t.Parallel()
		notGiven(t, "acme/alice", absence(t, "hart/carol"), "a colleague of the delegator's own organisation")
	})
	t.Run("of_a_colleague", func(t *testing.T) {
		t.Parallel()
		g := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", "")
		g.Purposes, g.Reason = []string{"resale-agreement"}, t.Name()
		notGiven(t, "nord/rhea", g, "cover-stays-in-the-organisation")
	})
	t.Run("as_a_part", func(t *testing.T) {
		t.Parallel()
		draft := absence(t, "acme/olivia")
		draft.Actions, draft.Depth = []string{countersign.GrantDecide, countersign.GrantDelegate}, 1
		cover := granted(t, "acme/alice", "acme/olivia", draft)
		part := local.Draft("acme", "acme/olivia", "hart/carol", "legal", requestID(t))
		part.Parent, part.NotBefore, part.NotAfter = cover, draft.NotBefore, draft.NotAfter
		notGiven(t, "acme/olivia", part, "no part of that leaves the organisation")
	})
	t.Run("inbox", func(t *testing.T) {
		t.Parallel()
		run := people(t)
		for _, who := range []string{"nord/remy", "nord/rona"} {
			// Tests beside this one lend them what is theirs.
			if out := run(who, 0, "inbox"); strings.Contains(out, g.Request.ID) {
				t.Errorf("%s, who took no grant, is shown\n%s", who, out)
			}
		}
	})
}

// Whoever requested has no part in the decision, not as the one who covers; and who is covered for and who covers have one vote.
func TestN06_CoverGoesNotAroundTheSeparationOfDuties(t *testing.T) {
	t.Parallel()
	requested, err := local.Begin(t.Context(), "acme/ben", request(t, "acme", "supplier-contract"))
	if err != nil {
		t.Fatal(err)
	}
	toBen, toOlivia := granted(t, "acme/alice", "acme/ben", absence(t, "acme/ben")), granted(t, "acme/alice", "acme/olivia", absence(t, "acme/olivia"))
	wantRefused(t, inPlaceOfAlice(t, requested, "acme/ben", "legal", nil, toBen), "requester-is-not-approver", "whoever requested")
	wantCounted(t, inPlaceOfAlice(t, requested, "acme/olivia", "legal", nil, toOlivia))
	decide(t, requested, "hart/carol", "counsel", countersign.Approve)
	ended(t, requested, countersign.Completed)

	g := begin(t, another(t, "supplier-contract", "vote"))
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	// Both are sent at once, while the stage is open: one counts, and the other is the same vote.
	mine, err := g.Put(t.Context(), "acme/alice", g.Decision(status, "acme/alice", "legal", countersign.Approve))
	if err != nil {
		t.Fatal(err)
	}
	wantCounted(t, record(t, g, mine))
	wantSecondVote(t, inPlaceOfAlice(t, g, "acme/olivia", "legal", nil, toOlivia))
	withdraw(t, g, "machine:acme/procurement", "w1")
	ended(t, g, countersign.Withdrawn)
}

// wantSecondVote wants a vote refused that was had: as such, or because its stage closed with the first.
func wantSecondVote(t *testing.T, r countersign.DecisionRecord) {
	t.Helper()
	if r.Counted() || r.Refusal.Code != "one-person-one-vote" && r.Refusal.Code != "no-open-stage" {
		t.Fatalf("became %+v", r)
	}
}

// The operator of the server, with the tenant's real key, makes a cover reach what it is not for. Who gave it, and who decided, proved otherwise.
func TestR04_OurOwnServerCannotForgeWhatACoverIsFor(t *testing.T) {
	t.Parallel()
	g := contract(t)
	cover := granted(t, "acme/alice", "acme/olivia", absence(t, "acme/olivia"))
	wantCounted(t, inPlaceOfAlice(t, g, "acme/olivia", "legal", nil, cover))
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	original, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	verified(t, reseal(t, original, report.History, countersign.Completed, nil), countersign.Completed)
	const purposes, of, asked = `"purposes":["supplier-contract"]`, `"purpose":"supplier-contract"`, `"purpose":"supplier-contract"}`
	for name, c := range map[string]struct {
		change func(*testing.T, *historypb.History)
		check  string
	}{
		"cover for another purpose":    {everywhere(purposes, `"purposes":["resale-agreement"]`), "decisions"},
		"cover for one purpose more":   {everywhere(purposes, `"purposes":["resale-agreement","supplier-contract"]`), "decisions"},
		"cover for no purpose":         {everywhere(purposes, `"purposes":[]`), "decisions"},
		"a signing of another purpose": {everywhere(of, `"purpose":"resale-agreement"`), "context"},
		"a signing of another purpose, with every digest made anew": {func(t *testing.T, h *historypb.History) {
			everywhere(of, `"purpose":"resale-agreement"`)(t, h)
			digestsAnew(t, h)
		}, "context"},
		"a plan of another purpose than the request, with every digest made anew": {func(t *testing.T, h *historypb.History) {
			everywhere(`{"purpose":"supplier-contract","title"`, `{"purpose":"resale-agreement","title"`)(t, h)
			digestsAnew(t, h)
		}, "context"},
		"a decision checked as of another purpose": {everywhere(asked, `"purpose":"resale-agreement"}`), "decisions"},
		"a decision checked as of no purpose":      {everywhere(`,`+asked, `}`), "decisions"},
		"cover of a partner":                       {everywhere(`"kind":"home","organisation"`, `"kind":"partner","organisation"`), "context"},
		"cover of a partner, with every digest made anew": {func(t *testing.T, h *historypb.History) {
			everywhere(`"kind":"home","organisation"`, `"kind":"partner","organisation"`)(t, h)
			digestsAnew(t, h)
		}, "context"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			history := proto.Clone(report.History).(*historypb.History)
			c.change(t, history)
			forged := evidence.Verify(reseal(t, original, history, countersign.Completed, nil), roots)
			var failed []string
			for _, f := range forged.Findings {
				if f.State == evidence.Fail {
					failed = append(failed, f.Check+": "+f.Detail)
				}
			}
			if len(failed) == 0 || !strings.HasPrefix(strings.Join(failed, "\n"), c.check+":") {
				t.Errorf("the forgery is found as %q, want %s", failed, c.check)
			}
		})
	}
}

// By the command line: who goes on holiday offers cover by days, who takes it finds what waits in the inbox, and decides it in the absent one's place.
func TestR03_ByTheCommandLineAColleagueFindsAndDecidesWhatTheyCover(t *testing.T) {
	t.Parallel()
	run := people(t)
	g := contract(t)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	ask, colleague := g.Request.ID, local.Actor("acme/ben")
	today, later := time.Now().UTC().Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 19).Format(time.DateOnly)
	offer := []string{"grant", "offer", "--to", colleague.String(), "--role", "legal", "--purpose", "supplier-contract", "--from", today, "--reason", t.Name()}
	if out := run("acme/alice", 2, append(offer, "--until", time.Now().UTC().AddDate(0, 0, 92).Format(time.DateOnly))...); !strings.Contains(out, "at most 92 days") {
		t.Errorf("93 days are answered\n%s", out)
	}
	offer = append(offer, "--until", later)
	if out := run("acme/alice", 0, append(offer, "--dry-run")...); !strings.Contains(out, "whatever comes of supplier-contract") || !strings.Contains(out, "from "+today+" 00:00:00 UTC") || !strings.Contains(out, "100, handed on") {
		t.Errorf("the dry run shows\n%s", out)
	}
	cover := id(run("acme/alice", 0, offer...))
	run("acme/ben", 0, "grant", "accept", cover)
	if out := run("acme/ben", 0, "grant", "list"); !strings.Contains(out, "whatever comes of supplier-contract") {
		t.Errorf("his grants are\n%s", out)
	}
	out := run("acme/ben", 0, "inbox")
	i := slices.IndexFunc(strings.Split(out, "\n"), func(l string) bool {
		return strings.Contains(l, ask) && strings.Contains(l, "in place of "+local.Actor("acme/alice").String())
	})
	if i < 0 {
		t.Errorf("his inbox has\n%s", out)
	}
	if out := run("acme/ben", 0, "decide", ask, "--approve", "--show"); !strings.Contains(out, "in another person's place") || !strings.Contains(out, "Alice Ahn") {
		t.Errorf("the decision shows\n%s", out)
	}
	if out := run("acme/ben", 2, "decide", ask, "--approve", "--yes"); !strings.Contains(out, "give --grant") {
		t.Errorf("unasked, and in another's place, it is answered\n%s", out)
	}
	if out := run("acme/ben", 0, "decide", ask, "--approve", "--yes", "--grant", cover); !strings.Contains(out, "counted") {
		t.Errorf("the decision became\n%s", out)
	}
	if out := run("acme/ben", 0, "inbox"); strings.Contains(out, ask+" ") {
		t.Errorf("after it, his inbox has\n%s", out)
	}
}

// A stage that opens tells those who cover for its people, once, with what the people themselves are told and why. Nobody is told of what the cover
// doesn't reach: another purpose, a stage of another role, a cover that was revoked, or what somebody requested themselves.
func TestR03_WhoCoversIsToldOnceThatAStageIsOpen(t *testing.T) {
	t.Parallel()
	first := granted(t, "acme/alice", "acme/olivia", absence(t, "acme/olivia"))
	twice := absence(t, "acme/olivia") // a second cover of the same two people is no second mail
	twice.Reason += ", again"
	second := granted(t, "acme/alice", "acme/olivia", twice)
	running(t, first, second)
	g, other := contract(t), begin(t, another(t, "resale-agreement", "other"))
	told := func(id string) (list []string) {
		for _, s := range subjects(t, id)["olivia@acme.example"] {
			if strings.HasPrefix(s, "Your decision is asked") {
				list = append(list, s)
			}
		}
		return list
	}
	// Once alice has decided there is nothing left to decide in her place, and nobody is told.
	if _, err := g.Until(t.Context(), func(workflows.Status) bool { return len(told(g.Request.ID)) > 0 }); err != nil {
		t.Fatal(err)
	}
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	if list := told(g.Request.ID); len(list) != 1 {
		t.Errorf("olivia was told %q, want one mail: stage legal is hers, and counsel isn't", list)
	}
	delivered := 0
	for _, d := range report.Statement.Deliveries {
		if d.Recipient == local.Actor("acme/olivia").String() && d.Event == evidence.EventApprovalRequested && d.Delivered {
			delivered++
		}
	}
	if delivered != 1 {
		t.Errorf("the evidence says %d times that olivia was told", delivered)
	}
	for _, raw := range inMailbox(t, "api/messages", g.Request.ID) {
		if text := string(raw); strings.Contains(text, "olivia@acme.example") && strings.Contains(text, "Your decision is asked") {
			if !strings.Contains(text, "You are told because you cover for Alice Ahn.") || !strings.Contains(text, "legal") || strings.Contains(text, "idToken") {
				t.Errorf("the mail is %s", text)
			}
		}
	}
	withdraw(t, other, "machine:acme/procurement", "w1")
	_, report = ended(t, other, countersign.Withdrawn)
	if list := told(other.Request.ID); len(list) != 0 {
		t.Errorf("of another purpose olivia was told %q", list)
	}
	for _, d := range report.Statement.Deliveries {
		if d.Recipient == local.Actor("acme/olivia").String() {
			t.Errorf("of another purpose the evidence says %+v", d)
		}
	}
}

// running waits until the server lists the grants as live: its lists lag behind what happens.
func running(t *testing.T, grants ...string) {
	t.Helper()
	c, err := local.Dial(t.Context(), "acme", "platform:starter/acme")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, digest := range grants {
		eventually(t, "the grant is listed", func() bool {
			answer, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
				Namespace: "acme", Query: "WorkflowId = '" + countersign.AccessID("acme", digest) + "' AND ExecutionStatus = 'Running'",
			})
			return err == nil && answer.GetCount() > 0
		})
	}
}
