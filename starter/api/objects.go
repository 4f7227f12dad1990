package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// objects is what the API asks of S3, under the tenant's own profile for the starter.
type objects interface {
	// Check says where in the tenant's file stands what doesn't fit.
	Check(ctx context.Context) error
	// PutDocument stores a document under its SHA-256; the same bytes are the same object.
	PutDocument(ctx context.Context, body io.ReadSeeker, digest string) (countersign.Document, error)
	// Read reads one version and checks its digest.
	Read(ctx context.Context, o countersign.Object, limit int64) ([]byte, error)
	// Document is Read for what may be large: its bytes are off the heap, and there until it is closed.
	Document(ctx context.Context, o countersign.Object, limit int64) (body []byte, stored io.Closer, err error)
	// Locked reads a locked bundle, and reveals what is concealed in it. Whoever asks closes it.
	Locked(ctx context.Context, locked evidence.Locked) (activities.Revealed, error)
	// PutReading locks the record of a read under a key of its own. What it returns without an error is locked.
	PutReading(ctx context.Context, key string, body []byte) error
	// Readings lists a page of the locked records of reads, in the order of their keys, after a place; an empty next is the last page.
	Readings(ctx context.Context, after readingPlace, limit int) (page readingPage, err error)
	// Orders lists the locked records of orders, of one request or of all, in the order of their keys and the first version of each; at most limit.
	Orders(ctx context.Context, request string, limit int) (records []countersign.Object, more bool, err error)
	// Checks lists the versions under a prefix of the reports of evidence checks, after a key where one is given, in the order of their keys, at most limit, and how many
	// delete markers are among them.
	Checks(ctx context.Context, prefix, after string, limit int) (reports []countersign.Object, markers int, more bool, err error)
	// Renewal names the newest evidence record over a request's bundle, and its number; errNotFound where there is none.
	Renewal(ctx context.Context, request string) (o countersign.Object, number int, err error)
	// Kept tells how a version of a bundle is kept.
	Kept(ctx context.Context, o countersign.Object) (evidence.KeptObject, error)
	// Index lists a part of the index: see activities.ListIndex.
	Index(ctx context.Context, from, until time.Time, limit int) (activities.IndexPage, error)
	// IndexedAt finds the record under one key of the index; nil where there is none.
	IndexedAt(ctx context.Context, key string) (*activities.Indexed, error)
	// IndexRecord reads a record of the index.
	IndexRecord(ctx context.Context, o countersign.Object) (evidence.IndexRecord, error)
	// People finds people in the index, for one search.
	People() partFinder
	// LogProof is the proof that lies beside a request's bundle, the first that was locked there. Where there is none, the error is errNotFound.
	LogProof(ctx context.Context, request string) ([]byte, error)
	// Log is the tenant's log, as files of C2SP tlog-tiles.
	Log() translog.Source
}

type bucketObjects struct {
	s3       *s3.Client
	subjects *activities.Subjects
	settings *countersign.Settings
	log      translog.Source
}

func newBucketObjects(c *s3.Client, subjects *activities.Subjects, s *countersign.Settings) *bucketObjects {
	return &bucketObjects{c, subjects, s, translog.Stored(activities.LogSource(c, s))}
}

func (b *bucketObjects) Log() translog.Source { return b.log }

func (b *bucketObjects) Check(ctx context.Context) error {
	documents, locked := b.settings.Documents.Bucket, b.settings.Evidence.Bucket
	out, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String(documents)})
	if err != nil {
		err = fmt.Errorf("couldn't ask the bucket %q for its versioning: %w", documents, err)
	} else if out.Status != s3types.BucketVersioningStatusEnabled {
		err = fmt.Errorf("the bucket %q keeps no versions; enable versioning, or a document could change under its approvers", documents)
	}
	if err != nil {
		return b.settings.Fault(err, "documents", "bucket")
	}
	if _, err := b.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(locked)}); err != nil {
		return b.settings.Fault(fmt.Errorf("couldn't ask the bucket %q for its Object Lock: %w", locked, err), "evidence", "bucket")
	}
	if _, err := b.Readings(ctx, readingPlace{}, 1); err != nil {
		return b.settings.Fault(err, "evidence", "bucket")
	}
	if err := b.subjects.CheckAccess(ctx); err != nil {
		return b.settings.Fault(err, "evidence", "personalDataKey")
	}
	return nil
}

func (b *bucketObjects) Locked(ctx context.Context, locked evidence.Locked) (activities.Revealed, error) {
	return b.subjects.ReadLocked(ctx, locked)
}

func (b *bucketObjects) PutDocument(ctx context.Context, body io.ReadSeeker, digest string) (countersign.Document, error) {
	d := countersign.Document{Bucket: b.settings.Documents.Bucket, SHA256: digest}
	d.Key = countersign.DocumentKey(b.settings.Tenant, d.SHA256)
	out, err := b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(d.Bucket), Key: aws.String(d.Key), Body: body, ContentType: aws.String("application/pdf"),
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
	_, stored, err := b.Document(ctx, d, b.settings.Documents.MaxBytes)
	if err != nil {
		return countersign.Document{}, err
	}
	return d, stored.Close()
}

func (b *bucketObjects) Document(ctx context.Context, o countersign.Object, limit int64) ([]byte, io.Closer, error) {
	file, err := activities.SpoolObject(ctx, b.s3, b.settings.Tenant, o, limit)
	if err != nil {
		return nil, nil, err
	}
	return file.Raw, file, nil
}

func (b *bucketObjects) Read(ctx context.Context, o countersign.Object, limit int64) ([]byte, error) {
	return activities.ReadObject(ctx, b.s3, b.settings.Tenant, o, limit)
}

func (b *bucketObjects) PutReading(ctx context.Context, key string, body []byte) error {
	bucket := b.settings.Evidence.Bucket
	if err := countersign.CheckKey(b.settings.Tenant, key); err != nil {
		return fmt.Errorf("couldn't lock the record of a read: %w", err)
	}
	until := time.Now().Add(time.Duration(b.settings.Evidence.Retention)).UTC().Truncate(time.Second)
	_, err := b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: bytes.NewReader(body), ContentType: aws.String("application/json"),
		IfNoneMatch: aws.String("*"), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256, Tagging: aws.String("tenant=" + b.settings.Tenant),
		ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(until),
	})
	if err != nil {
		return fmt.Errorf("couldn't lock the record of a read at %s/%s: %w", bucket, key, err)
	}
	return nil
}

// readingPlace is a place among the records of reads: at a key, and at a version of it where one is named, as the store named it. Seen is what the
// page before ended with: stores don't agree on whether a page begins with its place or after it.
type readingPlace struct {
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
	Seen    string `json:"seen,omitempty"`
}

type readingPage struct {
	objects []countersign.Object // each version, so that none is hidden by another
	markers int                  // delete markers: somebody tried to hide a record
	next    readingPlace         // empty after the last page
}

func (b *bucketObjects) Readings(ctx context.Context, after readingPlace, limit int) (page readingPage, err error) {
	bucket := b.settings.Evidence.Bucket
	in := &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(countersign.ReadingsPrefix(b.settings.Tenant)), MaxKeys: aws.Int32(int32(limit))}
	if after.Key != "" {
		in.KeyMarker = aws.String(after.Key)
	}
	if after.Version != "" {
		in.VersionIdMarker = aws.String(after.Version)
	}
	out, err := b.s3.ListObjectVersions(ctx, in)
	if err != nil {
		return page, fmt.Errorf("couldn't list the records of reads in the bucket %q: %w", bucket, err)
	}
	seen := after.Seen
	for _, v := range out.Versions {
		o := countersign.Object{Bucket: bucket, Key: aws.ToString(v.Key), VersionID: aws.ToString(v.VersionId)}
		if seen = o.Key + "#" + o.VersionID; seen != after.Seen {
			page.objects = append(page.objects, o)
		}
	}
	page.markers = len(out.DeleteMarkers)
	if aws.ToBool(out.IsTruncated) {
		page.next = readingPlace{aws.ToString(out.NextKeyMarker), aws.ToString(out.NextVersionIdMarker), seen}
		if page.next.Key == "" {
			return page, fmt.Errorf("couldn't list the records of reads in the bucket %q: the list is cut, and doesn't say where it goes on", bucket)
		}
	}
	return page, nil
}

func (b *bucketObjects) Orders(ctx context.Context, request string, limit int) (records []countersign.Object, more bool, err error) {
	prefix := countersign.OrdersPrefix(b.settings.Tenant)
	if request != "" {
		prefix += request + "/"
	}
	all, more, err := activities.ListVersions(ctx, b.s3, b.settings.Tenant, b.settings.Evidence.Bucket, prefix, limit)
	return activities.FirstOrders(b.settings.Tenant, all), more, err
}

func (b *bucketObjects) Kept(ctx context.Context, o countersign.Object) (evidence.KeptObject, error) {
	return activities.Kept(ctx, b.s3, b.settings.Tenant, o)
}

func (b *bucketObjects) Index(ctx context.Context, from, until time.Time, limit int) (activities.IndexPage, error) {
	return activities.ListIndex(ctx, b.s3, b.settings.Tenant, b.settings.Evidence.Bucket, from, until, limit)
}

func (b *bucketObjects) IndexedAt(ctx context.Context, key string) (*activities.Indexed, error) {
	return activities.IndexedAt(ctx, b.s3, b.settings.Tenant, b.settings.Evidence.Bucket, key)
}

func (b *bucketObjects) IndexRecord(ctx context.Context, o countersign.Object) (evidence.IndexRecord, error) {
	return activities.ReadIndexRecord(ctx, b.s3, b.settings.Tenant, o)
}

func (b *bucketObjects) People() partFinder { return b.subjects.People() }

func (b *bucketObjects) LogProof(ctx context.Context, request string) ([]byte, error) {
	key := countersign.EvidenceLogKey(b.settings.Tenant, request)
	all, _, err := activities.ListVersions(ctx, b.s3, b.settings.Tenant, b.settings.Evidence.Bucket, key, maxProofVersions)
	if err != nil {
		return nil, err
	}
	// A store lists the versions of a key from its newest to its first.
	for _, o := range slices.Backward(all) {
		if o.Key == key {
			return b.Read(ctx, o, evidence.MaxLogProof)
		}
	}
	return nil, errNotFound
}

// maxProofVersions bounds the versions of a proof that are listed: there is one.
const maxProofVersions = 1000
