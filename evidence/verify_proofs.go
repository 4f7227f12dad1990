package evidence

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

// proofs are what the counted decisions are proven by, kind by kind: a report tells a forged login from a forged grant.
type proofs struct {
	tokens, keys, grants proofKind
}

type proofKind struct {
	looked int
	err    error // the first that was found, with its file
}

func (k *proofKind) add(file string, err error) error {
	k.looked++
	if err != nil && k.err == nil {
		k.err = fmt.Errorf("%s: %w", file, err)
	}
	return err
}

// proven checks all proofs of one counted decision, also after one was found wrong. It returns what its ID token and its key say, and the first fault.
func (p *proofs) proven(file string, counted CountedDecision, digest string, issuers []countersign.Issuer) (out provenDecision) {
	out.counted = &counted
	var faults [3]error
	if counted.Authority != nil || counted.Signed.Decision.OnBehalfOf != nil {
		faults[0] = p.grants.add(file, verifyChainOfGrants(counted, issuers))
	}
	if counted.Enrolled != nil || counted.Signed.Proof.Key != nil {
		key, err := verifyOwnKey(counted, digest, issuers)
		out.key, faults[1] = key, p.keys.add(file, err)
	}
	facts, err := verifyLogin(counted, digest, issuers)
	out.login = facts
	if err == nil && facts.Actor != counted.Signed.Decision.Actor {
		err = fmt.Errorf("it is of another person than %s", counted.Signed.Decision.Actor)
	}
	faults[2] = p.tokens.add(file, err)
	for _, err := range faults {
		if err != nil {
			out.err = err
			break
		}
	}
	return out
}

// report gives each kind its line.
func (p *proofs) report(r *Report) {
	for _, k := range []struct {
		check, passed, none string
		proofKind
	}{
		{checkTokens, "%d counted decisions, each by a fresh login that names it, at the person's own identity provider", noneDecided, p.tokens},
		{checkOwnKeys, "%d signed by an enrolled key of the person's own as well", "no counted decision was signed by an enrolled key", p.keys},
		{checkGrants, "%d made for somebody else, under grants that were given, accepted and in force", "nobody decided for somebody else", p.grants},
	} {
		if k.looked == 0 {
			r.notRecorded(k.check, k.none)
			continue
		}
		r.note(k.check, k.err, fmt.Sprintf(k.passed, k.looked))
	}
}

// provenDecision is a decision that counted, with what became of its proofs; nil where none was looked at.
type provenDecision struct {
	counted *CountedDecision
	login   identity.Facts
	key     identity.KeyUse // zero where no key of the person's own signed it
	err     error
}

// find is the decision of the history that the signing step was given, where both are the same in all that a proof depends on; -1 for any other.
func (v *verifier) find(counted CountedDecision) int {
	return slices.IndexFunc(v.proven, func(p provenDecision) bool {
		return p.counted != nil && reflect.DeepEqual(*p.counted, counted)
	})
}
