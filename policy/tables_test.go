package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// awkward policies read things in unusual ways: whole records, entities of others, what is not there.
const awkward = `
@id("whole-grant") forbid (principal, action, resource) when { context has grant && context.grant == {"tenant": "here"} };
@id("whole-context") forbid (principal, action, resource) when { context == {"now": 5, "assurance": 1} };
@id("others-roles") forbid (principal, action == Action::"withdraw", resource is Signing) when { resource.requester has roles && resource.requester.roles.contains("counsel") };
@id("errs") forbid (principal == Actor::"https://id.home.example#ben", action == Action::"view", resource) when { resource.deadline > context.grant.notAfter };
@id("named") permit (principal, action == Action::"view", resource == Signing::"saga/acme/PO-1");
@id("lists") permit (principal, action == Action::"revoke", resource) when { principal.roles == ["counsel"] || [resource.role].contains("board") };
`

func TestTheTablesAnswerAsTheEngineDoes(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"default": Default(), "awkward": Default() + awkward} {
		e, err := NewEngine(text)
		if err != nil {
			t.Fatal(err)
		}
		u := newUniverse(e)
		tables := newTables(u, e)
		asked := 0
		for parts := range 3 {
			u.each(parts, func(from *start, at point) bool {
				asked++
				answer := e.Ask(u.question(at))
				allowed, ids := tables.reasons(at, nil)
				want := answer.Policies
				if len(answer.Errors) > 0 {
					want = answer.Errors
				}
				if allowed != answer.Allowed || tables.allows(at) != allowed || !slices.Equal(ids, want) {
					t.Errorf("%s: %s: %v by %v; the engine says %+v", name, differing(from.says, u.differs(from, at)), allowed, ids, answer)
					return false
				}
				return true
			})
		}
		if asked < 10_000 {
			t.Errorf("%s: only %d questions", name, asked)
		}
	}
}

func TestEveryUsualQuestionIsAllowedAndNoTwoPointsAreOne(t *testing.T) {
	t.Parallel()
	e, err := NewEngine(Default())
	if err != nil {
		t.Fatal(err)
	}
	u := newUniverse(e)
	for _, s := range u.starts {
		if a := e.Ask(u.question(s.at)); !a.Allowed {
			t.Errorf("%s: %+v", s.says, a)
		}
	}
	seen := map[string]bool{}
	for parts := range 3 {
		u.each(parts, func(from *start, at point) bool {
			if seen[string(at)] {
				t.Errorf("asked twice: %s", differing(from.says, u.differs(from, at)))
			}
			seen[string(at)] = true
			return true
		})
	}
}

func TestNoQuestionIsLeftOutBecauseItIsNearerToAnotherStart(t *testing.T) {
	t.Parallel()
	e, err := NewEngine(Default())
	if err != nil {
		t.Fatal(err)
	}
	u := newUniverse(e)
	asked := map[string]bool{}
	key := func(at point) string {
		q, err := json.Marshal(u.question(at))
		if err != nil {
			t.Fatal(err)
		}
		return string(q)
	}
	for parts := range 3 {
		u.each(parts, func(_ *start, at point) bool {
			asked[key(at)] = true
			return true
		})
	}
	for parts := range 3 {
		for i := range u.starts {
			from := &u.starts[i]
			u.vary(from, slices.Clone(from.at), 0, parts, func(at point) bool {
				if !asked[key(at)] {
					t.Errorf("never asked: %s", differing(from.says, u.differs(from, at)))
				}
				return true
			})
		}
	}
}

func TestASetDoesNotDifferFromItself(t *testing.T) {
	t.Parallel()
	e, err := NewEngine(Default())
	if err != nil {
		t.Fatal(err)
	}
	if changes, c := newUniverse(e, e).diff(e, e, 2); len(changes) != 0 || c.Asked < 10_000 {
		t.Errorf("%+v, %+v", c, changes)
	}
}

// What a universe varies is all that a question can say.
func TestEveryFieldOfAQuestionVaries(t *testing.T) {
	t.Parallel()
	e, err := NewEngine(Default())
	if err != nil {
		t.Fatal(err)
	}
	u := newUniverse(e)
	seen := map[string]map[any]bool{}
	for parts := range 2 {
		u.each(parts, func(_ *start, at point) bool {
			q := u.question(at)
			fields(seen, "Question", reflect.ValueOf(q))
			return true
		})
	}
	for name, values := range seen {
		if fixed := name == "Question.Grant.NotBefore" || name == "Question.Grant.NotAfter"; len(values) < 2 && !fixed { // now moves instead
			t.Errorf("%s is always the same: %v", name, values)
		}
	}
}

func fields(seen map[string]map[any]bool, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fields(seen, name, v.Elem())
		}
		return
	case reflect.Struct:
		if v.Type().PkgPath() == reflect.TypeFor[Question]().PkgPath() {
			for i := range v.NumField() {
				fields(seen, name+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		}
	}
	if seen[name] == nil {
		seen[name] = map[any]bool{}
	}
	seen[name][fmt.Sprint(v.Interface())] = true
}
