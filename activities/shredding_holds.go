package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// maxOrderVersions bounds how many records of orders are looked through for holds. With more of them nothing is shredded: one could be a hold.
const maxOrderVersions = 20_000

// heldWith are the requests whose evidence is under a legal hold and conceals something under a key. Evidence that is locked plain has nothing under any key, so
// its holds are in no shredding's way.
func (t *Tenant) heldWith(ctx context.Context, key string) (requests []string, err error) {
	tenant := t.settings.Tenant
	found, more, err := ListVersions(ctx, t.s3, tenant, t.settings.Evidence.Bucket, countersign.OrdersPrefix(tenant), maxOrderVersions)
	if err == nil && more {
		err = fmt.Errorf("there are more than %d versions of records of orders", maxOrderVersions)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't look for legal holds: %w", err)
	}
	seen := map[string]bool{}
	for _, o := range found {
		request, _, ok := countersign.ParseOrderKey(tenant, o.Key)
		if !ok {
			return nil, fmt.Errorf("couldn't look for legal holds: %s is no record of an order", o.Key)
		}
		if seen[request] {
			continue
		}
		seen[request] = true
		held, err := t.heldUnder(ctx, request, key)
		if err != nil {
			return nil, fmt.Errorf("couldn't look for a legal hold on the evidence of %s: %w", request, err)
		}
		if held {
			requests = append(requests, request)
		}
	}
	return requests, nil
}

func (t *Tenant) heldUnder(ctx context.Context, request, key string) (bool, error) {
	orders, err := t.orders(ctx, request)
	if err != nil {
		return false, err
	}
	records := []evidence.OrderRecord{}
	for _, o := range orders {
		records = append(records, o.record)
	}
	if len(evidence.Standing(records)) == 0 {
		return false, nil
	}
	_, file, err := t.currentSpooled(ctx, t.settings.Evidence.Bucket, countersign.EvidenceKey(t.settings.Tenant, request), maxBundle+shred.MaxOverhead)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if !shred.Is(file.Raw) {
		return false, nil
	}
	c, err := shred.Read(file.Raw)
	if err != nil {
		return false, errors.Join(errors.New("what is locked is no bundle"), err)
	}
	return slices.Contains(c.Subjects(), key), nil
}
