package policy

import "slices"

// start names a usual question by the values that are not the first of their part.
func (u *universe) start(says, action, kind, who string, others ...string) start {
	at := make(point, len(u.parts))
	for pairs := append([]string{"action", action, "resource", kind, "principal", who}, others...); len(pairs) > 0; pairs = pairs[2:] {
		p := slices.IndexFunc(u.parts, func(p part) bool { return p.name == pairs[0] })
		at[p] = uint8(slices.IndexFunc(u.parts[p].values, func(v value) bool { return v.says == pairs[1] }))
	}
	return start{says, at}
}

// question is the question of a point.
func (u *universe) question(at point) Question {
	var q Question
	for i := range u.parts {
		if u.applies(i, at) {
			u.parts[i].values[at[i]].set(&q)
		}
	}
	return q
}

// applies says whether a question has a part: a signing has no deadline, and without a grant there is none of its parts.
func (u *universe) applies(i int, at point) bool {
	p := &u.parts[i]
	switch {
	case p.ofGrant && at[partGrant] == 0, p.ofMember && u.parts[partWho].values[at[partWho]].says == sam.Subject:
		return false
	case p.kinds == nil:
		return true
	}
	return slices.Contains(p.kinds, u.kind(at))
}

// kind is the kind of resource that a point is about.
func (u *universe) kind(at point) string { return u.kinds[at[partKind]] }

// each calls visit with every point that differs from a start in exactly so many parts, until it returns false. The point is only lent.
func (u *universe) each(parts int, visit func(from *start, at point) bool) {
	for i := range u.starts {
		from := &u.starts[i]
		at := slices.Clone(from.at)
		if !u.vary(from, at, 0, parts, func(at point) bool { return u.nearer(i, parts, at) || visit(from, at) }) {
			return
		}
	}
}

func (u *universe) vary(from *start, at point, first, parts int, visit func(point) bool) bool {
	if parts == 0 {
		return visit(at)
	}
	for i := first; i <= len(u.parts)-parts; i++ {
		if i >= firstFree && !u.applies(i, at) {
			continue
		}
		for v := range u.parts[i].values {
			if uint8(v) == from.at[i] {
				continue
			}
			at[i] = uint8(v)
			if !u.vary(from, at, i+1, parts-1, visit) {
				return false
			}
		}
		at[i] = from.at[i]
	}
	return true
}

// nearer says whether a question is asked from another start. The point itself is not visited there if it has values of parts that don't
// apply, but then one is that differs in these alone, and is nearer still.
func (u *universe) nearer(of, parts int, at point) bool {
	for i := range u.starts {
		apart := 0
		for p, v := range u.starts[i].at {
			if v != at[p] {
				if apart++; apart > parts {
					break
				}
			}
		}
		if apart < parts || apart == parts && i < of {
			return true
		}
	}
	return false
}

// mostQuestions is about how many questions are asked of one set at most.
const mostQuestions = 14_000_000

// reach is in how many parts a question may differ from a usual one: as far as mostQuestions allow, and 4 at most.
func (u *universe) reach() int {
	total := 0
	for parts := 0; parts <= 4; parts++ {
		for _, s := range u.starts {
			total += u.count(s.at, parts)
		}
		if total > mostQuestions {
			return parts - 1
		}
	}
	return 4
}

// count is about how many points differ from a start in so many parts: a change can bring parts that the start hasn't, or take some away.
func (u *universe) count(at point, parts int) int {
	ways := make([]int, parts+1) // ways[k] is the number of points that differ in k of the parts looked at
	ways[0] = 1
	for i := range u.parts {
		if i >= firstFree && !u.applies(i, at) {
			continue
		}
		for k := parts; k > 0; k-- {
			ways[k] += ways[k-1] * (len(u.parts[i].values) - 1)
		}
	}
	return ways[parts]
}
