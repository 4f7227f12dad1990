package evidence

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// MaxLogProof bounds the proof of an ending, in bytes.
const MaxLogProof = 64 << 10

// endingCheck is the finding about the entry that names a bundle's digest, which can't be in the bundle.
const endingCheck = "log ending"

// ending adds to the report of a bundle whether its ending is in the tenant's log: the proof, which lies beside the bundle as JSON, must be of an entry
// that names exactly these bytes as how this signing ended, under a checkpoint of the log's key. A missing proof or key is told as not recorded. A report that ended before the statement stays
// as it is.
func (r *Report) ending(digest func() string, proof []byte, key note.Verifier) {
	switch {
	case r.Statement == nil: // nothing further could be read
	case len(proof) == 0:
		r.notRecorded(endingCheck, "the proof, which lies beside the bundle, was not given")
	case key == nil:
		r.notRecorded(endingCheck, "the log's public key was not given, so the proof was not checked")
	default:
		index, err := r.endsAs(digest(), proof, key)
		r.note(endingCheck, err, fmt.Sprintf("the ending is entry %d of the log of %s, with this bundle's digest", index, key.Name()))
	}
}

func (r *Report) endsAs(digest string, proof []byte, key note.Verifier) (int64, error) {
	p, err := ParseLogProof(proof)
	if err != nil {
		return 0, err
	}
	entry, _, err := p.Check(key)
	if err != nil {
		return 0, err
	}
	s := r.Statement
	locked := Locked{Outcome: s.Outcome, Object: countersign.Object{Key: countersign.EvidenceKey(s.Request.Tenant, s.Request.ID), SHA256: digest}}
	if entry.Bundle != nil { // where it lies, the bundle can't know
		locked.Object.Bucket, locked.Object.VersionID, locked.Concealed = entry.Bundle.Bucket, entry.Bundle.VersionID, entry.Concealed
	}
	if !entry.Same(EndingEntry(s.Request, s.Saga, s.ContextDigest, locked)) {
		return 0, errors.New("the entry in the log is about something else than how this signing ended with this bundle")
	}
	return p.Index, nil
}

// ParseLogProof reads a proof as it lies beside a bundle.
func ParseLogProof(raw []byte) (translog.Proof, error) {
	var p translog.Proof
	if len(raw) > MaxLogProof {
		return p, fmt.Errorf("couldn't read the log's proof: it has %d bytes, at most %d", len(raw), MaxLogProof)
	}
	if err := countersign.ParseStrict(raw, &p); err != nil {
		return p, fmt.Errorf("couldn't read the log's proof: %w", err)
	}
	return p, nil
}
