package evidence

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// The context says by its version whether it names the identity providers. Of version 1 it names none, and the report says so; of version 2 it
// can't leave them out.
func TestR13_TheIdentityProvidersAreThoseOfTheContext(t *testing.T) {
	t.Parallel()
	trusted := []countersign.Issuer{
		{ID: "acme", URL: "https://id.acme.example", Kind: "home", Organisation: "Acme", Audience: "countersign", EvidenceAudience: "evidence"},
		{ID: "hart", URL: "https://id.hart.example", Kind: "partner", Organisation: "Hart LLP", Audience: "countersign", EvidenceAudience: "evidence"},
	}
	digest, err := countersign.IssuersDigest(trusted)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func([]countersign.Issuer) []countersign.Issuer) []countersign.Issuer {
		return change(slices.Clone(trusted))
	}
	for name, c := range map[string]struct {
		version int
		named   string
		issuers []countersign.Issuer
		state   State
		says    string
	}{
		"as approved":                            {2, digest, trusted, Pass, "the 2 identity providers"},
		"of version 1":                           {1, "", trusted, NotRecorded, "did not name them"},
		"of version 1, naming them all the same": {1, digest, trusted, Fail, "version 1"},
		"of version 2, naming none":              {2, "", trusted, Fail, "names none"},
		"of a version to come":                   {3, digest, trusted, Fail, "version 3"},
		"of no version":                          {0, "", trusted, Fail, "version 0"},
		"one more": {2, digest, with(func(l []countersign.Issuer) []countersign.Issuer {
			return append(l, countersign.Issuer{ID: "more", URL: "https://id.more.example", Kind: "partner"})
		}), Fail, "not those that people approved"},
		"one less": {2, digest, trusted[:1], Fail, "not those that people approved"},
		"a partner made the tenant's own": {2, digest, with(func(l []countersign.Issuer) []countersign.Issuer {
			l[1].Kind = "home"
			return l
		}), Fail, "not those that people approved"},
		"another audience": {2, digest, with(func(l []countersign.Issuer) []countersign.Issuer {
			l[0].EvidenceAudience = "countersign"
			return l
		}), Fail, "not those that people approved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &verifier{report: &Report{}, c: &Case{Admission: &Admission{Context: countersign.Context{V: c.version, Issuers: c.named}, Issuers: c.issuers}}}
			v.issuers()
			if f := v.report.Findings; len(f) != 1 || f[0].Check != checkIssuers || f[0].State != c.state || !strings.Contains(f[0].Detail, c.says) {
				t.Errorf("it is found as %v, want %s: %s", f, c.state, c.says)
			}
		})
	}
}
