package pades

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strconv"
)

// Bounds on the list of objects.
const (
	maxObjects   = 1 << 21
	maxRevisions = 1024
	endWindow    = 2048 // bytes at the end in which the last startxref is looked for
	maxOffset    = 1 << 40
)

type entryKind uint8

const (
	unset entryKind = iota
	free
	plain  // at is its offset
	packed // at is the number of the object stream, gen the index in it
)

type place struct {
	at   int64
	gen  uint32
	kind entryKind
}

// readRevisions follows the chain of cross-reference sections from the last one back. What a later one says of an object counts.
func (f *File) readRevisions() error {
	last, err := f.lastSection()
	if err != nil {
		return err
	}
	f.startxref = last
	seen := map[int64]bool{}
	for at := last; ; {
		if seen[at] {
			return because(ErrBroken, "the cross-reference sections follow one another in a circle")
		}
		if seen[at] = true; len(seen) > maxRevisions {
			return because(ErrBounds, "it has more than %d cross-reference sections", maxRevisions)
		}
		trailer, err := f.section(at, len(seen) == 1)
		if err != nil {
			return err
		}
		if _, ok := trailer.value.get("Encrypt"); ok {
			return ErrEncrypted
		}
		if len(seen) == 1 {
			f.trailer = trailer
		}
		prev, ok := trailer.value.get("Prev")
		if !ok {
			return nil
		}
		if prev.kind != isInteger || prev.n <= 0 || prev.n >= f.size {
			return because(ErrBroken, "a cross-reference section points outside of the file")
		}
		at = prev.n
	}
}

// lastSection is where the last startxref points to.
func (f *File) lastSection() (int64, error) {
	n := min(f.size, endWindow)
	tail, err := f.bytes(f.size-n, n)
	if err != nil {
		return 0, err
	}
	i := bytes.LastIndex(tail, []byte("startxref"))
	if i < 0 {
		return 0, because(ErrBroken, "it has no startxref at its end")
	}
	l := lexer{text: tail, pos: i + len("startxref"), whole: true}
	l.skip()
	at, err := strconv.ParseInt(l.word(), 10, 64)
	if err != nil || at <= 0 || at >= f.size {
		return 0, because(ErrBroken, "startxref points outside of the file")
	}
	for l.pos < len(tail) && isSpace(tail[l.pos]) {
		l.pos++
	}
	if !bytes.HasPrefix(tail[l.pos:], []byte("%%EOF")) {
		return 0, because(ErrBroken, "no %%%%EOF follows its last startxref")
	}
	return at, nil
}

// section reads one cross-reference section, a table or a stream, and returns its trailer.
func (f *File) section(at int64, newest bool) (*object, error) {
	head, err := f.bytes(at, min(f.size-at, 64))
	if err != nil {
		return nil, err
	}
	l := lexer{text: head, whole: true}
	l.skip()
	if !bytes.HasPrefix(head[l.pos:], []byte("xref")) {
		f.streamed = f.streamed || newest
		return f.streamSection(at, nil)
	}
	trailer, listed, err := f.table(at + int64(l.pos) + 4)
	if err != nil {
		return nil, err
	}
	if hidden, ok := trailer.value.get("XRefStm"); ok {
		if hidden.kind != isInteger || hidden.n <= 0 || hidden.n >= f.size {
			return nil, because(ErrHybrid, "/XRefStm points outside of the file")
		}
		f.Hybrid = true
		if _, err := f.streamSection(hidden.n, listed); err != nil {
			return nil, because(ErrHybrid, "its cross-reference stream can't be read: %v", err)
		}
	}
	// Objects that a hybrid file hides are free in its table, so a free entry counts after those of the stream.
	for n, used := range listed {
		if used {
			continue
		}
		if err := f.put(n, place{kind: free}); err != nil {
			return nil, err
		}
	}
	return trailer, nil
}

func (f *File) put(n int64, p place) error {
	if n < 0 || n >= maxObjects {
		return because(ErrBounds, "it has an object with a number over %d", maxObjects-1)
	}
	for int64(len(f.places)) <= n {
		f.places = append(f.places, place{})
	}
	if f.places[n].kind == unset {
		f.places[n] = p
	}
	return nil
}

// words reads words between white space, and knows where it is.
type words struct {
	r  *bufio.Reader
	at int64
}

func (w *words) next() (string, error) {
	var word []byte
	for {
		c, err := w.r.ReadByte()
		if err == io.EOF && len(word) > 0 {
			return string(word), nil
		}
		if err != nil {
			return "", because(ErrBroken, "a cross-reference table ends too early")
		}
		w.at++
		switch {
		case isSpace(c):
			if len(word) > 0 {
				return string(word), nil
			}
		case c == '<':
			// "trailer<<" has no space between.
			w.at--
			return string(word), w.r.UnreadByte()
		default:
			if word = append(word, c); len(word) > 20 {
				return "", because(ErrBroken, "a cross-reference table can't be read")
			}
		}
	}
}

func (w *words) number() (int64, error) {
	word, err := w.next()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 0 || n > maxOffset {
		return 0, because(ErrBroken, "a cross-reference table has something else than a number")
	}
	return n, nil
}

// table reads a cross-reference table behind its keyword, and its trailer. It returns which objects it lists: true where they are in use. One that
// is listed twice is refused: readers differ on which counts.
func (f *File) table(at int64) (*object, map[int64]bool, error) {
	w := &words{r: bufio.NewReaderSize(io.NewSectionReader(f.r, at, f.size-at), 64<<10), at: at}
	listed := map[int64]bool{}
	for {
		word, err := w.next()
		if err != nil {
			return nil, nil, err
		}
		if word == "trailer" {
			trailer, err := f.read(w.at, false)
			if err == nil && trailer.value.kind != isDict {
				err = because(ErrBroken, "a trailer is no dictionary")
			}
			if err == nil && trailer.value.twice {
				err = because(ErrBroken, "a trailer says something twice")
			}
			return trailer, listed, err
		}
		first, err := strconv.ParseInt(word, 10, 64)
		if err != nil || first < 0 || first >= maxObjects {
			return nil, nil, because(ErrBroken, "a cross-reference table can't be read")
		}
		count, err := w.number()
		if err != nil {
			return nil, nil, err
		}
		if count > maxObjects-first {
			return nil, nil, because(ErrBounds, "it has more than %d objects", maxObjects)
		}
		for n := first; n < first+count; n++ {
			offset, err := w.number()
			if err != nil {
				return nil, nil, err
			}
			gen, err := w.number()
			if err != nil {
				return nil, nil, err
			}
			word, err = w.next()
			if _, twice := listed[n]; twice {
				return nil, nil, because(ErrBroken, "a cross-reference table lists an object twice")
			}
			listed[n] = word == "n" && offset != 0
			switch {
			case err != nil:
				return nil, nil, err
			case word == "f" || word == "n" && offset == 0:
			case word != "n" || gen > 65535:
				return nil, nil, because(ErrBroken, "a cross-reference table can't be read")
			default:
				if err := f.put(n, place{kind: plain, at: offset, gen: uint32(gen)}); err != nil { //nolint:gosec // 16 bits
					return nil, nil, err
				}
			}
		}
	}
}

// streamSection reads a cross-reference stream. Its dictionary is its trailer. Where it belongs to a table, listed are the table's objects: what
// that has in use can't be somewhere else for newer readers.
func (f *File) streamSection(at int64, listed map[int64]bool) (*object, error) {
	o, err := f.read(at, true)
	if err != nil {
		return nil, err
	}
	if kind, _ := o.value.get("Type"); o.stream < 0 || kind.text != "XRef" || o.value.twice {
		return nil, because(ErrBroken, "there is no cross-reference section where one should be")
	}
	if _, more := o.value.get("XRefStm"); more {
		return nil, because(ErrHybrid, "a cross-reference stream names another one")
	}
	size, _ := o.value.get("Size")
	w, _ := o.value.get("W")
	if size.kind != isInteger || size.n < 0 || size.n > maxObjects || w.kind != isArray || len(w.items) < 3 {
		return nil, because(ErrBroken, "a cross-reference stream doesn't say how it is to be read")
	}
	var widths [3]int64
	row := int64(0)
	for i := range widths {
		if w.items[i].kind != isInteger || w.items[i].n < 0 || w.items[i].n > 8 {
			return nil, because(ErrBroken, "a cross-reference stream doesn't say how it is to be read")
		}
		widths[i] = w.items[i].n
		row += widths[i]
	}
	if row == 0 {
		return nil, because(ErrBroken, "a cross-reference stream has empty rows")
	}
	index := []int64{0, size.n}
	if list, ok := o.value.get("Index"); ok {
		index = nil
		for _, v := range list.items {
			if v.kind != isInteger || v.n < 0 || v.n > maxObjects {
				return nil, because(ErrBroken, "a cross-reference stream doesn't say how it is to be read")
			}
			index = append(index, v.n)
		}
		if len(index)%2 != 0 || overlap(index) {
			return nil, because(ErrBroken, "a cross-reference stream doesn't say how it is to be read, or lists an object twice")
		}
	}
	body, err := f.decode(o, maxObjects*row)
	if err != nil {
		return nil, err
	}
	for ; len(index) > 0; index = index[2:] {
		for n := index[0]; n < index[0]+index[1]; n++ {
			if int64(len(body)) < row {
				return nil, because(ErrBroken, "a cross-reference stream ends too early")
			}
			p, err := rowPlace(body[:row], widths)
			if err != nil {
				return nil, err
			}
			body = body[row:]
			if listed != nil && p.kind == free {
				continue
			}
			if listed[n] {
				return nil, because(ErrHybrid, "an object is in two places")
			}
			if err := f.put(n, p); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// overlap says whether ranges, each a first number and a count, have a number in common.
func overlap(index []int64) bool {
	var ranges [][2]int64
	for ; len(index) > 0; index = index[2:] {
		if index[1] > 0 {
			ranges = append(ranges, [2]int64{index[0], index[0] + index[1]})
		}
	}
	slices.SortFunc(ranges, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	for i := 1; i < len(ranges); i++ {
		if ranges[i][0] < ranges[i-1][1] {
			return true
		}
	}
	return false
}

func rowPlace(row []byte, widths [3]int64) (place, error) {
	field := func(width int64) (n uint64) {
		for _, b := range row[:width] {
			n = n<<8 | uint64(b)
		}
		row = row[width:]
		return n
	}
	kind := uint64(1)
	if widths[0] > 0 {
		kind = field(widths[0])
	}
	second, third := field(widths[1]), field(widths[2])
	switch {
	case kind == 0 || kind > 2:
		return place{kind: free}, nil
	case second > maxOffset || third > 1<<31:
		return place{}, because(ErrBroken, "a cross-reference stream points outside of the file")
	case kind == 1:
		return place{kind: plain, at: int64(second), gen: uint32(third)}, nil //nolint:gosec // bounded above
	default:
		return place{kind: packed, at: int64(second), gen: uint32(third)}, nil //nolint:gosec // bounded above
	}
}
