package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// An activity's input is only what the saga said of the signing. What a verifier takes from one has to be what intake admitted, whose digest people
// approved: a kind answer about another document, requester or policy would do otherwise.

// checkedFor checks that a decision was checked for this signing, as intake froze it.
func (v *verifier) checkedFor(in CheckInput) error {
	a := v.c.Admission
	switch {
	case in.Saga != v.c.Saga || in.Tenant != a.Context.Tenant || in.Context != a.Digest:
		return errors.New("it was checked for another transaction")
	case in.Document != a.Context.Document:
		return errors.New("it was checked for another document than the transaction's")
	case in.Policy != a.Context.Policy || in.PolicyText != a.PolicyText:
		return errors.New("it was checked under another policy than the signing is frozen to")
	case in.Requester != a.Context.Requester:
		return errors.New("it was checked as if somebody else had requested the signing")
	case !reflect.DeepEqual(in.BreakGlass, a.Plan.BreakGlass):
		return errors.New("it was checked with other people who may break the glass than the plan's")
	case in.Purpose != "" && in.Purpose != a.Plan.Purpose:
		return errors.New("it was checked for another purpose than the plan's")
	}
	for _, s := range in.Stages {
		if own, ok := a.Plan.Stage(s.Name); !ok || !reflect.DeepEqual(s, own) {
			return fmt.Errorf("it was checked for a stage %q that is not the plan's", s.Name)
		}
	}
	return nil
}

// signedFor checks that the key was asked for this signing, as intake froze it: who requested it, the document and the plan.
func (v *verifier) signedFor() error {
	in, a := v.c.SignInput, v.c.Admission
	if in == nil {
		return nil
	}
	digest, err := in.Context.Digest()
	if err != nil {
		return err
	}
	switch {
	case digest != a.Digest || in.Digest != a.Digest:
		return errors.New("the signature was asked for another transaction")
	case in.Request != v.c.Input.Request.ID:
		return errors.New("the signature was asked for another request")
	}
	return nil
}

// admitted is what the key was asked for, with all but the decisions from the admission.
func (v *verifier) admitted() SignInput {
	a := v.c.Admission
	return SignInput{Request: v.c.Input.Request.ID, Context: a.Context, Digest: a.Digest, Plan: a.Plan, Decisions: v.c.SignInput.Decisions}
}

// ownRecord checks that the record of a decision that counted, which the statement repeats, says what the decision and its proofs do.
func ownRecord(c *Check, signed countersign.SignedDecision, login identity.Facts) error {
	d, r := signed.Decision, c.Record
	switch {
	case r.ID != signed.ID || r.Actor != d.Actor || r.Stage != d.Stage || r.Verdict != d.Verdict:
		return errors.New("the record says something else than the decision")
	// Records of v0.2.0 name none.
	case len(r.Delegators) > 0 && !slices.Equal(r.Delegators, c.Authority.Delegators()):
		return errors.New("the record names other delegators than the grants do")
	case c.Facts.Actor != d.Actor:
		return errors.New("the record has the proof of another person")
	case !c.Facts.AuthTime.Equal(login.AuthTime) || !c.Facts.IssuedAt.Equal(login.IssuedAt) || c.Facts.ACR != login.ACR || !slices.Equal(c.Facts.AMR, login.AMR):
		return errors.New("the record tells the login otherwise than its ID token does")
	case (c.Facts.EnrolledKey != nil) != (signed.Proof.Key != nil) || c.Facts.EnrolledKey != nil && c.Facts.EnrolledKey.Key != signed.Proof.Key.Key:
		return errors.New("the record names another key than the one that signed the decision")
	case c.Facts.Assurance != Assurance(c.Key):
		return errors.New("the record gives it another assurance than its proofs do")
	}
	return nil
}

// requested checks that the policy was asked at intake about this request, by whom people approved as its requester.
func (v *verifier) requested() error {
	a := v.c.Admission
	who := a.Question.Principal
	want := policy.Question{
		Action: policy.Request, Principal: who, Now: a.At,
		Resource: policy.Resource{Signing: a.Context.Signing, Tenant: a.Context.Tenant, Requester: &a.Context.Requester},
	}
	same, err := sameQuestion(want, *a.Question)
	if err != nil {
		return err
	}
	if !same || who.Actor != a.Context.Requester || who.Kind != a.Requester.Kind || !slices.Equal(who.Roles, a.Requester.Roles) {
		return errors.New("intake: the policy was asked about something else")
	}
	return nil
}

func sameQuestion(a, b policy.Question) (bool, error) {
	x, err := countersign.Canonical(a)
	if err != nil {
		return false, err
	}
	y, err := countersign.Canonical(b)
	return bytes.Equal(x, y), err
}

// inTime checks that what a decision stands on was there when its check ended: no grant was given or taken, and no key enrolled, afterwards.
func (d DecisionCase) inTime() error {
	until := d.Ended.Add(StampTolerance)
	if k := d.Check.Key; k != nil && k.Proven != nil && k.Proven.At.After(until) {
		return errors.New("its key was enrolled after the decision was checked")
	}
	if d.Check.Authority == nil {
		return nil
	}
	for _, g := range d.Check.Authority.Grants {
		if g.Given != nil && g.Given.At.After(until) || g.Taken != nil && g.Taken.At.After(until) {
			return errors.New("a grant was given or taken after the decision was checked")
		}
	}
	return nil
}
