package evidence

import (
	"time"

	"github.com/countersign-dev/countersign"
)

// Names of the activities of what watches over evidence by itself.
const (
	ActivityFindDead  = "FindDead"
	ActivityAwaitSaga = "AwaitSaga"
)

// FindDeadInput asks for the custodians that died since an instant; the zero instant is the beginning.
type FindDeadInput struct {
	Since time.Time `json:"since"`
}

// FoundDead are the custodians that died, and until when they were looked for: the next sweep goes on from there.
type FoundDead struct {
	Dead  []DeadCustodian `json:"dead"`
	Until time.Time       `json:"until"`
}

// DeadCustodian is a custodian that ended without locked evidence: terminated, failed, cancelled or timed out. Its saga is in nobody's custody.
type DeadCustodian struct {
	Request   string    `json:"request"`
	Saga      Execution `json:"saga"`
	Custodian Execution `json:"custodian"`
	Closing   string    `json:"closing"` // how it ended: terminated, failed, canceled or timed out
	Closed    time.Time `json:"closed"`
}

// Swept is the result of one sweep, and where the next one goes on.
type Swept struct {
	Until     time.Time `json:"until"`
	Recovered []string  `json:"recovered,omitempty"` // requests that were given a new custody by this sweep
}

// EndedSaga is a saga whose custodian died, as its own history says it ended.
type EndedSaga struct {
	Request countersign.Request `json:"request"`
	Outcome countersign.Outcome `json:"outcome"`
	Detail  string              `json:"detail,omitempty"`
	Context string              `json:"context,omitempty"`
	Told    []countersign.Actor `json:"told,omitempty"`
	Silent  bool                `json:"silent,omitempty"` // it left no result, and told nobody
}

// EndOf is how a saga ended by its history. What a custodian would have been told in the end is not in it: only that nothing was released.
func EndOf(c *Case) EndedSaga {
	e := EndedSaga{Request: c.Input.Request, Told: c.TookPart()}
	if a := c.Admission; a != nil && a.Refusal == nil {
		e.Context = a.Digest
	}
	switch {
	case c.Result != nil:
		e.Outcome, e.Detail = c.Result.Outcome, c.Result.Detail
	case c.Closing == "terminated":
		e.Outcome, e.Detail, e.Silent = countersign.Terminated, DetailTerminated, true
	default:
		e.Outcome, e.Detail, e.Silent = countersign.Failed, DetailBroken, true
	}
	return e
}
