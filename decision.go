package countersign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gowebpki/jcs"
)

// Verdict is what a decision says.
type Verdict string

// The verdicts. Silence is none of them: a stage whose deadline passes expires.
const (
	Approve Verdict = "approve"
	Reject  Verdict = "reject"
	// Skip breaks the glass: in an emergency, those whom the purpose names for it sign off without waiting for the stages that are open
	// or still to come. It overrules no rejection, and is reviewed.
	Skip Verdict = "break-glass"
)

// Decision is what a person decides, with everything that the decision depends on. Its digest is what the person's own
// identity provider binds to the person: change a byte of it and the proof no longer fits.
type Decision struct {
	V          int      `json:"v"`
	Tenant     string   `json:"tenant"`
	Signing    string   `json:"signing"` // the saga's workflow id
	Run        string   `json:"run"`     // the saga's run id
	Stage      string   `json:"stage"`
	Context    string   `json:"context"` // digest of the transaction context, see Context
	Document   Document `json:"document"`
	Verdict    Verdict  `json:"verdict"`
	Reason     string   `json:"reason"`
	Actor      Actor    `json:"actor"`
	OnBehalfOf *Actor   `json:"onBehalfOf,omitempty"` // whose role it is, where the decision is made under a grant
	Grants     []string `json:"grants"`               // digests of the grants used, from the role's holder to the actor; empty without delegation
	Policy     string   `json:"policy"`               // hash of the frozen policy set
	IssuedAt   int64    `json:"iat"`                  // seconds since 1970, UTC
	ExpiresAt  int64    `json:"exp"`                  // half-open: at this second it is too late
}

// MaxDecisionLife bounds exp - iat: a decision is made now, not kept for later.
const MaxDecisionLife = 15 * time.Minute

// Digest is h = SHA-256("countersign decision v1\0" ‖ RFC 8785 JSON), in hex: the nonce of the proof.
func (d Decision) Digest() (string, error) { return Digest("countersign decision v1", d) }

// Check finds what is wrong with the decision itself, without asking anybody.
func (d Decision) Check() error {
	switch {
	case d.V != Version:
		return fmt.Errorf("decision: v is %d, this build reads %d", d.V, Version)
	case d.Verdict != Approve && d.Verdict != Reject && d.Verdict != Skip:
		return fmt.Errorf("decision: verdict %q is neither approve nor reject, nor break-glass", clip(string(d.Verdict)))
	case d.Verdict == Skip && strings.TrimSpace(d.Reason) == "":
		return errors.New("decision: breaking the glass needs a reason; those who are skipped read it")
	case d.Verdict == Skip && d.OnBehalfOf != nil:
		return errors.New("decision: nobody breaks the glass for somebody else: it can't be lent")
	case d.Actor.Issuer == "" || d.Actor.Subject == "":
		return errors.New("decision: actor needs iss and sub")
	case (d.OnBehalfOf != nil) != (len(d.Grants) > 0):
		return errors.New("decision: onBehalfOf and grants belong together: deciding for somebody needs a grant")
	case d.OnBehalfOf != nil && (d.OnBehalfOf.Issuer == "" || d.OnBehalfOf.Subject == "" || *d.OnBehalfOf == d.Actor):
		return errors.New("decision: onBehalfOf needs iss and sub of somebody else than the actor")
	case len(d.Grants) > MaxGrantDepth+1:
		return fmt.Errorf("decision: names %d grants; a chain has at most %d", len(d.Grants), MaxGrantDepth+1)
	case d.IssuedAt < 0 || d.ExpiresAt > 1<<53-1:
		return errors.New("decision: iat and exp must be seconds since 1970 that every JSON reader keeps (0 to 2^53-1)")
	case d.ExpiresAt <= d.IssuedAt || d.ExpiresAt-d.IssuedAt > int64(MaxDecisionLife/time.Second):
		return fmt.Errorf("decision: exp must be after iat and at most %s later", MaxDecisionLife)
	case !isDigest(d.Context):
		return errors.New("decision: context must be the 64 hex digits of the transaction context")
	}
	for _, grant := range d.Grants {
		if !isDigest(grant) {
			return errors.New("decision: grants are named by their digest, 64 hex digits")
		}
	}
	return checkText("decision: reason", d.Reason, MaxReason)
}

// SignedDecision is the payload of the decide signal.
type SignedDecision struct {
	// ID is chosen by the sender, so that a repeated signal counts once: signals carry no caller's id of their own.
	ID       string   `json:"id" doc:"The sender's id of this decision; the same id counts once."`
	Decision Decision `json:"decision"`
	Proof    Proof    `json:"proof"`
}

// Proof binds a decision to the person who made it.
type Proof struct {
	// IDToken was issued for this decision alone: nonce = the decision's digest, fresh login, and an audience that no
	// service accepts as a credential. It is evidence, not a key to anything, and is archived as such.
	IDToken string `json:"idToken" doc:"ID token (JWT) whose nonce is the decision's digest."`
	// Key is a signature of the person's own enrolled key over the same digest: assurance 2.
	Key *KeyProof `json:"key,omitempty" doc:"A signature of an enrolled key over the decision's digest."`
}

// MaxSignedDecision bounds the payload of a decide signal, in bytes.
const MaxSignedDecision = 32 << 10

// ParseSignedDecision reads the payload of a decide signal strictly: unknown fields, trailing bytes and oversize are errors.
func ParseSignedDecision(raw []byte) (SignedDecision, error) {
	var s SignedDecision
	if len(raw) > MaxSignedDecision {
		return s, fmt.Errorf("couldn't read the decision: it has %d bytes, at most %d", len(raw), MaxSignedDecision)
	}
	if err := ParseStrict(raw, &s); err != nil {
		return s, fmt.Errorf("couldn't read the decision: %w", err)
	}
	if err := CheckRequestID(s.ID); err != nil {
		return s, fmt.Errorf("couldn't read the decision: id: %w", err)
	}
	return s, nil
}

// CheckSent finds out whether a decision, as the payload of its signal has it, is the JSON that its digest is of, but for the order and the white space.
// A member that is left out and read as empty would give whoever only has the payload another digest than was proven, and the proof would be none to them.
func (s SignedDecision) CheckSent(raw []byte) error {
	var sent struct {
		Decision json.RawMessage `json:"decision"`
	}
	if err := json.Unmarshal(raw, &sent); err != nil {
		return fmt.Errorf("couldn't read the decision: %w", err)
	}
	got, err := jcs.Transform(sent.Decision)
	if err != nil {
		return fmt.Errorf("couldn't make the decision canonical (RFC 8785): %w", err)
	}
	want, err := Canonical(s.Decision)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("decision: send it whole, as its digest is of it: every member that is not optional, also an empty one, and no other")
	}
	return nil
}

// Refusal is why something did not count. The code is for machines and stays; the message is for the person.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r Refusal) Error() string { return r.Message }

// Refuse makes a refusal.
func Refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// DecisionRecord is what became of one decide signal: counted, or refused with the reason. Both are evidence.
type DecisionRecord struct {
	ID      string  `json:"id"`
	Stage   string  `json:"stage"`
	Verdict Verdict `json:"verdict"`
	Actor   Actor   `json:"actor"`
	Digest  string  `json:"digest"`
	At      string  `json:"at"` // RFC 3339 UTC, when the server took the signal
	// Delegators lent the authority, the role's holder first; none where the actor holds the role.
	Delegators []Actor  `json:"delegators,omitempty"`
	Refusal    *Refusal `json:"refusal,omitempty"`
}

// Counted says that the decision took effect.
func (r DecisionRecord) Counted() bool { return r.Refusal == nil }

// ContextVersion is the version of the contexts that this build makes. From version 2 on a context names the trusted issuers.
const ContextVersion = 2

// Context is the transaction that a signing is about. Its digest travels through start, decision, signature,
// notification and evidence; a change at any hop no longer fits.
type Context struct {
	V         int      `json:"v"` // ContextVersion, or 1 in contexts up to v0.2.0
	Tenant    string   `json:"tenant"`
	Signing   string   `json:"signing"`
	Run       string   `json:"run"`
	Request   string   `json:"request"` // fingerprint of the request
	Requester Actor    `json:"requester"`
	Document  Document `json:"document"`
	Plan      string   `json:"plan"`     // digest of the frozen plan
	Policy    string   `json:"policy"`   // hash of the frozen policy set
	Settings  string   `json:"settings"` // hash of the tenant's settings at intake
	// SignedAs is the form of the signature that people approve: SignedInPDF, or empty in transactions that builds up to v0.1.0 admitted,
	// which are signed beside the document.
	SignedAs string `json:"signedAs,omitempty"`
	// Stamped says that every decision which is proven gets a time-stamp of its own. Absent in contexts of v0.1.0. It is here because people
	// approve the context's digest: whoever takes the time-stamps out of the evidence can't take out that there were some.
	Stamped bool `json:"stamped,omitempty"`
	// VisibleSeal is what the signature shows on a page; nil where it is invisible, as in all contexts of v0.1.0. The context's digest is in it, and so
	// is for whoever draws it to add.
	VisibleSeal *VisibleSeal `json:"visibleSeal,omitempty"`
	// Issuers is the digest of the identity providers that the tenant trusted at intake, see IssuersDigest: nobody widens later who may prove. It is
	// there exactly from version 2 on.
	Issuers string `json:"issuers,omitempty"`
}

// SignedInPDF is the form of a signature in the PDF itself, PAdES-BASELINE-T.
const SignedInPDF = "PAdES-B-T"

// Digest names the transaction.
func (c Context) Digest() (string, error) { return Digest("countersign context v1", c) }

// IssuersDigest names identity providers with all that a tenant's file says of them, in its order. Their keys are not among it: they change by
// themselves, and are archived with what they proved.
func IssuersDigest(list []Issuer) (string, error) { return Digest("countersign issuers v1", list) }
