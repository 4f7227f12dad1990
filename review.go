package countersign

import (
	"errors"
	"fmt"
	"strings"
)

// The findings of a review.
const (
	FindingJustified    = "justified"
	FindingNotJustified = "not-justified"
)

// ReviewClosing is the payload of the close signal of a review: what its owner found. The server's stamp on the signal says who closed it.
type ReviewClosing struct {
	ID      string `json:"id" doc:"The caller's id of this closing, for duplicates."`
	Finding string `json:"finding" enum:"justified,not-justified"`
	Note    string `json:"note" doc:"What was looked at, and why the finding is what it is." maxLength:"2000"`
}

// Check finds what is wrong with the closing itself.
func (r ReviewClosing) Check() error {
	if err := CheckRequestID(r.ID); err != nil {
		return fmt.Errorf("review: id: %w", err)
	}
	switch {
	case r.Finding != FindingJustified && r.Finding != FindingNotJustified:
		return fmt.Errorf("review: finding %q is neither justified nor not-justified", clip(r.Finding))
	case strings.TrimSpace(r.Note) == "":
		return errors.New("review: a note is missing; say what you looked at")
	}
	return checkText("review: note", r.Note, MaxReason)
}
