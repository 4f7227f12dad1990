package policy

import (
	"fmt"
	gostrings "strings"
	"time"

	"github.com/countersign-dev/countersign"
)

func texts(set func(*Question, string), list ...string) []value {
	var out []value
	for _, s := range list {
		out = append(out, value{spoken(s), func(q *Question) { set(q, s) }})
	}
	return out
}

func lists(set func(*Question, []string), list ...[]string) []value {
	var out []value
	for _, s := range list {
		out = append(out, value{spoken(gostrings.Join(s, " ")), func(q *Question) { set(q, s) }})
	}
	return out
}

func numbers(set func(*Question, int), list ...int) []value {
	var out []value
	for _, i := range list {
		out = append(out, value{fmt.Sprint(i), func(q *Question) { set(q, i) }})
	}
	return out
}

func people(set func(*Question, *countersign.Actor), list ...*countersign.Actor) []value {
	var out []value
	for _, a := range list {
		says := "nobody"
		if a != nil {
			says = a.Subject
		}
		out = append(out, value{says, func(q *Question) { set(q, a) }})
	}
	return out
}

func groups(set func(*Question, []countersign.Actor), list ...[]countersign.Actor) []value {
	var out []value
	for _, group := range list {
		var names []string
		for _, a := range group {
			names = append(names, a.Subject)
		}
		out = append(out, value{spoken(gostrings.Join(names, " ")), func(q *Question) { set(q, group) }})
	}
	return out
}

// kinds are the kinds of resource, and the resources that a policy set names.
func kinds(signing string, named []Resource) []value {
	out := []value{
		{kindSigning, func(q *Question) { q.Resource.Signing = signing }},
		{kindStage, func(q *Question) { q.Resource.Signing, q.Resource.Stage = signing, "first" }},
		{kindGrant, func(q *Question) { q.Resource.Grant = "a grant" }},
		{kindKey, func(q *Question) { q.Resource.Key = "a key" }},
	}
	for _, r := range named {
		out = append(out, value{r.entity().String(), func(q *Question) {
			q.Resource.Signing, q.Resource.Stage, q.Resource.Grant, q.Resource.Key = r.Signing, r.Stage, r.Grant, r.Key
		}})
	}
	return out
}

// instants are inside the grant's window, at its edges, beside them, and at those that a policy set names (in milliseconds since 1970).
func instants(named []int64) []value {
	at := func(says string, t time.Time) value { return value{says, func(q *Question) { q.Now = t }} }
	out := []value{
		at("in the grant's window", opens.Add(time.Hour)),
		at("a millisecond before the window opens", opens.Add(-time.Millisecond)), at("when the window opens", opens),
		at("a millisecond before the window closes", closes.Add(-time.Millisecond)), at("when the window closes", closes),
	}
	for _, ms := range named {
		t := time.UnixMilli(ms).UTC()
		out = append(out, at("at "+t.Format(time.RFC3339Nano), t), at("before "+t.Format(time.RFC3339Nano), t.Add(-time.Millisecond)))
	}
	return out
}

func each(list []string) [][]string {
	var out [][]string
	for _, s := range list {
		out = append(out, []string{s})
	}
	return out
}

func alone(list []*countersign.Actor) [][]countersign.Actor {
	var out [][]countersign.Actor
	for _, a := range list {
		out = append(out, []countersign.Actor{*a})
	}
	return out
}

func spoken(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
