package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
)

// TestR02_OneContextFromRequestToEvidence finds the same context digest at every hop: in the status that people decide on, in each decision, in the
// locked intent, in the signing step, in mails and webhooks, and in the evidence.
func TestR02_OneContextFromRequestToEvidence(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)

	seen := map[string]string{"the ending": ending.Context, "the statement": report.Statement.ContextDigest, "the intent in the history": report.Statement.Intent.Context}
	digest, err := report.Statement.Context.Digest()
	if err != nil {
		t.Fatal(err)
	}
	seen["the context itself"] = digest
	c, err := evidence.ReadHistory(report.History)
	if err != nil {
		t.Fatal(err)
	}
	seen["the signing step"] = c.SignInput.Digest
	for _, d := range c.SignInput.Decisions {
		seen["the decision of "+d.Signed.Decision.Actor.String()] = d.Signed.Decision.Context
	}
	var intent evidence.Intent
	store, err := local.S3Client(t.Context(), "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := activities.ReadObject(t.Context(), store, "acme", *report.Statement.Intent.Stored, 1<<20)
	if err == nil {
		err = json.Unmarshal(raw, &intent)
	}
	if err != nil {
		t.Fatal(err)
	}
	seen["the locked intent"] = intent.Context
	// Other tests have people cover for these meanwhile, who are told as well.
	mails := slices.DeleteFunc(inMailbox(t, "api/messages", g.Request.ID), func(m json.RawMessage) bool { return strings.Contains(string(m), "because you cover for") })
	for _, m := range mails {
		if !strings.Contains(string(m), status.Context) {
			t.Errorf("a mail doesn't name the transaction: %s", m)
		}
	}
	// Two are asked in legal, two in counsel; four and the owner hear that it is signed, and again that it is released.
	if len(mails) != 14 {
		t.Errorf("%d mails came, want 14", len(mails))
	}
	for where, context := range seen {
		if context != status.Context || context == "" {
			t.Errorf("%s has the context %s, people decided on %s", where, context, status.Context)
		}
	}
}

// A receiver checks a webhook as the Standard Webhooks specification says, with the specification's own library.
func TestM4_WebhooksVerifyAsTheSpecificationSays(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Reject)
	_, report := ended(t, g, countersign.Rejected)
	secret, err := os.ReadFile(filepath.Join(local.Data, "webhooks", "acme.secret"))
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(secret)))
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, raw := range inMailbox(t, "api/webhooks", g.Request.ID) {
		var hook struct {
			Header http.Header     `json:"headers"`
			Body   json.RawMessage `json:"body"`
		}
		if err := json.Unmarshal(raw, &hook); err != nil {
			t.Fatal(err)
		}
		body := []byte(hook.Body)
		var text string
		if json.Unmarshal(body, &text) == nil {
			body = []byte(text)
		}
		if err := receiver.Verify(body, hook.Header); err != nil {
			t.Errorf("it doesn't verify: %v", err)
		}
		if receiver.Verify([]byte(strings.Replace(string(body), "acme", "acne", 1)), hook.Header) == nil {
			t.Error("it verifies with another body")
		}
		var event struct {
			Type string
			Data evidence.Event
		}
		if err := json.Unmarshal(body, &event); err != nil {
			t.Fatal(err)
		}
		if event.Data.Context != report.Statement.ContextDigest || event.Data.Tenant != "acme" {
			t.Errorf("it is about %+v", event.Data)
		}
		types = append(types, event.Type)
	}
	if got := strings.Join(types, " "); got != evidence.EventApprovalRequested+" "+evidence.EventEnded {
		t.Errorf("the events were %q", got)
	}
}

// inMailbox is what reached the mailbox about a request, oldest first.
func inMailbox(t *testing.T, path, request string) (found []json.RawMessage) {
	t.Helper()
	resp, err := http.Get(local.Mail.Page + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if strings.Contains(string(m), request) {
			found = append(found, m)
		}
	}
	return found
}

// subjects are those of the mails about a request, by recipient.
func subjects(t *testing.T, request string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, raw := range inMailbox(t, "api/messages", request) {
		var m struct {
			To      []string `json:"to"`
			Subject string   `json:"subject"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		for _, to := range m.To {
			found[to] = append(found[to], m.Subject)
		}
	}
	return found
}
