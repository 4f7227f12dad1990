package evidence

import (
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

// Names of the activities of a shredding.
const (
	ActivityAdmitShredding       = "AdmitShredding"
	ActivityCheckShreddingAnswer = "CheckShreddingAnswer"
	ActivityShred                = "Shred"
)

// The states of a shredding.
const (
	ShreddingRefused  = "refused"  // it may not be proposed
	ShreddingDryRun   = "dry run"  // it says what would be destroyed, and is over
	ShreddingProposed = "proposed" // it waits for a second person
	ShreddingDoing    = "doing"    // it was approved
	ShreddingDone     = "done"     // the key is destroyed
	ShreddingRejected = "rejected"
	ShreddingExpired  = "expired" // nobody answered in time
)

// AdmitShreddingInput asks whether a shredding may be proposed.
type AdmitShreddingInput struct {
	Shredding countersign.SignedShredding `json:"shredding"`
	Keeper    Execution                   `json:"keeper"`
}

// ShreddingAdmission is what was found out about a proposal, or why it was refused.
type ShreddingAdmission struct {
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	By      Named                `json:"by"`
	Given   *Proven              `json:"given,omitempty"`
	Key     string               `json:"key"` // id of the person's key
	At      time.Time            `json:"at"`
}

// ShreddingAnswerInput asks whether one answer counts.
type ShreddingAnswerInput struct {
	Ordinal   int                   `json:"ordinal"` // of the signal, from 1
	Payload   json.RawMessage       `json:"payload"`
	Shredding countersign.Shredding `json:"shredding"`
	Key       string                `json:"key"`
	Keeper    Execution             `json:"keeper"`
}

// ShreddingAnswered is what became of one answer.
type ShreddingAnswered struct {
	Ordinal int                                `json:"ordinal"`
	Sender  string                             `json:"sender"`
	At      time.Time                          `json:"at"`
	Refusal *countersign.Refusal               `json:"refusal,omitempty"`
	By      *Named                             `json:"by,omitempty"`
	Answer  *countersign.SignedShreddingAnswer `json:"answer,omitempty"`
	Taken   *Proven                            `json:"taken,omitempty"`
}

// ShredInput is what is to be done, with all that it stands on.
type ShredInput struct {
	Shredding countersign.SignedShredding `json:"shredding"`
	Admission ShreddingAdmission          `json:"admission"`
	Answered  ShreddingAnswered           `json:"answered"`
	Keeper    Execution                   `json:"keeper"`
}

// ShreddingRecord is locked once a key is destroyed: who ordered it, and which key it was. It doesn't name the person, and the digest of what was proposed
// has a random nonce in it that is not here, so that a guess can't be compared.
type ShreddingRecord struct {
	V         int                               `json:"v"`
	Tenant    string                            `json:"tenant"`
	Shredding string                            `json:"shredding"` // digest of what was proposed
	Key       string                            `json:"key"`
	Proposed  Named                             `json:"proposed"`
	Proof     countersign.Proof                 `json:"proof"` // of whoever proposed it: an ID token whose nonce is that digest
	Given     *Proven                           `json:"given"`
	Approved  Named                             `json:"approved"`
	Answer    countersign.SignedShreddingAnswer `json:"answer"`
	Taken     *Proven                           `json:"taken"`
	Keeper    Execution                         `json:"keeper"`
	Gone      time.Time                         `json:"gone"` // when the key was seen to be gone
}

// Shredded is the record of a shredding and where it is locked.
type Shredded struct {
	Record ShreddingRecord    `json:"record"`
	Object countersign.Object `json:"object"`
}

// ShreddingStatus is the answer to the status query of the workflow that keeps a shredding.
type ShreddingStatus struct {
	Digest    string                `json:"digest"`
	Shredding countersign.Shredding `json:"shredding"`
	State     string                `json:"state"`
	Refusal   *countersign.Refusal  `json:"refusal,omitempty"`
	Key       string                `json:"key,omitempty" doc:"Id of the key that is, or would be, destroyed."`
	By        Named                 `json:"by"`
	Proposed  time.Time             `json:"proposed"`
	Due       *time.Time            `json:"due,omitempty"`
	Answers   []ShreddingAnswered   `json:"answers"`
	Done      *Shredded             `json:"done,omitempty"`
	Problem   string                `json:"problem,omitempty"` // what a person has to mend, so that it can go on
	Keeper    Execution             `json:"keeper"`
}

// ShreddingBound is what the ID token of whoever proposes a shredding proves.
func ShreddingBound(s countersign.Shredding, digest string) identity.Bound {
	return identity.Bound{Digest: digest, Actor: s.Actor, IssuedAt: s.IssuedAt, What: "shredding"}
}

// ShreddingAnswerBound is what the ID token of whoever answers proves.
func ShreddingAnswerBound(a countersign.ShreddingAnswer, digest string) identity.Bound {
	return identity.Bound{Digest: digest, Actor: a.Actor, IssuedAt: a.IssuedAt, What: "answer"}
}
