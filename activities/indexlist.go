package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
)

// Indexed is the place of one index record, as the bucket lists it: its first version, because nobody changes a record by writing over it.
type Indexed struct {
	countersign.Object
	At       time.Time
	Digest   string // of the request
	Versions int
	Markers  int // delete markers: somebody tried to hide it
}

// IndexPage is a part of an index, the newest first. Everything from Reached on, up to where it was asked for, is in it.
type IndexPage struct {
	Records []Indexed
	Reached time.Time
	Strays  []string // keys that are none of an index
}

const (
	// listedAtOnce is how many versions one list has.
	listedAtOnce = 1000
	// listsOfAPage bounds the lists that one page of an index asks for.
	listsOfAPage = 100
)

// indexUnits are the steps in which an index is listed: how a key begins within one, and how the next one is found.
var indexUnits = []struct {
	stamp string
	begin func(time.Time) time.Time
	next  func(time.Time) time.Time
}{
	{"2006/", func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC) }, func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
	{"2006/01/", func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) }, func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
	{"2006/01/02/", func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }, func(t time.Time) time.Time { return t.Add(24 * time.Hour) }},
	{"2006/01/02/15", func(t time.Time) time.Time { return t.Truncate(time.Hour) }, func(t time.Time) time.Time { return t.Add(time.Hour) }},
	{"2006/01/02/1504", func(t time.Time) time.Time { return t.Truncate(time.Minute) }, func(t time.Time) time.Time { return t.Add(time.Minute) }},
	{"2006/01/02/150405", func(t time.Time) time.Time { return t.Truncate(time.Second) }, func(t time.Time) time.Time { return t.Add(time.Second) }},
}

// ListIndex lists the records of a tenant's index that are from an instant on and before another, the newest first: at least limit of them, if there are as
// many, and all of the same millisecond. It lists no object outside of the calendar year, month, day, hour, minute or second that it has to look at, and
// goes on to the smaller one where the larger one has more than one list holds. Whatever is in the index: a delete marker hides nothing.
func ListIndex(ctx context.Context, c *s3.Client, tenant, bucket string, from, until time.Time, limit int) (IndexPage, error) {
	w := indexWalk{ctx: ctx, s3: c, tenant: tenant, bucket: bucket, from: from.UTC().Truncate(time.Millisecond), until: until.UTC(), limit: limit, left: listsOfAPage}
	w.page.Reached = w.until
	if !w.from.Before(w.until) {
		return IndexPage{Reached: w.from}, nil
	}
	unit := 0
	for _, least := range []time.Duration{62 * 24 * time.Hour, 2 * 24 * time.Hour, 2 * time.Hour} {
		if w.until.Sub(w.from) < least {
			unit++
		}
	}
	_, err := w.within(unit, w.from, w.until)
	return w.page, err
}

type indexWalk struct {
	ctx            context.Context
	s3             *s3.Client
	tenant, bucket string
	from, until    time.Time
	limit, left    int
	page           IndexPage
}

// within visits the units between two instants, the last first, until there is enough.
func (w *indexWalk) within(unit int, from, until time.Time) (enough bool, err error) {
	u := indexUnits[unit]
	var begins []time.Time
	for at := u.begin(from); at.Before(until); at = u.next(at) {
		begins = append(begins, at)
	}
	slices.Reverse(begins)
	for _, at := range begins {
		if enough, err := w.unit(unit, at); enough || err != nil {
			return enough, err
		}
	}
	return false, nil
}

// unit visits one unit: in one list, or else its parts.
func (w *indexWalk) unit(unit int, begin time.Time) (enough bool, err error) {
	if w.left == 0 {
		return true, nil
	}
	u := indexUnits[unit]
	finest := unit == len(indexUnits)-1
	found, whole, err := w.list(countersign.IndexPrefix(w.tenant)+begin.Format(u.stamp), finest)
	if err != nil {
		return false, err
	}
	if !whole {
		return w.within(unit+1, later(begin, w.from), earlier(u.next(begin), w.until))
	}
	slices.SortFunc(found, func(a, b Indexed) int { return b.At.Compare(a.At) })
	for _, o := range found {
		if o.At.Before(w.from) || !o.At.Before(w.until) {
			continue
		}
		if n := len(w.page.Records); n >= w.limit && o.At.Before(w.page.Records[n-1].At) {
			w.page.Reached = w.page.Records[n-1].At
			return true, nil
		}
		w.page.Records = append(w.page.Records, o)
	}
	w.page.Reached = later(begin, w.from)
	return false, nil
}

// list lists a prefix. Where that has more than one list holds, it is not whole, unless all of it is wanted.
func (w *indexWalk) list(prefix string, all bool) (found []Indexed, whole bool, err error) {
	pages := s3.NewListObjectVersionsPaginator(w.s3, &s3.ListObjectVersionsInput{Bucket: aws.String(w.bucket), Prefix: aws.String(prefix), MaxKeys: aws.Int32(listedAtOnce)})
	var g indexGroup
	for pages.HasMorePages() {
		if w.left--; w.left < 0 && all {
			return nil, false, fmt.Errorf("couldn't list the index: there is more under %s than %d lists hold", prefix, listsOfAPage)
		}
		page, err := pages.NextPage(w.ctx)
		if err != nil {
			return nil, false, fmt.Errorf("couldn't list the index in the bucket %q: %w", w.bucket, err)
		}
		if aws.ToBool(page.IsTruncated) && !all {
			return nil, false, nil
		}
		g.add(w.tenant, w.bucket, page)
	}
	w.page.Strays = append(w.page.Strays, g.strays...)
	return g.records, true, nil
}

// indexGroup puts listed versions together by their keys. A store lists the keys in their order, and the versions of a key from its newest to its first.
type indexGroup struct {
	records []Indexed
	strays  []string
	markers map[string]int
}

func (g *indexGroup) add(tenant, bucket string, page *s3.ListObjectVersionsOutput) {
	if g.markers == nil {
		g.markers = map[string]int{}
	}
	for _, m := range page.DeleteMarkers {
		g.markers[aws.ToString(m.Key)]++
	}
	for _, v := range page.Versions {
		key := aws.ToString(v.Key)
		if n := len(g.records); n > 0 && g.records[n-1].Key == key {
			g.records[n-1].VersionID = aws.ToString(v.VersionId)
			g.records[n-1].Versions++
			continue
		}
		at, digest, err := countersign.ParseIndexKey(tenant, key)
		if err != nil {
			if n := len(g.strays); n == 0 || g.strays[n-1] != key {
				g.strays = append(g.strays, key)
			}
			continue
		}
		g.records = append(g.records, Indexed{Object: countersign.Object{Bucket: bucket, Key: key, VersionID: aws.ToString(v.VersionId)}, At: at, Digest: digest, Versions: 1})
	}
	for i := range g.records {
		g.records[i].Markers = g.markers[g.records[i].Key]
	}
}

// IndexedAt finds the record under one key; nil where there is none.
func IndexedAt(ctx context.Context, c *s3.Client, tenant, bucket, key string) (*Indexed, error) {
	page, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(key)})
	if err != nil {
		return nil, fmt.Errorf("couldn't look for %s/%s: %w", bucket, key, err)
	}
	var g indexGroup
	g.add(tenant, bucket, page)
	for _, o := range g.records {
		if o.Key == key {
			return &o, nil
		}
	}
	return nil, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
