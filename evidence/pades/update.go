package pades

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
)

// MaxCMS is the place kept for the signature, in bytes: a chain of certificates and time-stamps fit in easily.
const MaxCMS = 32 << 10

// Params are what an update depends on beside the document.
type Params struct {
	At     time.Time // what the signature claims as its time (/M), to the second
	SHA256 [32]byte  // of the document: the new file's identifier
}

// Update is the incremental update that adds one signature to a File. Equal files and parameters give equal bytes.
type Update struct {
	file     *File
	body     []byte // with zeros where the signature goes
	from, to int    // of the place for the signature in body, its angle brackets included
}

// edit replaces a part of an object's text.
type edit struct {
	start, end int
	text       string
}

type rewrite struct {
	object *object
	edits  []edit
}

type writer struct {
	f        *File
	out      bytes.Buffer
	rewrites map[int64]*rewrite
	written  []writtenObject
	next     int64
	sig      int64
	field    int64
}

type writtenObject struct {
	num, at int64
	gen     uint32
}

// Update writes the update: a signature dictionary, an invisible signature field on the first page, and anew only those objects
// that have to name it: the page or its list of annotations, the form or its list of fields, and the catalog where it has no form.
func (f *File) Update(p Params) (*Update, error) {
	w := &writer{f: f, rewrites: map[int64]*rewrite{}, next: int64(len(f.places))}
	if size, ok := f.trailer.value.get("Size"); !ok || size.kind != isInteger || size.n < 1 || size.n > maxObjects {
		return nil, because(ErrBroken, "its trailer doesn't say how many objects there are")
	} else if size.n > w.next {
		w.next = size.n
	}
	w.next = max(w.next, 1)
	w.sig, w.field = w.next, w.next+1
	w.next += 2
	form := w.plan()

	w.out.WriteByte('\n')
	for _, r := range slices.SortedFunc(values(w.rewrites), func(a, b *rewrite) int { return cmp.Compare(a.object.num, b.object.num) }) {
		w.begin(r.object.num, r.object.gen)
		w.out.WriteString(r.apply())
		w.end()
	}
	if form != 0 {
		w.begin(form, 0)
		fmt.Fprintf(&w.out, "<< /Fields [ %d 0 R ] /SigFlags 3 >>", w.field)
		w.end()
	}
	w.begin(w.field, 0)
	fmt.Fprintf(&w.out, "<< /Type /Annot /Subtype /Widget /FT /Sig /T (%s) /F 132 /Rect [ 0 0 0 0 ] /P %d %d R /V %d 0 R >>",
		f.fieldName(), f.page.num, f.page.gen, w.sig)
	w.end()
	w.begin(w.sig, 0)
	fmt.Fprintf(&w.out, "<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /M (D:%s+00'00') /ByteRange [ 0 ",
		p.At.UTC().Format("20060102150405"))
	ranges := w.out.Len()
	w.out.WriteString(strings.Repeat(" ", rangeWidth) + "] /Contents ")
	u := &Update{file: f, from: w.out.Len()}
	w.out.WriteByte('<')
	w.out.Grow(2*MaxCMS + 4<<10) // the rest of the update, mostly
	for range 2 * MaxCMS / len(zeros) {
		w.out.WriteString(zeros)
	}
	w.out.WriteByte('>')
	u.to = w.out.Len()
	w.out.WriteString(" >>")
	w.end()
	if err := w.crossReferences(p); err != nil {
		return nil, err
	}
	u.body = w.out.Bytes()
	numbers := fmt.Sprintf("%d %d %d", f.size+int64(u.from), f.size+int64(u.to), len(u.body)-u.to)
	if len(numbers) > rangeWidth {
		return nil, because(ErrBounds, "its length has too many digits")
	}
	copy(u.body[ranges:], numbers)
	return u, nil
}

// zeros fill the place for the signature, whose length they divide.
const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// rangeWidth is the place for the last three numbers of /ByteRange: they are known only when the rest is written.
const rangeWidth = 40

func values(m map[int64]*rewrite) func(func(*rewrite) bool) {
	return func(yield func(*rewrite) bool) {
		for _, r := range m {
			if !yield(r) {
				return
			}
		}
	}
}

// plan notes which objects are written anew, and with what change. It returns the number of a new form, or 0.
func (w *writer) plan() (form int64) {
	f, ref := w.f, fmt.Sprintf("%d 0 R", w.field)
	if f.annotations != nil {
		w.add(f.annotations.in, f.annotations.value, ref)
	} else {
		w.set(f.page, f.page.value, "Annots", "[ "+ref+" ]")
	}
	switch {
	case f.form == nil:
		form = w.next
		w.next++
		w.set(f.catalog, f.catalog.value, "AcroForm", fmt.Sprintf("%d 0 R", form))
		return form
	case f.fields != nil:
		w.add(f.fields.in, f.fields.value, ref)
	default:
		w.set(f.form.in, f.form.value, "Fields", "[ "+ref+" ]")
	}
	if flags, _ := f.form.value.get("SigFlags"); flags.kind != isInteger || flags.n&3 != 3 {
		w.set(f.form.in, f.form.value, "SigFlags", "3")
	}
	return 0
}

func (w *writer) change(o *object, e edit) {
	r, ok := w.rewrites[o.num]
	if !ok {
		r = &rewrite{object: o}
		w.rewrites[o.num] = r
	}
	r.edits = append(r.edits, e)
}

// add appends to an array.
func (w *writer) add(o *object, list value, text string) {
	w.change(o, edit{list.end - 1, list.end - 1, " " + text + " "})
}

// set gives a dictionary's entry a value.
func (w *writer) set(o *object, d value, key, text string) {
	for _, e := range d.entries {
		if e.key == key {
			w.change(o, edit{e.value.start, e.value.end, " " + text + " "})
			return
		}
	}
	w.change(o, edit{d.end - 2, d.end - 2, " /" + key + " " + text + " "})
}

// apply is the object's text with its changes: whatever isn't changed stays as it was written.
func (r *rewrite) apply() string {
	slices.SortStableFunc(r.edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var out strings.Builder
	at := r.object.value.start
	for _, e := range r.edits {
		out.Write(r.object.text[at:e.start])
		out.WriteString(e.text)
		at = e.end
	}
	out.Write(r.object.text[at:r.object.value.end])
	return out.String()
}

func (w *writer) begin(num int64, gen uint32) {
	w.written = append(w.written, writtenObject{num, w.f.size + int64(w.out.Len()), gen})
	fmt.Fprintf(&w.out, "%d %d obj\n", num, gen)
}

func (w *writer) end() { w.out.WriteString("\nendobj\n") }

// fieldName is the first free one.
func (f *File) fieldName() string {
	for i := 1; ; i++ {
		if name := fmt.Sprintf("Countersign%d", i); !f.names[name] {
			return name
		}
	}
}

// crossReferences ends the update in the form that the file's own last section has: a table after tables, a stream after streams.
func (w *writer) crossReferences(p Params) error {
	at := w.f.size + int64(w.out.Len())
	if w.f.streamed {
		w.written = append(w.written, writtenObject{w.next, at, 0})
		w.next++
	}
	slices.SortFunc(w.written, func(a, b writtenObject) int { return cmp.Compare(a.num, b.num) })
	trailer, err := w.trailer(p)
	if err != nil {
		return err
	}
	var rows bytes.Buffer
	var index []string
	for i := 0; i < len(w.written); {
		n := 1
		for i+n < len(w.written) && w.written[i+n].num == w.written[i].num+int64(n) {
			n++
		}
		index = append(index, fmt.Sprintf("%d %d", w.written[i].num, n))
		if !w.f.streamed {
			fmt.Fprintf(&rows, "%d %d\n", w.written[i].num, n)
		}
		for _, o := range w.written[i : i+n] {
			if w.f.streamed {
				rows.WriteByte(1)
				for shift := 40; shift >= 0; shift -= 8 {
					rows.WriteByte(byte(o.at >> shift)) //nolint:gosec // one byte of it
				}
				rows.Write([]byte{byte(o.gen >> 8), byte(o.gen)}) //nolint:gosec // 16 bits
				continue
			}
			if o.at > 9_999_999_999 {
				return because(ErrBounds, "it is too long for a cross-reference table")
			}
			fmt.Fprintf(&rows, "%010d %05d n\r\n", o.at, o.gen)
		}
		i += n
	}
	if w.f.streamed {
		fmt.Fprintf(&w.out, "%d 0 obj\n<< /Type /XRef /W [ 1 6 2 ] /Index [ %s ] /Length %d %s >>\nstream\n%s\nendstream\nendobj\n",
			w.next-1, strings.Join(index, " "), rows.Len(), trailer, rows.String())
	} else {
		fmt.Fprintf(&w.out, "xref\n%strailer\n<< %s >>\n", rows.String(), trailer)
	}
	fmt.Fprintf(&w.out, "startxref\n%d\n%%%%EOF\n", at)
	return nil
}

// trailer carries on what the last one says. The second part of the file's identifier changes with its content.
func (w *writer) trailer(p Params) (string, error) {
	old := w.f.trailer
	text := fmt.Sprintf("/Size %d /Prev %d", w.next, w.f.startxref)
	for _, key := range []string{"Root", "Info"} {
		if v, ok := old.value.get(key); ok {
			text += " /" + key + " " + string(old.text[v.start:v.end])
		}
	}
	id, ok, err := w.f.entry(found{old.value, old}, "ID")
	if err != nil || !ok {
		return text, err
	}
	if len(id.value.items) != 2 || id.value.items[0].kind != isString {
		return "", because(ErrBroken, "its trailer has an identifier that is none")
	}
	first := id.value.items[0]
	return text + fmt.Sprintf(" /ID [ %s <%x> ]", id.in.text[first.start:first.end], p.SHA256[:16]), nil
}

// Len is how many bytes the update has.
func (u *Update) Len() int64 { return int64(len(u.body)) }

// Digest writes what the signature covers to h: the document and the update, without the place for the signature.
func (u *Update) Digest(h hash.Hash) error {
	if _, err := io.Copy(h, io.NewSectionReader(u.file.r, 0, u.file.size)); err != nil {
		return fmt.Errorf("couldn't read the PDF: %w", err)
	}
	u.DigestAdded(h)
	return nil
}

// DigestAdded writes to h what the signature covers of the update: Digest where h has the document already.
func (u *Update) DigestAdded(h hash.Hash) {
	h.Write(u.body[:u.from])
	h.Write(u.body[u.to:])
}

// Fill returns the update with the signature, a DER CMS, in its place. What comes after the document is this and nothing else.
func (u *Update) Fill(cms []byte) ([]byte, error) {
	if len(cms) == 0 || len(cms) > MaxCMS {
		return nil, because(ErrTooLarge, "it has %d bytes, and %d is the limit", len(cms), MaxCMS)
	}
	out := bytes.Clone(u.body)
	hex.Encode(out[u.from+1:], cms)
	return out, nil
}

// Extract takes the signature out of what follows a document, and checks that all the rest is the update, byte for byte. The
// signature ends where its own DER says, and zeros follow.
func (u *Update) Extract(tail []byte) ([]byte, error) {
	if len(tail) != len(u.body) || !bytes.Equal(tail[:u.from+1], u.body[:u.from+1]) || !bytes.Equal(tail[u.to-1:], u.body[u.to-1:]) {
		return nil, ErrAltered
	}
	digits := tail[u.from+1 : u.to-1]
	var head [4]byte
	if _, err := hex.Decode(head[:], digits[:2*len(head)]); err != nil {
		return nil, because(ErrAltered, "its signature is not in lower-case hexadecimal digits")
	}
	n, err := derLength(head)
	if err != nil {
		return nil, err
	}
	cms := make([]byte, n)
	if _, err := hex.Decode(cms, digits[:2*n]); err != nil || hex.EncodeToString(cms) != string(digits[:2*n]) {
		return nil, because(ErrAltered, "its signature is not in lower-case hexadecimal digits")
	}
	if !bytes.Equal(digits[2*n:], u.body[u.from+1+2*n:u.to-1]) {
		return nil, because(ErrAltered, "something follows its signature")
	}
	return cms, nil
}

// derLength is how long a DER sequence is that begins like this: at most MaxCMS.
func derLength(der [4]byte) (int, error) {
	if der[0] == 0x30 {
		switch l := int(der[1]); {
		case l < 0x80:
			return 2 + l, nil
		case l == 0x81:
			return 3 + int(der[2]), nil
		case l == 0x82:
			if n := 4 + int(der[2])<<8 + int(der[3]); n <= MaxCMS {
				return n, nil
			}
		}
	}
	return 0, because(ErrAltered, "its signature is no DER")
}
