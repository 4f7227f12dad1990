package certificate

import (
	"bytes"
	"crypto/x509"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/certificate/pdf"
)

var update = flag.Bool("update", false, "write the golden file anew")

const released = "../../tests/golden/histories/v0.1.0/"

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func pool(t *testing.T, name string) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(read(t, name)) {
		t.Fatalf("%s has no certificate", name)
	}
	return p
}

func rootsOfReleased(t *testing.T) evidence.Roots {
	t.Helper()
	return evidence.Roots{Signers: pool(t, released+"tenant-ca.pem"), TSAs: pool(t, released+"tsa-ca.pem")}
}

func ofReleased(t *testing.T) *Certificate {
	t.Helper()
	c, err := Of(read(t, released+"completed.asice"), rootsOfReleased(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func twinOf(t *testing.T, c *Certificate) []byte {
	t.Helper()
	raw, err := c.Twin()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func pageOf(t *testing.T, c *Certificate) []byte {
	t.Helper()
	raw, err := c.PDF()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestR15_ACertificateTellsAReleasedBundle(t *testing.T) {
	t.Parallel()
	got := twinOf(t, ofReleased(t))
	const file = "testdata/certificate.json"
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, read(t, file)) {
		t.Errorf("the twin is not as in %s:\n%s", file, got)
	}
}

func TestR15_ACertificateIsTheSameBytesEachTimeAndHoldsItsTwin(t *testing.T) {
	t.Parallel()
	page := pageOf(t, ofReleased(t))
	if !bytes.Equal(page, pageOf(t, ofReleased(t))) {
		t.Error("the same bundle makes two different pages")
	}
	if err := api.Validate(bytes.NewReader(page), model.NewDefaultConfiguration()); err != nil {
		t.Fatalf("pdfcpu doesn't take it: %v", err)
	}
	attached, err := api.ExtractAttachmentsRaw(bytes.NewReader(page), "", nil, model.NewDefaultConfiguration())
	if err != nil || len(attached) != 1 {
		t.Fatalf("%d attachments, %v", len(attached), err)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(attached[0]); err != nil {
		t.Fatal(err)
	}
	if attached[0].FileName != TwinName || !bytes.Equal(body.Bytes(), twinOf(t, ofReleased(t))) {
		t.Errorf("the file has %s attached, which is not its twin", attached[0].FileName)
	}
}

// A bundle that doesn't hold is not told, not even in part.
func TestR15_NoCertificateIsMadeOfWhatDoesNotVerify(t *testing.T) {
	t.Parallel()
	whole := read(t, released+"completed.asice")
	changed := slices.Clone(whole)
	changed[len(changed)/2] ^= 1
	for name, try := range map[string]struct {
		raw   []byte
		roots evidence.Roots
	}{
		"a changed byte": {changed, rootsOfReleased(t)},
		"other roots":    {whole, evidence.Roots{Signers: pool(t, released+"tsa-ca.pem"), TSAs: pool(t, released+"tenant-ca.pem")}},
		"a sealed container without a history": {
			read(t, "../testdata/sealed.asice"), evidence.Roots{Signers: pool(t, "../testdata/sealed-signers.pem"), TSAs: pool(t, "../testdata/sealed-tsas.pem")},
		},
	} {
		if c, err := Of(try.raw, try.roots); err == nil {
			t.Errorf("%s: a certificate of %s was made", name, c.Request)
		}
	}
}

func told(blocks []pdf.Block) string {
	var out strings.Builder
	for _, b := range blocks {
		switch b := b.(type) {
		case pdf.Heading:
			out.WriteString(b.Text + "\n")
		case pdf.Paragraph:
			out.WriteString(b.Text + "\n")
		case pdf.Table:
			out.WriteString(strings.Join(b.Head, " | ") + "\n")
			for _, row := range b.Rows {
				out.WriteString(strings.Join(row, " | ") + "\n")
			}
		}
	}
	return out.String()
}

// What the twin says of authority, refusals and bounces has to be on the page for people as well.
func TestR13_ThePageTellsGrantsRefusalsAndBounces(t *testing.T) {
	t.Parallel()
	c := ofReleased(t)
	c.Outcome, c.Meaning = countersign.Rejected, countersign.Rejected.Meaning()
	c.Decisions[1].OnBehalfOf = &Person{Actor: "https://id.acme.example#h", Name: "Holder", Organisation: "Acme"}
	c.Decisions[1].Grants = []string{"digest-of-the-grant"}
	c.Grants = []Grant{{Digest: "digest-of-the-grant", From: *c.Decisions[1].OnBehalfOf, To: c.Decisions[1].By, Role: "counsel", For: "request X", Reason: "away"}}
	c.Decisions = append(c.Decisions, Decision{By: Person{Actor: "https://id.other.example#x"}, Verdict: countersign.Approve, Refusal: countersign.Refuse("not-eligible", "not one of them")})
	c.Missed = []evidence.Delivery{{Recipient: "https://id.acme.example#gone", Event: evidence.EventApprovalRequested, Attempts: 4, Problem: "no such mailbox"}}
	page := told(c.blocks())
	for _, want := range []string{
		"Certificate of an ending: rejected\n", "On behalf of | Holder (Acme), https://id.acme.example#h", "Grant 1: from Holder to Carol Hart", "Under grants | digest-of-the-grant",
		"1 more were sent and did not count", "not-eligible: not one of them", "https://id.acme.example#gone | approval.requested | 4 | no such mailbox", c.Bundle.SHA256, "Decision 3: did not count",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
	if strings.Contains(page, "Certificate of completion") {
		t.Error("a rejected request is called completed")
	}
}

func TestR15_CharactersThatCanNotBeShownAreNamed(t *testing.T) {
	t.Parallel()
	c := ofReleased(t)
	c.Title = "Ελληνικά, Иван, 株式会社, 김철수, \u202egnp, محمد"
	page, missing, err := pdf.Write(pdf.Document{Title: "x", Language: "en", Blocks: c.blocks()})
	if err != nil || len(page) == 0 {
		t.Fatal(err)
	}
	// The four letters of the name are three different ones; the mark that turns text round is named, too.
	if got, want := string(missing), "حدم\u202e"; got != want {
		t.Errorf("%U could not be shown, want %U", missing, []rune(want))
	}
	if list := told(unshown(missing)); !strings.Contains(list, "U+062D, U+062F, U+0645, U+202E") {
		t.Errorf("the page names %s", list)
	}
	if !bytes.Contains(twinOf(t, c), []byte("محمد")) {
		t.Error("the twin doesn't hold the name")
	}
}

// What was refused at intake has no plan, no decisions, and perhaps no requester: it is said, and the page stays one that archives take.
func TestR13_APageOfWhatWasNeverAdmitted(t *testing.T) {
	t.Parallel()
	c := ofReleased(t)
	c.Outcome, c.Meaning, c.Detail = countersign.Refused, countersign.Refused.Meaning(), "not-a-pdf: the document is no PDF"
	c.Plan, c.Requester, c.Decisions, c.Controls, c.Log, c.Document.Bytes, c.Times = nil, nil, nil, nil, nil, 0, c.Times[1:]
	page := told(c.blocks())
	for _, want := range []string{"Certificate of an ending: refused\n", "Nobody: no decision counted.", "The request was not admitted, so there is no plan.", "not-a-pdf", "Requested by | not recorded", "Size | not recorded"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't say %q:\n%s", want, page)
		}
	}
	raw := pageOf(t, c)
	if err := api.Validate(bytes.NewReader(raw), model.NewDefaultConfiguration()); err != nil {
		t.Error(err)
	}
}
