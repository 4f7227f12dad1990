package tests

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// TestM4_RefusedAtIntakeWithAReasonAndEvidence starts what must not become a signing, straight from a Temporal client, past every check
// that the API makes. Each ends refused, says why, and leaves a bundle that verifies.
func TestM4_RefusedAtIntakeWithAReasonAndEvidence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(t *testing.T, r *countersign.Request)
		code   string
		says   string
	}{
		{"not a PDF", document([]byte("PK\x03\x04 this is a word document")), "not-a-pdf", "doesn't begin with %PDF-"},
		{"empty", document(nil), "document-empty", "0 bytes"},
		{"broken", document([]byte("%PDF-1.7\nnothing follows\n")), "pdf-broken", "open it and save it again"},
		{"no pages", document(withoutPages()), "pdf-no-pages", "the PDF has no pages"},
		{"encrypted", func(t *testing.T, r *countersign.Request) { document(encrypted(t, "user", "owner"))(t, r) }, "pdf-encrypted", "take the password off"},
		{"encrypted for its owner alone", func(t *testing.T, r *countersign.Request) { document(encrypted(t, "", "owner"))(t, r) }, "pdf-encrypted", "take the password off"},
		{"over the size limit", document(make([]byte, 50<<20+1)), "document-too-large", "at most 52428800 are allowed"},
		{"another digest", func(_ *testing.T, r *countersign.Request) { r.Document.SHA256 = strings.Repeat("0", 64) }, "digest-mismatch", "not the document that was meant"},
		{"no such document", func(_ *testing.T, r *countersign.Request) { r.Document.Key = "acme/documents/none.pdf" }, "no-document", "no such document"},
		{"document of another tenant", func(_ *testing.T, r *countersign.Request) { r.Document.Key = "globex/documents/x.pdf" }, "bad-request", `must start with the tenant's prefix "acme/"`},
		{"another bucket", func(_ *testing.T, r *countersign.Request) { r.Document.Bucket = "evidence" }, "wrong-bucket", `the bucket "documents"`},
		{"unknown purpose", func(_ *testing.T, r *countersign.Request) { r.Purpose = "world-domination" }, "unknown-purpose", "it has board-resolution, internal-policy"},
		{"past deadline", func(_ *testing.T, r *countersign.Request) {
			r.Deadlines = map[string]time.Time{"legal": time.Now().Add(-time.Hour)}
		}, "past-deadline", "give a later one"},
		{"unknown stage", func(_ *testing.T, r *countersign.Request) {
			r.Deadlines = map[string]time.Time{"board": time.Now().Add(time.Hour)}
		}, "unknown-stage", `the stage "board"`},
		{"no title", func(_ *testing.T, r *countersign.Request) { r.Title = " " }, "bad-request", "title: is empty"},
		{"of another version", func(_ *testing.T, r *countersign.Request) { r.V = 7 }, "bad-request", "v: is 7, this build reads 1"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			r := request(t, "acme", "supplier-contract")
			c.change(t, &r)
			_, report := ended(t, begin(t, r), countersign.Refused)
			if got := report.Statement.Intake.Refusal; got.Code != c.code || !strings.Contains(got.Message, c.says) {
				t.Errorf("refused as %q: %q\nwant %q with %q", got.Code, got.Message, c.code, c.says)
			}
		})
	}
}

// Whoever asked hears what was wrong, as the owner does.
func TestM4_WhomIntakeRefusesIsTold(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "supplier-contract")
	document([]byte("PK this is a word document"))(t, &r)
	g, err := local.Begin(t.Context(), "acme/ben", r)
	if err != nil {
		t.Fatal(err)
	}
	_, report := ended(t, g, countersign.Refused)
	if d := delivery(t, report, local.Actor("acme/ben").String()); !d.Delivered || d.Event != evidence.EventEnded {
		t.Errorf("ben was told: %+v", d)
	}
}

// document replaces the request's document.
func document(body []byte) func(*testing.T, *countersign.Request) {
	return func(t *testing.T, r *countersign.Request) {
		t.Helper()
		d, err := local.Upload(t.Context(), r.Tenant, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Document = d
	}
}

// withoutPages is a PDF in good order that has no page.
func withoutPages() []byte {
	text := "%PDF-1.7\n"
	var places []any
	for _, object := range []string{"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n", "2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n"} {
		places = append(places, len(text))
		text += object
	}
	table := len(text)
	text += fmt.Sprintf("xref\n0 3\n0000000000 65535 f \n%010d 00000 n \n%010d 00000 n \n", places...)
	return []byte(text + fmt.Sprintf("trailer\n<</Size 3/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", table))
}

func encrypted(t *testing.T, user, owner string) []byte {
	t.Helper()
	api.DisableConfigDir()
	var out bytes.Buffer
	if err := api.Encrypt(bytes.NewReader(pdf(t)), &out, model.NewAESConfiguration(user, owner, 256)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Paul may request. He may not request what he then approves, though he holds the role; Gina, who holds it too, may approve it.
func TestR19_TheRequesterIsNotAnApprover(t *testing.T) {
	faultyWorkers(t, "roles: [legal, owner, board]", "roles: [legal, owner, board, finance]")
	g, err := local.Begin(t.Context(), "globex/paul", request(t, "globex", "internal-policy"))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, g, record(t, g, decide(t, g, "globex/paul", "finance", countersign.Approve)), "requester-is-not-approver", "whoever requested a signing can't approve")
	decide(t, g, "globex/gina", "finance", countersign.Approve)
	ended(t, g, countersign.Completed)
}

// TestR19_RefusedWhereTooFewAreLeftToApprove starts what nobody could ever approve, because whoever would have to is its requester, or
// is needed twice: it is refused at once, and does not wait for its deadline.
func TestR19_RefusedWhereTooFewAreLeftToApprove(t *testing.T) {
	for _, c := range []struct {
		name, who, purpose string
		replace            []string
		says               string
	}{
		{"its requester alone", "globex/paul", "internal-policy", nil,
			`stage "finance" needs 1 approvals, but only 0 people hold the role "finance" beside the requester, who can't approve`},
		{"one person for two stages", "globex/paul", "supplier-contract",
			[]string{"roles: [legal, owner, board]", "roles: [legal, owner, board, counsel]", "roles: [counsel, board]", "roles: [board]", "roles: [finance, requester, duty-officer]", "roles: [finance, requester, duty-officer, counsel]"},
			`stages "legal" and "counsel" need 2 approvals together, but only 1 people hold their roles beside the requester, who can't approve`},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			faultyWorkers(t, c.replace...)
			g, err := local.Begin(t.Context(), c.who, request(t, "globex", c.purpose))
			if err != nil {
				t.Fatal(err)
			}
			_, report := ended(t, g, countersign.Refused)
			if got := report.Statement.Intake.Refusal; got.Code != "quorum-too-large" || !strings.Contains(got.Message, c.says) {
				t.Errorf("refused as %q: %q\nwant quorum-too-large with %q", got.Code, got.Message, c.says)
			}
		})
	}
}
