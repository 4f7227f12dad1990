package activities

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// twoApprovals is what the signing step is given for a quorum of two, and what the server recorded of it.
func twoApprovals(t testing.TB) (*Tenant, record, evidence.SignInput, *countersign.Settings) {
	t.Helper()
	engine, err := policy.NewEngine(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	settings := &countersign.Settings{Tenant: "acme", Issuers: []countersign.Issuer{{ID: "acme", URL: "https://id.acme.example", Kind: "home"}}}
	at := time.Now().Add(-time.Minute)
	stage := countersign.Stage{Name: "legal", Role: "legal", Quorum: 2, Deadline: at.Add(time.Second)}
	in := evidence.SignInput{Request: "r1", Context: countersign.Context{
		Tenant: "acme", Signing: countersign.SagaID("acme", "r1"), Run: "run", Requester: countersign.Actor{Issuer: "https://id.acme.example", Subject: "procurement"}, Policy: engine.Hash(),
	}}
	r := newRecord("step")
	r.policy = engine.Text()
	for i := range 2 {
		who := countersign.Actor{Issuer: "https://id.acme.example", Subject: fmt.Sprint("a-", i)}
		settings.People = append(settings.People, countersign.Person{Issuer: "acme", Subject: who.Subject, Roles: []string{"legal"}})
		stage.Eligible = append(stage.Eligible, countersign.Eligible{Actor: who})
		counted := evidence.CountedDecision{At: at, Signed: countersign.SignedDecision{ID: "d1", Decision: countersign.Decision{Stage: "legal", Verdict: countersign.Approve, Actor: who}}}
		in.Decisions = append(in.Decisions, counted)
		key, err := sentBy(counted.Signed, who)
		if err != nil {
			t.Fatal(err)
		}
		r.taken[key] = append(r.taken[key], taken{i + 1, at})
	}
	in.Plan = countersign.Plan{Stages: []countersign.Stage{stage}}
	return &Tenant{engine: engine}, r, in, settings
}

// What the frozen policy says now is asked with the votes that checks found, also where the saga leaves them out of what it asks the signing step with.
func TestN08_ThePolicyIsAskedWithWhatTheServerRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*record, *evidence.SignInput)
		code   string
	}{
		"two approvals":              {func(*record, *evidence.SignInput) {}, ""},
		"a policy of another digest": {func(_ *record, in *evidence.SignInput) { in.Context.Policy = countersign.SHA256([]byte("another")) }, "policy-changed"},
		"a policy that was never recorded": {func(r *record, in *evidence.SignInput) {
			r.policy, in.Context.Policy = "", countersign.SHA256(nil)
		}, "policy-changed"},
		"a stage that the plan doesn't have": {func(_ *record, in *evidence.SignInput) { in.Plan.Stages = nil }, "not-allowed"},
		"after the deadline":                 {func(_ *record, in *evidence.SignInput) { in.Plan.Stages[0].Deadline = in.Decisions[1].At }, "not-allowed"},
		"by a vote that was used before": {func(r *record, in *evidence.SignInput) {
			r.counted[1] = []countersign.Actor{in.Decisions[1].Signed.Decision.Actor}
			in.Decisions = in.Decisions[1:]
		}, "not-allowed"},
		"a vote that was used later": {func(r *record, in *evidence.SignInput) {
			r.counted[3] = []countersign.Actor{in.Decisions[1].Signed.Decision.Actor}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tenant, r, in, settings := twoApprovals(t)
			c.change(&r, &in)
			got := ""
			if refusal := tenant.allowed(r, in, settings); refusal != nil {
				got = refusal.Code
			}
			if got != c.code {
				t.Errorf("it is answered with %q, want %q", got, c.code)
			}
		})
	}
}

// What the signing step's own question to the policy costs, for a quorum of two: with the set that the worker has, and with one that it has to read first.
func BenchmarkThePolicyAskedAgain(b *testing.B) {
	for name, own := range map[string]string{"same set": policy.Default(), "older set": policy.Default() + "\n"} {
		b.Run(name, func(b *testing.B) {
			tenant, r, in, settings := twoApprovals(b)
			r.policy, in.Context.Policy = own, countersign.SHA256([]byte(own))
			for b.Loop() {
				if refusal := tenant.allowed(r, in, settings); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}
