package tests

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// The operator of the server, with the tenant's real key, signs PDFs that show more than what was approved, or brings the signature in a form
// that people did not approve. Each is as consistent as it can be, and the verifier finds each.
func TestR13_ASignedPDFHoldsNothingThatNobodyApproved(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	original, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := local.KMSClient(t.Context(), "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	signer, stamper := operator{keys, local.Tenants["acme"].KeyARN, sealChain(t), nil}, evidence.NewTSAClient(local.TSA.URL, roots.TSAs, nil)
	was, document := report.Statement.Signature, approvedPart(report, original)
	signed, _ := original.File("document-signed.pdf")

	// by is the bundle with another signed PDF, of which the history says that the signing step stored it.
	by := func(t *testing.T, body []byte, at time.Time) []byte {
		t.Helper()
		history := proto.Clone(report.History).(*historypb.History)
		everywhere(was.Object.SHA256, countersign.SHA256(body))(t, history)
		everywhere(`"at":"`+was.At.Format(time.RFC3339Nano)+`"`, `"at":"`+at.Format(time.RFC3339Nano)+`"`)(t, history)
		return reseal(t, original, history, countersign.Completed, func(_ *testing.T, f map[string][]byte) { f["document-signed.pdf"] = body })
	}
	// again signs anew, over what the operator likes, and claims the time that they like.
	againWith := func(t *testing.T, body []byte, claimed time.Time, seal *evidence.VisibleSeal) ([]byte, time.Time) {
		t.Helper()
		of := evidence.ApprovedPDF{Bytes: int64(len(body)), SHA256: countersign.SHA256(body), At: claimed, Seal: seal}
		update, err := evidence.SignPDF(t.Context(), bytes.NewReader(body), of, signer, stamper)
		if err != nil {
			t.Fatal(err)
		}
		whole := slices.Concat(body, update)
		facts, err := evidence.VerifyPDF(bytes.NewReader(whole), int64(len(whole)), of, roots)
		if err != nil {
			t.Fatal(err)
		}
		return whole, facts.StampTime.UTC()
	}
	again := func(t *testing.T, body []byte, claimed time.Time) ([]byte, time.Time) {
		t.Helper()
		return againWith(t, body, claimed, sealOf(report))
	}

	// looking signs the document anew, with a seal that nobody approved.
	looking := func(change func(*evidence.VisibleSeal)) func(*testing.T) ([]byte, time.Time) {
		return func(t *testing.T) ([]byte, time.Time) {
			seal := sealOf(report)
			if change(seal); *seal == (evidence.VisibleSeal{}) {
				seal = nil
			}
			return againWith(t, document, report.Statement.Intent.At, seal)
		}
	}

	t.Run("the same, signed anew", func(t *testing.T) {
		body, at := again(t, document, report.Statement.Intent.At)
		verified(t, by(t, body, at), countersign.Completed)
	})
	for name, forged := range map[string]func(*testing.T) ([]byte, time.Time){
		"something between document and signature": func(t *testing.T) ([]byte, time.Time) {
			return again(t, append(bytes.Clone(document), "% a page that nobody saw\n"...), report.Statement.Intent.At)
		},
		"an update before the signature": func(t *testing.T) ([]byte, time.Time) {
			return again(t, signed, report.Statement.Intent.At)
		},
		"another claimed time": func(t *testing.T) ([]byte, time.Time) {
			return again(t, document, report.Statement.Intent.At.Add(-24*time.Hour))
		},
		"a seal with another name":        looking(func(s *evidence.VisibleSeal) { s.Name = "Globex GmbH" }),
		"a seal of another request":       looking(func(s *evidence.VisibleSeal) { s.Request = "PO-1" }),
		"a seal of another transaction":   looking(func(s *evidence.VisibleSeal) { s.Context = countersign.SHA256(nil) }),
		"a seal in another colour":        looking(func(s *evidence.VisibleSeal) { s.Color = "#ff0000" }),
		"a seal without the logo":         looking(func(s *evidence.VisibleSeal) { s.Logo = nil }),
		"a seal in another place":         looking(func(s *evidence.VisibleSeal) { s.Corner = "top-left" }),
		"a seal that covers the document": looking(func(s *evidence.VisibleSeal) { s.Width, s.Height = 500, 300 }),
		"no seal":                         looking(func(s *evidence.VisibleSeal) { *s = evidence.VisibleSeal{} }),
		"something behind the signature": func(*testing.T) ([]byte, time.Time) {
			return append(bytes.Clone(signed), "% a page that nobody saw\n"...), was.At
		},
		"something in the place of the signature": func(*testing.T) ([]byte, time.Time) {
			body := bytes.Clone(signed)
			body[bytes.LastIndex(body, []byte("0> >>"))] = '1'
			return body, was.At
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			body, at := forged(t)
			wantFailed(t, evidence.Verify(by(t, body, at), roots), "document signature")
		})
	}

	beside := func(t *testing.T, change func(*testing.T, *historypb.History)) *evidence.Report {
		t.Helper()
		cms, err := evidence.SignDetached(t.Context(), document, signer, stamper, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		facts, err := evidence.VerifyDetached(document, cms, roots)
		if err != nil {
			t.Fatal(err)
		}
		history := proto.Clone(report.History).(*historypb.History)
		everywhere(was.Object.SHA256, countersign.SHA256(cms))(t, history)
		everywhere(`"at":"`+was.At.Format(time.RFC3339Nano)+`"`, `"at":"`+facts.StampTime.UTC().Format(time.RFC3339Nano)+`"`)(t, history)
		change(t, history)
		return evidence.Verify(reseal(t, original, history, countersign.Completed, func(_ *testing.T, f map[string][]byte) {
			delete(f, "document-signed.pdf")
			f["document.pdf"], f["document.p7s"] = document, cms
		}), roots)
	}
	t.Run("a signature beside the document, as old builds made it", func(t *testing.T) {
		wantFailed(t, beside(t, func(*testing.T, *historypb.History) {}), "document")
	})
	t.Run("another seal, as if people had approved that", func(t *testing.T) {
		seal := sealOf(report)
		seal.Name = "Globex GmbH"
		forge := func(t *testing.T, h *historypb.History) {
			everywhere(`"name":"`+sealOf(report).Name+`","color"`, `"name":"Globex GmbH","color"`)(t, h)
			digestsAnew(t, h)
		}
		probe := proto.Clone(report.History).(*historypb.History)
		forge(t, probe)
		c, err := evidence.ReadHistory(probe)
		if err != nil {
			t.Fatal(err)
		}
		seal.Context = c.Admission.Digest
		body, at := againWith(t, document, report.Statement.Intent.At, seal)
		history := proto.Clone(report.History).(*historypb.History)
		everywhere(was.Object.SHA256, countersign.SHA256(body))(t, history)
		everywhere(`"at":"`+was.At.Format(time.RFC3339Nano)+`"`, `"at":"`+at.Format(time.RFC3339Nano)+`"`)(t, history)
		forge(t, history)
		wantFailed(t, evidence.Verify(reseal(t, original, history, countersign.Completed, func(_ *testing.T, f map[string][]byte) { f["document-signed.pdf"] = body }), roots), "decisions")
	})
	t.Run("and as if people had approved that", func(t *testing.T) {
		wantFailed(t, beside(t, func(t *testing.T, h *historypb.History) {
			everywhere(`,"signedAs":"`+countersign.SignedInPDF+`"`, "")(t, h)
			digestsAnew(t, h)
		}), "decisions")
	})
}

// sealOf is the visible seal that people approved.
func sealOf(report *evidence.Report) *evidence.VisibleSeal {
	s := report.Statement
	return evidence.VisibleSealOf(*s.Context, s.ContextDigest, s.Request.ID)
}

// wantFailed wants this check to fail first.
func wantFailed(t *testing.T, report *evidence.Report, check string) {
	t.Helper()
	for _, f := range report.Findings {
		if f.State == evidence.Fail {
			if f.Check == "outcome" && strings.Contains(f.Detail, "another time than the server") {
				continue // on a busy machine the forgery is signed more than a minute later
			}
			if f.Check != check {
				t.Errorf("found first by %q (%s), want %q", f.Check, f.Detail, check)
			}
			return
		}
	}
	t.Error("the forged bundle verifies")
}

// approvedPart is the document that people approved, out of the signed PDF.
func approvedPart(report *evidence.Report, b *evidence.Bundle) []byte {
	signed, _ := b.File("document-signed.pdf")
	return bytes.Clone(signed[:report.Statement.Intake.Document.Bytes])
}
