package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// canaryMargin is how much longer than evidence the canary is locked. So what shortens it by a day still asks for more than the bucket's policy demands of
// a lock, and is refused by the lock alone.
const canaryMargin = 48 * time.Hour

const canaryText = "This object is locked. Each evidence check tries to delete it and to shorten its lock, and alarms if it can.\n"

// canary tries to destroy a locked object, and wants to be refused. The worker may delete nothing in the bucket of evidence, so a refusal elsewhere would prove nothing
// about the lock. Under the canary's prefix it may: that its lock can be extended, and that a delete marker can be taken away there, shows that the
// permissions are given, and that what refuses is Object Lock.
func (t *Tenant) canary(ctx context.Context) ([]evidence.Finding, error) {
	bucket, key := t.settings.Evidence.Bucket, countersign.CanaryKey(t.settings.Tenant)
	until := t.retainUntil(time.Now().Add(canaryMargin))
	o, err := t.storeFirst(ctx, bucket, key, "text/plain", []byte(canaryText), t.lock(time.Now().Add(canaryMargin)))
	if errors.Is(err, errExists) {
		o, _, err = t.current(ctx, bucket, key, int64(len(canaryText)))
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the canary: %w", err)
	}
	c := canaryTrial{t: t, ctx: ctx}
	c.allowed("canary: its lock can be extended", c.retain(o, until.Add(time.Second)))
	c.refused("canary: its lock can't be shortened", c.retain(o, until.Add(-24*time.Hour)))
	c.allowed("canary: a delete marker can be deleted beside it", c.marker(bucket, countersign.CanaryMarkerKey(t.settings.Tenant)))
	c.refused("canary: it can't be deleted", c.remove(bucket, key, o.VersionID))
	c.locked("canary: it is locked as before", o, until)
	return c.findings, c.fault
}

// canaryTrial collects what became of each attempt. What the store didn't answer is a fault, and the check is tried again.
type canaryTrial struct {
	t        *Tenant
	ctx      context.Context
	findings []evidence.Finding
	fault    error
}

func (c *canaryTrial) retain(o countersign.Object, until time.Time) error {
	_, err := c.t.s3.PutObjectRetention(c.ctx, &s3.PutObjectRetentionInput{
		Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID),
		Retention: &s3types.ObjectLockRetention{Mode: s3types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until)},
	})
	return err
}

func (c *canaryTrial) remove(bucket, key, version string) error {
	_, err := c.t.s3.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), VersionId: aws.String(version)})
	return err
}

// marker puts a delete marker where no object is, and takes it away again: a lock doesn't cover one.
func (c *canaryTrial) marker(bucket, key string) error {
	if _, err := c.t.s3.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)}); err != nil {
		return err
	}
	all, err := versions(c.ctx, c.t.s3, bucket, key)
	for _, v := range all {
		if err == nil {
			err = c.remove(bucket, key, v.id)
		}
	}
	return err
}

func (c *canaryTrial) allowed(what string, err error) {
	if c.unanswered(err) {
		return
	}
	if err != nil {
		c.note(what, evidence.Fail, "so that a refusal proves the lock: "+err.Error())
		return
	}
	c.note(what, evidence.Pass, "it was done")
}

func (c *canaryTrial) refused(what string, err error) {
	if c.unanswered(err) {
		return
	}
	switch {
	case err == nil:
		c.note(what, evidence.Fail, "the store did it: what it locks is not locked")
	case !isStatus(err, 403):
		c.note(what, evidence.Fail, "the store answered something else than a refusal: "+err.Error())
	default:
		c.note(what, evidence.Pass, "the store refused it (403)")
	}
}

// locked reads the lock back: what the store answers is one thing, and what it did another.
func (c *canaryTrial) locked(what string, o countersign.Object, until time.Time) {
	switch lock, err := c.t.readLock(c.ctx, o); {
	case c.unanswered(err):
	case err != nil:
		c.note(what, evidence.Fail, err.Error())
	case lock.RetainUntil.Before(until):
		c.note(what, evidence.Fail, "its lock ends at "+lock.RetainUntil.Format(time.RFC3339)+", before "+until.Format(time.RFC3339))
	default:
		c.note(what, evidence.Pass, "until "+lock.RetainUntil.Format(time.RFC3339))
	}
}

func (c *canaryTrial) note(what string, state evidence.State, detail string) {
	c.findings = append(c.findings, evidence.Finding{Check: what, State: state, Detail: detail})
}

// unanswered says whether the store could not be asked.
func (c *canaryTrial) unanswered(err error) bool {
	if err == nil || errors.Is(err, errNotLocked) {
		return false
	}
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() < 500 {
		return false
	}
	c.fault = errors.Join(c.fault, err)
	return true
}
