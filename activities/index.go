package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// heldKey is a person's key, with its id.
type heldKey struct {
	id  string
	key shred.Key
}

// indexRecord is what the index will say of a bundle that is locked. Where the tenant has a key for personal data, its people are tags under keys of
// theirs: those that are known already, or else those that they have. Who has none is left out, and the record says that somebody is.
func (t *Tenant) indexRecord(ctx context.Context, bundle []byte, locked evidence.Locked, known map[countersign.Actor]heldKey) (*evidence.IndexRecord, error) {
	r, people, err := evidence.ReadIndexRecord(bundle)
	if err != nil {
		return nil, fmt.Errorf("couldn't read what the index is to say: %w", err)
	}
	r.Bundle, r.Concealed, r.Mode, r.RetainUntil = locked.Object, locked.Concealed, locked.Mode, locked.RetainUntil
	if t.settings.Evidence.PersonalDataKey == "" {
		r.Name(people)
		return &r, nil
	}
	for _, p := range people {
		k, ok := known[p.Actor]
		if known == nil {
			k, ok, err = t.subjects.held(ctx, p.Actor)
			if err != nil {
				return nil, err
			}
		}
		if !ok {
			r.Cut = true
			continue
		}
		tag, err := indexTag(k.key, r, p.Actor)
		if err != nil {
			return nil, err
		}
		r.Tags = append(r.Tags, evidence.PersonTag{Key: k.id, Tag: tag, Requester: p.Requester})
	}
	return &r, nil
}

func indexTag(key shred.Key, r evidence.IndexRecord, who countersign.Actor) (string, error) {
	return key.Tag(r.Tenant, r.Request, who.Issuer, who.Subject)
}

// held is the key of a person, if they have one.
func (s *Subjects) held(ctx context.Context, who countersign.Actor) (heldKey, bool, error) {
	id, err := s.idOf(ctx, who)
	if err == nil {
		var key shred.Key
		if key, err = s.key(ctx, id); err == nil {
			return heldKey{id, key}, true, nil
		}
	}
	if errors.Is(err, errGone) {
		return heldKey{}, false, nil
	}
	return heldKey{}, false, err
}

// keepIndex locks the index record of an ending whose entry is in the log, as long as the bundle is locked. It costs one request. Its key and its bytes
// follow from the entry and the record, so that a repeated attempt finds what it would have written; the first one counts.
func (t *Tenant) keepIndex(ctx context.Context, in evidence.LogInput, proof translog.Proof) error {
	// The entry as it is in the log has the time of the first attempt.
	e, err := translog.ParseEntry([]byte(proof.Entry))
	if err != nil {
		return err
	}
	r := in.Index
	if r == nil || r.Entered(e, proof.Index) != nil {
		if r, err = t.indexRecordFor(ctx, e, proof.Index); err != nil {
			return err
		}
	}
	_, err = t.storeIndex(ctx, *r)
	return err
}

// indexRecordFor makes the index record of an ending anew, by its entry in the log and the locked bundle alone.
func (t *Tenant) indexRecordFor(ctx context.Context, e translog.Entry, index int64) (*evidence.IndexRecord, error) {
	lock, err := t.kept(ctx, *e.Bundle)
	if err != nil {
		return nil, err
	}
	locked := evidence.Locked{Object: *e.Bundle, Concealed: e.Concealed, Outcome: e.Outcome, Mode: string(s3types.ObjectLockRetentionModeCompliance), RetainUntil: lock.RetainUntil}
	revealed, err := t.subjects.ReadLocked(ctx, locked)
	if err != nil {
		return nil, err
	}
	defer revealed.Close()
	bundle, err := revealed.Whole()
	if errors.Is(err, ErrShredded) {
		r := evidence.IndexRecordOf(e, index)
		r.Mode, r.RetainUntil = locked.Mode, locked.RetainUntil
		return &r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := evidence.Verify(bundle, t.roots).Err(); err != nil {
		return nil, fmt.Errorf("the bundle doesn't verify, so the index doesn't tell of it: %w", err)
	}
	r, err := t.indexRecord(ctx, bundle, locked, nil)
	if err != nil {
		return nil, err
	}
	return r, r.Entered(e, index)
}

// indexKeyOf is where a request's index record has to lie, by the time in the proof that lies beside its bundle; empty where there is no proof that can be read.
func (t *Tenant) indexKeyOf(ctx context.Context, request string) (string, error) {
	_, body, err := t.current(ctx, t.settings.Evidence.Bucket, countersign.EvidenceLogKey(t.settings.Tenant, request), evidence.MaxLogProof)
	if errors.Is(err, errGone) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var proof translog.Proof
	if countersign.ParseStrict(body, &proof) != nil {
		return "", nil
	}
	e, _, err := proof.Check(t.roots.Log)
	if err != nil || e.Request != request {
		return "", nil
	}
	return countersign.IndexKey(t.settings.Tenant, e.At, request), nil
}

// storeIndex locks a record under its key; false says that one is there already.
func (t *Tenant) storeIndex(ctx context.Context, r evidence.IndexRecord) (bool, error) {
	body, err := countersign.Canonical(r)
	if err != nil {
		return false, err
	}
	if len(body) > evidence.MaxIndexRecord {
		return false, fmt.Errorf("couldn't keep the index record of %s: it has %d bytes, at most %d", r.Request, len(body), evidence.MaxIndexRecord)
	}
	_, err = t.storeFirst(ctx, t.settings.Evidence.Bucket, r.Key(), "application/json", body, func(in *s3.PutObjectInput) {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = s3types.ObjectLockModeCompliance, aws.Time(r.RetainUntil)
	})
	if errors.Is(err, errExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("couldn't keep the index record of %s: %w", r.Request, err)
	}
	return true, nil
}

// People opens keys of people to find them by their tags in the index, each key once: it is made for one search.
type People struct {
	subjects *Subjects
	mu       sync.Mutex
	opened   map[string]*shred.Key // nil where it was shredded
}

// People are those of one search.
func (s *Subjects) People() *People { return &People{subjects: s, opened: map[string]*shred.Key{}} }

// Had says whether somebody had a part in a signing, and whether they requested it, as far as the index says. Of whom nothing but a tag is left, whose key
// was shredded, nobody can say it any more.
func (p *People) Had(ctx context.Context, r evidence.IndexRecord, who countersign.Actor) (part, requested bool, err error) {
	for _, one := range r.People {
		part = part || one == who
	}
	requested = r.Requester != nil && *r.Requester == who
	for _, tag := range r.Tags {
		key, err := p.open(ctx, tag.Key)
		if err != nil {
			return false, false, err
		}
		if key == nil {
			continue
		}
		own, err := indexTag(*key, r, who)
		if err != nil {
			return false, false, err
		}
		if own == tag.Tag {
			part, requested = true, requested || tag.Requester
		}
	}
	return part, requested, nil
}

func (p *People) open(ctx context.Context, id string) (*shred.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key, ok := p.opened[id]; ok {
		return key, nil
	}
	key, err := p.subjects.key(ctx, id)
	switch {
	case errors.Is(err, errGone):
		p.opened[id] = nil
	case err != nil:
		return nil, err
	default:
		p.opened[id] = &key
	}
	return p.opened[id], nil
}

// ReadIndexRecord reads the index record that was stored first under a key.
func ReadIndexRecord(ctx context.Context, c *s3.Client, tenant string, o countersign.Object) (evidence.IndexRecord, error) {
	body, err := ReadObject(ctx, c, tenant, o, evidence.MaxIndexRecord)
	if err != nil {
		return evidence.IndexRecord{}, err
	}
	return evidence.ParseIndexRecord(tenant, o.Key, body)
}
