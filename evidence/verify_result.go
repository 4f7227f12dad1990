package evidence

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign"
)

// follows checks that the result of the saga, and the reason that it gives, follow from what the history has: the saga's word alone ends nothing.
func (v *verifier) follows() error {
	c, r := v.c, v.c.Result
	if r == nil {
		return nil
	}
	if c.Admission != nil && r.ReleaseWithin != c.Admission.ReleaseWithin {
		return errors.New("the saga's result gives another time for the release than intake did")
	}
	if early := []countersign.Outcome{countersign.Rejected, countersign.Expired, countersign.Withdrawn, countersign.Refused}; slices.Contains(early, r.Outcome) && c.SignInput != nil {
		return fmt.Errorf("the key was asked in what ended as %s", r.Outcome)
	}
	switch r.Outcome {
	case countersign.Completed:
		if r.Detail != "" {
			return errors.New("what was completed has no reason beside it")
		}
		return v.heard()
	case countersign.Refused:
		if f := c.Admission.Refusal; r.Detail != f.Code+": "+f.Message {
			return errors.New("it gives another reason than intake did")
		}
	case countersign.Withdrawn:
		return v.withdrawnAs(r.Detail)
	case countersign.Rejected:
		return v.rejectedAs(r.Detail)
	case countersign.Expired:
		return v.expiredAs(r.Detail)
	case countersign.Revoked:
		if s := c.Signature; s == nil || s.Refusal == nil || s.Refusal.Code != RefusalAuthorityLost || r.Detail != s.Refusal.Message {
			return errors.New("the signing step didn't refuse it for an authority that was lost")
		}
	case countersign.Failed:
		return v.failedAs(r.Detail)
	}
	return nil
}

// RefusalAuthorityLost is the code of a refusal to sign because somebody lost an authority since they decided.
const RefusalAuthorityLost = "authority-lost"

// heard checks that each signal that came before the key was asked was looked at: the saga asks no key while somebody waits to be heard.
func (v *verifier) heard() error {
	said := map[string]bool{}
	for _, d := range v.c.Decisions {
		if signed, err := countersign.ParseSignedDecision(d.Input.Signed); d.Input.Ordinal > 0 && err == nil && d.Check != nil && d.Check.Record.Counted() {
			said[Voice(signed)] = true
		}
	}
	for _, d := range v.c.Decisions {
		if d.Input.Ordinal > 0 || d.Event > v.c.SignAsked || d.number > MaxSignals {
			continue
		}
		if signed, err := countersign.ParseSignedDecision(d.payload); err != nil || !said[Voice(signed)] {
			return fmt.Errorf("the decision of event %d came before the key was asked, and was not looked at", d.Event)
		}
	}
	for i, event := range v.c.withdrew {
		if event < v.c.SignAsked && i < MaxSignals && !slices.ContainsFunc(v.c.withdraws, func(w withdrawCase) bool { return w.input.Ordinal == i+1 }) {
			return fmt.Errorf("the withdrawal of event %d came before the key was asked, and was not looked at", event)
		}
	}
	return nil
}

// MaxSignals bounds the decide signals, and the withdraw signals, that one saga looks at.
const MaxSignals = 500

// Voice is whose decision it is under which id: two people may choose the same one. One that repeats what counted is not looked at.
func Voice(d countersign.SignedDecision) string { return d.Decision.Actor.String() + " " + d.ID }

// takenBack says whether the requester withdrew it.
func (v *verifier) takenBack() bool {
	return slices.ContainsFunc(v.c.Withdrawals, func(w Withdrawn) bool {
		return w.Refusal == nil && w.Sender == v.c.Admission.Context.Requester.String()
	})
}

func (v *verifier) withdrawnAs(detail string) error {
	for _, w := range v.c.Withdrawals {
		if w.Refusal == nil && w.Sender == v.c.Admission.Context.Requester.String() && w.Reason == detail {
			return nil
		}
	}
	return errors.New("it gives another reason than its requester did")
}

// rejections are the rejections that counted.
func (v *verifier) rejections() (list []countersign.Decision) {
	for i, d := range v.c.Decisions {
		if d.Check != nil && d.Check.Record.Counted() && d.Check.Record.Verdict == countersign.Reject && v.signed[i].err == nil {
			list = append(list, v.signed[i].Decision)
		}
	}
	return list
}

// rejectedAs checks that somebody rejected it for that reason, in a step that the signing had come to, and that it was not withdrawn before.
func (v *verifier) rejectedAs(detail string) error {
	plan, approvals := v.c.Admission.Plan, v.c.Approvals()
	if v.takenBack() {
		return errors.New("it was withdrawn, and that comes before a rejection")
	}
	for _, d := range v.rejections() {
		if detail != fmt.Sprintf("stage %s, by %s: %s", d.Stage, d.Actor, d.Reason) {
			continue
		}
		open := openStep(plan, approvals)
		if !plan.Broken(approvals) && !slices.ContainsFunc(open, func(s countersign.Stage) bool { return s.Name == d.Stage }) {
			return fmt.Errorf("stage %s had not opened, or was over, when it was rejected", d.Stage)
		}
		return nil
	}
	return errors.New("nobody rejected it for the reason that it gives")
}

// openStep is the first step of the plan, and each further one while all before have their quorum: where a signing stands. Of what was approved altogether it is the
// last one, in which somebody may still have rejected beside the last approval.
func openStep(plan countersign.Plan, approvals []countersign.Approval) (open []countersign.Stage) {
	for _, step := range plan.Steps() {
		open = append(open, step...)
		if slices.ContainsFunc(step, func(s countersign.Stage) bool { return !s.Met(approvals) }) {
			break
		}
	}
	return open
}

// expiredAs checks that a stage was due, in the step that the signing had come to, and had not its quorum: by the frozen plan, by what counted, and by the clock. That the
// time had come is proven by the authority's stamp on the seal, which is not before the end.
func (v *verifier) expiredAs(detail string) error {
	plan, approvals := v.c.Admission.Plan, v.c.Approvals()
	if v.takenBack() {
		return errors.New("it was withdrawn, and that comes before a deadline")
	}
	for _, step := range plan.Steps() {
		var late *countersign.Stage
		for _, s := range step {
			if !s.Met(approvals) && (late == nil || s.Deadline.Before(late.Deadline)) {
				late = &s
			}
		}
		if late == nil {
			continue
		}
		for _, d := range v.rejections() {
			if slices.ContainsFunc(step, func(s countersign.Stage) bool { return s.Name == d.Stage }) {
				return errors.New("it was rejected, and that comes before a deadline")
			}
		}
		switch {
		case plan.Broken(approvals):
			return errors.New("the glass was broken, so no deadline counted any more")
		case detail != Expiry(*late, approvals):
			return fmt.Errorf("it says %q, where the frozen plan and what counted say %q", detail, Expiry(*late, approvals))
		case v.c.Closed.Before(late.Deadline.Add(-StampTolerance)):
			return fmt.Errorf("it ended at %s, and the deadline of stage %s was later, at %s", instant(v.c.Closed), late.Name, instant(late.Deadline))
		}
		return nil
	}
	return errors.New("each stage had its quorum, so none was late")
}

// Expiry says what a stage had when its time was up.
func Expiry(stage countersign.Stage, approvals []countersign.Approval) string {
	had := 0
	for _, a := range approvals {
		if a.Stage == stage.Name && !a.Skip {
			had++
		}
	}
	if had >= stage.Quorum {
		return fmt.Sprintf("stage %s %s, at its deadline", stage.Name, stage.Lacks(approvals))
	}
	return fmt.Sprintf("stage %s had %d of %d approvals at its deadline", stage.Name, had, stage.Quorum)
}

// The ways in which a saga says that it failed.
const (
	FailedCancelled = "an operator cancelled the signing"
	FailedIntake    = "intake did not work"
	FailedReview    = "the review of the broken glass could not be opened"
	FailedIntent    = "the intent to sign could not be recorded"
	FailedLog       = "the intent to sign could not be put into the log"
	FailedKey       = "the key could not sign"
)

// failedAs checks that the history fits the part that is said not to have worked. What was wrong with it is the tenant's word.
func (v *verifier) failedAs(detail string) error {
	c := v.c
	admitted, asked := c.Admission != nil, c.SignInput != nil
	if s := c.Signature; s != nil && s.Refusal != nil && detail == s.Refusal.Code+": "+s.Refusal.Message {
		if s.Refusal.Code == RefusalAuthorityLost {
			return errors.New("an authority was lost, and that is no failure")
		}
		return nil
	}
	fits, part := false, ""
	if at := strings.Index(detail, ": "); at >= 0 {
		part = detail[:at]
	}
	switch {
	case detail == FailedCancelled:
		fits = c.Cancelled
	case part == FailedIntake:
		fits = !admitted
	case part == FailedReview:
		fits = admitted && !asked && c.Admission.Plan.Broken(c.Approvals())
	case part == FailedIntent, part == FailedLog:
		fits = admitted && !asked && len(c.asked) > 0
	case part == FailedKey:
		fits = asked && c.Signature == nil
	}
	if !fits {
		return fmt.Errorf("it says %q, and the history doesn't show that", detail)
	}
	return nil
}
