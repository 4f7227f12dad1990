package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
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
	// Builds before contexts of version 2 may not have had these two.
	if a.Context.V > 1 && (in.Purpose == "" || len(in.Issuers) == 0) {
		return errors.New("it was checked without the purpose or the identity providers that the signing is frozen to")
	}
	at := 0
	for _, s := range in.Stages {
		own := slices.IndexFunc(a.Plan.Stages, func(p countersign.Stage) bool { return p.Name == s.Name })
		if own < at || !reflect.DeepEqual(s, a.Plan.Stages[own]) {
			return fmt.Errorf("it was checked for a stage %q that is not the plan's, or not in its order", s.Name)
		}
		at = own + 1
	}
	return nil
}

// admittedFor checks that intake was asked about this request, and by whom the history says that it was.
func (v *verifier) admittedFor() error {
	in := v.c.Admit
	if in == nil {
		return errors.New("intake answered without having been asked")
	}
	want, err := v.c.Input.Request.Fingerprint()
	if err != nil {
		return err
	}
	got, err := in.Request.Fingerprint()
	if err == nil {
		err = in.Request.Check()
	}
	switch {
	case err != nil:
		return err
	case got != want:
		return errors.New("intake was asked about another request")
	case in.Saga != v.c.Saga || in.Custodian != v.c.Input.Custodian:
		return errors.New("intake was asked by another saga, or for another custodian")
	case in.Custodian.Workflow != countersign.CustodianID(v.c.Input.Request.Tenant, v.c.Input.Request.ID):
		return errors.New("the request has another custodian than its id says")
	case !near(in.StartedAt, v.c.Started):
		return errors.New("intake was asked as if the saga had started at another time")
	}
	return nil
}

// planFits checks what of the plan is the request's to say, and what no plan is without. Who is in it is the tenant's word, and approved with the transaction.
func (v *verifier) planFits() error {
	r, plan := v.c.Input.Request, v.c.Admission.Plan
	named := map[string]bool{}
	for _, s := range plan.Stages {
		if due, ok := r.Deadlines[s.Name]; ok && !due.Equal(s.Deadline) {
			return fmt.Errorf("stage %q has another deadline than was requested", s.Name)
		}
		if named[s.Name] || s.Name == "" || s.Quorum < 1 || len(s.Eligible) == 0 {
			return fmt.Errorf("stage %q is there twice, or nobody could decide in it", s.Name)
		}
		named[s.Name] = true
	}
	for e := range planned(plan) {
		at := slices.IndexFunc(v.c.Admission.Issuers, func(i countersign.Issuer) bool { return i.URL == e.Actor.Issuer })
		if at < 0 || e.Organisation != v.c.Admission.Issuers[at].Organisation || e.Partner != (v.c.Admission.Issuers[at].Kind == "partner") {
			return fmt.Errorf("the plan names %s as somebody of another organisation than their identity provider's", e.Actor)
		}
	}
	for name := range r.Deadlines {
		if !named[name] {
			return fmt.Errorf("the request gives a deadline for stage %q, which the plan doesn't have", name)
		}
	}
	if len(plan.Stages) == 0 {
		return errors.New("the plan has no stage")
	}
	return nil
}

// intendedFor checks that the intent, and its entry in the log, were asked for with this transaction, and with no decision that the key was not asked with.
func (v *verifier) intendedFor() error {
	a := v.c.Admission
	for _, in := range v.c.asked {
		digest, err := in.Context.Digest()
		if err != nil {
			return err
		}
		plan, err := in.Plan.Digest()
		if err != nil {
			return err
		}
		if digest != a.Digest || in.Digest != a.Digest || plan != a.Context.Plan || in.Request != v.c.Input.Request.ID {
			return errors.New("the intent was asked for another transaction")
		}
		if counted := v.countedSoFar(); len(in.Decisions) > len(counted) || !reflect.DeepEqual(in.Decisions, counted[:len(in.Decisions)]) {
			return errors.New("the intent was asked for with other decisions than counted by then, or in another order")
		}
		var approvals []countersign.Approval
		for _, d := range in.Decisions {
			approvals = append(approvals, d.Approval())
		}
		if err := a.Plan.Satisfied(approvals); err != nil {
			return fmt.Errorf("the intent was asked for before there was a quorum: %w", err)
		}
	}
	want := IntentEntry(v.c.Input.Request, v.c.Saga, a.Digest)
	for _, in := range v.c.entries {
		if !in.Entry.Same(want) || in.Index != nil {
			return errors.New("the log was given another entry than this intent")
		}
	}
	if l := v.c.Logged; l != nil {
		var entry translog.Entry
		if err := countersign.ParseStrict([]byte(l.Entry), &entry); err != nil || !entry.Same(want) {
			return errors.New("the log's proof is about something else than this intent")
		}
	}
	return v.intended()
}

// countedSoFar are the approvals whose checks had ended when the key was asked, in their order, with all that a proof of them depends on; all of them where it was
// not asked. Whether the proofs hold is another check's to say.
func (v *verifier) countedSoFar() (list []CountedDecision) {
	for i, d := range v.c.Decisions {
		late := v.c.SignAsked > 0 && d.EndedAs > v.c.SignAsked
		if d.Check != nil && d.Check.Facts != nil && d.Check.Record.Counted() && d.Check.Record.Verdict != countersign.Reject && v.signed[i].err == nil && !late {
			list = append(list, d.Check.Counted(v.signed[i].SignedDecision))
		}
	}
	return list
}

// intended checks that the intent says what it was asked for with, that it is stored as it is, and that it names the key that signed.
func (v *verifier) intended() error {
	i := v.c.Intent
	if i == nil {
		return nil
	}
	if i.V != countersign.Version || i.Document != v.c.Admission.Context.Document || i.Saga != v.c.Saga {
		return errors.New("the intent is about another document, or of another saga")
	}
	if s := v.c.Signature; s != nil && s.Refusal == nil && s.Key != i.Key {
		return errors.New("the intent names another key than the one that signed")
	}
	if i.Stored == nil {
		return errors.New("the intent was not locked")
	}
	bare := *i
	bare.Stored = nil
	body, err := countersign.Canonical(bare)
	if err != nil {
		return err
	}
	if i.Stored.SHA256 != countersign.SHA256(body) || i.Stored.Key != countersign.IntentKey(v.c.Input.Request.Tenant, v.c.Input.Request.ID) {
		return errors.New("the intent that is locked is another one")
	}
	return nil
}

// partnersFit says whether the plan, wherever it names somebody, calls them a partner exactly where they are one.
func partnersFit(plan countersign.Plan, who countersign.Actor, partner bool) bool {
	for e := range planned(plan) {
		if e.Actor == who && e.Partner != partner {
			return false
		}
	}
	return true
}

// planned are all people whom a plan names, wherever it does.
func planned(plan countersign.Plan) iter.Seq[countersign.Eligible] {
	return func(yield func(countersign.Eligible) bool) {
		lists := [][]countersign.Eligible{}
		for _, s := range plan.Stages {
			lists = append(lists, s.Eligible)
			if s.Escalation != nil {
				lists = append(lists, s.Escalation.Eligible)
			}
		}
		if b := plan.BreakGlass; b != nil {
			lists = append(lists, b.Eligible)
		}
		if plan.Owner != nil {
			lists = append(lists, []countersign.Eligible{*plan.Owner})
		}
		for _, e := range slices.Concat(lists...) {
			if !yield(e) {
				return
			}
		}
	}
}

// kindOf checks that what the policy was told of somebody fits the identity providers that people approved: whose people are the tenant's own and whose are
// partners is theirs to say. Which roles somebody has, and whether it is a machine, is the tenant's word.
func (v *verifier) kindOf(who policy.Principal) error {
	a := v.c.Admission
	at := slices.IndexFunc(a.Issuers, func(i countersign.Issuer) bool { return i.URL == who.Actor.Issuer })
	switch {
	case who.Kind == "stranger" && len(who.Roles) == 0 && len(who.Tenants) == 0:
		return nil
	case at < 0 || !slices.Equal(who.Tenants, []string{a.Context.Tenant}):
		return fmt.Errorf("the policy was told that %s is known to the tenant, and the identity providers don't say so", who.Actor)
	case who.Kind != "machine" && who.Kind != a.Issuers[at].Kind, !partnersFit(a.Plan, who.Actor, who.Kind == "partner"):
		return fmt.Errorf("the policy was told that %s is of the kind %q, and the identity provider's people are of another one", who.Actor, who.Kind)
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
func ownRecord(c *Check, signed countersign.SignedDecision, proven provenDecision, version int) error {
	d, r, login := signed.Decision, c.Record, proven.login
	switch {
	case r.At != c.At.UTC().Format(time.RFC3339Nano):
		return errors.New("the record is of another time than the server stamped")
	case r.ID != signed.ID || r.Actor != d.Actor || r.Stage != d.Stage || r.Verdict != d.Verdict:
		return errors.New("the record says something else than the decision")
	// Records of v0.2.0 name none.
	case (len(r.Delegators) > 0 || version > 1) && !slices.Equal(r.Delegators, c.Authority.Delegators()):
		return errors.New("the record names other delegators than the grants do")
	case c.Facts.Actor != d.Actor:
		return errors.New("the record has the proof of another person")
	case !c.Facts.AuthTime.Equal(login.AuthTime) || !c.Facts.IssuedAt.Equal(login.IssuedAt) || c.Facts.ACR != login.ACR || !slices.Equal(c.Facts.AMR, login.AMR):
		return errors.New("the record tells the login otherwise than its ID token does")
	case (c.Facts.EnrolledKey != nil) != (signed.Proof.Key != nil) || c.Facts.EnrolledKey != nil && c.Facts.EnrolledKey.Key != signed.Proof.Key.Key:
		return errors.New("the record names another key than the one that signed the decision")
	case c.Facts.EnrolledKey != nil && *c.Facts.EnrolledKey != proven.key:
		return errors.New("the record tells the use of the key otherwise than its signature does")
	case c.Authority != nil && version > 1 && !c.Authority.namesItsPeople():
		return errors.New("the record names other people than the chain of grants has")
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
	if err := v.kindOf(who); err != nil {
		return fmt.Errorf("intake: %w", err)
	}
	if i := slices.IndexFunc(a.Issuers, func(i countersign.Issuer) bool { return i.URL == who.Actor.Issuer }); i >= 0 && a.Requester.Organisation != a.Issuers[i].Organisation {
		return errors.New("intake: the requester is said to be of another organisation than their identity provider's")
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
