package pades

import (
	"errors"
	"fmt"
)

// Why a PDF can't be signed; with ErrNoSeal, it can be without a visible seal. Errors of this package wrap one of them, and tell no byte of the document.
var (
	ErrBroken      = errors.New("the PDF's structure is broken")
	ErrEncrypted   = errors.New("the PDF is encrypted")
	ErrCertified   = errors.New("the PDF is certified, and whoever certified it allows no further signature")
	ErrLocked      = errors.New("an earlier signature locks the PDF's form, and allows no further field")
	ErrHybrid      = errors.New("the PDF lists its objects in two ways that don't fit each other")
	ErrUnsupported = errors.New("the PDF is packed in a way that is not read")
	ErrDynamic     = errors.New("the PDF is a dynamic form (XFA): its pages are made by a program, and are not in the file")
	ErrBounds      = errors.New("the PDF is over a limit")
	ErrNoPages     = errors.New("the PDF has no pages")
	ErrTooLarge    = errors.New("the signature is larger than the place kept for it")
	ErrNoSeal      = errors.New("the PDF can't show a visible seal")
	ErrSeal        = errors.New("the visible seal can't be drawn")
	ErrAltered     = errors.New("the PDF is not what this writer makes of the approved document")
)

func because(err error, format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{err}, args...)...)
}
