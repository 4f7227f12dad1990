package pdf

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

var (
	//go:embed fonts/DejaVuSans.ttf
	sansTTF []byte
	//go:embed fonts/DejaVuSans-Bold.ttf
	boldTTF []byte
	//go:embed fonts/DroidSansFallback.ttf
	eastTTF []byte
)

// font is one of the fonts that are compiled in, read for taking outlines out of it.
type font struct {
	name       string
	cmap       *sfnt.Font
	tables     map[string][]byte
	unitsPerEm int
	metrics    int // long entries in hmtx
	glyphs     int
	longLoca   bool
}

// fonts are the regular and the bold one, and the one for East Asian scripts that both fall back to.
type fonts struct{ regular, bold, east *font }

var loaded = sync.OnceValues(func() (f fonts, err error) {
	for _, one := range []struct {
		into **font
		name string
		raw  []byte
	}{{&f.regular, "DejaVuSans", sansTTF}, {&f.bold, "DejaVuSans-Bold", boldTTF}, {&f.east, "DroidSansFallback", eastTTF}} {
		if *one.into, err = parseFont(one.name, one.raw); err != nil {
			return f, fmt.Errorf("couldn't read the font %s: %w", one.name, err)
		}
	}
	return f, nil
})

// parseFont reads a TrueType font. It is for the fonts that are compiled in: one that lies about its sizes makes it panic.
func parseFont(name string, raw []byte) (*font, error) {
	cmap, err := sfnt.Parse(raw)
	if err != nil {
		return nil, err
	}
	f := &font{name: name, cmap: cmap, tables: tablesOf(raw)}
	for _, need := range []string{"head", "hhea", "hmtx", "maxp", "loca", "glyf"} {
		if f.tables[need] == nil {
			return nil, errors.New("it has no table " + need)
		}
	}
	f.unitsPerEm = int(binary.BigEndian.Uint16(f.tables["head"][18:]))
	f.longLoca = binary.BigEndian.Uint16(f.tables["head"][50:]) == 1
	f.metrics = int(binary.BigEndian.Uint16(f.tables["hhea"][34:]))
	f.glyphs = int(binary.BigEndian.Uint16(f.tables["maxp"][4:]))
	return f, nil
}

func tablesOf(raw []byte) map[string][]byte {
	tables := map[string][]byte{}
	for i := range int(binary.BigEndian.Uint16(raw[4:])) {
		entry := raw[12+16*i:]
		at, length := binary.BigEndian.Uint32(entry[8:]), binary.BigEndian.Uint32(entry[12:])
		tables[string(entry[:4])] = raw[at : at+length]
	}
	return tables
}

// glyph is the outline of a character, or 0 where the font has none.
func (f *font) glyph(r rune) int {
	g, err := f.cmap.GlyphIndex(nil, r)
	if err != nil {
		return 0
	}
	return int(g)
}

// metric is a glyph's advance and left side bearing, as hmtx has them.
func (f *font) metric(glyph int) (advance, bearing uint16) {
	t := f.tables["hmtx"]
	if glyph < f.metrics {
		return binary.BigEndian.Uint16(t[4*glyph:]), binary.BigEndian.Uint16(t[4*glyph+2:])
	}
	return binary.BigEndian.Uint16(t[4*(f.metrics-1):]), binary.BigEndian.Uint16(t[4*f.metrics+2*(glyph-f.metrics):])
}

// width is a glyph's advance in thousandths of the size.
func (f *font) width(glyph int) int {
	advance, _ := f.metric(glyph)
	return (int(advance)*1000 + f.unitsPerEm/2) / f.unitsPerEm
}

func (f *font) scaled(table string, at int) int {
	return int(int16(binary.BigEndian.Uint16(f.tables[table][at:]))) * 1000 / f.unitsPerEm
}

func (f *font) outline(glyph int) []byte {
	t := f.tables["loca"]
	if f.longLoca {
		return f.tables["glyf"][binary.BigEndian.Uint32(t[4*glyph:]):binary.BigEndian.Uint32(t[4*glyph+4:])]
	}
	return f.tables["glyf"][2*int(binary.BigEndian.Uint16(t[2*glyph:])) : 2*int(binary.BigEndian.Uint16(t[2*glyph+2:]))]
}

// eachComponent calls with the place of each component's number in the outline of a glyph that is made of others.
func eachComponent(outline []byte, call func(at int)) {
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

// subset is a font with nothing but the characters that were used: the character with number n is glyph n, so that each glyph stands for one character.
type subset struct {
	*font
	numbers map[rune]int
	runes   []rune // runes[0] is no character
}

func newSubset(f *font) *subset { return &subset{font: f, numbers: map[rune]int{}, runes: []rune{0}} }

// number is under which number a text shows the character.
func (s *subset) number(r rune) int {
	n, known := s.numbers[r]
	if !known {
		n = len(s.runes)
		s.numbers[r], s.runes = n, append(s.runes, r)
	}
	return n
}

// bytes is the subset as a TrueType font, the same for the same characters in the same order.
func (s *subset) bytes() []byte {
	glyphs := []int{0}
	for _, r := range s.runes[1:] {
		glyphs = append(glyphs, s.glyph(r))
	}
	var glyf, loca, hmtx []byte
	for i := 0; i < len(glyphs); i++ { // components are added while it runs
		outline := slices.Clone(s.outline(glyphs[i]))
		eachComponent(outline, func(at int) {
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

// plainScripts are those whose characters stand one after the other, left to right, each in one shape. Others need their letters joined or moved,
// which this writer can't: shown all the same, a name would be another.
var plainScripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Georgian, unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Hangul, unicode.Bopomofo, unicode.Common, unicode.Inherited,
}

// find is the font that shows the character, nil where none does: its script is no plain one, or it is invisible or private.
func (f fonts) find(r rune, bold bool) *font {
	if !unicode.In(r, plainScripts...) || !unicode.IsGraphic(r) || unicode.In(r, unicode.Co, unicode.Mc, unicode.Me) || r == unicode.ReplacementChar {
		return nil
	}
	first := f.regular
	if bold {
		first = f.bold
	}
	for _, one := range []*font{first, f.regular, f.east} {
		if one.glyph(r) != 0 {
			return one
		}
	}
	return nil
}

// shown is the text as the fonts can show it, composed (NFC): characters that none can stand as their numbers, "[U+0645 U+062F]". These are returned, too.
func (f fonts) shown(text string) (string, []rune) {
	var out strings.Builder
	var missing, run []rune
	flush := func() {
		for i, r := range run {
			sep := " "
			if i == 0 {
				sep = "["
			}
			fmt.Fprintf(&out, "%sU+%04X", sep, r)
		}
		if len(run) > 0 {
			out.WriteByte(']')
			missing, run = append(missing, run...), nil
		}
	}
	for _, r := range norm.NFC.String(text) {
		if f.find(r, false) == nil {
			run = append(run, r)
			continue
		}
		flush()
		out.WriteRune(r)
	}
	flush()
	return out.String(), missing
}
