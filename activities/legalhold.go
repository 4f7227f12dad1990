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

// keptObjects are the locked objects of a request, each version of them: the bundle in the version that the order names, the intent to sign, the
// proof of the log, the index record, and the records of earlier orders. Records of reads lie by day and not by request; they keep their own retention.
func (t *Tenant) keptObjects(ctx context.Context, o countersign.Order) ([]countersign.Object, error) {
	tenant, bucket := t.settings.Tenant, t.settings.Evidence.Bucket
	all := []countersign.Object{o.Bundle}
	intent, proof := countersign.IntentKey(tenant, o.Request), countersign.EvidenceLogKey(tenant, o.Request)
	kept := map[string]func(key string) bool{
		intent: func(key string) bool { return key == intent },
		proof:  func(key string) bool { return key == proof },
		countersign.OrdersPrefix(tenant) + o.Request + "/": func(string) bool { return true },
	}
	switch index, err := t.indexKeyOf(ctx, o.Request); {
	case err != nil:
		return nil, err
	case index != "":
		kept[index] = func(key string) bool { return key == index }
	}
	for prefix, own := range kept {
		found, more, err := ListVersions(ctx, t.s3, tenant, bucket, prefix, maxKeptObjects)
		if err != nil {
			return nil, err
		}
		if more {
			return nil, fmt.Errorf("couldn't find what the order is about: there are more than %d versions under %s", maxKeptObjects, prefix)
		}
		for _, v := range found {
			if own(v.Key) {
				all = append(all, v)
			}
		}
	}
	slices.SortFunc(all[1:], func(a, b countersign.Object) int {
		return strings.Compare(a.Key+"#"+a.VersionID, b.Key+"#"+b.VersionID)
	})
	return all, nil
}

// ListVersions lists the versions under a prefix of the tenant's, in the order of their keys, at most limit, and says whether there are more.
func ListVersions(ctx context.Context, c *s3.Client, tenant, bucket, prefix string, limit int) (all []countersign.Object, more bool, err error) {
	if !strings.HasPrefix(prefix, tenant+"/") {
		return nil, false, countersign.Refuse("other-tenant", "what is listed is not of tenant %q", tenant)
	}
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("couldn't list the versions under %s/%s: %w", bucket, prefix, err)
		}
		for _, v := range page.Versions {
			if len(all) == limit {
				return all, true, nil
			}
			all = append(all, countersign.Object{Bucket: bucket, Key: aws.ToString(v.Key), VersionID: aws.ToString(v.VersionId)})
		}
	}
	return all, false, nil
}

// FirstOrders are the records of orders among listed versions, the first version of each: nobody changes a record by writing over it. A store lists the
// versions of a key from its newest to its first.
func FirstOrders(tenant string, versions []countersign.Object) (first []countersign.Object) {
	for _, o := range versions {
		if _, _, ok := countersign.ParseOrderKey(tenant, o.Key); !ok {
			continue
		}
		if n := len(first); n > 0 && first[n-1].Key == o.Key {
			first[n-1] = o
			continue
		}
		first = append(first, o)
	}
	return first
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
		held, err := isHeld(ctx, t.s3, o)
		if err != nil {
			return err
		}
		if held != on {
			return fmt.Errorf("the store took the legal hold of %s, and reads back that it is not %s: check the bucket's Object Lock", o.Key, strings.ToLower(string(status)))
		}
	}
	return nil
}

func isHeld(ctx context.Context, c *s3.Client, o countersign.Object) (bool, error) {
	out, err := c.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if isCode(err, "NoSuchObjectLockConfiguration") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("couldn't read the legal hold of %s back: %w", o.Key, err)
	}
	return out.LegalHold != nil && out.LegalHold.Status == s3types.ObjectLockLegalHoldStatusOn, nil
}

func (t *Tenant) kept(ctx context.Context, o countersign.Object) (evidence.KeptObject, error) {
	return Kept(ctx, t.s3, t.settings.Tenant, o)
}

// Kept reads the legal hold and the retention of one version of one object of a tenant. Without COMPLIANCE retention it is retained until no time.
func Kept(ctx context.Context, c *s3.Client, tenant string, o countersign.Object) (evidence.KeptObject, error) {
	k := evidence.KeptObject{Key: o.Key, VersionID: o.VersionID}
	if err := checkOwn(tenant, o.Key); err != nil {
		return k, err
	}
	held, err := isHeld(ctx, c, o)
	if err != nil {
		return k, err
	}
	k.Held = held
	out, err := c.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
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

// orders are the records of the orders about a request's evidence, in their order. One that can't be read is an error, for it could be a hold.
func (t *Tenant) orders(ctx context.Context, request string) (all []lockedOrder, err error) {
	tenant := t.settings.Tenant
	found, more, err := ListVersions(ctx, t.s3, tenant, t.settings.Evidence.Bucket, countersign.OrdersPrefix(tenant)+request+"/", maxKeptObjects)
	if err == nil && more {
		err = fmt.Errorf("couldn't read the orders about %s: there are more than %d versions of their records", request, maxKeptObjects)
	}
	if err != nil {
		return nil, err
	}
	for _, o := range FirstOrders(tenant, found) {
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
	r.Hold, r.Standing = r.HoldOf(history), evidence.Standing(append(history, r))
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
