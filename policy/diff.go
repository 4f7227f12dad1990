package policy

import "slices"

// Change is one way in which a new set answers otherwise than an old one.
type Change struct {
	Kind     string    `json:"kind"`  // allow to deny, deny to allow, other reason
	Total    int       `json:"total"` // questions
	Examples []Example `json:"examples"`
}

// Example is a question that two sets answer differently.
type Example struct {
	Usual    string   `json:"usual"`
	But      []string `json:"but"`
	Question Question `json:"question"`
	Old      Answer   `json:"old"`
	New      Answer   `json:"new"`

	was, is []string // ids that decided
}

// String says in words which question it is.
func (x Example) String() string { return differing(x.Usual, x.But) }

// shows says whether the examples show that question already: one of them is a part of it, or three changed for the same reasons.
func (c *Change) shows(usual string, but, was, is []string) bool {
	alike := 0
	for _, x := range c.Examples {
		if x.Usual == usual && !slices.ContainsFunc(x.But, func(part string) bool { return !slices.Contains(but, part) }) {
			return true
		}
		if slices.Equal(x.was, was) && slices.Equal(x.is, is) {
			alike++
		}
	}
	return alike >= maxAlike
}

// The kinds of change, those first that matter most.
const (
	DenyToAllow = "deny to allow"
	AllowToDeny = "allow to deny"
	OtherReason = "other reason"
)

// maxExamples bounds how many questions of a kind are shown, maxAlike how many of those for the same reasons.
const (
	maxExamples = 20
	maxAlike    = 3
)

// Diff asks both sets the questions of CheckModel, in a world that has the names of both. It groups those that they answer differently,
// with a few of the smallest as examples, and says how far it looked.
func Diff(old, changed *Engine) ([]Change, Coverage) {
	u := newUniverse(old, changed)
	return u.diff(old, changed, u.reach())
}

func (u *universe) diff(old, changed *Engine, apart int) ([]Change, Coverage) {
	before, after := newTables(u, old), newTables(u, changed)
	c := Coverage{Apart: apart}
	changes := []Change{{Kind: DenyToAllow}, {Kind: AllowToDeny}, {Kind: OtherReason}}
	var was, is []string
	for parts := range c.Apart + 1 {
		u.each(parts, func(from *start, at point) bool {
			c.Asked++
			var did, does bool
			did, was = before.reasons(at, was[:0])
			does, is = after.reasons(at, is[:0])
			var change *Change
			switch {
			case did && !does:
				change = &changes[1]
			case !did && does:
				change = &changes[0]
			case !slices.Equal(was, is):
				change = &changes[2]
			default:
				return true
			}
			if change.Total++; len(change.Examples) < maxExamples && !change.shows(from.says, u.differs(from, at), was, is) {
				q := u.question(at)
				change.Examples = append(change.Examples, Example{from.says, u.differs(from, at), q, old.Ask(q), changed.Ask(q), slices.Clone(was), slices.Clone(is)})
			}
			return true
		})
	}
	return slices.DeleteFunc(changes, func(c Change) bool { return c.Total == 0 }), c
}
