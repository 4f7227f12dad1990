package temporal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// testIssuer is an OpenID provider reduced to discovery and keys.
type testIssuer struct {
	url     string
	key     *ecdsa.PrivateKey
	kid     string
	fetches atomic.Int64
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t testing.TB) *testIssuer {
	t.Helper()
	i := &testIssuer{key: newKey(t), kid: "k1"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.url, i.url+"/keys")
		case "/keys":
			i.fetches.Add(1)
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
				{Key: &i.key.PublicKey, KeyID: i.kid, Algorithm: "ES256", Use: "sig"},
			}})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

// claims are those of a good token for a subject.
func (i *testIssuer) claims(sub string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": i.url, "sub": sub, "aud": []string{"countersign"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
}

func (i *testIssuer) token(t testing.TB, sub string) string {
	t.Helper()
	return sign(t, i.key, i.kid, i.claims(sub))
}

func sign(t testing.TB, key any, kid string, claims any) string {
	t.Helper()
	algorithm := jose.ES256
	if _, symmetric := key.([]byte); symmetric {
		algorithm = jose.HS256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// world is two tenants with their issuers, a partner and the platform's keys.
type world struct {
	acme, globex, hart *testIssuer
	directory          *Directory
	platform           map[string]*ecdsa.PrivateKey // by role/tenant
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{acme: newIssuer(t), globex: newIssuer(t), hart: newIssuer(t), platform: map[string]*ecdsa.PrivateKey{}}
	dir := t.TempDir()
	write := func(name, text string) string {
		full := filepath.Join(dir, name)
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return full
	}
	file := func(tenant string, home *testIssuer, people string) string {
		return write(tenant+".yaml", fmt.Sprintf(`
tenant: %s
namespace: %s
issuers:
  - {id: home, url: %q, kind: home, audience: countersign, evidenceAudience: countersign-evidence}
  - {id: hart, url: %q, kind: partner, audience: countersign, evidenceAudience: countersign-evidence}
people:
%s
machines:
  - {issuer: home, subject: procurement, roles: [requester]}
  - {issuer: home, subject: reporting, roles: []}
`, tenant, tenant, home.url, w.hart.url, people))
	}
	files := []string{
		file("acme", w.acme, `
  - {issuer: home, subject: alice, roles: [legal]}
  - {issuer: home, subject: ben, roles: [finance, requester]}
  - {issuer: home, subject: cora, roles: [compliance]}
  - {issuer: home, subject: olivia, roles: [owner]}
  - {issuer: hart, subject: carol, roles: [counsel]}`),
		file("globex", w.globex, `
  - {issuer: home, subject: greta, roles: [compliance]}
  - {issuer: home, subject: gina, roles: [legal]}`),
	}
	for _, tenant := range []string{"acme", "globex"} {
		for _, role := range PlatformRoles {
			key := newKey(t)
			der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			w.platform[role+"/"+tenant] = key
			write(role+"-"+tenant+".pub.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
		}
	}
	var err error
	if w.directory, err = LoadDirectory(files, dir); err != nil {
		t.Fatal(err)
	}
	return w
}

// token is a bearer token for "acme/alice", "hart/carol", or "platform:worker/acme";
// empty for nobody.
func (w *world) token(t testing.TB, who string) string {
	t.Helper()
	if who == "" {
		return ""
	}
	if name, ok := strings.CutPrefix(who, "platform:"); ok {
		role, tenant, _ := strings.Cut(name, "/")
		token, err := PlatformToken(w.platform[name], role, tenant, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	issuer, sub, _ := strings.Cut(who, "/")
	return map[string]*testIssuer{"acme": w.acme, "globex": w.globex, "hart": w.hart}[issuer].token(t, sub)
}
