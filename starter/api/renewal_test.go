package api

import (
	"net/http"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

// An evidence record is evidence: for whom the bundle is, once that is locked, and recorded with its reader.
func TestR23_AnEvidenceRecordIsReadLikeItsBundle(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	path := "/v1/acme/signings/PO-1/evidence/renewal"
	for n, record := range map[int]string{1: "first", 2: "second", 4: "beyond a gap"} {
		s.objects.stored[countersign.RenewalKey("acme", "PO-1", n)] = []byte(record)
	}
	response, body := s.call(http.MethodGet, path, s.token("alice"), nil, nil)
	s.refusal(response, body, http.StatusConflict, "evidence-pending")
	s.pipeline.custody["PO-1"] = workflows.CustodyStatus{
		State: client.StateDone, Saga: s.pipeline.sagas["PO-1"].Saga, Outcome: countersign.Completed, Evidence: &evidence.Locked{Object: countersign.Object{Key: "acme/evidence/PO-1.asice"}},
	}
	response, body = s.call(http.MethodGet, path, s.token("alice"), nil, nil)
	if response.StatusCode != http.StatusOK || string(body) != "second" || response.Header.Get("Renewal-Number") != "2" {
		t.Fatalf("answered is %d, number %q: %s", response.StatusCode, response.Header.Get("Renewal-Number"), body)
	}
	if got := s.readings(); len(got) != 1 || got[0] != "renewal acme/evidence/PO-1/renewal-002.ers by alice" {
		t.Errorf("recorded is %q", got)
	}
	response, body = s.call(http.MethodGet, path+"?of=stored", s.token("alice"), nil, nil)
	s.refusal(response, body, http.StatusConflict, "not-renewed")
	s.objects.stored[countersign.StoredRenewalKey("acme", "PO-1", 1)] = []byte("over what is stored")
	if response, body = s.call(http.MethodGet, path+"?of=stored", s.token("alice"), nil, nil); response.StatusCode != http.StatusOK || string(body) != "over what is stored" {
		t.Fatalf("answered of what is stored is %d: %s", response.StatusCode, body)
	}
	if got := s.readings(); len(got) != 2 || got[1] != "renewal acme/evidence/PO-1/stored-001.ers by alice" {
		t.Errorf("recorded is %q", got)
	}
	response, body = s.call(http.MethodGet, path+"?of=anything", s.token("alice"), nil, nil)
	s.refusal(response, body, http.StatusUnprocessableEntity, "invalid")
	response, body = s.call(http.MethodGet, path, s.token("hart/chris"), nil, nil)
	s.refusal(response, body, http.StatusNotFound, "not-found")
	s.objects.full = errNotFound
	if response, body = s.call(http.MethodGet, path, s.token("alice"), nil, nil); response.StatusCode == http.StatusOK || string(body) == "second" {
		t.Errorf("without a record it is answered with %d: %s", response.StatusCode, body)
	}
	s.objects.full = nil
	delete(s.objects.stored, countersign.RenewalKey("acme", "PO-1", 1))
	response, body = s.call(http.MethodGet, path, s.token("alice"), nil, nil)
	s.refusal(response, body, http.StatusConflict, "not-renewed")
}
