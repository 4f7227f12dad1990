package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

func TestTheSameRequestHasTheSameAnswer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	pdf := contract(t)
	sum := sha256.Sum256(pdf)
	response, body := s.call(http.MethodPut, "/v1/acme/documents", s.token("procurement"), http.Header{
		"Content-Type": {"application/pdf"}, "Content-Digest": {"sha-512=:AA==:, sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"}}, pdf)
	var document countersign.Document
	if err := json.Unmarshal(body, &document); err != nil || response.StatusCode != http.StatusCreated || document.Check() != nil {
		t.Fatalf("the upload answered %d %s", response.StatusCode, body)
	}
	ask := client.SigningRequest{V: 1, Purpose: "contract", Title: "Agreement", Document: document, Deadlines: map[string]time.Time{"legal": time.Now().Add(time.Hour).UTC()}}
	raw, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	key := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"order 4711"}}
	first, answer := s.call(http.MethodPost, "/v1/acme/signings", s.token("procurement"), key, raw)
	var started client.Started
	if err := json.Unmarshal(answer, &started); err != nil || first.StatusCode != http.StatusCreated || !strings.HasPrefix(started.Request, "k-") || len(started.Request) != 34 {
		t.Fatalf("the first answered %d %s", first.StatusCode, answer)
	}
	// Later its deadline has passed: the answer stays.
	s.server.now = func() time.Time { return time.Now().Add(30 * time.Second) }
	second, again := s.call(http.MethodPost, "/v1/acme/signings", s.token("procurement"), key, raw)
	if second.StatusCode != http.StatusOK || !bytes.Equal(answer, again) {
		t.Errorf("the second answered %d %s, not as the first %s", second.StatusCode, again, answer)
	}
	other := bytes.Replace(raw, []byte("Agreement"), []byte("Other"), 1)
	response, body = s.call(http.MethodPost, "/v1/acme/signings", s.token("procurement"), key, other)
	s.refusal(response, body, http.StatusConflict, "request-exists")
	if by := s.pipeline.by[started.Request]; by != s.actor("procurement") {
		t.Errorf("it was started by %v", by)
	}
}

func TestR19_WhatOnlyItsRequesterCouldApproveIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t)
	settings := s.server.tenants["acme"].settings
	settings.People[0].Roles = append(settings.People[0].Roles, "requester") // alice, who alone is legal
	ask := func(who string) (*http.Response, []byte) {
		raw, err := json.Marshal(client.SigningRequest{V: 1, ID: "by-" + who, Purpose: "contract", Title: "Agreement", Document: countersign.Document{
			Bucket: "documents", Key: "acme/documents/x.pdf", VersionID: "v1", SHA256: countersign.SHA256([]byte("the document"))}})
		if err != nil {
			t.Fatal(err)
		}
		return s.call(http.MethodPost, "/v1/acme/signings", s.token(who), jsonBody, raw)
	}
	response, body := ask("alice")
	s.refusal(response, body, http.StatusUnprocessableEntity, "quorum-too-large")
	if !bytes.Contains(body, []byte("beside the requester, who can't approve")) || len(s.pipeline.started) != 0 {
		t.Errorf("alice is told %s; started: %d", body, len(s.pipeline.started))
	}
	if response, body = ask("procurement"); response.StatusCode != http.StatusCreated {
		t.Errorf("procurement's request answered %d %s", response.StatusCode, body)
	}
}

func TestOnlyPartiesLearnThatASigningExists(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	_, missing := s.call(http.MethodGet, "/v1/acme/signings/PO-2", s.token("alice"), nil, nil)
	for _, rest := range []string{"", "/decision?verdict=approve", "/events", "/document", "/evidence"} {
		for _, who := range []string{"hart/chris", "ben"} {
			response, body := s.call(http.MethodGet, "/v1/acme/signings/PO-1"+rest, s.token(who), nil, nil)
			s.refusal(response, body, http.StatusNotFound, "not-found")
			if !bytes.Equal(body, missing) {
				t.Errorf("%s learns from %q: %s", who, rest, body)
			}
		}
	}
	for _, who := range []string{"alice", "hart/carol", "procurement", "olivia"} {
		response, body := s.call(http.MethodGet, "/v1/acme/signings/PO-1", s.token(who), nil, nil)
		var status client.Status
		if err := json.Unmarshal(body, &status); err != nil || response.StatusCode != http.StatusOK || status.State != "approval" || status.Released || status.Plan == nil {
			t.Errorf("%s sees %d %s", who, response.StatusCode, body)
		}
	}
}

// Who started something wrongly, straight at the server, hears what is wrong; nobody else hears that it exists.
func TestM4_AWrongStartIsAClearProblem(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for id, unreadable := range map[string]bool{"PO-1": false, "PO-2": true} {
		s.open(id)
		delete(s.pipeline.sagas, id)
		s.pipeline.custody[id] = workflows.CustodyStatus{State: workflows.StateNotASigning, Detail: "the workflow id must be another one"}
		s.pipeline.unreadable[id] = unreadable
		for _, rest := range []string{"", "/decision?verdict=approve", "/events", "/document", "/evidence"} {
			for _, who := range []string{"procurement", "olivia"} {
				response, body := s.call(http.MethodGet, "/v1/acme/signings/"+id+rest, s.token(who), nil, nil)
				if p := s.refusal(response, body, http.StatusConflict, "not-a-signing"); !strings.Contains(p.Detail, "the workflow id must be another one") || !strings.Contains(p.Detail, "under another one") {
					t.Errorf("%s reads %q", who, p.Detail)
				}
			}
			for _, who := range []string{"alice", "hart/carol", "ben"} {
				response, body := s.call(http.MethodGet, "/v1/acme/signings/"+id+rest, s.token(who), nil, nil)
				s.refusal(response, body, http.StatusNotFound, "not-found")
			}
		}
	}
	ask, err := json.Marshal(client.SigningRequest{V: 1, ID: "PO-2", Purpose: "contract", Title: "Agreement", Document: s.pipeline.started["PO-2"].Document})
	if err != nil {
		t.Fatal(err)
	}
	response, body := s.call(http.MethodPost, "/v1/acme/signings", s.token("procurement"), jsonBody, ask)
	s.refusal(response, body, http.StatusConflict, "not-a-signing")
}

// locked is evidence that says how its signing ended.
func locked(outcome countersign.Outcome) *evidence.Locked {
	return &evidence.Locked{Mode: "COMPLIANCE", Outcome: outcome, Object: countersign.Object{Bucket: "evidence", Key: "acme/evidence/PO-1.asice", VersionID: "v", SHA256: countersign.SHA256([]byte("bundle"))}}
}

func TestN10_SignedWithEvidencePendingIsAStateAndCompletedIsSaidOnlyOnceItIsLocked(t *testing.T) {
	t.Parallel()
	saga := workflows.Status{State: "ending", Requester: countersign.Actor{Issuer: "http://i", Subject: "s"}}
	for name, c := range map[string]struct {
		custody  workflows.CustodyStatus
		outcome  countersign.Outcome
		released bool
	}{
		"sealing":            {workflows.CustodyStatus{State: "sealing"}, "", false},
		"locking":            {workflows.CustodyStatus{State: "locking"}, "", false},
		"voiding":            {workflows.CustodyStatus{State: "voiding"}, "", false},
		"void, being told":   {workflows.CustodyStatus{State: "voiding", Outcome: countersign.Voided, Detail: "why"}, countersign.Voided, false},
		"completed":          {workflows.CustodyStatus{State: "done", Outcome: countersign.Completed, Evidence: locked(countersign.Completed)}, countersign.Completed, true},
		"voided":             {workflows.CustodyStatus{State: "done", Outcome: countersign.Voided, Detail: "why", Evidence: locked(countersign.Voided)}, countersign.Voided, false},
		"terminated":         {workflows.CustodyStatus{State: "done", Outcome: countersign.Terminated, Detail: "why", Evidence: locked(countersign.Terminated)}, countersign.Terminated, false},
		"rejected, sealing":  {workflows.CustodyStatus{State: "sealing", Outcome: countersign.Rejected, Detail: "why"}, countersign.Rejected, false},
		"an older build":     {workflows.CustodyStatus{State: "locking", Outcome: countersign.Completed}, "", false},
		"older, and voided":  {workflows.CustodyStatus{State: "done", Outcome: countersign.Completed, Evidence: locked(countersign.Voided)}, "", false},
		"older, no evidence": {workflows.CustodyStatus{State: "done", Outcome: countersign.Completed}, "", false},
	} {
		s := merge("acme", "PO-1", c.custody, saga)
		if s.Released != c.released || s.Outcome != c.outcome || s.State != c.custody.State || s.Detail != c.custody.Detail || (s.Meaning == "") != (c.outcome == "") {
			t.Errorf("%s: %+v", name, s)
		}
		// Signed, evidence pending: a state of its own, of nothing that ended otherwise.
		if want := name == "sealing" || name == "locking" || name == "an older build"; s.Pending != want {
			t.Errorf("%s: its evidence is pending: %v", name, s.Pending)
		}
	}
}

func TestDecisionsGoOutAsTheirActor(t *testing.T) {
	t.Parallel()
	s := newService(t)
	saga := s.open("PO-1")
	draftOf := func(who, verdict string) (client.Draft, *http.Response, []byte) {
		t.Helper()
		var d client.Draft
		response, body := s.call(http.MethodGet, "/v1/acme/signings/PO-1/decision?"+url.Values{"verdict": {verdict}, "reason": {"as agreed"}}.Encode(), s.token(who), nil, nil)
		_ = json.Unmarshal(body, &d)
		return d, response, body
	}
	d, _, body := draftOf("alice", "approve")
	digest, err := d.Decision.Digest()
	if err != nil || digest != d.Digest || d.Decision.Check() != nil || !d.Open || d.Decision.Actor != s.actor("alice") || d.Decision.Run != saga.Saga.Run || d.Decision.Document != saga.Document {
		t.Fatalf("the draft is %s", body)
	}
	if early, _, body := draftOf("hart/carol", "approve"); early.Open || early.Decision.Stage != "counsel" {
		t.Errorf("carol's draft is %s", body)
	}
	_, response, body := draftOf("olivia", "approve")
	s.refusal(response, body, http.StatusForbidden, "not-eligible")

	signed := countersign.SignedDecision{ID: "one", Decision: d.Decision, Proof: countersign.Proof{IDToken: "proof"}}
	send := func(who string, signed countersign.SignedDecision) (*http.Response, []byte) {
		raw, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		return s.call(http.MethodPost, "/v1/acme/signings/PO-1/decisions", s.token(who), jsonBody, raw)
	}
	response, body = send("hart/carol", signed)
	s.refusal(response, body, http.StatusForbidden, "other-sender")
	elsewhere := signed
	elsewhere.Decision.Signing = countersign.SagaID("acme", "PO-2")
	response, body = send("alice", elsewhere)
	s.refusal(response, body, http.StatusUnprocessableEntity, "other-signing")
	if len(s.pipeline.signals) != 0 {
		t.Fatalf("refused decisions were passed on: %+v", s.pipeline.signals)
	}
	if response, body = send("alice", signed); response.StatusCode != http.StatusAccepted {
		t.Fatalf("answered %d %s", response.StatusCode, body)
	}
	got := s.pipeline.signals[0]
	if passed, ok := got.payload.(countersign.SignedDecision); !ok || got.name != countersign.SignalDecide || got.request != "PO-1" || passed.ID != "one" {
		t.Errorf("the signal is %+v", got)
	}
	if who, err := s.server.tenants["acme"].registry.VerifyBearer(t.Context(), strings.TrimPrefix(got.bearer, "Bearer "), time.Now()); err != nil || who != s.actor("alice") {
		t.Errorf("it went out as %v: %v", who, err)
	}
	if strings.Contains(s.log.String(), "proof") || strings.Contains(s.log.String(), "as+agreed") {
		t.Error("the log holds a proof or a reason")
	}
	s.pipeline.broken = errClosed
	saga.State = "ending"
	response, body = send("alice", signed)
	s.refusal(response, body, http.StatusConflict, "ended")
}

func TestNothingIsDoneWithoutAnActorsToken(t *testing.T) {
	t.Parallel()
	if headers, err := (actorCredential{}).GetHeaders(t.Context()); err == nil || headers != nil {
		t.Errorf("a call without an actor is sent with %v", headers)
	}
}

func TestTheInboxHoldsWhatWaitsForTheCaller(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	decided := s.open("PO-2")
	decided.Decided = []countersign.Actor{s.actor("alice")}
	s.pipeline.sagas["PO-2"] = decided
	later := s.open("PO-3")
	later.Stage, later.Open = "counsel", []string{"counsel"}
	s.pipeline.sagas["PO-3"] = later
	for who, want := range map[string][]string{"alice": {"PO-1"}, "hart/carol": {"PO-3"}, "procurement": nil, "hart/chris": nil, "nobody": nil} {
		_, body := s.call(http.MethodGet, "/v1/acme/inbox", s.token(who), nil, nil)
		var inbox client.Inbox
		if err := json.Unmarshal(body, &inbox); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range inbox.Waiting {
			got = append(got, w.Request)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s has %v, want %v", who, got, want)
		}
	}
}

func TestEventsTellEachChangeAndEnd(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	c, err := client.New(s.url, "acme", fixed(s.token("alice")))
	if err != nil {
		t.Fatal(err)
	}
	set := func(state string, outcome countersign.Outcome) func() {
		return func() {
			s.pipeline.mu.Lock()
			defer s.pipeline.mu.Unlock()
			custody := s.pipeline.custody["PO-1"]
			custody.State, custody.Outcome = state, outcome
			if state == client.StateDone {
				custody.Evidence = locked(outcome)
			}
			s.pipeline.custody["PO-1"] = custody
		}
	}
	var seen []string
	err = c.Watch(t.Context(), "PO-1", func(now client.Status) bool {
		seen = append(seen, now.State)
		switch now.State {
		case "approval":
			s.pipeline.steps <- set("sealing", countersign.Rejected)
		case "sealing":
			s.pipeline.steps <- func() {} // a step that changes nothing is not told
			s.pipeline.steps <- set("done", countersign.Rejected)
		}
		return true
	})
	if err != nil || strings.Join(seen, " ") != "approval sealing done" {
		t.Errorf("saw %v, %v", seen, err)
	}
}

func TestAClosingServerEndsItsStreams(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/acme/signings/PO-1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token("alice"))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); kind != eventStream {
		t.Errorf("the stream is %q", kind)
	}
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || lines.Text() != "event: status" {
		t.Fatalf("it begins with %q", lines.Text())
	}
	s.server.close()
	for lines.Scan() {
	}
	if lines.Err() != nil {
		t.Errorf("it broke: %v", lines.Err())
	}
}

func TestFilesAreTheOnesThatWereNamed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	response, body := s.call(http.MethodGet, "/v1/acme/signings/PO-1/document", s.token("hart/carol"), nil, nil)
	sum := sha256.Sum256([]byte("the document"))
	if response.StatusCode != http.StatusOK || string(body) != "the document" || response.Header.Get("Content-Type") != "application/pdf" ||
		response.Header.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" || !strings.HasPrefix(response.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the document came as %d %s %v", response.StatusCode, body, response.Header)
	}
	response, body = s.call(http.MethodGet, "/v1/acme/signings/PO-1/evidence", s.token("alice"), nil, nil)
	s.refusal(response, body, http.StatusConflict, "evidence-pending")

	custody := s.pipeline.custody["PO-1"]
	custody.State, custody.Outcome, custody.Evidence = "done", countersign.Completed, locked(countersign.Completed)
	s.pipeline.custody["PO-1"] = custody
	s.objects.stored["acme/evidence/PO-1.asice"] = []byte("bundle")
	response, body = s.call(http.MethodGet, "/v1/acme/signings/PO-1/evidence", s.token("alice"), nil, nil)
	if response.StatusCode != http.StatusOK || string(body) != "bundle" || response.Header.Get("Content-Type") != evidence.MediaType {
		t.Errorf("the evidence came as %d %s", response.StatusCode, body)
	}
	// A bundle that holds a signed PDF gives it out, with a digest of its own; one of an older version has none to give.
	golden, err := os.ReadFile("../../tests/golden/histories/v0.1.0/completed.asice")
	if err != nil {
		t.Fatal(err)
	}
	for want, bundle := range map[string][]byte{"%PDF-signed": bundleOf(t, "document-signed.pdf", "%PDF-signed"), "": golden} {
		o := custody.Evidence.Object
		o.SHA256 = countersign.SHA256(bundle)
		custody.Evidence.Object, s.objects.stored[o.Key] = o, bundle
		s.pipeline.custody["PO-1"] = custody
		response, body = s.call(http.MethodGet, "/v1/acme/signings/PO-1/signed", s.token("alice"), nil, nil)
		if want == "" {
			s.refusal(response, body, http.StatusConflict, "not-signed")
			continue
		}
		sum := sha256.Sum256([]byte(want))
		if response.StatusCode != http.StatusOK || string(body) != want || response.Header.Get("Content-Type") != "application/pdf" ||
			response.Header.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
			t.Errorf("the signed PDF came as %d %s %v", response.StatusCode, body, response.Header)
		}
	}
	s.objects.stored["acme/documents/x.pdf"] = []byte("another document")
	response, body = s.call(http.MethodGet, "/v1/acme/signings/PO-1/document", s.token("alice"), nil, nil)
	s.refusal(response, body, http.StatusBadGateway, "digest-mismatch")
}

// bundleOf is a container with one file, unsealed: whoever hands it out leaves judging it to its reader.
func bundleOf(t *testing.T, name, body string) []byte {
	t.Helper()
	files := []evidence.File{{Name: name, Bytes: []byte(body)}}
	manifest, err := evidence.Manifest(files)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := evidence.WriteBundle(&raw, files, manifest, []byte("no seal")); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func TestAPartThatIsDownIsSaidWithoutDetails(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	if response, body := s.call(http.MethodGet, "/readyz", "", nil, nil); response.StatusCode != http.StatusOK {
		t.Errorf("not ready: %s", body)
	}
	s.pipeline.broken = errors.New("secret host 10.0.0.7 refused")
	for _, path := range []string{"/v1/acme/signings/PO-1", "/v1/acme/inbox"} {
		response, body := s.call(http.MethodGet, path, s.token("alice"), nil, nil)
		s.refusal(response, body, http.StatusServiceUnavailable, "unavailable")
		if bytes.Contains(body, []byte("10.0.0.7")) || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s says %s", path, body)
		}
	}
	response, body := s.call(http.MethodGet, "/readyz", "", nil, nil)
	s.refusal(response, body, http.StatusServiceUnavailable, "not-ready")
	if response, _ := s.call(http.MethodGet, "/healthz", "", nil, nil); response.StatusCode != http.StatusOK {
		t.Error("the process is alive all the same")
	}
	if !strings.Contains(s.log.String(), "10.0.0.7") {
		t.Error("the log doesn't say what is down")
	}
}
