package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

// Signings that Temporal alone knows, that the index alone knows, and that both know are one list, the last to end first, whatever the pages.
func TestR24_EachSigningIsListedOnceWhicheverKnowsIt(t *testing.T) {
	t.Parallel()
	s := newService(t)
	base := time.Now().UTC().Add(-10 * 24 * time.Hour)
	var want []string
	logged := func(i int) time.Time { return base.Add(time.Duration(i) * time.Minute) }
	n := 4 * endedOfAPage
	for i := range n {
		id := fmt.Sprintf("PO-%03d", i)
		want = append(want, id)
		entry := translog.Entry{
			V: 1, Tenant: "acme", Kind: translog.Sealed, Request: id, Run: "r", Outcome: countersign.Rejected, At: logged(i),
			Bundle: &countersign.Object{Bucket: "evidence", Key: countersign.EvidenceKey("acme", id), VersionID: "v", SHA256: countersign.SHA256([]byte(id))},
		}
		if i >= n/2 && i%3 != 0 { // the index knows it
			r := evidence.IndexRecordOf(entry, int64(i))
			r.Title, r.Shredded = "Agreement", false
			body, err := countersign.Canonical(r)
			if err != nil {
				t.Fatal(err)
			}
			s.objects.stored[r.Key()] = body
		}
		if i < n/2 || i%3 != 1 { // Temporal knows it, and of the older ones the index nothing: its custodian told people for some minutes after it was logged
			text, err := countersign.Canonical(entry)
			if err != nil {
				t.Fatal(err)
			}
			s.open(id)
			s.pipeline.ended = append(s.pipeline.ended, ended{request: id, run: "r", closed: logged(i).Add(time.Duration(i%7) * time.Minute)})
			s.pipeline.endings = append(s.pipeline.endings, evidence.Ending{Outcome: countersign.Rejected, Evidence: evidence.Locked{Object: *entry.Bundle}, Log: &translog.Proof{Entry: string(text), Index: int64(i)}})
		}
	}
	slices.Reverse(want)
	list := func(query url.Values) (got []string, pages int) {
		for cursor := ""; ; pages++ {
			var page client.EvidenceList
			query.Set("cursor", cursor)
			_, body := s.call(http.MethodGet, "/v1/acme/evidence?"+query.Encode(), s.token("olivia"), nil, nil)
			if err := json.Unmarshal(body, &page); err != nil || len(page.Unanswered) > 0 || pages > 20 {
				t.Fatalf("page %d: %v: %s", pages, err, body)
			}
			for _, e := range page.Evidence {
				if got = append(got, e.Request); !e.Ended.Equal(logged(int(*e.Log))) {
					t.Errorf("%s ended at %s", e.Request, e.Ended)
				}
			}
			if cursor = page.Cursor; cursor == "" {
				return got, pages + 1
			}
		}
	}
	got, pages := list(url.Values{})
	sorted := slices.Clone(got)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	if !slices.Equal(sorted, want) || pages < 3 {
		t.Errorf("%d pages have %d signings, want %d: %q", pages, len(got), len(want), got)
	}
	instant := func(at time.Time) string { return at.Format(time.RFC3339Nano) }
	if got, _ := list(url.Values{"from": {instant(logged(90))}, "until": {instant(logged(96))}}); len(got) != 6 || !slices.Contains(got, "PO-090") || slices.Contains(got, "PO-096") {
		t.Errorf("six minutes have %q", got)
	}
	if got, _ := list(url.Values{"until": {instant(logged(n))}, "from": {instant(logged(n - 3))}}); len(got) != 3 {
		t.Errorf("the last three are %q", got)
	}
	old := evidence.IndexRecordOf(translog.Entry{
		V: 1, Tenant: "acme", Kind: translog.Sealed, Request: "PO-999", Run: "r", Outcome: countersign.Rejected, At: logged(n).AddDate(-9, 0, 0), Bundle: &countersign.Object{Key: countersign.EvidenceKey("acme", "PO-999")},
	}, int64(n))
	old.Logged = base.AddDate(0, -4, 0)
	body, err := countersign.Canonical(old)
	if err != nil {
		t.Fatal(err)
	}
	s.objects.stored[old.Key()] = body
	find := func(from string) bool {
		var page client.EvidenceList
		_, body := s.call(http.MethodGet, "/v1/acme/evidence?until="+url.QueryEscape(instant(base.Add(-2*time.Hour)))+from, s.token("olivia"), nil, nil)
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		return len(page.Evidence) == 1 && page.Evidence[0].Request == "PO-999"
	}
	if find("") || !find("&from="+url.QueryEscape(instant(base.AddDate(-1, 0, 0)))) {
		t.Error("without a window a list has to go 90 days back, and with one as far as it says")
	}
}
