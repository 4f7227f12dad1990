package isolation

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/starter/api"
)

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
	path := strings.NewReplacer("{tenant}", a.tenant, "{request}", q.request, "{purpose}", "supplier-contract", "{grant}", q.grant, "{shredding}", q.grant, "{key}", q.key, "{renewal}", q.renewal, "{reindexing}", q.reindexing, "{check}", w.check, "{run}", w.checkRun, "{tile...}", "0/000.p/1").Replace(r.Path)
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
	if got.status == http.StatusUnauthorized {
		elsewhere := c.actor
		elsewhere.tenant = "nowhere"
		absent, err := w.ask(elsewhere, c.route, q)
		if a, b := got.without(ids...), absent.without(ids...); err != nil || a != b {
			t.Errorf("%s can tell a tenant from one that doesn't exist (%v):\n%.400q\n%.400q", c.name, err, a, b)
		}
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
