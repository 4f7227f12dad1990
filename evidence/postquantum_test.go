package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"filippo.io/mldsa"
)

// countingQuantum signs with a key of its own, or does what sign says instead, and counts.
type countingQuantum struct {
	rehearsal
	calls int
	sign  func(message []byte) ([]byte, string, error)
}

func newQuantum(t *testing.T, params mldsa.Parameters) *countingQuantum {
	t.Helper()
	private, err := mldsa.GenerateKey(params)
	if err != nil {
		t.Fatal(err)
	}
	public, err := postQuantumKeyOf(private.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return &countingQuantum{rehearsal: rehearsal{"arn:aws:kms:eu-central-1:000000000000:key/quantum", public, private}}
}

func (c *countingQuantum) SignMessage(ctx context.Context, message []byte) ([]byte, string, error) {
	c.calls++
	if len(message) > 4096 {
		return nil, "", errors.New("KMS takes 4,096 bytes")
	}
	if c.sign != nil {
		return c.sign(message)
	}
	return c.rehearsal.SignMessage(ctx, message)
}

func TestR15_PostQuantumSignatureOfEachSizeAndOfManyFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P384())
	many := someFiles()
	for len(many) < MaxBundleEntries-5 {
		many = append(many, File{Name: "identity/" + strings.Repeat("x", 200) + string(rune('a'+len(many)%26)) + strings.Repeat("y", len(many)/26), Bytes: []byte("x")})
	}
	for _, params := range []mldsa.Parameters{mldsa.MLDSA44(), mldsa.MLDSA65(), mldsa.MLDSA87()} {
		for _, files := range [][]File{someFiles(), many} {
			signer := newQuantum(t, params)
			signed, err := AddPostQuantum(t.Context(), files, signer, w.leaf.cert, sealedAt)
			if err != nil {
				t.Fatal(err)
			}
			key, err := checkPostQuantum(signed)
			if err != nil || !key.Equal(signer.public) || signer.calls != 1 || len(signed) != len(files)+2 {
				t.Errorf("%s: %v, %d calls, %d files", params, err, signer.calls, len(signed))
			}
		}
	}
}

// The signer is not asked for a bundle that couldn't be sealed, and what it gives is checked before it goes into one.
func TestR11_PostQuantumKeyIsNotAskedInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	signer := newQuantum(t, mldsa.MLDSA65())
	for name, files := range map[string][]File{
		"a name twice":     append(someFiles(), someFiles()[0]),
		"a name of ours":   append(someFiles(), File{Name: postQuantumListFile, Bytes: []byte("x")}),
		"a strange name":   append(someFiles(), File{Name: "a b", Bytes: []byte("x")}),
		"the container's":  append(someFiles(), File{Name: "META-INF/x", Bytes: []byte("x")}),
		"too many of them": make([]File, MaxBundleEntries),
	} {
		if _, err := AddPostQuantum(t.Context(), files, signer, w.leaf.cert, sealedAt); err == nil || signer.calls != 0 {
			t.Errorf("%s: %v, and the signer was asked %d times", name, err, signer.calls)
		}
	}
	other := newQuantum(t, mldsa.MLDSA65())
	for name, sign := range map[string]func([]byte) ([]byte, string, error){
		"another key":     func(m []byte) ([]byte, string, error) { return other.rehearsal.SignMessage(t.Context(), m) },
		"another message": func([]byte) ([]byte, string, error) { return signer.rehearsal.SignMessage(t.Context(), []byte("x")) },
		"a context": func(m []byte) ([]byte, string, error) {
			s, err := signer.key.Sign(nil, m, &mldsa.Options{Context: "x"})
			return s, "", err
		},
		"an error": func([]byte) ([]byte, string, error) { return nil, "", errors.New("out of order") },
	} {
		signer.calls, signer.sign = 0, sign
		if _, err := AddPostQuantum(t.Context(), someFiles(), signer, w.leaf.cert, sealedAt); err == nil || signer.calls != 1 {
			t.Errorf("%s: %v, after %d calls", name, err, signer.calls)
		}
	}
}

func TestPostQuantumKeysAreReadStrictly(t *testing.T) {
	t.Parallel()
	spki := newQuantum(t, mldsa.MLDSA44()).public.spki
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	onCurve, err := x509.MarshalPKIXPublicKey(curve.Public())
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := block("PUBLIC KEY", spki)
	for n, text := range []string{good, good + good} {
		if keys, err := ParsePostQuantumPEM([]byte(text)); err != nil || len(keys) != n+1 {
			t.Errorf("%d keys are read, want %d: %v", len(keys), n+1, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "text behind": good + "x", "text before": "x\n" + good, "text between": good + "x\n" + good, "a certificate": block("CERTIFICATE", spki), "a key on a curve": block("PUBLIC KEY", onCurve),
		"bytes behind": block("PUBLIC KEY", append(spki[:len(spki):len(spki)], 0)), "a byte less": block("PUBLIC KEY", spki[:len(spki)-1]),
	} {
		if _, err := ParsePostQuantumPEM([]byte(text)); err == nil {
			t.Errorf("%s is taken for a key", name)
		}
	}
}
