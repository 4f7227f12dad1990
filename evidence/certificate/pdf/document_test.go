package pdf

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"github.com/countersign-dev/countersign/evidence/pades"
	"github.com/countersign-dev/countersign/evidence/truetype"
)

func document(blocks ...Block) Document {
	return Document{Title: "T", Subject: "S", Language: "en", Footer: "F", Created: time.Unix(1_800_000_000, 0), Blocks: blocks}
}

func pagesOf(t *testing.T, raw []byte) int {
	t.Helper()
	n, err := api.PageCount(bytes.NewReader(raw), model.NewDefaultConfiguration())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestALongRowGoesOnOverPages(t *testing.T) {
	t.Parallel()
	row := []string{"name", strings.Repeat("word ", 6000)}
	raw, _, err := Write(document(Heading{1, "H"}, Table{Rows: [][]string{row}, Widths: []float64{0.3, 0.7}}))
	if err != nil {
		t.Fatal(err)
	}
	if n := pagesOf(t, raw); n < 4 {
		t.Errorf("6,000 words stand on %d pages", n)
	}
}

func TestStructureThatListenersCanNotFollowIsRefused(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]Document{
		"no heading":            document(Paragraph{"p"}),
		"a skipped level":       document(Heading{1, "a"}, Heading{3, "c"}),
		"a first of level 2":    document(Heading{2, "a"}),
		"a row short of a cell": document(Heading{1, "a"}, Table{Rows: [][]string{{"a"}}, Widths: []float64{0.5, 0.5}}),
		"a table without rows":  document(Heading{1, "a"}, Table{Widths: []float64{1}}),
		"too much text":         document(Heading{1, "a"}, Paragraph{strings.Repeat("x", maxText+1)}),
	} {
		if _, _, err := Write(d); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestWrappedLinesAreTheTextAgain(t *testing.T) {
	t.Parallel()
	f, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	text := "one two " + strings.Repeat("0123456789abcdef", 20) + " three  four"
	lines := newLayout(f).wrap(text, 200, body, false)
	if got := strings.Join(lines, ""); got != text || len(lines) < 5 {
		t.Errorf("%d lines say %q", len(lines), got)
	}
}

// What a subset shows is what the whole font shows, also of characters that are made of others.
func TestASubsetKeepsItsOutlines(t *testing.T) {
	t.Parallel()
	f, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, whole := range []*truetype.Font{f.regular, f.bold, f.east} {
		s := truetype.NewSubset(whole)
		for _, r := range "Aé1一한" {
			if whole.Glyph(r) != 0 {
				s.Number(r)
			}
		}
		small, err := truetype.Parse("small", s.Bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for n, r := range s.Runes[1:] {
			compared += sameOutline(t, whole, small, whole.Glyph(r), n+1)
			if small.Width(n+1) != whole.Width(whole.Glyph(r)) {
				t.Errorf("%s: %c has another width", whole.Name, r)
			}
		}
	}
	if compared < 12 { // 3 + 3 + 2 characters, and the two parts of é, twice
		t.Errorf("only %d outlines were compared", compared)
	}
}

// sameOutline compares outlines with all that they are made of, and returns how many those are.
func sameOutline(t *testing.T, whole, small *truetype.Font, a, b int) int {
	t.Helper()
	want, got := slices.Clone(whole.Outline(a)), slices.Clone(small.Outline(b))
	parts := map[int][2]int{}
	truetype.EachComponent(want, func(at int) {
		parts[at] = [2]int{int(binary.BigEndian.Uint16(want[at:])), int(binary.BigEndian.Uint16(got[at:]))}
		binary.BigEndian.PutUint16(want[at:], 0)
		binary.BigEndian.PutUint16(got[at:], 0)
	})
	if len(want) == 0 || !bytes.Equal(bytes.TrimRight(got, "\x00"), bytes.TrimRight(want, "\x00")) {
		t.Errorf("%s: glyph %d is not glyph %d", whole.Name, b, a)
	}
	n := 1
	for _, pair := range parts {
		n += sameOutline(t, whole, small, pair[0], pair[1])
	}
	return n
}

var update = flag.Bool("update", false, "write the font of visible seals anew")

// The font of visible seals has outlines of ours alone, each in the place of its character. It never changes: seals of before would look otherwise.
func TestTheSealsFontIsAPartOfOurs(t *testing.T) {
	t.Parallel()
	f, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	s := truetype.NewSubset(f.regular)
	for _, r := range pades.SealCharacters() {
		if f.regular.Glyph(r) == 0 {
			t.Errorf("the font has no U+%04X", r)
		}
		s.Number(r)
	}
	const path = "../../pades/DejaVuSans-seal.ttf"
	if *update {
		if err := os.WriteFile(path, s.Bytes(), 0o644); err != nil { //nolint:gosec // a font is for everybody
			t.Fatal(err)
		}
	}
	font, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(font, s.Bytes()) {
		t.Error("it is another; -update writes it anew, and then bundles with a seal don't verify any more")
	}
}
