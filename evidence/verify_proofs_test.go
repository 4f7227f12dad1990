package evidence

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// What was proven of a decision is proven of that decision alone. The signing step's copy of it, with another login, is checked for itself.
func TestR15_TheSigningStepsDecisionsAreProvenByTheirOwnProofs(t *testing.T) {
	t.Parallel()
	raw, roots := completedBundle(t)
	b, err := OpenBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := b.VerifySeal(roots)
	if err != nil {
		t.Fatal(err)
	}
	v := &verifier{b: b, roots: roots, report: &Report{Seal: &facts}}
	if history, statement := v.readRecord(); history != nil || statement != nil {
		t.Fatal(history, statement)
	}
	v.signed = v.readDecisions()
	if err := v.decisions(); err != nil {
		t.Fatal(err)
	}
	if err := v.quorum(); err != nil {
		t.Fatalf("the true one: %v", err)
	}
	given := v.c.SignInput.Decisions
	if len(given) < 2 || v.find(given[0]) < 0 || v.find(given[1]) < 0 {
		t.Fatal("the signing step's decisions are not those of the history")
	}
	for what, change := range map[string]func(*CountedDecision){
		"a login that is forged": func(c *CountedDecision) {
			token := strings.Split(c.Signed.Proof.IDToken, ".")
			token[2] = strings.Repeat("A", len(token[2]))
			c.Signed.Proof.IDToken = strings.Join(token, ".")
		},
		"the login of somebody else":     func(c *CountedDecision) { c.Signed.Proof.IDToken = given[1].Signed.Proof.IDToken },
		"no login":                       func(c *CountedDecision) { c.Signed.Proof.IDToken = "" },
		"another issuer's key":           func(c *CountedDecision) { c.Key = []byte(`{}`) },
		"grants that it doesn't have":    func(c *CountedDecision) { c.Authority = &Authority{} },
		"an enrolled key that is nobody": func(c *CountedDecision) { c.Enrolled = &KeyRecord{} },
		"a signature of no enrolled key": func(c *CountedDecision) { c.Signed.Proof.Key = &countersign.KeyProof{} },
	} {
		changed := given[0]
		change(&changed)
		v.c.SignInput.Decisions = []CountedDecision{changed, given[1]}
		if v.quorum() == nil {
			t.Errorf("%s: there is a quorum", what)
		}
	}
}
