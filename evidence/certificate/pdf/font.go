package pdf

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"

	"github.com/countersign-dev/countersign/evidence/truetype"
)

var (
	//go:embed fonts/DejaVuSans.ttf
	sansTTF []byte
	//go:embed fonts/DejaVuSans-Bold.ttf
	boldTTF []byte
	//go:embed fonts/DroidSansFallback.ttf
	eastTTF []byte
)

// fonts are the regular and the bold one, and the one for East Asian scripts that both fall back to.
type fonts struct{ regular, bold, east *truetype.Font }

var loaded = sync.OnceValues(func() (f fonts, err error) {
	for _, one := range []struct {
		into **truetype.Font
		name string
		raw  []byte
	}{{&f.regular, "DejaVuSans", sansTTF}, {&f.bold, "DejaVuSans-Bold", boldTTF}, {&f.east, "DroidSansFallback", eastTTF}} {
		if *one.into, err = parseFont(one.name, one.raw); err != nil {
			return f, fmt.Errorf("couldn't read the font %s: %w", one.name, err)
		}
	}
	return f, nil
})

func parseFont(name string, raw []byte) (*truetype.Font, error) {
	cmap, err := sfnt.Parse(raw)
	if err != nil {
		return nil, err
	}
	return truetype.Parse(name, raw, func(r rune) int {
		g, err := cmap.GlyphIndex(nil, r)
		if err != nil {
			return 0
		}
		return int(g)
	})
}

// plainScripts are those whose characters stand one after the other, left to right, each in one shape. Others need their letters joined or moved,
// which this writer can't: shown all the same, a name would be another.
var plainScripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Georgian, unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Hangul, unicode.Bopomofo, unicode.Common, unicode.Inherited,
}

// find is the font that shows the character, nil where none does: its script is no plain one, or it is invisible or private.
func (f fonts) find(r rune, bold bool) *truetype.Font {
	if !unicode.In(r, plainScripts...) || !unicode.IsGraphic(r) || unicode.In(r, unicode.Co, unicode.Mc, unicode.Me) || r == unicode.ReplacementChar {
		return nil
	}
	first := f.regular
	if bold {
		first = f.bold
	}
	for _, one := range []*truetype.Font{first, f.regular, f.east} {
		if one.Glyph(r) != 0 {
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
