package evidence

import (
	"errors"
	"fmt"
	"time"
)

// near says whether two clocks say the same instant, as far as they can be apart.
func near(a, b time.Time) bool {
	d := a.Sub(b)
	return d <= StampTolerance && d >= -StampTolerance
}

// times checks that what is recorded of time is of one piece, as far as clocks can be apart: events in their order, what an activity says within what the
// server says of it, and the end before the authority's stamp on the seal. So nobody can claim an end, or that a deadline passed, that is yet to come.
func (v *verifier) times() error {
	var latest time.Time
	for _, e := range v.history.GetEvents() {
		at := e.GetEventTime().AsTime()
		if at.Before(latest.Add(-StampTolerance)) {
			return fmt.Errorf("event %d is said to be from before what came before it", e.GetEventId())
		}
		if at.After(latest) {
			latest = at
		}
	}
	c := v.c
	if c.Closed.After(v.report.Seal.StampTime.Add(StampTolerance)) {
		return errors.New("it is said to have ended after the seal was time-stamped")
	}
	if c.Admission != nil && !c.steps[ActivityAdmit].has(c.Admission.At) {
		return errors.New("intake is said to have been at another time than the server's record of it")
	}
	if c.Intent != nil && !c.steps[ActivityIntend].has(c.Intent.At) {
		return errors.New("the intent is said to be from another time than the server's record of it")
	}
	if s := c.Signature; s != nil && s.Refusal == nil && !c.steps[ActivitySign].has(s.At) {
		return errors.New("the signature is said to be from another time than the server's record of it")
	}
	return nil
}
