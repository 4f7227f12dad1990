// Command pades signs PDFs that strangers made, so that strangers' tools can look at the result. The key is a throwaway one
// under a certificate authority of its own; the time-stamping authority is the one that is named.
//
//	pades TSA_URL TSA_CA OUT <PATHS
//
// PATHS are lines. For each file it writes into OUT NAME.pdf, signed; NAME.p7s, its CMS; and NAME.covered, what that covers.
// It prints "signed NAME PATH" or "refused NAME PATH: WHY". OUT/ca.pem is the authority of the key.
// One in four is signed invisibly, and each that can't show a seal: OUT/visible has the names of the others, OUT/invisible the reasons.
package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/pades"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pades:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: pades TSA_URL TSA_CA OUT <PATHS")
	}
	url, ca, out := args[0], args[1], args[2]
	raw, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := evidence.Roots{Signers: x509.NewCertPool(), TSAs: x509.NewCertPool()}
	if !roots.TSAs.AppendCertsFromPEM(raw) {
		return fmt.Errorf("%s has no certificate", ca)
	}
	signer, authority, err := throwaway()
	if err != nil {
		return err
	}
	roots.Signers.AddCert(authority)
	if err := os.WriteFile(filepath.Join(out, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw}), 0o600); err != nil {
		return err
	}
	stamper := evidence.NewTSAClient(url, roots.TSAs, nil)
	visible, err := os.Create(filepath.Join(out, "visible"))
	if err != nil {
		return err
	}
	defer visible.Close()
	invisible, err := os.Create(filepath.Join(out, "invisible"))
	if err != nil {
		return err
	}
	defer invisible.Close()
	lines := bufio.NewScanner(os.Stdin)
	for n := 1; lines.Scan(); n++ {
		name := fmt.Sprintf("%03d", n)
		seal := seals[n%len(seals)]
		err := sign(lines.Text(), filepath.Join(out, name), seal, signer, stamper, roots)
		if errors.Is(err, pades.ErrNoSeal) {
			fmt.Fprintf(invisible, "%s %s: %s\n", name, lines.Text(), err)
			seal = nil
			err = sign(lines.Text(), filepath.Join(out, name), seal, signer, stamper, roots)
		}
		if err != nil {
			fmt.Printf("refused %s %s: %s\n", name, lines.Text(), err)
			continue
		}
		if seal != nil {
			fmt.Fprintln(visible, name)
		}
		fmt.Printf("signed %s %s\n", name, lines.Text())
	}
	return lines.Err()
}

func sign(path, out string, seal *evidence.VisibleSeal, signer evidence.Signer, stamper evidence.Stamper, roots evidence.Roots) error {
	document, err := os.Open(path)
	if err != nil {
		return err
	}
	defer document.Close()
	h := sha256.New()
	size, err := io.Copy(h, document)
	if err != nil {
		return err
	}
	approved := evidence.ApprovedPDF{Bytes: size, SHA256: hex.EncodeToString(h.Sum(nil)), At: time.Now(), Seal: seal}
	update, err := evidence.SignPDF(context.Background(), document, approved, signer, stamper)
	if err != nil {
		return err
	}
	signed, err := os.Create(out + ".pdf")
	if err != nil {
		return err
	}
	defer signed.Close()
	if _, err := io.Copy(signed, io.NewSectionReader(document, 0, size)); err != nil {
		return err
	}
	if _, err := signed.Write(update); err != nil {
		return err
	}
	if _, err := evidence.VerifyPDF(signed, size+int64(len(update)), approved, roots); err != nil {
		return fmt.Errorf("our own verifier refuses it: %w", err)
	}
	return nil
}

// seals are signed with in turn.
var seals = []*evidence.VisibleSeal{
	nil,
	sealAt("last", "bottom-right"),
	sealAt("first", "top-left"),
	sealAt("last", "top-right"),
}

func sealAt(page, corner string) *evidence.VisibleSeal {
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	z.Write(bytes.Repeat([]byte{0x0b, 0x6e, 0x4f}, 16*16)) // a buffer takes everything
	z.Close()
	return &evidence.VisibleSeal{
		VisibleSeal: countersign.VisibleSeal{
			V: countersign.VisibleSealVersion, Page: page, Corner: corner, X: 10, Y: 10, Width: 160, Height: 50, Name: "Interop Łódź Αθήνα Київ", Color: "#0b6e4f",
			Logo: &countersign.Logo{Width: 16, Height: 16, Pixels: pixels.Bytes()},
		},
		Request: "PO-4711", Context: countersign.SHA256([]byte("context")),
	}
}

// throwaway makes a key whose certificate is like one of a tenant.
func throwaway() (evidence.Signer, *x509.Certificate, error) {
	now := time.Now()
	make := func(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(24*time.Hour)
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			return nil, nil, err
		}
		cert, err := x509.ParseCertificate(der)
		return cert, key, err
	}
	ca, caKey, err := make(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Interop CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	leaf, key, err := make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Interop signer"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}, ca, caKey)
	return evidence.NewKeySigner(key, []*x509.Certificate{leaf, ca}), ca, err
}
