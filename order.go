package countersign

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What compliance may order about the locked evidence of one request.
const (
	OrderHold   = "hold"   // keep it, whatever its retention says, until the order is lifted; a second person has to approve
	OrderLift   = "lift"   // end a hold; a second person has to approve
	OrderRetain = "retain" // keep it at least until a day; a retention is never shortened, so one person is enough
)

// MaxMatter bounds the reference of the matter that an order is for, in characters.
const MaxMatter = 200

// MaxRetention bounds how far ahead evidence may be ordered to be retained. COMPLIANCE retention can't be taken back: a slip of the pen must not last for ever.
const MaxRetention = 100 * 365 * 24 * time.Hour

// OrderAnswerTime is how long an order, or a shredding, waits for its second person. After it nothing is done, and that is recorded.
const OrderAnswerTime = 14 * 24 * time.Hour

// Order is what one person of the tenant's compliance orders, or proposes, about the locked evidence of one request. It names the exact version of the
// bundle, so that nobody holds one thing and finds another held.
type Order struct {
	V        int    `json:"v"`
	Tenant   string `json:"tenant"`
	Request  string `json:"request"`
	Act      string `json:"act" enum:"hold,lift,retain"`
	Matter   string `json:"matter,omitempty" maxLength:"200" doc:"Reference of the matter, as the case's own files have it. A hold lasts until the hold of its own matter is lifted."`
	Reason   string `json:"reason" maxLength:"2000"`
	Bundle   Object `json:"bundle" doc:"The version of the bundle that it is about."`
	Until    int64  `json:"until,omitempty" doc:"Of retain alone: seconds since 1970 until which it is kept at least."`
	Actor    Actor  `json:"actor"`
	IssuedAt int64  `json:"iat"` // seconds since 1970, UTC
}

// Digest is SHA-256("countersign order v1\0" ‖ RFC 8785 JSON), in hex: the order's name, and the nonce of the proof of whoever gives it.
func (o Order) Digest() (string, error) { return Digest("countersign order v1", o) }

// NeedsSecond says that another person has to approve the order before anything is done.
func (o Order) NeedsSecond() bool { return o.Act != OrderRetain }

// Kind is the type of the workflow that keeps the order.
func (o Order) Kind() string {
	if o.Act == OrderRetain {
		return WorkflowRetain
	}
	return WorkflowHold
}

// Keeper is the workflow id under which the order is kept. A hold that waits for its second person is in no retention's way.
func (o Order) Keeper() string {
	if o.Act == OrderRetain {
		return RetentionID(o.Tenant, o.Request)
	}
	return HoldID(o.Tenant, o.Request)
}

// Check finds what is wrong with the order itself, without asking anybody.
func (o Order) Check() error {
	if o.V != Version {
		return fmt.Errorf("order: v is %d, this build reads %d", o.V, Version)
	}
	if err := CheckTenantID(o.Tenant); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if err := CheckRequestID(o.Request); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	switch {
	case o.Act != OrderHold && o.Act != OrderLift && o.Act != OrderRetain:
		return fmt.Errorf("order: act %q is none of hold, lift, retain", clip(o.Act))
	case o.NeedsSecond() && strings.TrimSpace(o.Matter) == "":
		return errors.New("order: a matter is missing; name the case that the evidence is held for")
	case strings.TrimSpace(o.Reason) == "":
		return errors.New("order: a reason is missing")
	case strings.ContainsAny(o.Matter, "\n\t"):
		return errors.New("order: a matter is one line")
	case o.Actor.Issuer == "" || o.Actor.Subject == "":
		return errors.New("order: actor needs iss and sub")
	case o.Bundle.Key != EvidenceKey(o.Tenant, o.Request) || o.Bundle.Bucket == "" || o.Bundle.VersionID == "" || !isDigest(o.Bundle.SHA256):
		return errors.New("order: bundle must name the version and the SHA-256 of the request's bundle")
	case o.IssuedAt < 0 || o.IssuedAt > 1<<53-1:
		return errors.New("order: iat must be seconds since 1970")
	case (o.Act == OrderRetain) != (o.Until != 0):
		return errors.New("order: until belongs to retain, and to nothing else")
	case o.Act == OrderRetain && (o.Until <= o.IssuedAt || o.Until-o.IssuedAt > int64(MaxRetention/time.Second)):
		return fmt.Errorf("order: until must be after iat and at most %d years later: nobody can take a retention back", MaxRetention/(365*24*time.Hour))
	}
	if err := checkText("order: matter", o.Matter, MaxMatter); err != nil {
		return err
	}
	return checkText("order: reason", o.Reason, MaxReason)
}

// SignedOrder is the input of the workflow that keeps an order. The proof is an ID token of its actor whose nonce is the order's digest.
type SignedOrder struct {
	Order Order `json:"order"`
	Proof Proof `json:"proof"`
}

// Check finds what is wrong with the order itself, without asking anybody.
func (s SignedOrder) Check() error { return s.Order.Check() }

// Ordered is what the order has in common with all others.
func (s SignedOrder) Ordered() (Ordered, error) {
	o := s.Order
	digest, err := o.Digest()
	return Ordered{
		What: "order", Tenant: o.Tenant, Actor: o.Actor, IssuedAt: o.IssuedAt, Digest: digest, Proof: s.Proof, Kind: o.Kind(), Keeper: o.Keeper(), Second: o.NeedsSecond(),
	}, err
}

// Given is what one person of a tenant's compliance orders, with its proof: a SignedOrder or a SignedShredding.
type Given interface {
	Check() error
	Ordered() (Ordered, error)
}

// Ordered is what everything that compliance orders has in common, whatever it does.
type Ordered struct {
	What     string // an order or a shredding, for messages
	Tenant   string
	Actor    Actor
	IssuedAt int64
	Digest   string // its name, and the nonce of the proof of whoever gives it
	Proof    Proof
	Kind     string // type of the workflow that keeps it
	Keeper   string // id of that workflow
	Second   bool   // another person has to approve it before anything is done
	DryRun   bool   // it asks what would be done, and does nothing
}

// OrderAnswer is what a second person of compliance says to an order, or to a shredding. Of a shredding it names the key that would go as well, so that nobody
// approves one thing and another is done.
type OrderAnswer struct {
	V         int     `json:"v"`
	Tenant    string  `json:"tenant"`
	Order     string  `json:"order,omitempty" doc:"Digest of the order."`
	Shredding string  `json:"shredding,omitempty" doc:"Instead of order: digest of the shredding that was proposed."`
	Key       string  `json:"key,omitempty" doc:"Of a shredding: id of the key that would be destroyed, as the proposal's status has it."`
	Verdict   Verdict `json:"verdict" enum:"approve,reject"`
	Reason    string  `json:"reason,omitempty" maxLength:"2000"`
	Actor     Actor   `json:"actor"`
	IssuedAt  int64   `json:"iat"`
}

// Digest is SHA-256(domain ‖ RFC 8785 JSON), in hex, the nonce of the proof of whoever answers. The domain is "countersign order answer v1\0", of a shredding
// "countersign shredding answer v1\0".
func (a OrderAnswer) Digest() (string, error) {
	if a.Shredding != "" {
		return Digest("countersign shredding answer v1", a)
	}
	return Digest("countersign order answer v1", a)
}

// Check finds what is wrong with the answer itself, without asking anybody.
func (a OrderAnswer) Check() error {
	if a.V != Version {
		return fmt.Errorf("answer: v is %d, this build reads %d", a.V, Version)
	}
	if err := CheckTenantID(a.Tenant); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	shreds := a.Shredding != ""
	switch {
	case shreds == (a.Order != "") || !isDigest(a.Order+a.Shredding):
		return errors.New("answer: order must be the 64 hex digits of an order's digest, or shredding those of a shredding's")
	case shreds != (a.Key != "") || len(a.Key) > 64:
		return errors.New("answer: key belongs to a shredding, and must be the id of the key that the proposal names")
	case a.Verdict != Approve && a.Verdict != Reject:
		return fmt.Errorf("answer: verdict %q is neither approve nor reject", clip(string(a.Verdict)))
	case a.Verdict == Reject && strings.TrimSpace(a.Reason) == "":
		return errors.New("answer: a rejection needs a reason")
	case shreds && a.Verdict == Approve && a.Reason != "":
		return errors.New("answer: an approval of a shredding has no reason: it is locked as it is, and could name the person")
	case a.Actor.Issuer == "" || a.Actor.Subject == "":
		return errors.New("answer: actor needs iss and sub")
	case a.IssuedAt < 0 || a.IssuedAt > 1<<53-1:
		return errors.New("answer: iat must be seconds since 1970")
	}
	return checkText("answer: reason", a.Reason, MaxReason)
}

// SignedOrderAnswer is the payload of the answer signal. The proof is an ID token of its actor whose nonce is the answer's digest.
type SignedOrderAnswer struct {
	Answer OrderAnswer `json:"answer"`
	Proof  Proof       `json:"proof"`
}
