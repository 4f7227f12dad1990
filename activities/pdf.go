package activities

import (
	"errors"
	"io"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/pades"
)

// maxInspection bounds how long a stranger's PDF may keep the reader busy.
const maxInspection = 20 * time.Second

// InspectPDF refuses what can't be signed: not a PDF, encrypted, without pages, broken, closed by an earlier signature, or made to keep us
// busy. What passes can be signed later: the update that the signature needs is written here once, without the signature. It reads only a
// little of the document, and keeps nothing of it in memory.
func InspectPDF(r io.ReaderAt, size int64) (evidence.DocumentFacts, *countersign.Refusal) {
	return inspectPDF(r, size, nil)
}

// inspectPDF also says why the document can't show the seal, if there is one and it can't.
func inspectPDF(r io.ReaderAt, size int64, seal *countersign.VisibleSeal) (evidence.DocumentFacts, *countersign.Refusal) {
	if size == 0 {
		return evidence.DocumentFacts{}, countersign.Refuse("document-empty", "the document is empty (0 bytes)")
	}
	head := make([]byte, 5)
	if n, _ := r.ReadAt(head, 0); string(head[:n]) != "%PDF-" {
		return evidence.DocumentFacts{}, countersign.Refuse("not-a-pdf", "the document is not a PDF: it doesn't begin with %%PDF-")
	}
	type result struct {
		facts   evidence.DocumentFacts
		refusal *countersign.Refusal
	}
	read := make(chan result, 1)
	go func() {
		facts, refusal := readPDF(r, size, seal)
		read <- result{facts, refusal}
	}()
	late := time.NewTimer(maxInspection)
	defer late.Stop()
	select {
	case r := <-read:
		return r.facts, r.refusal
	case <-late.C:
		return evidence.DocumentFacts{}, countersign.Refuse("pdf-broken", "the PDF takes more than %s to read; open it and save it again", maxInspection)
	}
}

func readPDF(r io.ReaderAt, size int64, seal *countersign.VisibleSeal) (facts evidence.DocumentFacts, refusal *countersign.Refusal) {
	// The reader reads what strangers send; a panic in it is their broken file, not our crash.
	defer func() {
		if recover() != nil {
			facts, refusal = evidence.DocumentFacts{}, countersign.Refuse("pdf-broken", "the PDF can't be read; open it and save it again")
		}
	}()
	f, err := pades.Open(r, size)
	if err == nil {
		_, err = f.Update(pades.Params{})
	}
	if refusal := refusedPDF(err); refusal != nil {
		return facts, refusal
	}
	if err != nil {
		return facts, countersign.Refuse("pdf-broken", "the PDF can't be read; open it and save it again")
	}
	return evidence.DocumentFacts{Bytes: size, Pages: f.Pages, NoSeal: noSeal(f, seal)}, nil
}

// refusals say of each reason for which a PDF can't be signed what its sender can do.
var refusals = []struct {
	err          error
	code, advice string
}{
	{pades.ErrEncrypted, "pdf-encrypted", "the PDF is encrypted; take the password off and send it again"},
	{pades.ErrNoPages, "pdf-no-pages", "the PDF has no pages"},
	{pades.ErrCertified, "pdf-certified", "the PDF is certified, and who certified it allows no further signature; ask them for one that is not, or certified so that signatures may be added"},
	{pades.ErrLocked, "pdf-locked", "a signature in the PDF locks its form, so that no further one can be added; ask whoever signed it for one that leaves the form open, or send the PDF from before that signature"},
	{pades.ErrDynamic, "pdf-dynamic", "the PDF is a dynamic form (XFA), whose pages are not in the file; print it to a PDF and send that"},
	{pades.ErrHybrid, "pdf-broken", "the PDF lists its objects in two ways that don't fit each other; open it and save it again"},
	{pades.ErrUnsupported, "pdf-unsupported", "the PDF is packed in a way that is not read here; open it and save it again, as PDF 1.5 or later"},
	{pades.ErrBounds, "pdf-too-complex", "the PDF has more objects, fields or revisions than are read; print it to a PDF and send that"},
	{pades.ErrBroken, "pdf-broken", "the PDF's structure is broken, and is not repaired here, because a repaired file is not the one that was sent; open it and save it again"},
}

// refusedPDF is nil where err is not about the PDF.
func refusedPDF(err error) *countersign.Refusal {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return countersign.Refuse(r.code, "%s", r.advice)
		}
	}
	return nil
}
