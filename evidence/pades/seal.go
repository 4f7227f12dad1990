package pades

import (
	"bytes"
	"compress/zlib"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/countersign-dev/countersign/evidence/truetype"
)

// Seal is what a signature shows on a page: a bar in a colour, perhaps a picture, and lines of text. It has no ground of its own, so the page shows
// through; it is no picture of a signature by hand. Equal seals are drawn by equal bytes, on every machine and in every later build.
type Seal struct {
	Last                bool // on the last page; otherwise on the first
	Corner              Corner
	X, Y, Width, Height int // points, seen as the page is shown; X and Y are the distances from the corner's sides
	Color               [3]byte
	Lines               []string // the first is the largest
	Description         string   // of the whole, for who listens
	Picture             *Picture
}

// Corner is one of a page, as it is shown.
type Corner string

// The corners of a page.
const (
	TopLeft     Corner = "top-left"
	TopRight    Corner = "top-right"
	BottomLeft  Corner = "bottom-left"
	BottomRight Corner = "bottom-right"
)

// Picture is a small picture: rows of pixels from the top, each of three bytes (red, green, blue), packed with zlib.
type Picture struct {
	Width, Height int
	Pixels        []byte
}

// Bounds on a seal.
const (
	MinSealWidth, MaxSealWidth   = 120, 500 // points
	MinSealHeight, MaxSealHeight = 36, 300
	MaxSealMargin                = 5_000
	MaxSealLines                 = 6
	MaxSealLine                  = 200 // characters
	MaxPictureSide               = 512 // pixels
	MaxPicture                   = 24 << 10
)

// check says whether the seal can be drawn at all. Errors wrap ErrSeal.
func (s *Seal) check() error {
	switch {
	case s.Width < MinSealWidth || s.Width > MaxSealWidth || s.Height < MinSealHeight || s.Height > MaxSealHeight:
		return because(ErrSeal, "it is %d × %d points; at least %d × %d and at most %d × %d are drawn", s.Width, s.Height, MinSealWidth, MinSealHeight, MaxSealWidth, MaxSealHeight)
	case s.X < 0 || s.X > MaxSealMargin || s.Y < 0 || s.Y > MaxSealMargin:
		return because(ErrSeal, "it is more than %d points from its corner", MaxSealMargin)
	case s.Corner != TopLeft && s.Corner != TopRight && s.Corner != BottomLeft && s.Corner != BottomRight:
		return because(ErrSeal, "%q is no corner", s.Corner)
	case len(s.Lines) == 0 || len(s.Lines) > MaxSealLines:
		return because(ErrSeal, "it has %d lines; 1 to %d are drawn", len(s.Lines), MaxSealLines)
	case len(s.Description) > 1000:
		return because(ErrSeal, "its description is too long")
	}
	for _, line := range s.Lines {
		if err := checkSealText(line); err != nil {
			return err
		}
	}
	if s.Picture == nil {
		return nil
	}
	return s.Picture.check()
}

// Whole says whether the seal can be drawn, and each line of it without an ellipsis. Errors wrap ErrSeal.
func (s *Seal) Whole() error {
	if err := s.check(); err != nil {
		return err
	}
	font, err := sealFont()
	if err != nil {
		return fmt.Errorf("couldn't read the seal's font: %w", err)
	}
	for _, line := range s.Lines {
		if shown, _ := fit(font, line, minFontSize, s.textRoom()); shown != line {
			return because(ErrSeal, "%q doesn't fit into its width; make it wider, or the logo narrower", line)
		}
	}
	return nil
}

// checkSealText says whether a line can be shown: it has 1 to 200 characters, all of them in the seal's font. Errors wrap ErrSeal.
func checkSealText(line string) error {
	if n := len([]rune(line)); n == 0 || n > MaxSealLine {
		return because(ErrSeal, "a line has %d characters; 1 to %d are drawn", n, MaxSealLine)
	}
	for _, r := range line {
		if sealGlyph(r) == 0 {
			return because(ErrSeal, "its font has no U+%04X: it has Latin, Greek and Cyrillic letters", r)
		}
	}
	return nil
}

// check says whether a picture is one: its pixels are as many as it says, and not packed into more than 24 KiB. Errors wrap ErrSeal.
func (p *Picture) check() error {
	if p.Width < 1 || p.Width > MaxPictureSide || p.Height < 1 || p.Height > MaxPictureSide {
		return because(ErrSeal, "its picture has %d × %d pixels; at most %d × %d are drawn", p.Width, p.Height, MaxPictureSide, MaxPictureSide)
	}
	if len(p.Pixels) > MaxPicture {
		return because(ErrSeal, "its picture has %d bytes, packed; at most %d are drawn: make it smaller, or of fewer colours", len(p.Pixels), MaxPicture)
	}
	from := bytes.NewReader(p.Pixels)
	z, err := zlib.NewReader(from)
	if err != nil {
		return because(ErrSeal, "its picture can't be unpacked")
	}
	want := int64(3 * p.Width * p.Height)
	if n, err := io.Copy(io.Discard, io.LimitReader(z, want+1)); err != nil || n != want || from.Len() != 0 {
		return because(ErrSeal, "its picture has not as many pixels as it says")
	}
	return nil
}

//go:embed DejaVuSans-seal.ttf
var sealTTF []byte

// sealRanges are the characters of the seal's font, in the order of its outlines.
var sealRanges = [][2]rune{
	{0x20, 0x7e}, {0xa0, 0x17f}, {0x218, 0x21b}, {0x384, 0x38a}, {0x38c, 0x38c}, {0x38e, 0x3a1}, {0x3a3, 0x3ce}, {0x400, 0x45f}, {0x490, 0x491},
	{0x1e9e, 0x1e9e}, {0x2010, 0x2026}, {0x20ac, 0x20ac}, {0x2116, 0x2116},
}

// SealCharacters are those that a seal can show, in the order of the outlines in its font.
func SealCharacters() (all []rune) {
	for _, r := range sealRanges {
		for c := r[0]; c <= r[1]; c++ {
			all = append(all, c)
		}
	}
	return all
}

func sealGlyph(r rune) int {
	n := 1
	for _, part := range sealRanges {
		if r >= part[0] && r <= part[1] {
			return n + int(r-part[0])
		}
		n += int(part[1]-part[0]) + 1
	}
	return 0
}

var sealFont = sync.OnceValues(func() (*truetype.Font, error) { return truetype.Parse("DejaVuSans", sealTTF, sealGlyph) })

// newObject is an object of the update that names no older one.
type newObject struct {
	num  int64
	text string
}

// shown is how the field looks: entries of its dictionary, and the objects that they name.
type shown struct {
	w       *writer
	entries string
	objects []newObject
}

func (v *shown) reserve() int64 {
	v.w.next++
	return v.w.next - 1
}

func (v *shown) add(text string) int {
	num := v.reserve()
	v.objects = append(v.objects, newObject{num, text})
	return int(num)
}

// stream adds a stream without a filter: packed by another version of a library it would be other bytes.
func (v *shown) stream(entries string, body []byte) int {
	return v.add(fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", strings.TrimSpace(entries), len(body), body))
}

// visible draws the seal.
func (w *writer) visible(s *Seal, at position) (*shown, error) {
	v := &shown{w: w, entries: "/Rect [ 0 0 0 0 ]"}
	if s == nil {
		return v, nil
	}
	font, err := sealFont()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the seal's font: %w", err)
	}
	subset := truetype.NewSubset(font)
	content := s.draw(subset)
	program := subset.Bytes()
	// PDF/A-1 wants to be told which characters are in a part of a font.
	set := make([]byte, 0, 64)
	for i := range subset.Glyphs() {
		if i%8 == 0 {
			set = append(set, 0)
		}
		set[i/8] |= 0x80 >> (i % 8)
	}
	cidSet := v.stream("", set)
	fontNumber := subset.Embed(program, fmt.Sprintf("/CIDSet %d 0 R", cidSet), v.add, v.stream)
	colors := fmt.Sprintf("[ /ICCBased %d 0 R ]", v.stream("/N 3", colorProfile()))
	resources := fmt.Sprintf("/Font << /F %d 0 R >> /ColorSpace << /C %s >>", fontNumber, colors)
	if p := s.Picture; p != nil {
		picture := v.stream(fmt.Sprintf("/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace %s /BitsPerComponent 8 /Filter /FlateDecode", p.Width, p.Height, colors), p.Pixels)
		resources += fmt.Sprintf(" /XObject << /P %d 0 R >>", picture)
	}
	// Turned against the page, so that it stands upright when the page is shown.
	matrix := map[int]string{0: "1 0 0 1 0 0", 90: "0 1 -1 0 0 0", 180: "-1 0 0 -1 0 0", 270: "0 -1 1 0 0 0"}[at.rotate]
	form := v.stream(fmt.Sprintf("/Type /XObject /Subtype /Form /BBox [ 0 0 %d %d ] /Matrix [ %s ] /Resources << %s >>", s.Width, s.Height, matrix, resources), []byte(content))
	said := textString(s.Description)
	v.entries = fmt.Sprintf("/Rect [ %s %s %s %s ] /AP << /N %d 0 R >> /TU %s /Contents %s",
		points(at.rect[0]), points(at.rect[1]), points(at.rect[2]), points(at.rect[3]), form, said, said)
	v.entries += w.structure(v, said)
	return v, nil
}

// Measures of the seal, in hundredths of a point.
const (
	sealBar     = 400
	sealPadding = 400
	sealGap     = 500
	maxFontSize = 900
	minFontSize = 400
	maxNameSize = 1200
)

// pictureSize is how wide and how high the picture is drawn.
func (s *Seal) pictureSize() (wide, high int) {
	p := s.Picture
	high = s.Height*100 - 2*sealPadding
	wide = high * p.Width / p.Height
	if most := s.Width * 30; wide > most {
		wide, high = most, most*p.Height/p.Width
	}
	return wide, high
}

// textRoom is how wide a line may be.
func (s *Seal) textRoom() int {
	room := s.Width*100 - sealBar - sealGap - sealPadding
	if s.Picture != nil {
		wide, _ := s.pictureSize()
		room -= wide + sealGap
	}
	return room
}

// draw writes the content of the seal: a frame and a bar in its colour, the picture beside the bar, and the lines beside that.
func (s *Seal) draw(font *truetype.Subset) string {
	var out strings.Builder
	width, height := s.Width*100, s.Height*100
	color := ""
	for _, c := range s.Color {
		n := (int(c)*1000 + 127) / 255
		color += fmt.Sprintf("%d.%03d ", n/1000, n%1000)
	}
	fmt.Fprintf(&out, "q /C cs %ssc 0 0 %s %s re f /C CS %sSC 0.5 w 0.25 0.25 %s %s re S Q\n",
		color, points(sealBar), points(height), color, points(width-50), points(height-50))
	left := width - sealPadding - s.textRoom()
	if s.Picture != nil {
		wide, high := s.pictureSize()
		fmt.Fprintf(&out, "q %s 0 0 %s %s %s cm /P Do Q\n", points(wide), points(high), points(sealBar+sealGap), points((height-high)/2))
	}
	// The first line takes as much room as one and a third.
	line := (height - 2*sealPadding) * 3 / (3*len(s.Lines) + 1)
	size := min(line*10/12, maxFontSize)
	y := height - sealPadding
	for i, text := range s.Lines {
		high, size := line, size
		if i == 0 {
			high, size = line*4/3, min(size*4/3, maxNameSize)
		}
		y -= high
		text, size = fit(font.Font, text, size, s.textRoom())
		var codes strings.Builder
		for _, r := range text {
			fmt.Fprintf(&codes, "%04x", font.Number(r))
		}
		fmt.Fprintf(&out, "BT /C cs 0.1 0.1 0.1 sc /F %s Tf %s %s Td <%s> Tj ET\n", points(size), points(left), points(y+high/4), codes.String())
	}
	return out.String()
}

// fit makes a line smaller until it fits, and where the letters would be too small to be read it ends the line with an ellipsis.
func fit(font *truetype.Font, text string, size, room int) (string, int) {
	wide := func(line []rune) (sum int) {
		for _, r := range line {
			sum += font.Width(font.Glyph(r))
		}
		return sum
	}
	line := []rune(text)
	if w := wide(line); w*size <= room*1000 {
		return text, size
	} else if smaller := room * 1000 / w; smaller >= minFontSize {
		return text, smaller
	}
	for n := len(line) - 1; n > 0; n-- {
		if cut := append(line[:n:n], '…'); wide(cut)*minFontSize <= room*1000 {
			return string(cut), minFontSize
		}
	}
	return "…", minFontSize
}

// textString is a text string of a PDF.
func textString(s string) string {
	raw := []byte{0xfe, 0xff}
	for _, unit := range utf16.Encode([]rune(s)) {
		raw = append(raw, byte(unit>>8), byte(unit)) //nolint:gosec // both halves of it
	}
	return "<" + hex.EncodeToString(raw) + ">"
}
