package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

const (
	// maxOrders bounds the orders about one request's evidence.
	maxOrders = 500
	// maxKeptObjects bounds the versions that one order is about.
	maxKeptObjects = 2000
)

// keptObjects are the locked objects of a request, each version of them: the bundle in the version that the order names, the intent to sign, and the
// records of earlier orders. Records of reads lie by day and not by request; they keep their own retention.
func (t *Tenant) keptObjects(ctx context.Context, o countersign.Order) ([]countersign.Object, error) {
	tenant, bucket := t.settings.Tenant, t.settings.Evidence.Bucket
	all := []countersign.Object{o.Bundle}
	intent := countersign.IntentKey(tenant, o.Request)
	for prefix, own := range map[string]func(key string) bool{
		intent: func(key string) bool { return key == intent },
		countersign.OrdersPrefix(tenant) + o.Request + "/": func(string) bool { return true },
	} {
		found, err := t.storedUnder(ctx, bucket, prefix)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			if own(v.Key) {
				all = append(all, v)
			}
		}
	}
	if len(all) > maxKeptObjects {
		return nil, fmt.Errorf("couldn't find what the order is about: there are %d versions, at most %d are looked at", len(all), maxKeptObjects)
	}
	slices.SortFunc(all[1:], func(a, b countersign.Object) int {
		return strings.Compare(a.Key+"#"+a.VersionID, b.Key+"#"+b.VersionID)
	})
	return all, nil
}

// storedUnder lists every version under a prefix of the tenant's, in the order of their keys.
func (t *Tenant) storedUnder(ctx context.Context, bucket, prefix string) (all []countersign.Object, err error) {
	if !strings.HasPrefix(prefix, t.settings.Tenant+"/") {
		return nil, countersign.Refuse("other-tenant", "what is listed is not of tenant %q", t.settings.Tenant)
	}
	pages := s3.NewListObjectVersionsPaginator(t.s3, &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() && len(all) <= maxKeptObjects {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("couldn't list the versions under %s/%s: %w", bucket, prefix, err)
		}
		for _, v := range page.Versions {
			all = append(all, countersign.Object{Bucket: bucket, Key: aws.ToString(v.Key), VersionID: aws.ToString(v.VersionId)})
		}
	}
	return all, nil
}

// hold puts the legal hold of each version on or off, and reads it back: asking for a hold is not having one.
func (t *Tenant) hold(ctx context.Context, objects []countersign.Object, on bool) error {
	status := s3types.ObjectLockLegalHoldStatusOff
	if on {
		status = s3types.ObjectLockLegalHoldStatusOn
	}
	for _, o := range objects {
		if err := checkOwn(t.settings.Tenant, o.Key); err != nil {
			return err
		}
		_, err := t.s3.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
			Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID), LegalHold: &s3types.ObjectLockLegalHold{Status: status},
		})
		if err != nil {
			return fmt.Errorf("couldn't put the legal hold of %s %s: %w", o.Key, strings.ToLower(string(status)), err)
		}
		held, err := t.isHeld(ctx, o)
		if err != nil {
			return err
		}
		if held != on {
			return fmt.Errorf("the store took the legal hold of %s, and reads back that it is not %s: check the bucket's Object Lock", o.Key, strings.ToLower(string(status)))
		}
	}
	return nil
}

func (t *Tenant) isHeld(ctx context.Context, o countersign.Object) (bool, error) {
	out, err := t.s3.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if isCode(err, "NoSuchObjectLockConfiguration") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("couldn't read the legal hold of %s back: %w", o.Key, err)
	}
	return out.LegalHold != nil && out.LegalHold.Status == s3types.ObjectLockLegalHoldStatusOn, nil
}

// kept reads the hold and the retention of one version.
func (t *Tenant) kept(ctx context.Context, o countersign.Object) (evidence.KeptObject, error) {
	k := evidence.KeptObject{Key: o.Key, VersionID: o.VersionID}
	held, err := t.isHeld(ctx, o)
	if err != nil {
		return k, err
	}
	k.Held = held
	out, err := t.s3.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if isCode(err, "NoSuchObjectLockConfiguration") {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("couldn't read the retention of %s back: %w", o.Key, err)
	}
	if out.Retention != nil && out.Retention.Mode == s3types.ObjectLockRetentionModeCompliance {
		k.RetainUntil = aws.ToTime(out.Retention.RetainUntilDate).UTC()
	}
	return k, nil
}

// retain extends the retention of each version that ends earlier, and reads it back.
func (t *Tenant) retain(ctx context.Context, objects []countersign.Object, until time.Time) error {
	for _, o := range objects {
		k, err := t.kept(ctx, o)
		if err != nil {
			return err
		}
		if !k.RetainUntil.Before(until) {
			continue
		}
		if err := checkOwn(t.settings.Tenant, o.Key); err != nil {
			return err
		}
		_, err = t.s3.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID),
			Retention: &s3types.ObjectLockRetention{Mode: s3types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until)},
		})
		if err != nil {
			return fmt.Errorf("couldn't extend the retention of %s: %w", o.Key, err)
		}
		if k, err = t.kept(ctx, o); err != nil {
			return err
		}
		if k.RetainUntil.Before(until) {
			return fmt.Errorf("the store took the retention of %s, and reads back %s, not %s: check the bucket's Object Lock", o.Key, k.RetainUntil.Format(time.RFC3339), until.Format(time.RFC3339))
		}
	}
	return nil
}

// lockedOrder is the record of an order, with where it lies.
type lockedOrder struct {
	record evidence.OrderRecord
	object countersign.Object
}

// orders are the records of the orders about a request's evidence, in their order. The first version of each counts: nobody changes a record by writing
// over it. One that can't be read is an error, for it could be a hold.
func (t *Tenant) orders(ctx context.Context, request string) (all []lockedOrder, err error) {
	tenant := t.settings.Tenant
	found, err := t.storedUnder(ctx, t.settings.Evidence.Bucket, countersign.OrdersPrefix(tenant)+request+"/")
	if err != nil {
		return nil, err
	}
	first := []countersign.Object{}
	for _, o := range found {
		if _, _, ok := countersign.ParseOrderKey(tenant, o.Key); !ok {
			continue
		}
		// The versions of a key are listed from its newest to its first.
		if n := len(first); n > 0 && first[n-1].Key == o.Key {
			first[n-1] = o
			continue
		}
		first = append(first, o)
	}
	for _, o := range first {
		body, err := ReadObject(ctx, t.s3, tenant, o, evidence.MaxOrderRecord)
		if err != nil {
			return nil, err
		}
		r, err := evidence.ParseOrderRecord(tenant, o.Key, body)
		if err != nil {
			return nil, err
		}
		o.SHA256 = countersign.SHA256(body)
		all = append(all, lockedOrder{r, o})
	}
	return all, nil
}

// recordOrder locks the record of an order, under the next number. Where the order has a record, that one counts.
func (t *Tenant) recordOrder(ctx context.Context, r evidence.OrderRecord, objects []countersign.Object, earlier []lockedOrder) (evidence.CarriedOut, error) {
	for _, e := range earlier {
		if e.record.Digest == r.Digest {
			return t.recordLocked(ctx, e.record, e.object)
		}
	}
	r.Objects = []evidence.KeptObject{}
	for _, o := range objects {
		k, err := t.kept(ctx, o)
		if err != nil {
			return evidence.CarriedOut{}, err
		}
		r.Objects = append(r.Objects, k)
	}
	history := []evidence.OrderRecord{}
	for _, e := range earlier {
		history = append(history, e.record)
	}
	r.Standing = evidence.Standing(append(history, r))
	body, err := json.Marshal(r)
	if err != nil {
		return evidence.CarriedOut{}, err
	}
	lasts := t.retainUntil(time.Now())
	if until := time.Unix(r.Order.Order.Until, 0).UTC(); until.After(lasts) {
		lasts = until // the record lasts as long as what it is about
	}
	key := countersign.OrderKey(t.settings.Tenant, r.Order.Order.Request, len(earlier)+1)
	stored, err := t.storeFirst(ctx, t.settings.Evidence.Bucket, key, "application/json", body, func(in *s3.PutObjectInput) {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = s3types.ObjectLockModeCompliance, aws.Time(lasts)
	})
	if errors.Is(err, errExists) {
		return evidence.CarriedOut{}, errors.New("couldn't record the order: another order was recorded at this moment; it is tried again")
	}
	if err != nil {
		return evidence.CarriedOut{}, err
	}
	return t.recordLocked(ctx, r, stored)
}

// recordLocked reads the lock of a record back.
func (t *Tenant) recordLocked(ctx context.Context, r evidence.OrderRecord, o countersign.Object) (evidence.CarriedOut, error) {
	locked, err := t.held(ctx, o)
	return evidence.CarriedOut{Record: r, Object: o, RetainAt: locked.RetainUntil}, err
}
