package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
)

// The names of the activities of an order, as its history has them.
const (
	ActivityAdmitOrder       = "AdmitOrder"
	ActivityCheckOrderAnswer = "CheckOrderAnswer"
	ActivityCarryOut         = "CarryOut"
)

// AdmitOrderInput asks whether an order may be given.
type AdmitOrderInput struct {
	Order  countersign.SignedOrder `json:"order"`
	Keeper Execution               `json:"keeper"`
}

// OrderAdmission is the answer, with everything that an answer to the order, and the record of it, will need.
type OrderAdmission struct {
	At    time.Time `json:"at"`
	Title string    `json:"title"`
	By    Named     `json:"by"`
	Given *Proven   `json:"given,omitempty"`
	// Parties requested the signing or decided in it: its evidence is about them, so none of them orders anything about it.
	Parties []countersign.Actor `json:"parties"`
	// Issuers are those of the tenant's file, and Compliance is whom it names: who may answer.
	Issuers    []countersign.Issuer `json:"issuers"`
	Compliance []countersign.Actor  `json:"compliance"`
	Key        string               `json:"key,omitempty"` // of a shredding: id of the person's key
	Refusal    *countersign.Refusal `json:"refusal,omitempty"`
}

// OrderAnswerInput asks whether one answer signal counts.
type OrderAnswerInput struct {
	Ordinal int                 `json:"ordinal"` // the how-manieth answer signal, from 1
	Payload json.RawMessage     `json:"payload"`
	Order   countersign.Order   `json:"order"`
	Parties []countersign.Actor `json:"parties"`
	Keeper  Execution           `json:"keeper"`
}

// OrderAnswered is what became of one answer signal.
type OrderAnswered struct {
	Ordinal int                            `json:"ordinal"`
	Sender  string                         `json:"sender"` // as the server stamped it
	By      *Named                         `json:"by,omitempty"`
	Answer  *countersign.SignedOrderAnswer `json:"answer,omitempty"`
	Taken   *Proven                        `json:"taken,omitempty"`
	Refusal *countersign.Refusal           `json:"refusal,omitempty"`
	At      time.Time                      `json:"at"`
}

// The states of an order, and of a shredding. From held on they are outcomes: of an order, what its record says.
const (
	OrderProposed = "proposed" // it waits for its second person
	OrderDoing    = "doing"    // it counts, and is being carried out
	OrderRefused  = "refused"  // it could not be given
	OrderDryRun   = "dry run"  // it said what would be done, and is over
	OrderHeld     = "held"
	OrderLifted   = "lifted"
	OrderRetained = "retained"
	OrderShredded = "done"     // of a shredding: the key is destroyed
	OrderRejected = "rejected" // by its second person
	OrderExpired  = "expired"  // nobody answered in time
)

// OrderRecord is what is locked about an order that was given: who ordered it and who answered, each proven by their own identity provider, and what it
// was done to. An order that nobody answered has a record too.
type OrderRecord struct {
	V       int                            `json:"v"`
	Outcome string                         `json:"outcome" enum:"held,lifted,retained,rejected,expired"`
	Digest  string                         `json:"digest"` // of the order
	Order   countersign.SignedOrder        `json:"order"`
	By      Named                          `json:"by"`
	Given   *Proven                        `json:"given"`
	Answer  *countersign.SignedOrderAnswer `json:"answer,omitempty"`
	Second  *Named                         `json:"second,omitempty"` // who answered
	Taken   *Proven                        `json:"taken,omitempty"`
	Issuers []countersign.Issuer           `json:"issuers"`
	Keeper  Execution                      `json:"keeper"`
	Ordered time.Time                      `json:"ordered"`
	Ended   time.Time                      `json:"ended"`
	// Hold names the hold that this began, or that it ended: by the digest of the order that began it.
	Hold string `json:"hold,omitempty"`
	// Standing are the matters that the evidence is held for once this is done.
	Standing []string     `json:"standing"`
	Objects  []KeptObject `json:"objects"`
}

// KeptObject is one locked object that an order is about, as read back from the store. Of a lifted hold it is what was read before it was lifted: that
// is done once it is recorded.
type KeptObject struct {
	Key         string    `json:"key"`
	VersionID   string    `json:"versionId"`
	Held        bool      `json:"held"`
	RetainUntil time.Time `json:"retainUntil,omitzero"` // absent where it has no retention
}

// CarryOutInput asks for an order to be carried out and recorded. It says how the order ended and what was proven; who sent what is looked up at the server.
type CarryOutInput struct {
	Record  OrderRecord `json:"record"` // all but its objects and the matters that stand
	Ordinal int         `json:"ordinal,omitempty"`
}

// CarriedOut is what was done, and where its record is locked.
type CarriedOut struct {
	Record   OrderRecord        `json:"record"`
	Object   countersign.Object `json:"object"`
	RetainAt time.Time          `json:"retainUntil"` // of the record itself
}

// OrderProgress is what the status of everything that compliance orders has.
type OrderProgress struct {
	Digest  string               `json:"digest"`
	State   string               `json:"state" enum:"proposed,doing,refused,dry run,held,lifted,retained,done,rejected,expired"`
	By      Named                `json:"by"`
	Due     *time.Time           `json:"due,omitempty"` // what waits for its second person ends then
	Answers []OrderAnswered      `json:"answers"`
	Problem string               `json:"problem,omitempty"` // what a person has to mend, so that it can go on
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	Keeper  Execution            `json:"keeper"`
}

// Waits says that it is not over yet.
func (p OrderProgress) Waits() bool { return p.State == OrderProposed || p.State == OrderDoing }

// OrderStatus is where an order stands: the answer to its status query, and its workflow's result.
type OrderStatus struct {
	OrderProgress
	Order   countersign.SignedOrder `json:"order"`
	Title   string                  `json:"title"`
	Parties []countersign.Actor     `json:"parties,omitempty"`
	Ordered time.Time               `json:"ordered"`
	Done    *CarriedOut             `json:"done,omitempty"`
}

// OrderBound is what the ID token of whoever orders something proves.
func OrderBound(o countersign.Ordered) identity.Bound {
	return identity.Bound{Digest: o.Digest, Actor: o.Actor, IssuedAt: o.IssuedAt, What: o.What}
}

// OrderAnswerBound is what the ID token of whoever answers proves.
func OrderAnswerBound(a countersign.OrderAnswer, digest string) identity.Bound {
	return identity.Bound{Digest: digest, Actor: a.Actor, IssuedAt: a.IssuedAt, What: "answer"}
}

// VerifyOrdered checks without a network who ordered something and who answered: one person of the tenant's own organisation, and another one, each proven by
// an ID token bound to exactly this. That both had the role, only the tenant's file of that day knows. It says nothing of the answer's verdict.
func VerifyOrdered(o countersign.Ordered, given *Proven, answer *countersign.SignedOrderAnswer, taken *Proven, issuers []countersign.Issuer) error {
	if err := atHome(o.Actor, issuers); err != nil {
		return err
	}
	if err := given.verify(OrderBound(o), o.Proof, issuers); err != nil {
		return fmt.Errorf("the %s's proof: %w", o.What, err)
	}
	if answer == nil {
		return nil
	}
	a := answer.Answer
	if err := a.Check(); err != nil {
		return err
	}
	switch {
	case a.Tenant != o.Tenant || a.Order+a.Shredding != o.Digest || (a.Shredding != "") != (o.Kind == countersign.WorkflowShredding):
		return errors.New("the answer is to another order")
	case a.Actor == o.Actor:
		return errors.New("the order and its answer are of one person")
	}
	if err := atHome(a.Actor, issuers); err != nil {
		return err
	}
	bound, err := a.Digest()
	if err != nil {
		return err
	}
	if err := taken.verify(OrderAnswerBound(a, bound), answer.Proof, issuers); err != nil {
		return fmt.Errorf("the answer's proof: %w", err)
	}
	return nil
}

// Becomes is the outcome that the act and its answer make.
func (r OrderRecord) Becomes() string {
	switch o := r.Order.Order; {
	case o.Act == countersign.OrderRetain:
		return OrderRetained
	case r.Answer == nil:
		return OrderExpired
	case r.Answer.Answer.Verdict == countersign.Reject:
		return OrderRejected
	case o.Act == countersign.OrderLift:
		return OrderLifted
	}
	return OrderHeld
}

// Verify checks without a network that the record is what it says: the order by one person of the tenant's own organisation, its answer by another one,
// each proven by an ID token bound to it, and the outcome that follows. Issuers are those of a source that the reader trusts more than the record, as the
// bundle that it is about; nil takes the record's own. That both people had the role is known to the tenant's file of that day alone.
func (r OrderRecord) Verify(issuers []countersign.Issuer) error {
	if issuers == nil {
		issuers = r.Issuers
	}
	o := r.Order.Order
	if err := o.Check(); err != nil {
		return err
	}
	ordered, err := r.Order.Ordered()
	switch {
	case err != nil:
		return err
	case r.V != countersign.Version:
		return fmt.Errorf("the record's v is %d, this build reads %d", r.V, countersign.Version)
	case r.Digest != ordered.Digest:
		return errors.New("the record names another order than it holds")
	case r.By.Actor != o.Actor:
		return errors.New("the record says that somebody else ordered it")
	case r.Outcome != r.Becomes():
		return fmt.Errorf("the record says %s, and what it holds makes it %s", r.Outcome, r.Becomes())
	case o.Act == countersign.OrderRetain && r.Answer != nil:
		return errors.New("an order to retain has no answer")
	case r.Answer != nil && (r.Second == nil || r.Second.Actor != r.Answer.Answer.Actor):
		return errors.New("the record says that somebody else answered")
	}
	return VerifyOrdered(ordered, r.Given, r.Answer, r.Taken, issuers)
}

// atHome refuses people of other organisations: evidence is the tenant's own to keep.
func atHome(who countersign.Actor, issuers []countersign.Issuer) error {
	if !slices.ContainsFunc(issuers, func(i countersign.Issuer) bool { return i.URL == who.Issuer && i.Kind == "home" }) {
		return fmt.Errorf("%s is not of the tenant's own organisation", who)
	}
	return nil
}

// MaxOrderRecord bounds the record of an order, in bytes.
const MaxOrderRecord = 256 << 10

// ParseOrderRecord reads a stored record strictly. It must be of the tenant and the request, and lie where such a record lies. It proves nothing: Verify does.
func ParseOrderRecord(tenant, key string, raw []byte) (OrderRecord, error) {
	var r OrderRecord
	request, _, ok := countersign.ParseOrderKey(tenant, key)
	if !ok {
		return r, fmt.Errorf("couldn't read the record of an order: none lies at %q", key)
	}
	if len(raw) > MaxOrderRecord {
		return r, fmt.Errorf("couldn't read the record of an order at %q: it has %d bytes, at most %d", key, len(raw), MaxOrderRecord)
	}
	if err := countersign.ParseStrict(raw, &r); err != nil {
		return r, fmt.Errorf("couldn't read the record of an order at %q: %w", key, err)
	}
	if o := r.Order.Order; o.Tenant != tenant || o.Request != request {
		return r, fmt.Errorf("couldn't read the record of an order at %q: it is of another request", key)
	}
	return r, nil
}

// HoldOf is the hold that an order begins, or that it ends after these orders: by the digest of the order that began it. Others have none.
func (r OrderRecord) HoldOf(earlier []OrderRecord) string {
	switch r.Outcome {
	case OrderHeld:
		return r.Digest
	case OrderLifted:
		for _, e := range slices.Backward(earlier) {
			if e.Outcome == OrderHeld && e.Order.Order.Matter == r.Order.Order.Matter {
				return e.Digest
			}
		}
	}
	return ""
}

// LogEntry is what the log says of a hold that began or ended; ok is false of an order that did neither.
func (r OrderRecord) LogEntry() (e translog.Entry, ok bool) {
	kind := translog.Held
	if r.Outcome == OrderLifted {
		kind = translog.Unheld
	}
	if r.Second == nil || r.Outcome != OrderHeld && r.Outcome != OrderLifted {
		return e, false
	}
	o := r.Order.Order
	return HoldEntry(kind, o.Tenant, o.Request, r.Hold, r.Keeper, o.Bundle, o.Actor, r.Second.Actor), true
}

// Standing are the matters that evidence is held for after these orders, in their order: each held matter that was not lifted since.
func Standing(records []OrderRecord) []string {
	matters := []string{}
	for _, r := range records {
		matter := r.Order.Order.Matter
		switch r.Outcome {
		case OrderHeld:
			if !slices.Contains(matters, matter) {
				matters = append(matters, matter)
			}
		case OrderLifted:
			matters = slices.DeleteFunc(matters, func(m string) bool { return m == matter })
		}
	}
	return matters
}
