package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/workflows"
)

// Two of the board, at least one of them counsel, none from the reseller; and finance beside it. The evidence holds the same plan, and a
// stranger does the same arithmetic.
func TestN07_TwoOfFiveOneOfThemCounselNoneFromTheReseller(t *testing.T) {
	t.Parallel()
	g := begin(t, request(t, "acme", "board-resolution"))
	wantCounted(t, approve(t, g, "acme/alice", "board", nil))
	wantCounted(t, approve(t, g, "acme/olivia", "board", nil))
	status, err := g.Status(t.Context())
	if err != nil || !slices.Equal(status.Open, []string{"board", "finance"}) {
		t.Fatalf("two approved, and no counsel: open are %v (%v)", status.Open, err)
	}

	// Counsel can't lend her place to the reseller's people.
	grant := granted(t, "hart/carol", "nord/remy", local.Draft("acme", "hart/carol", "nord/remy", "board", g.Request.ID))
	d := g.Decision(status, "nord/remy", "board", countersign.Approve)
	holder := local.Actor("hart/carol")
	d.OnBehalfOf, d.Grants = &holder, []string{grant}
	signed, err := g.Put(t.Context(), "nord/remy", d)
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, record(t, g, signed), "employer-barred", "in person or for somebody else")

	wantCounted(t, approve(t, g, "acme/ben", "finance", nil))
	wantCounted(t, approve(t, g, "hart/carol", "board", nil))
	_, report := ended(t, g, countersign.Completed)
	board, _ := report.Statement.Plan.Stage("board")
	if len(board.Eligible) != 5 || len(board.AtLeast) != 1 || len(board.Without) != 1 || board.Without[0] != local.Issuers["nord"].URL {
		t.Errorf("the evidence has the stage %+v", board)
	}
}

// Before, during and after: the same explanation from the API, from the command, and from the evidence without a network.
func TestN05_WhoMustApproveAndWhyIsExplainedBeforeAndAfter(t *testing.T) {
	t.Parallel()
	var before, during, after countersign.Explanation
	if code := call(t, "acme/ben", "GET", "/v1/acme/purposes/internal-policy/explanation", nil, nil, nil); code != http.StatusConflict {
		t.Errorf("a request of Ben's that only Ben could approve is explained with status %d, want 409", code)
	}
	if code := call(t, "machine:acme/procurement", "GET", "/v1/acme/purposes/board-resolution/explanation", nil, nil, &before); code != http.StatusOK {
		t.Fatalf("before: status %d", code)
	}
	board := before.Stages[0]
	if board.State != countersign.StageComing || !slices.Contains(board.Asks, `at least 1 of the role "counsel" among them`) || len(board.People) != 5 {
		t.Errorf("before, the board is %+v", board)
	}
	if owner := before.Stages[1].People[1]; owner.Name != "Olivia Ortiz" || owner.State != countersign.MayLater || owner.Role != "owner" || owner.From == nil {
		t.Errorf("who could stand in for finance is %+v", owner)
	}
	for who, want := range map[string]int{"hart/carol": http.StatusForbidden, "nord/remy": http.StatusForbidden, "globex/gina": http.StatusUnauthorized, "": http.StatusUnauthorized} {
		if code := call(t, who, "GET", "/v1/acme/purposes/board-resolution/explanation", nil, nil, nil); code != want {
			t.Errorf("%q asks for the plan of a purpose: status %d, want %d", who, code, want)
		}
	}

	g := begin(t, request(t, "acme", "board-resolution"))
	wantCounted(t, approve(t, g, "acme/alice", "board", nil))
	wantRefused(t, approve(t, g, "acme/alice", "board", nil), "one-person-one-vote", "")
	path := "/v1/acme/signings/" + g.Request.ID + "/explanation"
	if code := call(t, "hart/carol", "GET", path, nil, nil, &during); code != http.StatusOK {
		t.Fatalf("during: status %d", code)
	}
	if s := during.Stages[0]; s.State != countersign.StageOpen || !strings.Contains(s.Lacks, "1 of 2 approvals") || len(s.Refused) != 1 || s.Refused[0].Refusal.Code != "one-person-one-vote" {
		t.Errorf("during, the board is %+v", s)
	}
	if code := call(t, "nord/rhea", "GET", path, nil, nil, nil); code != http.StatusNotFound {
		t.Errorf("the reseller, who has no part in it, gets status %d, want 404", code)
	}
	wantCounted(t, approve(t, g, "hart/carol", "board", nil))
	wantCounted(t, approve(t, g, "acme/ben", "finance", nil))
	ending, _ := ended(t, g, countersign.Completed)
	if code := call(t, "hart/carol", "GET", path, nil, nil, &after); code != http.StatusOK || after.Stages[0].State != countersign.StageApproved {
		t.Errorf("after, status %d, the board is %+v", code, after.Stages)
	}
	file := filepath.Join(t.TempDir(), "evidence.asice")
	if err := os.WriteFile(file, bundle(t, "acme", ending), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errout, code, err := local.CLI(t.Context(), "http://127.0.0.1:1", t.TempDir(), "acme/alice", "explain", "--evidence", file, "--json")
	if err != nil || code != 0 {
		t.Fatalf("explain --evidence ends with %d: %s %v", code, errout, err)
	}
	var offline countersign.Explanation
	if err := json.Unmarshal([]byte(out), &offline); err != nil {
		t.Fatal(err)
	}
	one, _ := json.Marshal(after)
	other, _ := json.Marshal(offline)
	if string(one) != string(other) {
		t.Errorf("the API and the evidence explain differently:\n%s\n%s", one, other)
	}
	out, errout, code, err = local.CLI(t.Context(), apiURL, t.TempDir(), "acme/alice", "explain", g.Request.ID)
	if err != nil || code != 0 || !strings.Contains(out, "you have already decided in this signing") ||
		!strings.Contains(out, "Carol Hart (Hart & Lowe LLP), also counsel  approved, as board") || !strings.Contains(out, "Olivia Ortiz (Acme Corporation)             could have decided") {
		t.Errorf("explain ends with %d: %s\n%s %v", code, out, errout, err)
	}
}

// A stage that nobody decides in reminds, then escalates: the owner, the escalation contact and more people are told, who may decide from then on. The quorum stays.
func TestR24_ATimerRemindsAndEscalatesAndTheQuorumStays(t *testing.T) {
	dir, err := local.Tenant(t.TempDir(), "globex", "\npurposes:\n", "\npurposes:\n    urgent: {title: Urgent, kind: consent, stages: [{name: legal, role: legal, quorum: 2, within: 1h, remind: [3599s], escalate: {after: 2s, role: finance}}]}\n",
		"name: Chris Lowe\n      email: chris@hart.example\n      roles: [", "name: Chris Lowe\n      email: chris@hart.example\n      roles: [legal, ")
	if err != nil {
		t.Fatal(err)
	}
	p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	r := request(t, "globex", "urgent")
	began := time.Now()
	g := begin(t, r)
	wantCounted(t, approve(t, g, "globex/gina", "legal", nil))
	early := approve(t, g, "globex/paul", "legal", nil)
	if time.Since(began) < 2*time.Second { // a slow machine may be there already
		wantRefused(t, early, "not-entitled", "nothing gives you this right")
	}
	var told map[string][]string
	if _, err := g.Until(t.Context(), func(workflows.Status) bool {
		told = subjects(t, r.ID)
		return len(told["legal-desk@globex.example"]) > 0 && len(told["paul@globex.example"]) > 0
	}); err != nil {
		t.Fatal(err)
	}
	if !early.Counted() {
		wantCounted(t, approve(t, g, "globex/paul", "legal", nil))
	}
	_, report := ended(t, g, countersign.Completed)
	for who, want := range map[string]string{"chris@hart.example": "Your decision is still asked", "paul@globex.example": "A decision is overdue", "gina@globex.example": "A decision is overdue"} {
		if !slices.ContainsFunc(told[who], func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("%s got %q, want one that begins with %q", who, told[who], want)
		}
	}
	if slices.ContainsFunc(told["gina@globex.example"], func(s string) bool { return strings.HasPrefix(s, "Your decision is still asked") }) {
		t.Error("gina was reminded, though she had decided")
	}
	legal, _ := report.Statement.Plan.Stage("legal")
	if legal.Quorum != 2 || legal.Escalation == nil || legal.Escalation.Role != "finance" {
		t.Errorf("the evidence has the stage %+v", legal)
	}
}
