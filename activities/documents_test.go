package activities

import (
	"bytes"
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
