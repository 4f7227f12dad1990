package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// partFinder finds somebody among those whom index records name, or have tags of.
type partFinder interface {
	Had(ctx context.Context, r evidence.IndexRecord, who countersign.Actor) (part, requested bool, err error)
}

// endedList is what one page of the list of evidence looks at: records of the index, and signings that Temporal knows whose records are not among these.
type endedList struct {
	indexed []activities.Indexed
	closed  []ended
	strays  []string  // keys of the index that are no records
	reached time.Time // the index was listed down to here
}

// name is what a fault names.
func (l endedList) name(i int) string {
	if i < len(l.indexed) {
		return l.indexed[i].Key
	}
	return l.closed[i-len(l.indexed)].request
}

// beginOfList is where a list begins.
func (s *Server) beginOfList(in *evidenceInput) endedPlace {
	place := endedPlace{From: in.From, Before: in.Until}
	if in.Until.IsZero() {
		place.Before = s.now().Add(time.Minute) // another machine's clock
	}
	place.Closed = place.Before.Add(closesWithin)
	if in.From.IsZero() {
		place.From = place.Before.Add(-usualWindow)
	}
	if place.From.Before(countersign.IndexBegins) {
		place.From = countersign.IndexBegins
	}
	return place
}

// endedPage finds what the page at a place looks at, and the place after it; nil where there is no more. Both sources are asked for the same slice of time,
// from the place back to where the first of them has no more room: so nothing that is in one of them is passed by.
func (t *tenant) endedPage(ctx context.Context, place endedPlace) (page endedList, next *endedPlace, err error) {
	// Temporal first: what closes before it is asked is in the index before that is listed.
	closed, err := t.pipeline.Ended(ctx, place.From, place.Closed, endedOfAPage+1)
	if err != nil {
		return page, nil, err
	}
	listed, err := t.objects.Index(ctx, place.From, place.Before, endedOfAPage)
	if err != nil {
		return page, nil, err
	}
	least := place.From.Truncate(time.Millisecond) // as keys have it
	if len(closed) > endedOfAPage {
		// Those that closed in the same instant as the one too many may be cut off: they are the next page's.
		if least = closed[endedOfAPage].closed.Add(1); !least.Before(place.Closed) {
			return page, nil, errors.New("couldn't go on: more signings closed in one instant than a page has room for")
		}
	}
	if listed.Reached.After(least) {
		least = listed.Reached
	}
	page.strays, page.reached = listed.Strays, listed.Reached
	known := map[string]bool{}
	for _, o := range listed.Records {
		known[o.Digest] = true
		if !o.At.Before(least) {
			page.indexed = append(page.indexed, o)
		}
	}
	for _, e := range closed {
		if !e.closed.Before(least) && !known[countersign.IndexDigest(e.request)] {
			page.closed = append(page.closed, e)
		}
	}
	if least.After(place.From.Truncate(time.Millisecond)) {
		next = &endedPlace{From: place.From, Before: least, Closed: least}
		if place.Before.Before(least) {
			next.Before = place.Before
		}
	}
	return page, next, nil
}

// indexedRow reads a record of the index, and says whether it fits.
func (t *tenant) indexedRow(ctx context.Context, o countersign.Object, in endedSearch) (row client.EndedSigning, fits bool, err error) {
	r, err := t.objects.IndexRecord(ctx, o)
	if err != nil {
		return row, false, err
	}
	row = client.EndedSigning{
		Request: r.Request, Title: r.Title, Purpose: r.Purpose, Requester: r.Requester, Document: r.Document, Outcome: r.Outcome,
		Started: r.Started, Ended: r.Logged, Evidence: r.Locked(), Log: &r.Log,
	}
	if in.Outcome != "" && string(r.Outcome) != in.Outcome {
		return row, false, nil
	}
	if fits, err = t.indexFits(ctx, r, in); err != nil || !fits {
		return row, false, err
	}
	kept, err := t.objects.Kept(ctx, r.Bundle)
	if err != nil {
		return row, false, err
	}
	row.Kept = &kept
	if _, row.Renewals, err = t.objects.Renewal(ctx, r.Request); err != nil && !errors.Is(err, errNotFound) {
		return row, false, err
	}
	if row.Proof, err = t.objects.LogProof(ctx, r.Request); err != nil && !errors.Is(err, errNotFound) {
		return row, false, err
	}
	if row.Proof != nil && !json.Valid(row.Proof) {
		return row, false, errors.New("what lies beside its bundle is no proof of the log")
	}
	return row, true, nil
}

// indexFits says whether a record is of a signing that is looked for. Where it doesn't have everybody who had a part, the bundle says it.
func (t *tenant) indexFits(ctx context.Context, r evidence.IndexRecord, in endedSearch) (bool, error) {
	asked := countersign.Request{Purpose: r.Purpose, Title: r.Title, Document: r.Document}
	var by countersign.Actor
	requester, named := countersign.ParseActor(in.Requester)
	if in.Requester != "" {
		if !named {
			return false, nil
		}
		_, requested, err := in.people.Had(ctx, r, requester)
		if err != nil || !requested {
			return false, err
		}
		by = requester
	}
	if !in.fits(asked, by) {
		return false, nil
	}
	partner := in.Partner == ""
	for _, p := range r.Partners {
		partner = partner || p.Issuer == in.Partner || p.Organisation == in.Partner
	}
	person := in.Person == ""
	if who, ok := countersign.ParseActor(in.Person); ok {
		had, _, err := in.people.Had(ctx, r, who)
		if err != nil {
			return false, err
		}
		person = had
	}
	if person && partner || !r.Cut && !r.Shredded {
		return person && partner, nil
	}
	return t.hadPart(ctx, r.Locked(), countersign.Actor{}, in.Person, in.Partner)
}
