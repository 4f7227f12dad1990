package objectstore

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// holding keeps versions that have a legal hold, as S3 does, whatever their retention. The gateway itself (1.8.0) asks for a hold only where there is
// no retention, or one that has not run out.
type holding struct{ backend.Backend }

func (h holding) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	if err := h.free(ctx, in.Bucket, in.Key, in.VersionId); err != nil {
		return nil, err
	}
	return h.Backend.DeleteObject(ctx, in)
}

// DeleteObjects deletes none where one of them is held.
func (h holding) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	for _, o := range in.Delete.Objects {
		if err := h.free(ctx, in.Bucket, o.Key, o.VersionId); err != nil {
			return s3response.DeleteResult{}, err
		}
	}
	return h.Backend.DeleteObjects(ctx, in)
}

// free refuses a version that is held. A delete without a version leaves a marker, and deletes nothing.
func (h holding) free(ctx context.Context, bucket, key, version *string) error {
	if aws.ToString(version) == "" {
		return nil
	}
	held, err := h.GetObjectLegalHold(ctx, aws.ToString(bucket), aws.ToString(key), aws.ToString(version))
	if err == nil && aws.ToBool(held) {
		return s3err.GetAPIError(s3err.ErrObjectLocked)
	}
	return nil // without a hold the gateway has judged it already
}
