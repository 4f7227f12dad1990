package api

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
)

func (b *bucketObjects) Checks(ctx context.Context, prefix, after string, limit int) (reports []countersign.Object, markers int, more bool, err error) {
	bucket := b.settings.Evidence.Bucket
	if err := countersign.CheckKey(b.settings.Tenant, prefix+"x"); err != nil {
		return nil, 0, false, fmt.Errorf("couldn't list the reports of checks: %w", err)
	}
	in := &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(prefix)}
	if after != "" {
		in.KeyMarker = aws.String(after)
	}
	for pages := s3.NewListObjectVersionsPaginator(b.s3, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, 0, false, fmt.Errorf("couldn't list the reports of checks in the bucket %q: %w", bucket, err)
		}
		markers += len(page.DeleteMarkers)
		for _, v := range page.Versions {
			if len(reports) == limit {
				return reports, markers, true, nil
			}
			reports = append(reports, countersign.Object{Bucket: bucket, Key: aws.ToString(v.Key), VersionID: aws.ToString(v.VersionId)})
		}
	}
	return reports, markers, false, nil
}

// renewalKey is where one kind of evidence records lies: countersign.RenewalKey or StoredRenewalKey.
type renewalKey func(tenant, request string, number int) string

// maxRenewals bounds the versions of evidence records that one answer looks at.
const maxRenewals = 1000

// Renewal counts as the workers do: from 1 on without a gap, and the first version stored under a number.
func (b *bucketObjects) Renewal(ctx context.Context, request string, key renewalKey) (newest countersign.Object, number int, err error) {
	tenant := b.settings.Tenant
	all, more, err := activities.ListVersions(ctx, b.s3, tenant, b.settings.Evidence.Bucket, countersign.RenewalsPrefix(tenant, request), maxRenewals)
	switch {
	case err != nil:
		return newest, 0, err
	case more:
		return newest, 0, fmt.Errorf("couldn't list the evidence records of %s: there are more than %d versions", request, maxRenewals)
	}
	first := map[string]countersign.Object{} // a store lists the versions of a key from its newest to its first
	for _, o := range all {
		first[o.Key] = o
	}
	for {
		o, there := first[key(tenant, request, number+1)]
		if !there {
			break
		}
		newest, number = o, number+1
	}
	if number == 0 {
		return newest, 0, errNotFound
	}
	return newest, number, nil
}
