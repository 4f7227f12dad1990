package activities

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
)

func contract(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("../tests/testdata/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestInspectPDF(t *testing.T) {
	t.Parallel()
	good := contract(t)
	encrypted := func(user string) []byte {
		api.DisableConfigDir()
		var out bytes.Buffer
		if err := api.Encrypt(bytes.NewReader(good), &out, model.NewAESConfiguration(user, "owner", 256)); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for name, c := range map[string]struct {
		body       []byte
		code, says string
	}{
		"empty":                    {nil, "document-empty", "0 bytes"},
		"a word document":          {[]byte("PK\x03\x04"), "not-a-pdf", "%PDF-"},
		"nothing after the header": {[]byte("%PDF-1.7\n"), "pdf-broken", "save it again"},
		"cut in the middle":        {good[:len(good)/3], "pdf-broken", "save it again"},
		"encrypted":                {encrypted("user"), "pdf-encrypted", "take the password off"},
		"encrypted, opens for all": {encrypted(""), "pdf-encrypted", "take the password off"},
	} {
		if _, r := InspectPDF(bytes.NewReader(c.body), int64(len(c.body))); r == nil || r.Code != c.code || !strings.Contains(r.Message, c.says) {
			t.Errorf("%s: refused as %+v, want %q with %q", name, r, c.code, c.says)
		}
	}
	if facts, r := InspectPDF(bytes.NewReader(good), int64(len(good))); r != nil || facts.Pages != 1 || facts.Bytes != int64(len(good)) {
		t.Errorf("the contract: %+v, refused as %v", facts, r)
	}
}

// TestM4_IntakeRefusesWhatCannotBeSigned has a PDF for each reason that only a signature makes one, and each refusal says what to do.
func TestM4_IntakeRefusesWhatCannotBeSigned(t *testing.T) {
	t.Parallel()
	catalog := func(more string) []string { return []string{"<< /Type /Catalog /Pages 2 0 R " + more + " >>"} }
	form := func(signature string) []string {
		return append(catalog("/AcroForm << /Fields [ << /FT /Sig /T (a) /V 4 0 R >> ] >>"), "<< /Type /Sig /ByteRange [ 0 1 2 3 ] /Reference [ "+signature+" ] >>")
	}
	for name, c := range map[string]struct {
		objects    []string
		code, says string
	}{
		"certified":          {form("<< /TransformMethod /DocMDP /TransformParams << /P 1 >> >>"), "pdf-certified", "ask them for one that is not"},
		"with a locked form": {form("<< /TransformMethod /FieldMDP /TransformParams << /Action /All >> >>"), "pdf-locked", "from before that signature"},
		"dynamic":            {catalog("/NeedsRendering true"), "pdf-dynamic", "print it to a PDF"},
		"without pages":      {[]string{"<< /Type /Catalog >>"}, "pdf-no-pages", "no pages"},
		"too deep":           {catalog("/X " + strings.Repeat("[", 99) + strings.Repeat("]", 99)), "pdf-too-complex", "print it to a PDF"},
		"said twice":         {catalog("/Pages 3 0 R"), "pdf-broken", "open it and save it again"},
		"in order":           {form("<< /TransformMethod /DocMDP /TransformParams << /P 2 >> >>"), "", ""},
	} {
		body := page(c.objects[0], c.objects[1:]...)
		switch facts, r := InspectPDF(bytes.NewReader(body), int64(len(body))); {
		case c.code == "" && (r != nil || facts.Pages != 1):
			t.Errorf("%s: %+v, refused as %v", name, facts, r)
		case c.code != "" && (r == nil || r.Code != c.code || !strings.Contains(r.Message, c.says)):
			t.Errorf("%s: refused as %+v, want %q with %q", name, r, c.code, c.says)
		}
	}
}

// page is a PDF of one page with this catalog, and more objects from number 4 on.
func page(catalog string, more ...string) []byte {
	objects := append([]string{catalog, "<< /Type /Pages /Kids [ 3 0 R ] /Count 1 >>", "<< /Type /Page /Parent 2 0 R /MediaBox [ 0 0 9 9 ] >>"}, more...)
	out, rows := "%PDF-1.7\n", ""
	for i, o := range objects {
		rows += fmt.Sprintf("%010d 00000 n \n", len(out))
		out += fmt.Sprintf("%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	return fmt.Appendf(nil, "%sxref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", out, len(objects)+1, rows, len(objects)+1, len(out))
}

// FuzzInspectPDF feeds foreign bytes to the PDF parser: it may refuse, and must not panic, hang or let pass what has no page.
func FuzzInspectPDF(f *testing.F) {
	f.Add(contract(f))
	f.Add([]byte("%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj trailer<</Root 1 0 R>>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if facts, r := InspectPDF(bytes.NewReader(body), int64(len(body))); r == nil && facts.Pages < 1 {
			t.Errorf("%+v passes", facts)
		}
	})
}
