package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// shredding is an order to destroy a person's key.
type shredding struct {
	countersign.SignedShredding
	key string // once it is known
}

func (s shredding) may(who countersign.Actor) *countersign.Refusal {
	if who == s.Shredding.Person {
		return countersign.Refuse("own-data", "nobody orders that data of their own is shredded; two others of compliance have to")
	}
	return nil
}

func (s shredding) named(digest string) (order, shredding, key string) { return "", digest, s.key }

func (s shredding) possible(ctx context.Context, t *Tenant, _ countersign.Ordered, a *evidence.OrderAdmission) (refusal *countersign.Refusal, err error) {
	a.Key, err = t.subjects.idOf(ctx, s.Shredding.Person)
	if errors.Is(err, errGone) {
		return countersign.Refuse("no-key", "that person has no key here: nothing that is locked says anything of them under one, or it was shredded already"), nil
	}
	if err != nil {
		return nil, err
	}
	return t.inTheWay(ctx, s.Shredding.Person, a.Key)
}

// inTheWay is what keeps a person's data from being shredded now: a legal hold on evidence that says something of them, or a signing that does and isn't over.
func (t *Tenant) inTheWay(ctx context.Context, person countersign.Actor, key string) (*countersign.Refusal, error) {
	held, err := t.heldWith(ctx, key)
	if err != nil {
		return nil, err
	}
	if len(held) > 0 {
		return countersign.Refuse("held", "the evidence of %s says something of that person and is under a legal hold: nothing of it may go before the hold is lifted", listed(held)), nil
	}
	running, err := t.runningWith(ctx, person)
	if err != nil {
		return nil, err
	}
	if len(running) > 0 {
		return countersign.Refuse("signing-runs", "%s names that person and isn't over: its evidence would be locked under another key, and say what was shredded; wait for its end, or end it", listed(running)), nil
	}
	return nil, nil
}

// maxListed is how many requests a message names.
const maxListed = 10

// listed are requests, as a message names them.
func listed(requests []string) string {
	if more := len(requests) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(requests[:maxListed], ", "), more)
	}
	return strings.Join(requests, ", ")
}

// AdmitShredding decides whether a shredding may be proposed: by one of compliance, of somebody else who has a key, and of whom nothing is held or still being signed.
func (t *Tenant) AdmitShredding(ctx context.Context, in evidence.AdmitShreddingInput) (evidence.OrderAdmission, error) {
	return t.admitOrder(ctx, in.Keeper, shredding{SignedShredding: in.Shredding})
}

// CheckShreddingAnswer decides whether one answer counts: of another one of compliance, who is not the person either.
func (t *Tenant) CheckShreddingAnswer(ctx context.Context, in evidence.ShreddingAnswerInput) (evidence.OrderAnswered, error) {
	return t.checkOrderAnswer(ctx, in.Keeper, in.Ordinal, in.Payload, shredding{countersign.SignedShredding{Shredding: in.Shredding}, in.Key})
}

// Shred destroys the key of a person, sees that it is gone, and locks the record of it. What is in the way is an error that names it: this is tried again
// until it is over. Run again, it ends with the first record.
func (t *Tenant) Shred(ctx context.Context, in evidence.ShredInput) (evidence.Shredded, error) {
	out, err := t.shred(ctx, in)
	// People and systems are told why it can't be done, and a store's error has the name of the object, which a guess of the person can be compared with.
	if whose := countersign.PersonDigest(t.settings.Tenant, in.Shredding.Shredding.Person); err != nil && strings.Contains(err.Error(), whose) {
		err = errors.New(strings.ReplaceAll(err.Error(), whose, "…"))
	}
	return out, err
}

func (t *Tenant) shred(ctx context.Context, in evidence.ShredInput) (out evidence.Shredded, err error) {
	s := in.Shredding.Shredding
	o, err := t.confirmed(ctx, shredding{in.Shredding, in.Admission.Key}, ordered{
		keeper: in.Keeper, given: in.Admission.Given, answer: in.Answered.Answer, ordinal: in.Answered.Ordinal, taken: in.Answered.Taken, does: true,
	})
	if by := in.Answered.By; err == nil && (in.Admission.By.Actor != o.Actor || by == nil || by.Actor != in.Answered.Answer.Answer.Actor) {
		err = errors.New("who is said to have ordered it is somebody else")
	}
	if err != nil {
		return out, notNow("couldn't shred", err)
	}
	// A try that was interrupted goes on: once the key is gone, nothing is in the way of recording that.
	there, err := versions(ctx, t.s3, t.settings.Documents.Bucket, countersign.SubjectKey(t.settings.Tenant, in.Admission.Key))
	if err == nil && len(there) > 0 {
		var refusal *countersign.Refusal
		if refusal, err = t.inTheWay(ctx, s.Person, in.Admission.Key); err == nil && refusal != nil {
			err = refusal
		}
	}
	if err != nil {
		return out, notNow("couldn't shred", err)
	}
	// The person is found by their key as long as it is theirs. A key that they got since is another one, and is not what was approved.
	id, err := t.subjects.idOf(ctx, s.Person)
	if err != nil && !errors.Is(err, errGone) {
		return out, err
	}
	// The key goes first: a person whose key is gone is still found by its id, and a try that was interrupted goes on.
	keys := []string{countersign.SubjectKey(t.settings.Tenant, in.Admission.Key)}
	if id == in.Admission.Key {
		keys = append(keys, countersign.SubjectOfKey(t.settings.Tenant, s.Person))
	}
	for _, key := range keys {
		err := t.destroy(ctx, key)
		var left []version
		if err == nil {
			left, err = versions(ctx, t.s3, t.settings.Documents.Bucket, key)
		}
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d versions of a key are still there", len(left))
		}
		if err != nil {
			return out, fmt.Errorf("couldn't shred: %w", err)
		}
	}
	t.subjects.forget(in.Admission.Key)
	return t.recordShredding(ctx, in, o.Digest)
}

func (t *Tenant) recordShredding(ctx context.Context, in evidence.ShredInput, digest string) (evidence.Shredded, error) {
	out := evidence.Shredded{Record: evidence.ShreddingRecord{
		V: countersign.Version, Tenant: t.settings.Tenant, Shredding: digest, Key: in.Admission.Key, Proposed: in.Admission.By, Proof: in.Shredding.Proof, Given: in.Admission.Given,
		Approved: *in.Answered.By, Answer: *in.Answered.Answer, Taken: in.Answered.Taken, Keeper: in.Keeper, Gone: time.Now().UTC(),
	}}
	body, err := countersign.Canonical(out.Record)
	if err != nil {
		return out, err
	}
	key := countersign.ShreddedKey(t.settings.Tenant, digest)
	out.Object, err = t.storeFirst(ctx, t.settings.Evidence.Bucket, key, "application/json", body, t.lock(time.Now()))
	if errors.Is(err, errExists) {
		if out.Object, body, err = t.current(ctx, t.settings.Evidence.Bucket, key, maxSignature); err == nil {
			err = json.Unmarshal(body, &out.Record)
		}
	}
	if err != nil {
		return out, fmt.Errorf("couldn't record the shredding: %w", err)
	}
	_, err = t.held(ctx, out.Object)
	return out, err
}
