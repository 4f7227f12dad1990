package evidence

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/countersign-dev/countersign/evidence/spool"
)

// SealFile builds a bundle of files and seals it: a CAdES-B-T signature over the manifest, which names each file's digest. The bundle is in a temporary
// file, which the caller closes, and so is the rehearsal's: neither is ever on the heap, whatever the size of a document among the files.
//
// The real signer is asked once, and only after all that can be checked without it has been checked: the files, the
// signer's chain to roots.Signers at the time at, and a rehearsal with a throwaway key through the same code. The
// authority of stamper is asked once, after the signature. If SealFile fails after that, a signature exists whose evidence
// does not: the caller must record it as void. Before it returns, SealFile opens and verifies its own output with roots.
//
// at is the claimed signing time. Errors are *BundleError.
func SealFile(ctx context.Context, files []File, signer Signer, stamper Stamper, at time.Time, roots Roots) (*spool.File, error) {
	manifest, err := Manifest(files)
	if err != nil {
		return nil, err
	}
	if roots.Signers == nil || roots.TSAs == nil {
		return nil, failed("certificate", "couldn't seal without roots: the seal would be unchecked")
	}
	chain := signer.Chain()
	if _, err := CheckSigner(chain, roots.Signers, at); err != nil {
		return nil, inCheck("certificate", err)
	}
	if err := rehearse(ctx, files, manifest, chain[0], at); err != nil {
		return nil, fmt.Errorf("couldn't seal with a throwaway key, so the signer was not asked: %w", err)
	}
	signature, err := SignDetached(ctx, manifest, signer, stamper, at)
	if err != nil {
		return nil, err
	}
	file, b, err := keepBundle(files, manifest, signature)
	if err != nil {
		return nil, err
	}
	if _, err := b.VerifySeal(roots); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// keepBundle writes a bundle into a temporary file and opens it from there.
func keepBundle(files []File, manifest, signature []byte) (*spool.File, *Bundle, error) {
	file, err := spool.Keep(func(w io.Writer) error { return WriteBundle(w, files, manifest, signature) })
	if err != nil {
		return nil, nil, err
	}
	raw, err := file.Bytes()
	if err == nil {
		var b *Bundle
		if b, err = OpenBundle(raw); err == nil {
			return file, b, nil
		}
	}
	_ = file.Close()
	return nil, nil, err
}

// VerifySeal checks the seal over the manifest; see VerifyDetached. After OpenBundle and VerifySeal, each byte of the
// bundle is accounted for.
func (b *Bundle) VerifySeal(roots Roots) (SignatureFacts, error) {
	return VerifyDetached(b.manifest, b.signature, roots)
}

// rehearse seals with a throwaway key on the same curve and verifies the result. It asks no time-stamping authority.
func rehearse(ctx context.Context, files []File, manifest []byte, leaf *x509.Certificate, at time.Time) error {
	signer, err := throwawaySigner(leaf, at)
	if err != nil {
		return inCheck("seal", err)
	}
	s, err := sign(ctx, digestOf(manifest), signer, at)
	if err != nil {
		return err
	}
	signature, err := s.marshal()
	if err != nil {
		return inCheck("seal", err)
	}
	file, b, err := keepBundle(files, manifest, signature)
	if err != nil {
		return err
	}
	defer file.Close()
	if !bytes.Equal(b.manifest, manifest) {
		return failed("manifest", "the container gives back another manifest")
	}
	read, err := readSeal(digestOf(b.manifest), b.signature, true)
	if err != nil {
		return inCheck("seal", err)
	}
	if !read.signingTime.Equal(s.signingTime) || !read.leaf.Equal(s.leaf) {
		return failed("seal", "the signature gives back another signer or time")
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.leaf)
	if _, err := verifyChain(read.leaf, read.certs, roots, x509.ExtKeyUsageAny, at); err != nil {
		return inCheck("certificate", err)
	}
	return nil
}

func throwawaySigner(leaf *x509.Certificate, at time.Time) (Signer, error) {
	like, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("signer's key is not an ECDSA key")
	}
	key, err := ecdsa.GenerateKey(like.Curve, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("couldn't make a throwaway key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "rehearsal, not a signer"},
		NotBefore:    at.Add(-time.Hour),
		NotAfter:     at.Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("couldn't make a throwaway certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the throwaway certificate: %w", err)
	}
	return NewKeySigner(key, []*x509.Certificate{cert}), nil
}
