package pades

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden updates anew")

var claimed = Params{At: time.Date(2026, 11, 26, 15, 52, 13, 0, time.UTC), SHA256: sha256.Sum256([]byte("document"))}

// Every kind of file that is accepted, with what the update must and must not write anew.
func kinds(t testing.TB) map[string]struct {
	raw      []byte
	has, not []string
} {
	form := simple().with(objects{
		1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R >>",
		3: "<< /Type /Page /Parent 2 0 R /Annots 7 0 R >>",
		5: "<< /Fields [6 0 R] /NeedAppearances true /DA (/Helv 0 Tf) >>",
		6: "<< /FT /Tx /T (name) /V (Ada) >>",
		7: "[6 0 R]",
	})
	return map[string]struct {
		raw      []byte
		has, not []string
	}{
		"a table": {simple().table("/ID [<01> <02>]"), []string{
			"1 0 obj\n<< /Type /Catalog /Pages 2 0 R  /AcroForm 7 0 R >>", "/Contents 4 0 R  /Annots [ 6 0 R ] >>", "xref\n1 1\n", "/ID [ <01> <"}, []string{"\n2 0 obj", "\n4 0 obj"}},
		"a cross-reference stream": {simple().streamed(t), []string{
			"1 0 obj\n<< /Type /Catalog /Pages 2 0 R  /AcroForm 9 0 R >>", "/Type /XRef /W [ 1 6 2 ] /Index [ 1 1 3 1 7 4 ]"}, []string{"trailer", "\nxref"}},
		"a form": {form.table(""), []string{
			"5 0 obj\n<< /Fields [6 0 R 9 0 R ] /NeedAppearances true /DA (/Helv 0 Tf)  /SigFlags 3 >>", "7 0 obj\n[6 0 R 9 0 R ]\n"}, []string{"\n1 0 obj", "\n3 0 obj", "\n6 0 obj"}},
		"a form in an object stream": {form.streamed(t), []string{"5 0 obj\n<< /Fields [6 0 R"}, []string{"\n1 0 obj", "\n3 0 obj"}},
		"a form in the catalog": {simple().with(objects{1: "<< /AcroForm << /Fields [] /SigFlags 1 >> /Type /Catalog /Pages 2 0 R >>"}).table(""),
			[]string{"<< /AcroForm << /Fields [ 6 0 R ] /SigFlags  3  >> /Type"}, nil},
		"an earlier signature":                       {signedForm("", "").table(""), []string{"/T (Countersign2)"}, []string{"\n1 0 obj", "\n7 0 obj", "\n6 0 obj"}},
		"a signature that allows forms to be filled": {signedForm("/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 2 >> >>]", "").table(""), []string{"/T (Countersign2)"}, nil},
		"a signature that locks other fields": {signedForm("/Reference [<< /TransformMethod /FieldMDP /TransformParams << /Action /Include /Fields [(Countersign2)] >> >>]", "").table(""),
			[]string{"/T (Countersign3)"}, nil},
		"a name in UTF-16": {signedForm("", "/X 1").with(objects{6: "<< /FT /Tx /T <feff0043006f0075006e00740065007200730069006706e0031> >>"}).table(""), []string{"/T (Countersign1)"}, nil},
		"signed by us":     {signed(t, simple().table("")), []string{"/T (Countersign2)", "/Prev "}, []string{"\n1 0 obj"}},
		"a hybrid that hides its form": {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R >>"}).hybrid(t, 5),
			[]string{"5 0 obj\n<< /Fields [ 11 0 R ] /SigFlags  3  >>", "xref\n3 1\n"}, []string{"\n1 0 obj", "XRefStm"}},
		"a page behind an empty branch": {simple().with(objects{2: "<< /Type /Pages /Kids [8 0 R 3 0 R] /Count 1 >>", 8: "<< /Type /Pages /Kids [] /Count 0 >>"}).table(""),
			[]string{"/P 3 0 R"}, nil},
	}
}

// TestN2_TheUpdateIsOneIncrement signs each kind of file: what it had stays its beginning, only what must name the new field is written anew,
// the file is read back, and all but the place for the signature is covered.
func TestN2_TheUpdateIsOneIncrement(t *testing.T) {
	t.Parallel()
	for name, c := range kinds(t) {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			f, err := open(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			u, err := f.Update(claimed)
			if err != nil {
				t.Fatal(err)
			}
			cms := []byte{0x30, 3, 2, 1, 7}
			tail, err := u.Fill(cms)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range append(c.has, "/SubFilter /ETSI.CAdES.detached", "/M (D:20261126155213+00'00')", "/F 132", "/Rect [ 0 0 0 0 ]") {
				if !bytes.Contains(tail, []byte(want)) {
					t.Errorf("the update has no %q", want)
				}
			}
			for _, bad := range append(c.not, "/Reason", "DocMDP", "/Reference") {
				if bytes.Contains(tail, []byte(bad)) {
					t.Errorf("the update has %q", bad)
				}
			}
			whole := append(bytes.Clone(c.raw), tail...)
			var a, b, e, n int64
			i := bytes.LastIndex(whole, []byte("/ByteRange ["))
			if _, err := fmt.Sscanf(string(whole[i+len("/ByteRange ["):]), "%d %d %d %d", &a, &b, &e, &n); err != nil {
				t.Fatal(err)
			}
			if a != 0 || whole[b] != '<' || whole[e-1] != '>' || e-b != 2*MaxCMS+2 || e+n != int64(len(whole)) {
				t.Errorf("the range %d %d %d %d doesn't cover all but the signature", a, b, e, n)
			}
			h, covered := sha256.New(), sha256.New()
			if err := u.Digest(h); err != nil {
				t.Fatal(err)
			}
			covered.Write(whole[:b])
			covered.Write(whole[e:])
			if !bytes.Equal(h.Sum(nil), covered.Sum(nil)) {
				t.Error("the digest is of something else than the range")
			}
			if got, err := u.Extract(tail); err != nil || !bytes.Equal(got, cms) {
				t.Errorf("the signature comes back as %x, %v", got, err)
			}
			again, err := open(whole)
			if err != nil {
				t.Fatalf("the signed file can't be read: %v", err)
			}
			if again.Pages != f.Pages || again.signatureFields != f.signatureFields+1 || again.streamed != f.streamed {
				t.Errorf("the signed file has %d pages and %d signatures", again.Pages, again.signatureFields)
			}
			path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".update")
			small := bytes.Replace(tail, bytes.Repeat([]byte("0"), 2*MaxCMS-10), []byte("..."), 1)
			if *update {
				if err := os.WriteFile(path, small, 0o644); err != nil { //nolint:gosec // goldens are for everybody
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(golden, small) {
				t.Errorf("the update is another than that of %s: signatures of before would not verify any more", path)
			}
		})
	}
}

// TestM4_APDFThatCannotBeSignedIsRefused has a file for each reason.
func TestM4_APDFThatCannotBeSignedIsRefused(t *testing.T) {
	t.Parallel()
	good := string(simple().table(""))
	changed := func(from, to string) []byte {
		if !strings.Contains(good, from) {
			t.Fatalf("there is no %q", from)
		}
		return []byte(strings.Replace(good, from, to, 1))
	}
	deep := strings.Repeat("[", maxDepth+2) + strings.Repeat("]", maxDepth+2)
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":                             {nil, ErrBroken},
		"another header":                      {[]byte(strings.Replace(good, "%PDF-", "%PDX-", 1)), ErrBroken},
		"no end":                              {[]byte(good[:len(good)-30]), ErrBroken},
		"a startxref into nowhere":            {changed("startxref\n", "startxref\n9"), ErrBroken},
		"a startxref beside":                  {changed("startxref\n2", "startxref\n1"), ErrBroken},
		"a table that is off":                 {changed("1 1\n00000000", "1 1\n00000001"), ErrBroken},
		"no catalog":                          {changed("/Root 1 0 R", "/Root 9 0 R"), ErrBroken},
		"a catalog in the trailer":            {simple().table("/Root << >>"), ErrBroken},
		"a circle of sections":                {simple().table(fmt.Sprintf("/Prev %d", strings.Index(good, "xref"))), ErrBroken},
		"a Prev outside":                      {simple().table("/Prev 99999"), ErrBroken},
		"encrypted":                           {simple().table("/Encrypt << /Filter /Standard >>"), ErrEncrypted},
		"encrypted, by reference":             {simple().table("/Encrypt 4 0 R"), ErrEncrypted},
		"no pages":                            {simple().with(objects{2: "<< /Type /Pages /Kids [] /Count 0 >>"}).table(""), ErrNoPages},
		"pages that are counted only":         {simple().with(objects{2: "<< /Type /Pages /Kids [] /Count 1 >>"}).table(""), ErrNoPages},
		"pages in a circle":                   {simple().with(objects{2: "<< /Type /Pages /Kids [2 0 R] /Count 1 >>"}).table(""), ErrBroken},
		"a catalog that says things twice":    {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /Pages 3 0 R >>"}).table(""), ErrBroken},
		"a page that says things twice":       {simple().with(objects{3: "<< /Type /Page /Annots [] /Annots [] >>"}).table(""), ErrBroken},
		"values nested too deep":              {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /X " + deep + " >>"}).table(""), ErrBounds},
		"a number over the limit":             {simple().with(objects{maxObjects: "null"}).table(""), ErrBroken},
		"a hybrid into nowhere":               {simple().table("/XRefStm 99999"), ErrHybrid},
		"a hybrid onto a page":                {simple().table("/XRefStm 20"), ErrHybrid},
		"a hybrid that has two pages for one": {simple().hybrid(t, 3), ErrHybrid},
		"an object in two places":             {changed("65535 f \n", "65535 f \n1 1\n0000000015 00000 n \n"), ErrBroken},
		"a dynamic form":                      {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /NeedsRendering true >>"}).table(""), ErrDynamic},
		"certified":                           {signedForm("/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 1 >> >>]", "").table(""), ErrCertified},
		"certified, in an object stream":      {signedForm("/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 1 >> >>]", "").streamed(t), ErrCertified},
		"certified, named in the catalog alone": {simple().with(objects{
			1: "<< /Type /Catalog /Pages 2 0 R /Perms << /DocMDP 5 0 R >> >>",
			5: "<< /Type /Sig /Reference [ << /TransformMethod /DocMDP /TransformParams << /P 1 >> >> ] >>"}).table(""), ErrCertified},
		"a lock on everything":            {signedForm("", "/Lock << /Action /All /P 1 >>").table(""), ErrCertified},
		"all fields locked":               {signedForm("/Reference [<< /TransformMethod /FieldMDP /TransformParams << /Action /All >> >>]", "").table(""), ErrLocked},
		"all fields but others locked":    {signedForm("/Reference [<< /TransformMethod /FieldMDP /TransformParams << /Action /Exclude /Fields [(x)] >> >>]", "").table(""), ErrLocked},
		"fields in a circle":              {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R >>", 5: "<< /Fields [6 0 R] >>", 6: "<< /Kids [6 0 R] >>"}).table(""), ErrBounds},
		"a form and a page with one list": {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields 5 0 R >> >>", 3: "<< /Type /Page /Annots 5 0 R >>", 5: "[]"}).table(""), ErrBroken},
		"references in a circle":          {simple().with(objects{1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R >>", 5: "6 0 R", 6: "5 0 R"}).table(""), ErrBroken},
		"another filter":                  {[]byte(strings.Replace(string(simple().streamed(t)), "/Filter /FlateDecode", "/Filter /LZWDecode  ", 1)), ErrUnsupported},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			f, err := open(c.raw)
			if err == nil {
				_, err = f.Update(Params{})
			}
			if !errors.Is(err, c.want) {
				t.Errorf("it is refused as %v, want %v", err, c.want)
			}
		})
	}
}

// A signature that is too large is an error, and never cut.
func TestTheSignatureHasToFit(t *testing.T) {
	t.Parallel()
	f, err := open(simple().table(""))
	if err != nil {
		t.Fatal(err)
	}
	u, err := f.Update(Params{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Fill(make([]byte, MaxCMS+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large a signature: %v", err)
	}
	if _, err := u.Fill(make([]byte, MaxCMS)); err != nil {
		t.Errorf("the largest signature: %v", err)
	}
}

// FuzzOpen feeds foreign bytes to the reader. It may refuse, and must not panic or hang; what it accepts can be signed, read again, and has one
// page at least.
func FuzzOpen(f *testing.F) {
	for _, c := range kinds(f) {
		f.Add(c.raw)
	}
	f.Add(tagged("<< /Nums [0 [9 0 R]] >>").table(""))
	f.Add(tagged("<< /Kids [10 0 R] >>").with(objects{10: "<< /Limits [0 41] >>"}).streamed(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := open(raw)
		if err != nil {
			return
		}
		if file.Pages < 1 {
			t.Error("it has no page, and passes")
		}
		u, err := file.Update(claimed)
		if err != nil {
			return
		}
		tail, err := u.Fill([]byte{0x30, 0})
		if err != nil {
			t.Fatal(err)
		}
		again, err := open(append(bytes.Clone(raw), tail...))
		if err != nil {
			t.Fatalf("what was signed can't be read: %v", err)
		}
		if again.signatureFields <= file.signatureFields {
			t.Error("what was signed has no further signature")
		}
		tail, err = trySealed(raw, seal())
		if err != nil {
			return
		}
		if _, err := open(append(bytes.Clone(raw), tail...)); err != nil {
			t.Fatalf("what was signed with a seal can't be read: %v", err)
		}
	})
}
