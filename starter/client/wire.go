// Package client is what a caller of the HTTP API needs: the documents that go over the wire, and a client that speaks them. It is
// what the countersign command is made of, and imports nothing of the server.
package client

import (
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// SigningRequest is what a caller asks: countersign.Request, with what the path and the headers can give left out.
type SigningRequest struct {
	V         int                  `json:"v" doc:"Version of this document: 1." enum:"1"`
	Tenant    string               `json:"tenant,omitempty" doc:"The tenant whose key signs; the path's if left out."`
	ID        string               `json:"request,omitempty" doc:"The caller's own id of the request; the same id is the same signing. Derived from Idempotency-Key if left out."`
	Purpose   string               `json:"purpose" doc:"One of the tenant's purposes; it decides who must approve."`
	Title     string               `json:"title" doc:"What approvers read." maxLength:"200"`
	Document  countersign.Document `json:"document"`
	Deadlines map[string]time.Time `json:"deadlines,omitempty" doc:"Absolute deadline of a stage, by the stage's name."`
}

// Request is the request as the pipeline takes it.
func (r SigningRequest) Request() countersign.Request {
	return countersign.Request{V: r.V, Tenant: r.Tenant, ID: r.ID, Purpose: r.Purpose, Title: r.Title, Document: r.Document, Deadlines: r.Deadlines}
}

// Started names a signing that was started. The same request gets the same answer.
type Started struct {
	Request   string `json:"request" doc:"Id of the request."`
	Custodian string `json:"custodian" doc:"Workflow id of the custodian."`
	Saga      string `json:"saga" doc:"Workflow id of the saga: what decisions name as their signing."`
	Status    string `json:"status" doc:"Path of the status."`
}

// The states of a signing, in their order.
const (
	StateIntake   = "intake"   // the request and its document are being checked
	StateApproval = "approval" // a stage is open
	StateSigning  = "signing"  // the key is being asked
	StateEnding   = "ending"   // everybody is being told
	StateSealing  = "sealing"  // the evidence is being made
	StateLocking  = "locking"  // the evidence is being locked
	StateVoiding  = "voiding"  // the evidence could not be locked: the signature is being destroyed
	StateDone     = "done"     // the evidence is locked
)

// Status is where a signing stands: saga and custodian in one.
type Status struct {
	Tenant      string                         `json:"tenant"`
	Request     string                         `json:"request"`
	Title       string                         `json:"title"`
	Purpose     string                         `json:"purpose"`
	State       string                         `json:"state" enum:"intake,approval,signing,ending,sealing,locking,voiding,done"`
	Stage       string                         `json:"stage,omitempty" doc:"The open stage; the first of them where several are open side by side."`
	Open        []string                       `json:"open,omitempty" doc:"All open stages, in the plan's order."`
	Released    bool                           `json:"released" doc:"True only when the signing is completed and its evidence locked."`
	Pending     bool                           `json:"evidencePending" doc:"Signed, and its evidence is not locked yet: nothing is released, and it may still be voided."`
	Outcome     countersign.Outcome            `json:"outcome,omitempty" doc:"How it ended. A completed signing has none before its evidence is locked."`
	Meaning     string                         `json:"meaning,omitempty"`
	Detail      string                         `json:"detail,omitempty"`
	Problem     string                         `json:"problem,omitempty" doc:"What whoever runs the service has to mend, so that the signing can go on."`
	Requester   *countersign.Actor             `json:"requester,omitempty" doc:"As the Temporal server stamped the start."`
	Document    *countersign.Document          `json:"document,omitempty" doc:"Absent until intake has read it."`
	Custodian   string                         `json:"custodian"`
	Saga        evidence.Execution             `json:"saga"`
	Context     string                         `json:"context,omitempty" doc:"Digest of the transaction context."`
	Transaction *countersign.Context           `json:"transaction,omitempty" doc:"What the context is the digest of: whoever decides can compute it."`
	Asked       *countersign.Request           `json:"asked,omitempty" doc:"The request as it was admitted; the transaction holds its digest."`
	Policy      string                         `json:"policy,omitempty" doc:"Hash of the frozen policy set."`
	Plan        *countersign.Plan              `json:"plan,omitempty" doc:"The frozen plan of approval."`
	Decisions   []countersign.DecisionRecord   `json:"decisions" doc:"What became of each decide signal, in their order."`
	Decided     []countersign.Actor            `json:"decided" doc:"Who decided, and counted."`
	Withdrawals []countersign.WithdrawalRecord `json:"withdrawals" doc:"What became of each withdraw signal, in their order."`
	Ignored     int                            `json:"ignored" doc:"Signals that came after the end, or beyond the limit."`
	Evidence    *evidence.Locked               `json:"evidence,omitempty" doc:"The locked bundle, once the state is done."`
}

// Over says that nothing is decided any more.
func (s Status) Over() bool { return s.State != StateIntake && s.State != StateApproval }

// Record finds what became of a decision. One that was sent again has more than one record; one that counted is told before one that didn't.
func (s Status) Record(id string) (found countersign.DecisionRecord, ok bool) {
	for _, r := range s.Decisions {
		if r.ID == id && (!ok || r.Counted()) {
			found, ok = r, true
		}
	}
	return found, ok
}

// Withdrawal finds what became of a withdrawal. One that was sent again has more than one record; one that took effect is told before one that didn't.
func (s Status) Withdrawal(id string) (found countersign.WithdrawalRecord, ok bool) {
	for _, r := range s.Withdrawals {
		if r.ID == id && (!ok || r.Refusal == nil) {
			found, ok = r, true
		}
	}
	return found, ok
}

// Waiting is one signing that waits for the caller's decision, in their own right or in another person's place.
type Waiting struct {
	Request  string    `json:"request"`
	Title    string    `json:"title"`
	Purpose  string    `json:"purpose"`
	Stage    string    `json:"stage"`
	Deadline time.Time `json:"deadline"`
	// Grant and OnBehalfOf are set where it waits for the caller under a grant alone.
	Grant      string             `json:"grant,omitempty" doc:"Digest of the grant under which you may decide; left out where you may in your own right."`
	OnBehalfOf *countersign.Actor `json:"onBehalfOf,omitempty" doc:"In whose place."`
}

// Inbox is what waits for the caller, the nearest deadline first.
type Inbox struct {
	Waiting    []Waiting `json:"waiting"`
	Truncated  bool      `json:"truncated" doc:"More signings are running, or more grants are live, than were looked at."`
	Unanswered int       `json:"unanswered" doc:"Running signings and live grants that could not be asked; some of them may be yours."`
}

// Draft is a decision as it would be made. It decides nothing: the caller checks it, and proves it with an ID token whose nonce
// is its digest.
type Draft struct {
	Decision countersign.Decision `json:"decision"`
	Digest   string               `json:"digest" doc:"Digest of the decision: the nonce of the proof. Compute it yourself."`
	Document string               `json:"document" doc:"Path of the document that is decided about."`
	Deadline time.Time            `json:"deadline"`
	Open     bool                 `json:"open" doc:"False where the stage opens later: the decision is then checked now and counts when it opens."`
}

// Accepted says that a signal was taken. Whether it counts is in the status.
type Accepted struct {
	ID     string `json:"id" doc:"Id of the decision or withdrawal."`
	Status string `json:"status" doc:"Path of the status."`
}

// WithdrawalBody takes a request back.
type WithdrawalBody struct {
	ID     string `json:"id,omitempty" doc:"The caller's id, for duplicates; made if left out."`
	Reason string `json:"reason" maxLength:"2000"`
}

// Problem is an error as the API tells it (RFC 9457). The code is for machines and stays.
type Problem struct {
	Type   string   `json:"type"`
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Code   string   `json:"code"`
	Errors []string `json:"errors,omitempty" doc:"Each fault of the request, with its place."`
}

func (p *Problem) Error() string {
	text := p.Detail
	for _, e := range p.Errors {
		text += "; " + e
	}
	return text + " (" + p.Code + ")"
}
