package vectors

import (
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// chain is a chain of grants, from the one that stands on a role to the one that is used, and whether it holds.
type chain struct {
	About  string              `json:"about"`
	Grants []countersign.Grant `json:"grants"`
	Holds  bool                `json:"holds"`
	Why    string              `json:"why,omitempty"`
}

func TestR15_VectorsOfChains(t *testing.T) {
	t.Parallel()
	held := 0
	for _, v := range vectors(t, "chains.json", chains) {
		err := countersign.CheckChain(v.Grants)
		if (err == nil) != v.Holds || err != nil && err.Error() != v.Why {
			t.Errorf("%s: %v", v.About, err)
		}
		if v.Holds {
			held++
		}
	}
	if held == 0 {
		t.Error("no chain holds")
	}
}

func chains() (list []chain) {
	add := func(about string, grants ...countersign.Grant) {
		err := countersign.CheckChain(grants)
		v := chain{About: about, Grants: grants, Holds: err == nil}
		if err != nil {
			v.Why = err.Error()
		}
		list = append(list, v)
	}
	// changed is the part of a cover with something changed.
	changed := func(about string, change func(whole, part *countersign.Grant)) {
		whole, part := cover()
		change(&whole, &part)
		add(about, whole, part)
	}
	whole, part := cover()
	add("one grant for one request", grant())
	add("cover, and a part of it", whole, part)
	add("a part alone", part)
	add("the wrong way round", part, whole)
	changed("a part of another grant", func(_, part *countersign.Grant) { part.Parent = countersign.SHA256(nil) })
	changed("of another tenant", func(_, part *countersign.Grant) { part.Tenant = "globex" })
	changed("given by somebody who doesn't have it", func(_, part *countersign.Grant) { part.Delegator = alice })
	changed("for another role", func(_, part *countersign.Grant) { part.Role = "finance" })
	changed("for a purpose more", func(_, part *countersign.Grant) { part.Purposes = []string{"resale", "supplier-contract"} })
	changed("longer than its parent", func(whole, part *countersign.Grant) { part.NotAfter = whole.NotAfter + 1 })
	changed("earlier than its parent", func(whole, part *countersign.Grant) { part.NotBefore = whole.NotBefore - 1 })
	changed("with more uses", func(whole, part *countersign.Grant) { part.Uses = whole.Uses + 1 })
	changed("as deep as its parent", func(whole, part *countersign.Grant) {
		part.Depth, part.Actions = whole.Depth, []string{"decide", "delegate"}
	})
	changed("allows what its parent doesn't", func(whole, part *countersign.Grant) {
		whole.Actions = []string{"delegate"}
		part.Parent = must(whole.Digest())
	})
	changed("leads back to the delegator", func(_, part *countersign.Grant) { part.Grantee = alice })
	changed("leaves the organisation", func(_, part *countersign.Grant) { part.Grantee = carol })
	everything := grant()
	everything.Request = ""
	add("for everything", everything)
	endless := grant()
	endless.NotAfter = endless.NotBefore + 91*86400
	add("for too long", endless)
	return list
}

// quorum is a plan with approvals, and whether they are enough.
type quorum struct {
	About     string           `json:"about"`
	Plan      countersign.Plan `json:"plan"`
	Approvals []approval       `json:"approvals"`
	Satisfied bool             `json:"satisfied"`
	Broken    bool             `json:"broken"` // enough people broke the glass
	Why       string           `json:"why,omitempty"`
}

type approval struct {
	Stage      string              `json:"stage"`
	Actor      countersign.Actor   `json:"actor"`
	Delegators []countersign.Actor `json:"delegators,omitempty"`
	At         time.Time           `json:"at"`
	Skip       bool                `json:"skip,omitempty"`
}

func (q quorum) check() (error, bool) {
	var approvals []countersign.Approval
	for _, a := range q.Approvals {
		approvals = append(approvals, countersign.Approval(a))
	}
	return q.Plan.Satisfied(approvals), q.Plan.Broken(approvals)
}

func TestR15_VectorsOfQuorums(t *testing.T) {
	t.Parallel()
	satisfied := 0
	for _, v := range vectors(t, "quorums.json", quorums) {
		err, broken := v.check()
		if (err == nil) != v.Satisfied || broken != v.Broken || err != nil && err.Error() != v.Why {
			t.Errorf("%s: %v, broken: %t", v.About, err, broken)
		}
		if v.Satisfied {
			satisfied++
		}
	}
	if satisfied < 5 {
		t.Errorf("only %d are satisfied", satisfied)
	}
}

func quorums() (list []quorum) {
	add := func(about string, p countersign.Plan, approvals ...approval) {
		q := quorum{About: about, Plan: p, Approvals: approvals}
		err, broken := q.check()
		if q.Satisfied, q.Broken = err == nil, broken; err != nil {
			q.Why = err.Error()
		}
		list = append(list, q)
	}
	at, later := noon.Add(time.Hour), noon.Add(12*time.Hour)
	legal := func(who countersign.Actor) approval { return approval{Stage: "legal", Actor: who, At: at} }
	resale := func(who countersign.Actor) approval { return approval{Stage: "resale", Actor: who, At: at} }
	glass := func(who countersign.Actor) approval {
		return approval{Stage: "legal", Actor: who, At: at, Skip: true}
	}
	add("everybody who has to", plan(), legal(alice), legal(ben), resale(rhea))
	add("both places by counsel", plan(), legal(ben), legal(carol), resale(rhea))
	add("one of two", plan(), legal(alice), resale(rhea))
	add("a stage without anybody", plan(), legal(alice), legal(ben))
	two := plan()
	two.Stages[0].Eligible[1].Roles = nil
	add("two, and none of the role that is kept a place", two, legal(alice), legal(ben), resale(rhea))
	add("one person twice in a stage", plan(), legal(ben), legal(ben), resale(rhea))
	crossed := plan()
	crossed.Stages[1].Eligible = append(crossed.Stages[1].Eligible, eligible("Alice", "Acme", alice))
	add("one person in two stages", crossed, legal(alice), legal(ben), resale(alice))
	add("somebody who isn't eligible", plan(), legal(alice), legal(clara), resale(rhea))
	add("under a grant, for its holder", plan(), legal(alice), legal(ben), approval{Stage: "resale", Actor: remy, Delegators: []countersign.Actor{rhea}, At: at})
	add("in person, and again through a grant", plan(), legal(alice), legal(ben), resale(rhea), approval{Stage: "resale", Actor: remy, Delegators: []countersign.Actor{rhea}, At: at})
	add("a delegate of an issuer that has no part", plan(), legal(alice), approval{Stage: "legal", Actor: remy, Delegators: []countersign.Actor{ben}, At: at}, resale(rhea))
	add("by escalation, before its instant", plan(), legal(alice), legal(ben), approval{Stage: "resale", Actor: clara, At: later.Add(-time.Nanosecond)})
	add("by escalation, at its instant", plan(), legal(alice), legal(ben), approval{Stage: "resale", Actor: clara, At: later})
	moves := countersign.Plan{Purpose: "p", Title: "P", Stages: []countersign.Stage{{
		Name: "board", Role: "board", Quorum: 2, Deadline: noon.Add(time.Hour), AtLeast: []countersign.Share{{Count: 1, Role: "counsel"}, {Count: 1, Issuer: carol.Issuer}},
		Eligible: []countersign.Eligible{eligible("Ben", "Acme", ben, "counsel"), eligible("Carol", "Hart LLP", carol, "counsel")},
	}}}
	add("people move to the places that only they fill", moves, approval{Stage: "board", Actor: carol, At: at}, approval{Stage: "board", Actor: ben, At: at})
	add("one person fills one place, and not two", moves, approval{Stage: "board", Actor: carol, At: at})
	add("the glass, broken by two", plan(), glass(ben), glass(clara))
	add("the glass, broken by one of two", plan(), glass(ben))
	add("the glass, broken by one who approved before", plan(), legal(ben), glass(ben), glass(clara))
	add("the glass, broken by somebody who may not", plan(), glass(alice), glass(clara))
	add("the glass, broken for somebody else", plan(), approval{Stage: "legal", Actor: ben, Delegators: []countersign.Actor{alice}, At: at, Skip: true}, glass(clara))
	add("a plan without stages", countersign.Plan{Purpose: "p", Title: "P"})
	none := plan()
	none.Stages[1].Quorum = 0
	add("a stage whose quorum is nobody", none, legal(alice), legal(ben))
	return list
}
