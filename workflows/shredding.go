package workflows

import (
	"encoding/json"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Shredding keeps one proposal to shred a person's data: one person of compliance proposes it, another one approves, and the person's key is destroyed and
// that is recorded.
func Shredding(ctx workflow.Context, in countersign.SignedShredding) (evidence.ShreddingStatus, error) {
	s := &shredding{in: in, status: evidence.ShreddingStatus{Shredding: in.Shredding}}
	return keep(ctx, in, s, &s.status, &s.status.OrderProgress)
}

// shredding is the effect of an order to shred a person's data. What nobody approved leaves no record: the history has it, and goes.
type shredding struct {
	in       countersign.SignedShredding
	status   evidence.ShreddingStatus
	admitted evidence.OrderAdmission
}

func (s *shredding) admission(keeper evidence.Execution) call {
	return call{evidence.ActivityAdmitShredding, evidence.AdmitShreddingInput{Shredding: s.in, Keeper: keeper}}
}

func (s *shredding) admit(a evidence.OrderAdmission) {
	s.admitted, s.status.Proposed, s.status.Key = a, a.At, a.Key
}

func (s *shredding) check(o *order, ordinal int, payload json.RawMessage) call {
	return call{evidence.ActivityCheckShreddingAnswer, evidence.ShreddingAnswerInput{
		Ordinal: ordinal, Payload: payload, Shredding: s.in.Shredding, Key: s.status.Key, Keeper: o.status.Keeper,
	}}
}

func (s *shredding) deed(o *order, _ time.Time) *deed {
	if !o.approved() {
		return nil
	}
	var done evidence.Shredded
	return &deed{call{evidence.ActivityShred, evidence.ShredInput{Shredding: s.in, Admission: s.admitted, Answered: *o.answered, Keeper: o.status.Keeper}}, &done, func() string {
		s.status.Done = &done
		return evidence.OrderShredded
	}}
}

func (s *shredding) done(workflow.Context, *order) {}

// event names nobody: messages stay in mailboxes and in systems that shredding doesn't reach.
func (s *shredding) event() evidence.Event {
	return evidence.Event{Title: "shred: the personal data of one person"}
}

func (s *shredding) toldBefore(string) bool { return false }
