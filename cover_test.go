package countersign_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign"
)

// goodCover is rhea's absence, for which remy covers, a colleague.
func goodCover() countersign.Grant {
	return countersign.Grant{
		V: 1, Tenant: "acme", Delegator: rhea, Grantee: remy, Role: "reseller", Actions: []string{countersign.GrantDecide, countersign.GrantDelegate},
		Purposes: []string{"resale", "supply"}, NotBefore: 1000, NotAfter: 2000, Depth: 1, Uses: 100, IssuedAt: 990,
	}
}

var outsider = countersign.Actor{Issuer: "https://id.hart.example", Subject: "remy"}

func TestR03_CoverIsForPurposesOfAColleagueAndForAWhile(t *testing.T) {
	t.Parallel()
	const day = 24 * 3600
	for name, c := range map[string]struct {
		change func(*countersign.Grant)
		want   string // nothing where it is good
	}{
		"good":                        {func(*countersign.Grant) {}, ""},
		"for 92 days":                 {func(g *countersign.Grant) { g.NotAfter = g.NotBefore + 92*day }, ""},
		"for 92 days and a second":    {func(g *countersign.Grant) { g.NotAfter = g.NotBefore + 92*day + 1 }, "at most 92 days"},
		"handed on twice":             {func(g *countersign.Grant) { g.Depth = 2 }, "give 0 to 1"},
		"to another organisation":     {func(g *countersign.Grant) { g.Grantee = outsider }, "a colleague of the delegator's own organisation"},
		"for a request beside":        {func(g *countersign.Grant) { g.Request = "PO-1" }, "either documents, one request or purposes"},
		"for a document beside":       {func(g *countersign.Grant) { g.Documents = []string{document(1)} }, "either documents, one request or purposes"},
		"for no purpose":              {func(g *countersign.Grant) { g.Purposes = []string{} }, "a grant for everything is no grant"},
		"for a purpose without name":  {func(g *countersign.Grant) { g.Purposes = []string{""} }, "is not a name"},
		"for every purpose by a star": {func(g *countersign.Grant) { g.Purposes = []string{"*"} }, "is not a name"},
		"for purposes unsorted":       {func(g *countersign.Grant) { slices.Reverse(g.Purposes) }, "sorted, each once"},
		"for a purpose twice":         {func(g *countersign.Grant) { g.Purposes = []string{"supply", "supply"} }, "sorted, each once"},
		"for too many purposes": {func(g *countersign.Grant) {
			g.Purposes = nil
			for n := range 51 {
				g.Purposes = append(g.Purposes, fmt.Sprintf("p%02d", n))
			}
		}, "at most 50 purposes"},
	} {
		g := goodCover()
		c.change(&g)
		switch err := g.Check(); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: said %v, want %q", name, err, c.want)
		}
	}
}

// A grant that is no cover keeps the name that it had before there was cover: its digest, as v0.1.0 computed it.
func TestR03_AGrantWithoutPurposesHasTheDigestThatItHad(t *testing.T) {
	t.Parallel()
	g := goodGrant()
	const before = "298d7751dcb331fae63a193667acd8edd407c327250e946b5f7a26e3b319da6d"
	for _, none := range [][]string{nil, {}} {
		g.Purposes = none
		if digest, err := g.Digest(); err != nil || digest != before {
			t.Errorf("its digest is %s (%v)", digest, err)
		}
	}
	raw, err := countersign.Canonical(g)
	if err != nil || strings.Contains(string(raw), "purposes") {
		t.Errorf("it is %s (%v)", raw, err)
	}
	cover, err := goodCover().Digest()
	if err != nil || cover == before {
		t.Errorf("the cover's digest is %s (%v)", cover, err)
	}
}

func TestR08_CoverBeginsAndEndsToTheSecond(t *testing.T) {
	t.Parallel()
	for at, want := range map[int64]string{999: "grant-not-yet", 1000: "", 1999: "", 2000: "grant-expired"} {
		got := ""
		if r := goodCover().Live(time.Unix(at, 999_999_999)); r != nil {
			got = r.Code
		}
		if got != want {
			t.Errorf("at %d it is %q, want %q", at, got, want)
		}
	}
}

// A part of cover is for fewer purposes, or for one request or documents of them; nothing else is made of cover, and cover is made of nothing less.
func TestR03_CoverNarrowsAndNothingWidensToCover(t *testing.T) {
	t.Parallel()
	part := func(of countersign.Grant, change func(*countersign.Grant)) []countersign.Grant {
		child := of
		child.Delegator, child.Grantee, child.Depth, child.Actions = remy, rona, 0, []string{countersign.GrantDecide}
		var err error
		if child.Parent, err = of.Digest(); err != nil {
			t.Fatal(err)
		}
		change(&child)
		return []countersign.Grant{of, child}
	}
	only := func(documents []string, request string, purposes ...string) func(*countersign.Grant) {
		return func(g *countersign.Grant) { g.Documents, g.Request, g.Purposes = documents, request, purposes }
	}
	forRequest := goodGrant()
	forRequest.Documents, forRequest.Request = nil, "PO-1"
	for name, c := range map[string]struct {
		chain []countersign.Grant
		want  string
	}{
		"the same purposes":    {part(goodCover(), func(*countersign.Grant) {}), ""},
		"fewer purposes":       {part(goodCover(), only(nil, "", "supply")), ""},
		"one request":          {part(goodCover(), only(nil, "PO-1")), ""},
		"documents":            {part(goodCover(), only([]string{document(1)}, "")), ""},
		"another purpose":      {part(goodCover(), only(nil, "", "lease")), "a purpose that its parent is not for"},
		"one purpose more":     {part(goodCover(), only(nil, "", "lease", "resale", "supply")), "a purpose that its parent is not for"},
		"made of documents":    {part(goodGrant(), only(nil, "", "supply")), "its parent for one request or for documents"},
		"made of a request":    {part(forRequest, only(nil, "", "supply")), "it is for another request than its parent"},
		"a longer window":      {part(goodCover(), func(g *countersign.Grant) { g.NotAfter++ }), "its window is not within its parent's"},
		"to somebody outside":  {part(goodCover(), func(g *countersign.Grant) { g.Grantee = outsider }), "own organisation"},
		"a request outside":    {part(goodCover(), func(g *countersign.Grant) { only(nil, "PO-1")(g); g.Grantee = outsider }), "no part of that leaves the organisation"},
		"documents outside":    {part(goodCover(), func(g *countersign.Grant) { only([]string{document(1)}, "")(g); g.Grantee = outsider }), "no part of that leaves the organisation"},
		"handed on once again": {part(goodCover(), func(g *countersign.Grant) { g.Depth, g.Actions = 1, []string{"decide", "delegate"} }), "as far as its parent, or further"},
	} {
		switch err := countersign.CheckChain(c.chain); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: said %v, want %q", name, err, c.want)
		}
	}
}

// The law of sub-grants with purposes in it: of whatever kind parent and child are, the chain reaches nothing that the parent doesn't, a part of cover
// stays among colleagues, and cover comes of cover alone.
func TestR03_NoPartOfCoverReachesBeyondIt(t *testing.T) {
	t.Parallel()
	ofCover, asCover := 0, 0
	law := func(t *rapid.T) {
		parent, child := scoped(t, "parent", remy, remy, remy, outsider), scoped(t, "child", rona, rona, rona, outsider)
		parent.Depth, child.Depth = rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "parent's depth"), rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "child's depth")
		child.Delegator = parent.Grantee
		var err error
		if child.Parent, err = parent.Digest(); err != nil {
			t.Fatal(err)
		}
		if countersign.CheckChain([]countersign.Grant{parent, child}) != nil {
			return
		}
		if len(parent.Purposes) > 0 {
			ofCover++
			if parent.Delegator.Issuer != child.Grantee.Issuer || child.Delegator.Issuer != child.Grantee.Issuer {
				t.Fatalf("a part of cover reaches %s", child.Grantee)
			}
		}
		if len(child.Purposes) > 0 {
			asCover++
			if len(parent.Purposes) == 0 || child.Depth > 0 {
				t.Fatalf("%+v is made of %+v", child, parent)
			}
		}
		for _, purpose := range []string{"lease", "resale", "supply", ""} {
			for _, request := range []string{"PO-1", "PO-2"} {
				for n := range 3 {
					alone := child.Covers("acme", purpose, request, document(n)) == nil
					above := parent.Covers("acme", purpose, request, document(n)) == nil
					// A child for a request or documents says nothing of purposes: that is why the chain is asked, each grant of it.
					if alone && !above && (len(parent.Purposes) == 0 || len(child.Purposes) > 0) {
						t.Fatalf("the child alone reaches %s of %s, document %d", request, purpose, n)
					}
				}
			}
		}
	}
	// Few draws are parts of cover, so it is tried until there were some.
	for rounds := 0; rounds < 50 && (ofCover == 0 || asCover == 0); rounds++ {
		rapid.Check(t, law)
	}
	if ofCover == 0 || asCover == 0 {
		t.Errorf("%d parts of cover, %d of them cover: the law was not tried", ofCover, asCover)
	}
}

// scoped draws a grant of any scope to one of those people.
func scoped(t *rapid.T, name string, to ...countersign.Actor) countersign.Grant {
	g := goodCover()
	g.Grantee = rapid.SampledFrom(to).Draw(t, name+" grantee")
	g.Purposes = nil
	switch rapid.SampledFrom([]string{"purposes", "purposes", "documents", "request"}).Draw(t, name+" scope") {
	case "purposes":
		g.Purposes = rapid.SampledFrom([][]string{{"supply"}, {"resale", "supply"}, {"lease"}}).Draw(t, name+" purposes")
	case "documents":
		g.Documents = rapid.SampledFrom([][]string{{document(1)}, {document(1), document(2)}}).Draw(t, name+" documents")
	case "request":
		g.Request = rapid.SampledFrom([]string{"PO-1", "PO-2"}).Draw(t, name+" request")
	}
	return g
}
