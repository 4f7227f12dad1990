package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// errUnlocked says that a record of the index may be taken away before its time.
var errUnlocked = errors.New("the store doesn't keep it")

// indexLocked asks the store for the lock of an index record, by one request. It must be there, and not end before the record says that the lock of its bundle
// ended when it was made: whoever retains evidence longer has its record kept as long.
func (t *Tenant) indexLocked(ctx context.Context, o countersign.Object, r evidence.IndexRecord) error {
	out, err := t.s3.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	switch {
	case isCode(err, "NoSuchObjectLockConfiguration"):
		return fmt.Errorf("%w: it has no lock", errUnlocked)
	case err != nil:
		return fmt.Errorf("couldn't read the lock of %s: %w", o.Key, err)
	case out.Retention == nil || out.Retention.Mode != s3types.ObjectLockRetentionModeCompliance || out.Retention.RetainUntilDate == nil:
		return fmt.Errorf("%w: its lock is not COMPLIANCE", errUnlocked)
	}
	// A store may keep whole seconds.
	if until, wanted := out.Retention.RetainUntilDate.UTC(), r.RetainUntil.UTC(); until.Before(wanted.Truncate(time.Second)) {
		return fmt.Errorf("%w long enough: its lock ends at %s, and it says that its bundle is locked until %s", errUnlocked, until.Format(time.RFC3339), wanted.Format(time.RFC3339))
	}
	return nil
}
