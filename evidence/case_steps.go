package evidence

import "time"

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
