package evidence

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/evidence/pades"
)

func contractPDF(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile("../tests/testdata/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func approvedOf(document []byte) ApprovedPDF {
	digest := sha256.Sum256(document)
	return ApprovedPDF{Bytes: int64(len(document)), SHA256: hex.EncodeToString(digest[:]), At: sealedAt}
}

func mustSignPDF(t testing.TB, w *world, document []byte) []byte {
	t.Helper()
	update, err := SignPDF(t.Context(), bytes.NewReader(document), approvedOf(document), w.signer, w.tsa)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(document, update)
}

// TestN2_ASignedPDFVerifies signs with both curves: the key is asked once, the authority once, and the signature has no signing time.
func TestN2_ASignedPDFVerifies(t *testing.T) {
	t.Parallel()
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, curve)
			document := contractPDF(t)
			signed := mustSignPDF(t, w, document)
			if w.signer.calls != 1 || w.tsa.calls != 1 {
				t.Errorf("the key was asked %d times, the authority %d times", w.signer.calls, w.tsa.calls)
			}
			facts, err := VerifyPDF(bytes.NewReader(signed), int64(len(signed)), approvedOf(document), w.roots)
			if err != nil {
				t.Fatal(err)
			}
			if !facts.SigningTime.IsZero() || !facts.StampTime.Equal(w.tsa.at) || !facts.Signer.Equal(w.leaf.cert) {
				t.Errorf("it says %+v", facts)
			}
			other := newWorld(t, curve)
			if _, err := VerifyPDF(bytes.NewReader(signed), int64(len(signed)), approvedOf(document), other.roots); err == nil {
				t.Error("it verifies under other roots")
			}
		})
	}
}

// TestN2_EachFlippedByteOfASignedPDFIsFound flips one bit of each byte, cuts and lengthens. Of the many zeros behind the signature it takes
// one in sixteen.
func TestN2_EachFlippedByteOfASignedPDFIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	document := contractPDF(t)
	signed, approved := mustSignPDF(t, w, document), approvedOf(document)
	refused := func(raw []byte) bool {
		_, err := VerifyPDF(bytes.NewReader(raw), int64(len(raw)), approved, w.roots)
		return err != nil
	}
	if refused(signed) {
		t.Fatal("the signed PDF itself is refused, so this test would prove nothing")
	}
	last := bytes.LastIndex(signed, []byte("0> >>"))
	zeros := len(bytes.TrimRight(signed[:last], "0"))
	for i := range signed {
		if i > zeros && i < last && i%16 != 0 {
			continue
		}
		signed[i] ^= 1 << (i % 8)
		if !refused(signed) {
			t.Errorf("byte %d of %d may be changed", i, len(signed))
		}
		signed[i] ^= 1 << (i % 8)
	}
	for name, raw := range map[string][]byte{
		"cut":                    signed[:len(signed)-1],
		"the document alone":     document,
		"longer":                 append(bytes.Clone(signed), '\n'),
		"with upper-case digits": upper(t, signed, document),
	} {
		if !refused(raw) {
			t.Errorf("%s: it verifies", name)
		}
	}
	if at := (ApprovedPDF{Bytes: approved.Bytes, SHA256: approved.SHA256, At: sealedAt.Add(time.Second)}); func() bool {
		_, err := VerifyPDF(bytes.NewReader(signed), int64(len(signed)), at, w.roots)
		return err == nil
	}() {
		t.Error("it verifies for another time than it claims")
	}
}

// upper writes the first digit of the signature that can be so as a capital letter: the same bytes to every other reader.
func upper(t *testing.T, signed, document []byte) []byte {
	t.Helper()
	out := bytes.Clone(signed)
	from := len(document) + bytes.Index(signed[len(document):], []byte("/Contents <")) + len("/Contents <")
	i := bytes.IndexAny(out[from:], "abcdef")
	if i < 0 {
		t.Fatal("the signature has no letter")
	}
	out[from+i] -= 'a' - 'A'
	return out
}

// A signature with signing-time, which is right in CAdES and forbidden in PAdES, is refused, whoever made it.
func TestN2_ASignedPDFHasNoSigningTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	document := contractPDF(t)
	approved := approvedOf(document)
	update, err := updateOf(bytes.NewReader(document), approved)
	if err != nil {
		t.Fatal(err)
	}
	cms, err := signStamped(t.Context(), covered(update), w.signer, w.tsa, sealedAt, sealedAt)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := update.Fill(cms)
	if err != nil {
		t.Fatal(err)
	}
	signed := slices.Concat(document, tail)
	if _, err := VerifyPDF(bytes.NewReader(signed), int64(len(signed)), approved, w.roots); err == nil {
		t.Error("it verifies")
	}
}

// Nothing is asked of the key where the PDF can't be signed, and a signature that nobody can use is not made.
func TestM4_TheKeyIsNotAskedForAPDFThatCannotBeSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	document := bytes.Replace(contractPDF(t), []byte("startxref"), []byte("startXref"), 1)
	_, err := SignPDF(t.Context(), bytes.NewReader(document), approvedOf(document), w.signer, w.tsa)
	if !errors.Is(err, pades.ErrBroken) || w.signer.calls != 0 || w.tsa.calls != 0 {
		t.Errorf("%v, and the key was asked %d times", err, w.signer.calls)
	}
}

// TestN2_ALargePDFIsNotHeldInMemory signs and verifies 200 MB and allocates a small part of that, all in all. It runs alone: the count is the process's.
func TestN2_ALargePDFIsNotHeldInMemory(t *testing.T) { //nolint:paralleltest // see above
	const size, limit = 200 << 20, 8 << 20
	w := newWorld(t, elliptic.P256())
	file, err := os.Create(filepath.Join(t.TempDir(), "large.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	approved := ApprovedPDF{At: sealedAt}
	h := sha256.New()
	approved.Bytes = largePDF(t, io.MultiWriter(file, h), size)
	approved.SHA256 = hex.EncodeToString(h.Sum(nil))

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	update, err := SignPDF(t.Context(), file, approved, w.signer, w.tsa)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(update, approved.Bytes); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyPDF(file, approved.Bytes+int64(len(update)), approved, w.roots); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > limit {
		t.Errorf("signing and verifying %d bytes allocated %d, want at most %d", approved.Bytes, used, limit)
	} else {
		t.Logf("signing and verifying %d bytes allocated %d", approved.Bytes, used)
	}
}

// largePDF writes a PDF of one page with one large picture, as a scanner makes it.
func largePDF(t *testing.T, to io.Writer, size int) int64 {
	t.Helper()
	out := bufio.NewWriterSize(to, 1<<20)
	at := int64(0)
	put := func(format string, args ...any) {
		n, err := fmt.Fprintf(out, format, args...)
		if err != nil {
			t.Fatal(err)
		}
		at += int64(n)
	}
	put("%%PDF-1.7\n")
	var places []any
	object := func(text string) {
		places = append(places, at)
		put("%s", text)
	}
	object("1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n")
	object("2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n")
	object("3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /XObject << /I 4 0 R >> >> >>\nendobj\n")
	object(fmt.Sprintf("4 0 obj\n<< /Type /XObject /Subtype /Image /Width 8192 /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 /Length %d >>\nstream\n", size/8192, size))
	row := bytes.Repeat([]byte("pixel..."), 8192/8)
	for range size / len(row) {
		put("%s", row)
	}
	put("\nendstream\nendobj\n")
	table := at
	put("xref\n0 5\n0000000000 65535 f \n%010d 00000 n \n%010d 00000 n \n%010d 00000 n \n%010d 00000 n \n", places...)
	put("trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", table)
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	return at
}

// The digest is taken once for each kind, however often it is asked for.
func TestTheDocumentIsReadOnce(t *testing.T) {
	t.Parallel()
	document := contractPDF(t)
	update, err := updateOf(bytes.NewReader(document), approvedOf(document))
	if err != nil {
		t.Fatal(err)
	}
	digest := covered(update)
	first, err := digest(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := digest(crypto.SHA256); err != nil || &again[0] != &first[0] {
		t.Error("the digest was taken twice")
	}
}
