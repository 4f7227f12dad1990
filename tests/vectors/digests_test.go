package vectors

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// digest is one vector: the value as JSON, its canonical bytes (RFC 8785) as a string, and SHA-256(domain ‖ 0 ‖ canonical) in hex.
type digest struct {
	About     string          `json:"about"`
	Domain    string          `json:"domain"`
	Value     json.RawMessage `json:"value"`
	Canonical string          `json:"canonical"`
	Digest    string          `json:"digest"`
}

// kinds are the domains with the types that have a digest under them.
var kinds = map[string]func() any{
	"countersign request v1":    func() any { return &countersign.Request{} },
	"countersign plan v1":       func() any { return &countersign.Plan{} },
	"countersign context v1":    func() any { return &countersign.Context{} },
	"countersign issuers v1":    func() any { return &[]countersign.Issuer{} },
	"countersign decision v1":   func() any { return &countersign.Decision{} },
	"countersign grant v1":      func() any { return &countersign.Grant{} },
	"countersign acceptance v1": func() any { return &countersign.Acceptance{} },
	"countersign enrolment v1":  func() any { return &countersign.Enrolment{} },

	"countersign order v1":        func() any { return &countersign.Order{} },
	"countersign order answer v1": func() any { return &countersign.OrderAnswer{} },

	"countersign shredding v1":        func() any { return &countersign.Shredding{} },
	"countersign shredding answer v1": func() any { return &countersign.OrderAnswer{} },
}

func TestR15_VectorsOfDigests(t *testing.T) {
	t.Parallel()
	list := vectors(t, "digests.json", digests)
	seen := map[string]bool{}
	for _, v := range list {
		kind, ok := kinds[v.Domain]
		if !ok {
			t.Fatalf("%s: nothing has digests in the domain %q", v.About, v.Domain)
		}
		seen[v.Domain] = true
		value := kind()
		if err := countersign.ParseStrict(v.Value, value); err != nil {
			t.Fatalf("%s: %v", v.About, err)
		}
		if own := digestOf(value); own != v.Digest {
			t.Errorf("%s: the digest is %s, not %s", v.About, own, v.Digest)
		}
		if canonical := must(countersign.Canonical(value)); string(canonical) != v.Canonical {
			t.Errorf("%s: the canonical bytes are %s", v.About, canonical)
		}
		if plain := countersign.SHA256([]byte(v.Domain + "\x00" + v.Canonical)); plain != v.Digest {
			t.Errorf("%s: SHA-256 over domain, zero and canonical bytes is %s", v.About, plain)
		}
	}
	if len(seen) != len(kinds) {
		t.Errorf("there are vectors for %d of %d domains", len(seen), len(kinds))
	}
}

// Each domain that the documentation names is one of the code, and the other way round.
func TestR15_EveryDigestDomainIsDocumented(t *testing.T) {
	t.Parallel()
	format, err := os.ReadFile("../../docs/evidence-format.md")
	if err != nil {
		t.Fatal(err)
	}
	for domain := range kinds {
		if !strings.Contains(string(format), "`"+domain+"`") {
			t.Errorf("docs/evidence-format.md doesn't name the domain %q", domain)
		}
	}
	files, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		code, err := os.ReadFile("../../" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, rest := range strings.Split(string(code), ` Digest("`)[1:] {
			domain, _, _ := strings.Cut(rest, `"`)
			found++
			if kinds[domain] == nil {
				t.Errorf("%s has digests in the domain %q, for which there are no vectors", f.Name(), domain)
			}
		}
	}
	if found != len(kinds) {
		t.Errorf("the code has %d domains, the vectors %d", found, len(kinds))
	}
}

func digestOf(value any) string {
	switch v := value.(type) {
	case *countersign.Request:
		return must(v.Fingerprint())
	case *[]countersign.Issuer:
		return must(countersign.IssuersDigest(*v))
	case interface{ Digest() (string, error) }:
		return must(v.Digest())
	}
	panic("it has no digest")
}

var (
	requester = countersign.Actor{Issuer: "https://id.acme.example", Subject: "procurement"}
	alice     = countersign.Actor{Issuer: "https://id.acme.example", Subject: "a-1001"}
	ben       = countersign.Actor{Issuer: "https://id.acme.example", Subject: "a-1002"}
	clara     = countersign.Actor{Issuer: "https://id.acme.example", Subject: "a-1003"}
	carol     = countersign.Actor{Issuer: "https://id.hart.example", Subject: "h-7"}
	rhea      = countersign.Actor{Issuer: "https://id.nord.example", Subject: "n-1"}
	remy      = countersign.Actor{Issuer: "https://id.nord.example", Subject: "n-2"}

	noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
)

var shredding = countersign.Shredding{
	V: 1, Tenant: "acme", Person: alice, Reason: "erasure asked for in DSR-2026-17", Nonce: strings.Repeat("5e", 32), Actor: ben, IssuedAt: noon.Unix(),
}

func eligible(name, organisation string, who countersign.Actor, roles ...string) countersign.Eligible {
	return countersign.Eligible{Actor: who, Name: name, Organisation: organisation, Partner: organisation != "Acme", Roles: roles}
}

func request() countersign.Request {
	return countersign.Request{
		V: 1, Tenant: "acme", ID: "PO-4711", Purpose: "supplier-contract", Title: "Liefervertrag – „Größe & Maß“ <2026>",
		Document: countersign.Document{Bucket: "documents", Key: "acme/documents/" + countersign.SHA256([]byte("%PDF")) + ".pdf", VersionID: "v-1", SHA256: countersign.SHA256([]byte("%PDF"))},
	}
}

// plan has everything in it that a plan can have.
func plan() countersign.Plan {
	owner := eligible("Clara Owner", "Acme", clara)
	return countersign.Plan{
		Purpose: "supplier-contract", Title: "Supplier contract", Owner: &owner,
		Stages: []countersign.Stage{
			{
				Name: "legal", Role: "legal", Quorum: 2, Deadline: noon.Add(48 * time.Hour), Assurance: 2,
				Eligible: []countersign.Eligible{eligible("Alice", "Acme", alice), eligible("Ben", "Acme", ben, "counsel"), eligible("Carol", "Hart LLP", carol, "counsel")},
				AtLeast:  []countersign.Share{{Count: 1, Role: "counsel"}}, Without: []string{"https://id.nord.example"},
				Reminders: []time.Time{noon.Add(24 * time.Hour)},
			},
			{
				Name: "resale", Role: "reseller", Quorum: 1, Deadline: noon.Add(48 * time.Hour), Beside: true,
				Eligible:   []countersign.Eligible{eligible("Rhea", "Nord", rhea)},
				Escalation: &countersign.Escalation{At: noon.Add(12 * time.Hour), Role: "cfo", Eligible: []countersign.Eligible{eligible("Clara Owner", "Acme", clara)}},
			},
		},
		BreakGlass: &countersign.BreakGlass{Role: "duty-officer", Quorum: 2, Eligible: []countersign.Eligible{eligible("Ben", "Acme", ben), eligible("Clara Owner", "Acme", clara)}},
	}
}

func transaction() countersign.Context {
	return countersign.Context{
		V: 2, Tenant: "acme", Signing: "saga/acme/PO-4711", Run: "8c0c6a4e-3c51-4c7e-9d0e-1f8a8e5b7a11", Request: must(request().Fingerprint()), Requester: requester,
		Document: request().Document, Plan: must(plan().Digest()), Policy: countersign.SHA256([]byte("permit (principal, action, resource);")), Settings: countersign.SHA256([]byte("tenant: acme\n")), Stamped: true,
		Issuers: must(countersign.IssuersDigest(trusted())),
	}
}

func trusted() []countersign.Issuer {
	return []countersign.Issuer{
		{ID: "acme", URL: "https://id.acme.example", Kind: "home", Organisation: "Acme", Audience: "countersign", EvidenceAudience: "countersign-evidence"},
		{ID: "hart", URL: "https://id.hart.example", Kind: "partner", Organisation: "Hart & Söhne", Audience: "countersign", EvidenceAudience: "countersign-evidence"},
	}
}

func decision(who countersign.Actor, stage string, verdict countersign.Verdict, reason string) countersign.Decision {
	c := transaction()
	return countersign.Decision{
		V: 1, Tenant: c.Tenant, Signing: c.Signing, Run: c.Run, Stage: stage, Context: must(c.Digest()), Document: c.Document, Verdict: verdict, Reason: reason,
		Actor: who, Grants: []string{}, Policy: c.Policy, IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300,
	}
}

func grant() countersign.Grant {
	return countersign.Grant{
		V: 1, Tenant: "acme", Delegator: rhea, Grantee: remy, Role: "reseller", Actions: []string{"decide"}, Documents: []string{}, Request: "PO-4711",
		NotBefore: noon.Unix(), NotAfter: noon.Unix() + 86400, Uses: 1, Reason: "Kunde wartet\n(siehe \"Anlage\")", IssuedAt: noon.Unix(),
	}
}

// cover is a grant over purposes that may be handed on once, and part is a part of it.
func cover() (whole, part countersign.Grant) {
	whole = countersign.Grant{
		V: 1, Tenant: "acme", Delegator: alice, Grantee: ben, Role: "legal", Actions: []string{"decide", "delegate"}, Documents: []string{}, Purposes: []string{"nda", "supplier-contract"},
		NotBefore: noon.Unix(), NotAfter: noon.Unix() + 20*86400, Depth: 1, Uses: 50, Reason: "on leave", IssuedAt: noon.Unix(),
	}
	part = whole
	part.Delegator, part.Grantee, part.Actions, part.Purposes, part.Depth, part.Uses, part.Reason = ben, clara, []string{"decide"}, []string{"supplier-contract"}, 0, 5, "ill for a day"
	part.NotAfter, part.Parent, part.IssuedAt = noon.Unix()+2*86400, must(whole.Digest()), noon.Unix()+3600
	return whole, part
}

func digests() []digest {
	lent := decision(remy, "resale", countersign.Approve, "")
	lent.OnBehalfOf, lent.Grants = &rhea, []string{must(grant().Digest())}
	whole, part := cover()
	deadlines := request()
	deadlines.Deadlines = map[string]time.Time{"resale": noon.Add(48 * time.Hour), "legal": noon.Add(36*time.Hour + 500*time.Millisecond)}
	short := plan()
	short.Stages, short.BreakGlass, short.Owner = short.Stages[1:], nil, nil
	short.Stages[0].Beside, short.Stages[0].Escalation = false, nil
	sealed := transaction()
	sealed.SignedAs, sealed.VisibleSeal = countersign.SignedInPDF, &countersign.VisibleSeal{
		V: 1, Page: "last", Corner: "bottom-right", X: 24, Y: 12, Width: 200, Height: 52, Name: "Acme & Söhne", Color: "#0b5394",
		Logo: &countersign.Logo{Width: 1, Height: 1, Pixels: []byte("\x78\x01\x01\x03\x00\xfc\xff\x01\x02\x03\x00\x0d\x00\x07")},
	}
	var list []digest
	for _, v := range []struct {
		about, domain string
		value         any
	}{
		{"a request", "countersign request v1", request()},
		{"a request with deadlines, one with a fraction of a second", "countersign request v1", deadlines},
		{"a plan of one stage", "countersign plan v1", short},
		{"a plan with everything in it", "countersign plan v1", plan()},
		{"the context of the transaction", "countersign context v1", transaction()},
		{"the context of a transaction with a visible seal", "countersign context v1", sealed},
		{"the identity providers", "countersign issuers v1", trusted()},
		{"an approval", "countersign decision v1", decision(alice, "legal", countersign.Approve, "")},
		{"a rejection with a reason of many scripts", "countersign decision v1", decision(carol, "legal", countersign.Reject, "§ 4 fehlt – 第四条 – 𝄞\n\t\"no\" \\ <&> \u2028\u00a0/")},
		{"an approval under a grant", "countersign decision v1", lent},
		{"a decision that breaks the glass", "countersign decision v1", decision(ben, "legal", countersign.Skip, "the offer ends today")},
		{"a grant for one request", "countersign grant v1", grant()},
		{"a grant over purposes", "countersign grant v1", whole},
		{"a part of it", "countersign grant v1", part},
		{"the acceptance of the grant for one request", "countersign acceptance v1", countersign.Acceptance{V: 1, Tenant: "acme", Grant: must(grant().Digest()), Actor: remy, IssuedAt: noon.Unix() + 60}},
		{"an order to hold evidence", "countersign order v1", order(countersign.OrderHold)},
		{"an order to retain evidence longer", "countersign order v1", order(countersign.OrderRetain)},
		{"the approval of the order to hold", "countersign order answer v1", countersign.OrderAnswer{
			V: 1, Tenant: "acme", Order: must(order(countersign.OrderHold).Digest()), Verdict: countersign.Approve, Actor: ben, IssuedAt: noon.Unix() + 60,
		}},
		{"a proposal to shred what is said of somebody", "countersign shredding v1", shredding},
		{"the approval of it", "countersign shredding answer v1", countersign.OrderAnswer{
			V: 1, Tenant: "acme", Shredding: must(shredding.Digest()), Key: strings.Repeat("0a", 16), Verdict: countersign.Approve, Actor: clara, IssuedAt: noon.Unix() + 60,
		}},
		{"the enrolment of a passkey", "countersign enrolment v1", countersign.Enrolment{
			V: 1, Tenant: "acme", Actor: alice, Kind: "passkey", Credential: "Y3JlZGVudGlhbA", PublicKey: "pQECAyYgASFYIA", RelyingID: "sign.acme.example",
			Origins: []string{"https://sign.acme.example"}, IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300,
		}},
		{"the enrolment of a device key", "countersign enrolment v1", countersign.Enrolment{
			V: 1, Tenant: "acme", Actor: alice, Kind: "device", Credential: "dGh1bWJwcmludA", PublicKey: "eyJrdHkiOiJFQyJ9", IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300,
		}},
	} {
		list = append(list, digest{v.about, v.domain, must(json.Marshal(v.value)), string(must(countersign.Canonical(v.value))), must(countersign.Digest(v.domain, v.value))})
	}
	return list
}

func order(act string) countersign.Order {
	o := countersign.Order{
		V: 1, Tenant: "acme", Request: "PO-4711", Act: act, Matter: "12 O 34/26", Reason: "claim by the supplier", Actor: alice, IssuedAt: noon.Unix(),
		Bundle: countersign.Object{Bucket: "evidence", Key: "acme/evidence/PO-4711.asice", VersionID: "v1", SHA256: countersign.SHA256([]byte("bundle"))},
	}
	if act == countersign.OrderRetain {
		o.Matter, o.Until = "", noon.AddDate(20, 0, 0).Unix()
	}
	return o
}
