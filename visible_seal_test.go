package countersign_test

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// Without the setting a signature is invisible; with it, everything that isn't said is taken from the tenant.
func TestAVisibleSealTakesTheTenantsNameAndColour(t *testing.T) {
	t.Parallel()
	if v := parsedSettings(t).VisibleSeal(); v != nil {
		t.Errorf("a file that asks for none has %+v", v)
	}
	for text, want := range map[string]countersign.VisibleSeal{
		"{}": {V: 1, Page: "last", Corner: "bottom-right", X: 24, Y: 12, Width: 200, Height: 52, Name: "Acme Corporation", Color: "#0b5394"},
		"{page: first, corner: top-left, x: 10mm, y: 0pt, width: 70mm, height: 2.5e1mm, name: Acme Ltd, color: '#FF00aa'}": {
			V: 1, Page: "first", Corner: "top-left", X: 28, Y: 0, Width: 198, Height: 71, Name: "Acme Ltd", Color: "#ff00aa"},
	} {
		s, err := countersign.ParseSettings("acme.yaml", []byte(goodSettings(t)+"\nsignedPDF:\n  visibleSeal: "+text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.VisibleSeal(); got == nil || *got != want {
			t.Errorf("%s is %+v, want %+v", text, got, want)
		}
	}
	for text, says := range map[string]string{
		"{page: middle}":    `page "middle" is neither first nor last`,
		"{color: green}":    "write #rrggbb",
		"{width: 20}":       "write 20mm or 57pt",
		"{width: -20mm}":    "write 20mm or 57pt",
		"{width: NaNmm}":    "write 20mm or 57pt",
		"{x: 99999mm}":      "write 20mm or 57pt",
		"{font: Zapfino}":   `there is no setting "font" here`,
		"{logo: [a.png]}":   "acme.yaml:",
		"{corner: {a: b}}":  "acme.yaml:",
		"{height: 2cm}":     "write 20mm or 57pt",
		"{color: '#12345'}": "write #rrggbb",
	} {
		_, err := countersign.ParseSettings("acme.yaml", []byte(goodSettings(t)+"\nsignedPDF:\n  visibleSeal: "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

// People approve a context's digest: what the signature shows is in it, and a context without a seal has the digest that it always had.
func TestTheContextsDigestCoversTheVisibleSeal(t *testing.T) {
	t.Parallel()
	digest := func(c countersign.Context) string {
		t.Helper()
		d, err := c.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	c := countersign.Context{V: 1, Tenant: "acme"}
	seen := map[string]bool{digest(c): true}
	for _, seal := range []countersign.VisibleSeal{
		{V: 1, Name: "Acme"}, {V: 1, Name: "Acme", X: 1}, {V: 1, Name: "Acme", Logo: &countersign.Logo{Width: 1, Height: 1, Pixels: []byte{1}}},
		{V: 1, Name: "Acme", Logo: &countersign.Logo{Width: 1, Height: 1, Pixels: []byte{2}}},
	} {
		c.VisibleSeal = &seal
		if d := digest(c); seen[d] {
			t.Errorf("%+v has the digest of another", seal)
		} else {
			seen[d] = true
		}
	}
}
