package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// maxBundle bounds an evidence bundle, in bytes.
const maxBundle = 600 << 20

// Seal makes the evidence of an ended saga: its whole history, closing event included, and everything that was decided on
// the way, sealed by the tenant's key and time-stamped. The bundle is built and verified with a throwaway key before KMS is
// asked. It waits in the documents bucket until it is locked; the first one stored counts, so a repeated Seal has the same hash.
func (t *Tenant) Seal(ctx context.Context, in evidence.SealInput) (evidence.Sealed, error) {
	key := countersign.WithheldKey(t.settings.Tenant, in.Request.ID, countersign.WithheldBundle(in.Outcome))
	if again(ctx) {
		sealed, err := t.sealedBefore(ctx, key, in)
		if !errors.Is(err, errGone) {
			return sealed, err
		}
	}
	history, err := t.export(ctx, in.Saga)
	if err != nil {
		return evidence.Sealed{}, err
	}
	c, err := evidence.ReadHistory(history)
	if err != nil {
		return evidence.Sealed{}, err
	}
	material := evidence.Material{Seal: in, History: history, Case: c, Worker: t.worker, Key: t.key()}
	document, err := t.released(ctx, c, in, &material)
	if err != nil {
		return evidence.Sealed{}, err
	}
	defer document.Close()
	files, err := evidence.Assemble(material)
	if err != nil {
		return evidence.Sealed{}, err
	}
	if err := t.stampsAgain(ctx); err != nil {
		return evidence.Sealed{}, err
	}
	if files, err = t.signPostQuantum(ctx, c, files); err != nil {
		return evidence.Sealed{}, err
	}
	file, err := evidence.SealFile(ctx, files, t.signer(), t.stamper, time.Now(), t.roots)
	if err != nil {
		return evidence.Sealed{}, keyError("couldn't seal the evidence", err)
	}
	bundle, err := opened(file)
	if err != nil {
		return evidence.Sealed{}, err
	}
	defer bundle.Close()
	// What doesn't hold is not stored: it would keep the place from what does, once a person has mended what is wrong.
	report, err := t.believe(bundle.Raw, in)
	if err != nil {
		return evidence.Sealed{}, err
	}
	stored, err := t.storeSpooled(ctx, t.settings.Documents.Bucket, key, evidence.MediaType, bundle, nil)
	if errors.Is(err, errExists) {
		return t.sealedBefore(ctx, key, in)
	}
	if err != nil {
		return evidence.Sealed{}, err
	}
	return sealed(stored, bundle.Raw, report)
}

// sealedBefore is the bundle that another attempt stored; errGone where none did.
func (t *Tenant) sealedBefore(ctx context.Context, key string, in evidence.SealInput) (evidence.Sealed, error) {
	stored, bundle, err := t.currentSpooled(ctx, t.settings.Documents.Bucket, key, maxBundle)
	if err != nil {
		return evidence.Sealed{}, err
	}
	defer bundle.Close()
	report, err := t.believe(bundle.Raw, in)
	if err != nil {
		return evidence.Sealed{}, err
	}
	return sealed(stored, bundle.Raw, report)
}

// believe verifies a bundle before it is believed, completely, as a stranger would.
func (t *Tenant) believe(bundle []byte, in evidence.SealInput) (*evidence.Report, error) {
	report := evidence.Verify(bundle, t.roots)
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("couldn't use the sealed bundle: %w", err)
	}
	if report.Statement.Saga != in.Saga || report.Statement.Outcome != in.Outcome {
		return nil, temporal.NewNonRetryableApplicationError("couldn't use the sealed bundle: it is of another signing", ErrorSetting, nil)
	}
	return report, nil
}

func sealed(stored countersign.Object, bundle []byte, report *evidence.Report) (evidence.Sealed, error) {
	c, err := evidence.ReadHistory(report.History)
	if err != nil {
		return evidence.Sealed{}, err
	}
	return evidence.Sealed{Object: stored, Bytes: int64(len(bundle)), Context: report.Statement.ContextDigest, Told: c.TookPart()}, nil
}

// signedIt says whether the document was signed with the key and under the certificate that the tenant's file names now. The seal is by these, and
// a reader of the evidence finds one key in both places; KMS is not asked for a seal that could not hold.
func (t *Tenant) signedIt(key string, material evidence.Material) error {
	facts, err := material.VerifySignature(t.roots)
	if err != nil {
		return fmt.Errorf("couldn't use the document's signature: %w", err)
	}
	if key != t.settings.KMS.ARN || !facts.Signer.Equal(t.chain[0]) {
		return fmt.Errorf("the document was signed with the key %s, and the tenant's file names another key or certificate since: put kms.key and kms.certificate back until this signing is sealed", key)
	}
	return nil
}

// released adds the document to the material, and where the signing was completed what was signed. Until the document is closed, the material has its bytes.
func (t *Tenant) released(ctx context.Context, c *evidence.Case, in evidence.SealInput, material *evidence.Material) (document *Spooled, err error) {
	signed := in.Outcome == countersign.Completed && in.Signature != nil
	if signed && c.Admission != nil && c.Admission.Context.SignedAs != "" {
		if document, err = t.spool(ctx, in.Signature.Object, maxAdmitted); err != nil {
			return nil, err
		}
		material.Signed = document.Raw
	} else {
		if document, err = t.document(ctx, c, in); err != nil {
			return nil, err
		}
		if document != nil {
			material.Document = document.Raw
		}
		if signed {
			material.Signature, err = ReadObject(ctx, t.s3, t.settings.Tenant, in.Signature.Object, maxSignature)
		}
	}
	if err == nil && signed {
		err = t.signedIt(in.Signature.Key, *material)
	}
	if err != nil {
		return nil, errors.Join(err, document.Close())
	}
	return document, nil
}

// document is the document, unless intake never got as far as trusting it.
func (t *Tenant) document(ctx context.Context, c *evidence.Case, in evidence.SealInput) (*Spooled, error) {
	if c.Admission == nil || c.Admission.Refusal != nil {
		return nil, nil
	}
	document, err := t.spool(ctx, in.Request.Document, maxAdmitted)
	if errors.Is(err, errGone) && in.Outcome != countersign.Completed {
		return nil, nil // an ending without a signature is evidenced without it
	}
	return document, err
}

func (t *Tenant) key() evidence.KeyFacts {
	return evidence.KeyFacts{ARN: t.settings.KMS.ARN, Algorithm: string(t.signer().algorithm), Certificate: t.chain[0]}
}

// export reads the saga's whole history, its closing event included.
func (t *Tenant) export(ctx context.Context, saga evidence.Execution) (*historypb.History, error) {
	history := &historypb.History{}
	events := t.temporal.GetWorkflowHistory(ctx, saga.Workflow, saga.Run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, fmt.Errorf("couldn't export the saga's history: %w", err)
		}
		history.Events = append(history.Events, event)
	}
	if len(history.Events) == 0 {
		return nil, errors.New("couldn't export the saga's history: it is empty")
	}
	return history, nil
}

// Lock puts the sealed bundle under Object Lock and reads the lock back: asking for a lock is not having one. If we crash
// after the store, the next attempt finds the object, compares the bytes, and reports the same lock. Beside the lock stands what the index will say of the bundle.
func (t *Tenant) Lock(ctx context.Context, in evidence.Sealed) (evidence.LockedAndRead, error) {
	file, err := t.spool(ctx, in.Object, maxBundle)
	if errors.Is(err, errGone) {
		return t.lockedConcealed(ctx, in)
	}
	if err != nil {
		return evidence.LockedAndRead{}, err
	}
	defer file.Close()
	bundle := file.Raw
	report := evidence.Verify(bundle, t.roots)
	if err := report.Err(); err != nil {
		return evidence.LockedAndRead{}, err
	}
	if t.settings.Evidence.PersonalDataKey != "" {
		return t.lockConcealed(ctx, in, bundle, report)
	}
	key := countersign.EvidenceKey(t.settings.Tenant, report.Statement.Request.ID)
	stored, err := t.storeSpooled(ctx, t.settings.Evidence.Bucket, key, evidence.MediaType, file, t.lock(time.Now()))
	if errors.Is(err, errExists) {
		stored, report, err = t.plainBefore(ctx, key, bundle, report)
	}
	if err != nil {
		return evidence.LockedAndRead{}, err
	}
	locked, err := t.held(ctx, stored)
	if err != nil {
		return evidence.LockedAndRead{}, err
	}
	locked.Outcome = report.Statement.Outcome
	if stored.SHA256 != file.SHA256 {
		return evidence.LockedAndRead{Locked: locked}, nil // what is there is other evidence: whoever logs the ending reads it
	}
	index, err := t.indexRecord(ctx, bundle, locked, nil)
	return evidence.LockedAndRead{Locked: locked, Index: index}, err
}

// plainBefore is what holds the place already: the same bundle, or other evidence of the same saga.
func (t *Tenant) plainBefore(ctx context.Context, key string, bundle []byte, report *evidence.Report) (countersign.Object, *evidence.Report, error) {
	stored, there, err := t.currentSpooled(ctx, t.settings.Evidence.Bucket, key, maxBundle)
	if err != nil {
		return stored, nil, err
	}
	defer there.Close()
	if !bytes.Equal(there.Raw, bundle) {
		report, err = t.lockedBefore(there.Raw, report.Statement.Saga)
	}
	return stored, report, err
}

// FindEarlier says whether evidence, or an intent to sign, is locked under a request id already. The server forgets the names of signings, at the latest when its database
// is lost, and the bucket of evidence doesn't: so nothing is signed a second time, and nothing ends that could not be locked because its place is taken.
func (t *Tenant) FindEarlier(ctx context.Context, request string) (evidence.Earlier, error) {
	if err := countersign.CheckRequestID(request); err != nil {
		return evidence.Earlier{}, temporal.NewNonRetryableApplicationError("couldn't look for an earlier signing: "+err.Error(), ErrorSetting, nil)
	}
	for _, key := range []string{countersign.EvidenceKey(t.settings.Tenant, request), countersign.IntentKey(t.settings.Tenant, request)} {
		all, err := versions(ctx, t.s3, t.settings.Evidence.Bucket, key)
		if err != nil {
			return evidence.Earlier{}, err
		}
		if len(all) > 0 {
			return evidence.Earlier{Key: key}, nil
		}
	}
	return evidence.Earlier{}, nil
}

// lockedBefore verifies other evidence of the same saga that holds the place already: the bundle of a completed signing whose lock could not be
// confirmed in time. The store lets one of them have the place, so what is locked there is how the signing ended.
func (t *Tenant) lockedBefore(bundle []byte, saga evidence.Execution) (*evidence.Report, error) {
	report := evidence.Verify(bundle, t.roots)
	if report.Err() != nil || report.Statement.Saga != saga {
		return nil, temporal.NewNonRetryableApplicationError("couldn't lock the evidence: something else is locked in its place", ErrorSetting, report.Err())
	}
	return report, nil
}

// held reads the lock of what is stored. Where there is none, or it ran out, it is asked for once more: the place is taken, so nothing else can be
// locked there, and a worker that was away for longer than a lock lasts must not leave its evidence open.
func (t *Tenant) held(ctx context.Context, o countersign.Object) (evidence.Locked, error) {
	locked, err := t.readLock(ctx, o)
	if !errors.Is(err, errNotLocked) {
		return locked, err
	}
	_, err = t.s3.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID),
		Retention: &s3types.ObjectLockRetention{Mode: s3types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(t.retainUntil(time.Now()))},
	})
	if err != nil {
		return evidence.Locked{}, fmt.Errorf("couldn't lock what is stored without a lock: %w", err)
	}
	return t.readLock(ctx, o)
}

// errNotLocked is tried again: a person may mend the bucket.
var errNotLocked = errors.New("the evidence is stored but not locked (COMPLIANCE): check the bucket's Object Lock")

func (t *Tenant) readLock(ctx context.Context, o countersign.Object) (evidence.Locked, error) {
	if err := checkOwn(t.settings.Tenant, o.Key); err != nil {
		return evidence.Locked{}, err
	}
	out, err := t.s3.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if isCode(err, "NoSuchObjectLockConfiguration") {
		return evidence.Locked{}, errNotLocked
	}
	if err != nil {
		return evidence.Locked{}, fmt.Errorf("couldn't read the lock back: %w", err)
	}
	if out.Retention == nil || out.Retention.Mode != s3types.ObjectLockRetentionModeCompliance || out.Retention.RetainUntilDate == nil || !out.Retention.RetainUntilDate.After(time.Now()) {
		return evidence.Locked{}, errNotLocked
	}
	activity.GetLogger(ctx).Info("locked", "key", o.Key, "until", out.Retention.RetainUntilDate.UTC())
	return evidence.Locked{Object: o, Mode: string(out.Retention.Mode), RetainUntil: out.Retention.RetainUntilDate.UTC()}, nil
}

// lock asks for COMPLIANCE retention from an instant on.
func (t *Tenant) lock(from time.Time) func(*s3.PutObjectInput) {
	until := t.retainUntil(from)
	return func(in *s3.PutObjectInput) {
		in.ObjectLockMode = s3types.ObjectLockModeCompliance
		in.ObjectLockRetainUntilDate = aws.Time(until)
	}
}

func (t *Tenant) retainUntil(from time.Time) time.Time {
	return from.Add(time.Duration(t.settings.Evidence.Retention)).UTC().Truncate(time.Second)
}
