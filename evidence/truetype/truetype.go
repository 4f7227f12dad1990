// Package truetype takes single characters out of a TrueType font, for files that carry no more of it than they show. It is for fonts that are
// compiled in: one that lies about its sizes makes it panic.
package truetype

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// Font is a font, read for taking outlines out of it.
type Font struct {
	Name string // its PostScript name

	glyph      func(rune) int
	tables     map[string][]byte
	unitsPerEm int
	metrics    int // long entries in hmtx
	longLoca   bool
}

// Parse reads a TrueType font. Which outline a character has is for glyph to say, 0 for one that it has not.
func Parse(name string, raw []byte, glyph func(rune) int) (*Font, error) {
	f := &Font{Name: name, glyph: glyph, tables: tablesOf(raw)}
	for _, need := range []string{"head", "hhea", "hmtx", "maxp", "loca", "glyf"} {
		if f.tables[need] == nil {
			return nil, errors.New("it has no table " + need)
		}
	}
	f.unitsPerEm = int(binary.BigEndian.Uint16(f.tables["head"][18:]))
	f.longLoca = binary.BigEndian.Uint16(f.tables["head"][50:]) == 1
	f.metrics = int(binary.BigEndian.Uint16(f.tables["hhea"][34:]))
	return f, nil
}

// Glyph is the outline of a character, or 0 where the font has none.
func (f *Font) Glyph(r rune) int { return f.glyph(r) }

func tablesOf(raw []byte) map[string][]byte {
	tables := map[string][]byte{}
	for i := range int(binary.BigEndian.Uint16(raw[4:])) {
		entry := raw[12+16*i:]
		at, length := binary.BigEndian.Uint32(entry[8:]), binary.BigEndian.Uint32(entry[12:])
		tables[string(entry[:4])] = raw[at : at+length]
	}
	return tables
}

// metric is a glyph's advance and left side bearing, as hmtx has them.
func (f *Font) metric(glyph int) (advance, bearing uint16) {
	t := f.tables["hmtx"]
	if glyph < f.metrics {
		return binary.BigEndian.Uint16(t[4*glyph:]), binary.BigEndian.Uint16(t[4*glyph+2:])
	}
	return binary.BigEndian.Uint16(t[4*(f.metrics-1):]), binary.BigEndian.Uint16(t[4*f.metrics+2*(glyph-f.metrics):])
}

// Width is a glyph's advance in thousandths of the size.
func (f *Font) Width(glyph int) int {
	advance, _ := f.metric(glyph)
	return (int(advance)*1000 + f.unitsPerEm/2) / f.unitsPerEm
}

// scaled is a signed measure out of a table, in thousandths of the size.
func (f *Font) scaled(table string, at int) int {
	return int(int16(binary.BigEndian.Uint16(f.tables[table][at:]))) * 1000 / f.unitsPerEm
}

// Outline is a glyph's, as the font has it.
func (f *Font) Outline(glyph int) []byte {
	t := f.tables["loca"]
	if f.longLoca {
		return f.tables["glyf"][binary.BigEndian.Uint32(t[4*glyph:]):binary.BigEndian.Uint32(t[4*glyph+4:])]
	}
	return f.tables["glyf"][2*int(binary.BigEndian.Uint16(t[2*glyph:])) : 2*int(binary.BigEndian.Uint16(t[2*glyph+2:]))]
}

// EachComponent calls with the place of each component's number in the outline of a glyph that is made of others.
func EachComponent(outline []byte, call func(at int)) {
	const words, scale, more, twoScales, matrix = 1, 8, 0x20, 0x40, 0x80
	if len(outline) < 10 || int16(binary.BigEndian.Uint16(outline)) >= 0 {
		return
	}
	for at := 10; ; {
		flags := binary.BigEndian.Uint16(outline[at:])
		call(at + 2)
		at += 6
		if flags&words != 0 {
			at += 2
		}
		switch {
		case flags&scale != 0:
			at += 2
		case flags&twoScales != 0:
			at += 4
		case flags&matrix != 0:
			at += 8
		}
		if flags&more == 0 {
			return
		}
	}
}

// Subset is a font with nothing but the characters that were used: the character with number n is glyph n, so that each glyph stands for one character.
type Subset struct {
	*Font
	numbers map[rune]int
	Runes   []rune // by their numbers; the first is no character
	glyphs  int
}

// NewSubset is one without a character.
func NewSubset(f *Font) *Subset { return &Subset{Font: f, numbers: map[rune]int{}, Runes: []rune{0}} }

// Number is under which number a text shows the character.
func (s *Subset) Number(r rune) int {
	n, known := s.numbers[r]
	if !known {
		n = len(s.Runes)
		s.numbers[r], s.Runes = n, append(s.Runes, r)
	}
	return n
}

// Glyphs is how many outlines the font has that Bytes wrote: those of the characters, and those that they are made of.
func (s *Subset) Glyphs() int { return s.glyphs }

// Bytes is the subset as a TrueType font, the same for the same characters in the same order.
func (s *Subset) Bytes() []byte {
	glyphs := []int{0}
	for _, r := range s.Runes[1:] {
		glyphs = append(glyphs, s.Glyph(r))
	}
	var glyf, loca, hmtx []byte
	for i := 0; i < len(glyphs); i++ { // components are added while it runs
		outline := slices.Clone(s.Outline(glyphs[i]))
		EachComponent(outline, func(at int) {
			component := int(binary.BigEndian.Uint16(outline[at:]))
			n := slices.Index(glyphs, component)
			if n < 0 {
				n, glyphs = len(glyphs), append(glyphs, component)
			}
			binary.BigEndian.PutUint16(outline[at:], uint16(n))
		})
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
		glyf = append(glyf, outline...)
		for len(glyf)%4 != 0 {
			glyf = append(glyf, 0)
		}
		advance, bearing := s.metric(glyphs[i])
		hmtx = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(hmtx, advance), bearing)
	}
	loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
	s.glyphs = len(glyphs)
	head, hhea, maxp := slices.Clone(s.tables["head"]), slices.Clone(s.tables["hhea"]), slices.Clone(s.tables["maxp"])
	binary.BigEndian.PutUint32(head[8:], 0)
	binary.BigEndian.PutUint16(head[50:], 1)
	binary.BigEndian.PutUint16(hhea[34:], uint16(len(glyphs)))
	binary.BigEndian.PutUint16(maxp[4:], uint16(len(glyphs)))
	tables := map[string][]byte{"head": head, "hhea": hhea, "maxp": maxp, "hmtx": hmtx, "loca": loca, "glyf": glyf}
	for _, hints := range []string{"cvt ", "fpgm", "prep"} {
		if t := s.tables[hints]; t != nil {
			tables[hints] = t
		}
	}
	return trueType(tables)
}

func trueType(tables map[string][]byte) []byte {
	names := make([]string, 0, len(tables))
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	power, log := 1, 0
	for power*2 <= len(names) {
		power, log = power*2, log+1
	}
	out := []byte{0, 1, 0, 0}
	for _, n := range []int{len(names), power * 16, log, (len(names) - power) * 16} {
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	}
	var body []byte
	head := 0
	for _, name := range names {
		t := tables[name]
		at := 12 + 16*len(names) + len(body)
		if name == "head" {
			head = at
		}
		out = append(out, name...)
		for _, n := range []uint32{checksum(t), uint32(at), uint32(len(t))} {
			out = binary.BigEndian.AppendUint32(out, n)
		}
		body = append(body, t...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
	}
	out = append(out, body...)
	binary.BigEndian.PutUint32(out[head+8:], 0xB1B0AFBA-checksum(out))
	return out
}

func checksum(t []byte) (sum uint32) {
	for len(t)%4 != 0 {
		t = append(slices.Clip(t), 0)
	}
	for ; len(t) > 0; t = t[4:] {
		sum += binary.BigEndian.Uint32(t)
	}
	return sum
}

// Embed writes the font for a PDF, with what says which character each glyph is, and returns the number of the font. Texts name characters by their
// numbers, as four hexadecimal digits. The caller numbers objects and packs streams; entries are more of the font's descriptor.
func (s *Subset) Embed(program []byte, entries string, add func(dictionary string) int, stream func(entries string, body []byte) int) int {
	tag := make([]byte, 6)
	for i := range tag {
		tag[i] = 'A' + byte(checksum(program)>>(5*i)&31)%26
	}
	name := string(tag) + "+" + s.Name
	file := stream(fmt.Sprintf("/Length1 %d", len(program)), program)
	descriptor := add(fmt.Sprintf("<</Type/FontDescriptor/FontName/%s/Flags 4/FontBBox[%d %d %d %d]/ItalicAngle 0/Ascent %d/Descent %d/CapHeight 729/StemV 80/FontFile2 %d 0 R%s>>", name,
		s.scaled("head", 36), s.scaled("head", 38), s.scaled("head", 40), s.scaled("head", 42), s.scaled("hhea", 4), s.scaled("hhea", 6), file, entries))
	var widths, codes strings.Builder
	fmt.Fprintf(&widths, "%d", s.Width(0))
	for n, r := range s.Runes[1:] {
		fmt.Fprintf(&widths, " %d", s.Width(s.Glyph(r)))
		fmt.Fprintf(&codes, "1 beginbfchar\n<%04x> <%s>\nendbfchar\n", n+1, utf16Hex(r))
	}
	cid := add(fmt.Sprintf("<</Type/Font/Subtype/CIDFontType2/BaseFont/%s/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/FontDescriptor %d 0 R/DW 600/W[0[%s]]/CIDToGIDMap/Identity>>", name, descriptor, widths.String()))
	unicode := stream("", []byte("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo <</Registry (Adobe) /Ordering (UCS) /Supplement 0>> def\n/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n1 begincodespacerange\n<0000> <ffff>\nendcodespacerange\n"+
		codes.String()+"endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"))
	return add(fmt.Sprintf("<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[%d 0 R]/ToUnicode %d 0 R>>", name, cid, unicode))
}

func utf16Hex(r rune) string {
	var raw []byte
	for _, unit := range utf16.Encode([]rune{r}) {
		raw = binary.BigEndian.AppendUint16(raw, unit)
	}
	return hex.EncodeToString(raw)
}
