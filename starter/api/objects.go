package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
)

// objects is what the API asks of S3, under the tenant's own profile for the starter.
type objects interface {
	// Check says where in the tenant's file stands what doesn't fit.
	Check(ctx context.Context) error
	// PutDocument stores a document under its digest; the same bytes are the same object.
	PutDocument(ctx context.Context, body []byte) (countersign.Document, error)
	// Read reads one version and checks its digest.
	Read(ctx context.Context, o countersign.Object, limit int64) ([]byte, error)
}

type bucketObjects struct {
	s3       *s3.Client
	settings *countersign.Settings
}

func (b *bucketObjects) Check(ctx context.Context) error {
	documents, evidence := b.settings.Documents.Bucket, b.settings.Evidence.Bucket
	out, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String(documents)})
	if err != nil {
		err = fmt.Errorf("couldn't ask the bucket %q for its versioning: %w", documents, err)
	} else if out.Status != s3types.BucketVersioningStatusEnabled {
		err = fmt.Errorf("the bucket %q keeps no versions; enable versioning, or a document could change under its approvers", documents)
	}
	if err != nil {
		return b.settings.Fault(err, "documents", "bucket")
	}
	if _, err := b.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(evidence)}); err != nil {
		return b.settings.Fault(fmt.Errorf("couldn't ask the bucket %q for its Object Lock: %w", evidence, err), "evidence", "bucket")
	}
	return nil
}

func (b *bucketObjects) PutDocument(ctx context.Context, body []byte) (countersign.Document, error) {
	d := countersign.Document{Bucket: b.settings.Documents.Bucket, SHA256: countersign.SHA256(body)}
	d.Key = countersign.DocumentKey(b.settings.Tenant, d.SHA256)
	out, err := b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(d.Bucket), Key: aws.String(d.Key), Body: bytes.NewReader(body), ContentType: aws.String("application/pdf"),
		IfNoneMatch: aws.String("*"), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256, Tagging: aws.String("tenant=" + b.settings.Tenant),
	})
	if err == nil {
		d.VersionID = aws.ToString(out.VersionId)
		return d, nil
	}
	var told smithy.APIError
	if !errors.As(err, &told) || told.ErrorCode() != "PreconditionFailed" {
		return countersign.Document{}, fmt.Errorf("couldn't store %s/%s: %w", d.Bucket, d.Key, err)
	}
	// The bytes are there already: their version is named once they were read back.
	head, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(d.Bucket), Key: aws.String(d.Key)})
	if err != nil {
		return countersign.Document{}, fmt.Errorf("couldn't look at %s/%s: %w", d.Bucket, d.Key, err)
	}
	d.VersionID = aws.ToString(head.VersionId)
	if _, err := b.Read(ctx, d, b.settings.Documents.MaxBytes); err != nil {
		return countersign.Document{}, err
	}
	return d, nil
}

func (b *bucketObjects) Read(ctx context.Context, o countersign.Object, limit int64) ([]byte, error) {
	return activities.ReadObject(ctx, b.s3, b.settings.Tenant, o, limit)
}
