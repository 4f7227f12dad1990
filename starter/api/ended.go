package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

const (
	// endedOfAPage is how many signings of the index, and how many that Temporal still knows, one page of evidence looks at.
	endedOfAPage = 50
	// usualWindow is how far back a list goes of which nobody says it.
	usualWindow = 90 * 24 * time.Hour
	// closesWithin is how long after its ending was logged a custodian may still tell people of it.
	closesWithin = time.Hour
)

// ended is one custodian, or the recovery of one that died, that ended with locked evidence.
type ended struct {
	request, run string
	started      time.Time
	closed       time.Time
}

func (p *temporalPipeline) Ended(ctx context.Context, from, until time.Time, limit int) (all []ended, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	query := "WorkflowType IN ('" + countersign.WorkflowRequestSigning + "', '" + countersign.WorkflowRecovery + "') AND ExecutionStatus = 'Completed'"
	if !from.IsZero() {
		query += " AND CloseTime >= '" + from.UTC().Format(time.RFC3339Nano) + "'"
	}
	if !until.IsZero() {
		query += " AND CloseTime < '" + until.UTC().Format(time.RFC3339Nano) + "'"
	}
	answer, err := p.reads.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: p.namespace, PageSize: int32(limit), Query: query})
	if err != nil {
		return nil, err
	}
	for _, e := range answer.GetExecutions() {
		request, own := strings.CutPrefix(e.GetExecution().GetWorkflowId(), countersign.CustodianID(p.tenant, ""))
		if !own {
			request, own = strings.CutPrefix(e.GetExecution().GetWorkflowId(), countersign.RecoveryID(p.tenant, ""))
		}
		if !own || countersign.CheckRequestID(request) != nil {
			continue
		}
		all = append(all, ended{request, e.GetExecution().GetRunId(), e.GetStartTime().AsTime(), e.GetCloseTime().AsTime()})
	}
	return all, nil
}

// Ending reads the closing event: no worker has to answer for it.
func (p *temporalPipeline) Ending(ctx context.Context, request, run string) (evidence.Ending, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	e, err := p.endingOf(ctx, countersign.CustodianID(p.tenant, request), run)
	if errors.Is(err, errNotFound) {
		return p.endingOf(ctx, countersign.RecoveryID(p.tenant, request), run)
	}
	return e, err
}

func (p *temporalPipeline) endingOf(ctx context.Context, workflow, run string) (evidence.Ending, error) {
	var e evidence.Ending
	events := p.reads.GetWorkflowHistory(ctx, workflow, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !events.HasNext() {
		return e, errNotFound
	}
	last, err := events.Next()
	if err != nil {
		return e, known(err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(last.GetWorkflowExecutionCompletedEventAttributes().GetResult(), &e); err != nil {
		return e, fmt.Errorf("couldn't read how %s ended: %w", workflow, err)
	}
	return e, nil
}

type evidenceInput struct {
	Tenant   string    `path:"tenant"`
	From     time.Time `query:"from" doc:"Ended from this instant on; without it, 90 days before the end of the window. An ending is of the instant of its entry in the tenant's log."`
	Until    time.Time `query:"until" doc:"Ended before this instant; without it, until now."`
	Person   string    `query:"person" maxLength:"1024" doc:"A person or machine (iss#sub) who requested, could have decided, or decided."`
	Partner  string    `query:"partner" maxLength:"1024" doc:"URL of an issuer, or name of an organisation, whose people requested, could have decided, or decided."`
	Document string    `query:"document" maxLength:"1024" pattern:"^([0-9a-f]{64}|[0-9a-z-]+/.+)$" doc:"SHA-256 of the document, or its object key."`
	Outcome  string    `query:"outcome" enum:"completed,rejected,expired,withdrawn,refused,revoked,failed,voided,terminated"`
	Purpose  string    `query:"purpose" maxLength:"128"`
	// What follows is in the request itself: no bundle is read for it.
	Requester string `query:"requester" maxLength:"1024" doc:"Who requested (iss#sub)."`
	Text      string `query:"text" maxLength:"200" doc:"Words that the title has, in any case."`
	Cursor    string `query:"cursor" maxLength:"4096" doc:"Where the page before ended."`
}

// filter is what was asked for, without the place: the list that a cursor belongs to.
func (in *evidenceInput) filter() string {
	asked := url.Values{}
	for name, value := range map[string]string{"person": in.Person, "partner": in.Partner, "document": in.Document, "outcome": in.Outcome, "purpose": in.Purpose, "requester": in.Requester, "text": in.Text} {
		if value != "" {
			asked.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"from": in.From, "until": in.Until} {
		if !at.IsZero() {
			asked.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return asked.Encode()
}

// fits says whether a request, and who asked it, is one of those that are looked for. Who had another part in it stands in the bundle alone.
func (in *evidenceInput) fits(asked countersign.Request, by countersign.Actor) bool {
	return (in.Purpose == "" || asked.Purpose == in.Purpose) &&
		(in.Document == "" || asked.Document.SHA256 == in.Document || asked.Document.Key == in.Document) &&
		(in.Requester == "" || by.String() == in.Requester) &&
		(in.Text == "" || strings.Contains(strings.ToLower(asked.Title), strings.ToLower(in.Text)))
}

// endedPlace is a place in the list of what ended: what ended from From on and before Before is still to be listed, and of what Temporal knows, what closed
// before Closed. The window is in it, so that all pages have the same one.
type endedPlace struct {
	From   time.Time `json:"from"`
	Before time.Time `json:"before"`
	Closed time.Time `json:"closed"`
}

type evidenceOutput struct{ Body client.EvidenceList }

// listEvidence lists signings that ended, a page at a time, the last first: by the index in the bucket, and beside it what Temporal knows that is not in the
// index, or not yet. Each signing is in it once. A page can be empty and have a next one. The list is a read of evidence, and recorded like one.
func (s *Server) listEvidence(ctx context.Context, in *evidenceInput) (*evidenceOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	t := c.tenant
	place := s.beginOfList(in)
	if in.Cursor != "" {
		if err := t.openCursor("evidence", in.filter(), in.Cursor, &place); err != nil {
			return nil, err
		}
	}
	page, next, err := t.endedPage(ctx, place)
	if err != nil {
		return nil, fault(ctx, "list the evidence", err)
	}
	from := place.From.UTC()
	out := &evidenceOutput{client.EvidenceList{Evidence: []client.EndedSigning{}, Unanswered: page.strays, From: &from}}
	rows, faults := t.endedRows(ctx, page, place, in)
	for i, row := range rows {
		switch {
		case faults[i] != nil && ctx.Err() != nil:
			return nil, fault(ctx, "list the evidence", faults[i])
		case faults[i] != nil:
			logged(ctx, faults[i])
			out.Body.Unanswered = append(out.Body.Unanswered, page.name(i))
		case row != nil:
			out.Body.Evidence = append(out.Body.Evidence, *row)
		}
	}
	slices.SortStableFunc(out.Body.Evidence, func(a, b client.EndedSigning) int { return b.Ended.Compare(a.Ended) })
	if next != nil {
		if out.Body.Cursor, err = t.sealCursor("evidence", in.filter(), *next); err != nil {
			return nil, fault(ctx, "list the evidence", err)
		}
	}
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadList, Filter: in.filter()}); err != nil {
		return nil, err
	}
	return out, nil
}

// endedRows looks at the signings of a page, a few at once. A nil row doesn't fit the filter, or is in another row.
func (t *tenant) endedRows(ctx context.Context, page endedList, place endedPlace, in *evidenceInput) ([]*client.EndedSigning, []error) {
	n := len(page.indexed) + len(page.closed)
	rows, faults := make([]*client.EndedSigning, n), make([]error, n)
	search := endedSearch{in, t.objects.People()}
	var wait sync.WaitGroup
	for i := range n {
		select {
		case t.queries <- struct{}{}:
		case <-ctx.Done():
			faults[i] = ctx.Err()
			continue
		}
		wait.Go(func() {
			defer func() { <-t.queries }()
			var row client.EndedSigning
			var fits bool
			var err error
			if i < len(page.indexed) {
				row, fits, err = t.indexedRow(ctx, page.indexed[i].Object, search)
			} else {
				row, fits, err = t.closedRow(ctx, page.closed[i-len(page.indexed)], page, place, search)
			}
			switch {
			case err != nil:
				faults[i] = fmt.Errorf("couldn't look at the signing %s: %w", page.name(i), err)
			case fits && !row.Ended.Before(place.From) && (in.Until.IsZero() || row.Ended.Before(in.Until)):
				rows[i] = &row
			}
		})
	}
	wait.Wait()
	return rows, faults
}

// endedSearch is what is looked for.
type endedSearch struct {
	*evidenceInput
	people partFinder
}

// closedRow looks at a signing that Temporal knows. One that is in the index is a row of that.
func (t *tenant) closedRow(ctx context.Context, e ended, page endedList, place endedPlace, in endedSearch) (row client.EndedSigning, fits bool, err error) {
	ending, err := t.pipeline.Ending(ctx, e.request, e.run)
	if err != nil {
		return row, false, err
	}
	at := e.closed.UTC()
	if ending.Log != nil {
		entry, err := translog.ParseEntry([]byte(ending.Log.Entry))
		if err != nil {
			return row, false, err
		}
		at = entry.At.UTC()
		o, err := t.objects.IndexedAt(ctx, countersign.IndexKey(t.settings.Tenant, at, e.request))
		if err != nil {
			return row, false, err
		}
		if o != nil {
			// Where it was put into the index while this page was listed, no other page has it.
			if at.Before(page.reached) || !at.Before(place.Before) || slices.ContainsFunc(page.indexed, func(l activities.Indexed) bool { return l.Key == o.Key }) {
				return row, false, nil
			}
			return t.indexedRow(ctx, o.Object, in)
		}
	}
	if in.Outcome != "" && string(ending.Outcome) != in.Outcome {
		return row, false, nil
	}
	asked, by, err := t.pipeline.Beginning(ctx, e.request)
	if err != nil || !in.fits(asked, by) {
		return row, false, err
	}
	row = client.EndedSigning{
		Request: e.request, Title: asked.Title, Purpose: asked.Purpose, Document: asked.Document, Outcome: ending.Outcome, Detail: ending.Detail,
		Started: e.started.UTC(), Ended: at, Evidence: ending.Evidence,
	}
	if !by.IsZero() {
		row.Requester = &by
	}
	if ending.Log != nil {
		row.Log = &ending.Log.Index
		if row.Proof, err = json.Marshal(ending.Log); err != nil {
			return row, false, fmt.Errorf("couldn't write the proof of the log: %w", err)
		}
	}
	kept, err := t.objects.Kept(ctx, ending.Evidence.Object)
	if err != nil {
		return row, false, err
	}
	row.Kept = &kept
	if _, row.Renewals, err = t.objects.Renewal(ctx, e.request); err != nil && !errors.Is(err, errNotFound) {
		return row, false, err
	}
	if in.Person == "" && in.Partner == "" {
		return row, true, nil
	}
	fits, err = t.hadPart(ctx, ending.Evidence, by, in.Person, in.Partner)
	return row, fits, err
}

// hadPart looks into the bundle for a person, or for a partner's people. One bundle at a time takes one of the tenant's places for transfers. A bundle in
// which somebody's data was shredded can't be looked into any more, and is an error: whoever asks is told that it was not answered.
func (t *tenant) hadPart(ctx context.Context, locked evidence.Locked, requester countersign.Actor, person, partner string) (bool, error) {
	select {
	case t.transfers <- struct{}{}:
		defer func() { <-t.transfers }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if locked.Object.SHA256 == "" {
		return false, errors.New("its result names no bundle")
	}
	revealed, err := t.objects.Locked(ctx, locked)
	if err != nil {
		return false, err
	}
	defer revealed.Close()
	raw, err := revealed.Whole()
	if err != nil {
		return false, err
	}
	e, err := evidence.ReadExposure(raw)
	if err != nil {
		return false, err
	}
	people := e.People()
	if !requester.IsZero() {
		people = append(people, evidence.Named{Actor: requester})
		if e.Requester != nil && e.Requester.Actor == requester {
			people = append(people, *e.Requester)
		}
	}
	foundPerson, foundPartner := person == "", partner == ""
	for _, p := range people {
		foundPerson = foundPerson || p.Actor.String() == person
		foundPartner = foundPartner || p.Actor.Issuer == partner || p.Organisation == partner
	}
	return foundPerson && foundPartner, nil
}
