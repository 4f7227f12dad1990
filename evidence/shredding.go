package evidence

import (
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
)

// Names of the activities of a shredding.
const (
	ActivityAdmitShredding       = "AdmitShredding"
	ActivityCheckShreddingAnswer = "CheckShreddingAnswer"
	ActivityShred                = "Shred"
)

// AdmitShreddingInput asks whether a shredding may be proposed.
type AdmitShreddingInput struct {
	Shredding countersign.SignedShredding `json:"shredding"`
	Keeper    Execution                   `json:"keeper"`
}

// ShreddingAnswerInput asks whether one answer counts.
type ShreddingAnswerInput struct {
	Ordinal   int                   `json:"ordinal"` // of the signal, from 1
	Payload   json.RawMessage       `json:"payload"`
	Shredding countersign.Shredding `json:"shredding"`
	Key       string                `json:"key"`
	Keeper    Execution             `json:"keeper"`
}

// ShredInput is what is to be done, with all that it stands on.
type ShredInput struct {
	Shredding countersign.SignedShredding `json:"shredding"`
	Admission OrderAdmission              `json:"admission"`
	Answered  OrderAnswered               `json:"answered"`
	Keeper    Execution                   `json:"keeper"`
}

// ShreddingRecord is locked once a key is destroyed: who ordered it, and which key it was. It doesn't name the person, and the digest of what was proposed
// has a random nonce in it that is not here, so that a guess can't be compared.
type ShreddingRecord struct {
	V         int                           `json:"v"`
	Tenant    string                        `json:"tenant"`
	Shredding string                        `json:"shredding"` // digest of what was proposed
	Key       string                        `json:"key"`
	Proposed  Named                         `json:"proposed"`
	Proof     countersign.Proof             `json:"proof"` // of whoever proposed it: an ID token whose nonce is that digest
	Given     *Proven                       `json:"given"`
	Approved  Named                         `json:"approved"`
	Answer    countersign.SignedOrderAnswer `json:"answer"`
	Taken     *Proven                       `json:"taken"`
	Keeper    Execution                     `json:"keeper"`
	Gone      time.Time                     `json:"gone"` // when the key was seen to be gone
}

// Shredded is the record of a shredding and where it is locked.
type Shredded struct {
	Record ShreddingRecord    `json:"record"`
	Object countersign.Object `json:"object"`
}

// ShreddingStatus is where a shredding stands: the answer to the status query of the workflow that keeps it, and its result.
type ShreddingStatus struct {
	OrderProgress
	Shredding countersign.Shredding `json:"shredding"`
	Key       string                `json:"key,omitempty" doc:"Id of the key that is, or would be, destroyed."`
	Proposed  time.Time             `json:"proposed"`
	Done      *Shredded             `json:"done,omitempty"`
}
