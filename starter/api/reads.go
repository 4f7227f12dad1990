package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

const (
	// readsOfAPage is how many records one page of reads looks at.
	readsOfAPage = 100
	// maxReading bounds one record.
	maxReading = 64 << 10
	// readsAtOnce is how many records of a page are fetched at once.
	readsAtOnce = 8
)

// noteReading locks the record of a read by the caller. Whoever gives out evidence calls it before the first byte: without a record nothing is given.
func (s *Server) noteReading(ctx context.Context, r evidence.Reading) error {
	c := callerOf(ctx)
	id, err := uuid.NewV7()
	if err != nil {
		return fault(ctx, "record who reads the evidence", err)
	}
	r.V, r.ID, r.Tenant, r.At, r.Reader = 1, id.String(), c.tenant.settings.Tenant, s.now().UTC(), evidence.Named{Actor: c.actor}
	if m, ok := c.tenant.settings.Member(c.actor); ok {
		r.Reader.Name, r.Reader.Organisation = m.Name, m.Organisation
	}
	body, err := json.Marshal(r)
	if err == nil {
		err = c.tenant.objects.PutReading(ctx, countersign.ReadingKey(r.Tenant, r.At, r.ID), body)
	}
	if err != nil {
		return fault(ctx, "record who reads the evidence", err)
	}
	return nil
}

// entitled lets the tenant's compliance and its owner see what concerns all of the tenant's evidence.
func (c caller) entitled() error {
	if !c.about() {
		return newProblem(http.StatusForbidden, "not-entitled", "this is for the tenant's compliance and its owner: their roles in the tenant's file are compliance and owner")
	}
	return nil
}

type readsInput struct {
	Tenant  string    `path:"tenant"`
	Request string    `query:"request" maxLength:"128" doc:"Reads of this request's evidence alone."`
	From    time.Time `query:"from" doc:"From this instant on."`
	Until   time.Time `query:"until" doc:"Before this instant."`
	Cursor  string    `query:"cursor" maxLength:"4096" doc:"Where the page before ended."`
}

// filter is the list that a cursor belongs to.
func (in *readsInput) filter() string {
	return url.Values{"request": {in.Request}, "from": {in.From.UTC().String()}, "until": {in.Until.UTC().String()}}.Encode()
}

type readsOutput struct{ Body client.Reads }

// listReads lists who read evidence, a page at a time. A page can be empty and have a next one.
func (s *Server) listReads(ctx context.Context, in *readsInput) (*readsOutput, error) {
	c := callerOf(ctx)
	if err := c.entitled(); err != nil {
		return nil, err
	}
	t := c.tenant
	tenant := t.settings.Tenant
	var place readingPlace
	switch {
	case in.Cursor != "":
		if err := t.openCursor("reads", in.filter(), in.Cursor, &place); err != nil {
			return nil, err
		}
	case !in.From.IsZero():
		place.Key = countersign.ReadingsPrefix(tenant) + in.From.UTC().Format(time.DateOnly)
	}
	page, err := t.objects.Readings(ctx, place, readsOfAPage)
	if err != nil {
		return nil, fault(ctx, "list the reads", err)
	}
	out := &readsOutput{client.Reads{Reads: []evidence.Reading{}, Unreadable: []string{}, Markers: page.markers}}
	last := ""
	if !in.Until.IsZero() {
		last = countersign.ReadingsPrefix(tenant) + in.Until.UTC().Format(time.DateOnly) + "/~" // after every id of that day
	}
	wanted := page.objects[:0]
	for _, o := range page.objects {
		if last == "" || o.Key < last {
			wanted = append(wanted, o)
		} else {
			page.next = readingPlace{}
		}
	}
	all, faults := t.readings(ctx, wanted)
	for i, r := range all {
		switch {
		case faults[i] != nil && ctx.Err() != nil:
			return nil, fault(ctx, "list the reads", faults[i])
		case faults[i] != nil:
			logged(ctx, faults[i])
			out.Body.Unreadable = append(out.Body.Unreadable, wanted[i].Key)
		case in.Request != "" && r.Request != in.Request, r.At.Before(in.From), !in.Until.IsZero() && !r.At.Before(in.Until):
		default:
			out.Body.Reads = append(out.Body.Reads, r)
		}
	}
	if page.next.Key != "" {
		if out.Body.Cursor, err = t.sealCursor("reads", in.filter(), page.next); err != nil {
			return nil, fault(ctx, "list the reads", err)
		}
	}
	return out, nil
}

// readings fetches records, a few at once. One that can't be read doesn't hide the others.
func (t *tenant) readings(ctx context.Context, objects []countersign.Object) ([]evidence.Reading, []error) {
	all, faults := make([]evidence.Reading, len(objects)), make([]error, len(objects))
	places := make(chan struct{}, readsAtOnce)
	var wait sync.WaitGroup
	for i, o := range objects {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			body, err := t.objects.Read(ctx, o, maxReading)
			if err == nil {
				all[i], err = evidence.ParseReading(t.settings.Tenant, o.Key, body)
			}
			if err != nil {
				faults[i] = fmt.Errorf("couldn't read the record of a read %s: %w", strings.TrimPrefix(o.Key, countersign.ReadingsPrefix(t.settings.Tenant)), err)
			}
		})
	}
	wait.Wait()
	return all, faults
}
