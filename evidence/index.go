package evidence

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// IndexRecord says of one signing that ended what people look for, in one small object of the index. It makes finding fast and proves nothing: nobody signed
// it. The tenant's log says which records there have to be, and names the bundle; whatever else is in a record is in the bundle as well.
type IndexRecord struct {
	V        int                  `json:"v"`
	Tenant   string               `json:"tenant"`
	Request  string               `json:"request"`
	Run      string               `json:"run"` // of the saga
	Outcome  countersign.Outcome  `json:"outcome"`
	Title    string               `json:"title"`
	Purpose  string               `json:"purpose"`
	Document countersign.Document `json:"document"`
	// Requester and People are who requested, could have decided or decided. Where the tenant has a key for personal data nobody is named, and Tags stand in
	// their place.
	Requester *countersign.Actor  `json:"requester,omitempty"`
	People    []countersign.Actor `json:"people,omitempty"`
	Tags      []PersonTag         `json:"tags,omitempty"`
	Partners  []IndexPartner      `json:"partners"`           // the organisations of these people
	Cut       bool                `json:"cut,omitempty"`      // there are more people than a record has room for
	Shredded  bool                `json:"shredded,omitempty"` // it was made from what is left of a bundle: it has no more than the log says
	Started   time.Time           `json:"started"`
	Ended     time.Time           `json:"ended"`  // the saga
	Logged    time.Time           `json:"logged"` // the instant of its entry in the log, after the bundle was locked: the record's key has it
	Log       int64               `json:"log"`    // where that entry is
	// Bundle, Concealed, Mode and RetainUntil say where the evidence is, and how it was locked.
	Bundle      countersign.Object `json:"bundle"`
	Concealed   string             `json:"concealed,omitempty"`
	Mode        string             `json:"mode"`
	RetainUntil time.Time          `json:"retainUntil"`
}

// PersonTag stands for a person in the index: with the key whose id it names, a guess of who it is can be confirmed. Without that key, which shredding
// destroys, it says nothing.
type PersonTag struct {
	Key       string `json:"key"` // id of the person's key, which names nobody
	Tag       string `json:"tag"`
	Requester bool   `json:"requester,omitempty"`
}

// IndexPartner is an organisation of people that had a part.
type IndexPartner struct {
	Issuer       string `json:"iss"`
	Organisation string `json:"organisation"`
}

const (
	// MaxIndexRecord bounds an index record, in bytes.
	MaxIndexRecord = 512 << 10
	// maxIndexed bounds the people, and the organisations, that a record has.
	maxIndexed = 1000
)

// ErrNoIndexRecord says that what lies under a key of the index is no record of it.
var ErrNoIndexRecord = errors.New("it is no index record that could be of its key")

// ParseIndexRecord reads the index record of a tenant under its key, strictly. What is none is ErrNoIndexRecord.
func ParseIndexRecord(tenant, key string, raw []byte) (IndexRecord, error) {
	var r IndexRecord
	if len(raw) > MaxIndexRecord {
		return r, fmt.Errorf("couldn't read the index record %s: it has %d bytes, at most %d: %w", key, len(raw), MaxIndexRecord, ErrNoIndexRecord)
	}
	if err := countersign.ParseStrict(raw, &r); err != nil {
		return r, fmt.Errorf("couldn't read the index record %s: %w: %w", key, ErrNoIndexRecord, err)
	}
	if r.V != countersign.Version || r.Tenant != tenant || countersign.CheckRequestID(r.Request) != nil || r.Key() != key || !r.Outcome.Valid() ||
		r.Bundle.Key != countersign.EvidenceKey(tenant, r.Request) {
		return r, fmt.Errorf("couldn't read the index record %s: %w", key, ErrNoIndexRecord)
	}
	return r, nil
}

// Key is where the record lies.
func (r IndexRecord) Key() string { return countersign.IndexKey(r.Tenant, r.Logged, r.Request) }

// Locked is the evidence that the record names.
func (r IndexRecord) Locked() Locked {
	return Locked{Object: r.Bundle, Concealed: r.Concealed, Outcome: r.Outcome, Mode: r.Mode, RetainUntil: r.RetainUntil}
}

// IndexPerson is somebody who had a part in a signing.
type IndexPerson struct {
	Named
	Requester bool
}

// ReadIndexRecord reads from a bundle what an index record says, but for where it is locked and logged, and whom it names. It believes the bundle.
func ReadIndexRecord(raw []byte) (IndexRecord, []IndexPerson, error) {
	_, c, outcome, err := readTold(raw)
	if err != nil {
		return IndexRecord{}, nil, err
	}
	asked := c.Input.Request
	r := IndexRecord{
		V: countersign.Version, Tenant: asked.Tenant, Request: asked.ID, Run: c.Saga.Run, Outcome: outcome, Title: asked.Title, Purpose: asked.Purpose, Document: asked.Document,
		Partners: []IndexPartner{}, Started: c.Started.UTC(), Ended: c.Closed.UTC(),
	}
	e := exposure(c, outcome)
	all := e.People()
	if e.Requester != nil {
		all = slices.Insert(all, 0, *e.Requester)
	}
	var people []IndexPerson
	for _, one := range all {
		if one.Actor.IsZero() {
			continue // a process
		}
		partner := IndexPartner{one.Actor.Issuer, one.Organisation}
		if !slices.Contains(r.Partners, partner) {
			if len(r.Partners) == maxIndexed {
				r.Cut = true
				continue
			}
			r.Partners = append(r.Partners, partner)
		}
		if slices.ContainsFunc(people, func(p IndexPerson) bool { return p.Actor == one.Actor }) {
			continue
		}
		if len(people) == maxIndexed {
			r.Cut = true
			continue
		}
		people = append(people, IndexPerson{one, e.Requester != nil && e.Requester.Actor == one.Actor})
	}
	return r, people, nil
}

// Name names people in the record as they are.
func (r *IndexRecord) Name(people []IndexPerson) {
	for _, p := range people {
		if p.Requester {
			r.Requester = &p.Actor
		}
		r.People = append(r.People, p.Actor)
	}
}

// Entered completes a record with the entry of the ending, and where in the log that is. A record of something else is an error.
func (r *IndexRecord) Entered(e translog.Entry, index int64) error {
	if !e.Ended() || e.Bundle == nil || r.Tenant != e.Tenant || r.Request != e.Request || r.Run != e.Run || r.Outcome != e.Outcome || r.Bundle != *e.Bundle || r.Concealed != e.Concealed {
		return errors.New("the index record is of another ending than the log's entry")
	}
	r.Logged, r.Log = e.At.UTC(), index
	return nil
}

// Agrees says whether a record is the one that the log's entry of an ending, at its place, asks for; the error says where they differ.
func (r IndexRecord) Agrees(e translog.Entry, index int64) error {
	logged, at := r.Logged, r.Log
	if err := r.Entered(e, index); err != nil {
		return errors.New("it says something else of the ending than the log does")
	}
	if !r.Logged.Equal(logged) || r.Log != at {
		return fmt.Errorf("it says that the ending is entry %d of the log, of %s; it is entry %d, of %s", at, logged.Format(time.RFC3339Nano), index, r.Logged.Format(time.RFC3339Nano))
	}
	return nil
}

// IndexRecordOf is what the log alone says of an ending, for evidence of which no more can be read.
func IndexRecordOf(e translog.Entry, index int64) IndexRecord {
	return IndexRecord{
		V: countersign.Version, Tenant: e.Tenant, Request: e.Request, Run: e.Run, Outcome: e.Outcome, Partners: []IndexPartner{}, Shredded: true,
		Started: e.At.UTC(), Ended: e.At.UTC(), Logged: e.At.UTC(), Log: index, Bundle: *e.Bundle, Concealed: e.Concealed,
	}
}

// LockedAndRead is what locking a bundle ends with: its lock, and what the index will say of it. The index record goes with the custodian to where the
// ending is logged, because it needs the entry's time.
type LockedAndRead struct {
	Locked
	Index *IndexRecord `json:"index,omitempty"`
}

// LogInput asks for an entry in the tenant's log; of an ending, with what the index is to say of it. Without that, as custodians of older builds ask, it is
// read from the bundle.
type LogInput struct {
	translog.Entry
	Index *IndexRecord `json:"index,omitempty"`
}
