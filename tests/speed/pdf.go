package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
)

// writePDF writes a PDF of one page with an attachment of about so many bytes, which nothing can compress, as scans can't be: for bundles of any size. Equal sizes give equal files.
func writePDF(name string, size int) error {
	noise := make([]byte, size)
	source := rand.NewChaCha8([32]byte{})
	if _, err := source.Read(noise); err != nil {
		return fmt.Errorf("couldn't make the attachment: %w", err)
	}
	var out bytes.Buffer
	var at []int
	object := func(body string) {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", len(at), body)
	}
	out.WriteString("%PDF-1.7\n")
	object("<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles << /Names [ (noise) 4 0 R ] >> >> >>")
	object("<< /Type /Pages /Kids [ 3 0 R ] /Count 1 >>")
	object("<< /Type /Page /Parent 2 0 R /MediaBox [ 0 0 595 842 ] /Resources << >> >>")
	object("<< /Type /Filespec /F (noise) /UF (noise) /EF << /F 5 0 R >> >>")
	object(fmt.Sprintf("<< /Type /EmbeddedFile /Length %d >>\nstream\n%s\nendstream", size, noise))
	from := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f\r\n", len(at)+1)
	for _, offset := range at {
		fmt.Fprintf(&out, "%010d 00000 n\r\n", offset)
	}
	fmt.Fprintf(&out, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, from)
	return os.WriteFile(name, out.Bytes(), 0o644) //nolint:gosec // to be signed and shown
}
