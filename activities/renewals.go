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
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
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
	page := renewed{evidence.RenewalPage{Renewed: []evidence.RenewedBundle{}}}
	rules, hash, err := in.Renewal.Rules(in.Now)
	if err != nil {
		return page.RenewalPage, err
	}
	requests, more, err := t.lockedBundles(ctx, in.After)
	if err != nil {
		return page.RenewalPage, err
	}
	var due []renewal
	var read int64
	for i, request := range requests {
		records, err := t.due(ctx, request, rules, hash, &read)
		page.Looked++
		switch {
		case err != nil && ctx.Err() != nil:
			return page.RenewalPage, err
		case err != nil:
			page.Problems = append(page.Problems, evidence.RenewalProblem{Request: request, Problem: err.Error()})
		default:
			due = append(due, records...)
		}
		if last := i == len(requests)-1; more && last || !last && read > bytesOfAPage {
			page.Next = countersign.EvidenceKey(t.settings.Tenant, request)
			break
		}
	}
	if in.Renewal.DryRun {
		for _, r := range due {
			if r.done == nil {
				page.became(r, nil)
			}
		}
		return page.RenewalPage, nil
	}
	err = t.renew(ctx, due, hash, &page)
	return page.RenewalPage, err
}

// renewal is an evidence record that is due: over a bundle, or over what is stored of it where its personal data is concealed.
type renewal struct {
	request, why string
	key          func(tenant, request string, number int) string
	stored       bool
	item         evidence.RenewalItem
	number       int                 // of the record to be written
	done         *countersign.Object // the record, where this renewal, in an earlier attempt, or another one wrote it since this one began
}

// due reads a bundle with its newest evidence records, verifies all of them, and says which are to be renewed. Of a bundle in which somebody was shredded there is
// no more that a record over the bundle could be held to: what is stored is what is renewed.
func (t *Tenant) due(ctx context.Context, request string, rules evidence.RenewalRules, hash crypto.Hash, read *int64) (due []renewal, err error) {
	_, file, err := t.currentSpooled(ctx, t.settings.Evidence.Bucket, countersign.EvidenceKey(t.settings.Tenant, request), maxBundle+shred.MaxOverhead)
	if err != nil {
		return nil, err
	}
	*read += file.Size()
	revealed, err := t.subjects.revealStored(ctx, file, "")
	if err != nil {
		return nil, err
	}
	defer revealed.Close()
	report := revealed.Verify(t.roots)
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("it doesn't verify, so it is not renewed: %w", err)
	}
	if revealed.Bundle != nil {
		r, err := t.dueOver(ctx, renewal{request: request, key: countersign.RenewalKey}, revealed.Bundle, report, rules, hash)
		if err != nil {
			return nil, err
		}
		due = append(due, r)
	}
	if shred.Is(file.Raw) {
		r, err := t.dueOver(ctx, renewal{request: request, key: countersign.StoredRenewalKey, stored: true}, file.Raw, report, rules, hash)
		late := errors.Is(err, errTooLate) && revealed.Bundle != nil // the record over the bundle keeps it, as long as nobody in it is shredded
		if err != nil && !late {
			return nil, err
		}
		due = append(due, r)
	}
	return slices.DeleteFunc(due, func(r renewal) bool { return r.why == "" }), nil
}

// errTooLate says that nothing can be renewed any more: a record has to begin before what the seal's time-stamp stands on ends.
var errTooLate = errors.New("what its seal's time-stamp stands on had ended before what is stored was time-stamped anew, and so nothing renews it any more")

func (t *Tenant) dueOver(ctx context.Context, r renewal, file []byte, report *evidence.Report, rules evidence.RenewalRules, hash crypto.Hash) (renewal, error) {
	var newest countersign.Object
	for r.number = 1; ; r.number++ {
		o, record, err := t.current(ctx, t.settings.Evidence.Bucket, r.key(t.settings.Tenant, r.request, r.number), evidence.MaxRenewalSize)
		if errors.Is(err, errGone) {
			break
		}
		if err != nil {
			return r, err
		}
		r.item.Record, newest = record, o
	}
	var stamps []evidence.RenewalStamp
	if r.item.Record != nil {
		report.Renewed(r.item.Record, file, t.roots)
		err := report.Err()
		if err == nil {
			stamps, err = evidence.VerifyRenewal(r.item.Record, file, t.roots)
		}
		if err != nil {
			return r, fmt.Errorf("its evidence record doesn't verify, so it is not renewed: %w", err)
		}
	} else if r.stored && rules.Now.After(report.Seal.StampUntil) {
		return r, errTooLate
	}
	// A time-stamp from since this renewal began is what it asks for, unless it stands on what is ending itself. An authority whose clock knows whole seconds alone may
	// have it look older; it is then renewed once more if it is still due.
	if n := len(stamps); n > 0 && stamps[n-1].Time.After(rules.Now) && !slices.Contains(rules.Ending, stamps[n-1].Hash) {
		stamps, r.done = stamps[:n-1], &newest
	}
	r.why = rules.Due(*report.Seal, stamps)
	digest := hash.New()
	digest.Write(file)
	r.item.Digest = digest.Sum(nil)
	return r, nil
}

// renewed is a page of a renewal in the making.
type renewed struct{ evidence.RenewalPage }

// became notes one record that was due, and where it lies. A bundle with two of them is one bundle.
func (p *renewed) became(r renewal, record *countersign.Object) {
	if n := len(p.Renewed); n == 0 || p.Renewed[n-1].Request != r.request {
		p.Renewed = append(p.Renewed, evidence.RenewedBundle{Request: r.request, Why: r.why})
	}
	last := &p.Renewed[len(p.Renewed)-1]
	if r.stored {
		last.Stored = record
	} else {
		last.Record = record
	}
}

// renew asks for one token for all that isn't done yet, and locks each of these records.
func (t *Tenant) renew(ctx context.Context, due []renewal, hash crypto.Hash, page *renewed) error {
	var items []evidence.RenewalItem
	for _, r := range due {
		if r.done == nil {
			items = append(items, r.item)
		}
	}
	var records [][]byte
	if len(items) > 0 {
		var err error
		if records, err = evidence.Renew(ctx, items, hash, t.stamper); err != nil {
			return couldNotStamp(len(items), err)
		}
	}
	for _, r := range due {
		if r.done == nil {
			stored, err := t.keepRecord(ctx, r, records[0])
			if err != nil {
				return err
			}
			r.done, records = &stored, records[1:]
		}
		if _, err := t.held(ctx, *r.done); err != nil {
			return err
		}
		page.became(r, r.done)
	}
	activity.GetLogger(ctx).Info("renewed", "records", len(items))
	return nil
}

// errorRenewal is the type of the error of evidence records that can't be put together.
const errorRenewal = "Renewal"

// couldNotStamp: an authority that fails may be back later. What can't be put together will not be another time, and whoever waits for it is to hear so.
func couldNotStamp(records int, err error) error {
	err = fmt.Errorf("couldn't renew %d evidence records: %w", records, err)
	if fault, ok := errors.AsType[*evidence.BundleError](err); ok && fault.Check == evidence.CheckRenewal {
		return temporal.NewNonRetryableApplicationError(err.Error(), errorRenewal, err)
	}
	return err
}

// keepRecord stores an evidence record with its lock, or takes the one that another renewal stored in its place first: it is as good.
func (t *Tenant) keepRecord(ctx context.Context, r renewal, record []byte) (countersign.Object, error) {
	key := r.key(t.settings.Tenant, r.request, r.number)
	stored, err := t.storeFirst(ctx, t.settings.Evidence.Bucket, key, evidence.RenewalMediaType, record, t.lock(time.Now()))
	if errors.Is(err, errExists) {
		stored, _, err = t.current(ctx, t.settings.Evidence.Bucket, key, evidence.MaxRenewalSize)
	}
	return stored, err
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
