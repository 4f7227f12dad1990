package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

const (
	// checksOfAPage is how many reports one page reads.
	checksOfAPage = 25
	// maxChecks bounds the reports of one list: a store lists from the first, and the last are shown first. Beyond it a list needs a day to begin with.
	maxChecks = 20_000
	// toldProblems is how many problems a list tells of one report.
	toldProblems = 20
)

type checksInput struct {
	Tenant string    `path:"tenant"`
	From   time.Time `query:"from" doc:"Checks that began from this instant on."`
	Until  time.Time `query:"until" doc:"Checks that began before this instant."`
	Cursor string    `query:"cursor" maxLength:"4096" doc:"Where the page before ended."`
}

// filter is the list that a cursor belongs to.
func (in *checksInput) filter() string {
	asked := url.Values{}
	for name, at := range map[string]time.Time{"from": in.From, "until": in.Until} {
		if !at.IsZero() {
			asked.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return asked.Encode()
}

// checkPlace is the last report that the page before had.
type checkPlace struct {
	Before string `json:"before"` // a key
}

type checksOutput struct{ Body client.EvidenceChecks }

// namedCheck is a report as the store lists it.
type namedCheck struct {
	name   string
	at     time.Time
	object countersign.Object // its first version
}

// listChecks lists the reports of the scheduled check of evidence, and says whether a check is missed: one that never ran leaves no report to read.
func (s *Server) listChecks(ctx context.Context, in *checksInput) (*checksOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	t := c.tenant
	var place checkPlace
	if in.Cursor != "" {
		if err := t.openCursor("checks", in.filter(), in.Cursor, &place); err != nil {
			return nil, err
		}
	}
	out := &checksOutput{client.EvidenceChecks{Checks: []client.EvidenceCheck{}, Unreadable: []string{}, Overwritten: []string{}}}
	all, err := t.checks(ctx, in.From, s.now(), &out.Body)
	if err != nil {
		return nil, err
	}
	if out.Body.Schedule, err = t.checkSchedule(ctx, all, s.now()); err != nil {
		return nil, fault(ctx, "look at the schedule of checks", err)
	}
	slices.Reverse(all)
	wanted := all[:0]
	for _, n := range all {
		if !n.at.Before(in.From) && (in.Until.IsZero() || n.at.Before(in.Until)) && (place.Before == "" || n.object.Key < place.Before) {
			wanted = append(wanted, n)
		}
	}
	more := len(wanted) > checksOfAPage
	wanted = wanted[:min(len(wanted), checksOfAPage)]
	reports, faults := t.reports(ctx, wanted)
	for i, n := range wanted {
		switch {
		case faults[i] != nil && ctx.Err() != nil:
			return nil, fault(ctx, "list the checks", faults[i])
		case faults[i] != nil:
			logged(ctx, faults[i])
			out.Body.Unreadable = append(out.Body.Unreadable, n.object.Key)
		default:
			out.Body.Checks = append(out.Body.Checks, reports[i])
		}
	}
	if more {
		if out.Body.Cursor, err = t.sealCursor("checks", in.filter(), checkPlace{wanted[len(wanted)-1].object.Key}); err != nil {
			return nil, fault(ctx, "list the checks", err)
		}
	}
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadChecks, Filter: in.filter()}); err != nil {
		return nil, err
	}
	return out, nil
}

// checks names the reports from an instant on, and those that say whether a check is missed, in the order of their time. What else lies among them is told.
func (t *tenant) checks(ctx context.Context, from, now time.Time, told *client.EvidenceChecks) (all []namedCheck, err error) {
	tenant := t.settings.Tenant
	after := ""
	if missed := now.Add(-t.settings.Watch.LateAfter()); !from.IsZero() {
		if missed.Before(from) { // they say whether a check is missed
			from = missed
		}
		after = countersign.EvidenceCheckKey(tenant, from, "") // before every id of that second
	}
	listed, markers, more, err := t.objects.Checks(ctx, countersign.EvidenceChecksPrefix(tenant), after, maxChecks)
	if err != nil {
		return nil, fault(ctx, "list the checks", err)
	}
	if more {
		return nil, newProblem(http.StatusUnprocessableEntity, "too-many", fmt.Sprintf("there are more than %d reports: say from which day on (from)", maxChecks))
	}
	told.Markers = markers
	for _, o := range listed {
		name, at, ok := countersign.ParseEvidenceCheckKey(tenant, o.Key)
		switch n := len(all); {
		case !ok:
			told.Unreadable = append(told.Unreadable, o.Key)
		case n > 0 && all[n-1].name == name: // a store lists the versions of a key from its newest to its first
			all[n-1].object = o
			if !slices.Contains(told.Overwritten, o.Key) {
				told.Overwritten = append(told.Overwritten, o.Key)
			}
		default:
			all = append(all, namedCheck{name, at, o})
		}
	}
	return all, nil
}

// checkSchedule says when evidence was checked last and will be next, and whether that is late.
func (t *tenant) checkSchedule(ctx context.Context, all []namedCheck, now time.Time) (client.CheckSchedule, error) {
	s := client.CheckSchedule{Every: time.Duration(t.settings.Watch.CheckEvery).String(), Late: true}
	if n := len(all); n > 0 {
		newest := all[n-1].at
		s.Newest, s.Late = &newest, now.Sub(newest) > t.settings.Watch.LateAfter()
	}
	there, err := t.pipeline.Schedule(ctx)
	switch {
	case errors.Is(err, errNotFound):
		s.Problem = "there is no schedule"
		return s, nil
	case err != nil:
		return s, err
	case there.paused:
		s.Problem = "the schedule is paused"
	}
	if !there.next.IsZero() {
		s.Next = &there.next
	}
	if s.Newest == nil {
		if s.FirstDue, err = t.firstCheckDue(ctx, there, now); err != nil {
			return s, err
		}
		s.Late = s.FirstDue == nil
	}
	if len(there.running) > 0 {
		run, err := t.pipeline.Checking(ctx, there.running[len(there.running)-1])
		if err == nil && run.State == client.CheckRunning {
			s.Running = run.Started
		}
	}
	return s, nil
}

// firstCheckDue says by when there has to be a first report; nil where that has passed, and where nobody can say it. The schedule is as old as the installation, unless somebody made
// it anew: so what is locked may not be older, neither a report nor an ending in the index.
func (t *tenant) firstCheckDue(ctx context.Context, there checkSchedule, now time.Time) (*time.Time, error) {
	late := t.settings.Watch.LateAfter()
	due := there.created.Add(late)
	if there.created.IsZero() || there.paused || !now.Before(due) {
		return nil, nil
	}
	reports, markers, _, err := t.objects.Checks(ctx, countersign.EvidenceChecksPrefix(t.settings.Tenant), "", 1)
	if err != nil || len(reports) > 0 || markers > 0 {
		return nil, err
	}
	old, err := t.objects.Index(ctx, countersign.IndexBegins, now.Add(-late), 1)
	if err != nil || len(old.Records) > 0 || len(old.Strays) > 0 || old.Reached.After(countersign.IndexBegins) {
		return nil, err
	}
	return &due, nil
}

// reports reads reports, a few at once. One that can't be read doesn't hide the others.
func (t *tenant) reports(ctx context.Context, named []namedCheck) ([]client.EvidenceCheck, []error) {
	all, faults := make([]client.EvidenceCheck, len(named)), make([]error, len(named))
	places := make(chan struct{}, readsAtOnce)
	var wait sync.WaitGroup
	for i, n := range named {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			r, o, _, err := t.report(ctx, n.object)
			if err != nil {
				faults[i] = err
				return
			}
			problems := r.Problems()
			all[i] = client.EvidenceCheck{
				Check: n.name, At: r.At, Passed: r.Passed && len(problems) == 0, Bundles: len(r.Bundles), Entries: r.Entries, Problems: problems[:min(len(problems), toldProblems)], Object: o,
			}
		})
	}
	wait.Wait()
	return all, faults
}

// report reads one version of a report strictly. It must be of the tenant, and lie where its own instant and id say.
func (t *tenant) report(ctx context.Context, o countersign.Object) (r evidence.EvidenceReport, _ countersign.Object, body []byte, err error) {
	body, err = t.objects.Read(ctx, o, client.MaxCheckReport)
	if err == nil {
		err = countersign.ParseStrict(body, &r)
	}
	if tenant := t.settings.Tenant; err == nil && (r.Tenant != tenant || o.Key != countersign.EvidenceCheckKey(tenant, r.At, r.ID)) {
		err = errors.New("it lies where no report of this check lies")
	}
	if err != nil {
		return r, o, nil, fmt.Errorf("couldn't read the report %s: %w", o.Key, err)
	}
	o.SHA256 = countersign.SHA256(body)
	return r, o, body, nil
}

type checkInput struct {
	Tenant string `path:"tenant"`
	Check  string `path:"check" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z-[0-9A-Za-z-]{1,64}$"`
}

// getCheck is one report as it is locked, its first version: nobody changes a report by writing over it.
func (s *Server) getCheck(ctx context.Context, in *checkInput) (*fileOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	t := c.tenant
	key := countersign.EvidenceChecksPrefix(t.settings.Tenant) + in.Check + ".json"
	listed, _, _, err := t.objects.Checks(ctx, key, "", readsOfAPage)
	if err != nil {
		return nil, fault(ctx, "find the report", err)
	}
	var found countersign.Object
	for _, o := range listed {
		if o.Key == key {
			found = o // from the newest version to the first
		}
	}
	if found.Key == "" {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such report")
	}
	_, o, body, err := t.report(ctx, found)
	if err != nil {
		return nil, unread(ctx, "read the report", err)
	}
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadChecks, Object: &o}); err != nil {
		return nil, err
	}
	return file("application/json", in.Check+".json", o, body), nil
}

type runCheckInput struct {
	Tenant string `path:"tenant"`
	Body   client.CheckBody
}

type checkRunOutput struct{ Body client.CheckRun }

// errChecking says that evidence is being checked.
var errChecking = errors.New("evidence is being checked")

// runCheck triggers the schedule of checks as the caller, or tells what a check would take. That it was asked for is recorded like a read.
func (s *Server) runCheck(ctx context.Context, in *runCheckInput) (*checkRunOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	if in.Body.DryRun {
		return s.wouldCheck(ctx)
	}
	before, err := c.tenant.pipeline.Schedule(ctx)
	switch {
	case errors.Is(err, errNotFound):
		return nil, newProblem(http.StatusConflict, "no-schedule", "the tenant has no schedule of checks: its workers make it when they start")
	case err != nil:
		return nil, fault(ctx, "look at the schedule of checks", err)
	}
	running := newProblem(http.StatusConflict, "check-running", "evidence is being checked, and one check runs at a time; its report will be among the others")
	if now := before.running; len(now) > 0 {
		run, err := c.tenant.pipeline.Checking(ctx, now[len(now)-1])
		if err != nil && !errors.Is(err, errNotFound) {
			return nil, fault(ctx, "look at the check that runs", err)
		}
		if err == nil && run.State == client.CheckRunning {
			return nil, running
		}
	}
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadChecks, Filter: "run=now"}); err != nil {
		return nil, err
	}
	if err := c.tenant.pipeline.Trigger(ctx); err != nil {
		return nil, fault(ctx, "have evidence checked", err)
	}
	run, err := c.tenant.began(ctx, before)
	if errors.Is(err, errChecking) {
		return nil, running
	}
	if err != nil {
		return nil, fault(ctx, "have evidence checked", err)
	}
	return &checkRunOutput{client.CheckRun{Run: run, State: client.CheckRunning}}, nil
}

// scheduleWithin and schedulePoll: a schedule acts in a moment, and nothing tells when.
const (
	scheduleWithin = 20 * time.Second
	schedulePoll   = 200 * time.Millisecond
)

// began waits for the check that a trigger starts. Where the schedule skips it, because another one was faster, the error is errChecking.
func (t *tenant) began(ctx context.Context, before checkSchedule) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scheduleWithin)
	defer cancel()
	tick := time.NewTicker(schedulePoll)
	defer tick.Stop()
	for {
		now, err := t.pipeline.Schedule(ctx)
		if err != nil {
			return "", err
		}
		for _, run := range slices.Backward(now.ran) {
			if !slices.Contains(before.ran, run) {
				return run, nil
			}
		}
		if now.skipped > before.skipped {
			return "", errChecking
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("the schedule has started nothing yet: %w", ctx.Err())
		}
	}
}

// wouldCheck tells what a check would take now. What is taken at random nobody knows before.
func (s *Server) wouldCheck(ctx context.Context) (*checkRunOutput, error) {
	t := callerOf(ctx).tenant
	all, err := t.checks(ctx, time.Time{}, s.now(), &client.EvidenceChecks{})
	if err != nil {
		return nil, err
	}
	var last evidence.EvidenceReport
	if n := len(all); n > 0 {
		if last, _, _, err = t.report(ctx, all[n-1].object); err != nil {
			return nil, unread(ctx, "read the newest report", err)
		}
	}
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadChecks, Filter: "run=dry"}); err != nil {
		return nil, err
	}
	n := t.settings.Watch.Sample
	would := client.CheckRun{State: client.CheckWould, Sample: []client.CheckSample{}, Random: n}
	reader := translog.Reader{Source: t.objects.Log(), Verifier: t.logKey}
	head, err := reader.Head(ctx)
	if errors.Is(err, translog.ErrGone) {
		would.Random = 0
		return &checkRunOutput{would}, nil
	}
	var sampled []evidence.Sampled
	if err == nil {
		sampled, _, err = evidence.Sample(ctx, reader, head, n, "", last.Cursor)
	}
	if err != nil {
		return nil, fault(ctx, "read the log", err)
	}
	would.Entries = head.N
	for _, e := range sampled {
		would.Sample = append(would.Sample, client.CheckSample{Entry: e.Index, Why: e.Why, Request: e.Entry.Request})
	}
	return &checkRunOutput{would}, nil
}

type checkRunInput struct {
	Tenant string `path:"tenant"`
	Run    string `path:"run" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"`
}

// getCheckRun tells how far a check is, as long as Temporal keeps it.
func (s *Server) getCheckRun(ctx context.Context, in *checkRunInput) (*checkRunOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	run, err := c.tenant.pipeline.Checking(ctx, in.Run)
	if errors.Is(err, errNotFound) {
		return nil, newProblem(http.StatusNotFound, "not-found", "there is no such check")
	}
	if err != nil {
		return nil, fault(ctx, "look at the check", err)
	}
	return &checkRunOutput{run}, nil
}
