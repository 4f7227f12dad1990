package countersign_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

func goodDocument() countersign.Document {
	return countersign.Document{Bucket: "acme-documents", Key: "acme/documents/one.pdf", VersionID: "v1", SHA256: strings.Repeat("0f", 32)}
}

func goodRequest() countersign.Request {
	return countersign.Request{V: 1, Tenant: "acme", ID: "PO-4711", Purpose: "supplier-contract", Title: "Frame contract", Document: goodDocument()}
}

func TestRequestCheck(t *testing.T) {
	t.Parallel()
	if err := goodRequest().Check(); err != nil {
		t.Fatalf("a good request: %v", err)
	}
	for _, c := range []struct {
		name, message string
		change        func(*countersign.Request)
	}{
		{"no version", "v: is 0", func(r *countersign.Request) { r.V = 0 }},
		{"later version", "v: is 2, this build reads 1", func(r *countersign.Request) { r.V = 2 }},
		{"no tenant", "tenant", func(r *countersign.Request) { r.Tenant = "" }},
		{"tenant with a slash", "tenant", func(r *countersign.Request) { r.Tenant = "acme/x" }},
		{"tenant with a line end", "tenant", func(r *countersign.Request) { r.Tenant = "acme\n" }},
		{"no id", "request id", func(r *countersign.Request) { r.ID = "" }},
		{"id with a slash", "request id", func(r *countersign.Request) { r.ID = "../PO" }},
		{"id with a line end", "request id", func(r *countersign.Request) { r.ID = "PO\n" }},
		{"id that starts with a dot", "request id", func(r *countersign.Request) { r.ID = ".." }},
		{"id of 81 characters", "request id", func(r *countersign.Request) { r.ID = strings.Repeat("x", 81) }},
		{"purpose", "purpose", func(r *countersign.Request) { r.Purpose = "Supplier Contract" }},
		{"no title", "title: is empty", func(r *countersign.Request) { r.Title = " \t" }},
		{"title of 201 characters", "title: has 201 characters, at most 200", func(r *countersign.Request) { r.Title = strings.Repeat("é", 201) }},
		{"title with a bell", "title: has a control character (U+0007)", func(r *countersign.Request) { r.Title = "a\x07" }},
		{"title with DEL", "control character (U+007F)", func(r *countersign.Request) { r.Title = "a\x7f" }},
		{"title with a return", "control character (U+000D)", func(r *countersign.Request) { r.Title = "a\r\nBcc: x" }},
		{"title of broken UTF-8", "not valid UTF-8", func(r *countersign.Request) { r.Title = "a\xff" }},
		{"21 deadlines", "at most 20 stages", func(r *countersign.Request) {
			r.Deadlines = map[string]time.Time{}
			for i := range 21 {
				r.Deadlines[string(rune('a'+i))] = start
			}
		}},
		{"document without bucket", "bucket and key", func(r *countersign.Request) { r.Document.Bucket = "" }},
		{"document without key", "bucket and key", func(r *countersign.Request) { r.Document.Key = "" }},
		{"document with a long key", "longer than S3 allows", func(r *countersign.Request) { r.Document.Key = "acme/" + strings.Repeat("k", 1020) }},
		{"document with a long bucket", "longer than S3 allows", func(r *countersign.Request) { r.Document.Bucket = strings.Repeat("b", 64) }},
		{"document without version", "versionId is needed", func(r *countersign.Request) { r.Document.VersionID = "" }},
		{"document without digest", "64 lower-case hex", func(r *countersign.Request) { r.Document.SHA256 = "" }},
		{"document digest in capitals", "64 lower-case hex", func(r *countersign.Request) { r.Document.SHA256 = strings.Repeat("0F", 32) }},
		{"document digest with a line end", "64 lower-case hex", func(r *countersign.Request) { r.Document.SHA256 += "\n" }},
		{"document of another tenant", `prefix "acme/"`, func(r *countersign.Request) { r.Document.Key = "globex/documents/one.pdf" }},
		{"document of another tenant by a detour", "no empty step and none of one or two dots", func(r *countersign.Request) { r.Document.Key = "acme/../globex/documents/one.pdf" }},
		{"document of a tenant whose name starts alike", `prefix "acme/"`, func(r *countersign.Request) { r.Document.Key = "acme-two/one.pdf" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := goodRequest()
			c.change(&r)
			err := r.Check()
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.message) {
				t.Errorf("%q doesn't say %q", err, c.message)
			}
		})
	}
}

func TestRequestCheckAcceptsTheLimits(t *testing.T) {
	t.Parallel()
	r := goodRequest()
	r.ID, r.Title = strings.Repeat("x", 80), strings.Repeat("é", 200)
	r.Document.Key = "acme/" + strings.Repeat("k", 1019)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

func TestErrorsDoNotRepeatWhatAStrangerSentAtLength(t *testing.T) {
	t.Parallel()
	r := goodRequest()
	r.ID = strings.Repeat("x", 1<<20)
	if err := r.Check(); err == nil || len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

func TestWithdrawalCheck(t *testing.T) {
	t.Parallel()
	if err := (countersign.Withdrawal{ID: "w1", Reason: "wrong document"}).Check(); err != nil {
		t.Error(err)
	}
	for name, w := range map[string]countersign.Withdrawal{
		"no id": {Reason: "x"}, "bad id": {ID: "a/b"}, "long reason": {ID: "w1", Reason: strings.Repeat("x", 2001)}, "control character": {ID: "w1", Reason: "\x00"},
	} {
		if w.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWorkflowIDsComeApartAgain(t *testing.T) {
	t.Parallel()
	tenant, request, ok := countersign.ParseSagaID(countersign.SagaID("acme", "PO-4711"))
	if !ok || tenant != "acme" || request != "PO-4711" {
		t.Errorf("got %s, %s, %v", tenant, request, ok)
	}
	for _, id := range []string{"", "saga/acme", "signing/acme/PO", "saga/acme/PO/x", "saga//PO", "saga/acme/", "saga/Acme/PO", countersign.CustodianID("acme", "PO")} {
		if _, _, ok := countersign.ParseSagaID(id); ok {
			t.Errorf("%q is taken for a saga", id)
		}
	}
}

func TestEveryOutcomeHasAMeaning(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, o := range []countersign.Outcome{
		countersign.Completed, countersign.Rejected, countersign.Expired, countersign.Withdrawn, countersign.Refused,
		countersign.Revoked, countersign.Failed, countersign.Voided, countersign.Terminated,
	} {
		if !o.Valid() || seen[o.Meaning()] {
			t.Errorf("%s: %q", o, o.Meaning())
		}
		seen[o.Meaning()] = true
	}
	if countersign.Outcome("done").Valid() || countersign.Outcome("").Valid() {
		t.Error("an unknown outcome is valid")
	}
}
