package tests

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// A request and a decision that came by the API are told with the address and the program that they came from; what was sent straight to
// Temporal is told without.
func TestR11_TheTimelineSaysFromWhereARequestAndADecisionCame(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "supplier-contract")
	body, _ := json.Marshal(r)
	var started client.Started
	if status := call(t, "machine:acme/procurement", "POST", "/v1/acme/signings", http.Header{"User-Agent": {"procurement/7"}}, body, &started); status != http.StatusCreated {
		t.Fatalf("the request was answered %d", status)
	}
	g, err := local.Adopt(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	d := g.Decision(status, "acme/alice", "legal", countersign.Approve)
	token, err := local.Prove(t.Context(), "acme/alice", d)
	if err != nil {
		t.Fatal(err)
	}
	body, _ = json.Marshal(countersign.SignedDecision{ID: "one", Decision: d, Proof: countersign.Proof{IDToken: token}})
	if status := call(t, "acme/alice", "POST", "/v1/acme/signings/"+r.ID+"/decisions", http.Header{"User-Agent": {"browser\u202e/1"}, "X-Forwarded-For": {"203.0.113.9"}}, body, nil); status != http.StatusAccepted {
		t.Fatalf("the decision was answered %d", status)
	}
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, _ := ended(t, g, countersign.Completed)

	told, err := evidence.ReadTimeline(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	type from struct{ kind, actor, ip, agent string }
	var got []from
	for _, l := range told.Lines {
		if l.Kind == evidence.KindRequested || l.Kind == evidence.KindDecisionReceived {
			got = append(got, from{l.Kind, l.Actor, l.IP, l.UserAgent})
		}
	}
	none := string(evidence.NotRecorded)
	want := []from{
		{evidence.KindRequested, local.Actor("acme/procurement").String(), "127.0.0.1", "procurement/7"},
		{evidence.KindDecisionReceived, local.Actor("acme/alice").String(), "127.0.0.1", "browser/1"},
		{evidence.KindDecisionReceived, local.Actor("hart/carol").String(), none, none},
	}
	if len(got) != len(want) {
		t.Fatalf("told are %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("told is %+v, want %+v", got[i], want[i])
		}
	}
}

// Where a tenant's file says that no source is recorded, nothing of it is anywhere in the evidence, and the timeline says so.
func TestR11_ATenantThatWantsNoSourceRecordedHasNone(t *testing.T) {
	dir, err := local.Tenant(t.TempDir(), "globex", "releaseWithin: 1h", "releaseWithin: 1h\n    source: off")
	if err != nil {
		t.Fatal(err)
	}
	p, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	api, address, err := local.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	r := request(t, "globex", "supplier-contract")
	body, _ := json.Marshal(r)
	var started client.Started
	agent := http.Header{"User-Agent": {"a-program-of-nobody/7"}}
	if status := callAt(t, address, "machine:globex/procurement", "POST", "/v1/globex/signings", agent, body, &started); status != http.StatusCreated {
		t.Fatalf("the request was answered %d", status)
	}
	g, err := local.Adopt(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	d := g.Decision(status, "globex/gina", "legal", countersign.Reject)
	d.Reason = "no"
	token, err := local.Prove(t.Context(), "globex/gina", d)
	if err != nil {
		t.Fatal(err)
	}
	body, _ = json.Marshal(countersign.SignedDecision{ID: "one", Decision: d, Proof: countersign.Proof{IDToken: token}})
	if status := callAt(t, address, "globex/gina", "POST", "/v1/globex/signings/"+r.ID+"/decisions", agent, body, nil); status != http.StatusAccepted {
		t.Fatalf("the decision was answered %d", status)
	}
	ending, _ := ended(t, g, countersign.Rejected)
	raw := bundle(t, "globex", ending)
	if bytes.Contains(raw, []byte("a-program-of-nobody")) || bytes.Contains(raw, []byte(evidence.HeaderSource)) {
		t.Error("the evidence says from where something came")
	}
	told, err := evidence.ReadTimeline(raw)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, l := range told.Lines {
		if l.Kind == evidence.KindRequested || l.Kind == evidence.KindDecisionReceived {
			if seen++; l.IP != string(evidence.NotRecorded) || l.UserAgent != string(evidence.NotRecorded) {
				t.Errorf("told is %s from %q, %q", l.Kind, l.IP, l.UserAgent)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d lines of a request and a decision are told", seen)
	}
}
