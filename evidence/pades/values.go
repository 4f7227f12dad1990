package pades

import (
	"errors"
	"strconv"
	"unicode/utf16"
)

// Bounds on what a stranger's file may hold.
const (
	maxDepth  = 64      // of arrays and dictionaries in one another
	maxValues = 1 << 20 // in one object
)

type kind uint8

const (
	isNull kind = iota
	isBool
	isInteger
	isReal
	isName
	isString
	isArray
	isDict
	isRef
)

// value is one PDF value, with its place in the text that it was read from.
type value struct {
	kind       kind
	start, end int
	n          int64   // of an integer or a bool; the object's number of a reference
	gen        int64   // of a reference
	text       string  // of a name or a string, decoded
	items      []value // of an array
	entries    []entry // of a dictionary
	twice      bool    // a key of the dictionary occurs twice
}

type entry struct {
	key   string
	value value
}

// get returns the entry of a dictionary. An entry that is null is one that is not there.
func (v *value) get(key string) (value, bool) {
	for _, e := range v.entries {
		if e.key == key {
			return e.value, e.value.kind != isNull
		}
	}
	return value{}, false
}

// errEnd says that the text ended within a value.
var errEnd = errors.New("it ends too early")

// lexer reads values from text. Where it is whole, nothing follows the text.
type lexer struct {
	text  []byte
	pos   int
	whole bool
	count int
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == 0 || c == '\f'
}

func isDelimiter(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

func isRegular(c byte) bool { return !isSpace(c) && !isDelimiter(c) }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skip passes white space and comments.
func (l *lexer) skip() {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case isSpace(c):
			l.pos++
		case c == '%':
			for l.pos < len(l.text) && l.text[l.pos] != '\n' && l.text[l.pos] != '\r' {
				l.pos++
			}
		default:
			return
		}
	}
}

// word reads regular characters.
func (l *lexer) word() string {
	start := l.pos
	for l.pos < len(l.text) && isRegular(l.text[l.pos]) {
		l.pos++
	}
	return string(l.text[start:l.pos])
}

// keyword passes white space and then exactly this word.
func (l *lexer) keyword(want string) error {
	l.skip()
	got := l.word()
	if l.pos == len(l.text) && !l.whole {
		return errEnd
	}
	if got != want {
		return because(ErrBroken, "%q is missing", want)
	}
	return nil
}

func (l *lexer) value(depth int) (value, error) {
	l.skip()
	if l.pos >= len(l.text) {
		return value{}, errEnd
	}
	if depth > maxDepth {
		return value{}, because(ErrBounds, "values are nested more than %d deep", maxDepth)
	}
	if l.count++; l.count > maxValues {
		return value{}, because(ErrBounds, "an object holds more than %d values", maxValues)
	}
	v := value{start: l.pos}
	var err error
	switch c := l.text[l.pos]; {
	case c == '/':
		v.kind = isName
		v.text, err = l.name()
	case c == '(':
		v.kind = isString
		v.text, err = l.literal()
	case c == '<':
		if l.pos+1 >= len(l.text) {
			return v, errEnd
		}
		if l.text[l.pos+1] == '<' {
			v.kind = isDict
			err = l.dict(&v, depth)
		} else {
			v.kind = isString
			v.text, err = l.hexadecimal()
		}
	case c == '[':
		v.kind = isArray
		err = l.array(&v, depth)
	case isDigit(c) || c == '+' || c == '-' || c == '.':
		err = l.number(&v)
	default:
		err = l.literalWord(&v)
	}
	v.end = l.pos
	return v, err
}

func (l *lexer) literalWord(v *value) error {
	word := l.word()
	if l.pos == len(l.text) && !l.whole {
		return errEnd
	}
	switch word {
	case "null":
		v.kind = isNull
	case "true":
		v.kind, v.n = isBool, 1
	case "false":
		v.kind = isBool
	default:
		return because(ErrBroken, "a value can't be read")
	}
	return nil
}

func (l *lexer) name() (string, error) {
	l.pos++
	raw := l.word()
	if l.pos == len(l.text) && !l.whole {
		return "", errEnd
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '#' && i+2 < len(raw) {
			if b, err := strconv.ParseUint(raw[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out), nil
}

func (l *lexer) number(v *value) error {
	start := l.pos
	word := l.word()
	if l.pos == len(l.text) && !l.whole {
		return errEnd
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		for _, c := range []byte(word) {
			if !isDigit(c) && c != '.' && c != '-' && c != '+' {
				return because(ErrBroken, "a number can't be read")
			}
		}
		v.kind = isReal
		return nil
	}
	v.kind, v.n = isInteger, n
	if !isDigit(l.text[start]) {
		return nil
	}
	after := l.pos
	l.skip()
	gen := l.word()
	l.skip()
	r := l.pos
	if l.pos >= len(l.text)-1 && !l.whole {
		return errEnd
	}
	g, err := strconv.ParseUint(gen, 10, 16)
	if err != nil || r >= len(l.text) || l.text[r] != 'R' || r+1 < len(l.text) && isRegular(l.text[r+1]) {
		l.pos = after
		return nil
	}
	l.pos = r + 1
	v.kind, v.gen = isRef, int64(g) //nolint:gosec // 16 bits
	return nil
}

// literal reads a string in parentheses.
func (l *lexer) literal() (string, error) {
	l.pos++
	var out []byte
	for open := 1; l.pos < len(l.text); l.pos++ {
		switch c := l.text[l.pos]; c {
		case '(':
			open++
			out = append(out, c)
		case ')':
			if open--; open == 0 {
				l.pos++
				return string(out), nil
			}
			out = append(out, c)
		case '\\':
			if l.pos++; l.pos >= len(l.text) {
				return "", errEnd
			}
			out = l.escape(out)
		default:
			out = append(out, c)
		}
	}
	return "", errEnd
}

func (l *lexer) escape(out []byte) []byte {
	switch c := l.text[l.pos]; c {
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case '\n':
		return out
	case '\r':
		if l.pos+1 < len(l.text) && l.text[l.pos+1] == '\n' {
			l.pos++
		}
		return out
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n := 0
		for i := 0; i < 3 && l.pos < len(l.text) && '0' <= l.text[l.pos] && l.text[l.pos] <= '7'; i++ {
			n = n*8 + int(l.text[l.pos]-'0')
			l.pos++
		}
		l.pos--
		return append(out, byte(n)) //nolint:gosec // high-order overflow is ignored, says the format
	default:
		return append(out, c)
	}
}

func (l *lexer) hexadecimal() (string, error) {
	l.pos++
	var out []byte
	half, digits := byte(0), 0
	for ; l.pos < len(l.text); l.pos++ {
		c := l.text[l.pos]
		switch {
		case c == '>':
			if digits%2 == 1 {
				out = append(out, half<<4)
			}
			l.pos++
			return string(out), nil
		case isSpace(c):
			continue
		}
		d, ok := hexDigit(c)
		if !ok {
			return "", because(ErrBroken, "a string in hexadecimal digits can't be read")
		}
		if digits++; digits%2 == 0 {
			out = append(out, half<<4|d)
		}
		half = d
	}
	return "", errEnd
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func (l *lexer) array(v *value, depth int) error {
	l.pos++
	for {
		l.skip()
		if l.pos >= len(l.text) {
			return errEnd
		}
		if l.text[l.pos] == ']' {
			l.pos++
			return nil
		}
		item, err := l.value(depth + 1)
		if err != nil {
			return err
		}
		v.items = append(v.items, item)
	}
}

func (l *lexer) dict(v *value, depth int) error {
	l.pos += 2
	seen := map[string]bool{}
	for {
		l.skip()
		if l.pos+1 >= len(l.text) {
			return errEnd
		}
		switch l.text[l.pos] {
		case '>':
			if l.text[l.pos+1] != '>' {
				return because(ErrBroken, "a dictionary doesn't end")
			}
			l.pos += 2
			return nil
		case '/':
		default:
			return because(ErrBroken, "a dictionary has a key that is no name")
		}
		key, err := l.name()
		if err != nil {
			return err
		}
		item, err := l.value(depth + 1)
		if err != nil {
			return err
		}
		v.twice = v.twice || seen[key]
		seen[key] = true
		v.entries = append(v.entries, entry{key, item})
	}
}

// readable is a text string as people read it, so that names in different encodings can be compared.
func readable(s string) string {
	if len(s) < 2 || s[0] != 0xfe || s[1] != 0xff {
		return s
	}
	units := make([]uint16, 0, len(s)/2)
	for i := 2; i+1 < len(s); i += 2 {
		units = append(units, uint16(s[i])<<8|uint16(s[i+1]))
	}
	return string(utf16.Decode(units))
}
