// Package pades writes one PAdES signature into a PDF, as an incremental update: the original bytes stay as they are, and
// what is added follows from them and from Params alone. So a verifier can write the update again and compare it byte for
// byte: nothing hides in it.
//
// It knows the format and nothing else: no key, no network, no store. It reads only what it needs of a file, through an
// io.ReaderAt, so a file of hundreds of megabytes is never held in memory. It repairs nothing: a file whose cross-references
// are wrong is refused.
package pades

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Bounds on what is read of one file.
const (
	maxObjectText   = 8 << 20  // bytes of one object, without its stream
	maxObjectStream = 32 << 20 // bytes of an object stream, unpacked
	maxLoads        = 200_000  // objects looked up
	maxRead         = 1 << 30  // bytes read and unpacked, all in all
	maxChain        = 32       // references that lead to references
)

// File is a PDF that Open has read and found fit to be signed. It is not safe for concurrent use.
type File struct {
	Pages  int  // as the page tree counts them
	Hybrid bool // it lists its objects in a table and, for newer readers, in a stream

	r         io.ReaderAt
	size      int64
	places    []place
	startxref int64
	streamed  bool // its last cross-reference section is a stream
	trailer   *object
	loads     int
	consumed  int64
	unpacked  map[int64]*objectStream
	unpacking int // object streams that are being read because of one another

	catalog         *object
	first           leaf
	form            *found // nil where there is no AcroForm yet
	fields          *found // nil where the form has no Fields yet
	names           map[string]bool
	signatureFields int
	certified       bool // an earlier signature says what may be changed
}

// object is one indirect object. The spans of its value point into text.
type object struct {
	num    int64
	gen    uint32
	value  value
	text   []byte
	stream int64 // offset of its stream's bytes; -1 without one
}

// found is a value and the object that it stands in.
type found struct {
	value value
	in    *object
}

// Open reads the structure of a PDF and checks that a signature may be added to it. Errors wrap one of this package's.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size, unpacked: map[int64]*objectStream{}, names: map[string]bool{}}
	if size < 16 || size > maxOffset/2 {
		return nil, because(ErrBroken, "it has %d bytes", size)
	}
	head, err := f.bytes(0, 5)
	if err != nil {
		return nil, err
	}
	if string(head) != "%PDF-" {
		return nil, because(ErrBroken, "it doesn't begin with %%PDF-")
	}
	if err := f.readRevisions(); err != nil {
		return nil, err
	}
	return f, f.inspect()
}

// bytes reads exactly n bytes.
func (f *File) bytes(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || n > f.size || at > f.size-n {
		return nil, because(ErrBroken, "something reaches beyond its end")
	}
	if f.consumed += n; f.consumed > maxRead {
		return nil, because(ErrBounds, "more than %d bytes of it would have to be read", maxRead)
	}
	out := make([]byte, n)
	if got, err := f.r.ReadAt(out, at); int64(got) < n {
		return nil, fmt.Errorf("couldn't read the PDF: %w", err)
	}
	return out, nil
}

// read reads the value at an offset; whole objects, "n g obj" before it, and their end.
func (f *File) read(at int64, whole bool) (*object, error) {
	for window := int64(4 << 10); ; window *= 8 {
		n := min(window, f.size-at, maxObjectText)
		text, err := f.bytes(at, n)
		if err != nil {
			return nil, err
		}
		o, err := parseObject(text, at, whole, n == f.size-at)
		if !errors.Is(err, errEnd) {
			return o, err
		}
		if n == f.size-at {
			return nil, because(ErrBroken, "an object doesn't end")
		}
		if n == maxObjectText {
			return nil, because(ErrBounds, "an object has more than %d bytes", maxObjectText)
		}
	}
}

func parseObject(text []byte, at int64, whole, last bool) (*object, error) {
	l := &lexer{text: text, whole: last}
	o := &object{text: text, stream: -1}
	if whole {
		for _, into := range []*int64{&o.num, nil} {
			l.skip()
			word := l.word()
			var n int64
			if _, err := fmt.Sscanf(word, "%d", &n); err != nil || len(word) > 10 || n < 0 {
				return nil, because(ErrBroken, "there is no object where one should be")
			}
			if into != nil {
				*into = n
			} else if o.gen = uint32(n); n > 65535 { //nolint:gosec // checked here
				return nil, because(ErrBroken, "there is no object where one should be")
			}
		}
		if err := l.keyword("obj"); err != nil {
			return nil, err
		}
	}
	var err error
	if o.value, err = l.value(0); err != nil || !whole {
		return o, err
	}
	l.skip()
	word := l.word()
	if l.pos+2 > len(text) && !last {
		return nil, errEnd
	}
	switch {
	case word == "endobj":
		return o, nil
	case word == "stream" && o.value.kind == isDict:
		switch rest := text[l.pos:]; {
		case bytes.HasPrefix(rest, []byte("\r\n")):
			l.pos += 2
		case bytes.HasPrefix(rest, []byte("\n")):
			l.pos++
		default:
			return nil, because(ErrBroken, "a stream doesn't begin")
		}
		o.stream = at + int64(l.pos)
		return o, nil
	}
	return nil, because(ErrBroken, "an object doesn't end")
}

// object looks up an object by its number. One that isn't there, or is free, is null.
func (f *File) object(num, gen int64) (*object, error) {
	null := &object{num: num, stream: -1}
	if f.loads++; f.loads > maxLoads {
		return nil, because(ErrBounds, "more than %d of its objects would have to be read", maxLoads)
	}
	if num <= 0 || num >= int64(len(f.places)) {
		return null, nil
	}
	switch p := f.places[num]; p.kind {
	case plain:
		o, err := f.read(p.at, true)
		if err != nil {
			return nil, err
		}
		if o.num != num || o.gen != p.gen || int64(o.gen) != gen {
			return nil, because(ErrBroken, "object %d is not where the cross-references say", num)
		}
		return o, nil
	case packed:
		if gen != 0 {
			return nil, because(ErrBroken, "object %d is not where the cross-references say", num)
		}
		return f.packed(num, p)
	default:
		return null, nil
	}
}

// resolve follows references to a value.
func (f *File) resolve(v value, in *object) (found, error) {
	for range maxChain {
		if v.kind != isRef {
			return found{v, in}, nil
		}
		o, err := f.object(v.n, v.gen)
		if err != nil {
			return found{}, err
		}
		v, in = o.value, o
	}
	return found{}, because(ErrBroken, "references lead in a circle")
}

// entry resolves an entry of a dictionary.
func (f *File) entry(d found, key string) (found, bool, error) {
	v, ok := d.value.get(key)
	if !ok {
		return found{}, false, nil
	}
	got, err := f.resolve(v, d.in)
	return got, err == nil && got.value.kind != isNull, err
}

// dict is an entry that must be a dictionary if it is there at all. One that says something twice is refused: readers
// differ on which counts.
func (f *File) dict(d found, key string) (found, bool, error) {
	got, ok, err := f.entry(d, key)
	if err != nil || !ok {
		return got, false, err
	}
	if got.value.kind != isDict || got.value.twice {
		return got, false, because(ErrBroken, "/%s is no dictionary, or says something twice", key)
	}
	return got, true, nil
}

// objectStream is an object stream, unpacked.
type objectStream struct {
	body    []byte
	numbers []int64
	offsets []int64
}

// packed reads an object out of an object stream.
func (f *File) packed(num int64, p place) (*object, error) {
	s, ok := f.unpacked[p.at]
	if !ok {
		// The length of one may lie in another, and that one's again.
		if f.unpacking > 3 {
			return nil, because(ErrBroken, "object streams lead in a circle")
		}
		var err error
		f.unpacking++
		s, err = f.unpack(p.at)
		f.unpacking--
		if err != nil {
			return nil, err
		}
		if len(f.unpacked) >= 4 {
			clear(f.unpacked)
		}
		f.unpacked[p.at] = s
	}
	i := int(p.gen)
	if i >= len(s.numbers) || s.numbers[i] != num || s.offsets[i] > int64(len(s.body)) {
		return nil, because(ErrBroken, "object %d is not where the cross-references say", num)
	}
	text := s.body[s.offsets[i]:]
	l := &lexer{text: text, whole: true}
	v, err := l.value(0)
	if errors.Is(err, errEnd) {
		err = because(ErrBroken, "an object stream ends too early")
	}
	return &object{num: num, value: v, text: text, stream: -1}, err
}

func (f *File) unpack(num int64) (*objectStream, error) {
	// An object stream lies in the file itself, never in another one.
	if num <= 0 || num >= int64(len(f.places)) || f.places[num].kind != plain {
		return nil, because(ErrBroken, "there is no object stream where one should be")
	}
	o, err := f.object(num, int64(f.places[num].gen))
	if err != nil {
		return nil, err
	}
	kind, _ := o.value.get("Type")
	n, _ := o.value.get("N")
	first, _ := o.value.get("First")
	if o.stream < 0 || kind.text != "ObjStm" || n.kind != isInteger || first.kind != isInteger || n.n < 0 || n.n > maxObjects {
		return nil, because(ErrBroken, "there is no object stream where one should be")
	}
	body, err := f.decode(o, maxObjectStream)
	if err != nil {
		return nil, err
	}
	if first.n < 0 || first.n > int64(len(body)) || n.n > first.n {
		return nil, because(ErrBroken, "an object stream can't be read")
	}
	s := &objectStream{body: body[first.n:]}
	l := &lexer{text: body[:first.n], whole: true}
	for range n.n {
		num, err := l.value(0)
		if err != nil {
			return nil, because(ErrBroken, "an object stream can't be read")
		}
		offset, err := l.value(0)
		if err != nil || num.kind != isInteger || offset.kind != isInteger || offset.n < 0 {
			return nil, because(ErrBroken, "an object stream can't be read")
		}
		s.numbers, s.offsets = append(s.numbers, num.n), append(s.offsets, offset.n)
	}
	return s, nil
}

// decode unpacks a stream of at most limit bytes.
func (f *File) decode(o *object, limit int64) ([]byte, error) {
	length, _ := o.value.get("Length")
	size, err := f.resolve(length, o)
	if err != nil {
		return nil, err
	}
	if size.value.kind != isInteger {
		return nil, because(ErrBroken, "a stream doesn't say how long it is")
	}
	if size.value.n > limit {
		return nil, because(ErrBounds, "a stream has more than %d bytes", limit)
	}
	raw, err := f.bytes(o.stream, size.value.n)
	if err != nil {
		return nil, err
	}
	after, err := f.bytes(o.stream+size.value.n, min(f.size-o.stream-size.value.n, 16))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(strings.TrimLeft(string(after), " \r\n\t"), "endstream") {
		return nil, because(ErrBroken, "a stream is not as long as it says")
	}
	filter, _ := o.value.get("Filter")
	if filter.kind == isArray && len(filter.items) == 1 {
		filter = filter.items[0]
	}
	if filter.kind == isNull || filter.kind == isArray && len(filter.items) == 0 {
		return raw, nil
	}
	if filter.kind != isName || filter.text != "FlateDecode" && filter.text != "Fl" {
		return nil, because(ErrUnsupported, "a stream of its structure has another filter than FlateDecode")
	}
	z, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, because(ErrBroken, "a stream can't be unpacked")
	}
	body, err := io.ReadAll(io.LimitReader(z, limit+limit/4+1)) // rows of a predictor are longer than what they hold
	if err != nil {
		return nil, because(ErrBroken, "a stream can't be unpacked")
	}
	if int64(len(body)) > limit+limit/4 {
		return nil, because(ErrBounds, "a stream has more than %d bytes", limit)
	}
	if f.consumed += int64(len(body)); f.consumed > maxRead {
		return nil, because(ErrBounds, "more than %d bytes of it would have to be read", maxRead)
	}
	return unpredict(o, body)
}

// unpredict undoes a PNG predictor (ISO 32000-1, 7.4.4.4), which cross-reference streams often have.
func unpredict(o *object, body []byte) ([]byte, error) {
	parms, _ := o.value.get("DecodeParms")
	if parms.kind == isArray && len(parms.items) == 1 {
		parms = parms.items[0]
	}
	if parms.kind == isNull || parms.kind == isArray {
		return body, nil
	}
	number := func(key string, otherwise int64) int64 {
		v, ok := parms.get(key)
		if !ok {
			return otherwise
		}
		if v.kind != isInteger {
			return math.MaxInt64
		}
		return v.n
	}
	predictor, columns := number("Predictor", 1), number("Columns", 1)
	if parms.kind != isDict || number("Colors", 1) != 1 || number("BitsPerComponent", 8) != 8 || columns < 1 || columns > 1024 ||
		predictor != 1 && (predictor < 10 || predictor > 15) {
		return nil, because(ErrUnsupported, "a stream of its structure has another predictor than those of PNG")
	}
	if predictor == 1 {
		return body, nil
	}
	out := make([]byte, 0, len(body))
	above := make([]byte, columns)
	for ; len(body) > 0; body = body[columns+1:] {
		if int64(len(body)) < columns+1 {
			return nil, because(ErrBroken, "a stream ends within a row")
		}
		row := body[1 : columns+1]
		for i := range row {
			var left, corner byte
			if i > 0 {
				left, corner = row[i-1], above[i-1]
			}
			switch body[0] {
			case 0:
			case 1:
				row[i] += left
			case 2:
				row[i] += above[i]
			case 3:
				row[i] += byte((int(left) + int(above[i])) / 2) //nolint:gosec // the mean of two bytes
			case 4:
				row[i] += paeth(left, above[i], corner)
			default:
				return nil, because(ErrBroken, "a stream has a row of no kind")
			}
		}
		out = append(out, row...)
		above = row
	}
	return out, nil
}

func paeth(a, b, c byte) byte {
	p := int(a) + int(b) - int(c)
	distance := func(x byte) int { return max(p-int(x), int(x)-p) }
	switch da, db, dc := distance(a), distance(b), distance(c); {
	case da <= db && da <= dc:
		return a
	case db <= dc:
		return b
	}
	return c
}
