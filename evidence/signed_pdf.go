package evidence

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/countersign-dev/countersign/evidence/pades"
)

// ApprovedPDF is the document as people approved it, and what its signature claims as its time: with these, the signed PDF
// follows from the signature alone.
type ApprovedPDF struct {
	Bytes  int64
	SHA256 string    // hex
	At     time.Time // of the intent to sign; kept to the second
}

func (a ApprovedPDF) params() (pades.Params, error) {
	p := pades.Params{At: a.At}
	digest, err := hex.DecodeString(a.SHA256)
	if err != nil || len(digest) != sha256.Size {
		return p, errors.New("the approved document has no SHA-256 digest")
	}
	copy(p.SHA256[:], digest)
	return p, nil
}

// SignPDF returns what has to follow the document so that it is signed: one incremental update with an approval signature,
// PAdES-BASELINE-T (ETSI EN 319 142-1). The document is read and never held in memory; that it is the approved one is for the
// caller to check. The CMS is that of SignDetached but for signing-time, which PAdES forbids. The signer is asked once, after
// everything that can be checked without it. Errors are *BundleError, or wrap one of package pades.
func SignPDF(ctx context.Context, document io.ReaderAt, approved ApprovedPDF, signer Signer, stamper Stamper) ([]byte, error) {
	update, err := updateOf(document, approved)
	if err != nil {
		return nil, err
	}
	cms, err := signStamped(ctx, covered(update), signer, stamper, time.Time{}, time.Now())
	if err != nil {
		return nil, err
	}
	return update.Fill(cms)
}

// VerifyPDF checks a signed PDF against the document that was approved: it begins with exactly that document, then comes exactly the
// one update that SignPDF writes for it, byte for byte, and its signature is as VerifyDetached wants it. So there is no byte in it that
// nobody approved, and that nothing covers.
func VerifyPDF(signed io.ReaderAt, size int64, approved ApprovedPDF, roots Roots) (SignatureFacts, error) {
	return verifyPDF(signed, size, approved, nil, roots)
}

// verifyPDF takes the SHA-256 of the approved bytes, not yet summed, where it is known already.
func verifyPDF(signed io.ReaderAt, size int64, approved ApprovedPDF, begun hash.Hash, roots Roots) (SignatureFacts, error) {
	update, cms, begun, err := openSigned(signed, size, approved, begun)
	if err != nil {
		return SignatureFacts{}, inCheck("seal", err)
	}
	s, err := readSeal(coveredFrom(begun, update), cms, false)
	if err != nil {
		return SignatureFacts{}, inCheck("seal", err)
	}
	if len(s.lists) > 0 {
		return SignatureFacts{}, failed("seal", "the signature in the PDF keeps revocation lists, which belong into the seal")
	}
	return s.verify(roots)
}

func openSigned(signed io.ReaderAt, size int64, approved ApprovedPDF, begun hash.Hash) (*pades.Update, []byte, hash.Hash, error) {
	if approved.Bytes <= 0 || approved.Bytes >= size {
		return nil, nil, nil, fmt.Errorf("the signed PDF has %d bytes, and the approved document alone has %d", size, approved.Bytes)
	}
	document := io.NewSectionReader(signed, 0, approved.Bytes)
	if begun == nil {
		begun = sha256.New()
		if _, err := io.Copy(begun, document); err != nil {
			return nil, nil, nil, fmt.Errorf("couldn't read the signed PDF: %w", err)
		}
	}
	if hex.EncodeToString(begun.Sum(nil)) != approved.SHA256 {
		return nil, nil, nil, errors.New("the signed PDF doesn't begin with the approved document")
	}
	update, err := updateOf(document, approved)
	if err != nil {
		return nil, nil, nil, err
	}
	if size-approved.Bytes != update.Len() {
		return nil, nil, nil, fmt.Errorf("%w: %d bytes follow the document instead of %d", pades.ErrAltered, size-approved.Bytes, update.Len())
	}
	tail := make([]byte, update.Len())
	if n, err := signed.ReadAt(tail, approved.Bytes); n < len(tail) {
		return nil, nil, nil, fmt.Errorf("couldn't read the signed PDF: %w", err)
	}
	cms, err := update.Extract(tail)
	return update, cms, begun, err
}

func updateOf(document io.ReaderAt, approved ApprovedPDF) (*pades.Update, error) {
	p, err := approved.params()
	if err != nil {
		return nil, err
	}
	f, err := pades.Open(document, approved.Bytes)
	if err != nil {
		return nil, err
	}
	return f.Update(p)
}

// covered is the digest of what the signature covers, its ByteRange: taken once, however often it is asked for.
func covered(u *pades.Update) contentDigest {
	known := map[crypto.Hash][]byte{}
	return func(hash crypto.Hash) ([]byte, error) {
		if known[hash] == nil {
			h := hash.New()
			if err := u.Digest(h); err != nil {
				return nil, err
			}
			known[hash] = h.Sum(nil)
		}
		return known[hash], nil
	}
}

// coveredFrom is covered for a document whose SHA-256 has begun: for a signature over that digest its bytes are not read again.
func coveredFrom(begun hash.Hash, u *pades.Update) contentDigest {
	whole := covered(u)
	return func(algorithm crypto.Hash) ([]byte, error) {
		begun, ok := begun.(hash.Cloner)
		if algorithm != crypto.SHA256 || !ok {
			return whole(algorithm)
		}
		h, err := begun.Clone()
		if err != nil {
			return whole(algorithm)
		}
		u.DigestAdded(h)
		return h.Sum(nil), nil
	}
}
