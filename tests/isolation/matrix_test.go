package isolation

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	temporal "go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// actor is somebody who asks: who, in which tenant's part of the API, under which grant.
type actor struct {
	who, tenant string
	grant       func(*world) string
	stranger    bool // may learn nothing of acme's, not even what exists
}

// actors are all of whom the matrix has a column.
var actors = map[string]actor{
	"alice":      {who: "acme/alice", tenant: "acme"},               // legal
	"olivia":     {who: "acme/olivia", tenant: "acme"},              // owner and compliance
	"system":     {who: "machine:acme/procurement", tenant: "acme"}, // requester of both signings
	"lent":       {who: "nord/remy", tenant: "acme", grant: func(w *world) string { return w.live }},
	"expired":    {who: "nord/rona", tenant: "acme", grant: func(w *world) string { return w.expired }, stranger: true},
	"revoked":    {who: "nord/rona", tenant: "acme", grant: func(w *world) string { return w.revoked }, stranger: true},
	"borrowing":  {who: "nord/rona", tenant: "acme", grant: func(w *world) string { return w.live }, stranger: true}, // a colleague's grant
	"unlisted":   {who: "hart/hugo", tenant: "acme", stranger: true},                                                 // of an issuer that acme trusts, in nobody's file
	"gina":       {who: "globex/gina", tenant: "acme", stranger: true},
	"foreign":    {who: "machine:globex/procurement", tenant: "acme", stranger: true},
	"nobody":     {who: "", tenant: "acme", stranger: true},
	"forged":     {who: "forged", tenant: "acme", stranger: true},
	"garbage":    {who: "garbage", tenant: "acme", stranger: true},
	"gina-home":  {who: "globex/gina", tenant: "globex", stranger: true}, // with acme's ids, in the own tenant
	"their-home": {who: "machine:globex/procurement", tenant: "globex", stranger: true},
	"lent-there": {who: "nord/remy", tenant: "globex", grant: func(w *world) string { return w.live }, stranger: true},
}

// row is what one operation may do for whom. Whoever isn't named is refused.
type row struct {
	yes   []string // done
	empty []string // answered, with nothing in it
	// change makes the request what it is for this actor: its body, another signing or key than the first.
	change func(*world, actor, *asked) error
}

// asked is one request.
type asked struct {
	request, grant, key string // the ids in its path
	renewal             string
	reindexing          string
	query               string
	kind                string
	body                []byte
}

var everybody = slices.Sorted(maps.Keys(actors))

// inOrder is the order in which what is allowed is done: what ends something comes late.
var inOrder = []string{
	"/openapi.json", "/openapi-3.0.json", "/openapi.yaml", "/openapi-3.0.yaml", "/verify/", "/", "alive", "ready", "put-document", "request-signing", "get-inbox", "get-signing", "explain-signing", "explain-purpose", "draft-decision", "watch-signing", "get-document", "get-evidence", "get-signed", "get-evidence-log", "get-evidence-renewal", "get-checkpoint", "get-tile",
	"list-grants", "get-grant", "list-keys", "get-key", "send-decision", "give-grant", "enrol-key", "accept-grant", "revoke-grant", "give-back-grant",
	"retire-key", "list-reviews", "get-review", "close-review", "list-evidence", "list-reads", "list-checks", "get-check", "run-check", "get-check-run", "list-holds", "get-orders", "give-order", "answer-order", "list-shreddings", "propose-shredding", "get-shredding", "answer-shredding", "renew-evidence", "get-renewal", "reindex-evidence", "get-reindexing", "offboard", "withdraw",
}

// matrix says for each operation who may. Every route has a row, or the first test fails.
var matrix = map[string]row{
	"/openapi.json":     {yes: everybody},
	"/openapi-3.0.json": {yes: everybody},
	"/openapi.yaml":     {yes: everybody},
	"/openapi-3.0.yaml": {yes: everybody},
	"/verify/":          {}, // this installation serves no page
	"/":                 {}, // what is nothing else
	"alive":             {yes: everybody},
	"ready":             {yes: everybody},

	// The last is globex's own system in globex: its document is its own.
	"put-document": {yes: []string{"system", "their-home"}, change: func(w *world, a actor, q *asked) (err error) {
		q.kind = "application/pdf"
		q.body, err = contract("an upload by " + a.who)
		return err
	}},
	"request-signing": {yes: []string{"system"}, change: func(w *world, _ actor, q *asked) error { return q.json(w.open.Request) }},
	"get-inbox":       {yes: []string{"alice"}, empty: []string{"olivia", "system", "lent", "expired", "revoked", "borrowing", "unlisted", "gina-home", "their-home", "lent-there"}},

	"get-signing":     {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	"explain-signing": {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	// Globex's own system is told of globex's plan.
	"explain-purpose": {yes: []string{"system", "their-home"}},
	"watch-signing":   {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	"get-document":    {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	"draft-decision":  {yes: []string{"alice", "lent"}, change: func(w *world, a actor, q *asked) error { q.query = "verdict=approve"; return under(w, a, q) }},
	"get-evidence": {yes: []string{"alice", "olivia", "system"}, change: func(w *world, a actor, q *asked) error {
		q.request = w.done.Request.ID
		return under(w, a, q)
	}},
	"get-evidence-log": {yes: []string{"alice", "olivia", "system"}, change: func(w *world, a actor, q *asked) error {
		q.request = w.done.Request.ID
		return under(w, a, q)
	}},
	"get-evidence-renewal": {yes: []string{"alice", "olivia", "system"}, change: func(w *world, a actor, q *asked) error {
		q.request = w.done.Request.ID
		return under(w, a, q)
	}},
	// Whoever the file lists watches the log.
	"get-checkpoint": {yes: []string{"alice", "olivia", "system", "lent", "expired", "revoked", "borrowing", "gina-home", "their-home", "lent-there"}},
	"get-tile":       {yes: []string{"alice", "olivia", "system", "lent", "expired", "revoked", "borrowing", "gina-home", "their-home", "lent-there"}},
	"get-signed": {yes: []string{"alice", "olivia", "system"}, change: func(w *world, a actor, q *asked) error {
		q.request = w.done.Request.ID
		return under(w, a, q)
	}},
	// What a party sends is passed on, and refused by the signing itself. A machine decides nothing.
	"send-decision": {yes: []string{"alice", "olivia", "lent"}, change: decision},
	"withdraw":      {yes: []string{"system"}, change: reasoned},

	"give-grant": {yes: []string{"alice"}, change: func(w *world, a actor, q *asked) error {
		g := countersign.SignedGrant{Grant: w.Draft("acme", "acme/alice", "acme/olivia", "legal", "later-"+w.tag)}
		g.Grant.Delegator = w.named(a)
		if a.grant != nil {
			g.Grant.Reason = countersign.SHA256([]byte(a.grant(w))) // or two actors who are one person would give one grant
		}
		return q.proven(w, a, g.Grant.Digest, &g.Proof, &g)
	}},
	"list-grants": {yes: []string{"alice", "olivia", "lent"}, empty: []string{"system", "expired", "revoked", "borrowing", "unlisted", "gina-home", "their-home", "lent-there"}},
	"get-grant":   {yes: []string{"olivia", "lent"}},
	"accept-grant": {yes: []string{"lent"}, change: func(w *world, a actor, q *asked) error {
		q.grant = w.offered
		s := countersign.SignedAcceptance{Acceptance: countersign.Acceptance{V: 1, Tenant: "acme", Grant: w.offered, Actor: w.named(a), IssuedAt: time.Now().Unix()}}
		return q.proven(w, a, s.Acceptance.Digest, &s.Proof, &s)
	}},
	"revoke-grant":    {yes: []string{"olivia"}, change: func(w *world, a actor, q *asked) error { q.grant = w.offered; return reasoned(w, a, q) }},
	"give-back-grant": {yes: []string{"lent"}, change: reasoned},

	// A person of the file enrols a key, a role or none.
	"enrol-key": {yes: []string{"alice", "olivia", "lent", "expired", "revoked", "borrowing"}, change: enrolment},
	"list-keys": {yes: []string{"alice", "olivia"}, empty: []string{"system", "lent", "expired", "revoked", "borrowing", "unlisted", "gina-home", "their-home", "lent-there"}},
	"get-key":   {yes: []string{"alice", "olivia"}},
	"retire-key": {yes: []string{"alice", "olivia"}, change: func(w *world, a actor, q *asked) error {
		if a.who == "acme/olivia" {
			q.key = w.keys[1]
		}
		return reasoned(w, a, q)
	}},
	// The glass of the signing that is done was broken; olivia owns its review.
	"list-reviews": {yes: []string{"olivia"}, empty: []string{"alice", "system", "lent", "expired", "revoked", "borrowing", "unlisted", "gina-home", "their-home", "lent-there"}},
	"get-review":   {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) error { q.request = w.done.Request.ID; return nil }},
	"close-review": {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) error {
		q.request = w.done.Request.ID
		return q.json(client.Finding{Finding: countersign.FindingJustified, Note: "looked at it"})
	}},
	// All of the evidence, and who read it, is for the offices of the tenant.
	"list-evidence": {yes: []string{"olivia"}},
	"list-reads":    {yes: []string{"olivia"}},
	// So are the checks of it.
	"list-checks":   {yes: []string{"olivia"}},
	"get-check":     {yes: []string{"olivia"}},
	"run-check":     {yes: []string{"olivia"}, change: func(_ *world, _ actor, q *asked) error { return q.json(client.CheckBody{DryRun: true}) }},
	"get-check-run": {yes: []string{"olivia"}},
	// This tenant has no key for personal data, so there is nothing that even its compliance could shred. tests/shredding_test.go has who may where there is one.
	"list-shreddings": {yes: []string{"olivia"}},
	"propose-shredding": {change: func(w *world, a actor, q *asked) error {
		s := countersign.SignedShredding{Shredding: countersign.Shredding{
			V: 1, Tenant: "acme", Person: w.Actor("acme/alice"), Reason: "over", Nonce: strings.Repeat("2", 64), Actor: w.named(a), IssuedAt: time.Now().Unix(),
		}}
		return q.proven(w, a, s.Shredding.Digest, &s.Proof, &s)
	}},
	"get-shredding": {},
	"answer-shredding": {change: func(w *world, a actor, q *asked) error {
		s := countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{
			V: 1, Tenant: "acme", Shredding: q.grant, Key: "none", Verdict: countersign.Approve, Actor: w.named(a), IssuedAt: time.Now().Unix(),
		}}
		return q.proven(w, a, s.Answer.Digest, &s.Proof, &s)
	}},
	"list-holds": {yes: []string{"olivia"}},
	"get-orders": {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) error { q.request = w.done.Request.ID; return nil }},
	// One of compliance is enough to retain longer; cora proposed to hold, and olivia is another one.
	"give-order": {yes: []string{"olivia"}, change: func(w *world, a actor, q *asked) error {
		q.request = w.done.Request.ID
		o := countersign.SignedOrder{Order: w.ordered(countersign.OrderRetain, "acme/olivia")}
		o.Order.Actor = w.named(a)
		return q.proven(w, a, o.Order.Digest, &o.Proof, &o)
	}},
	"answer-order": {yes: []string{"olivia"}, change: func(w *world, a actor, q *asked) error {
		q.request = w.done.Request.ID
		s := countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{V: 1, Tenant: "acme", Order: w.order, Verdict: countersign.Approve, Actor: w.named(a), IssuedAt: time.Now().Unix()}}
		return q.proven(w, a, s.Answer.Digest, &s.Proof, &s)
	}},
	"renew-evidence": {yes: []string{"olivia"}, change: func(_ *world, _ actor, q *asked) error {
		return q.json(client.RenewalBody{WithinDays: 1, DryRun: true})
	}},
	"get-renewal": {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) (err error) {
		q.renewal, err = w.renewal()
		return err
	}},
	"reindex-evidence": {yes: []string{"olivia"}, change: func(_ *world, _ actor, q *asked) error {
		return q.json(client.ReindexBody{DryRun: true})
	}},
	"get-reindexing": {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) (err error) {
		q.reindexing, err = w.reindexing()
		return err
	}},
	"offboard": {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) error {
		return q.json(client.Leaver{Issuer: w.Issuers["nord"].URL, Reason: "over", DryRun: true})
	}},
}

// renewal is one that olivia started, which renews nothing.
func (w *world) renewal() (string, error) { return w.renew(0) }

// renew starts a renewal as olivia, of what ends within some time; within none it is a dry run.
func (w *world) renew(within countersign.Duration) (string, error) {
	id := uuid.NewString()
	return id, w.start(countersign.RenewalID("acme", id), countersign.WorkflowRenewal, evidence.RenewalRequest{Tenant: "acme", Within: within, DryRun: within == 0})
}

// reindexing is one that olivia started, which makes nothing.
func (w *world) reindexing() (string, error) {
	id := uuid.NewString()
	return id, w.start(countersign.ReindexID("acme", id), countersign.WorkflowReindex, evidence.ReindexRequest{Tenant: "acme", DryRun: true})
}

// start starts a workflow as olivia.
func (w *world) start(id, workflow string, in any) error {
	c, err := w.Dial(w.ctx, "acme", "acme/olivia")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.ExecuteWorkflow(w.ctx, temporal.StartWorkflowOptions{
		ID: id, TaskQueue: countersign.TaskQueueSigning, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
	}, workflow, in)
	return err
}

// under asks by the actor's grant.
func under(w *world, a actor, q *asked) error {
	if a.grant != nil {
		q.query = strings.TrimPrefix(q.query+"&grant="+a.grant(w), "&")
	}
	return nil
}

func reasoned(_ *world, _ actor, q *asked) error { return q.json(client.Reasoned{Reason: "over"}) }

func decision(w *world, a actor, q *asked) error {
	d := w.open.Decision(w.status, "acme/alice", "legal", countersign.Approve)
	d.Actor = w.named(a)
	if a.grant != nil {
		d = stack.Under(d, w.Actor("nord/rhea"), a.grant(w))
	}
	return q.json(countersign.SignedDecision{ID: "id-" + w.tag, Decision: d, Proof: countersign.Proof{IDToken: "e30.e30.e30"}})
}

func enrolment(w *world, a actor, q *asked) error {
	key := stack.NewAuthenticator("localhost", "http://localhost:8080")
	e := countersign.SignedEnrolment{Enrolment: key.Enrolment("acme", w.named(a), time.Now())}
	digest, err := e.Enrolment.Digest()
	if err == nil {
		e.Possession, err = key.Prove(digest)
	}
	if err != nil {
		return err
	}
	return q.proven(w, a, e.Enrolment.Digest, &e.Proof, &e)
}

// named is the actor as a body names it; who has no name says that it is alice.
func (w *world) named(a actor) countersign.Actor {
	who := strings.TrimPrefix(a.who, "machine:")
	if !strings.Contains(who, "/") {
		who = "acme/alice"
	}
	return w.Actor(who)
}

func (q *asked) json(v any) (err error) {
	q.kind = "application/json"
	q.body, err = json.Marshal(v)
	return err
}

// proven is a body with a true proof of a person, so that what is refused is refused for another reason.
func (q *asked) proven(w *world, a actor, digest func() (string, error), proof *countersign.Proof, v any) error {
	proof.IDToken = "e30.e30.e30"
	if d, err := digest(); err != nil {
		return err
	} else if strings.Contains(a.who, "/") && !strings.HasPrefix(a.who, "machine:") {
		if proof.IDToken, err = w.ProveDigest(w.ctx, a.who, d); err != nil {
			return err
		}
	}
	return q.json(v)
}
