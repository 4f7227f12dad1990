package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// ready is a signing whose two approvals are proven and not sent yet: what people and their identity providers do is not measured.
type ready struct {
	g     *stack.Signing
	alice countersign.SignedDecision
	carol countersign.SignedDecision
}

// prepare starts n signings and has their decisions proven.
func prepare(b *testing.B, n int) []ready {
	b.Helper()
	document, err := local.Upload(b.Context(), "acme", pdf(b))
	if err != nil {
		b.Fatal(err)
	}
	out := make([]ready, n)
	each(b, 4, n, func(i int) error {
		id := fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), i)
		g, err := local.Begin(b.Context(), "machine:acme/procurement", countersign.Request{V: 1, Tenant: "acme", ID: id, Purpose: "supplier-contract", Title: "Benchmark", Document: document})
		if err != nil {
			return err
		}
		status, err := g.Open(b.Context(), "legal")
		if err != nil {
			return err
		}
		prove := func(who, stage string) (countersign.SignedDecision, error) {
			d := g.Decision(status, who, stage, countersign.Approve)
			token, err := local.Prove(b.Context(), who, d)
			return countersign.SignedDecision{ID: who[strings.Index(who, "/")+1:], Decision: d, Proof: countersign.Proof{IDToken: token}}, err
		}
		out[i].g = g
		if out[i].alice, err = prove("acme/alice", "legal"); err == nil {
			out[i].carol, err = prove("hart/carol", "counsel")
		}
		return err
	})
	return out
}

// senders sends both approvals of a signing, each as its own person.
func senders(b *testing.B) func(ready) error {
	b.Helper()
	as := map[string]client.Client{}
	for _, who := range []string{"acme/alice", "hart/carol"} {
		c, err := local.Dial(b.Context(), "acme", who)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		as[who] = c
	}
	return func(s ready) error {
		saga := countersign.SagaID("acme", s.g.Request.ID)
		return errors.Join(
			as["acme/alice"].SignalWorkflow(b.Context(), saga, s.alice.Decision.Run, countersign.SignalDecide, s.alice),
			as["hart/carol"].SignalWorkflow(b.Context(), saga, s.carol.Decision.Run, countersign.SignalDecide, s.carol),
		)
	}
}

// each runs f for 0 to n-1, some at a time.
func each(b testing.TB, width, n int, f func(int) error) {
	b.Helper()
	var wait sync.WaitGroup
	places := make(chan struct{}, width)
	faults := make(chan error, n)
	for i := range n {
		places <- struct{}{}
		wait.Go(func() {
			if err := f(i); err != nil {
				faults <- err
			}
			<-places
		})
	}
	wait.Wait()
	select {
	case err := <-faults:
		b.Fatal(err)
	default:
	}
}

// BenchmarkTwoApprovals runs signings one after another, and reports how long it takes from the last approval to locked evidence, by the
// server's own times, with the history events and KMS calls of one signing.
func BenchmarkTwoApprovals(b *testing.B) {
	signings := prepare(b, b.N)
	send := senders(b)
	calls := keyCalls(b)
	var took []time.Duration
	var events, custodian int
	b.ResetTimer()
	for _, s := range signings {
		if err := send(s); err != nil {
			b.Fatal(err)
		}
		if _, err := s.g.End(b.Context()); err != nil {
			b.Fatal(err)
		}
		d, e, c := fromLastApprovalToLock(b, s.g)
		took, events, custodian = append(took, d), e, c
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[min(len(took)-1, len(took)*99/100)].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(events), "saga-events")
	b.ReportMetric(float64(custodian), "custodian-events")
	b.ReportMetric(float64(keyCalls(b)-calls)/float64(b.N), "kms-calls/op")
}

// BenchmarkThroughput has many signings approved at once, and reports how many a second end with locked evidence.
func BenchmarkThroughput(b *testing.B) {
	signings := prepare(b, b.N)
	send := senders(b)
	b.ResetTimer()
	began := time.Now()
	each(b, 32, len(signings), func(i int) error {
		if err := send(signings[i]); err != nil {
			return err
		}
		ending, err := signings[i].g.End(b.Context())
		if err == nil && ending.Outcome != countersign.Completed {
			err = fmt.Errorf("ended as %s: %s", ending.Outcome, ending.Detail)
		}
		return err
	})
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "signings/s")
}

// fromLastApprovalToLock reads the times off the histories of saga and custodian.
func fromLastApprovalToLock(b *testing.B, g *stack.Signing) (took time.Duration, saga, custodian int) {
	b.Helper()
	var approved, locked time.Time
	var lock int64
	for _, e := range events(b, countersign.SagaID("acme", g.Request.ID)) {
		saga++
		if e.GetWorkflowExecutionSignaledEventAttributes() != nil {
			approved = e.GetEventTime().AsTime()
		}
	}
	for _, e := range events(b, g.Run.GetID()) {
		custodian++
		switch {
		case e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == evidence.ActivityLock:
			lock = e.GetEventId()
		case lock != 0 && e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId() == lock:
			locked = e.GetEventTime().AsTime()
		}
	}
	return locked.Sub(approved), saga, custodian
}

// events is the history of one of acme's workflows so far.
func events(b *testing.B, id string) (all []*historypb.HistoryEvent) {
	b.Helper()
	c, err := local.Dial(b.Context(), "acme", "platform:compliance/acme")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	history := c.GetWorkflowHistory(b.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// keyCalls is how many signatures the key service was asked for.
func keyCalls(b testing.TB) (n int) {
	b.Helper()
	resp, err := http.Get(local.KMS.Endpoint + "/_countersign/calls")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var calls map[string]int
	if err := json.NewDecoder(resp.Body).Decode(&calls); err != nil {
		b.Fatal(err)
	}
	return calls["Sign"]
}
