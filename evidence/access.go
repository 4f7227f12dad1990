package evidence

import (
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// The records of grants and keys: what their workflows ask of activities, and keep in their histories.

// Names of the activities of grants and keys, as the histories have them.
const (
	ActivityAdmitGrant       = "AdmitGrant"
	ActivityCheckGrantSignal = "CheckGrantSignal"
	ActivityAdmitKey         = "AdmitKey"
	ActivityCheckRetirement  = "CheckRetirement"
)

// AdmitGrantInput asks whether a grant may be given.
type AdmitGrantInput struct {
	Grant  countersign.SignedGrant `json:"grant"`
	Access Execution               `json:"access"`
}

// GrantAdmission is what became of a grant's offer.
type GrantAdmission struct {
	Refusal   *countersign.Refusal `json:"refusal,omitempty"`
	Given     *Proven              `json:"given,omitempty"`
	Authority *Authority           `json:"authority,omitempty"` // under which it was given, where the delegator has it from somebody else
	Question  *policy.Question     `json:"question,omitempty"`
	Answer    *policy.Answer       `json:"answer,omitempty"`
	At        time.Time            `json:"at"`
}

// GrantSignalInput asks whether one signal to a grant counts.
type GrantSignalInput struct {
	Signal  string                  `json:"signal"`  // accept, revoke or give-back
	Ordinal int                     `json:"ordinal"` // the how-manieth of its name, from 1
	Payload json.RawMessage         `json:"payload"`
	Grant   countersign.SignedGrant `json:"grant"`
	Chain   []countersign.Actor     `json:"chain"` // the delegators above, the role's holder first
	Access  Execution               `json:"access"`
}

// GrantSignal is what became of one signal to a grant.
type GrantSignal struct {
	Signal     string                        `json:"signal"`
	Sender     string                        `json:"sender"` // as the server stamped it
	Reason     string                        `json:"reason,omitempty"`
	Acceptance *countersign.SignedAcceptance `json:"acceptance,omitempty"`
	Taken      *Proven                       `json:"taken,omitempty"`
	Answer     *policy.Answer                `json:"answer,omitempty"`
	Refusal    *countersign.Refusal          `json:"refusal,omitempty"`
	At         time.Time                     `json:"at"`
}

// GrantStatus is where a grant stands: the answer to its status query, and its workflow's result.
type GrantStatus struct {
	GrantRecord
	Digest  string               `json:"digest"`
	Access  Execution            `json:"access"`
	Above   []countersign.Actor  `json:"above,omitempty"`   // the delegators above its own, the role's holder first
	Refusal *countersign.Refusal `json:"refusal,omitempty"` // why it could not be given
	Signals []GrantSignal        `json:"signals"`           // each that came, counted or refused
	Uses    []string             `json:"uses"`              // digests of the decisions that used it
}

// AdmitKeyInput asks whether a key may be enrolled.
type AdmitKeyInput struct {
	Enrolment countersign.SignedEnrolment `json:"enrolment"`
	Keeper    Execution                   `json:"keeper"`
}

// KeyAdmission is what became of an enrolment.
type KeyAdmission struct {
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	Proven  *Proven              `json:"proven,omitempty"`
	Counter uint32               `json:"counter"`
	Answer  *policy.Answer       `json:"answer,omitempty"`
	At      time.Time            `json:"at"`
}

// RetirementInput asks whether one retire signal counts.
type RetirementInput struct {
	Ordinal int               `json:"ordinal"`
	Payload json.RawMessage   `json:"payload"`
	Tenant  string            `json:"tenant"`
	Key     string            `json:"key"`
	Holder  countersign.Actor `json:"holder"`
	Keeper  Execution         `json:"keeper"`
}

// Retired is what became of one retire signal.
type Retired struct {
	Sender  string               `json:"sender"`
	Reason  string               `json:"reason,omitempty"`
	Answer  *policy.Answer       `json:"answer,omitempty"`
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	At      time.Time            `json:"at"`
}

// KeyStatus is where a key stands: the answer to its status query, and its workflow's result.
type KeyStatus struct {
	KeyRecord
	Key         string               `json:"key"`
	Keeper      Execution            `json:"keeper"`
	Refusal     *countersign.Refusal `json:"refusal,omitempty"` // why it could not be enrolled
	Retirements []Retired            `json:"retirements"`       // each retire signal that came, counted or refused
}

// Why a grant, or a key, is not used once more.
const (
	RefusalUsedUp  = "grant-used-up"
	RefusalEnded   = "grant-is-in-force" // as the policy calls it: it is not
	RefusalCounter = "key-counter"
	RefusalRetired = "key-retired"
)

// Use asks a grant, or a key, to note that a decision used it. The same decision asks once, however often it is checked.
type Use struct {
	Decision string `json:"decision"` // digest
	Counter  uint32 `json:"counter,omitempty"`
}
