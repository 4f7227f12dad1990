package tests

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// breakGlass lets somebody skip waiting in the open stage.
func breakGlass(t *testing.T, g *stack.Signing, who, stage, reason string, key *stack.Authenticator) countersign.DecisionRecord {
	t.Helper()
	status, err := g.Open(t.Context(), stage)
	if err != nil {
		t.Fatal(err)
	}
	d := g.Decision(status, who, stage, countersign.Skip)
	d.Reason = reason
	signed, err := g.PutWith(t.Context(), who, d, key)
	if err != nil {
		t.Fatal(err)
	}
	return record(t, g, signed)
}

// In an emergency the duty officer does not wait for counsel. Counsel is told, the evidence says who did not wait and why, and the review has an
// owner who closes it; the officer can't.
func TestR24_BreakingTheGlassOpensAReviewWithAnOwner(t *testing.T) {
	t.Parallel()
	g := contract(t)
	ben := passkey(t, "acme", "acme/ben")
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	wantCounted(t, breakGlass(t, g, "acme/ben", "counsel", "the line to counsel is down and the offer ends today", ben))
	ending, report := ended(t, g, countersign.Completed)
	t.Run("without its review it is no evidence", func(t *testing.T) {
		original, err := evidence.OpenBundle(bundle(t, "acme", ending))
		if err != nil {
			t.Fatal(err)
		}
		roots, err := local.Roots()
		if err != nil {
			t.Fatal(err)
		}
		history := proto.Clone(report.History).(*historypb.History)
		for _, e := range history.Events {
			if a := e.GetChildWorkflowExecutionStartedEventAttributes(); a != nil {
				a.WorkflowType.Name = "Nothing"
			}
		}
		var failed []string
		for _, f := range evidence.Verify(reseal(t, original, history, countersign.Completed, nil), roots).Findings {
			if f.State == evidence.Fail {
				failed = append(failed, f.Check+": "+f.Detail)
			}
		}
		if len(failed) != 1 || !strings.Contains(failed[0], "opens no review of it") {
			t.Errorf("the forgery is found as %q", failed)
		}
	})

	glass := report.Statement.BreakGlass
	if glass == nil || len(glass.By) != 1 || glass.By[0].Name != "Ben Brandt" || !strings.HasPrefix(glass.By[0].Reason, "the line to counsel") || glass.Owner.Name != "Olivia Ortiz" {
		t.Fatalf("the evidence says %+v", glass)
	}
	var skipped []string
	for _, e := range glass.Skipped {
		skipped = append(skipped, e.Name)
	}
	if !slices.Equal(skipped, []string{"Carol Hart", "Chris Lowe"}) {
		t.Errorf("the evidence says that %q were skipped", skipped)
	}
	// The review tells its owner beside the signing, which doesn't wait for that.
	told := map[string]bool{}
	if _, err := g.Until(t.Context(), func(workflows.Status) bool {
		for who, subjects := range subjects(t, g.Request.ID) {
			for _, s := range subjects {
				told[who+" "+strings.SplitN(s, ":", 2)[0]] = true
			}
		}
		return told["olivia@acme.example To be reviewed"]
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"carol@hart.example Not waited for", "chris@hart.example Not waited for", "legal-desk@acme.example Not waited for", "olivia@acme.example To be reviewed"} {
		if !told[want] {
			t.Errorf("%q was not told: %v", want, told)
		}
	}

	path := "/v1/acme/reviews/" + g.Request.ID
	finding, _ := json.Marshal(client.Finding{Finding: countersign.FindingJustified, Note: "the outage is in the provider's log"})
	for who, want := range map[string]int{"hart/carol": http.StatusNotFound, "acme/alice": http.StatusNotFound, "nord/rhea": http.StatusNotFound, "globex/gina": http.StatusUnauthorized, "": http.StatusUnauthorized} {
		if code := call(t, who, "GET", path, nil, nil, nil); code != want {
			t.Errorf("%q sees the review with status %d, want %d", who, code, want)
		}
		if code := call(t, who, "POST", path+"/close", nil, finding, nil); code != want {
			t.Errorf("%q closes the review with status %d, want %d", who, code, want)
		}
	}
	if code := call(t, "acme/ben", "POST", path+"/close", nil, finding, nil); code != http.StatusForbidden {
		t.Errorf("whoever broke the glass reviews it with status %d, want 403", code)
	}
	// Straight at the server it is no other.
	if err := local.Tell(t.Context(), "acme", "hart/carol", countersign.ReviewID("acme", g.Request.ID), countersign.SignalClose, countersign.ReviewClosing{ID: "c1", Finding: countersign.FindingNotJustified, Note: "mine"}); err != nil {
		t.Fatal(err)
	}
	var review evidence.ReviewStatus
	if code := call(t, "acme/olivia", "POST", path+"/close", nil, finding, &review); code != http.StatusOK || review.State != evidence.ReviewClosed {
		t.Fatalf("the owner closes the review with status %d: %+v", code, review)
	}
	codes := map[string]string{}
	for _, s := range review.Signals {
		codes[s.Sender] = ""
		if s.Refusal != nil {
			codes[s.Sender] = s.Refusal.Code
		}
	}
	if codes[local.Actor("acme/ben").String()] != "nobody-reviews-themselves" || codes[local.Actor("hart/carol").String()] != "not-entitled" || codes[local.Actor("acme/olivia").String()] != "" || len(codes) != 3 {
		t.Errorf("the review heard %v", codes)
	}
	if code := call(t, "acme/olivia", "POST", path+"/close", nil, finding, nil); code != http.StatusConflict {
		t.Errorf("it is closed a second time with status %d, want 409", code)
	}
}

// Breaking the glass skips waiting and nothing else: each row is one way to more, refused and recorded.
func TestR24_TheGlassIsNotBrokenBy(t *testing.T) {
	t.Parallel()
	g := contract(t)
	ben, alice := passkey(t, "acme", "acme/ben"), passkey(t, "acme", "acme/alice")
	t.Run("a login alone", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, breakGlass(t, g, "acme/ben", "legal", "in a hurry", nil), "proof-strong-enough", "not proven strongly enough")
	})
	t.Run("somebody without the role", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, breakGlass(t, g, "acme/alice", "legal", "in a hurry", alice), "not-entitled", "nothing gives you this right")
	})
	t.Run("an officer of another tenant", func(t *testing.T) {
		t.Parallel()
		status, err := g.Open(t.Context(), "legal")
		if err != nil {
			t.Fatal(err)
		}
		d := g.Decision(status, "globex/paul", "legal", countersign.Skip)
		d.Reason = "in a hurry"
		if _, err := g.Put(t.Context(), "globex/paul", d); err == nil || !strings.Contains(err.Error(), "unauthorized") {
			t.Errorf("the server took it: %v", err)
		}
	})
	t.Run("an officer without a reason", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, breakGlass(t, g, "acme/ben", "legal", " ", ben), "malformed", "breaking the glass needs a reason")
	})
	t.Run("an officer who requested it", func(t *testing.T) {
		t.Parallel()
		r := request(t, "acme", "supplier-contract")
		own, err := local.Begin(t.Context(), "acme/ben", r)
		if err != nil {
			t.Fatal(err)
		}
		wantRefused(t, breakGlass(t, own, "acme/ben", "legal", "in a hurry", ben), "requester-is-not-approver", "whoever requested")
	})
	t.Run("an officer of another purpose", func(t *testing.T) {
		t.Parallel()
		other := resale(t)
		wantRefused(t, breakGlass(t, other, "acme/ben", "legal", "in a hurry", ben), "not-entitled", "nothing gives you this right")
	})
}
