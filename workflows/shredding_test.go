package workflows_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

// The life of a proposal, without a server: what was asked of activities, in order, and how it ended.
func TestN13_NothingIsDestroyedBeforeASecondPersonApproved(t *testing.T) {
	t.Parallel()
	answer := func(verdict countersign.Verdict, refusal *countersign.Refusal) func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error) {
		return func(in evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error) {
			a := &countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{Verdict: verdict}}
			return evidence.OrderAnswered{Ordinal: in.Ordinal, Refusal: refusal, Answer: a, By: &evidence.Named{}}, nil
		}
	}
	person := countersign.Actor{Issuer: "https://id.acme.example", Subject: "the-person"}
	for name, c := range map[string]struct {
		dryRun   bool
		unproven bool
		refusal  *countersign.Refusal
		answers  []func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error)
		fails    int // how often destroying fails at first
		state    string
		shreds   int
		takes    time.Duration // at least
		told     string        // steps, and of each whom
	}{
		"approved":             {told: "proposed approved ended", answers: []func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error){answer(countersign.Approve, nil)}, state: evidence.OrderShredded, shreds: 1},
		"rejected":             {told: "proposed ended", answers: []func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error){answer(countersign.Reject, nil)}, state: evidence.OrderRejected},
		"not answered":         {told: "proposed ended", state: evidence.OrderExpired, takes: countersign.OrderAnswerTime},
		"answered by the same": {told: "proposed ended", answers: []func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error){answer(countersign.Approve, countersign.Refuse("same-person", "no"))}, state: evidence.OrderExpired, takes: countersign.OrderAnswerTime},
		"a refused answer, and then a good one": {
			told:    "proposed approved ended",
			answers: []func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error){answer(countersign.Approve, countersign.Refuse("same-person", "no")), answer(countersign.Approve, nil)},
			state:   evidence.OrderShredded, shreds: 1,
		},
		"a dry run": {dryRun: true, state: evidence.OrderDryRun},
		"refused":   {refusal: countersign.Refuse("no-key", "no"), state: evidence.OrderRefused, told: "refused"},
		// Anybody of the tenant could have compliance told something by it.
		"refused, of no one of compliance": {refusal: countersign.Refuse("not-compliance", "no"), unproven: true, state: evidence.OrderRefused},
		"a store that is away":             {told: "proposed approved ended", answers: []func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error){answer(countersign.Approve, nil)}, fails: 2, state: evidence.OrderShredded, shreds: 3},
		"flooded with bad ones":            {told: "proposed ended", answers: slices.Repeat([]func(evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error){answer(countersign.Approve, countersign.Refuse("malformed", "no"))}, 60), state: evidence.OrderExpired, takes: countersign.OrderAnswerTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
			env := suite.NewTestWorkflowEnvironment()
			env.SetStartTime(start)
			in := countersign.SignedShredding{Shredding: countersign.Shredding{Tenant: "acme", DryRun: c.dryRun, Person: person, Reason: "because"}}
			digest, err := in.Shredding.Digest()
			if err != nil {
				t.Fatal(err)
			}
			env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.ShreddingID("acme", digest), TaskQueue: countersign.TaskQueueSigning})
			workflows.Register(env)
			register := func(name string, f any) {
				env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
			}
			register(evidence.ActivityAdmitShredding, func(evidence.AdmitShreddingInput) (evidence.OrderAdmission, error) {
				a := evidence.OrderAdmission{Refusal: c.refusal, Key: "k", At: start, Compliance: []countersign.Actor{{Subject: "cora"}}}
				if !c.unproven {
					a.Given = &evidence.Proven{}
				}
				return a, nil
			})
			var mu sync.Mutex
			var told []string
			register(evidence.ActivityNotify, func(in evidence.NotifyInput) ([]evidence.Delivery, error) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, strings.TrimPrefix(in.Event.Type, "order."))
				body, err := json.Marshal(in)
				if err != nil || strings.Contains(string(body), person.Subject) || strings.Contains(string(body), "because") || len(in.To) != 1 || in.To[0].Subject != "cora" {
					t.Errorf("told is %s", body)
				}
				return nil, nil
			})
			heard, shreds := 0, 0
			register(evidence.ActivityCheckShreddingAnswer, func(in evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error) {
				heard++
				return c.answers[in.Ordinal-1](in)
			})
			register(evidence.ActivityShred, func(evidence.ShredInput) (evidence.Shredded, error) {
				if shreds++; shreds <= c.fails {
					return evidence.Shredded{}, errors.New("the store is away")
				}
				return evidence.Shredded{}, nil
			})
			for i := range c.answers {
				env.RegisterDelayedCallback(func() { env.SignalWorkflow(countersign.SignalAnswer, "an answer") }, time.Duration(i+1)*time.Minute)
			}
			env.ExecuteWorkflow(countersign.WorkflowShredding, in)
			var status evidence.ShreddingStatus
			value, err := env.QueryWorkflow(countersign.QueryStatus)
			if err == nil {
				err = value.Get(&status)
			}
			if err != nil || status.State != c.state || shreds != c.shreds || !env.IsWorkflowCompleted() {
				t.Errorf("it is %q after %d attempts to destroy, want %q after %d (%v)", status.State, shreds, c.state, c.shreds, err)
			}
			if got := strings.Join(told, " "); got != c.told {
				t.Errorf("compliance is told %q, want %q", got, c.told)
			}
			if took := env.Now().Sub(start); took < c.takes {
				t.Errorf("it took %s, want at least %s", took, c.takes)
			}
			if heard > 50 {
				t.Errorf("%d answers were looked at", heard)
			}
		})
	}
}
