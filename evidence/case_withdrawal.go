package evidence

import (
	"encoding/json"
	"errors"
	"time"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/countersign-dev/countersign"
)

// withdrawSignal is one withdraw signal, as the server took it.
type withdrawSignal struct {
	sender string
	at     time.Time
	input  *commonpb.Payloads
}

// withdrawCase is one withdraw signal that was looked at, with what the saga made of it.
type withdrawCase struct {
	asked  int64 // event that scheduled its check
	input  WithdrawInput
	signal withdrawSignal
	result *Withdrawn // nil where the check never ended
}

// payload is what the saga makes of the signal.
func (s withdrawSignal) payload() []byte {
	var body []byte
	if p := s.input.GetPayloads(); len(p) > 0 {
		body = p[0].GetData()
	}
	if Unreadable(body) {
		return []byte(NoDecision)
	}
	return body
}

// brought checks that what is checked is what the signal brought.
func (s withdrawSignal) brought(checked json.RawMessage) error {
	if !sameJSON(checked, s.payload()) {
		return errors.New("it checks something else than the signal brought")
	}
	return nil
}

// became checks that the answer, which the statement repeats, is about this withdrawal. One that took effect has its id and its reason; one that was refused, no other.
func (s withdrawSignal) became(w Withdrawn) error {
	var given countersign.Withdrawal
	err := json.Unmarshal(s.payload(), &given)
	switch {
	case w.Sender != s.sender:
		return errors.New("it names another sender than the server stamped on the withdrawal")
	case !w.At.Equal(s.at):
		return errors.New("it names another time than the server stamped on the withdrawal")
	case w.Refusal == nil && (err != nil || given.Check() != nil || w.ID != given.ID || w.Reason != given.Reason):
		return errors.New("it says something else than the withdrawal that took effect")
	case w.ID != "" && w.ID != given.ID || w.Reason != "" && w.Reason != given.Reason:
		return errors.New("it says something else than the withdrawal")
	}
	return nil
}
