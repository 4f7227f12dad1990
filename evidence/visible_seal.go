package evidence

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/pades"
)

// VisibleSeal is one with the transaction that it is of.
type VisibleSeal struct {
	countersign.VisibleSeal
	Request string // its id
	Context string // digest of the context, hex
}

// VisibleSealOf is the visible seal of a transaction: nil where people approved an invisible signature.
func VisibleSealOf(c countersign.Context, digest, request string) *VisibleSeal {
	if c.VisibleSeal == nil {
		return nil
	}
	return &VisibleSeal{VisibleSeal: *c.VisibleSeal, Request: request, Context: digest}
}

// drawn is the seal as it is drawn. It says only what the evidence proves: that the tenant signed by electronic means, for which request, when the intent
// was locked, and which transaction's evidence to look for. No person is named: who approved is in the evidence.
func (s VisibleSeal) drawn(at time.Time) (*pades.Seal, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("couldn't draw the visible seal: %w", err)
	}
	color, err := hex.DecodeString(s.Color[1:])
	if err != nil || len(s.Context) != 64 {
		return nil, fmt.Errorf("couldn't draw the visible seal: it has no colour, or no transaction")
	}
	when := at.UTC().Format("2006-01-02 15:04:05") + " UTC"
	short := s.Context[:4] + " " + s.Context[4:8] + " " + s.Context[8:12] + " " + s.Context[12:16]
	drawn := &pades.Seal{
		Last: s.Page == "last", Corner: pades.Corner(s.Corner), X: s.X, Y: s.Y, Width: s.Width, Height: s.Height, Color: [3]byte(color),
		Lines:       []string{s.Name, "Signed electronically", "Request " + s.Request, "Intent to sign " + when, "Transaction " + short},
		Description: fmt.Sprintf("%s. Signed electronically. Request %s. Intent to sign %s. Transaction %s.", s.Name, s.Request, when, short),
	}
	if s.Logo != nil {
		drawn.Picture = &pades.Picture{Width: s.Logo.Width, Height: s.Logo.Height, Pixels: s.Logo.Pixels}
	}
	return drawn, nil
}

// CheckVisibleSeal says whether a seal can be drawn, with its name whole. Errors say what to change.
func CheckVisibleSeal(v countersign.VisibleSeal) error {
	drawn, err := VisibleSeal{VisibleSeal: v, Request: "A", Context: countersign.SHA256(nil)}.drawn(time.Unix(0, 0))
	if err != nil {
		return err
	}
	return drawn.Whole()
}

// ShowsSeal says whether a document that can be signed can show a seal as well. What it can't show is signed invisibly.
func ShowsSeal(f *pades.File, v countersign.VisibleSeal) error {
	drawn, err := VisibleSeal{VisibleSeal: v, Request: "A", Context: countersign.SHA256(nil)}.drawn(time.Unix(0, 0))
	if err != nil {
		return err
	}
	_, err = f.Update(pades.Params{Seal: drawn})
	return err
}
