package tests

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/tests/stack"
)

// burst is what many senders send at once.
type burst struct {
	sent []sending
}

type sending struct {
	who    string
	signed countersign.SignedDecision
}

// add adds n signals of one decision and proof. An id that ends in a hyphen gets a number; any other is the same for all of them.
func (b *burst) add(n int, who, id string, d countersign.Decision, token string) {
	for i := range n {
		name := id
		if strings.HasSuffix(id, "-") {
			name = fmt.Sprint(id, i)
		}
		b.sent = append(b.sent, sending{who, countersign.SignedDecision{ID: name, Decision: d, Proof: countersign.Proof{IDToken: token}}})
	}
}

// by is how many signals somebody sends.
func (b *burst) by(who string) (n int) {
	for _, s := range b.sent {
		if s.who == who {
			n++
		}
	}
	return n
}

// TestR25_N8_200ConcurrentDecisionsEndInOneSignature sends, from sixteen senders at once and in a random order, two honest approvals, and
// around them their repetitions, the same people under other ids, people who may not decide there, and forgeries. The time-stamp authorities
// are held up until the server has taken all of them, so that none can come after the end.
func TestR25_N8_200ConcurrentDecisionsEndInOneSignature(t *testing.T) {
	tsa, second := fault(t, local.TSA.URL), fault(t, local.SecondTSA.URL)
	faultyWorkers(t, "url: "+local.TSA.URL, "url: "+tsa.URL+"/", "url: "+local.SecondTSA.URL, "url: "+second.URL+"/")
	g := begin(t, request(t, "globex", "supplier-contract"))
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	for _, clock := range []*stack.Fault{tsa, second} {
		clock.Break(func(*http.Request) bool { return true })
	}

	prove := func(who, stage string) (countersign.Decision, string) {
		d := g.Decision(status, who, stage, countersign.Approve)
		token, err := local.Prove(t.Context(), who, d)
		if err != nil {
			t.Fatal(err)
		}
		return d, token
	}
	gina, ginas := prove("globex/gina", "legal")
	chris, chriss := prove("hart/chris", "counsel")
	paul, pauls := prove("globex/paul", "legal")
	astray, astrays := prove("hart/chris", "legal")
	var b burst
	b.add(60, "globex/gina", "approval", gina, ginas)
	b.add(60, "hart/chris", "approval", chris, chriss)
	b.add(30, "globex/gina", "again-", gina, ginas)
	b.add(20, "hart/chris", "again-", chris, chriss)
	b.add(10, "globex/paul", "not-legal-", paul, pauls)
	b.add(10, "hart/chris", "not-legal-", astray, astrays)
	b.add(4, "globex/gina", "foreign-key-", gina, resigned(t, ginas, nil))
	b.add(3, "globex/gina", "unsigned-", gina, unsigned(t, ginas))
	b.add(3, "hart/chris", "approval", gina, ginas) // gina's own, sent by another one under her id
	if len(b.sent) != 200 {
		t.Fatalf("the burst has %d signals", len(b.sent))
	}
	b.send(t, g)
	tsa.Heal()
	second.Heal()

	ending, report := ended(t, g, countersign.Completed)
	counted, senders, events := map[string]string{}, map[string]int{}, map[int64]bool{}
	for _, d := range report.Statement.Decisions {
		senders[d.Sender]++
		events[d.Event] = true
		switch {
		case d.Counted && counted[d.Stage] != "":
			t.Errorf("stage %s counted a second approval, of %s", d.Stage, d.Name)
		case d.Counted:
			counted[d.Stage] = d.Name
		case d.Refusal == nil || !refusals[d.Refusal.Code]:
			t.Errorf("the decision of event %d by %s neither counted nor was refused as it should be: %+v", d.Event, d.Sender, d.Refusal)
		}
	}
	if len(counted) != 2 || counted["legal"] != "Gina Gross" || counted["counsel"] != "Chris Lowe" {
		t.Errorf("what counted is %v, want one approval of each stage, by gina and chris", counted)
	}
	if len(events) != len(b.sent) {
		t.Errorf("the evidence accounts for %d of %d signals", len(events), len(b.sent))
	}
	for _, who := range []string{"globex/gina", "hart/chris", "globex/paul"} {
		if told := senders[local.Actor(who).String()]; told != b.by(who) {
			t.Errorf("the evidence accounts for %d of the %d signals of %s", told, b.by(who), who)
		}
	}
	if signed := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document-signed.pdf")); len(signed) != 1 {
		t.Errorf("%d signatures were stored", len(signed))
	}
	if locked := versions(t, "evidence", countersign.EvidenceKey("globex", g.Request.ID)); len(locked) != 1 || locked[0] != ending.Evidence.Object.VersionID {
		t.Errorf("the evidence has the versions %q, want one: %q", locked, ending.Evidence.Object.VersionID)
	}
}

// refusals are the ways in which a signal of the burst may not count; which one it is depends on what came before it.
var refusals = map[string]bool{
	"not-looked-at":       true, // a repetition of what counted
	"one-person-one-vote": true,
	"no-open-stage":       true,
	"not-entitled":        true,
	"token-signature":     true,
	"token-algorithm":     true,
	"other-sender":        true,
}

// send sends all of it at once and returns when the server has taken the last one.
func (b *burst) send(t *testing.T, g *stack.Signing) {
	t.Helper()
	as := map[string]client.Client{}
	for _, s := range b.sent {
		if as[s.who] == nil {
			c, err := local.Dial(t.Context(), g.Request.Tenant, s.who)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			as[s.who] = c
		}
	}
	order := rand.Perm(len(b.sent))
	saga := countersign.SagaID(g.Request.Tenant, g.Request.ID)
	each(t, 16, len(order), func(i int) error {
		s := b.sent[order[i]]
		return as[s.who].SignalWorkflow(t.Context(), saga, s.signed.Decision.Run, countersign.SignalDecide, s.signed)
	})
}
