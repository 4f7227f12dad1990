package objectstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const region = "eu-central-1"

var users = map[string]User{
	"acme-worker":   {Credential: Credential{"AKACMEWORKER00000000", "secret-acme-worker"}, Tenant: "acme", Role: RoleWorker},
	"acme-starter":  {Credential: Credential{"AKACMESTARTER0000000", "secret-acme-starter"}, Tenant: "acme", Role: RoleStarter},
	"globex-worker": {Credential: Credential{"AKGLOBEXWORKER000000", "secret-globex-worker"}, Tenant: "globex", Role: RoleWorker},
}

var root = Credential{"AKROOT00000000000000", "secret-root"}

// start runs a store in a new directory; sidecar forces sidecar metadata. The
// gateway is one per process, so no test here is parallel.
func start(t *testing.T, sidecar bool) *Store {
	t.Helper()
	// The gateway changes the working directory; t.TempDir could not be removed
	// on every system while it is the current one.
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { _ = os.Chdir(before) })
	if sidecar {
		if err := os.Mkdir(dir+"/sidecar", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	config := Config{Dir: dir, Address: address, Region: region, Root: root}
	for _, user := range users {
		config.Users = append(config.Users, user)
	}
	store, err := Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Stop(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func (s *Store) as(name string) *s3.Client {
	if name == "root" {
		return Client(s.Endpoint, region, root)
	}
	return Client(s.Endpoint, region, users[name].Credential)
}

// status is the HTTP status of a call: 200 for success.
func status(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return http.StatusOK
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		t.Fatalf("no answer: %v", err)
	}
	return response.HTTPStatusCode()
}

func put(ctx context.Context, client *s3.Client, bucket, key string, change func(*s3.PutObjectInput)) (*s3.PutObjectOutput, error) {
	input := &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: bytes.NewReader([]byte("content of " + key)),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	}
	if change != nil {
		change(input)
	}
	return client.PutObject(ctx, input)
}

func TestEvidenceIsLockedAndTenantsAreApart(t *testing.T) {
	for _, metadata := range []string{MetadataXattr, MetadataSidecar} {
		t.Run(metadata, func(t *testing.T) {
			store := start(t, metadata == MetadataSidecar)
			if store.Metadata != metadata {
				t.Skipf("this file system has no extended attributes")
			}
			t.Run("lock", func(t *testing.T) { testLock(t, store) })
			t.Run("isolation", func(t *testing.T) { testIsolation(t, store) })
			t.Run("anonymous", func(t *testing.T) { testAnonymous(t, store) })
		})
	}
}

// A file system without extended attributes is found out, evidence is locked there too, and what began so stays so.
func TestR11_WithoutExtendedAttributesEvidenceIsLockedBySidecarFiles(t *testing.T) {
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chdir(before) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Dir: t.TempDir(), Address: listener.Addr().String(), Region: region, Root: root, Users: []User{users["acme-worker"]}}
	listener.Close()
	until := time.Now().Add(time.Hour)
	var version *string
	for round, takes := range []bool{false, true} {
		config.takesAttributes = func(string) bool { return takes }
		store, err := Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if store.Metadata != MetadataSidecar {
			t.Errorf("start %d keeps metadata in %s", round+1, store.Metadata)
		}
		if round == 0 {
			stored, err := put(t.Context(), store.as("acme-worker"), Evidence, "acme/kept", func(in *s3.PutObjectInput) {
				in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockModeCompliance, &until
			})
			if err != nil {
				t.Fatal(err)
			}
			version = stored.VersionId
		}
		_, err = store.as("root").DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(Evidence), Key: aws.String("acme/kept"), VersionId: version, BypassGovernanceRetention: aws.Bool(true)})
		if status(t, err) != http.StatusForbidden {
			t.Errorf("start %d: deleting the locked version: got %v, want 403", round+1, err)
		}
		if err := store.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func testLock(t *testing.T, store *Store) {
	ctx := t.Context()
	worker, admin := store.as("acme-worker"), store.as("root")
	until := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	lock := func(in *s3.PutObjectInput) {
		in.ObjectLockMode = types.ObjectLockModeCompliance
		in.ObjectLockRetainUntilDate = &until
		in.IfNoneMatch = aws.String("*")
		in.Tagging = aws.String("tenant=acme")
	}
	const key = "acme/signing/1.asice"
	stored, err := put(ctx, worker, Evidence, key, lock)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(stored.VersionId) == "" {
		t.Fatal("the put returned no version id")
	}
	if _, err := put(ctx, worker, Evidence, key, lock); status(t, err) != http.StatusPreconditionFailed {
		t.Errorf("a second put with If-None-Match: got %v, want 412", err)
	}
	read, err := worker.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(Evidence), Key: aws.String(key), VersionId: stored.VersionId})
	if err != nil {
		t.Fatal(err)
	}
	if read.Retention.Mode != types.ObjectLockRetentionModeCompliance || !read.Retention.RetainUntilDate.Equal(until) {
		t.Errorf("retention is %v until %v, want COMPLIANCE until %v", read.Retention.Mode, read.Retention.RetainUntilDate, until)
	}
	tags, err := admin.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String(Evidence), Key: aws.String(key), VersionId: stored.VersionId})
	if err != nil || len(tags.TagSet) != 1 || aws.ToString(tags.TagSet[0].Key) != "tenant" || aws.ToString(tags.TagSet[0].Value) != "acme" {
		t.Errorf("the tags are %+v (%v), want tenant=acme", tags, err)
	}
	for name, client := range map[string]*s3.Client{"worker": worker, "root": admin} {
		for _, bypass := range []*bool{nil, aws.Bool(true)} {
			_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{
				Bucket: aws.String(Evidence), Key: aws.String(key), VersionId: stored.VersionId, BypassGovernanceRetention: bypass,
			})
			if status(t, err) != http.StatusForbidden {
				t.Errorf("%s deletes the locked version (bypass %v): got %v, want 403", name, bypass != nil, err)
			}
			sooner := until.Add(-time.Hour)
			_, err = client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
				Bucket: aws.String(Evidence), Key: aws.String(key), VersionId: stored.VersionId, BypassGovernanceRetention: bypass,
				Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &sooner},
			})
			if status(t, err) != http.StatusForbidden {
				t.Errorf("%s shortens the retention (bypass %v): got %v, want 403", name, bypass != nil, err)
			}
		}
	}
	// A marker would hide evidence from whoever reads by key.
	_, err = worker.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(Evidence), Key: aws.String(key)})
	if status(t, err) != http.StatusForbidden {
		t.Errorf("the worker puts a delete marker on evidence: got %v, want 403", err)
	}
	got, err := store.as("acme-starter").GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(Evidence), Key: aws.String(key), VersionId: stored.VersionId})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if body, _ := io.ReadAll(got.Body); string(body) != "content of "+key {
		t.Errorf("read back %q", body)
	}
}

func testIsolation(t *testing.T, store *Store) {
	ctx := t.Context()
	operations := map[string]func(client *s3.Client, bucket, key string) error{
		"get": func(client *s3.Client, bucket, key string) error {
			_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
			return err
		},
		"head": func(client *s3.Client, bucket, key string) error {
			_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
			return err
		},
		"put": func(client *s3.Client, bucket, key string) error {
			_, err := put(ctx, client, bucket, key, nil)
			return err
		},
		"copy": func(client *s3.Client, bucket, key string) error {
			_, err := client.CopyObject(ctx, &s3.CopyObjectInput{
				Bucket: aws.String(Documents), Key: aws.String("acme/documents/copy"), CopySource: aws.String(bucket + "/" + key),
			})
			return err
		},
		"delete": func(client *s3.Client, bucket, key string) error {
			_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
			return err
		},
	}
	cases := []struct {
		who, bucket, key string
		allowed          string
	}{
		{"acme-worker", Documents, "acme/own", "get head put copy delete"},
		{"acme-worker", Evidence, "acme/own", "get head put copy"},
		{"acme-starter", Documents, "acme/documents/own", "get head put copy"},
		{"acme-starter", Documents, "acme/withheld/own", ""},
		{"acme-starter", Evidence, "acme/own", "get head copy"},
		{"acme-starter", Evidence, "acme/reads/own", "get head put copy"},
		{"acme-starter", Evidence, "globex/reads/own", ""},
		{"globex-worker", Documents, "acme/own", ""},
		{"globex-worker", Evidence, "acme/own", ""},
		{"acme-worker", Documents, "globex/foreign", ""},
		{"acme-worker", Evidence, "globex/foreign", ""},
		{"acme-worker", Documents, "acme/../globex/foreign", ""},
		{"acme-worker", Documents, "acme-not/foreign", ""},
	}
	for i, c := range cases {
		// Every case has keys of its own, because an earlier one may have deleted.
		if c.key != "acme/../globex/foreign" {
			c.key += strconv.Itoa(i)
			if _, err := put(ctx, store.as("root"), c.bucket, c.key, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"get", "head", "copy", "put", "delete"} {
			err := operations[name](store.as(c.who), c.bucket, c.key)
			got, want := status(t, err), bytes.Contains([]byte(" "+c.allowed+" "), []byte(" "+name+" "))
			if want && got >= 300 {
				t.Errorf("%s may not %s %s/%s: %v", c.who, name, c.bucket, c.key, err)
			}
			if !want && got < 400 {
				t.Errorf("%s may %s %s/%s", c.who, name, c.bucket, c.key)
			}
		}
	}
	for _, c := range []struct {
		who, bucket, prefix string
		want                int
	}{
		{"acme-worker", Documents, "acme/withheld/PO-1/document.p7s", http.StatusOK},
		{"acme-worker", Documents, "acme/documents/", http.StatusOK},
		{"acme-worker", Documents, "globex/withheld/", http.StatusForbidden},
		{"acme-worker", Documents, "", http.StatusForbidden},
		{"acme-worker", Evidence, "acme/evidence/", http.StatusOK},
		{"acme-worker", Evidence, "globex/evidence/", http.StatusForbidden},
		{"acme-worker", Documents, "acme", http.StatusForbidden},
		{"acme-starter", Documents, "acme/withheld/", http.StatusForbidden},
		{"acme-starter", Evidence, "acme/reads/", http.StatusOK},
		{"acme-starter", Evidence, "acme/evidence/", http.StatusForbidden},
		{"acme-starter", Evidence, "globex/reads/", http.StatusForbidden},
	} {
		input := &s3.ListObjectVersionsInput{Bucket: aws.String(c.bucket)}
		if c.prefix != "" {
			input.Prefix = aws.String(c.prefix)
		}
		if _, err := store.as(c.who).ListObjectVersions(ctx, input); status(t, err) != c.want {
			t.Errorf("%s lists the versions of %s/%s: got %v, want %d", c.who, c.bucket, c.prefix, err, c.want)
		}
	}
	for _, who := range []string{"acme-worker", "acme-starter"} {
		_, err := store.as(who).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(Evidence)})
		if status(t, err) != http.StatusForbidden {
			t.Errorf("%s lists the evidence bucket: got %v, want 403", who, err)
		}
		_, err = store.as(who).PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(Evidence), Policy: aws.String(`{}`)})
		if got := status(t, err); got < 400 {
			t.Errorf("%s changes the bucket's policy", who)
		}
	}
}

func testAnonymous(t *testing.T, store *Store) {
	response, err := http.Get(store.Endpoint + "/" + Documents + "/acme/own")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("an anonymous read answers %s, want 403", response.Status)
	}
}

func TestASecondStartKeepsWhatIsThere(t *testing.T) {
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chdir(before) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Dir: t.TempDir(), Address: listener.Addr().String(), Region: region, Root: root, Users: []User{users["acme-worker"]}}
	listener.Close()
	for round := range 2 {
		store, err := Start(t.Context(), config)
		if err != nil {
			t.Fatalf("start %d: %v", round+1, err)
		}
		client := store.as("acme-worker")
		if round == 0 {
			_, err = put(t.Context(), client, Documents, "acme/kept", nil)
		} else {
			_, err = client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(Documents), Key: aws.String("acme/kept")})
		}
		if err != nil {
			t.Errorf("start %d: %v", round+1, err)
		}
		if err := store.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A hold outlasts the retention, as on S3; without one the version can go.
func TestN11_WhatIsHeldIsKeptThoughItsRetentionRanOut(t *testing.T) {
	store := start(t, false)
	ctx, client := context.Background(), store.as("root")
	versions := map[bool]*string{}
	for held, key := range map[bool]string{true: "acme/intents/held.json", false: "acme/intents/free.json"} {
		out, err := put(ctx, client, Evidence, key, func(in *s3.PutObjectInput) {
			in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockModeCompliance, aws.Time(time.Now().Add(2*time.Second))
		})
		if err != nil {
			t.Fatal(err)
		}
		versions[held] = out.VersionId
	}
	held, free := aws.String("acme/intents/held.json"), aws.String("acme/intents/free.json")
	hold := func(status types.ObjectLockLegalHoldStatus) {
		t.Helper()
		_, err := client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{Bucket: aws.String(Evidence), Key: held, VersionId: versions[true], LegalHold: &types.ObjectLockLegalHold{Status: status}})
		if err != nil {
			t.Fatal(err)
		}
	}
	hold(types.ObjectLockLegalHoldStatusOn)
	remove := func(key, version *string) error {
		_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(Evidence), Key: key, VersionId: version})
		return err
	}
	often, last := time.NewTicker(100*time.Millisecond), time.After(30*time.Second)
	defer often.Stop()
	for remove(free, versions[false]) != nil {
		select {
		case <-often.C:
		case <-last:
			t.Fatal("the retention doesn't run out")
		}
	}
	if got := status(t, remove(held, versions[true])); got != http.StatusForbidden {
		t.Errorf("deleting what is held answers %d", got)
	}
	out, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String(Evidence), Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: held, VersionId: versions[true]}}}})
	if err == nil && len(out.Errors) == 0 {
		t.Error("in a batch it is deleted")
	}
	hold(types.ObjectLockLegalHoldStatusOff)
	if err := remove(held, versions[true]); err != nil {
		t.Errorf("what is free again can't be deleted: %v", err)
	}
}
