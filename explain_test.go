package countersign_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// TestN05_ThePlanExplainsWhoMustApproveAndWhyBeforeAndAfter follows one stage from the request to its end.
func TestN05_ThePlanExplainsWhoMustApproveAndWhyBeforeAndAfter(t *testing.T) {
	t.Parallel()
	who := func(name string, roles ...string) countersign.Eligible {
		return countersign.Eligible{Actor: countersign.Actor{Issuer: "https://id.acme.example", Subject: name}, Name: name, Roles: roles}
	}
	ann, bob, cat, dora, req, del := who("ann"), who("bob"), who("cat", "counsel"), who("dora"), who("req"), who("del")
	escalates := start.Add(time.Hour)
	plan := countersign.Plan{Purpose: "contract", Title: "Contract", Stages: []countersign.Stage{{
		Name: "board", Role: "board", Quorum: 2, Deadline: start.Add(2 * time.Hour), Eligible: []countersign.Eligible{ann, bob, cat, req}, Assurance: 2,
		AtLeast: []countersign.Share{{Count: 1, Role: "counsel"}}, Without: []string{"https://id.nord.example"},
		Escalation: &countersign.Escalation{At: escalates, Role: "deputy", Eligible: []countersign.Eligible{dora}},
	}}}
	states := func(e countersign.Explanation) map[string]string {
		out := map[string]string{}
		for _, p := range e.Stages[0].People {
			out[p.Name] = p.State
		}
		return out
	}
	want := func(e countersign.Explanation, state, lacks string, people map[string]string) {
		t.Helper()
		s := e.Stages[0]
		if s.State != state || !strings.Contains(s.Lacks, lacks) || (lacks == "") != (s.Lacks == "") {
			t.Errorf("the stage is %s and lacks %q, want %s and %q", s.State, s.Lacks, state, lacks)
		}
		for name, is := range people {
			if states(e)[name] != is {
				t.Errorf("%s is %q, want %q", name, states(e)[name], is)
			}
		}
	}

	before := plan.Explain(req.Actor, nil, nil, false)
	want(before, countersign.StageComing, "0 of 2 approvals", map[string]string{"ann": countersign.MayDecide, "dora": countersign.MayLater, "req": countersign.IsRequester})
	for _, ask := range []string{`2 of 4 people who hold the role "board"`, `at least 1 of the role "counsel" among them`, "nobody of https://id.nord.example, in person or for somebody else",
		"each decision signed by the person's own enrolled key as well", `from 2026-03-01T13:00:00Z on also any of 1 who hold the role "deputy"; the quorum stays`} {
		if !slices.Contains(before.Stages[0].Asks, ask) {
			t.Errorf("it doesn't say %q: %q", ask, before.Stages[0].Asks)
		}
	}
	if dora := before.Stages[0].People[4]; dora.Role != "deputy" || dora.From == nil || !dora.From.Equal(escalates) {
		t.Errorf("who could stand in is %+v", dora)
	}

	record := func(who countersign.Eligible, refusal *countersign.Refusal, for_ ...countersign.Actor) countersign.DecisionRecord {
		return countersign.DecisionRecord{Stage: "board", Verdict: countersign.Approve, Actor: who.Actor, Delegators: for_, At: "2026-03-01T12:30:00Z", Refusal: refusal}
	}
	decisions := []countersign.DecisionRecord{record(ann, nil), record(bob, countersign.Refuse("proof-strong-enough", "not strong enough"))}
	during := plan.Explain(req.Actor, decisions, []string{"board"}, false)
	want(during, countersign.StageOpen, "1 of 2 approvals", map[string]string{"ann": countersign.HasApproved, "bob": countersign.MayDecide})
	if r := during.Stages[0].Refused; len(r) != 1 || r[0].Actor != bob.Actor || r[0].Refusal.Code != "proof-strong-enough" {
		t.Errorf("refused are %+v", r)
	}

	decisions = append(decisions, record(del, nil, cat.Actor))
	after := plan.Explain(req.Actor, decisions, nil, true)
	want(after, countersign.StageApproved, "", map[string]string{"cat": countersign.HasApproved, "bob": countersign.CouldHave, "dora": countersign.CouldHave})
	if cat := after.Stages[0].People[2]; cat.By == nil || *cat.By != del.Actor {
		t.Errorf("who decided for cat is %v", cat.By)
	}
	want(plan.Explain(req.Actor, decisions[:2], nil, true), countersign.StageOver, "1 of 2", nil)
}
