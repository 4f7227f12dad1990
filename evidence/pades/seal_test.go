package pades

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pixels packs the pixels of a picture.
func pixels(t testing.TB, rgb []byte) []byte {
	t.Helper()
	return []byte(deflate(t, rgb))
}

func seal() *Seal {
	return &Seal{
		Corner: BottomRight, X: 24, Y: 12, Width: 200, Height: 52, Color: [3]byte{0x0b, 0x6e, 0x4f},
		Lines: []string{"Łódź & Söhne", "Signed electronically", "Request PO-4711"}, Description: "Łódź & Söhne. Signed electronically.",
	}
}

// sealed is the update of a PDF with a seal.
func sealed(t testing.TB, raw []byte, s *Seal) []byte {
	t.Helper()
	tail, err := trySealed(raw, s)
	if err != nil {
		t.Fatal(err)
	}
	return tail
}

func trySealed(raw []byte, s *Seal) ([]byte, error) {
	f, err := open(raw)
	if err != nil {
		return nil, err
	}
	p := claimed
	p.Seal = s
	u, err := f.Update(p)
	if err != nil {
		return nil, err
	}
	return u.Fill([]byte{0x30, 2, 5, 0})
}

// TestN2_ASealIsDrawnTheSameForEver compares what is written for each kind of file with what earlier builds wrote.
func TestN2_ASealIsDrawnTheSameForEver(t *testing.T) {
	t.Parallel()
	picture := seal()
	picture.Last, picture.Picture = true, &Picture{Width: 2, Height: 1}
	picture.Picture.Pixels = pixels(t, []byte{1, 2, 3, 4, 5, 6})
	for name, c := range map[string]struct {
		raw  []byte
		seal *Seal
	}{
		"a seal":                    {simple().table(""), seal()},
		"a seal in a tagged stream": {tagged("<< /Nums [0 [8 0 R]] >>").streamed(t), seal()},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			tail := sealed(t, c.raw, c.seal)
			if !bytes.Equal(tail, sealed(t, c.raw, c.seal)) {
				t.Error("twice the same seal is drawn in two ways")
			}
			small := bytes.Replace(tail, bytes.Repeat([]byte("0"), 2*MaxSealedCMS-10), []byte("..."), 1)
			path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".update")
			if *update {
				if err := os.WriteFile(path, small, 0o644); err != nil { //nolint:gosec // goldens are for everybody
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(golden, small) {
				t.Errorf("the update is another than that of %s: signatures of before would not verify any more", path)
			}
		})
	}
	if tail := sealed(t, simple().table(""), picture); !bytes.Contains(tail, picture.Picture.Pixels) {
		t.Error("the picture is not in the update")
	}
}

// TestN2_ASealStandsWhereThePageIsShown has pages that are turned, cut, and that take over what the branches above them say.
func TestN2_ASealStandsWhereThePageIsShown(t *testing.T) {
	t.Parallel()
	page := func(branch, own string) []byte {
		return simple().with(objects{
			2: "<< /Type /Pages /Kids [3 0 R 8 0 R] /Count 2 " + branch + " >>",
			3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>",
			8: "<< /Type /Page /Parent 2 0 R " + own + " >>",
			9: "[0 0 595.28 841.89]",
		}).table("")
	}
	for name, c := range map[string]struct {
		raw    []byte
		corner Corner
		rect   string
		matrix string
	}{
		"Letter":             {page("", "/MediaBox [0 0 612 792]"), BottomRight, "388 12 588 64", "1 0 0 1 0 0"},
		"A4, by reference":   {page("/MediaBox 9 0 R", ""), TopLeft, "24 777.89 224 829.89", "1 0 0 1 0 0"},
		"turned by 90":       {page("/Rotate 90", "/MediaBox [0 0 612 792]"), BottomRight, "548 568 600 768", "0 1 -1 0 0 0"},
		"turned by 180":      {page("/Rotate 0", "/Rotate -180 /MediaBox [0 0 612 792]"), BottomRight, "24 728 224 780", "-1 0 0 -1 0 0"},
		"turned by 270":      {page("", "/Rotate 270 /MediaBox [0 0 612 792]"), BottomRight, "12 24 64 224", "0 -1 1 0 0 0"},
		"turned, top left":   {page("", "/Rotate 450 /MediaBox [0 0 612 792]"), TopLeft, "12 24 64 224", "0 1 -1 0 0 0"},
		"cut":                {page("/CropBox [100 100 400 2000]", "/MediaBox [0 0 612 792]"), TopRight, "176 728 376 780", "1 0 0 1 0 0"},
		"below zero":         {page("", "/MediaBox [300 400 -300 -400.5]"), BottomLeft, "-276 -388.50 -76 -336.50", "1 0 0 1 0 0"},
		"exactly as large":   {page("", "/MediaBox [0 0 224 64]"), BottomLeft, "24 12 224 64", "1 0 0 1 0 0"},
		"a plus and a point": {page("", "/MediaBox [+0 .0 612. 792]"), BottomLeft, "24 12 224 64", "1 0 0 1 0 0"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := seal()
			s.Last, s.Corner = true, c.corner
			tail := string(sealed(t, c.raw, s))
			for _, want := range []string{"/Rect [ " + c.rect + " ]", "/Matrix [ " + c.matrix + " ]", "/P 8 0 R", "\n8 0 obj\n"} {
				if !strings.Contains(tail, want) {
					t.Errorf("the update has no %q", want)
				}
			}
			if strings.Contains(tail, "\n3 0 obj\n") {
				t.Error("the first page is written anew, and the seal is on the last")
			}
		})
	}
}

// TestM4_WhatCannotShowASealIsSignedWithout has a file for each reason: with a seal it is ErrNoSeal, and without it is signed.
func TestM4_WhatCannotShowASealIsSignedWithout(t *testing.T) {
	t.Parallel()
	mdp := func(p string) []byte {
		return signedForm("/Reference [<< /TransformMethod /DocMDP /TransformParams << "+p+" >> >>]", "").table("")
	}
	one := func(page string) []byte {
		return simple().with(objects{3: "<< /Type /Page /Parent 2 0 R " + page + " >>"}).table("")
	}
	for name, raw := range map[string][]byte{
		"certified, P 2":         mdp("/P 2"),
		"certified, P 3":         mdp("/P 3"),
		"certified, without a P": mdp(""),
		"certified, named in the catalog alone": simple().with(objects{
			1: "<< /Type /Catalog /Pages 2 0 R /Perms << /DocMDP 5 0 R >> >>",
			5: "<< /Type /Sig /Reference [ << /TransformMethod /DocMDP /TransformParams << /P 3 >> >> ] >>"}).table(""),
		"a lock that certifies":    signedForm("", "/Lock << /Action /Include /Fields [(x)] /P 2 >>").table(""),
		"a small page":             one("/MediaBox [0 0 223 500]"),
		"a low page":               one("/MediaBox [0 0 500 63.99]"),
		"a page that is cut away":  one("/MediaBox [0 0 500 500] /CropBox [600 600 900 900]"),
		"a page without a size":    one(""),
		"a size of three numbers":  one("/MediaBox [0 0 612]"),
		"a size of names":          one("/MediaBox [0 0 /A /B]"),
		"a size with two points":   one("/MediaBox [0 0 6.1.2 792]"),
		"a size over the limit":    one("/MediaBox [0 0 99999999999999999999 792]"),
		"turned a little":          one("/MediaBox [0 0 612 792] /Rotate 45"),
		"turned by something else": one("/MediaBox [0 0 612 792] /Rotate /Left"),
		"a last page that is none": simple().with(objects{2: "<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 /MediaBox [0 0 612 792] >>"}).table(""),
		"a last page whose list is the form's": simple().with(objects{
			1: "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields 7 0 R >> >>", 2: "<< /Type /Pages /Kids [3 0 R 6 0 R] /Count 2 /MediaBox [0 0 612 792] >>",
			6: "<< /Type /Page /Annots 7 0 R >>", 7: "[]"}).table(""),
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := seal()
			s.Last = true
			if _, err := trySealed(raw, s); !errors.Is(err, ErrNoSeal) {
				t.Errorf("with a seal: %v, want %v", err, ErrNoSeal)
			}
			if _, err := trySealed(raw, nil); err != nil {
				t.Errorf("without a seal: %v", err)
			}
		})
	}
	if _, err := trySealed(signedForm("", "").table(""), seal()); err != nil {
		t.Errorf("a signature that allows everything: %v", err)
	}
}

// tagged is a tagged PDF of one page: the tree of its structure is object 7, its one element 8.
func tagged(parents string) objects {
	return simple().with(objects{
		1: "<< /Type /Catalog /Pages 2 0 R /StructTreeRoot 7 0 R /MarkInfo << /Marked true >> >>",
		7: "<< /Type /StructTreeRoot /K 8 0 R /ParentTree " + parents + " /ParentTreeNextKey 1 >>",
		8: "<< /Type /StructElem /S /Document /P 7 0 R /K [ 9 0 R ] >>",
		9: "<< /Type /StructElem /S /P /P 8 0 R /K 0 /Pg 3 0 R >>",
	})
}

// TestN2_ASealIsInTheStructureOfATaggedDocument has the ways in which a tree may be written. What was in it stays.
func TestN2_ASealIsInTheStructureOfATaggedDocument(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		objects   objects
		has, nots []string
	}{
		"one document": {tagged("<< /Nums [0 [9 0 R]] >>"),
			[]string{"/S /Form /P 8 0 R /Pg 3 0 R", "/K [ 9 0 R ", "/StructParent 1 ", "/Nums [0 [9 0 R] 1 ", "/ParentTreeNextKey  2 ", "/Tabs /S"}, nil},
		"elements side by side": {tagged("<< /Nums [0 [9 0 R]] >>").with(objects{7: "<< /K [8 0 R 9 0 R] /ParentTree << /Nums [ 7 9 0 R ] >> >>"}),
			[]string{"/S /Form /P 7 0 R", "/K [8 0 R 9 0 R ", "/StructParent 8 ", "/Nums [ 7 9 0 R  8 ", "/ParentTreeNextKey 9 "}, []string{"\n8 0 obj"}},
		"a document that is one piece": {tagged("10 0 R").with(objects{8: "<< /S /Document /P 7 0 R /K 0 >>", 10: "<< /Nums [] >>"}),
			[]string{"/S /Form /P 8 0 R", "/K  [ 0 ", "/StructParent 1 "}, nil},
		"a document without a piece": {tagged("<< /Nums [] >>").with(objects{8: "<< /S /Document /P 7 0 R >>"}), []string{"/P 7 0 R  /K [ "}, nil},
		"branches": {tagged("<< /Kids [10 0 R] >>").with(objects{10: "<< /Limits [0 41] /Nums [0 [9 0 R] 41 9 0 R] >>"}),
			[]string{"/StructParent 42 ", "/Limits [ 42 42 ]", "/Kids [10 0 R "}, []string{"\n10 0 obj"}},
		"a page with an order": {tagged("<< /Nums [] >>").with(objects{3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Tabs /R >>"}), []string{"/StructParent"}, []string{"/Tabs /S"}},
		"signed before": {tagged("<< /Nums [] >>").with(signedForm("", "")).with(objects{1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R /StructTreeRoot 10 0 R >>",
			10: "<< /K [] /ParentTree << /Nums [] >> >>"}), []string{"/AP <<"}, []string{"StructParent", "\n10 0 obj"}},
		"no tree of parents":                   {tagged("null"), []string{"/AP <<"}, []string{"/StructParent", "\n8 0 obj"}},
		"a tree of parents that can't be read": {tagged("<< /Nums [0] >>"), []string{"/AP <<"}, []string{"/StructParent", "\n8 0 obj"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			for form, raw := range map[string][]byte{"table": c.objects.table(""), "stream": c.objects.streamed(t)} {
				tail := string(sealed(t, raw, seal()))
				for _, want := range c.has {
					if !strings.Contains(tail, want) {
						t.Errorf("%s: the update has no %q", form, want)
					}
				}
				for _, bad := range c.nots {
					if strings.Contains(tail, bad) {
						t.Errorf("%s: the update has %q", form, bad)
					}
				}
				if _, err := open(slices.Concat(raw, []byte(tail))); err != nil {
					t.Errorf("%s: the signed file can't be read: %v", form, err)
				}
			}
		})
	}
}

// TestM4_ASealThatCannotBeDrawnIsRefused changes one thing of a seal at a time.
func TestM4_ASealThatCannotBeDrawnIsRefused(t *testing.T) {
	t.Parallel()
	bomb := pixels(t, make([]byte, 64<<20))
	for name, change := range map[string]func(*Seal){
		"too narrow":                    func(s *Seal) { s.Width = MinSealWidth - 1 },
		"too wide":                      func(s *Seal) { s.Width = MaxSealWidth + 1 },
		"too high":                      func(s *Seal) { s.Height = MaxSealHeight + 1 },
		"a negative height":             func(s *Seal) { s.Height = -52 },
		"beside the page":               func(s *Seal) { s.X = -1 },
		"far away":                      func(s *Seal) { s.Y = MaxSealMargin + 1 },
		"no corner":                     func(s *Seal) { s.Corner = "middle" },
		"no lines":                      func(s *Seal) { s.Lines = nil },
		"many lines":                    func(s *Seal) { s.Lines = slices.Repeat(s.Lines, 3) },
		"an empty line":                 func(s *Seal) { s.Lines[1] = "" },
		"a long line":                   func(s *Seal) { s.Lines[1] = strings.Repeat("a", MaxSealLine+1) },
		"letters that the font has not": func(s *Seal) { s.Lines[0] = "株式会社" },
		"a control character":           func(s *Seal) { s.Lines[0] = "a\nb" },
		"text from right to left":       func(s *Seal) { s.Lines[0] = "a\u202eb" },
		"a picture without a pixel":     func(s *Seal) { s.Picture = &Picture{0, 1, pixels(t, nil)} },
		"a picture of too many": func(s *Seal) {
			s.Picture = &Picture{MaxPictureSide + 1, 1, pixels(t, make([]byte, 3*(MaxPictureSide+1)))}
		},
		"a picture of fewer":           func(s *Seal) { s.Picture = &Picture{2, 2, pixels(t, make([]byte, 11))} },
		"a picture of more":            func(s *Seal) { s.Picture = &Picture{2, 2, pixels(t, make([]byte, 13))} },
		"a picture that grows":         func(s *Seal) { s.Picture = &Picture{2, 2, bomb} },
		"a picture that is none":       func(s *Seal) { s.Picture = &Picture{2, 2, []byte("PNG")} },
		"something behind the picture": func(s *Seal) { s.Picture = &Picture{2, 2, append(pixels(t, make([]byte, 12)), 'x')} },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := seal()
			change(s)
			if _, err := trySealed(simple().table(""), s); !errors.Is(err, ErrSeal) {
				t.Errorf("it is refused as %v, want %v", err, ErrSeal)
			}
		})
	}
}

// A line that doesn't fit is made smaller, and cut at last: it never runs out of the seal.
func TestALineStaysInsideOfTheSeal(t *testing.T) {
	t.Parallel()
	font, err := sealFont()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 10, 30, 60, MaxSealLine} {
		text, size := fit(font, strings.Repeat("W", n), 900, 18_000)
		wide := 0
		for _, r := range text {
			wide += font.Width(font.Glyph(r)) * size / 1000
		}
		if wide > 18_000 || size < minFontSize || size > 900 || (n == MaxSealLine) != strings.HasSuffix(text, "…") && n != 60 {
			t.Errorf("%d letters: %q with size %d is %d wide", n, text, size, wide)
		}
	}
	long := seal()
	long.Lines[0] = strings.Repeat("W", 60)
	if err := long.Whole(); !errors.Is(err, ErrSeal) {
		t.Errorf("a name that would be cut: %v", err)
	}
	if err := seal().Whole(); err != nil {
		t.Error(err)
	}
}

// Each character is the one outline that its place in the font says, so that no letter is shown as another.
func TestTheSealsFontHasItsCharacters(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for i, r := range SealCharacters() {
		if g := sealGlyph(r); g != i+1 || seen[g] {
			t.Errorf("U+%04X is outline %d, want %d", r, g, i+1)
		}
		seen[sealGlyph(r)] = true
	}
	if len(seen) < 500 || sealGlyph(0x1f) != 0 || sealGlyph('一') != 0 {
		t.Errorf("the font has %d characters", len(seen))
	}
}
