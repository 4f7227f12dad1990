package evidence

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// withdrawals decides each withdrawal again that the saga looked at: by the frozen policy, as of when the server took it, and about this signing.
func (v *verifier) withdrawals() error {
	for i, w := range v.c.withdraws {
		if err := v.withdrawnFor(w); err != nil {
			return fmt.Errorf("withdrawal %d: %w", i+1, err)
		}
		if w.result == nil {
			continue
		}
		if err := v.withdrew(w); err != nil {
			return fmt.Errorf("withdrawal %d: %w", i+1, err)
		}
	}
	return nil
}

// withdrawnFor checks that a withdrawal was checked for this signing, as intake froze it, and that it was too late exactly where the key was asked before.
func (v *verifier) withdrawnFor(w withdrawCase) error {
	a, in := v.c.Admission, w.input
	switch asked := v.c.SignAsked > 0 && v.c.SignAsked < w.asked; {
	case in.Saga != v.c.Saga || in.Tenant != a.Context.Tenant:
		return errors.New("it was checked for another transaction")
	case in.PolicyText != a.PolicyText:
		return errors.New("it was checked under another policy than the signing is frozen to")
	case in.Requester != a.Context.Requester:
		return errors.New("it was checked as if somebody else had requested the signing")
	case in.TooLate && !asked:
		return errors.New("it was refused as too late before the key was asked")
	case !in.TooLate && asked:
		return errors.New("it was checked as if the key had not been asked yet")
	}
	return nil
}

// withdrew checks that what became of a withdrawal is what this build makes of it. The sender's kind and roles are the tenant's word, as recorded.
func (v *verifier) withdrew(w withdrawCase) error {
	var who policy.Principal
	recorded := w.result.Question != nil
	if recorded {
		who = w.result.Question.Principal
	}
	again, err := DecideWithdrawal(w.input, w.signal.sender, w.signal.at, func(sender countersign.Actor) policy.Principal {
		who.Actor = sender
		return who
	})
	if err != nil {
		return err
	}
	if again.ID != w.result.ID || again.Reason != w.result.Reason {
		return errors.New("it says something else than the withdrawal")
	}
	if again.Answer != nil && !recorded {
		if v.c.Admission.Context.V > 1 {
			return errors.New("the policy's answer is there without what it was asked")
		}
		return unasked(*w.result, v.c.Admission.Context.Policy)
	}
	if recorded {
		if again.Question == nil {
			return errors.New("the policy was asked about what it is not asked about")
		}
		if err := v.kindOf(who); err != nil {
			return err
		}
		same, err := sameQuestion(*w.result.Question, *again.Question)
		if err != nil {
			return err
		}
		if !same {
			return errors.New("the policy was asked about something else")
		}
	}
	if !reflect.DeepEqual(again.Answer, w.result.Answer) || !reflect.DeepEqual(again.Refusal, w.result.Refusal) {
		return errors.New("what became of it is not what the policy answers")
	}
	return nil
}

// unasked checks what a build of v0.2.0 or before recorded: the answer, and not what was asked. It can't be asked again, but has to fit what became of it.
func unasked(w Withdrawn, set string) error {
	answer := w.Answer
	switch {
	case answer == nil || answer.Set != set || answer.Allowed != (w.Refusal == nil):
		return errors.New("what became of it is not what the policy answered")
	case w.Refusal != nil && (w.Refusal.Code != answer.Code() || w.Refusal.Message != answer.Refusal):
		return errors.New("it was refused for another reason than the policy gave")
	}
	return nil
}
