package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

const (
	maxReport   = 4 << 20
	maxProblems = 20 // that are told; the report has all
	// reportsSince is how far back the last report is looked for where its workflow has forgotten it.
	reportsSince = 100 * 24 * time.Hour
)

// CheckEvidence verifies samples of the tenant's locked evidence as a stranger would, holds the log to the checkpoint of the check before, tries to destroy what nobody
// may destroy, and locks a report of it all. What doesn't hold is in the report and no error; an error is what could not be looked at. Tried again it keeps the first report.
func (t *Tenant) CheckEvidence(ctx context.Context, in evidence.EvidenceCheckInput) (evidence.CheckedEvidence, error) {
	key := countersign.EvidenceCheckKey(t.settings.Tenant, in.At, in.ID)
	stored, body, err := t.current(ctx, t.settings.Evidence.Bucket, key, maxReport)
	if err == nil {
		return checked(stored, body)
	}
	if !errors.Is(err, errGone) {
		return evidence.CheckedEvidence{}, err
	}
	since := in.Since
	if since == nil {
		if since, err = t.lastCheck(ctx); err != nil {
			return evidence.CheckedEvidence{}, err
		}
	}
	report := evidence.EvidenceReport{V: countersign.Version, Tenant: t.settings.Tenant, ID: in.ID, At: in.At.UTC(), Seed: in.Seed, Bundles: []evidence.SampleReport{}}
	if since != nil {
		report.Since, report.Cursor = since.Checkpoint, since.Cursor
	}
	if err := t.checkLogAndSample(ctx, &report); err != nil {
		return evidence.CheckedEvidence{}, err
	}
	if report.Canary, err = t.canary(ctx); err != nil {
		return evidence.CheckedEvidence{}, err
	}
	report.Passed = len(report.Problems()) == 0
	if body, err = json.MarshalIndent(report, "", "  "); err != nil {
		return evidence.CheckedEvidence{}, err
	}
	stored, err = t.storeFirst(ctx, t.settings.Evidence.Bucket, key, "application/json", body, t.lock(time.Now()))
	if errors.Is(err, errExists) {
		stored, body, err = t.current(ctx, t.settings.Evidence.Bucket, key, maxReport)
	}
	if err != nil {
		return evidence.CheckedEvidence{}, err
	}
	return checked(stored, body)
}

// checked is what a report leaves for whoever is told, and for the next check.
func checked(stored countersign.Object, body []byte) (evidence.CheckedEvidence, error) {
	var r evidence.EvidenceReport
	if err := countersign.ParseStrict(body, &r); err != nil {
		return evidence.CheckedEvidence{}, fmt.Errorf("couldn't read the report %s: %w", stored.Key, err)
	}
	problems := r.Problems()
	return evidence.CheckedEvidence{
		// A log that does not hold must not make the next check forget what it has to hold to.
		Report: stored, Checkpoint: cmp.Or(r.Checkpoint, r.Since), Cursor: r.Cursor, Sampled: len(r.Bundles), Problems: problems[:min(len(problems), maxProblems)],
	}, nil
}

// lastCheck is the newest report in the store, where no workflow knows of one: after the loss of the Temporal server, or at the first check.
func (t *Tenant) lastCheck(ctx context.Context) (*evidence.CheckedEvidence, error) {
	prefix := countersign.EvidenceChecksPrefix(t.settings.Tenant)
	after := countersign.EvidenceCheckKey(t.settings.Tenant, time.Now().Add(-reportsSince), "")
	newest := ""
	pages := s3.NewListObjectVersionsPaginator(t.s3, &s3.ListObjectVersionsInput{Bucket: aws.String(t.settings.Evidence.Bucket), Prefix: aws.String(prefix), KeyMarker: aws.String(after)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("couldn't list the reports of evidence checks: %w", err)
		}
		for _, v := range page.Versions {
			newest = max(newest, aws.ToString(v.Key))
		}
	}
	if newest == "" {
		return nil, nil
	}
	stored, body, err := t.current(ctx, t.settings.Evidence.Bucket, newest, maxReport)
	if err != nil {
		return nil, err
	}
	last, err := checked(stored, body)
	return &last, err
}

// checkLogAndSample holds the log to the checkpoint of the check before, and verifies the bundles that the sample of its entries names.
func (t *Tenant) checkLogAndSample(ctx context.Context, report *evidence.EvidenceReport) error {
	reader := translog.Reader{Source: readOnce{translog.Stored(LogSource(t.s3, t.settings)), map[string][]byte{}}, Verifier: t.roots.Log}
	head, err := reader.Head(ctx)
	if errors.Is(err, translog.ErrGone) && report.Since == "" {
		report.Log = evidence.Finding{Check: "log", State: evidence.Pass, Detail: "nothing was logged yet"}
		return nil
	}
	if err == nil && report.Since != "" {
		_, head, err = reader.Watch(ctx, report.Since)
	}
	if err != nil {
		report.Log = evidence.Finding{Check: "log", State: evidence.Fail, Detail: err.Error()}
		return nil
	}
	report.Checkpoint, report.Entries = head.Text, head.N
	sampled, cursor, err := evidence.Sample(ctx, reader, head, t.settings.Watch.Sample, report.Seed, report.Cursor)
	for _, s := range sampled {
		report.Bundles = append(report.Bundles, evidence.SampleReport{Entry: s.Index, Why: s.Why, Request: s.Entry.Request, Object: *s.Entry.Bundle, Outcome: s.Entry.Outcome})
	}
	if err != nil {
		report.Log = evidence.Finding{Check: "log", State: evidence.Fail, Detail: err.Error()}
		return nil
	}
	report.Cursor = cursor
	report.Log = evidence.Finding{Check: "log", State: evidence.Pass, Detail: fmt.Sprintf("its %d entries continue what the check before saw", head.N)}
	for i := range report.Bundles {
		if err := t.checkSample(ctx, &report.Bundles[i], sampled[i].Entry); err != nil {
			return err
		}
	}
	return nil
}

// readOnce reads each object of a log once.
type readOnce struct {
	translog.Source
	read map[string][]byte
}

func (r readOnce) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if body, ok := r.read[name]; ok {
		return body, nil
	}
	body, err := r.Source.Get(ctx, name, limit)
	if err == nil {
		r.read[name] = body
	}
	return body, err
}

// lastTries says that what failed was tried a few times already. One object that can't be read, whose store itself finds that it was altered for
// example, must not keep the others from being checked.
func lastTries(ctx context.Context) bool { return activity.GetInfo(ctx).Attempt >= 4 }

// checkSample verifies one bundle completely, as a stranger would, compares it with what the log says of it, and reads its lock.
func (t *Tenant) checkSample(ctx context.Context, s *evidence.SampleReport, e translog.Entry) error {
	problem := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	o := *e.Bundle
	if o.Bucket != t.settings.Evidence.Bucket || o.Key != countersign.EvidenceKey(t.settings.Tenant, e.Request) {
		problem("the log names %s/%s, which is not where its evidence is", o.Bucket, o.Key)
		return nil
	}
	revealed, err := t.subjects.ReadLocked(ctx, evidence.Locked{Object: o, Concealed: e.Concealed})
	switch refused := (*countersign.Refusal)(nil); {
	case errors.Is(err, errGone), errors.As(err, &refused), isStatus(err, 403), err != nil && lastTries(ctx):
		problem("it can't be read as it was locked: %s", err)
	case err != nil:
		return err
	default:
		report := revealed.Verify(t.roots)
		if err := revealed.Close(); err != nil {
			return err
		}
		if err := report.Err(); err != nil {
			problem("it doesn't verify: %s", err)
		} else if p := report.Statement; p != nil && (p.Request.ID != e.Request || p.Saga.Run != e.Run || p.Outcome != e.Outcome) { // of a bundle in which somebody was shredded, the log alone says whose it is
			problem("it is of %s, run %s, which ended as %s, and the log says something else", p.Request.ID, p.Saga.Run, p.Outcome)
		}
	}
	locked, err := t.readLock(ctx, o)
	switch {
	case errors.Is(err, errNotLocked):
		problem("it is not locked")
	case isStatus(err, 404), isStatus(err, 403), err != nil && lastTries(ctx):
		problem("its lock can't be read: %s", err)
	case err != nil:
		return err
	default:
		s.Mode, s.RetainUntil = locked.Mode, &locked.RetainUntil
	}
	all, err := versions(ctx, t.s3, o.Bucket, o.Key)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].id != o.VersionID || all[0].marker {
		problem("in its place are %d versions and delete markers, where there is one bundle", len(all))
	}
	return nil
}
