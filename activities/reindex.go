package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

const (
	// entriesOfAPage is how many entries of the log one page of a reindexing reads, recordsOfAPage how many versions of records.
	entriesOfAPage = 256
	recordsOfAPage = 500
	// outOfOrder is how far entries of the log may be out of the order of their times, generously: an attempt to append takes two minutes at most.
	outOfOrder = time.Hour
)

// AdmitReindex decides whether somebody may have the tenant's index compared with its log and made whole: its compliance and its owner, as the server stamped
// the start.
func (t *Tenant) AdmitReindex(ctx context.Context, in evidence.AdmitReindexInput) (evidence.ReindexAdmission, error) {
	var a evidence.ReindexAdmission
	sender, at, err := t.started(ctx, in.Keeper)
	if err != nil {
		return a, err
	}
	a.By, a.At = sender, at
	if in.Reindex.Tenant != t.settings.Tenant {
		a.Refusal = countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the reindexing names another one", t.settings.Tenant)
		return a, nil
	}
	current, err := LoadSettings(t.file)
	if err != nil {
		return a, err
	}
	if m, ok := current.Member(sender); !ok || !slices.Contains(m.Roles, "compliance") && !slices.Contains(m.Roles, "owner") {
		a.Refusal = countersign.Refuse("not-entitled", "only the tenant's compliance and its owner have the index compared and made whole")
		return a, nil
	}
	if err := in.Reindex.Check(); err != nil {
		a.Refusal = countersign.Refuse("malformed", "%s", err)
	}
	return a, nil
}

// ReindexPage compares one page: first each ending in the log with its record, of which it makes those that are missing, then each record with the log. It is
// safe to repeat.
func (t *Tenant) ReindexPage(ctx context.Context, in evidence.ReindexPageInput) (evidence.ReindexPage, error) {
	if in.Reindex.Tenant != t.settings.Tenant {
		return evidence.ReindexPage{}, countersign.Refuse("unknown-tenant", "the reindexing names another tenant")
	}
	x := reindexing{t: t, in: in, reader: translog.Reader{Source: translog.Stored(LogSource(t.s3, t.settings)), Verifier: t.roots.Log}}
	var err error
	if in.Position.Index {
		err = x.records(ctx)
	} else {
		err = x.endings(ctx)
	}
	return x.page, err
}

type reindexing struct {
	t      *Tenant
	in     evidence.ReindexPageInput
	reader translog.Reader
	page   evidence.ReindexPage
}

func (x *reindexing) find(what, request, key, format string, args ...any) {
	x.page.Findings = append(x.page.Findings, evidence.IndexFinding{What: what, Request: request, Key: key, Detail: fmt.Sprintf(format, args...)})
}

// loggedEnding is an ending, with its place in the log.
type loggedEnding struct {
	translog.Entry
	index int64
}

func (e loggedEnding) key() string { return countersign.IndexKey(e.Tenant, e.At, e.Request) }

// endings looks at the endings of a page of the log.
func (x *reindexing) endings(ctx context.Context) error {
	r, next := x.in.Reindex, x.in.Position.Next
	records := &evidence.ReindexPosition{Index: true}
	head, err := x.reader.Head(ctx)
	if errors.Is(err, translog.ErrGone) {
		x.page.Next = records // nothing was ever logged, so there must be no records
		return nil
	}
	if err != nil {
		return err
	}
	if next == 0 && !r.From.IsZero() {
		if next, err = x.reader.Since(ctx, head, r.From.Add(-outOfOrder)); err != nil {
			return err
		}
	}
	end := min(head.N, (next/entriesOfAPage+1)*entriesOfAPage)
	var all []loggedEnding
	past := false
	err = x.reader.Entries(ctx, head, next, end, func(i int64, e translog.Entry) error {
		past = past || e.At.After(x.in.At.Add(outOfOrder)) || !r.Until.IsZero() && e.At.After(r.Until.Add(outOfOrder))
		if e.Ended() && r.Has(e.At) && e.At.Before(x.in.At) {
			all = append(all, loggedEnding{e, i})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if x.page.Next = (&evidence.ReindexPosition{Next: end}); past || end == head.N {
		x.page.Next = records
	}
	x.page.Looked = len(all)
	return x.compare(ctx, all)
}

// compare compares endings with their records.
func (x *reindexing) compare(ctx context.Context, all []loggedEnding) error {
	if len(all) == 0 {
		return nil
	}
	first, last := all[0].At, all[0].At
	for _, e := range all {
		first, last = earlier(first, e.At), later(last, e.At)
	}
	there := map[string]Indexed{}
	for first, until := first.Truncate(time.Millisecond), last.Add(time.Millisecond); first.Before(until); {
		page, err := ListIndex(ctx, x.t.s3, x.t.settings.Tenant, x.t.settings.Evidence.Bucket, first, until, listedAtOnce)
		if err != nil {
			return err
		}
		for _, o := range page.Records {
			there[o.Key] = o
		}
		if !page.Reached.Before(until) {
			return errors.New("couldn't list the index: more lists are needed for one millisecond than a page asks for")
		}
		until = page.Reached
	}
	found := make([][]evidence.IndexFinding, len(all))
	err := atOnce(len(all), func(i int) error {
		one := reindexing{t: x.t, in: x.in}
		err := one.ending(ctx, all[i], there)
		found[i] = one.page.Findings
		return err
	})
	x.page.Findings = append(x.page.Findings, slices.Concat(found...)...)
	return err
}

func (x *reindexing) ending(ctx context.Context, e loggedEnding, there map[string]Indexed) error {
	o, ok := there[e.key()]
	if !ok {
		return x.missing(ctx, e)
	}
	if o.Versions > 1 {
		x.find(evidence.IndexChanged, e.Request, o.Key, "it has %d versions; the first one counts", o.Versions)
	}
	if o.Markers > 0 {
		x.find(evidence.IndexHidden, e.Request, o.Key, "%d delete markers lie over it", o.Markers)
	}
	r, err := ReadIndexRecord(ctx, x.t.s3, x.t.settings.Tenant, o.Object)
	if err != nil && ctx.Err() == nil && !lastTries(ctx) && !x.unreadable(err) {
		return err
	}
	if err == nil {
		err = r.Agrees(e.Entry, e.index)
	}
	if err == nil && x.in.Reindex.Bundles {
		err = x.tells(ctx, r, e)
	}
	if err != nil {
		x.find(evidence.IndexDiffers, e.Request, o.Key, "%s", err)
		return nil
	}
	if err := x.t.indexLocked(ctx, o.Object, r); err != nil {
		if !errors.Is(err, errUnlocked) && !lastTries(ctx) {
			return err
		}
		x.find(evidence.IndexUnlocked, e.Request, o.Key, "%s", err)
	}
	return nil
}

// unreadable says that what failed is what is stored, and not the store.
func (x *reindexing) unreadable(err error) bool {
	refused := (*countersign.Refusal)(nil)
	return errors.As(err, &refused) || errors.Is(err, errGone) || errors.Is(err, evidence.ErrNoIndexRecord)
}

// tells compares a record with what is read from the bundle now. How long that is retained may have changed, and people's keys may be gone.
func (x *reindexing) tells(ctx context.Context, r evidence.IndexRecord, e loggedEnding) error {
	own, err := x.t.indexRecordFor(ctx, e.Entry, e.index)
	if err != nil {
		return err
	}
	if own.Shredded || r.Shredded {
		return nil
	}
	own.Mode, own.RetainUntil = r.Mode, r.RetainUntil
	if own.Cut && !r.Cut { // somebody has no key any more
		own.Tags, own.Cut = r.Tags, r.Cut
	}
	a, err := countersign.Canonical(own)
	if err != nil {
		return err
	}
	b, err := countersign.Canonical(r)
	if err == nil && !bytes.Equal(a, b) {
		err = errors.New("it says something else than the bundle")
	}
	return err
}

// missing makes a record. One whose custodian is at work still is not missing.
func (x *reindexing) missing(ctx context.Context, e loggedEnding) error {
	for _, id := range []string{countersign.CustodianID(e.Tenant, e.Request), countersign.RecoveryID(e.Tenant, e.Request)} {
		keeper, err := x.t.latest(ctx, id, "")
		if err != nil {
			return err
		}
		if keeper != nil && keeper.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return nil
		}
	}
	if x.in.Reindex.DryRun {
		x.find(evidence.IndexMissing, e.Request, e.key(), "the ending is entry %d of the log", e.index)
		return nil
	}
	r, err := x.t.indexRecordFor(ctx, e.Entry, e.index)
	if err == nil && !r.RetainUntil.After(time.Now()) {
		err = errors.New("the retention of its bundle is over")
	}
	if err == nil {
		_, err = x.t.storeIndex(ctx, *r)
	}
	switch {
	case err == nil:
		x.find(evidence.IndexMade, e.Request, e.key(), "for entry %d of the log", e.index)
	case ctx.Err() != nil:
		return err
	default:
		x.find(evidence.IndexMissing, e.Request, e.key(), "it can't be made: %s", err)
	}
	return nil
}

// records looks at a page of records, in the order of their keys.
func (x *reindexing) records(ctx context.Context) error {
	tenant, r := x.t.settings.Tenant, x.in.Reindex
	after := x.in.Position.After
	if after == "" && !r.From.IsZero() {
		after = countersign.IndexPrefix(tenant) + countersign.IndexStamp(r.From)
	}
	in := &s3.ListObjectVersionsInput{Bucket: aws.String(x.t.settings.Evidence.Bucket), Prefix: aws.String(countersign.IndexPrefix(tenant)), MaxKeys: aws.Int32(recordsOfAPage)}
	if after != "" {
		in.KeyMarker = aws.String(after)
	}
	page, err := x.t.s3.ListObjectVersions(ctx, in)
	if err != nil {
		return fmt.Errorf("couldn't list the index in the bucket %q: %w", x.t.settings.Evidence.Bucket, err)
	}
	var g indexGroup
	g.add(tenant, x.t.settings.Evidence.Bucket, page)
	last := after
	for _, v := range page.Versions {
		last = max(last, aws.ToString(v.Key))
	}
	for _, m := range page.DeleteMarkers {
		last = max(last, aws.ToString(m.Key))
	}
	past := !r.Until.IsZero() && last > countersign.IndexPrefix(tenant)+countersign.IndexStamp(r.Until)
	if aws.ToBool(page.IsTruncated) && !past && last > after {
		x.page.Next = &evidence.ReindexPosition{Index: true, After: last}
	}
	for _, key := range g.strays {
		if key > after {
			x.find(evidence.IndexExtra, "", key, "it is no key of an index record")
		}
	}
	// After the list: each record that is in it has its entry in the log by now.
	head, err := x.reader.Head(ctx)
	if err != nil && !errors.Is(err, translog.ErrGone) {
		return err
	}
	for _, o := range g.records {
		if o.Key <= after || !r.Has(o.At) && !r.Has(o.At.Add(time.Millisecond-1)) {
			continue
		}
		x.page.Looked++
		if err := x.record(ctx, o, head); err != nil {
			return err
		}
	}
	return nil
}

// record holds a record to the entry that it names.
func (x *reindexing) record(ctx context.Context, o Indexed, head translog.Checkpoint) error {
	r, err := ReadIndexRecord(ctx, x.t.s3, x.t.settings.Tenant, o.Object)
	if err != nil && !x.unreadable(err) && !lastTries(ctx) {
		return err
	}
	if err != nil {
		x.find(evidence.IndexExtra, "", o.Key, "%s", err)
		return nil
	}
	if r.Log >= head.N {
		x.find(evidence.IndexExtra, r.Request, o.Key, "it names entry %d, and the log has %d", r.Log, head.N)
		return nil
	}
	e, err := x.reader.Entry(ctx, head, r.Log)
	if err != nil {
		return err
	}
	// What else it says of its entry was compared when that was looked at.
	if !e.Ended() || (loggedEnding{e, r.Log}).key() != o.Key {
		x.find(evidence.IndexExtra, r.Request, o.Key, "entry %d of the log, which it names, is not its ending", r.Log)
	}
	return nil
}
