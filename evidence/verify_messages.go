package evidence

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// told checks that people were told of this signing, as it was admitted and as it ended, and what became of each message fits it. Whether a message arrived is the
// tenant's word.
func (v *verifier) told() error {
	c := v.c
	var told []string
	for n, m := range c.messages {
		in, e := m.input, m.input.Event
		if err := v.message(e); err != nil {
			return fmt.Errorf("message %d: %w", n+1, err)
		}
		if want := fmt.Sprintf("%s-%d", c.Saga.Run, n+1); in.ID != want {
			return fmt.Errorf("message %d: it has the id %q instead of %q", n+1, in.ID, want)
		}
		for _, d := range m.deliveries {
			switch {
			case d.Event != e.Type:
				return fmt.Errorf("message %d: it was delivered as if it were another", n+1)
			case d.Attempts < 1 || d.Attempts > NotifyAttempts || d.Delivered && d.Problem != "":
				return fmt.Errorf("message %d: what became of it can't be", n+1)
			case !(span{m.asked, m.ended}).has(d.At):
				return fmt.Errorf("message %d: it is said to be from another time than the server's record of it", n+1)
			}
		}
		for _, who := range in.To {
			told = append(told, who.String())
		}
	}
	if c.Result != nil {
		for _, who := range c.Result.Told {
			if !slices.Contains(told, who.String()) {
				return fmt.Errorf("the saga's result says that %s took part, and nobody told them", who)
			}
		}
	}
	return nil
}

// sagaEvents are what a saga tells of itself. What comes after its end is the custodian's to tell.
var sagaEvents = []string{EventApprovalRequested, EventApprovalReminder, EventApprovalEscalated, EventGlassBroken, EventSigned, EventEnded}

// message checks what one message says against what was admitted and how it ended.
func (v *verifier) message(e Event) error {
	c, r := v.c, v.c.Input.Request
	digest := ""
	var plan []string
	due := map[string]time.Time{}
	if a := c.Admission; a != nil && a.Refusal == nil {
		digest = a.Digest
		for _, s := range a.Plan.Stages {
			plan, due[s.Name] = append(plan, s.Name), s.Deadline
		}
	}
	switch {
	case !slices.Contains(sagaEvents, e.Type):
		return fmt.Errorf("a saga sends no message of the type %q", e.Type)
	case e.Tenant != r.Tenant || e.Request != r.ID || e.Title != r.Title || e.Context != digest:
		return errors.New("it is about another signing")
	case e.Stage != "" && !slices.Contains(plan, e.Stage):
		return fmt.Errorf("it is about a stage %q that the plan doesn't have", e.Stage)
	case (e.Stage != "") != (e.Deadline != nil) || e.Deadline != nil && !e.Deadline.Equal(due[e.Stage]):
		return errors.New("it names another deadline than the plan does")
	case e.Evidence != nil:
		return errors.New("it names evidence, which was not there yet")
	case e.Checkpoint != "" && (c.Logged == nil || e.Checkpoint != c.Logged.Checkpoint):
		return errors.New("it has another checkpoint than the log gave")
	}
	if e.Detail != "" && (e.Type == EventApprovalRequested || e.Type == EventApprovalReminder) {
		return errors.New("it tells more than a request for approval does")
	}
	ends := e.Type == EventEnded || e.Type == EventSigned
	if ends && c.Result != nil && (e.Outcome != c.Result.Outcome || e.Detail != c.Result.Detail) || !ends && e.Outcome != "" {
		return errors.New("it tells another ending than the saga's result")
	}
	return nil
}
