package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

// What did not go well is told as well as what did: a decision that was refused, an escalation, a step that was tried again, a message that reached nobody.
func TestN10_RefusalsEscalationsRetriesAndBouncesAreInTheTimeline(t *testing.T) {
	hooks := "webhooks:\n    - url: " + local.Mail.Page + "hooks/"
	faultyWorkers(t, "\npurposes:\n", "\npurposes:\n    urgent: {title: Urgent, kind: consent, stages: [{name: legal, role: legal, quorum: 2, within: 1h, escalate: {after: 2s, role: finance}}]}\n",
		"name: Chris Lowe\n      email: chris@hart.example\n      roles: [", "name: Chris Lowe\n      email: chris@hart.example\n      roles: [legal, ", hooks+"globex", hooks+"broken")
	r := request(t, "globex", "urgent")
	g := begin(t, r)
	wantCounted(t, approve(t, g, "globex/gina", "legal", nil))
	again := approve(t, g, "globex/gina", "legal", nil)
	if again.Counted() {
		t.Fatal("gina's second decision counts")
	}
	if _, err := g.Until(t.Context(), func(workflows.Status) bool { return len(subjects(t, r.ID)["paul@globex.example"]) > 0 }); err != nil {
		t.Fatal(err)
	}
	wantCounted(t, approve(t, g, "globex/paul", "legal", nil))
	ending, _ := ended(t, g, countersign.Completed)
	told, err := evidence.ReadTimeline(bundle(t, "globex", ending))
	if err != nil {
		t.Fatal(err)
	}
	gina, paul := local.Actor("globex/gina").String(), local.Actor("globex/paul").String()
	for what, is := range map[string]func(evidence.TimelineLine) bool{
		"the refusal": func(l evidence.TimelineLine) bool {
			return l.Kind == evidence.KindDecisionRefused && l.Actor == gina && l.Code == again.Refusal.Code && l.Authentication == evidence.ByServer
		},
		"the escalation": func(l evidence.TimelineLine) bool {
			return l.Kind == evidence.KindEscalated && l.Stage == "legal" && slices.Contains(l.To, paul)
		},
		"the retry": func(l evidence.TimelineLine) bool {
			return l.Kind == evidence.KindStepRetried && l.Detail == evidence.ActivityNotify && l.Attempt == evidence.NotifyAttempts && l.Code != ""
		},
		"the bounce": func(l evidence.TimelineLine) bool {
			return l.Kind == evidence.KindBounced && len(l.To) == 1 && strings.HasPrefix(l.To[0], "webhook ") && strings.Contains(l.Detail, "the webhook answered 500")
		},
	} {
		if !slices.ContainsFunc(told.Lines, is) {
			t.Errorf("%s is not in the timeline: %+v", what, told.Lines)
		}
	}
}
