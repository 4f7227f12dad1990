package activities

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// tenantWith is the settings of a tenant with a visible seal, and the directory that its logo lies in.
func tenantWith(t *testing.T, seal string, files map[string][]byte) (*countersign.Settings, string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("../testdata/settings/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := countersign.ParseSettings("acme.yaml", fmt.Appendf(raw, "\nsignedPDF:\n  visibleSeal: %s\n", seal))
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func picture(t *testing.T, width, height int, at func(x, y int) color.Color, encode func(io.Writer, image.Image) error) []byte {
	t.Helper()
	p := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p.Set(x, y, at(x, y))
		}
	}
	var out bytes.Buffer
	if err := encode(&out, p); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A logo is its pixels, on white, whatever else its file says.
func TestALogoIsItsPixels(t *testing.T) {
	t.Parallel()
	half := picture(t, 3, 1, func(x, _ int) color.Color { return color.NRGBA{200, 0, 0, []byte{255, 128, 0}[x]} }, png.Encode)
	s, dir := tenantWith(t, "{logo: a.png}", map[string][]byte{"a.png": half})
	v, err := OpenVisibleSeal(s, dir)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zlib.NewReader(bytes.NewReader(v.Logo.Pixels))
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := io.ReadAll(z)
	if want := []byte{200, 0, 0, 227, 127, 127, 255, 255, 255}; err != nil || !bytes.Equal(pixels, want) || v.Logo.Width != 3 || v.Logo.Height != 1 {
		t.Errorf("%d × %d pixels %v (%v), want %v", v.Logo.Width, v.Logo.Height, pixels, err, want)
	}
	photo := picture(t, 40, 20, func(x, _ int) color.Color { return color.NRGBA{uint8(x), 100, 0, 255} },
		func(w io.Writer, p image.Image) error { return jpeg.Encode(w, p, nil) })
	s, dir = tenantWith(t, "{logo: a.jpg}", map[string][]byte{"a.jpg": photo})
	if v, err := OpenVisibleSeal(s, dir); err != nil || v.Logo.Width != 40 {
		t.Errorf("a JPEG: %+v, %v", v, err)
	}
	s, dir = tenantWith(t, "{}", nil)
	if v, err := OpenVisibleSeal(s, dir); err != nil || v.Logo != nil {
		t.Errorf("no logo: %+v, %v", v, err)
	}
}

// TestM4_AWorkerDoesNotStartWithASealThatCannotBeDrawn has a fault for each bound. Each names the line of the file.
func TestM4_AWorkerDoesNotStartWithASealThatCannotBeDrawn(t *testing.T) {
	t.Parallel()
	noise := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a picture, no secret
	plain := func(int, int) color.Color { return color.Black }
	files := map[string][]byte{
		"large.png": picture(t, 513, 1, plain, png.Encode),
		"noise.png": picture(t, 200, 200, func(int, int) color.Color { return color.NRGBA{uint8(noise.Uint32()), uint8(noise.Uint32()), 0, 255} }, png.Encode),
		"wide.png":  picture(t, 512, 10, plain, png.Encode),
		"logo.svg":  []byte("<svg/>"),
		"long.png":  make([]byte, maxLogoFile+1),
		"cut.png":   picture(t, 100, 100, plain, png.Encode)[:60],
	}
	for seal, says := range map[string]string{
		"{logo: none.png}":  "couldn't read the logo",
		"{logo: large.png}": "it has 513 × 1 pixels",
		"{logo: noise.png}": "make it smaller, or of fewer colours",
		"{logo: logo.svg}":  "neither PNG nor JPEG",
		"{logo: long.png}":  "more than 1048576 bytes",
		"{logo: cut.png}":   "couldn't read the logo",
		"{corner: middle}":  `"middle" is no corner`,
		"{width: 20mm}":     "57 × 52 points",
		"{x: 3000mm}":       "points from its corner",
		"{name: 株式会社}":      "its font has no U+682A",
		"{name: An organisation whose name is so long that nobody can read it in a seal, width: 44mm, logo: wide.png}": "doesn't fit into its width",
	} {
		s, dir := tenantWith(t, seal, files)
		if _, err := OpenVisibleSeal(s, dir); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "acme.yaml:") {
			t.Errorf("%s: %v, want %q and the line", seal, err, says)
		}
	}
}

// A document that can't show the seal is signed without it, and the evidence says why.
func TestIntakeSaysWhyADocumentShowsNoSeal(t *testing.T) {
	t.Parallel()
	s, dir := tenantWith(t, "{}", nil)
	seal, err := OpenVisibleSeal(s, dir)
	if err != nil {
		t.Fatal(err)
	}
	certified := page("<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [ << /FT /Sig /T (a) /V 4 0 R >> ] >> >>",
		"<< /Type /Sig /ByteRange [ 0 1 2 3 ] /Reference [ << /TransformMethod /DocMDP /TransformParams << /P 2 >> >> ] >>")
	for says, body := range map[string][]byte{
		"":                      contract(t),
		"too small for it":      page("<< /Type /Catalog /Pages 2 0 R >>"),
		"allows no new mark on": certified,
	} {
		facts, refusal := inspectPDF(bytes.NewReader(body), int64(len(body)), seal)
		if refusal != nil || (facts.NoSeal == "") != (says == "") || !strings.Contains(facts.NoSeal, says) {
			t.Errorf("%q: %+v, refused as %v", says, facts, refusal)
		}
		if facts, refusal := InspectPDF(bytes.NewReader(body), int64(len(body))); refusal != nil || facts.NoSeal != "" {
			t.Errorf("nobody asked for a seal: %+v, refused as %v", facts, refusal)
		}
	}
}
