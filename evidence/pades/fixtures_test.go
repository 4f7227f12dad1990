package pades

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// objects are the texts of a PDF's objects by their numbers.
type objects map[int]string

// simple is a PDF of one page: catalog 1, pages 2, page 3, its content 4.
func simple() objects {
	return objects{
		1: "<< /Type /Catalog /Pages 2 0 R >>",
		2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>",
		4: "<< /Length 8 >>\nstream\n0 0 m h \nendstream",
	}
}

// with changes objects.
func (o objects) with(more objects) objects {
	for n, text := range more {
		o[n] = text
	}
	return o
}

// signedForm is a form with one field that is signed; reference says what the signature allows, lock what its field does.
func signedForm(reference, lock string) objects {
	return simple().with(objects{
		1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R >>",
		5: "<< /Fields [6 0 R] /SigFlags 3 >>",
		6: "<< /FT /Sig /T (Countersign1) /V 7 0 R " + lock + " >>",
		7: "<< /Type /Sig /ByteRange [0 1 2 3] /Contents <00> " + reference + " >>",
	})
}

func (o objects) numbers() []int {
	var list []int
	for n := range o {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

const header = "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"

// table writes the objects with a cross-reference table; trailer is added to its trailer.
func (o objects) table(trailer string) []byte {
	var out bytes.Buffer
	out.WriteString(header)
	rows := ""
	for _, n := range o.numbers() {
		rows += fmt.Sprintf("%d 1\n%010d 00000 n \n", n, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", n, o[n])
	}
	at := out.Len()
	fmt.Fprintf(&out, "xref\n0 1\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n", rows, slices.Max(o.numbers())+1, trailer, at)
	return out.Bytes()
}

// deflate compresses a stream's bytes.
func deflate(t testing.TB, body []byte) string {
	t.Helper()
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// streamed writes the objects into an object stream, except those that are streams themselves, and lists them in a cross-reference stream
// with a predictor, as most programs do.
func (o objects) streamed(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString(header)
	last := slices.Max(o.numbers())
	rows := make([][4]byte, last+3)
	var pairs, texts string
	index := 0
	for _, n := range o.numbers() {
		if strings.HasSuffix(o[n], "endstream") {
			rows[n] = [4]byte{1, byte(out.Len() >> 8), byte(out.Len()), 0}
			fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", n, o[n])
			continue
		}
		pairs += fmt.Sprintf("%d %d ", n, len(texts))
		texts += o[n] + "\n"
		rows[n] = [4]byte{2, 0, byte(last + 1), byte(index)}
		index++
	}
	body := deflate(t, []byte(pairs+texts))
	rows[last+1] = [4]byte{1, byte(out.Len() >> 8), byte(out.Len()), 0}
	fmt.Fprintf(&out, "%d 0 obj\n<< /Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n", last+1, index, len(pairs), len(body), body)
	at := out.Len()
	rows[last+2] = [4]byte{1, byte(at >> 8), byte(at), 0}
	var predicted []byte
	var above [4]byte
	for _, row := range rows {
		predicted = append(predicted, 2)
		for i := range row {
			predicted = append(predicted, row[i]-above[i])
		}
		above = row
	}
	body = deflate(t, predicted)
	fmt.Fprintf(&out, "%d 0 obj\n<< /Type /XRef /Size %d /Root 1 0 R /W [1 2 1] /Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 4 >> /Length %d >>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n",
		last+2, last+3, len(body), body, at)
	return out.Bytes()
}

// hybrid writes the objects with a table, and hides the form, object 5, in an object stream that only its cross-reference stream names. That
// lists object n as well: 5 for the form alone, another for one that the table has in another place.
func (o objects) hybrid(t testing.TB, n int) []byte {
	t.Helper()
	o[5] = "<< /Fields [] /SigFlags 1 >>"
	var out bytes.Buffer
	out.WriteString(header)
	rows := "0 1\n0000000000 65535 f \n"
	for _, i := range o.numbers() {
		if i == 5 {
			rows += "5 1\n0000000000 00000 f \n"
			continue
		}
		rows += fmt.Sprintf("%d 1\n%010d 00000 n \n", i, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", i, o[i])
	}
	pairs := fmt.Sprintf("%d 0 ", n)
	rows += fmt.Sprintf("8 1\n%010d 00000 n \n", out.Len())
	fmt.Fprintf(&out, "8 0 obj\n<< /Type /ObjStm /N 1 /First %d /Length %d >>\nstream\n%s%s\nendstream\nendobj\n", len(pairs), len(pairs)+len(o[5]), pairs, o[5])
	stream := out.Len()
	fmt.Fprintf(&out, "9 0 obj\n<< /Type /XRef /Size 10 /Index [%d 1] /W [1 1 1] /Length 3 >>\nstream\n\x02\x08\x00\nendstream\nendobj\n", n)
	at := out.Len()
	fmt.Fprintf(&out, "xref\n%strailer\n<< /Size 10 /Root 1 0 R /XRefStm %d >>\nstartxref\n%d\n%%%%EOF\n", rows, stream, at)
	return out.Bytes()
}

func open(raw []byte) (*File, error) { return Open(bytes.NewReader(raw), int64(len(raw))) }

// signed is a PDF with an update whose signature is a short DER sequence.
func signed(t testing.TB, raw []byte) []byte {
	t.Helper()
	f, err := open(raw)
	if err != nil {
		t.Fatal(err)
	}
	u, err := f.Update(Params{})
	if err != nil {
		t.Fatal(err)
	}
	tail, err := u.Fill([]byte{0x30, 2, 5, 0})
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(raw), tail...)
}
