package evidence

import (
	"bytes"
	"compress/zlib"
	"crypto/elliptic"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/pades"
)

// sealedContract is the contract with what people approved of it: a visible seal.
func sealedContract(t testing.TB) ([]byte, ApprovedPDF) {
	t.Helper()
	document := contractPDF(t)
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	if _, err := z.Write(make([]byte, 3*4)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	approved := approvedOf(document)
	approved.Seal = &VisibleSeal{
		VisibleSeal: countersign.VisibleSeal{
			V: countersign.VisibleSealVersion, Page: "last", Corner: "bottom-right", X: 24, Y: 12, Width: 200, Height: 52, Name: "Acme Corporation", Color: "#0b6e4f",
			Logo: &countersign.Logo{Width: 2, Height: 2, Pixels: pixels.Bytes()},
		},
		Request: "PO-4711", Context: strings.Repeat("0123456789abcdef", 4),
	}
	return document, approved
}

// TestN2_ASealThatNobodyApprovedIsRefused signs with the right key, each time with something else to see. Which verifies only as what it is.
func TestN2_ASealThatNobodyApprovedIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	document, approved := sealedContract(t)
	sign := func(of ApprovedPDF) []byte {
		t.Helper()
		update, err := SignPDF(t.Context(), bytes.NewReader(document), of, w.signer, w.tsa)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(document, update)
	}
	verify := func(raw []byte, as ApprovedPDF) error {
		_, err := VerifyPDF(bytes.NewReader(raw), int64(len(raw)), as, w.roots)
		return err
	}
	signed := sign(approved)
	if err := verify(signed, approved); err != nil {
		t.Fatalf("as it was approved: %v", err)
	}
	for name, change := range map[string]func(*VisibleSeal){
		"another name":        func(s *VisibleSeal) { s.Name = "Acme Corp" },
		"another request":     func(s *VisibleSeal) { s.Request = "PO-4712" },
		"another transaction": func(s *VisibleSeal) { s.Context = strings.Repeat("f", 64) },
		"another colour":      func(s *VisibleSeal) { s.Color = "#0b6e4e" },
		"another corner":      func(s *VisibleSeal) { s.Corner = "top-right" },
		"a point beside":      func(s *VisibleSeal) { s.X++ },
		"covering the page":   func(s *VisibleSeal) { s.Width, s.Height = 500, 300 },
		"the first page":      func(s *VisibleSeal) { s.Page = "first" },
		"another logo":        func(s *VisibleSeal) { s.Logo = &countersign.Logo{Width: 4, Height: 1, Pixels: s.Logo.Pixels} },
		"no logo":             func(s *VisibleSeal) { s.Logo = nil },
	} {
		other := approved
		seal := *approved.Seal
		other.Seal = &seal
		change(&seal)
		if name == "the first page" { // the contract has one page: it is the same
			if err := verify(sign(other), approved); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if verify(sign(other), approved) == nil {
			t.Errorf("%s: it verifies", name)
		}
		if err := verify(sign(other), other); err != nil {
			t.Errorf("%s, approved so: %v", name, err)
		}
	}
	invisible := approved
	invisible.Seal = nil
	if verify(sign(invisible), approved) == nil {
		t.Error("the seal may be left out")
	}
	if verify(signed, invisible) == nil {
		t.Error("a seal may be added")
	}
}

// TestN2_EachFlippedByteOfASealIsFound flips one bit of each byte of what the update shows. Of the zeros behind the signature, the other test takes some.
func TestN2_EachFlippedByteOfASealIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	document, approved := sealedContract(t)
	update, err := SignPDF(t.Context(), bytes.NewReader(document), approved, w.signer, w.tsa)
	if err != nil {
		t.Fatal(err)
	}
	signed := slices.Concat(document, update)
	end := len(document) + bytes.Index(update, []byte("/ETSI.CAdES.detached"))
	for i := len(document); i < end; i += 13 {
		signed[i] ^= 1 << (i % 8)
		if _, err := VerifyPDF(bytes.NewReader(signed), int64(len(signed)), approved, w.roots); !errors.Is(err, pades.ErrAltered) {
			t.Errorf("byte %d of %d may be changed: %v", i, len(signed), err)
		}
		signed[i] ^= 1 << (i % 8)
	}
}

// A seal says what the evidence proves, and nothing of a person.
func TestASealSaysWhatTheEvidenceProves(t *testing.T) {
	t.Parallel()
	_, approved := sealedContract(t)
	drawn, err := approved.Seal.drawn(time.Date(2026, 11, 26, 15, 52, 13, 999, time.FixedZone("", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Acme Corporation", "Signed electronically", "Request PO-4711", "Intent to sign 2026-11-26 14:52:13 UTC", "Transaction 0123 4567 89ab cdef"}
	if !slices.Equal(drawn.Lines, want) {
		t.Errorf("it says %q", drawn.Lines)
	}
	for _, line := range want {
		if !strings.Contains(drawn.Description, line) {
			t.Errorf("who listens is not told %q", line)
		}
	}
}

// A seal that this build can't draw is an error, and never drawn in another way.
func TestM4_ASealOfALaterBuildIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*VisibleSeal){
		"another way":    func(s *VisibleSeal) { s.V++ },
		"another page":   func(s *VisibleSeal) { s.Page = "middle" },
		"no colour":      func(s *VisibleSeal) { s.Color = "green" },
		"no transaction": func(s *VisibleSeal) { s.Context = "abc" },
		"no name":        func(s *VisibleSeal) { s.Name = "" },
	} {
		document, approved := sealedContract(t)
		change(approved.Seal)
		w := newWorld(t, elliptic.P256())
		if _, err := SignPDF(t.Context(), bytes.NewReader(document), approved, w.signer, w.tsa); err == nil || w.signer.calls != 0 {
			t.Errorf("%s: %v, and the key was asked %d times", name, err, w.signer.calls)
		}
	}
}
