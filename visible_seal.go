package countersign

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// VisibleSeal is what the signature in the PDF shows on a page. It is frozen at intake, as a part of the context: people approve how it looks and where
// it stands, and a verifier draws it again. Nil is an invisible signature.
type VisibleSeal struct {
	V      int    `json:"v"`      // of the way in which it is drawn
	Page   string `json:"page"`   // "first" or "last"
	Corner string `json:"corner"` // of the page as it is shown: "top-left", "top-right", "bottom-left" or "bottom-right"
	X      int    `json:"x"`      // points from the corner's sides
	Y      int    `json:"y"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Name   string `json:"name"`
	Color  string `json:"color"` // #rrggbb
	// Logo may be left out.
	Logo *Logo `json:"logo,omitempty"`
}

// VisibleSealVersion is the way in which this build draws seals.
const VisibleSealVersion = 1

// Logo is a small picture: rows of pixels from the top, three bytes each, packed with zlib. It is whole in the context, so that it is in the evidence.
type Logo struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Pixels []byte `json:"pixels"` // base64 in JSON
}

// SignedPDFSetting is how the signed PDF looks.
type SignedPDFSetting struct {
	// VisibleSeal is nil where the signature is invisible.
	VisibleSeal *VisibleSealSetting `yaml:"visibleSeal"`
}

// VisibleSealSetting is what a tenant's file says of its visible seal. Everything may be left out: VisibleSeal says what then is taken.
type VisibleSealSetting struct {
	Page   string  `yaml:"page"`
	Corner string  `yaml:"corner"`
	X      *Length `yaml:"x"`
	Y      *Length `yaml:"y"`
	Width  *Length `yaml:"width"`
	Height *Length `yaml:"height"`
	Name   string  `yaml:"name"`
	Color  string  `yaml:"color"`
	Logo   string  `yaml:"logo"` // a PNG or JPEG file
}

// Length is a length in whole points, written "20mm" or "57pt".
type Length int

// UnmarshalYAML reads a length; what is less than a point is rounded.
func (l *Length) UnmarshalYAML(n *yaml.Node) error {
	for unit, points := range map[string]float64{"mm": 72 / 25.4, "pt": 1} {
		text, ok := strings.CutSuffix(n.Value, unit)
		if !ok {
			continue
		}
		if v, err := strconv.ParseFloat(text, 64); err == nil && v >= 0 && v <= 10_000 {
			*l = Length(math.Round(v * points))
			return nil
		}
	}
	return fmt.Errorf("line %d: %q is not a length: write 20mm or 57pt", n.Line, n.Value)
}

// VisibleSeal is the seal that the tenant's file describes, without its logo; nil where it describes none. By default it stands at the bottom right of the
// last page, where most documents have a margin, with the tenant's name and its brand's colour.
func (s *Settings) VisibleSeal() *VisibleSeal {
	v := s.SignedPDF.VisibleSeal
	if v == nil {
		return nil
	}
	length := func(l *Length, otherwise int) int {
		if l == nil {
			return otherwise
		}
		return int(*l)
	}
	text := func(choices ...string) string {
		for _, c := range choices {
			if c != "" {
				return c
			}
		}
		return ""
	}
	return &VisibleSeal{
		V: VisibleSealVersion, Page: text(v.Page, "last"), Corner: text(v.Corner, "bottom-right"),
		X: length(v.X, 24), Y: length(v.Y, 12), Width: length(v.Width, 200), Height: length(v.Height, 52),
		Name: text(v.Name, s.Name), Color: strings.ToLower(text(v.Color, s.Brand.Color, "#333333")),
	}
}

var colorPattern = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// Check says whether the members that are words and colours are such. Whether it can be drawn is for the evidence to say.
func (v VisibleSeal) Check() error {
	switch {
	case v.V != VisibleSealVersion:
		return fmt.Errorf("it is drawn in the way %d, which this build doesn't know", v.V)
	case v.Page != "first" && v.Page != "last":
		return fmt.Errorf("page %q is neither first nor last", v.Page)
	case !colorPattern.MatchString(v.Color):
		return fmt.Errorf("color %q is none: write #rrggbb", v.Color)
	}
	return nil
}

func (c *settingsCheck) visibleSeal(s *Settings) {
	if v := s.VisibleSeal(); v != nil {
		if err := v.Check(); err != nil {
			c.fault(at("signedPDF", "visibleSeal"), "signedPDF.visibleSeal: %v", err)
		}
	}
}
