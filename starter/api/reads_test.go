package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// reads asks for the records of reads as olivia, all pages.
func (s *service) reads(query string) (all []evidence.Reading) {
	s.t.Helper()
	for cursor := ""; ; {
		path := "/v1/acme/reads?" + query
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		var page client.Reads
		response, body := s.call(http.MethodGet, path, s.token("olivia"), nil, nil)
		if err := json.Unmarshal(body, &page); err != nil || response.StatusCode != http.StatusOK {
			s.t.Fatalf("%s answers %d %s", path, response.StatusCode, body)
		}
		if all = append(all, page.Reads...); page.Cursor == "" {
			return all
		}
		cursor = page.Cursor
	}
}

func TestR23_NothingIsGivenOutWithoutARecord(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	const path = "/v1/acme/signings/PO-1/document"
	// Who may not see it reads nothing, so there is nothing to record.
	if response, _ := s.call(http.MethodGet, path, s.token("hart/chris"), nil, nil); response.StatusCode != http.StatusNotFound {
		t.Errorf("a stranger is answered %d", response.StatusCode)
	}
	if response, body := s.call(http.MethodGet, path, s.token("alice"), nil, nil); response.StatusCode != http.StatusOK || string(body) != "the document" {
		t.Fatalf("alice is answered %d %s", response.StatusCode, body)
	}
	s.objects.mu.Lock()
	s.objects.full = errors.New("full")
	s.objects.mu.Unlock()
	for _, path := range []string{path, "/v1/acme/evidence"} {
		response, body := s.call(http.MethodGet, path, s.token("olivia"), nil, nil)
		s.refusal(response, body, http.StatusServiceUnavailable, "unavailable")
		if strings.Contains(string(body), "the document") || response.Header.Get("Repr-Digest") != "" {
			t.Errorf("%s gives something out: %v %s", path, response.Header, body)
		}
	}
	all := s.reads("")
	if len(all) != 1 || all[0].Reader.Actor != s.actor("alice") || all[0].Reader.Name != "Alice" || all[0].What != evidence.ReadDocument || all[0].Request != "PO-1" ||
		all[0].Object.SHA256 != countersign.SHA256([]byte("the document")) || time.Since(all[0].At) > time.Minute {
		t.Errorf("what is recorded is %+v", all)
	}
}

func TestR23_RecordsAreFoundByTheirDayAndRequest(t *testing.T) {
	t.Parallel()
	s := newService(t)
	day := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i := range 5 * readsOfAPage / 2 {
		r := evidence.Reading{V: 1, ID: fmt.Sprintf("id-%04d", i), Tenant: "acme", At: day.AddDate(0, 0, i/readsOfAPage), What: evidence.ReadList, Request: []string{"PO-1", "PO-2"}[i%2]}
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		s.objects.stored[countersign.ReadingKey("acme", r.At, r.ID)] = body
	}
	for query, want := range map[string]int{
		"": 250, "request=PO-2": 125, "from=2026-11-21T00:00:00Z": 150, "until=2026-11-21T00:00:00Z": 100,
		"from=2026-11-20T12:00:01Z&until=2026-11-22T12:00:00Z": 100, "request=PO-9": 0, "until=2026-11-21T12:00:01Z": 200,
	} {
		if all := s.reads(query); len(all) != want || !slices.IsSortedFunc(all, func(a, b evidence.Reading) int { return a.At.Compare(b.At) }) {
			t.Errorf("%q finds %d, want %d in their order", query, len(all), want)
		}
	}
	// One that is not of its place, and one that is nothing, are told and hide nothing.
	s.objects.stored["acme/reads/2026-11-20/moved.json"] = s.objects.stored["acme/reads/2026-11-20/id-0001.json"]
	s.objects.stored["acme/reads/2026-11-20/nothing.json"] = []byte("{")
	var page client.Reads
	_, body := s.call(http.MethodGet, "/v1/acme/reads?until=2026-11-20T23:59:59Z", s.token("olivia"), nil, nil)
	_, rest := s.call(http.MethodGet, "/v1/acme/reads?from=2026-11-20T00:00:00Z", s.token("olivia"), nil, nil)
	if err := json.Unmarshal(body, &page); err != nil || len(page.Reads) != 100 || strings.Contains(string(rest), "couldn't") {
		t.Errorf("%v: %d records, %s", err, len(page.Reads), rest)
	}
	var second client.Reads
	_, body = s.call(http.MethodGet, "/v1/acme/reads?until=2026-11-20T23:59:59Z&cursor="+url.QueryEscape(page.Cursor), s.token("olivia"), nil, nil)
	if err := json.Unmarshal(body, &second); err != nil || len(second.Unreadable) != 2 || len(second.Reads) != 0 {
		t.Errorf("%v: %s", err, body)
	}
}

func TestR10_ACursorIsOfOneTenantOneListAndOneFilter(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for i := range 2 * endedOfAPage {
		id := fmt.Sprintf("PO-%02d", i)
		s.open(id)
		s.pipeline.ended = append(s.pipeline.ended, ended{request: id, run: "r", closed: time.Now()})
		s.pipeline.endings = append(s.pipeline.endings, evidence.Ending{Outcome: countersign.Completed})
	}
	list := func(query string) (client.EvidenceList, *http.Response, []byte) {
		var l client.EvidenceList
		response, body := s.call(http.MethodGet, "/v1/acme/evidence?"+query, s.token("olivia"), nil, nil)
		if err := json.Unmarshal(body, &l); err != nil {
			t.Fatal(err)
		}
		return l, response, body
	}
	first, _, _ := list("outcome=completed")
	if len(first.Evidence) != endedOfAPage || first.Cursor == "" || len(first.Unanswered) > 0 {
		t.Fatalf("the first page is %+v", first)
	}
	cursor := "&cursor=" + url.QueryEscape(first.Cursor)
	second, _, _ := list("outcome=completed" + cursor)
	if len(second.Evidence) != endedOfAPage || second.Cursor != "" || second.Evidence[0].Request == first.Evidence[0].Request {
		t.Errorf("the second page is %+v", second)
	}
	_, response, body := list("outcome=voided" + cursor)
	s.refusal(response, body, http.StatusUnprocessableEntity, "bad-cursor")
	response, body = s.call(http.MethodGet, "/v1/acme/reads?"+cursor[1:], s.token("olivia"), nil, nil)
	s.refusal(response, body, http.StatusUnprocessableEntity, "bad-cursor")
	// The same place for another tenant, or under another key, has another seal.
	own := s.server.tenants["acme"]
	other := *own.settings
	other.Tenant = "globex"
	for what, t2 := range map[string]*tenant{"another tenant": {settings: &other, cursors: own.cursors}, "another key": {settings: own.settings, cursors: []byte("another")}} {
		var place endedPlace
		if err := t2.openCursor("evidence", "outcome=completed", first.Cursor, &place); err == nil {
			t.Errorf("%s takes the cursor", what)
		}
	}
	for query, want := range map[string]int{"outcome=voided": 0, "purpose=contract": endedOfAPage, "purpose=gift": 0, "document=" + countersign.SHA256([]byte("the document")): endedOfAPage, "document=" + strings.Repeat("0", 64): 0,
		"text=AGREE": endedOfAPage, "requester=" + url.QueryEscape(s.actor("procurement").String()): endedOfAPage, "document=acme/documents/x.pdf": endedOfAPage,
		"text=nothing+like+it": 0, "requester=" + url.QueryEscape("https://id.nowhere.example#x"): 0, "document=acme/documents/other.pdf": 0} {
		if l, _, _ := list(query); len(l.Evidence) != want || l.Cursor == "" {
			t.Errorf("%q finds %d, want %d, and a next page", query, len(l.Evidence), want)
		}
	}
}
