package evidence

import (
	"fmt"
	"slices"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// began notes that an activity was taken up: after it was asked for, and once.
func (r *caseReader) began(e *historypb.HistoryEvent) error {
	asked := e.GetActivityTaskStartedEventAttributes().GetScheduledEventId()
	if r.scheduled[asked] == nil || r.begun[asked] != 0 || r.ended[asked] {
		return fmt.Errorf("it begins an activity (event %d) that was not asked for, or begins it again", asked)
	}
	r.begun[asked] = e.GetEventId()
	return nil
}

// over notes that an activity is over: after it began, and once. One that timed out before anybody took it up never began.
func (r *caseReader) over(e *historypb.HistoryEvent) error {
	asked, began := endOf(e)
	if r.scheduled[asked] == nil || r.ended[asked] || r.begun[asked] != began || began == 0 && e.GetActivityTaskCompletedEventAttributes() != nil {
		return fmt.Errorf("it ends an activity (event %d) that was not asked for, had not begun or is over", asked)
	}
	r.ended[asked] = true
	return nil
}

// endOf reads which events asked for an activity that ends, and began it, whichever way it ends.
func endOf(e *historypb.HistoryEvent) (asked, began int64) {
	m := e.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("attributes")); f != nil {
		a := m.Get(f).Message()
		number := func(name protoreflect.Name) int64 {
			if f := a.Descriptor().Fields().ByName(name); f != nil {
				return a.Get(f).Int()
			}
			return 0
		}
		asked, began = number("scheduled_event_id"), number("started_event_id")
	}
	return asked, began
}

// waited checks that a saga which ended by itself had waited for what it began: checks and messages. Only an operator's word to end makes it give up on them.
func (r *caseReader) waited() error {
	if r.c.Result == nil || r.c.Cancelled {
		return nil
	}
	for asked, a := range r.scheduled {
		name := a.GetActivityType().GetName()
		if slices.Contains([]string{ActivityCheckDecision, ActivityCheckWithdrawal, ActivityNotify}, name) && !r.ended[asked] {
			return fmt.Errorf("couldn't read the history: the saga ended without the end of %s, which event %d asked for", name, asked)
		}
	}
	return nil
}

// span is from when an activity was asked for until it ended, by the server's clock.
type span struct{ asked, ended time.Time }

// has says whether an instant that the activity recorded lies in the span, as far as clocks can be apart.
func (s span) has(at time.Time) bool {
	return !at.Before(s.asked.Add(-StampTolerance)) && !at.After(s.ended.Add(StampTolerance))
}

// messageCase is one message with what became of it.
type messageCase struct {
	scheduled    int64
	asked, ended time.Time // ended is zero where it never did
	input        NotifyInput
	deliveries   []Delivery
}
