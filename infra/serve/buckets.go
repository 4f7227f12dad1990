package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign/infra/compose/prepared"
	"github.com/countersign-dev/countersign/infra/objectstore"
)

// serveBuckets makes the buckets of a store, and is healthy as long as they are what
// they must be. Others wait for it instead of for the store.
func serveBuckets(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("buckets", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:9750", "`address` of /healthz")
	endpoint := set.String("s3", "", "S3 endpoint, `URL`")
	region := set.String("region", "eu-central-1", "AWS region")
	credentials := set.String("credentials", "", "AWS shared credentials `file` with the profile admin")
	policies := set.String("policies", "", "`directory` with BUCKET.json, the buckets' policies")
	if err := parse(set, args); err != nil {
		return err
	}
	profiles, err := prepared.ReadProfiles(*credentials)
	if err != nil {
		return err
	}
	if len(profiles) != 1 || profiles[0].Name != "admin" {
		return fmt.Errorf("%s must hold the profile admin and no other", *credentials)
	}
	client := objectstore.Client(*endpoint, *region, profiles[0].Credential)
	for _, bucket := range []string{objectstore.Documents, objectstore.Evidence} {
		if err := makeBucket(ctx, client, *region, bucket, filepath.Join(*policies, bucket+".json")); err != nil {
			return fmt.Errorf("couldn't make the bucket %s: %w", bucket, err)
		}
	}
	return serve(ctx, *listen, http.NotFoundHandler(), func(ctx context.Context) error { return checkBuckets(ctx, client) })
}

// makeBucket can be repeated. Policies are written anew each time.
func makeBucket(ctx context.Context, client *s3.Client, region, bucket, policyFile string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	policy, err := os.ReadFile(policyFile)
	if err != nil {
		return err
	}
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                     aws.String(bucket),
		ObjectLockEnabledForBucket: aws.Bool(bucket == objectstore.Evidence),
		CreateBucketConfiguration:  &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)},
	})
	var owned *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &owned) {
		return err
	}
	if _, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket:                  aws.String(bucket),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		return err
	}
	_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: aws.String(string(policy))})
	return err
}

func checkBuckets(ctx context.Context, client *s3.Client) error {
	for _, bucket := range []string{objectstore.Documents, objectstore.Evidence} {
		versioning, err := client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String(bucket)})
		if err != nil {
			return err
		}
		if versioning.Status != types.BucketVersioningStatusEnabled {
			return fmt.Errorf("bucket %s keeps no versions", bucket)
		}
	}
	lock, err := client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(objectstore.Evidence)})
	if err != nil {
		return err
	}
	if lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return fmt.Errorf("bucket %s has no Object Lock", objectstore.Evidence)
	}
	return nil
}
