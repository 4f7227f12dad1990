package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// lockConcealed locks a bundle with its personal data concealed, and destroys the plain copy that waited for the lock. Tried again, it ends with the same
// lock: while nobody's key changed, the same bytes are stored, and what is there is revealed and compared in any case.
func (t *Tenant) lockConcealed(ctx context.Context, in evidence.Sealed, bundle []byte, report *evidence.Report) (evidence.LockedAndRead, error) {
	concealed, keys, err := t.subjects.conceal(ctx, bundle)
	if err != nil {
		return evidence.LockedAndRead{}, err
	}
	defer concealed.Close()
	key := countersign.EvidenceKey(t.settings.Tenant, report.Statement.Request.ID)
	digest := countersign.SHA256(bundle)
	stored, err := t.storeSpooled(ctx, t.settings.Evidence.Bucket, key, shred.MediaType, concealed, t.lock(time.Now()))
	if errors.Is(err, errExists) {
		stored, digest, report, err = t.concealedBefore(ctx, key, bundle, report)
	}
	if err != nil {
		return evidence.LockedAndRead{}, err
	}
	locked, err := t.heldConcealed(ctx, in, stored, digest, report.Statement.Outcome)
	if err != nil || digest != in.Object.SHA256 {
		return evidence.LockedAndRead{Locked: locked}, err // of other evidence, whoever logs the ending reads what the index is to say
	}
	index, err := t.indexRecord(ctx, bundle, locked, keys)
	return evidence.LockedAndRead{Locked: locked, Index: index}, err
}

// heldConcealed reads the lock of a concealed bundle, and then destroys the plain copy of what was to be locked.
func (t *Tenant) heldConcealed(ctx context.Context, in evidence.Sealed, stored countersign.Object, digest string, outcome countersign.Outcome) (evidence.Locked, error) {
	locked, err := t.held(ctx, stored)
	if err != nil {
		return evidence.Locked{}, err
	}
	locked.Outcome, locked.Object.SHA256 = outcome, digest
	if digest != stored.SHA256 {
		locked.Concealed = stored.SHA256
	}
	if err := t.destroy(ctx, in.Object.Key); err != nil {
		return evidence.Locked{}, fmt.Errorf("couldn't destroy the plain copy of what is locked: %w", err)
	}
	return locked, nil
}

// concealedBefore is what holds the place already: the same bundle, or other evidence of the same saga.
func (t *Tenant) concealedBefore(ctx context.Context, key string, bundle []byte, report *evidence.Report) (countersign.Object, string, *evidence.Report, error) {
	stored, file, err := t.currentSpooled(ctx, t.settings.Evidence.Bucket, key, maxBundle+shred.MaxOverhead)
	if err != nil {
		return stored, "", nil, err
	}
	defer file.Close()
	raw := file.Raw
	if !shred.Is(raw) { // locked before the tenant had a key for personal data
		report, err = t.lockedBefore(raw, report.Statement.Saga)
		return stored, stored.SHA256, report, err
	}
	c, err := shred.Read(raw)
	if err != nil {
		return stored, "", nil, temporal.NewNonRetryableApplicationError("couldn't lock the evidence: something else is locked in its place", ErrorSetting, err)
	}
	keys, err := t.subjects.left(ctx, c)
	if err != nil {
		return stored, "", nil, err
	}
	there, lost, err := revealed(c, keys)
	if err == nil {
		defer there.Close()
	}
	switch {
	case err != nil && !errors.Is(err, shred.ErrOther):
		return stored, "", nil, err
	case err != nil:
		return stored, "", nil, temporal.NewNonRetryableApplicationError("couldn't lock the evidence: something else is locked in its place", ErrorSetting, err)
	case c.Bundle() == countersign.SHA256(bundle) && shred.Same(there.Raw, bundle, lost):
		return stored, c.Bundle(), report, nil
	case len(lost) > 0:
		return stored, "", nil, errors.New("couldn't lock the evidence: other evidence is locked in its place, and personal data in it was shredded, so that it can't be verified")
	}
	report, err = t.lockedBefore(there.Raw, report.Statement.Saga)
	return stored, c.Bundle(), report, err
}

// lockedConcealed finds the lock of a bundle whose plain copy is destroyed already: an attempt got that far, and its answer was lost.
func (t *Tenant) lockedConcealed(ctx context.Context, in evidence.Sealed) (evidence.LockedAndRead, error) {
	gone := fmt.Errorf("couldn't read %s/%s: %w", in.Object.Bucket, in.Object.Key, errGone)
	request, outcome, ok := countersign.ParseWithheldBundle(t.settings.Tenant, in.Object.Key)
	if !ok || t.settings.Evidence.PersonalDataKey == "" {
		return evidence.LockedAndRead{}, gone
	}
	stored, file, err := t.currentSpooled(ctx, t.settings.Evidence.Bucket, countersign.EvidenceKey(t.settings.Tenant, request), maxBundle+shred.MaxOverhead)
	if errors.Is(err, errGone) {
		return evidence.LockedAndRead{}, gone
	}
	if err != nil {
		return evidence.LockedAndRead{}, err
	}
	defer file.Close()
	c, err := shred.Read(file.Raw)
	if err != nil || c.Bundle() != in.Object.SHA256 {
		return evidence.LockedAndRead{}, gone
	}
	locked, err := t.heldConcealed(ctx, in, stored, c.Bundle(), outcome)
	return evidence.LockedAndRead{Locked: locked}, err
}
