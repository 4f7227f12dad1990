package evidence

import (
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// ActivityCheckReview is the name of the activity of a review, as its history has it.
const ActivityCheckReview = "CheckReview"

// ReviewInput opens the review of a signing in which waiting was skipped. Only its saga does.
type ReviewInput struct {
	Tenant    string               `json:"tenant"`
	Request   string               `json:"request"`
	Title     string               `json:"title"`
	Saga      Execution            `json:"saga"`
	Context   string               `json:"context"`
	Requester countersign.Actor    `json:"requester"`
	Owner     countersign.Eligible `json:"owner"`
	Broke     []Broke              `json:"broke"`
	Skipped   []countersign.Actor  `json:"skipped"` // who was not waited for
}

// Broke is one person's decision to skip waiting.
type Broke struct {
	Actor  countersign.Actor `json:"actor"`
	Reason string            `json:"reason"`
	At     time.Time         `json:"at"`
	Digest string            `json:"digest"` // of the decision
}

// ReviewSignalInput asks whether one close signal counts.
type ReviewSignalInput struct {
	Ordinal int             `json:"ordinal"` // the how-manieth close signal, from 1
	Payload json.RawMessage `json:"payload"`
	Review  ReviewInput     `json:"review"`
	Keeper  Execution       `json:"keeper"`
}

// ReviewSignal is what became of one close signal.
type ReviewSignal struct {
	Sender  string               `json:"sender"` // as the server stamped it
	Finding string               `json:"finding,omitempty"`
	Note    string               `json:"note,omitempty"`
	Answer  *policy.Answer       `json:"answer,omitempty"`
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	At      time.Time            `json:"at"`
}

// The states of a review.
const (
	ReviewOpen   = "open"
	ReviewClosed = "closed"
)

// ReviewStatus is where a review stands: the answer to its status query, and its workflow's result.
type ReviewStatus struct {
	ReviewInput
	State   string         `json:"state" enum:"open,closed"`
	Opened  time.Time      `json:"opened"`
	Due     time.Time      `json:"due"` // from then on it is overdue, and said to be so every week
	Keeper  Execution      `json:"keeper"`
	Signals []ReviewSignal `json:"signals"`
}
