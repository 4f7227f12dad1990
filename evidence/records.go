package evidence

import (
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// The records are what the steps of a signing write into its Temporal history, as the input and result of activities.
// They are the only source of the evidence: the statement is derived from them, and derived again by the verifier.

// AdmitInput asks whether a request may become a signing.
type AdmitInput struct {
	Request   countersign.Request `json:"request"`
	Saga      Execution           `json:"saga"`
	Custodian Execution           `json:"custodian"`
	StartedAt time.Time           `json:"startedAt"` // deadlines count from here
}

// Execution names one run of a workflow.
type Execution struct {
	Workflow string `json:"workflow"`
	Run      string `json:"run"`
}

// Admission is the result of intake: either a refusal, or everything that is frozen for this signing.
type Admission struct {
	Refusal       *countersign.Refusal `json:"refusal,omitempty"`
	Requester     countersign.Member   `json:"requester"` // as the server stamped the start
	Context       countersign.Context  `json:"context"`
	Digest        string               `json:"contextDigest"`
	Plan          countersign.Plan     `json:"plan"`
	Issuers       []countersign.Issuer `json:"issuers"`
	PolicyText    string               `json:"policyText"`
	Question      *policy.Question     `json:"question,omitempty"`
	Answer        *policy.Answer       `json:"answer,omitempty"`
	Document      DocumentFacts        `json:"document"`
	ReleaseWithin countersign.Duration `json:"releaseWithin"`
	At            time.Time            `json:"at"`
	// Source is from where the request was sent, where the API recorded it.
	Source *Source `json:"source,omitempty"`
	// PostQuantum is the key that the tenant's file named for a post-quantum signature of the evidence; nil where it named none.
	PostQuantum *PostQuantumRecord `json:"postQuantum,omitempty"`
}

// DocumentFacts are what was seen when the document was read.
type DocumentFacts struct {
	Bytes int64 `json:"bytes"`
	Pages int   `json:"pages"`
	// NoSeal is why the signature is invisible although the tenant's file asks for a visible seal; empty where it is visible or nobody asked.
	NoSeal string `json:"noSeal,omitempty"`
}

// CheckInput asks whether one decide signal counts.
type CheckInput struct {
	Ordinal    int                 `json:"ordinal"` // the how-manieth decide signal of the saga, from 1: the server's stamp is read off that event
	Signed     json.RawMessage     `json:"signed"`  // the signal's payload as it came
	Saga       Execution           `json:"saga"`
	Tenant     string              `json:"tenant"`
	Context    string              `json:"context"`
	Document   countersign.Object  `json:"document"`
	Policy     string              `json:"policy"`
	PolicyText string              `json:"policyText"`
	Requester  countersign.Actor   `json:"requester"`
	Stages     []countersign.Stage `json:"stages"` // those not yet closed
	Decided    []countersign.Actor `json:"decided"`
	// Issuers are those that the signing is frozen to: whoever verifies the evidence has no others. Absent in histories of v0.1.0.
	Issuers []countersign.Issuer `json:"issuers,omitempty"`
	// BreakGlass is who may skip waiting, where the plan names somebody.
	BreakGlass *countersign.BreakGlass `json:"breakGlass,omitempty"`
	// Purpose is the plan's: cover for an absence reaches signings by it. Absent in histories of v0.1.0, in which no cover counts.
	Purpose string `json:"purpose,omitempty"`
}

// Check is what became of one decide signal, with all that the answer depended on. At is when the server took the signal: deadline,
// proof and policy are judged as of then, however long the check itself took.
type Check struct {
	Record countersign.DecisionRecord `json:"record"`
	Sender string                     `json:"sender"` // principal that the Temporal server stamped on the signal
	Facts  *identity.Facts            `json:"facts,omitempty"`
	// Authority is set where the decision was made under a grant, and Key where an enrolled key signed it.
	Authority *Authority       `json:"authority,omitempty"`
	Key       *KeyRecord       `json:"key,omitempty"`
	Question  *policy.Question `json:"question,omitempty"`
	Answer    *policy.Answer   `json:"answer,omitempty"`
	At        time.Time        `json:"at"`
	// Stamp is the time-stamp token (RFC 3161) over the decision's digest, taken as soon as the decision was proven. Absent in histories of v0.1.0.
	Stamp []byte `json:"stamp,omitempty"`
}

// WithdrawInput asks whether one withdraw signal counts.
type WithdrawInput struct {
	Ordinal    int               `json:"ordinal"`
	Withdrawal json.RawMessage   `json:"withdrawal"`
	Saga       Execution         `json:"saga"`
	Tenant     string            `json:"tenant"`
	Requester  countersign.Actor `json:"requester"`
	PolicyText string            `json:"policyText"`
	TooLate    bool              `json:"tooLate,omitempty"` // the key is being asked
}

// Withdrawn is what became of one withdraw signal.
type Withdrawn struct {
	ID      string               `json:"id"`
	Reason  string               `json:"reason"`
	Sender  string               `json:"sender"`
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	// Question is there where the policy was asked. Transactions of version 1 had only its answer recorded.
	Question *policy.Question `json:"question,omitempty"`
	Answer   *policy.Answer   `json:"answer,omitempty"`
	At       time.Time        `json:"at"`
}

// SignInput asks for the signature, with the decisions that entitle to it.
type SignInput struct {
	Request   string              `json:"request"`
	Context   countersign.Context `json:"context"`
	Digest    string              `json:"contextDigest"`
	Plan      countersign.Plan    `json:"plan"`
	Decisions []CountedDecision   `json:"decisions"`
}

// CountedDecision is a decision that counted, with what is needed to check it again.
type CountedDecision struct {
	Signed    countersign.SignedDecision `json:"signed"`
	Key       json.RawMessage            `json:"key"` // the issuer's public key
	At        time.Time                  `json:"at"`  // when it was first checked
	Authority *Authority                 `json:"authority,omitempty"`
	Enrolled  *KeyRecord                 `json:"enrolled,omitempty"`
}

// Counted is what the signing step needs of a decision that counted.
func (c Check) Counted(signed countersign.SignedDecision) CountedDecision {
	return CountedDecision{Signed: signed, Key: c.Facts.Key, At: c.At, Authority: c.Authority, Enrolled: c.Key}
}

// People are those whose one vote a decision that counted has used up: its actor, and whoever lent them the authority.
func (c Check) People() []countersign.Actor {
	return append([]countersign.Actor{c.Record.Actor}, c.Authority.Delegators()...)
}

// Intent is written and locked before the key is asked: a signature without an intent can't be ours.
type Intent struct {
	V        int                 `json:"v"`
	Context  string              `json:"context"`
	Document countersign.Object  `json:"document"`
	Saga     Execution           `json:"saga"`
	Key      string              `json:"key"`
	At       time.Time           `json:"at"`
	Stored   *countersign.Object `json:"stored,omitempty"`
}

// Signature is the stored signature of the document: the first one that was stored is the one that counts.
type Signature struct {
	Refusal   *countersign.Refusal `json:"refusal,omitempty"`
	Object    countersign.Object   `json:"object"`
	Key       string               `json:"key"`       // the key's ARN, never an alias
	Algorithm string               `json:"algorithm"` // KMS name
	RequestID string               `json:"requestId"` // of the KMS call, to join with CloudTrail; empty where an earlier attempt stored the signature
	At        time.Time            `json:"at"`        // the time-stamp's time
}

// Event is something that people and systems are told.
type Event struct {
	Type     string              `json:"type"`
	Tenant   string              `json:"tenant"`
	Request  string              `json:"request"`
	Title    string              `json:"title"`
	Context  string              `json:"context"`
	Stage    string              `json:"stage,omitempty"`
	Deadline *time.Time          `json:"deadline,omitempty"`
	Outcome  countersign.Outcome `json:"outcome,omitempty"`
	Detail   string              `json:"detail,omitempty"`
	Evidence *countersign.Object `json:"evidence,omitempty"`
	// Checkpoint is the tenant's log, signed, as of this signing's last entry in it. Whoever keeps it can hold the log to it later.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// NotifyInput says who is to be told what. Addresses are looked up by the worker, so that none is in the history.
type NotifyInput struct {
	ID    string              `json:"id"` // of the message: the same on every attempt, so that receivers can tell repeats
	Event Event               `json:"event"`
	To    []countersign.Actor `json:"to"`
	Owner bool                `json:"owner"` // tell the tenant's owner as well, and where it escalates the tenant's escalation contact
}

// Delivery is what became of one message to one recipient.
type Delivery struct {
	Recipient string    `json:"recipient"` // an actor, "owner", or a webhook by its number and host
	Event     string    `json:"event"`
	Delivered bool      `json:"delivered"`
	Attempts  int       `json:"attempts"`
	Problem   string    `json:"problem,omitempty"`
	At        time.Time `json:"at"`
}

// SagaInput starts the saga; only the custodian does.
type SagaInput struct {
	Request   countersign.Request `json:"request"`
	Custodian Execution           `json:"custodian"`
}

// SagaResult is how the saga ended.
type SagaResult struct {
	Outcome       countersign.Outcome  `json:"outcome"`
	Detail        string               `json:"detail,omitempty"`
	Context       string               `json:"context,omitempty"`
	Signature     *Signature           `json:"signature,omitempty"`
	ReleaseWithin countersign.Duration `json:"releaseWithin,omitempty"`
	Told          []countersign.Actor  `json:"told,omitempty"` // who took part, and is told of the release
	// Records is a running SHA-256 over every signal and every activity result, in the order in which the saga saw them:
	// a history in which one of them was changed does not replay to this value.
	Records string `json:"records"`
}

// What evidence says of an ending that the saga itself could not explain.
const (
	DetailVoided     = "the evidence could not be locked in time"
	DetailTerminated = "an operator terminated the saga"
	DetailBroken     = "the saga ended without a result"
)

// SealInput asks for the evidence of an ended saga.
type SealInput struct {
	Request   countersign.Request `json:"request"`
	Saga      Execution           `json:"saga"`
	Custodian Execution           `json:"custodian"`
	Outcome   countersign.Outcome `json:"outcome"`
	Detail    string              `json:"detail,omitempty"`
	Signature *Signature          `json:"signature,omitempty"`
}

// Sealed is a sealed bundle that waits for its lock. Context and Told are what the saga's history says: a saga that was ended from outside
// left no result to read them from.
type Sealed struct {
	Object  countersign.Object  `json:"object"`
	Bytes   int64               `json:"bytes"`
	Context string              `json:"context,omitempty"`
	Told    []countersign.Actor `json:"told,omitempty"` // who took part, and is told how it ended
}

// Locked is a bundle under Object Lock, as read back from the store. Outcome is what the locked bundle says. The object's digest is the bundle's; where
// the personal data in it is concealed, what is stored has the digest Concealed.
type Locked struct {
	Object      countersign.Object  `json:"object"`
	Concealed   string              `json:"concealed,omitempty"`
	Outcome     countersign.Outcome `json:"outcome"`
	Mode        string              `json:"mode"`
	RetainUntil time.Time           `json:"retainUntil"`
}

// Ending is the custodian's result: what a procurement system gets in the end.
type Ending struct {
	Outcome  countersign.Outcome `json:"outcome"`
	Meaning  string              `json:"meaning"`
	Detail   string              `json:"detail,omitempty"`
	Context  string              `json:"context,omitempty"`
	Evidence Locked              `json:"evidence"`
	Log      *translog.Proof     `json:"log,omitempty"` // that this ending is in the tenant's log
}

// The types of events that people and systems are told.
const (
	EventApprovalRequested = "approval.requested"
	EventApprovalReminder  = "approval.reminder"
	EventApprovalEscalated = "approval.escalated"
	EventGlassBroken       = "glass.broken" // waiting was skipped, and those who were skipped are told
	EventReviewOpened      = "review.opened"
	EventReviewOverdue     = "review.overdue"
	EventReviewClosed      = "review.closed"
	EventSigned            = "signing.signed"   // evidence pending: nothing is released yet
	EventReleased          = "signing.released" // evidence locked
	EventVoided            = "signing.voided"
	EventStuck             = "signing.stuck" // nothing is released, and a person has to mend something; it is tried again until then
	EventEnded             = "signing.ended" // without a signature
	EventGrantOffered      = "grant.offered"
	EventGrantAccepted     = "grant.accepted"
	EventGrantEnded        = "grant.ended" // revoked or given back, before its time
	EventKeyEnrolled       = "key.enrolled"
	EventKeyRetired        = "key.retired"
	EventOrderProposed     = "order.proposed"     // about locked evidence, or what it says of a person: it waits for its second person
	EventOrderApproved     = "order.approved"     // by its second person, and is being carried out
	EventOrderRefused      = "order.refused"      // one of compliance gave it, and it may not be given now
	EventOrderStuck        = "order.stuck"        // it counts and can't be carried out: a person has to mend something, or something has to end
	EventOrderEnded        = "order.ended"        // carried out, rejected or expired
	EventUnfinished        = "signing.unfinished" // the key was about to be asked, and nothing says how it ended
	EventEvidenceChecked   = "evidence.checked"   // samples of the locked evidence were verified, and hold
	EventEvidenceAlarm     = "evidence.alarm"     // something that should be locked and unchanged is not, or could not be looked at
)
