package evidence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

var (
	absent    = countersign.Actor{Issuer: "https://id.acme.example", Subject: "alice"}
	colleague = countersign.Actor{Issuer: "https://id.acme.example", Subject: "olivia"}
	another   = countersign.Actor{Issuer: "https://id.acme.example", Subject: "ben"}
	partner   = countersign.Actor{Issuer: "https://id.hart.example", Subject: "carol"}
	fellow    = countersign.Actor{Issuer: "https://id.hart.example", Subject: "chris"}

	trusted = []countersign.Issuer{{URL: "https://id.acme.example", Kind: "home"}, {URL: "https://id.hart.example", Kind: "partner"}}
)

// chainOf is an authority of grants that were taken, the first by whoever holds the role.
func chainOf(t interface{ Fatal(...any) }, grants ...countersign.Grant) *Authority {
	a := &Authority{HolderRoles: []string{"legal"}}
	for i, g := range grants {
		if i > 0 {
			var err error
			if g.Parent, err = grants[i-1].Digest(); err != nil {
				t.Fatal(err)
			}
		}
		grants[i] = g
		a.Grants = append(a.Grants, GrantRecord{Grant: countersign.SignedGrant{Grant: g}, Accepted: &countersign.SignedAcceptance{}, State: countersign.GrantActive})
	}
	return a
}

func lentTo(from, to countersign.Actor) countersign.Grant {
	return countersign.Grant{V: 1, Tenant: "acme", Delegator: from, Grantee: to, Role: "legal", Actions: []string{"decide", "delegate"}, NotBefore: 1000, NotAfter: 2000, Depth: 1, Uses: 9}
}

// The signing step doesn't ask the policy. It compares what is to be signed with each grant of the chain, as the verifier does.
func TestR03_TheSigningStepRefusesWhatACoverIsNotFor(t *testing.T) {
	t.Parallel()
	cover := lentTo(absent, colleague)
	cover.Purposes = []string{"supply"}
	part := lentTo(colleague, another)
	part.Request, part.Depth = "PO-1", 0
	legal := countersign.Stage{Name: "legal", Eligible: []countersign.Eligible{{Actor: absent}}}
	in := SignInput{
		Plan:    countersign.Plan{Purpose: "supply"},
		Context: countersign.Context{Tenant: "acme", Signing: countersign.SagaID("acme", "PO-1"), Document: countersign.Object{SHA256: strings.Repeat("a", 64)}},
	}
	for name, c := range map[string]struct {
		authority *Authority
		purpose   string
		want      string
	}{
		"no grant":                   {nil, "resale", ""},
		"the cover's purpose":        {chainOf(t, cover), "supply", ""},
		"another purpose":            {chainOf(t, cover), "resale", "grant-other-purpose"},
		"no purpose":                 {chainOf(t, cover), "", "grant-other-purpose"},
		"a part":                     {chainOf(t, cover, part), "supply", ""},
		"a part, of another purpose": {chainOf(t, cover, part), "resale", "grant-other-purpose"},
	} {
		in.Plan.Purpose = c.purpose
		got := ""
		if refusal := c.authority.covers(in, legal); refusal != nil {
			got = refusal.Code
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	in.Plan.Purpose = "supply"
	onlyPart := lentTo(absent, colleague)
	onlyPart.Request = "PO-1"
	for name, who := range map[string]countersign.Eligible{"a partner": {Actor: absent, Partner: true}, "nobody": {Actor: another}} {
		legal.Eligible = []countersign.Eligible{who}
		if refusal := chainOf(t, cover).covers(in, legal); refusal == nil || refusal.Code != "cover-is-by-a-colleague" {
			t.Errorf("where the plan names whom is covered for as %s: %v", name, refusal)
		}
		if refusal := chainOf(t, onlyPart).covers(in, legal); refusal != nil {
			t.Errorf("a grant for one request is none of its business: %v", refusal)
		}
	}
	if refusal := new(Authority).covers(in, legal); refusal != nil {
		t.Errorf("an authority without a grant is for its chain to refuse: %v", refusal)
	}
	if refusal := new(Authority).Chain("acme", absent, colleague, nil); refusal == nil || refusal.Code != "grant-chain" {
		t.Errorf("a chain of nothing is %v", refusal)
	}
	legal.Eligible, in.Context.Signing = []countersign.Eligible{{Actor: absent}}, countersign.SagaID("acme", "PO-2")
	if refusal := chainOf(t, cover, part).covers(in, legal); refusal == nil || refusal.Code != "grant-other-signing" {
		t.Errorf("a part for one request reaches another: %v", refusal)
	}
}

// Partners have no standing access: a chain with cover in it is of one organisation, and of the tenant's own. The proofs are not even looked at.
func TestR20_CoverOfOrToAPartnerIsNotBelieved(t *testing.T) {
	t.Parallel()
	cover := func(from, to countersign.Actor) countersign.Grant {
		g := lentTo(from, to)
		g.Purposes = []string{"supply"}
		return g
	}
	part := func(from, to countersign.Actor) countersign.Grant {
		g := lentTo(from, to)
		g.Request, g.Depth = "PO-1", 0
		return g
	}
	const abroad = "lead to another organisation"
	for name, c := range map[string]struct {
		chain []countersign.Grant
		want  string
	}{
		"between colleagues":  {[]countersign.Grant{cover(absent, colleague)}, "no proof"},
		"to a partner":        {[]countersign.Grant{cover(absent, partner)}, abroad},
		"of a partner":        {[]countersign.Grant{cover(partner, fellow)}, "no issuer of the tenant's own"},
		"a part to a partner": {[]countersign.Grant{cover(absent, colleague), part(colleague, partner)}, abroad},
		"a part at home":      {[]countersign.Grant{cover(absent, colleague), part(colleague, another)}, "no proof"},
		"not cover":           {[]countersign.Grant{part(partner, fellow)}, "no proof"},
	} {
		if err := chainOf(t, c.chain...).Verify(trusted); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: said %v, want %q", name, err, c.want)
		}
	}
	if err := chainOf(t, cover(absent, colleague)).Verify(nil); err == nil || !strings.Contains(err.Error(), "no issuer of the tenant's own") {
		t.Errorf("without any issuer it says %v", err)
	}
}

// Whatever the policy allows under a chain of grants, each grant of the chain is for: the question is put together so that nothing above is lost.
func TestR03_ThePolicyAllowsNothingThatAGrantOfTheChainIsNotFor(t *testing.T) {
	t.Parallel()
	engine, err := policy.NewEngine(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	allowed, narrowed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		scope := func(g countersign.Grant, name string) countersign.Grant {
			switch rapid.SampledFrom([]string{"purposes", "purposes", "request", "documents"}).Draw(t, name) {
			case "purposes":
				g.Purposes = rapid.SampledFrom([][]string{{"supply"}, {"resale", "supply"}}).Draw(t, name+" purposes")
			case "request":
				g.Request = rapid.SampledFrom([]string{"PO-1", "PO-2"}).Draw(t, name+" request")
			case "documents":
				g.Documents = []string{rapid.SampledFrom([]string{strings.Repeat("a", 64), strings.Repeat("b", 64)}).Draw(t, name+" document")}
			}
			return g
		}
		grants := []countersign.Grant{scope(lentTo(absent, colleague), "first")}
		if rapid.Bool().Draw(t, "handed on") {
			second := scope(lentTo(colleague, another), "second")
			second.Depth = 0
			grants = append(grants, second)
		}
		a := chainOf(t, grants...)
		if countersign.CheckChain(grants) != nil {
			return
		}
		purpose := rapid.SampledFrom([]string{"supply", "resale", ""}).Draw(t, "purpose")
		request := rapid.SampledFrom([]string{"PO-1", "PO-2"}).Draw(t, "request")
		document := strings.Repeat(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "document"), 64)
		last := grants[len(grants)-1]
		q := DecideQuestion(
			CheckInput{Saga: Execution{Workflow: countersign.SagaID("acme", request)}, Tenant: "acme", Requester: partner, Purpose: purpose, Document: countersign.Object{SHA256: document}},
			countersign.Decision{Stage: "legal"},
			countersign.Stage{Name: "legal", Role: "legal", Deadline: time.Unix(9000, 0), Eligible: []countersign.Eligible{{Actor: absent}}},
			policy.Principal{Actor: last.Grantee, Kind: "home", Tenants: []string{"acme"}}, a, 1, time.Unix(1500, 0))
		answer := engine.Ask(q)
		covered := !slices.ContainsFunc(grants, func(g countersign.Grant) bool { return g.Covers("acme", purpose, request, document) != nil })
		if answer.Allowed != covered {
			t.Fatalf("allowed %v (%v), and the chain is for it: %v\n%+v", answer.Allowed, answer.Policies, covered, q)
		}
		if covered {
			allowed++
			if len(grants) > 1 {
				narrowed++
			}
		}
	})
	if allowed == 0 || narrowed == 0 {
		t.Error(fmt.Sprint("allowed ", allowed, ", by chains ", narrowed, ": the law was not tried"))
	}
}
