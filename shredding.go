package countersign

import (
	"errors"
	"fmt"
	"strings"
)

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

// Check finds what is wrong with it by itself, without asking anybody.
func (s SignedShredding) Check() error { return s.Shredding.Check() }

// Ordered is what it has in common with all other orders.
func (s SignedShredding) Ordered() (Ordered, error) {
	o := s.Shredding
	digest, err := o.Digest()
	return Ordered{
		What: "shredding", Tenant: o.Tenant, Actor: o.Actor, IssuedAt: o.IssuedAt, Digest: digest, Proof: s.Proof, Kind: WorkflowShredding, Keeper: ShreddingID(o.Tenant, digest),
		Second: true, DryRun: o.DryRun,
	}, err
}
