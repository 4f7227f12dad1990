package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// errExists says that somebody stored the object first.
var errExists = errors.New("the object exists already")

// errGone says that the object, or that version of it, is not there.
var errGone = errors.New("there is no such object or version")

// maxAdmitted bounds a document that intake admitted: the tenant's own limit may be lower by now, and changes nothing about it any more.
const maxAdmitted = evidence.MaxBundleSize

// ReadObject reads one version of one object of a tenant and checks its digest. More than limit bytes are refused unread, and so is what lies
// under another tenant's prefix, whatever the credentials would let through.
func ReadObject(ctx context.Context, c *s3.Client, tenant string, o countersign.Object, limit int64) ([]byte, error) {
	_, body, err := readVersion(ctx, c, tenant, o, limit)
	return body, err
}

// readVersion is ReadObject, and completes the object by its version and digest where they weren't named.
func readVersion(ctx context.Context, c *s3.Client, tenant string, o countersign.Object, limit int64) (countersign.Object, []byte, error) {
	in, version, err := openObject(ctx, c, tenant, o, limit)
	if err != nil {
		return o, nil, err
	}
	defer in.Close()
	body, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return o, nil, fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, err)
	}
	digest := countersign.SHA256(body)
	if err := isObject(o, int64(len(body)), limit, digest); err != nil {
		return o, nil, err
	}
	o.VersionID, o.SHA256 = version, digest
	return o, body, nil
}

// isObject checks what was read of an object.
func isObject(o countersign.Object, size, limit int64, digest string) error {
	switch {
	case size > limit:
		return countersign.Refuse("document-too-large", "the object has more than the allowed %d bytes", limit)
	case o.SHA256 != "" && digest != o.SHA256:
		return countersign.Refuse("digest-mismatch", "the object's SHA-256 is %s, but %s was named: it is not the document that was meant", digest, o.SHA256)
	}
	return nil
}

// openObject begins to read an object, for ReadObject and SpoolObject, which see to its limit and digest. It returns which version that is.
func openObject(ctx context.Context, c *s3.Client, tenant string, o countersign.Object, limit int64) (body io.ReadCloser, version string, err error) {
	if err := checkOwn(tenant, o.Key); err != nil {
		return nil, "", err
	}
	input := &s3.GetObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key)}
	if o.VersionID != "" {
		input.VersionId = aws.String(o.VersionID)
	}
	out, err := c.GetObject(ctx, input)
	if isStatus(err, 403) {
		if absent(ctx, c, o) {
			return nil, "", fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, errGone)
		}
		out, err = c.GetObject(ctx, input) // it may have been stored between the read and the list
	}
	if err != nil {
		if isStatus(err, 404) || isCode(err, "NoSuchKey", "NoSuchVersion") {
			return nil, "", fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, errGone)
		}
		return nil, "", fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, err)
	}
	if n := aws.ToInt64(out.ContentLength); n > limit {
		_ = out.Body.Close()
		return nil, "", countersign.Refuse("document-too-large", "the object has %d bytes; at most %d are allowed", n, limit)
	}
	return out.Body, aws.ToString(out.VersionId), nil
}

// checkOwn refuses the object of another tenant. What a process is asked to touch comes from requests and histories; its credentials should stop it as
// well, and either is enough.
func checkOwn(tenant, key string) error {
	if err := countersign.CheckKey(tenant, key); err != nil {
		return countersign.Refuse("other-tenant", "the object is not of tenant %q: %s", tenant, err)
	}
	return nil
}

// storeFirst stores the object if nothing is there yet. Where something is, it returns that with errExists: the first
// stored wins, so that a repeated step ends with what the first one made. The object is tagged with its tenant.
func (t *Tenant) storeFirst(ctx context.Context, bucket, key, mediaType string, body []byte, lock func(*s3.PutObjectInput)) (countersign.Object, error) {
	return storeFirst(ctx, t.s3, t.settings.Tenant, bucket, key, mediaType, bytes.NewReader(body), countersign.SHA256(body), lock)
}

func storeFirst(ctx context.Context, c *s3.Client, tenant, bucket, key, mediaType string, body io.ReadSeeker, digest string, lock func(*s3.PutObjectInput)) (countersign.Object, error) {
	if err := checkOwn(tenant, key); err != nil {
		return countersign.Object{}, err
	}
	input := &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: body, ContentType: aws.String(mediaType),
		IfNoneMatch: aws.String("*"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256, Tagging: aws.String("tenant=" + tenant),
	}
	if lock != nil {
		lock(input)
	}
	out, err := c.PutObject(ctx, input)
	if err == nil {
		return countersign.Object{Bucket: bucket, Key: key, VersionID: aws.ToString(out.VersionId), SHA256: digest}, nil
	}
	if isStatus(err, 412) || isCode(err, "PreconditionFailed") {
		return countersign.Object{}, errExists
	}
	return countersign.Object{}, fmt.Errorf("couldn't store %s/%s: %w", bucket, key, err)
}

// current reads the object's newest version, and names it.
func (t *Tenant) current(ctx context.Context, bucket, key string, limit int64) (countersign.Object, []byte, error) {
	return readVersion(ctx, t.s3, t.settings.Tenant, countersign.Object{Bucket: bucket, Key: key}, limit)
}

// earlier reads what an earlier attempt of this activity stored in the documents bucket. A first attempt doesn't look: what it finds in the place after
// all, it takes when it is about to store its own.
func (t *Tenant) earlier(ctx context.Context, key string, limit int64) (countersign.Object, []byte, error) {
	if !again(ctx) {
		return countersign.Object{}, nil, errGone
	}
	return t.current(ctx, t.settings.Documents.Bucket, key, limit)
}

// again says that this activity was attempted before.
func again(ctx context.Context) bool { return activity.GetInfo(ctx).Attempt >= 2 }

// newest names the object's newest version, without its digest.
func (t *Tenant) newest(ctx context.Context, bucket, key string) (countersign.Object, error) {
	o := countersign.Object{Bucket: bucket, Key: key}
	if err := checkOwn(t.settings.Tenant, key); err != nil {
		return o, err
	}
	// One request, whether it is there or not: who reads what isn't there is answered 403, and has to list as well.
	all, err := versions(ctx, t.s3, bucket, key)
	if err != nil {
		return o, err
	}
	at := slices.IndexFunc(all, func(v version) bool { return v.newest && !v.marker })
	if at < 0 {
		return o, fmt.Errorf("couldn't read %s/%s: %w", bucket, key, errGone)
	}
	o.VersionID = all[at].id
	return o, nil
}

// version is one version of an object, or a delete marker.
type version struct {
	id             string
	marker, newest bool
}

// versions lists the versions of exactly this object, delete markers among them.
func versions(ctx context.Context, c *s3.Client, bucket, key string) (all []version, err error) {
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(key)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("couldn't list the versions of %s/%s: %w", bucket, key, err)
		}
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == key {
				all = append(all, version{id: aws.ToString(v.VersionId), newest: aws.ToBool(v.IsLatest)})
			}
		}
		for _, m := range page.DeleteMarkers {
			if aws.ToString(m.Key) == key {
				all = append(all, version{id: aws.ToString(m.VersionId), marker: true, newest: aws.ToBool(m.IsLatest)})
			}
		}
	}
	return all, nil
}

// absent says whether an object that S3 forbids to read isn't there at all. Whoever may list one prefix alone is answered 403 for both: a read has no
// prefix that the permission could hold for. The list under that prefix tells them apart; who may not list it either doesn't learn.
func absent(ctx context.Context, c *s3.Client, o countersign.Object) bool {
	all, err := versions(ctx, c, o.Bucket, o.Key)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(all, func(v version) bool {
		return !v.marker && (v.id == o.VersionID || o.VersionID == "" && v.newest)
	})
}

func isStatus(err error, status int) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == status
}

func isCode(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}
