package tests

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/countersign-dev/countersign"
)

// deniedBy is the header by which the gate before S3 and KMS names the statement that refused. The parts behind it don't know it.
const deniedBy = "X-Countersign-Denied-By"

// wantRefusedBy fails unless the gate refused, by that statement, and in the shape of the service: so nothing behind it did.
func wantRefusedBy(t *testing.T, what string, err error, code, by string) {
	t.Helper()
	var response *smithyhttp.ResponseError
	var api smithy.APIError
	if !errors.As(err, &response) || !errors.As(err, &api) {
		t.Errorf("%s: %v, want it refused by %s", what, err, by)
		return
	}
	if got := response.Response.Header.Get(deniedBy); got != by || api.ErrorCode() != code {
		t.Errorf("%s: %s, refused by %q; want %s by %q", what, api.ErrorCode(), got, code, by)
	}
}

// stored is an object as the root of the store put it, past the policies.
func stored(t *testing.T, in *s3.PutObjectInput) countersign.Object {
	t.Helper()
	root, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	in.Body = strings.NewReader("x")
	out, err := root.PutObject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return countersign.Object{Bucket: aws.ToString(in.Bucket), Key: aws.ToString(in.Key), VersionID: aws.ToString(out.VersionId)}
}

// TestR10_TheAWSPoliciesHoldATenantsWorker asks S3 and KMS with the credentials of acme's worker what it must not have, however its code goes wrong.
func TestR10_TheAWSPoliciesHoldATenantsWorker(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := local.S3Client(ctx, "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := local.KMSClient(ctx, "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	documents, evidence := aws.String(local.S3.Documents), aws.String(local.S3.Evidence)
	until := time.Now().Add(24 * time.Hour)
	foreign := stored(t, &s3.PutObjectInput{Bucket: documents, Key: aws.String("globex/documents/aws-policies.pdf")})
	own := stored(t, &s3.PutObjectInput{Bucket: documents, Key: aws.String("acme/documents/aws-policies.pdf")})
	locked := stored(t, &s3.PutObjectInput{Bucket: evidence, Key: aws.String("acme/evidence/aws-policies.asice"), ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: &until})
	put := func(bucket *string, key, tag string, mode s3types.ObjectLockMode, until *time.Time) error {
		in := &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: strings.NewReader("x"), ObjectLockMode: mode, ObjectLockRetainUntilDate: until}
		if tag != "" {
			in.Tagging = aws.String(tag)
		}
		_, err := store.PutObject(ctx, in)
		return err
	}
	retain := func(mode s3types.ObjectLockRetentionMode, until time.Time, bypass bool) error {
		in := &s3.PutObjectRetentionInput{Bucket: evidence, Key: &locked.Key, VersionId: &locked.VersionID, Retention: &s3types.ObjectLockRetention{Mode: mode, RetainUntilDate: &until}}
		if bypass {
			in.BypassGovernanceRetention = aws.Bool(true)
		}
		_, err := store.PutObjectRetention(ctx, in)
		return err
	}
	digest := sha256.Sum256([]byte("x"))
	sign := func(tenant string, kind kmstypes.MessageType) error {
		_, err := keys.Sign(ctx, &kms.SignInput{KeyId: aws.String(local.Tenants[tenant].KeyARN), Message: digest[:], MessageType: kind, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256})
		return err
	}

	for _, c := range []struct {
		what string
		ask  func() error
		by   string
	}{
		{"read globex's document", func() error {
			_, err := store.GetObject(ctx, &s3.GetObjectInput{Bucket: documents, Key: &foreign.Key, VersionId: &foreign.VersionID})
			return err
		}, "documents-bucket.json OwnPrefixOnly"},
		{"look for globex's document", func() error {
			_, err := store.HeadObject(ctx, &s3.HeadObjectInput{Bucket: documents, Key: &foreign.Key})
			return err
		}, "documents-bucket.json OwnPrefixOnly"},
		{"list globex's objects", func() error {
			_, err := store.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: documents, Prefix: aws.String("globex/")})
			return err
		}, "documents-bucket.json OwnListingOnly"},
		{"list everybody's objects", func() error {
			_, err := store.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: evidence})
			return err
		}, "evidence-bucket.json OwnListingOnly"},
		{"write under globex's prefix", func() error { return put(documents, "globex/withheld/x", "tenant=globex", "", nil) }, "documents-bucket.json OwnPrefixOnly"},
		{"put without the tenant's tag", func() error { return put(documents, "acme/withheld/x", "", "", nil) }, "documents-bucket.json PutNeedsTenantTag"},
		{"put with globex's tag", func() error { return put(documents, "acme/withheld/x", "tenant=globex", "", nil) }, "documents-bucket.json PutNeedsTenantTag"},
		{"put a document of its own making", func() error { return put(documents, "acme/documents/x.pdf", "tenant=acme", "", nil) }, "no statement allows it"},
		{"delete a document", func() error {
			_, err := store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: documents, Key: &own.Key, VersionId: &own.VersionID})
			return err
		}, "documents-bucket.json OnlyWhatIsWithheldOrShreddedIsDestroyed"},
		{"put into evidence without a lock", func() error { return put(evidence, "acme/evidence/x.asice", "tenant=acme", "", nil) }, "evidence-bucket.json NothingWithoutLock"},
		{"put into evidence with a lock that can be opened", func() error {
			return put(evidence, "acme/evidence/x.asice", "tenant=acme", s3types.ObjectLockModeGovernance, &until)
		}, "evidence-bucket.json NothingWithoutLock"},
		{"put into evidence with a lock that is over", func() error {
			return put(evidence, "acme/evidence/x.asice", "tenant=acme", s3types.ObjectLockModeCompliance, aws.Time(time.Now().Add(-time.Hour)))
		}, "evidence-bucket.json NothingLockedBriefly"},
		{"delete a locked version", func() error {
			_, err := store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: evidence, Key: &locked.Key, VersionId: &locked.VersionID})
			return err
		}, "evidence-bucket.json NobodyDeletes"},
		{"hide evidence behind a marker", func() error {
			_, err := store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: evidence, Key: &locked.Key})
			return err
		}, "evidence-bucket.json NobodyDeletes"},
		{"delete evidence in a batch", func() error {
			_, err := store.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: evidence, Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{{Key: &locked.Key, VersionId: &locked.VersionID}}}})
			return err
		}, "evidence-bucket.json NobodyDeletes"},
		{"end the retention", func() error {
			return retain(s3types.ObjectLockRetentionModeCompliance, time.Now().Add(-time.Minute), false)
		}, "evidence-bucket.json NoRetentionIsEnded"},
		{"loosen the retention", func() error { return retain(s3types.ObjectLockRetentionModeGovernance, until, false) }, "evidence-bucket.json NothingWithoutLock"},
		{"lift a legal hold of the log", func() error {
			_, err := store.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{Bucket: evidence, Key: aws.String("acme/log/checkpoint"), VersionId: &locked.VersionID, LegalHold: &s3types.ObjectLockLegalHold{Status: s3types.ObjectLockLegalHoldStatusOff}})
			return err
		}, "no statement allows it"},
		{"bypass governance", func() error { return retain(s3types.ObjectLockRetentionModeCompliance, until, true) }, "evidence-bucket.json NobodyBypassesALock"},
		{"change the bucket's policy", func() error {
			_, err := store.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: evidence, Policy: aws.String(`{}`)})
			return err
		}, "evidence-bucket.json NoProcessChangesTheBucket"},
		{"change what is expired", func() error {
			_, err := store.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: documents, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: []s3types.LifecycleRule{
				{Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")}, Expiration: &s3types.LifecycleExpiration{Days: aws.Int32(1)}}}}})
			return err
		}, "documents-bucket.json NoProcessChangesTheBucket"},
		{"stop keeping versions", func() error {
			_, err := store.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: documents, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}})
			return err
		}, "documents-bucket.json NoProcessChangesTheBucket"},
		{"copy what is globex's", func() error {
			_, err := store.CopyObject(ctx, &s3.CopyObjectInput{Bucket: documents, Key: aws.String("acme/withheld/x"), CopySource: aws.String(local.S3.Documents + "/" + foreign.Key), Tagging: aws.String("tenant=acme"), TaggingDirective: s3types.TaggingDirectiveReplace})
			return err
		}, "the gate knows no action of AWS for this request"},
	} {
		code := "AccessDenied"
		if strings.HasPrefix(c.what, "look for") {
			code = "Forbidden" // an answer without a body
		}
		wantRefusedBy(t, "acme's worker may "+c.what, c.ask(), code, c.by)
	}
	for what, c := range map[string]struct {
		err error
		by  string
	}{
		"sign with globex's key":  {sign("globex", kmstypes.MessageTypeDigest), "no statement allows it"},
		"sign more than a digest": {sign("acme", kmstypes.MessageTypeRaw), "no statement allows it"},
		"disable its key": {func() error {
			_, err := keys.DisableKey(ctx, &kms.DisableKeyInput{KeyId: aws.String(local.Tenants["acme"].KeyARN)})
			return err
		}(), "key.json NoProcessManagesKeys"},
		"take globex's key by a tag": {func() error {
			_, err := keys.TagResource(ctx, &kms.TagResourceInput{KeyId: aws.String(local.Tenants["globex"].KeyARN), Tags: []kmstypes.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String("acme")}}})
			return err
		}(), "key.json NoProcessManagesKeys"},
	} {
		wantRefusedBy(t, "acme's worker may "+what, c.err, "AccessDeniedException", c.by)
	}

	// A policy knows the length that is asked and not the one that is there: above the least one, it is the lock itself that can't be shortened.
	err = retain(s3types.ObjectLockRetentionModeCompliance, time.Now().Add(time.Hour), false)
	wantRefusedBy(t, "acme's worker may shorten the retention", err, "AccessDenied", "")

	// The same calls pass where they are its own: it was the policies that refused, and not what the calls lack.
	if err := sign("acme", kmstypes.MessageTypeDigest); err != nil {
		t.Errorf("acme's worker signs with acme's key: %v", err)
	}
	if err := put(documents, "acme/withheld/aws-policies", "tenant=acme", "", nil); err != nil {
		t.Errorf("acme's worker withholds: %v", err)
	}
	if err := put(evidence, "acme/evidence/aws-policies-2.asice", "tenant=acme", s3types.ObjectLockModeCompliance, &until); err != nil {
		t.Errorf("acme's worker locks evidence: %v", err)
	}
	if err := retain(s3types.ObjectLockRetentionModeCompliance, until.Add(time.Hour), false); err != nil {
		t.Errorf("acme's worker extends a lock: %v", err)
	}
}

// TestR10_TheAWSPoliciesHoldATenantsAPI: the process that strangers reach reads documents and evidence of its tenant, and signs, locks and destroys nothing.
func TestR10_TheAWSPoliciesHoldATenantsAPI(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := local.S3Client(ctx, "acme-starter")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := local.KMSClient(ctx, "acme-starter")
	if err != nil {
		t.Fatal(err)
	}
	withheld := stored(t, &s3.PutObjectInput{Bucket: aws.String(local.S3.Documents), Key: aws.String("acme/withheld/aws-policies-api/document.p7s")})
	_, err = store.GetObject(ctx, &s3.GetObjectInput{Bucket: &withheld.Bucket, Key: &withheld.Key, VersionId: &withheld.VersionID})
	wantRefusedBy(t, "the API reads what is withheld", err, "AccessDenied", "no statement allows it")
	_, err = store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &withheld.Bucket, Key: &withheld.Key, VersionId: &withheld.VersionID})
	wantRefusedBy(t, "the API destroys what is withheld", err, "AccessDenied", "no statement allows it")
	_, err = store.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String("acme/evidence/x.asice"), Body: strings.NewReader("x"), Tagging: aws.String("tenant=acme"),
		ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(25 * time.Hour))})
	wantRefusedBy(t, "the API locks evidence", err, "AccessDenied", "no statement allows it")
	_, err = store.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &withheld.Bucket, Prefix: aws.String("acme/")})
	wantRefusedBy(t, "the API lists", err, "AccessDenied", "no statement allows it")
	digest := sha256.Sum256([]byte("x"))
	_, err = keys.Sign(ctx, &kms.SignInput{KeyId: aws.String(local.Tenants["acme"].KeyARN), Message: digest[:], MessageType: kmstypes.MessageTypeDigest, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256})
	wantRefusedBy(t, "the API signs", err, "AccessDeniedException", "no statement allows it")
	_, err = keys.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(local.Tenants["acme"].KeyARN)})
	wantRefusedBy(t, "the API looks at the key", err, "AccessDeniedException", "no statement allows it")
}

// TestR10_WhatIsNotThereIsForbiddenToo: nobody learns by the answer's status which objects exist, as on AWS.
func TestR10_WhatIsNotThereIsForbiddenToo(t *testing.T) {
	t.Parallel()
	store, err := local.S3Client(t.Context(), "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"acme/withheld/nowhere", "globex/withheld/nowhere"} {
		_, err = store.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(local.S3.Documents), Key: aws.String(key)})
		wantStatus(t, "looking for "+key, err, http.StatusForbidden)
	}
	out, err := store.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(local.S3.Documents), Prefix: aws.String("acme/withheld/nowhere")})
	if err != nil || len(out.Versions) != 0 {
		t.Errorf("the list under its own prefix says that it isn't there: %v, %v", out, err)
	}
}

// TestR10_TheGateTakesNobodysWord: the access key alone opens nothing, and neither does a signature over something else.
func TestR10_TheGateTakesNobodysWord(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client, err := local.S3Client(ctx, "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	key := "acme/documents/nobodys-word.pdf"
	object := stored(t, &s3.PutObjectInput{Bucket: aws.String(local.S3.Documents), Key: &key})
	signer := s3.NewPresignClient(client)
	presigned, err := signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &object.Bucket, Key: &key, VersionId: &object.VersionID})
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := client.Options().Credentials.Retrieve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	plain := local.S3.Endpoint + "/" + object.Bucket + "/" + key + "?versionId=" + object.VersionID
	now := time.Now().UTC()
	claimed := http.Header{
		"Authorization": {"AWS4-HMAC-SHA256 Credential=" + credentials.AccessKeyID + "/" + now.Format("20060102") + "/" + local.S3.Region + "/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + strings.Repeat("0", 64)},
		"X-Amz-Date":    {now.Format("20060102T150405Z")}, "X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"},
	}
	for what, c := range map[string]struct {
		url    string
		header http.Header
		says   string
	}{
		"nobody":             {plain, nil, "<Code>AccessDenied</Code>"},
		"a presigned link":   {presigned.URL, nil, "<Code>AccessDenied</Code>"},
		"a false signature":  {plain, claimed, "<Code>SignatureDoesNotMatch</Code>"},
		"two of them in one": {presigned.URL, claimed, "<Code>AuthorizationHeaderMalformed</Code>"},
	} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = c.header.Clone()
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusForbidden || !strings.Contains(body.String(), c.says) {
			t.Errorf("%s: %s %s (%v)", what, response.Status, &body, err)
		}
	}
}
