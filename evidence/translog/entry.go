// Package translog is a tenant's log: an append-only Merkle tree (RFC 6962) of what was intended, sealed and voided, kept as files in the form of
// C2SP tlog-tiles, with a signed checkpoint. Whoever kept a checkpoint finds out when anything in the log was deleted, hidden, changed, reordered
// or forked since.
//
// The hashing, the tiles and the proofs are those of golang.org/x/mod, which Go's own checksum database runs on.
package translog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
)

// What an entry says of a signing. Every ending but a voided one is Sealed, with its outcome.
const (
	Intended = "intended" // the key is about to be asked
	Sealed   = "sealed"   // it has ended, and its evidence is locked
	Voided   = "voided"   // it was signed, and the signature was destroyed
	Held     = "held"     // its evidence is under a legal hold
	Unheld   = "unheld"   // that hold has ended
)

// Entry is one line of the log. Run is the saga's, Context the digest that people approved (empty where intake refused); Bundle names the locked
// evidence by key, version and digest, and so what would be missing if it were gone. Of a legal hold the entry has the bundle, the hold's id, and who
// proposed and who approved it; Run is that of the workflow that did it.
type Entry struct {
	V        int                 `json:"v"`
	Tenant   string              `json:"tenant"`
	Kind     string              `json:"kind"`
	Request  string              `json:"request"`
	Run      string              `json:"run"`
	Context  string              `json:"context,omitempty"`
	Outcome  countersign.Outcome `json:"outcome,omitempty"`
	Bundle   *countersign.Object `json:"bundle,omitempty"`
	Hold     string              `json:"hold,omitempty"`
	Proposed *countersign.Actor  `json:"proposed,omitempty"`
	Approved *countersign.Actor  `json:"approved,omitempty"`
	// Concealed is the SHA-256 of what is stored in the bundle's place, where that is not the bundle itself but has its personal data concealed.
	Concealed string    `json:"concealed,omitempty"`
	At        time.Time `json:"at"`
}

// maxEntry bounds an entry, in bytes. A request's id and an object's names are shorter.
const maxEntry = 8 << 10

// Ended says whether the entry is how a signing ended.
func (e Entry) Ended() bool { return e.Kind == Sealed || e.Kind == Voided }

// held says whether the entry is about a legal hold.
func (e Entry) held() bool { return e.Kind == Held || e.Kind == Unheld }

// Same says whether two entries are about the same step of the same run: one is in the log once, whatever its time.
func (e Entry) Same(o Entry) bool {
	e.At, o.At = time.Time{}, time.Time{}
	a, err := countersign.Canonical(e)
	b, err2 := countersign.Canonical(o)
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

// step is what of a request an entry is about: each is in the log once. A request is intended once and ends once; each hold begins once and ends once.
func (e Entry) step() string {
	switch {
	case e.Ended():
		return "ended"
	case e.held():
		return e.Kind + "." + e.Hold
	}
	return e.Kind
}

// before is the step that the log needs to have before this one; empty where there is none.
func (e Entry) before() string {
	switch e.Kind {
	case Held:
		return "ended"
	case Unheld:
		return Held + "." + e.Hold
	}
	return ""
}

// ParseEntry reads an entry strictly, and refuses one that contradicts itself.
func ParseEntry(raw []byte) (Entry, error) {
	var e Entry
	if len(raw) > maxEntry {
		return e, fmt.Errorf("couldn't read the entry: it has %d bytes, at most %d", len(raw), maxEntry)
	}
	if err := countersign.ParseStrict(raw, &e); err != nil {
		return e, fmt.Errorf("couldn't read the entry: %w", err)
	}
	return e, e.check()
}

func (e Entry) check() error {
	switch {
	case e.V != countersign.Version:
		return fmt.Errorf("the entry has version %d, not %d", e.V, countersign.Version)
	case e.Kind != Intended && !e.Ended() && !e.held():
		return fmt.Errorf("the entry's kind %q is none of intended, sealed, voided, held, unheld", e.Kind)
	case e.Ended() != e.Outcome.Valid() || (e.Ended() || e.held()) != (e.Bundle != nil):
		return fmt.Errorf("an entry that is %s has no such outcome or bundle", e.Kind)
	case e.Concealed != "" && !e.Ended():
		return fmt.Errorf("an entry that is %s has nothing concealed", e.Kind)
	case e.Ended() && (e.Kind == Voided) != (e.Outcome == countersign.Voided):
		return fmt.Errorf("an entry that is %s can't have the outcome %s", e.Kind, e.Outcome)
	case e.held() != holdID(e.Hold) || e.held() != (e.Proposed != nil) || e.held() != (e.Approved != nil) || !e.held() && e.Hold != "":
		return fmt.Errorf("an entry that is %s has no such hold, or lacks who proposed and who approved it", e.Kind)
	}
	return errors.Join(countersign.CheckTenantID(e.Tenant), countersign.CheckRequestID(e.Request))
}

// holdID says whether a text can be the id of a hold: 1 to 64 small letters, digits and hyphens.
func holdID(id string) bool {
	return len(id) >= 1 && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// bundleWidth is how many entries a full entry bundle has (C2SP tlog-tiles).
const bundleWidth = 256

// maxBundle bounds an entry bundle, in bytes.
const maxBundle = bundleWidth * (maxEntry + 2)

// packEntries writes an entry bundle: each entry after its length, in two bytes.
func packEntries(entries [][]byte) []byte {
	var out []byte
	for _, e := range entries {
		out = binary.BigEndian.AppendUint16(out, uint16(len(e)))
		out = append(out, e...)
	}
	return out
}

// unpackEntries reads an entry bundle.
func unpackEntries(raw []byte) ([][]byte, error) {
	var out [][]byte
	for rest := raw; len(rest) > 0; {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, errors.New("the entry bundle ends in the middle of an entry")
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		out, rest = append(out, rest[2:n]), rest[n:]
	}
	return out, nil
}
