package session

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

func TestADeviceKeyProvesWhatIdentityAccepts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "device.pem")
	made, err := CreateDeviceKey(file)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenDeviceKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID() != opened.ID() || made.Credential() != opened.Credential() || made.PublicKey() != opened.PublicKey() {
		t.Errorf("made %s, opened %s", made.ID(), opened.ID())
	}
	now := time.Now().Unix()
	e := countersign.Enrolment{
		V: countersign.Version, Tenant: "acme", Actor: countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}, Kind: countersign.KeyDevice,
		Credential: opened.Credential(), PublicKey: opened.PublicKey(), IssuedAt: now, ExpiresAt: now + 60,
	}
	digest, err := e.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*DeviceKey{"made": made, "opened": opened} {
		p, err := key.Prove(digest)
		if err != nil {
			t.Fatal(err)
		}
		use, refusal := identity.VerifyKeyProof(digest, p, e)
		if refusal != nil {
			t.Fatalf("%s: %s", name, refusal)
		}
		if want := (identity.KeyUse{Key: key.ID(), Kind: countersign.KeyDevice}); use != want {
			t.Errorf("%s: %+v, want %+v", name, use, want)
		}
	}
	if id, err := e.KeyID(); err != nil || id != opened.ID() {
		t.Errorf("the enrolment names the key %s, the key itself %s (%v)", id, opened.ID(), err)
	}
	for _, text := range []string{"", "approve everything", digest[:62], strings.ToUpper(digest)} {
		if p, err := opened.Prove(text); err == nil {
			t.Errorf("signed %q: %+v", text, p)
		}
	}
}

func TestADeviceKeysFileIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "device.pem")
	if _, err := CreateDeviceKey(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %s (%v)", info.Mode(), err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateDeviceKey(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second key in the same file: %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the first key was touched (%v)", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDeviceKey(file); err == nil || !strings.Contains(err.Error(), "others can reach it") {
			t.Errorf("mode %s: %v", mode, err)
		}
	}
}

func TestFilesThatAreNoDeviceKeyAreRefused(t *testing.T) {
	t.Parallel()
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ content, message string }{
		"empty":        {"", "no PEM of one PRIVATE KEY"},
		"no PEM":       {"key", "no PEM of one PRIVATE KEY"},
		"a public key": {strings.ReplaceAll(pkcs8(p256), "PRIVATE", "PUBLIC"), "no PEM of one PRIVATE KEY"},
		"two keys":     {pkcs8(p256) + pkcs8(p256), "no PEM of one PRIVATE KEY"},
		"a long tail":  {pkcs8(p256) + strings.Repeat("\n", maxDeviceKey), "no PEM of one PRIVATE KEY"},
		"no PKCS #8":   {"-----BEGIN PRIVATE KEY-----\naaaa\n-----END PRIVATE KEY-----\n", "it is no PKCS #8"},
		"P-384":        {pkcs8(p384), "it is not ECDSA P-256"},
		"Ed25519":      {pkcs8(ed), "it is not ECDSA P-256"},
	} {
		file := filepath.Join(t.TempDir(), "device.pem")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDeviceKey(file); err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDeviceKey(dir); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := OpenDeviceKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
