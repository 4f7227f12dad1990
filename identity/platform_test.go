package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func keyFile(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPlatformTokenNamesTheProcessAndItsTenant(t *testing.T) {
	t.Parallel()
	key := newECKey(t)
	p, err := OpenPlatform("worker", "acme", keyFile(t, key))
	if err != nil {
		t.Fatal(err)
	}
	headers, err := p.GetHeaders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := strings.CutPrefix(headers["authorization"], "Bearer ")
	if !ok || len(headers) != 1 {
		t.Fatalf("headers are %v", headers)
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	body, err := jws.Verify(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Iss, Sub, Aud string
		Iat, Exp      int64
	}
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatal(err)
	}
	if c.Iss != "countersign-platform" || c.Sub != "worker/acme" || c.Aud != "temporal" || c.Exp-c.Iat != int64(platformLife/time.Second) {
		t.Errorf("claims are %+v", c)
	}
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil || jws.Signatures[0].Header.KeyID != segment(thumbprint) {
		t.Errorf("kid is %q (%v), want the key's thumbprint", jws.Signatures[0].Header.KeyID, err)
	}
}

func TestPlatformTokenIsReusedUntilItIsAboutToExpire(t *testing.T) {
	t.Parallel()
	p, err := OpenPlatform("starter", "acme", keyFile(t, newECKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	tokens := map[string]bool{}
	ask := func() {
		h, err := p.GetHeaders(t.Context())
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		tokens[h["authorization"]] = true
	}
	for range 16 {
		all.Go(ask)
	}
	all.Wait()
	if len(tokens) != 1 {
		t.Errorf("%d tokens were made", len(tokens))
	}
	p.mu.Lock()
	p.expires = time.Now().Add(time.Minute - time.Second)
	p.mu.Unlock()
	if ask(); len(tokens) != 2 {
		t.Error("a token that is about to expire was given out again")
	}
}

func TestPlatformKeyMustBeP256(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"RSA": keyFile(t, weak), "P-384": keyFile(t, other), "missing": "no-such-file.pem", "empty": empty} {
		if _, err := OpenPlatform("worker", "acme", file); err == nil || !strings.Contains(err.Error(), "worker") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
