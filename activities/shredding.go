package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// shredders is the role of those who order that personal data is shredded.
const shredders = "compliance"

// shredder is one of the tenant's own compliance, and not the person whose data it is. People of partners and machines are none.
func shredder(s *countersign.Settings, who, person countersign.Actor) (evidence.Named, *countersign.Refusal) {
	m, ok := s.Member(who)
	if !ok || m.Kind != "home" || !slices.Contains(m.Roles, shredders) {
		return evidence.Named{}, countersign.Refuse("not-compliance", "shredding is for the tenant's own people who hold the role %s", shredders)
	}
	if who == person {
		return evidence.Named{}, countersign.Refuse("own-data", "nobody orders that data of their own is shredded; two others of compliance have to")
	}
	return evidence.Named{Actor: who, Name: m.Name, Organisation: m.Organisation}, nil
}

// AdmitShredding decides whether a shredding may be proposed: by one of the tenant's own compliance, proven by the person's own identity provider for exactly
// this, of somebody who has a key.
func (t *Tenant) AdmitShredding(ctx context.Context, in evidence.AdmitShreddingInput) (evidence.ShreddingAdmission, error) {
	var a evidence.ShreddingAdmission
	refuse := func(r *countersign.Refusal) (evidence.ShreddingAdmission, error) {
		return evidence.ShreddingAdmission{At: a.At, Refusal: r}, nil
	}
	sender, at, err := t.started(ctx, in.Keeper)
	if err != nil {
		return a, err
	}
	a.At = at
	s := in.Shredding.Shredding
	if err := s.Check(); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	digest, err := s.Digest()
	switch {
	case err != nil:
		return refuse(countersign.Refuse("malformed", "%s", err))
	case s.Tenant != t.settings.Tenant:
		return refuse(countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the shredding names another one", t.settings.Tenant))
	case sender != s.Actor:
		return refuse(countersign.Refuse("other-sender", "it names one person, but another one proposed it"))
	case at.Sub(time.Unix(s.IssuedAt, 0)).Abs() > countersign.MaxDecisionLife:
		return refuse(countersign.Refuse("order-stale", "it was written at %s; propose it within %s of writing it", time.Unix(s.IssuedAt, 0).UTC().Format(time.RFC3339), countersign.MaxDecisionLife))
	}
	by, refusal := shredder(t.settings, sender, s.Person)
	if refusal != nil {
		return refuse(refusal)
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.ShreddingBound(s, digest), in.Shredding.Proof.IDToken, at)
	if errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if err != nil {
		return a, fmt.Errorf("couldn't check the proof: %w", err)
	}
	a.By, a.Given = by, &evidence.Proven{Key: facts.Key, At: at}
	a.Key, err = t.subjects.idOf(ctx, s.Person)
	if errors.Is(err, errGone) {
		return refuse(countersign.Refuse("no-key", "that person has no key here: nothing that is locked says anything of them under one, or it was shredded already"))
	}
	if err != nil {
		return a, err
	}
	held, err := t.heldWith(ctx, a.Key)
	if err == nil && held != "" {
		return refuse(countersign.Refuse("held", "the evidence of %s says something of that person and is under a legal hold: nothing of it may go before the hold is lifted", held))
	}
	return a, err
}

// CheckShreddingAnswer decides whether one answer counts: of another one of the tenant's own compliance than proposed it, proven by the person's own identity
// provider for exactly this answer.
func (t *Tenant) CheckShreddingAnswer(ctx context.Context, in evidence.ShreddingAnswerInput) (evidence.ShreddingAnswered, error) {
	s := evidence.ShreddingAnswered{Ordinal: in.Ordinal}
	event, err := t.signal(ctx, in.Keeper, countersign.SignalShreddingAnswer, in.Ordinal)
	if err != nil {
		return s, err
	}
	s.Sender, s.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	sender, refusal := senderOf(event)
	if refusal == nil {
		refusal, err = t.readShreddingAnswer(ctx, in, sender, &s)
	}
	if s.Refusal = refusal; refusal != nil {
		s.Answer, s.Taken = nil, nil
	}
	return s, err
}

func (t *Tenant) readShreddingAnswer(ctx context.Context, in evidence.ShreddingAnswerInput, sender countersign.Actor, s *evidence.ShreddingAnswered) (*countersign.Refusal, error) {
	var signed countersign.SignedShreddingAnswer
	err := countersign.ParseStrict(in.Payload, &signed)
	if err == nil {
		err = signed.Answer.Check()
	}
	if err != nil {
		return countersign.Refuse("malformed", "%s", err), nil
	}
	digest, err := in.Shredding.Digest()
	if err != nil {
		return nil, err
	}
	a := signed.Answer
	bound, err := a.Digest()
	switch {
	case err != nil:
		return countersign.Refuse("malformed", "%s", err), nil
	case a.Tenant != in.Shredding.Tenant || a.Shredding != digest || a.Key != in.Key:
		return countersign.Refuse("other-order", "the answer is to something else than what was proposed"), nil
	case sender != a.Actor:
		return countersign.Refuse("other-sender", "the answer names one person, but another one sent it"), nil
	case sender == in.Shredding.Actor:
		return countersign.Refuse("same-person", "whoever proposed it does not approve or reject it; a second person of compliance has to"), nil
	}
	by, refusal := shredder(t.settings, sender, in.Shredding.Person)
	if refusal != nil {
		return refusal, nil
	}
	facts, err := t.registry.VerifyBound(ctx, evidence.ShreddingAnswerBound(a, bound), signed.Proof.IDToken, s.At)
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't check the answer's proof: %w", err)
	}
	s.By, s.Answer, s.Taken = &by, &signed, &evidence.Proven{Key: facts.Key, At: s.At}
	return nil, nil
}

// Shred destroys the key of a person, sees that it is gone, and locks the record of it. The workflow that asks is not believed: what it says is compared with
// what the Temporal server recorded, and both proofs are checked again. Run again, it ends with the first record.
func (t *Tenant) Shred(ctx context.Context, in evidence.ShredInput) (evidence.Shredded, error) {
	var out evidence.Shredded
	digest, err := t.ordered(ctx, in)
	if err != nil {
		return out, fmt.Errorf("couldn't shred: %w", err)
	}
	s := in.Shredding.Shredding
	// A hold that began since is waited for: this is tried again until it is lifted.
	held, err := t.heldWith(ctx, in.Admission.Key)
	if err == nil && held != "" {
		err = fmt.Errorf("the evidence of %s is under a legal hold", held)
	}
	if err != nil {
		return out, fmt.Errorf("couldn't shred: %w", err)
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
	return t.recordShredding(ctx, in, digest)
}

// ordered checks what is to be done against what the Temporal server wrote down itself, and against its own proofs.
func (t *Tenant) ordered(ctx context.Context, in evidence.ShredInput) (digest string, err error) {
	s := in.Shredding.Shredding
	if digest, err = s.Digest(); err != nil {
		return "", err
	}
	asks := activity.GetInfo(ctx).WorkflowExecution
	if asks.ID != in.Keeper.Workflow || asks.RunID != in.Keeper.Run || asks.ID != countersign.ShreddingID(t.settings.Tenant, digest) || s.Tenant != t.settings.Tenant || s.DryRun {
		return "", errors.New("another workflow asks for it than was given it")
	}
	// Who holds the role is read anew: what was taken away since counts in this moment.
	current, err := LoadSettings(t.file)
	if err != nil {
		return "", err
	}
	sender, at, err := t.started(ctx, in.Keeper)
	if err != nil {
		return "", err
	}
	if sender != s.Actor {
		return "", errors.New("somebody else proposed it")
	}
	if _, refusal := shredder(current, s.Actor, s.Person); refusal != nil {
		return "", refusal
	}
	if _, err := t.registry.VerifyBound(ctx, evidence.ShreddingBound(s, digest), in.Shredding.Proof.IDToken, at); err != nil {
		return "", err
	}
	if in.Answered.Answer == nil {
		return "", errors.New("nobody approved it")
	}
	payload, err := json.Marshal(in.Answered.Answer)
	if err != nil {
		return "", err
	}
	again, err := t.CheckShreddingAnswer(ctx, evidence.ShreddingAnswerInput{
		Ordinal: in.Answered.Ordinal, Payload: payload, Shredding: s, Key: in.Admission.Key, Keeper: in.Keeper,
	})
	switch {
	case err != nil:
		return "", err
	case again.Refusal != nil:
		return "", again.Refusal
	case again.Answer.Answer.Verdict != countersign.Approve:
		return "", errors.New("it was not approved")
	}
	_, refusal := shredder(current, again.Answer.Answer.Actor, s.Person)
	if refusal != nil {
		return "", refusal
	}
	return digest, nil
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
