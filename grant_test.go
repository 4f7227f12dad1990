package countersign_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign"
)

var (
	rhea = countersign.Actor{Issuer: "https://id.nord.example", Subject: "rhea"}
	remy = countersign.Actor{Issuer: "https://id.nord.example", Subject: "remy"}
	rona = countersign.Actor{Issuer: "https://id.nord.example", Subject: "rona"}
)

func document(n int) string { return fmt.Sprintf("%064x", n) }

func goodGrant() countersign.Grant {
	return countersign.Grant{
		V: 1, Tenant: "acme", Delegator: rhea, Grantee: remy, Role: "reseller", Actions: []string{countersign.GrantDecide, countersign.GrantDelegate},
		Documents: []string{document(1), document(2)}, NotBefore: 1000, NotAfter: 2000, Depth: 2, Uses: 5, IssuedAt: 990,
	}
}

func TestR03_AGrantThatIsTooWideIsNone(t *testing.T) {
	t.Parallel()
	if err := goodGrant().Check(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*countersign.Grant)
		want   string
	}{
		"for everything":           {func(g *countersign.Grant) { g.Documents = nil }, "a grant for everything is no grant"},
		"for two kinds of things":  {func(g *countersign.Grant) { g.Request = "PO-1" }, "either documents, one request or purposes"},
		"for ever":                 {func(g *countersign.Grant) { g.NotAfter = g.NotBefore + 91*24*3600 }, "at most 90 days"},
		"over before it begins":    {func(g *countersign.Grant) { g.NotAfter = g.NotBefore }, "exp must be after nbf"},
		"without end of handing":   {func(g *countersign.Grant) { g.Depth = 4 }, "give 0 to 3"},
		"handed on without right":  {func(g *countersign.Grant) { g.Actions = g.Actions[:1] }, "needs the action"},
		"for no decision":          {func(g *countersign.Grant) { g.Uses = 0 }, "give 1 to 100"},
		"to oneself":               {func(g *countersign.Grant) { g.Grantee = g.Delegator }, "nobody grants to themselves"},
		"to nobody":                {func(g *countersign.Grant) { g.Grantee.Subject = "" }, "need iss and sub"},
		"for an action of its own": {func(g *countersign.Grant) { g.Actions = []string{"sign"}; g.Depth = 0 }, "none that can be granted"},
		"for no action":            {func(g *countersign.Grant) { g.Actions, g.Depth = nil, 0 }, "actions must be named"},
		"for an action twice":      {func(g *countersign.Grant) { g.Actions, g.Depth = []string{"decide", "decide"}, 0 }, "each once"},
		"for documents unsorted":   {func(g *countersign.Grant) { slices.Reverse(g.Documents) }, "sorted, each once"},
		"for a name":               {func(g *countersign.Grant) { g.Documents = []string{"contract.pdf"} }, "named by their SHA-256"},
		"of a parent by name":      {func(g *countersign.Grant) { g.Parent = "the other one" }, "64 hex digits"},
		"of another version":       {func(g *countersign.Grant) { g.V = 2 }, "this build reads 1"},
		"of a role that is none":   {func(g *countersign.Grant) { g.Role = "Legal!" }, "is not a name"},
		"with a long reason":       {func(g *countersign.Grant) { g.Reason = strings.Repeat("x", 2001) }, "at most 2000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := goodGrant()
			c.change(&g)
			if err := g.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("said %v, want %q", err, c.want)
			}
		})
	}
}

// The window is half-open: a grant works in the second before its end, and not at it.
func TestR08_AGrantsWindowIsHalfOpen(t *testing.T) {
	t.Parallel()
	g := goodGrant()
	for at, want := range map[int64]string{999: "grant-not-yet", 1000: "", 1999: "", 2000: "grant-expired", 3000: "grant-expired"} {
		got := ""
		if r := g.Live(time.Unix(at, 999_999_999)); r != nil {
			got = r.Code
		}
		if got != want {
			t.Errorf("at %d it is %q, want %q", at, got, want)
		}
	}
}

var purposes = []string{"a", "b"} // of the small world

// anyGrant draws from a small world, so that two of them are often near each other.
func anyGrant(t *rapid.T, name string) countersign.Grant {
	g := goodGrant()
	people := []countersign.Actor{rhea, remy, rona}
	g.Delegator = rapid.SampledFrom(people).Draw(t, name+" delegator")
	g.Grantee = rapid.SampledFrom(people).Draw(t, name+" grantee")
	g.Tenant = rapid.SampledFrom([]string{"acme", "acme", "globex"}).Draw(t, name+" tenant")
	g.Role = rapid.SampledFrom([]string{"reseller", "reseller", "legal"}).Draw(t, name+" role")
	g.Actions = rapid.SampledFrom([][]string{{"decide"}, {"decide", "delegate"}, {"delegate"}}).Draw(t, name+" actions")
	g.Documents, g.Request, g.Purposes = nil, "", nil
	switch rapid.SampledFrom([]string{"documents", "documents", "request", "purposes", "both"}).Draw(t, name+" scope") {
	case "documents":
		g.Documents = someOf(t, name+" documents", []string{document(1), document(2), document(3)})
	case "request":
		g.Request = rapid.SampledFrom([]string{"PO-1", "PO-2"}).Draw(t, name+" request")
	case "purposes":
		g.Purposes = someOf(t, name+" purposes", purposes)
	case "both":
		g.Documents, g.Request = []string{document(1)}, "PO-1"
	}
	g.NotBefore = rapid.Int64Range(1000, 1003).Draw(t, name+" from")
	g.NotAfter = rapid.Int64Range(1003, 1006).Draw(t, name+" until")
	g.Depth = rapid.IntRange(0, 2).Draw(t, name+" depth")
	g.Uses = rapid.IntRange(1, 3).Draw(t, name+" uses")
	return g
}

// someOf draws some of a sorted list, at least one, in its order.
func someOf(t *rapid.T, name string, all []string) (some []string) {
	bits := rapid.IntRange(1, 1<<len(all)-1).Draw(t, name)
	for i, one := range all {
		if bits>>i&1 == 1 {
			some = append(some, one)
		}
	}
	return some
}

// lendable draws a grant that is one, and may be handed on.
func lendable(t *rapid.T) countersign.Grant {
	g := anyGrant(t, "parent")
	g.Delegator, g.Grantee = rhea, remy
	g.Actions = rapid.SampledFrom([][]string{{"decide", "delegate"}, {"delegate"}}).Draw(t, "parent lends")
	g.Depth = rapid.IntRange(1, 2).Draw(t, "parent reaches")
	g.NotAfter = max(g.NotAfter, g.NotBefore+1)
	if len(g.Documents) > 0 {
		g.Request = ""
	}
	if len(g.Purposes) > 0 {
		g.Depth = countersign.MaxCoverDepth
	}
	return g
}

// partOf draws a grant that is a part of another one by the way it is made: each of its bounds lies within the parent's.
func partOf(t *rapid.T, parent countersign.Grant) countersign.Grant {
	g := parent
	g.Delegator, g.Grantee = parent.Grantee, rona
	g.Depth = rapid.IntRange(0, parent.Depth-1).Draw(t, "child depth")
	if g.Actions = someOf(t, "child actions", parent.Actions); !slices.Contains(g.Actions, countersign.GrantDelegate) {
		g.Depth = 0
	}
	if len(parent.Documents) > 0 {
		g.Documents = someOf(t, "child documents", parent.Documents)
	}
	if len(parent.Purposes) > 0 {
		g.Purposes = someOf(t, "child purposes", parent.Purposes)
	}
	g.NotBefore = rapid.Int64Range(parent.NotBefore, parent.NotAfter-1).Draw(t, "child from")
	g.NotAfter = rapid.Int64Range(g.NotBefore+1, parent.NotAfter).Draw(t, "child until")
	g.Uses = rapid.IntRange(1, parent.Uses).Draw(t, "child uses")
	return g
}

// The law of sub-grants: whatever a grant allows that is a part of another one, that other one allows too. A third of the pairs are made as
// a part and its whole, and have to be taken as such; a third are made so but for something that is drawn apart, and may widen it; and a third are any two.
func TestR03_AGrantThatNarrowsAllowsNothingMore(t *testing.T) {
	t.Parallel()
	narrowed := 0
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"a part", "a part but for something", "apart"}).Draw(t, "the pair")
		parent, child := anyGrant(t, "parent"), anyGrant(t, "child")
		if kind != "apart" {
			stray := child
			parent = lendable(t)
			child = partOf(t, parent)
			for i, differ := range []func(){
				func() { child.Delegator = stray.Delegator },
				func() { child.Tenant = stray.Tenant },
				func() { child.Role = stray.Role },
				func() {
					child.Documents, child.Request, child.Purposes = stray.Documents, stray.Request, stray.Purposes
				},
				func() { child.NotBefore = stray.NotBefore },
				func() { child.NotAfter = stray.NotAfter },
				func() { child.Depth, child.Actions = stray.Depth, stray.Actions },
				func() { child.Uses = stray.Uses },
			} {
				if kind != "a part" && rapid.IntRange(0, 3).Draw(t, fmt.Sprint("part ", i)) == 0 {
					differ()
				}
			}
		}
		digest, err := parent.Digest()
		if err != nil {
			t.Fatal(err)
		}
		child.Parent = digest
		if err := errors.Join(parent.Check(), child.Check(), child.Narrows(parent)); err != nil {
			if kind == "a part" {
				t.Fatalf("%+v is a part of %+v, and is refused: %v", child, parent, err)
			}
			return
		}
		narrowed++
		if child.Delegator != parent.Grantee || child.Role != parent.Role || child.Uses > parent.Uses || child.Depth >= parent.Depth {
			t.Fatalf("%+v is no part of %+v", child, parent)
		}
		for _, action := range child.Actions {
			if !slices.Contains(parent.Actions, action) {
				t.Fatalf("the child may %s", action)
			}
		}
		for at := int64(998); at < 1008; at++ {
			if child.Live(time.Unix(at, 0)) == nil && parent.Live(time.Unix(at, 0)) != nil {
				t.Fatalf("at %d the child is live alone", at)
			}
		}
		if len(parent.Purposes) > 0 && len(child.Purposes) == 0 {
			return // a part that names a request doesn't name the purpose any more: the chain is asked, each grant of it
		}
		for _, tenant := range []string{"acme", "globex"} {
			for _, purpose := range []string{"a", "b", "c"} {
				for _, request := range []string{"PO-1", "PO-2", "PO-3"} {
					for n := range 4 {
						if child.Covers(tenant, purpose, request, document(n)) == nil && parent.Covers(tenant, purpose, request, document(n)) != nil {
							t.Fatalf("the child alone covers %s %s %s document %d", tenant, purpose, request, n)
						}
					}
				}
			}
		}
	})
	if narrowed == 0 {
		t.Error("no pair was a part of another: the law was not tried")
	}
}

func TestR03_AChainOfGrantsBeginsAtARoleAndLeadsNowhereTwice(t *testing.T) {
	t.Parallel()
	first := goodGrant()
	digest, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	second := goodGrant()
	second.Delegator, second.Grantee, second.Parent, second.Depth, second.Actions = remy, rona, digest, 0, []string{countersign.GrantDecide}
	if err := countersign.CheckChain([]countersign.Grant{first, second}); err != nil {
		t.Fatal(err)
	}
	back := second
	back.Grantee = rhea
	for name, c := range map[string]struct {
		chain []countersign.Grant
		want  string
	}{
		"nothing":               {nil, "has 0"},
		"a part without whole":  {[]countersign.Grant{second}, "doesn't begin at somebody's own role"},
		"the wrong way":         {[]countersign.Grant{second, first}, "doesn't begin"},
		"back to the beginning": {[]countersign.Grant{first, back}, "leads back to"},
		"another whole":         {[]countersign.Grant{func() countersign.Grant { g := first; g.Uses++; return g }(), second}, "names another parent"},
		"longer than allowed":   {make([]countersign.Grant, 5), "has 5"},
	} {
		if err := countersign.CheckChain(c.chain); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: said %v, want %q", name, err, c.want)
		}
	}
}

func TestR05_AnEnrolmentSaysWhoseKeyItIs(t *testing.T) {
	t.Parallel()
	good := countersign.Enrolment{V: 1, Tenant: "acme", Actor: rhea, Kind: countersign.KeyPasskey, Credential: "AAEC", PublicKey: "AAEC", RelyingID: "acme.example", Origins: []string{"https://acme.example"}, IssuedAt: 1, ExpiresAt: 100}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	if id, err := good.KeyID(); err != nil || id != countersign.SHA256([]byte{0, 1, 2}) {
		t.Errorf("the key is named %s (%v)", id, err)
	}
	for name, c := range map[string]struct {
		change func(*countersign.Enrolment)
		want   string
	}{
		"nobody's":              {func(e *countersign.Enrolment) { e.Actor.Issuer = "" }, "iss and sub"},
		"of no kind":            {func(e *countersign.Enrolment) { e.Kind = "sms" }, "neither passkey nor device"},
		"without a site":        {func(e *countersign.Enrolment) { e.Origins = nil }, "relying party and the origins"},
		"a device with a site":  {func(e *countersign.Enrolment) { e.Kind = countersign.KeyDevice }, "neither relying party nor origins"},
		"without a credential":  {func(e *countersign.Enrolment) { e.Credential = "" }, "credential: must be 1 to 1023 bytes"},
		"with padding":          {func(e *countersign.Enrolment) { e.PublicKey = "AA==" }, "without padding"},
		"with a huge key":       {func(e *countersign.Enrolment) { e.PublicKey = strings.Repeat("A", 4000) }, "1 to 2048 bytes"},
		"open for a day":        {func(e *countersign.Enrolment) { e.ExpiresAt = 86_401 }, "at most 15m0s later"},
		"with too many origins": {func(e *countersign.Enrolment) { e.Origins = make([]string, 11) }, "at most 10 origins"},
	} {
		e := good
		c.change(&e)
		if err := e.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: said %v, want %q", name, err, c.want)
		}
	}
}
