package countersign

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ShreddingAnswerTime is how long an order to shred waits for its second person. After it nothing is done.
const ShreddingAnswerTime = 14 * 24 * time.Hour

// Shredding is what one person of the tenant's compliance proposes: to destroy the key under which personal data of one person in the tenant's evidence is
// concealed. It can't be undone. A dry run asks what it would be, and does nothing.
type Shredding struct {
	V        int    `json:"v"`
	Tenant   string `json:"tenant"`
	Person   Actor  `json:"person" doc:"Whose personal data is shredded."`
	Reason   string `json:"reason" maxLength:"2000"`
	DryRun   bool   `json:"dryRun,omitempty"`
	Nonce    string `json:"nonce" doc:"64 random hex digits: the record of what was done has the digest of this, and must not tell whoever guesses the person."`
	Actor    Actor  `json:"actor"`
	IssuedAt int64  `json:"iat"` // seconds since 1970, UTC
}

// Digest is SHA-256("countersign shredding v1\0" ‖ RFC 8785 JSON), in hex: its name, and the nonce of the proof of whoever proposes it.
func (s Shredding) Digest() (string, error) { return Digest("countersign shredding v1", s) }

// Check finds what is wrong with it by itself, without asking anybody.
func (s Shredding) Check() error {
	if s.V != Version {
		return fmt.Errorf("shredding: v is %d, this build reads %d", s.V, Version)
	}
	if err := CheckTenantID(s.Tenant); err != nil {
		return fmt.Errorf("shredding: %w", err)
	}
	switch {
	case s.Person.Issuer == "" || s.Person.Subject == "":
		return errors.New("shredding: person needs iss and sub")
	case s.Actor.Issuer == "" || s.Actor.Subject == "":
		return errors.New("shredding: actor needs iss and sub")
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("shredding: a reason is missing")
	case !isDigest(s.Nonce):
		return errors.New("shredding: nonce must be 64 random hex digits")
	case s.IssuedAt < 0 || s.IssuedAt > 1<<53-1:
		return errors.New("shredding: iat must be seconds since 1970")
	}
	return checkText("shredding: reason", s.Reason, MaxReason)
}

// SignedShredding is the input of the workflow that keeps it. The proof is an ID token of its actor whose nonce is its digest.
type SignedShredding struct {
	Shredding Shredding `json:"shredding"`
	Proof     Proof     `json:"proof"`
}

// ShreddingAnswer is what a second person of compliance says to it. It names the key that would go, so that nobody approves one thing and another is done.
type ShreddingAnswer struct {
	V         int     `json:"v"`
	Tenant    string  `json:"tenant"`
	Shredding string  `json:"shredding" doc:"Digest of what was proposed."`
	Key       string  `json:"key" doc:"Id of the key that would be destroyed, as the proposal's status has it."`
	Verdict   Verdict `json:"verdict" enum:"approve,reject"`
	Reason    string  `json:"reason,omitempty" maxLength:"2000"`
	Actor     Actor   `json:"actor"`
	IssuedAt  int64   `json:"iat"`
}

// Digest is SHA-256("countersign shredding answer v1\0" ‖ RFC 8785 JSON), in hex: the nonce of the proof of whoever answers.
func (a ShreddingAnswer) Digest() (string, error) {
	return Digest("countersign shredding answer v1", a)
}

// Check finds what is wrong with the answer by itself, without asking anybody.
func (a ShreddingAnswer) Check() error {
	if a.V != Version {
		return fmt.Errorf("answer: v is %d, this build reads %d", a.V, Version)
	}
	if err := CheckTenantID(a.Tenant); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	switch {
	case !isDigest(a.Shredding):
		return errors.New("answer: shredding must be the 64 hex digits of a digest")
	case a.Key == "" || len(a.Key) > 64:
		return errors.New("answer: key must be the id of the key that the proposal names")
	case a.Verdict != Approve && a.Verdict != Reject:
		return fmt.Errorf("answer: verdict %q is neither approve nor reject", clip(string(a.Verdict)))
	case a.Verdict == Reject && strings.TrimSpace(a.Reason) == "":
		return errors.New("answer: a rejection needs a reason")
	case a.Verdict == Approve && a.Reason != "":
		return errors.New("answer: an approval has no reason: it is locked as it is, and could name the person")
	case a.Actor.Issuer == "" || a.Actor.Subject == "":
		return errors.New("answer: actor needs iss and sub")
	case a.IssuedAt < 0 || a.IssuedAt > 1<<53-1:
		return errors.New("answer: iat must be seconds since 1970")
	}
	return checkText("answer: reason", a.Reason, MaxReason)
}

// SignedShreddingAnswer is the payload of the answer signal. The proof is an ID token of its actor whose nonce is the answer's digest.
type SignedShreddingAnswer struct {
	Answer ShreddingAnswer `json:"answer"`
	Proof  Proof           `json:"proof"`
}
