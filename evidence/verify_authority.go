package evidence

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// context checks that one transaction reaches from request to signature.
func (v *verifier) context() error {
	a := v.c.Admission
	digest, err := a.Context.Digest()
	if err != nil {
		return err
	}
	plan, err := a.Plan.Digest()
	if err != nil {
		return err
	}
	request, err := v.c.Input.Request.Fingerprint()
	if err != nil {
		return err
	}
	switch {
	case digest != a.Digest:
		return errors.New("the context doesn't have its digest")
	case plan != a.Context.Plan:
		return errors.New("the plan is not the one in the context")
	case request != a.Context.Request:
		return errors.New("the request is not the one in the context")
	case a.Plan.Purpose != v.c.Input.Request.Purpose:
		return errors.New("the plan is of another purpose than the request")
	case a.Context.Document != v.c.Input.Request.Document:
		return errors.New("the document is not the one in the context")
	case a.Context.Signing != v.c.Saga.Workflow || a.Context.Run != v.c.Saga.Run:
		return errors.New("the context is of another run")
	case a.Context.Tenant != v.c.Input.Request.Tenant || a.Context.Signing != countersign.SagaID(a.Context.Tenant, v.c.Input.Request.ID):
		return errors.New("the context is of another tenant or request")
	case a.Requester.Actor != a.Context.Requester:
		return errors.New("the requester is not the one in the context")
	case v.c.Intent != nil && v.c.Intent.Context != digest:
		return errors.New("the intent is about another transaction")
	case v.c.Result != nil && v.c.Result.Context != digest:
		return errors.New("the saga's result is about another transaction")
	case v.c.Result != nil && v.c.Result.Outcome == countersign.Completed && v.c.Result.Signature == nil:
		return errors.New("the saga's result has no signature")
	case v.c.Result != nil && v.c.Result.Signature != nil && !reflect.DeepEqual(v.c.Result.Signature, v.c.Signature):
		return errors.New("the saga's result has another signature than the signing step made")
	}
	for _, check := range []func() error{v.admittedFor, v.planFits, v.intendedFor, v.signedFor} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// decisions checks each decide signal from the beginning: sender, decision, proof.
func (v *verifier) decisions() error {
	decided := []countersign.Actor{}
	// Of each that counted, the proofs are checked before anything stops here: their own lines in the report are about all of them.
	v.proven = make([]provenDecision, len(v.c.Decisions))
	for i, d := range v.c.Decisions {
		if d.Check == nil || !d.Check.Record.Counted() || d.Check.Facts == nil {
			continue
		}
		if signed := v.signed[i]; signed.err == nil {
			counted := d.Check.Counted(signed.SignedDecision)
			v.proven[i] = v.proofs.proven(decisionFile(i), counted, signed.digest, v.c.Admission.Issuers)
		}
	}
	for i, d := range v.c.Decisions {
		if d.Input.Ordinal == 0 {
			if d.Check != nil && d.Check.Record.Counted() {
				return fmt.Errorf("%s: it counted without having been looked at", decisionFile(i))
			}
			continue // not looked at, and said so
		}
		if err := v.checkedFor(d.Input); err != nil {
			return fmt.Errorf("%s: %w", decisionFile(i), err)
		}
		if !slices.Equal(d.Input.Decided, decided) {
			return fmt.Errorf("%s: it was checked as if other people had decided before", decisionFile(i))
		}
		if len(d.Input.Issuers) > 0 && !slices.Equal(d.Input.Issuers, v.c.Admission.Issuers) {
			return fmt.Errorf("%s: it was checked with other issuers than the signing is frozen to", decisionFile(i))
		}
		if d.Check == nil {
			continue
		}
		if d.Check.Record.Counted() {
			decided = append(decided, d.Check.People()...)
		}
		if d.Check.Sender != d.Sender || !d.Check.At.Equal(d.At) {
			return fmt.Errorf("%s: the check names another sender or another time than the server stamped", decisionFile(i))
		}
		if !d.Check.Record.Counted() {
			continue
		}
		if err := v.counted(d, v.signed[i], v.proven[i]); err != nil {
			return fmt.Errorf("%s: %w", decisionFile(i), err)
		}
	}
	return nil
}

func (v *verifier) counted(d DecisionCase, signed readDecision, proven provenDecision) error {
	a := v.c.Admission
	if signed.err != nil {
		return signed.err
	}
	// Contexts before time-stamped decisions are of builds that took a decision with an empty member left out.
	if a.Context.Stamped {
		if err := signed.CheckSent(d.Input.Signed); err != nil {
			return fmt.Errorf("its payload is not the JSON that was proven: %w", err)
		}
	}
	decision := signed.Decision
	sender, ok := countersign.ParseActor(d.Sender)
	switch {
	case !ok || sender != decision.Actor:
		return fmt.Errorf("it names %s, but the server stamped %q as its sender", decision.Actor, d.Sender)
	case signed.digest != d.Check.Record.Digest:
		return errors.New("the recorded digest is not the decision's")
	case decision.Context != a.Digest || decision.Document != a.Context.Document || decision.Policy != a.Context.Policy || decision.Signing != a.Context.Signing || decision.Run != a.Context.Run || decision.Tenant != a.Context.Tenant:
		return errors.New("it is about another transaction")
	case d.Check.Facts == nil:
		return errors.New("it counted without a proof")
	case !slices.ContainsFunc(d.Input.Stages, func(s countersign.Stage) bool { return s.Name == decision.Stage }):
		return errors.New("it counted in a stage that was over when it was checked")
	}
	if err := decision.Check(); err != nil {
		return err
	}
	if late := d.Check.Counted(signed.SignedDecision).late(); late != nil {
		return late
	}
	if proven.err != nil {
		return fmt.Errorf("its proof doesn't hold: %w", proven.err)
	}
	if err := d.inTime(); err != nil {
		return err
	}
	return ownRecord(d.Check, signed.SignedDecision, proven, a.Context.V)
}

// policy evaluates every question again.
func (v *verifier) policy() error {
	a := v.c.Admission
	engine, err := policy.NewEngine(a.PolicyText)
	if err != nil {
		return err
	}
	if engine.Hash() != a.Context.Policy {
		return errors.New("the policy text doesn't have the frozen hash")
	}
	if a.Question == nil || a.Answer == nil || !sameAnswer(engine.Ask(*a.Question), *a.Answer) || !a.Answer.Allowed {
		return errors.New("intake: the policy answers differently")
	}
	if err := v.requested(); err != nil {
		return err
	}
	for i, d := range v.c.Decisions {
		if d.Check == nil || d.Check.Question == nil {
			if d.Check != nil && d.Check.Record.Counted() {
				return fmt.Errorf("%s: it counted without asking the policy", decisionFile(i))
			}
			continue
		}
		if err := v.question(engine, d, v.signed[i]); err != nil {
			return fmt.Errorf("%s: %w", decisionFile(i), err)
		}
	}
	return v.withdrawals()
}

// refusedAfterPolicy are the refusals of a decision that the policy allows: a grant or a key that could not be used once more.
var refusedAfterPolicy = []string{RefusalUsedUp, RefusalEnded, RefusalCounter, RefusalRetired}

func (v *verifier) question(engine *policy.Engine, d DecisionCase, signed readDecision) error {
	if d.Check.Answer == nil || d.Check.Facts == nil {
		return errors.New("the policy's answer, or the proof that it stands on, is missing")
	}
	if answer := engine.Ask(*d.Check.Question); !sameAnswer(answer, *d.Check.Answer) {
		return errors.New("the policy answers differently")
	}
	refusal := d.Check.Record.Refusal
	if d.Check.Answer.Allowed == (refusal != nil) && (refusal == nil || !slices.Contains(refusedAfterPolicy, refusal.Code)) {
		return errors.New("what became of the decision is not what the policy answered")
	}
	// The question itself must be about this decision and this signing, or a kind answer to another question would do.
	if signed.err != nil {
		return signed.err
	}
	stage, ok := v.c.Admission.Plan.Stage(signed.Decision.Stage)
	if !ok {
		return errors.New("the plan has no such stage")
	}
	q := DecideQuestion(d.Input, signed.Decision, stage, d.Check.Question.Principal, d.Check.Authority, d.Check.Facts.Assurance, d.Check.At)
	same, err := sameQuestion(q, *d.Check.Question)
	if err != nil {
		return err
	}
	if err := v.kindOf(q.Principal); err != nil {
		return err
	}
	// What was asked with is the check's input. In it, it has to be this signing's as well.
	if err := v.checkedFor(d.Input); err != nil || !same || q.Principal.Actor != signed.Decision.Actor {
		return errors.New("the policy was asked about something else")
	}
	return nil
}

func sameAnswer(a, b policy.Answer) bool {
	if a.Allowed != b.Allowed || a.Set != b.Set || len(a.Policies) != len(b.Policies) || len(a.Errors) != len(b.Errors) {
		return false
	}
	return slices.Equal(a.Policies, b.Policies) && slices.Equal(a.Errors, b.Errors) && a.Refusal == b.Refusal
}

// enough checks the quorum, where the key was used.
func (v *verifier) enough() {
	if s := v.c.Signature; s == nil || s.Refusal != nil {
		v.report.notRecorded("quorum", noSignature)
		return
	}
	v.check("quorum", v.quorum, func() string {
		return fmt.Sprintf("%d approvals by different people satisfy every stage", len(v.c.SignInput.Decisions))
	})
}

// documentSignature checks the document's signature, where there is one.
func (v *verifier) documentSignature() {
	s := v.c.Signature
	if s == nil || s.Refusal != nil {
		if v.hasSignature() {
			v.report.note("document signature", errors.New("the bundle has a signature that the history doesn't know"), "")
			return
		}
		v.report.notRecorded("document signature", noSignature)
		return
	}
	if v.statement.Predicate.Outcome != countersign.Completed {
		if v.hasSignature() {
			v.report.note("document signature", errors.New("the bundle has a signature that was to be withheld"), "")
			return
		}
		v.report.notRecorded("document signature", "it was withheld, and is void")
		return
	}
	name, form := signatureFile, "CAdES-B-T over document.pdf"
	if v.c.signedInside() {
		name, form = signedFile, countersign.SignedInPDF+" in "+signedFile+", which is the document and one update that adds the signature and nothing else,"
	}
	v.check("document signature", func() error {
		if form := v.c.Admission.Context.SignedAs; form != "" && form != countersign.SignedInPDF {
			return fmt.Errorf("people approved a signature of the form %q, which is not known", form)
		}
		if _, err := v.file(name); err != nil {
			return err
		}
		if v.b.digestOf(name) != s.Object.SHA256 {
			return errors.New(name + " is not what the signing step stored")
		}
		m := Material{Case: v.c, approved: v.approved()}
		m.Document, _ = v.b.File(documentFile)
		m.Signed, _ = v.b.File(signedFile)
		m.Signature, _ = v.b.File(signatureFile)
		facts, err := m.VerifySignature(v.roots)
		switch {
		case err != nil:
			return err
		case !facts.Signer.Equal(v.report.Seal.Signer):
			return errors.New("it is of another key than the seal")
		case !facts.StampTime.Equal(s.At):
			return errors.New("the history gives it another time than its time-stamp does")
		case !v.c.signedInside() && v.lacksLists(facts):
			return errors.New("its certificates name revocation lists, and it keeps none")
		}
		return v.signedAfter(facts.StampTime)
	}, func() string {
		return form + " by the same key, at " + s.At.Format("2006-01-02 15:04:05 UTC")
	})
}

func (v *verifier) hasSignature() bool {
	_, beside := v.b.File(signatureFile)
	_, inside := v.b.File(signedFile)
	return beside || inside
}

// signedAfter checks that the key was asked after the intent and after every approval that it stands on, by the authority's time.
func (v *verifier) signedAfter(stamped time.Time) error {
	i := v.c.Intent
	if i == nil || i.Document != v.c.Admission.Context.Document || i.Saga != v.c.Saga {
		return errors.New("there is no intent for it")
	}
	if v.c.Intended > v.c.SignAsked {
		return errors.New("the key was asked before the intent was locked")
	}
	if stamped.Before(i.At.Add(-identity.Leeway)) {
		return errors.New("it was made before the intent")
	}
	for _, d := range v.c.SignInput.Decisions {
		if stamped.Before(d.At.Add(-identity.Leeway)) {
			return fmt.Errorf("it was made before %s approved", d.Signed.Decision.Actor)
		}
	}
	return nil
}

func (v *verifier) quorum() error {
	a, in := v.c.Admission, v.c.SignInput
	if err := v.signedFor(); err != nil {
		return err
	}
	plan, err := in.Plan.Digest()
	if err != nil {
		return err
	}
	if plan != a.Context.Plan {
		return errors.New("the signing step was given another plan")
	}
	for _, d := range in.Decisions {
		// What counted had its proofs and its authority checked: the same decision with others is another one.
		i := v.find(d)
		if i < 0 || v.c.Decisions[i].Check.Record.Verdict == countersign.Reject {
			return fmt.Errorf("the signing step was given a decision of %s that never counted", d.Signed.Decision.Actor)
		}
		if v.c.Decisions[i].EndedAs > v.c.SignAsked {
			return fmt.Errorf("the key was asked before the decision of %s was checked", d.Signed.Decision.Actor)
		}
	}
	if !reflect.DeepEqual(in.Decisions, v.countedSoFar()) {
		return errors.New("the signing step was given other decisions than counted by then, or in another order")
	}
	approvals, refusal := verifyDecisions(v.admitted(), func(c CountedDecision) error { return v.proven[v.find(c)].err })
	if refusal != nil {
		return refusal
	}
	if err := a.Plan.Satisfied(approvals); err != nil {
		return err
	}
	if a.Plan.Broken(approvals) && v.c.Review != countersign.ReviewID(a.Context.Tenant, v.c.Input.Request.ID) {
		return errors.New("the glass was broken, and the history opens no review of it before the key is asked")
	}
	return nil
}
