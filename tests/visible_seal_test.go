package tests

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Acme's file asks for a visible seal: people approve it with the context, and the signed PDF shows it. A document whose page is too small for it is
// signed invisibly, and the evidence says why.
func TestN2_ASignedPDFShowsTheSealThatPeopleApproved(t *testing.T) {
	t.Parallel()
	whole := pdf(t)
	for name, c := range map[string]struct {
		body   []byte
		noSeal string
	}{
		"seen":       {whole, ""},
		"too narrow": {bytes.Replace(whole, []byte("594.95996"), []byte("094.95996"), 1), "too small"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			r := request(t, "acme", "supplier-contract")
			var err error
			if r.Document, err = local.Upload(t.Context(), "acme", c.body); err != nil {
				t.Fatal(err)
			}
			g := begin(t, r)
			decide(t, g, "acme/alice", "legal", countersign.Approve)
			decide(t, g, "hart/carol", "counsel", countersign.Approve)
			ending, report := ended(t, g, countersign.Completed)
			s := report.Statement
			if said := s.Intake.Document.NoSeal; (said == "") != (c.noSeal == "") || !strings.Contains(said, c.noSeal) {
				t.Errorf("intake says %q, want %q", said, c.noSeal)
			}
			b, err := evidence.OpenBundle(bundle(t, "acme", ending))
			if err != nil {
				t.Fatal(err)
			}
			signed, _ := b.File("document-signed.pdf")
			update := signed[len(c.body):]
			seal := s.Context.VisibleSeal
			if c.noSeal != "" {
				if seal != nil || bytes.Contains(update, []byte("/AP ")) || !bytes.Contains(update, []byte("/Rect [ 0 0 0 0 ]")) {
					t.Errorf("it shows something: %+v", seal)
				}
				return
			}
			if seal == nil || seal.Name != "Acme Corporation" || seal.Color != "#0b6e4f" || seal.Logo == nil || !bytes.Contains(update, seal.Logo.Pixels) || !bytes.Contains(update, []byte("/AP ")) {
				t.Errorf("people approved %+v, and the update doesn't show it", seal)
			}
		})
	}
}
