package pdf

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
)

// file is a PDF that is being written: numbered objects, the first with number 1.
type file struct{ objects []string }

// reserve takes a number for an object that is written later.
func (f *file) reserve() int {
	f.objects = append(f.objects, "")
	return len(f.objects)
}

func (f *file) set(number int, body string) { f.objects[number-1] = body }

func (f *file) add(format string, args ...any) int {
	n := f.reserve()
	f.set(n, fmt.Sprintf(format, args...))
	return n
}

// stream adds a compressed stream; entries are those of its dictionary beside what belongs to every stream.
func (f *file) stream(entries string, body []byte) int {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(body) // a buffer takes everything
	z.Close()
	return f.add("<<%s/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream", entries, packed.Len(), packed.Bytes())
}

// bytes is the whole file. Its id is of its content, so that the same content is the same file.
func (f *file) bytes(catalog int) []byte {
	var out bytes.Buffer
	out.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	places := make([]int, len(f.objects))
	for i, body := range f.objects {
		places[i] = out.Len()
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", i+1, body)
	}
	id := sha256.Sum256(out.Bytes())
	xref := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(places)+1)
	for _, at := range places {
		fmt.Fprintf(&out, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&out, "trailer\n<</Size %d/Root %s/ID[<%x><%x>]>>\nstartxref\n%d\n%%%%EOF\n", len(places)+1, ref(catalog), id[:16], id[:16], xref)
	return out.Bytes()
}

func ref(number int) string { return fmt.Sprintf("%d 0 R", number) }

func refs(numbers []int) string {
	all := make([]string, len(numbers))
	for i, n := range numbers {
		all[i] = ref(n)
	}
	return strings.Join(all, " ")
}

// text is a text string of a PDF.
func text(s string) string {
	raw := []byte{0xfe, 0xff}
	for _, unit := range utf16.Encode([]rune(s)) {
		raw = binary.BigEndian.AppendUint16(raw, unit)
	}
	return "<" + hex.EncodeToString(raw) + ">"
}

func date(at time.Time) string { return at.UTC().Format("(D:20060102150405Z)") }

// metadata is the XMP packet. PDF/A doesn't know PDF/UA's own property, so that it is described as well.
func (d Document) metadata() string {
	escape := func(s string) string {
		var out strings.Builder
		xml.EscapeText(&out, []byte(s)) // a builder takes everything
		return out.String()
	}
	at := d.Created.UTC().Format(time.RFC3339)
	return `<?xpacket begin="` + "\ufeff" + `" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/">
<dc:format>application/pdf</dc:format>
<dc:language><rdf:Bag><rdf:li>` + escape(d.Language) + `</rdf:li></rdf:Bag></dc:language>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">` + escape(d.Title) + `</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">` + escape(d.Subject) + `</rdf:li></rdf:Alt></dc:description>
<xmp:CreateDate>` + at + `</xmp:CreateDate><xmp:ModifyDate>` + at + `</xmp:ModifyDate><xmp:CreatorTool>Countersign</xmp:CreatorTool>
<pdf:Producer>Countersign</pdf:Producer>
<pdfaid:part>3</pdfaid:part><pdfaid:conformance>A</pdfaid:conformance><pdfuaid:part>1</pdfuaid:part>
</rdf:Description>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA Universal Accessibility Schema</pdfaSchema:schema><pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI><pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource"><pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType><pdfaProperty:category>internal</pdfaProperty:category><pdfaProperty:description>Part of ISO 14289 that the file conforms to</pdfaProperty:description></rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>`
}

// grayProfile is an ICC profile (version 2) of a gray display with the gamma of sRGB's middle: what black is, where nothing but black and gray is used.
func grayProfile() []byte {
	tag := func(kind string, body []byte) []byte {
		t := append([]byte(kind), 0, 0, 0, 0)
		t = append(t, body...)
		for len(t)%4 != 0 {
			t = append(t, 0)
		}
		return t
	}
	name := "Gray, gamma 2.2\x00"
	desc := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
	desc = append(desc, make([]byte, 4+4+2+1+67)...)
	white := []byte{0, 0, 0xf6, 0xd6, 0, 1, 0, 0, 0, 0, 0xd3, 0x2d} // D50
	parts := []struct {
		name string
		body []byte
	}{
		{"desc", tag("desc", desc)}, {"cprt", tag("text", []byte("No copyright, use freely\x00"))}, {"wtpt", tag("XYZ ", white)},
		{"kTRC", tag("curv", []byte{0, 0, 0, 1, 0x02, 0x33})}, // 2.2
	}
	table := binary.BigEndian.AppendUint32(nil, uint32(len(parts)))
	at := 128 + 4 + 12*len(parts)
	var body []byte
	for _, p := range parts {
		table = append(table, p.name...)
		table = binary.BigEndian.AppendUint32(table, uint32(at+len(body)))
		table = binary.BigEndian.AppendUint32(table, uint32(len(p.body)))
		body = append(body, p.body...)
	}
	head := make([]byte, 128)
	binary.BigEndian.PutUint32(head, uint32(at+len(body)))
	copy(head[8:], []byte{2, 0x40, 0, 0})
	copy(head[12:], "mntrGRAYXYZ ")
	copy(head[24:], []byte{7, 0xea, 0, 1, 0, 1})
	copy(head[36:], "acsp")
	copy(head[68:], white)
	return append(append(head, table...), body...)
}
