package activities

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// AdmitRenewal decides whether somebody may have the tenant's bundles time-stamped anew: its compliance and its owner, as the server stamped the start.
func (t *Tenant) AdmitRenewal(ctx context.Context, in evidence.AdmitRenewalInput) (evidence.RenewalAdmission, error) {
	var a evidence.RenewalAdmission
	sender, at, err := t.started(ctx, in.Keeper)
	if err != nil {
		return a, err
	}
	a.By, a.At = sender, at
	if in.Renewal.Tenant != t.settings.Tenant {
		a.Refusal = countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the renewal names another one", t.settings.Tenant)
		return a, nil
	}
	current, err := LoadSettings(t.file)
	if err != nil {
		return a, err
	}
	if m, ok := current.Member(sender); !ok || !slices.Contains(m.Roles, countersign.RoleCompliance) && !slices.Contains(m.Roles, countersign.RoleOwner) {
		a.Refusal = countersign.Refuse("not-entitled", "only the tenant's compliance and its owner have evidence time-stamped anew")
		return a, nil
	}
	if _, _, err := in.Renewal.Rules(at); err != nil {
		a.Refusal = countersign.Refuse("malformed", "%s", err)
	}
	return a, nil
}

// Bounds on one page of a renewal: how many keys it lists, and how many bytes of bundles it reads before it ends early.
const (
	keysOfAPage  = 200
	bytesOfAPage = 256 << 20
)

// RenewPage time-stamps anew those bundles of one page that are due, with one token for all of them. It is safe to repeat: what was stored is not due any more, and the
// first record stored under a number is the one that counts.
func (t *Tenant) RenewPage(ctx context.Context, in evidence.RenewPageInput) (evidence.RenewalPage, error) {
	page := evidence.RenewalPage{Renewed: []evidence.RenewedBundle{}}
	rules, hash, err := in.Renewal.Rules(in.Now)
	if err != nil {
		return page, err
	}
	requests, more, err := t.lockedBundles(ctx, in.After)
	if err != nil {
		return page, err
	}
	var due []renewal
	var read int64
	for i, request := range requests {
		r, err := t.due(ctx, request, rules, hash, &read)
		page.Looked++
		switch {
		case err != nil && ctx.Err() != nil:
			return page, err
		case err != nil:
			page.Problems = append(page.Problems, evidence.RenewalProblem{Request: request, Problem: err.Error()})
		case r.why != "":
			due = append(due, r)
		}
		if last := i == len(requests)-1; more && last || !last && read > bytesOfAPage {
			page.Next = countersign.EvidenceKey(t.settings.Tenant, request)
			break
		}
	}
	if in.Renewal.DryRun || len(due) == 0 {
		for _, r := range due {
			page.Renewed = append(page.Renewed, evidence.RenewedBundle{Request: r.request, Why: r.why})
		}
		return page, nil
	}
	return page, t.renew(ctx, due, hash, &page)
}

// renewal is a bundle that is due.
type renewal struct {
	request, why string
	item         evidence.RenewalItem
	number       int // of the record to be written
}

// due reads a bundle with its newest evidence record, verifies both, and says why it is to be renewed; "" where it isn't.
func (t *Tenant) due(ctx context.Context, request string, rules evidence.RenewalRules, hash crypto.Hash, read *int64) (renewal, error) {
	r := renewal{request: request, number: 1}
	// An evidence record is about the bundle. Of one in which somebody was shredded there is no more that a new record could be held to, which is told.
	bundle, err := t.lockedBundle(ctx, request)
	if err != nil {
		return r, err
	}
	*read += int64(len(bundle))
	report := evidence.Verify(bundle, t.roots)
	var stamps []evidence.RenewalStamp
	for ; ; r.number++ {
		_, record, err := t.current(ctx, t.settings.Evidence.Bucket, countersign.RenewalKey(t.settings.Tenant, request, r.number), evidence.MaxRenewalSize)
		if errors.Is(err, errGone) {
			break
		}
		if err != nil {
			return r, err
		}
		r.item.Record = record
	}
	if r.item.Record != nil {
		report.Renewed(r.item.Record, bundle, t.roots)
	}
	if err := report.Err(); err != nil {
		return r, fmt.Errorf("it doesn't verify, so it is not renewed: %w", err)
	}
	if r.item.Record != nil {
		if stamps, err = evidence.VerifyRenewal(r.item.Record, bundle, t.roots); err != nil {
			return r, err
		}
	}
	r.why = rules.Due(*report.Seal, stamps)
	digest := hash.New()
	digest.Write(bundle)
	r.item.Digest = digest.Sum(nil)
	return r, nil
}

// renew asks for one token, and locks a record for each bundle.
func (t *Tenant) renew(ctx context.Context, due []renewal, hash crypto.Hash, page *evidence.RenewalPage) error {
	items := make([]evidence.RenewalItem, len(due))
	for i, r := range due {
		items[i] = r.item
	}
	records, err := evidence.Renew(ctx, items, hash, t.stamper)
	if err != nil {
		return fmt.Errorf("couldn't get a time-stamp for %d bundles: %w", len(due), err)
	}
	for i, r := range due {
		key := countersign.RenewalKey(t.settings.Tenant, r.request, r.number)
		stored, err := t.storeFirst(ctx, t.settings.Evidence.Bucket, key, evidence.RenewalMediaType, records[i], t.lock(time.Now()))
		if errors.Is(err, errExists) {
			// Another renewal was faster, and what it stored is as good.
			stored, _, err = t.current(ctx, t.settings.Evidence.Bucket, key, evidence.MaxRenewalSize)
		}
		if err == nil {
			_, err = t.held(ctx, stored)
		}
		if err != nil {
			return err
		}
		page.Renewed = append(page.Renewed, evidence.RenewedBundle{Request: r.request, Why: r.why, Record: &stored})
	}
	activity.GetLogger(ctx).Info("renewed", "bundles", len(due))
	return nil
}

// lockedBundles lists the requests whose bundles lie after a key: those of the first page of the bucket that has any.
func (t *Tenant) lockedBundles(ctx context.Context, after string) (requests []string, more bool, err error) {
	in := &s3.ListObjectVersionsInput{
		Bucket: aws.String(t.settings.Evidence.Bucket), Prefix: aws.String(countersign.EvidencePrefix(t.settings.Tenant)), Delimiter: aws.String("/"), MaxKeys: aws.Int32(keysOfAPage),
	}
	if after != "" {
		in.KeyMarker = aws.String(after)
	}
	for {
		out, err := t.s3.ListObjectVersions(ctx, in)
		if err != nil {
			return nil, false, fmt.Errorf("couldn't list the evidence in the bucket %q: %w", t.settings.Evidence.Bucket, err)
		}
		for _, v := range out.Versions {
			request, ok := strings.CutSuffix(path.Base(aws.ToString(v.Key)), ".asice")
			if ok && aws.ToString(v.Key) > after && !slices.Contains(requests, request) {
				requests = append(requests, request)
			}
		}
		if more = aws.ToBool(out.IsTruncated); !more || len(requests) > 0 {
			return requests, more, nil
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}
