package tests

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// lent is a live grant for one document, with signings of that document in which a decision under it is proven and not sent yet.
type lent struct {
	grant string
	ready []proven
}

type proven struct {
	g      *stack.Signing
	signed countersign.SignedDecision
}

// BenchmarkRevocation revokes one grant after another and at once sends decisions under it, and reports how long it takes from the revocation
// that the server took to the first decision that was refused for it, by the server's own times.
func BenchmarkRevocation(b *testing.B) {
	remy := passkey(b, "acme", "nord/remy")
	document, err := local.Upload(b.Context(), "acme", pdf(b))
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	late := 0
	for i := range b.N {
		name := fmt.Sprintf("revoked-%d-%d", time.Now().UnixNano(), i)
		l := lend(b, name, document, remy)
		first, counted := l.revoke(b)
		took, late = append(took, first), late+counted
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // it would be the preparation's
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	p99 := took[min(len(took)-1, len(took)*99/100)]
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(late), "counted-after") // decisions sent after the revocation that overtook it
	if p99 > promptly {
		b.Errorf("the p99 is %s, at most %s are allowed", p99, promptly)
	}
}

// promptly is how soon a revocation has to be felt.
const promptly = 5 * time.Second

// spare is how many decisions an iteration may send until one is refused.
const spare = 3

// lend prepares one grant and the decisions under it.
func lend(b *testing.B, name string, document countersign.Document, key *stack.Authenticator) lent {
	b.Helper()
	l := lent{ready: make([]proven, spare)}
	draft := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", "")
	draft.Documents, draft.Uses, draft.Reason = []string{document.SHA256}, spare, name // the name keeps two grants of one second apart
	l.grant = granted(b, "nord/rhea", "nord/remy", draft)
	each(b, spare, spare, func(i int) error {
		g, err := local.Begin(b.Context(), "machine:acme/procurement", countersign.Request{
			V: 1, Tenant: "acme", ID: fmt.Sprint(name, "-", i), Purpose: "resale-agreement", Title: "Benchmark", Document: document,
		})
		if err != nil {
			return err
		}
		status, err := g.Open(b.Context(), "legal")
		if err != nil {
			return err
		}
		d := stack.Under(g.Decision(status, "nord/remy", "reseller", countersign.Approve), local.Actor("nord/rhea"), l.grant)
		signed, err := local.ProveWith(b.Context(), "nord/remy", d, key)
		l.ready[i] = proven{g, signed}
		return err
	})
	return l
}

// revoke takes the grant back, sends decisions until one is refused, and is how long that took and how many had counted before.
func (l lent) revoke(b *testing.B) (took time.Duration, counted int) {
	b.Helper()
	access := countersign.AccessID("acme", l.grant)
	if err := local.Tell(b.Context(), "acme", "nord/rhea", access, countersign.SignalRevoke, countersign.GrantEnd{ID: "r", Reason: "measured"}); err != nil {
		b.Fatal(err)
	}
	for _, p := range l.ready {
		if err := p.g.Send(b.Context(), "nord/remy", p.signed); err != nil {
			b.Fatal(err)
		}
		r := record(b, p.g, p.signed)
		if r.Counted() {
			counted++
			continue
		}
		wantRefused(b, r, "grant-is-in-force", "") // in other words, where the grant ended between its being read and its being used
		return checkedAt(b, p.g).Sub(revokedAt(b, access)), counted
	}
	b.Fatalf("%d decisions counted one after another after the revocation", counted)
	return 0, 0
}

// revokedAt is when the server took the revocation of a grant.
func revokedAt(b *testing.B, access string) (at time.Time) {
	b.Helper()
	for _, e := range events(b, access) {
		if e.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == countersign.SignalRevoke {
			at = e.GetEventTime().AsTime()
		}
	}
	return at
}

// checkedAt is when the check of a signing's only decision was done.
func checkedAt(b *testing.B, g *stack.Signing) (at time.Time) {
	b.Helper()
	var check int64
	for _, e := range events(b, countersign.SagaID("acme", g.Request.ID)) {
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == evidence.ActivityCheckDecision {
			check = e.GetEventId()
		}
		if check != 0 && e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId() == check {
			at = e.GetEventTime().AsTime()
		}
	}
	return at
}
