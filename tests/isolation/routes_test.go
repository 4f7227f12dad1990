package isolation

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/api"
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
	query               string
	kind                string
	body                []byte
}

var everybody = slices.Sorted(maps.Keys(actors))

// inOrder is the order in which what is allowed is done: what ends something comes late.
var inOrder = []string{
	"/openapi.json", "/openapi-3.0.json", "/openapi.yaml", "/openapi-3.0.yaml", "/", "alive", "ready", "put-document", "request-signing", "get-inbox", "get-signing", "draft-decision", "watch-signing", "get-document", "get-evidence",
	"list-grants", "get-grant", "list-keys", "get-key", "send-decision", "give-grant", "enrol-key", "accept-grant", "revoke-grant", "give-back-grant",
	"retire-key", "offboard", "withdraw",
}

// matrix says for each operation who may. Every route has a row, or the first test fails.
var matrix = map[string]row{
	"/openapi.json":     {yes: everybody},
	"/openapi-3.0.json": {yes: everybody},
	"/openapi.yaml":     {yes: everybody},
	"/openapi-3.0.yaml": {yes: everybody},
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

	"get-signing":    {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	"watch-signing":  {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	"get-document":   {yes: []string{"alice", "olivia", "system", "lent"}, change: under},
	"draft-decision": {yes: []string{"alice", "lent"}, change: func(w *world, a actor, q *asked) error { q.query = "verdict=approve"; return under(w, a, q) }},
	"get-evidence": {yes: []string{"alice", "olivia", "system"}, change: func(w *world, a actor, q *asked) error {
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
	"offboard": {yes: []string{"olivia"}, change: func(w *world, _ actor, q *asked) error {
		return q.json(client.Leaver{Issuer: w.Issuers["nord"].URL, Reason: "over", DryRun: true})
	}},
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

// answer is all that an asker sees, but for what differs from one answer to the next.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) whole() string { return fmt.Sprintf("%d %v\n%s", a.status, a.header, a.body) }

// String is what a failed test shows of it.
func (a answer) String() string { return fmt.Sprintf("%.400q", a.whole()) }

// without is the answer with the ids that were asked for taken out.
func (a answer) without(ids ...string) string {
	var pairs []string
	for _, id := range ids {
		if id != "" {
			pairs = append(pairs, id, "<asked>")
		}
	}
	return strings.NewReplacer(pairs...).Replace(a.whole())
}

// ask asks as somebody. Of a stream it takes the first event.
func (w *world) ask(a actor, r api.Route, q asked) (answer, error) {
	path := strings.NewReplacer("{tenant}", a.tenant, "{request}", q.request, "{grant}", q.grant, "{key}", q.key).Replace(r.Path)
	if q.query != "" {
		path += "?" + q.query
	}
	request, err := http.NewRequestWithContext(w.ctx, r.Method, w.api+path, bytes.NewReader(q.body))
	if err != nil {
		return answer{}, err
	}
	token, err := w.token(w.ctx, a.who)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if q.kind != "" {
		request.Header.Set("Content-Type", q.kind)
	}
	response, err := patient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	var body []byte
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		for lines := bufio.NewScanner(response.Body); len(body) == 0 && lines.Scan(); {
			body = bytes.TrimPrefix(lines.Bytes(), []byte("event: status"))
		}
	} else if body, err = io.ReadAll(response.Body); err != nil {
		return answer{}, err
	}
	header := response.Header.Clone()
	for _, name := range []string{"Date", "X-Request-Id"} {
		header.Del(name)
	}
	return answer{response.StatusCode, header, string(body)}, nil
}

// about is the request of an operation as an actor makes it.
func (w *world) about(a actor, r row) (asked, error) {
	q := asked{request: w.open.Request.ID, grant: w.live, key: w.keys[0]}
	if r.change == nil {
		return q, nil
	}
	return q, r.change(w, a, &q)
}

// missing is the same request about what doesn't exist.
func (q asked) missing() asked {
	swap := strings.NewReplacer(q.request, "no-such-request", q.grant, strings.Repeat("0", 64), q.key, strings.Repeat("1", 64))
	q.request, q.grant, q.key, q.body = swap.Replace(q.request), swap.Replace(q.grant), swap.Replace(q.key), []byte(swap.Replace(string(q.body)))
	return q
}

// TestR10_EveryRouteIsInTheMatrix needs no stack: a route that nobody has said who may ask fails the build.
func TestR10_EveryRouteIsInTheMatrix(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, r := range api.Routes() {
		there[r.ID] = true
		if _, listed := matrix[r.ID]; !listed {
			t.Errorf("%s %s (%q) is in no row of the matrix: say who may ask it", r.Method, r.Path, r.ID)
		}
		if !slices.Contains(inOrder, r.ID) {
			t.Errorf("%s %s (%q) has no place in the order", r.Method, r.Path, r.ID)
		}
	}
	for id, row := range matrix {
		if !there[id] {
			t.Errorf("the matrix has a row %q, and no route is called so", id)
		}
		for _, name := range slices.Concat(row.yes, row.empty) {
			if _, known := actors[name]; !known {
				t.Errorf("the row %q names %q, who is no actor", id, name)
			}
		}
	}
}

// route finds an operation.
func route(t *testing.T, id string) api.Route {
	t.Helper()
	for _, r := range api.Routes() {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("there is no route %q", id)
	return api.Route{}
}

// refusals are the statuses of a refusal. 422 is a body that names another tenant than the path.
var refusals = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity}

// cell is one actor before one operation.
type cell struct {
	name  string
	actor actor
	route api.Route
	row   row
}

// cells are the matrix, with what is allowed last and in its order.
func cells() (refused, allowed []cell) {
	routes := api.Routes()
	slices.SortStableFunc(routes, func(a, b api.Route) int { return slices.Index(inOrder, a.ID) - slices.Index(inOrder, b.ID) })
	for _, r := range routes {
		for _, name := range everybody {
			c := cell{name + " " + r.Method + " " + r.Path, actors[name], r, matrix[r.ID]}
			if slices.Contains(c.row.yes, name) {
				allowed = append(allowed, c)
			} else {
				refused = append(refused, c)
			}
		}
	}
	return refused, allowed
}

// nothing puts everybody before what is not theirs. With every layer on, what is not theirs and what doesn't exist have one answer.
func (w *world) nothing(t *testing.T) {
	t.Helper()
	refused, _ := cells()
	places := make(chan struct{}, 8)
	var wait sync.WaitGroup
	for _, c := range refused {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			w.denied(t, c)
		})
	}
	wait.Wait()
}

func (w *world) denied(t *testing.T, c cell) {
	q, err := w.about(c.actor, c.row)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	got, err := w.ask(c.actor, c.route, q)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	name, _, _ := strings.Cut(c.name, " ")
	empty := slices.Contains(c.row.empty, name)
	// Without a layer more are let in, and find lists with nothing in them.
	let := len(w.off) > 0 && (strings.HasPrefix(c.route.ID, "list-") || c.route.ID == "get-inbox")
	switch {
	case empty && got.status != http.StatusOK:
		t.Errorf("%s is answered with %s, want a list with nothing in it", c.name, got)
	case !empty && !slices.Contains(refusals, got.status) && !(let && got.status == http.StatusOK):
		t.Errorf("%s is answered with %s, want a refusal", c.name, got)
	}
	ids := []string{q.request, q.grant, q.key}
	if c.actor.stranger || empty {
		if found := w.leak(got.without(ids...)); found != "" {
			t.Errorf("%s tells %q of acme's: %s", c.name, found, got)
		}
	}
	if !c.actor.stranger || empty || len(w.off) > 0 {
		return
	}
	not := q.missing()
	absent, err := w.ask(c.actor, c.route, not)
	if err != nil {
		t.Errorf("%s, of what doesn't exist: %v", c.name, err)
		return
	}
	if a, b := got.without(ids...), absent.without(not.request, not.grant, not.key); a != b {
		t.Errorf("%s can tell what is not theirs from what doesn't exist:\n%.400q\n%.400q", c.name, a, b)
	}
}

// TestR10_R20_TheMatrixOfTheAPI puts each actor before each operation of the API. First whoever may not, all of them; then whoever may, which also
// shows that the first changed nothing.
func TestR10_R20_TheMatrixOfTheAPI(t *testing.T) {
	w := shared(t)
	spend(t)
	w.nothing(t)
	w.unchanged(t)
	_, allowed := cells()
	for _, c := range allowed {
		q, err := w.about(c.actor, c.row)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := w.ask(c.actor, c.route, q)
		if err != nil || got.status/100 != 2 {
			t.Errorf("%s is answered with %s (%v), want it done", c.name, got, err)
		}
		if c.actor.stranger && c.route.ID != "enrol-key" {
			if found := w.leak(got.without(q.request, q.grant, q.key)); found != "" {
				t.Errorf("%s tells %q of acme's: %s", c.name, found, got)
			}
		}
	}
}
