package tsa

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
)

func open(t *testing.T) *Authority {
	t.Helper()
	authority, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func post(t *testing.T, handler http.Handler, query []byte) []byte {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(query))
	request.Header.Set("Content-Type", "application/timestamp-query")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	if kind := recorder.Header().Get("Content-Type"); kind != "application/timestamp-reply" {
		t.Fatalf("content type %q", kind)
	}
	return recorder.Body.Bytes()
}

func query(t *testing.T, request timestamp.Request) []byte {
	t.Helper()
	der, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestTokenAnswersTheQuery(t *testing.T) {
	t.Parallel()
	authority := open(t)
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		t.Run(hash.String(), func(t *testing.T) {
			t.Parallel()
			digest := hash.New().Sum(nil)
			nonce := big.NewInt(7_777_777)
			before := time.Now().Truncate(time.Second)
			reply := post(t, authority, query(t, timestamp.Request{HashAlgorithm: hash, HashedMessage: digest, Nonce: nonce, Certificates: true, TSAPolicyOID: Policy}))
			token, err := timestamp.ParseResponse(reply)
			if err != nil {
				t.Fatal(err)
			}
			if token.Nonce == nil || token.Nonce.Cmp(nonce) != 0 {
				t.Errorf("nonce %v, want %v", token.Nonce, nonce)
			}
			if token.HashAlgorithm != hash || !bytes.Equal(token.HashedMessage, digest) {
				t.Error("the imprint isn't the one of the query")
			}
			if !token.Policy.Equal(Policy) || token.Accuracy != Accuracy {
				t.Errorf("policy %v, accuracy %v", token.Policy, token.Accuracy)
			}
			if token.Time.Before(before) || token.Time.After(time.Now()) {
				t.Errorf("time %v", token.Time)
			}
			verifyChain(t, authority, token)
			verifyESSCertID(t, token, hash)
		})
	}
}

// verifyChain holds the signer's certificate to RFC 3161, section 2.3.
func verifyChain(t *testing.T, authority *Authority, token *timestamp.Timestamp) {
	t.Helper()
	if len(token.Certificates) != 1 {
		t.Fatalf("%d certificates, want the signer's alone", len(token.Certificates))
	}
	signer := token.Certificates[0]
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.CAPEM()) {
		t.Fatal("CAPEM is no certificate")
	}
	if _, err := signer.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}); err != nil {
		t.Error(err)
	}
	if len(signer.ExtKeyUsage) != 1 || len(signer.UnknownExtKeyUsage) != 0 {
		t.Errorf("extended key usages %v %v", signer.ExtKeyUsage, signer.UnknownExtKeyUsage)
	}
	critical := false
	for _, extension := range signer.Extensions {
		critical = critical || extension.Id.Equal(oidExtKeyUsage) && extension.Critical
	}
	if !critical {
		t.Error("the extended key usage isn't critical")
	}
}

func verifyESSCertID(t *testing.T, token *timestamp.Timestamp, hash crypto.Hash) {
	t.Helper()
	p7, err := pkcs7.Parse(token.RawToken)
	if err != nil {
		t.Fatal(err)
	}
	var attribute asn1.RawValue
	if err := p7.UnmarshalSignedAttribute(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}, &attribute); err != nil {
		t.Fatalf("no signingCertificateV2 attribute: %v", err)
	}
	digest := hash.New()
	digest.Write(token.Certificates[0].Raw)
	if !bytes.Contains(attribute.FullBytes, digest.Sum(nil)) {
		t.Error("signingCertificateV2 doesn't hold the digest of the signer's certificate")
	}
}

func TestCertificateIsLeftOutUnlessAskedFor(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256([]byte("x"))
	token, err := timestamp.ParseResponse(post(t, open(t), query(t, timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: digest[:]})))
	if err != nil {
		t.Fatal(err)
	}
	if len(token.Certificates) != 0 {
		t.Errorf("%d certificates without certReq", len(token.Certificates))
	}
	if token.Nonce != nil {
		t.Errorf("nonce %v without one in the query", token.Nonce)
	}
}

func TestSerialNumbersAreUnique(t *testing.T) {
	t.Parallel()
	authority := open(t)
	digest := sha256.Sum256([]byte("x"))
	der := query(t, timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: digest[:], Certificates: true})
	seen := map[string]bool{}
	for range 50 {
		token, err := timestamp.ParseResponse(post(t, authority, der))
		if err != nil {
			t.Fatal(err)
		}
		if token.SerialNumber.BitLen() < 64 || seen[token.SerialNumber.String()] {
			t.Fatalf("serial number %v", token.SerialNumber)
		}
		seen[token.SerialNumber.String()] = true
	}
}

type failure struct {
	Status struct {
		Status int
		Text   []string `asn1:"optional,utf8"`
		Fail   asn1.BitString
	}
}

func TestRejectionsCarryTheirReason(t *testing.T) {
	t.Parallel()
	authority := open(t)
	digest := sha256.Sum256([]byte("x"))
	good := timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: digest[:]}
	with := func(change func(*timestamp.Request)) []byte {
		request := good
		change(&request)
		return query(t, request)
	}
	version2 := query(t, good)
	version2[bytes.Index(version2, []byte{2, 1, 1})+2] = 2
	md5 := bytes.Replace(query(t, good), []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}, []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x63}, 1)
	for name, c := range map[string]struct {
		query []byte
		want  timestamp.FailureInfo
	}{
		"short imprint":     {with(func(r *timestamp.Request) { r.HashedMessage = digest[:31] }), timestamp.BadDataFormat},
		"long imprint":      {with(func(r *timestamp.Request) { r.HashedMessage = append(digest[:], 0) }), timestamp.BadDataFormat},
		"SHA-1":             {with(func(r *timestamp.Request) { r.HashAlgorithm, r.HashedMessage = crypto.SHA1, digest[:20] }), timestamp.BadAlgorithm},
		"unknown algorithm": {md5, timestamp.BadAlgorithm},
		"unknown policy":    {with(func(r *timestamp.Request) { r.TSAPolicyOID = asn1.ObjectIdentifier{1, 2, 3} }), timestamp.UnacceptedPolicy},
		"extension": {with(func(r *timestamp.Request) {
			r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}}
		}), timestamp.UnacceptedExtension},
		"version 2":     {version2, timestamp.BadRequest},
		"not DER":       {[]byte("hello"), timestamp.BadDataFormat},
		"empty":         {nil, timestamp.BadDataFormat},
		"trailing data": {append(query(t, good), 0), timestamp.BadDataFormat},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got failure
			if rest, err := asn1.Unmarshal(post(t, authority, c.query), &got); err != nil || len(rest) != 0 {
				t.Fatal(err, rest)
			}
			if got.Status.Status != int(timestamp.Rejection) || got.Status.Fail.At(int(c.want)) != 1 || got.Status.Fail.BitLength != int(c.want)+1 {
				t.Errorf("got %+v, want failInfo %v", got, c.want)
			}
			if _, err := timestamp.ParseResponse(post(t, authority, c.query)); err == nil || !strings.Contains(err.Error(), c.want.String()) {
				t.Errorf("the client library says %v", err)
			}
		})
	}
}

func TestFaultsOfHTTPGetAnHTTPError(t *testing.T) {
	t.Parallel()
	authority := open(t)
	for name, c := range map[string]struct {
		method, kind string
		size, want   int
	}{
		"GET":          {http.MethodGet, "application/timestamp-query", 0, http.StatusMethodNotAllowed},
		"wrong type":   {http.MethodPost, "application/json", 10, http.StatusUnsupportedMediaType},
		"no type":      {http.MethodPost, "", 10, http.StatusUnsupportedMediaType},
		"large body":   {http.MethodPost, "application/timestamp-query", maxQuery + 1, http.StatusRequestEntityTooLarge},
		"largest body": {http.MethodPost, "application/timestamp-query", maxQuery, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequest(c.method, "/", io.LimitReader(zeros{}, int64(c.size)))
			request.Header.Set("Content-Type", c.kind)
			recorder := httptest.NewRecorder()
			authority.ServeHTTP(recorder, request)
			if recorder.Code != c.want {
				t.Errorf("status %d, want %d", recorder.Code, c.want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOpenAgainKeepsTheAuthority(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CAPEM(), second.CAPEM()) || !first.cert.Equal(second.cert) {
		t.Error("a restart changed the certificates")
	}
	for _, name := range []string{caKeyFile, certKeyFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, certFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "restore the missing files") {
		t.Errorf("half a directory: %v", err)
	}
}

func TestOpenSSLVerifiesTheToken(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is missing; install it on the build machine")
		}
		t.Skip("openssl isn't installed")
	}
	dir := t.TempDir()
	authority := open(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	run := func(arguments ...string) string {
		output, err := exec.CommandContext(t.Context(), openssl, arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
		return string(output)
	}
	for name, content := range map[string][]byte{"f": []byte("a contract\n"), "g": []byte("another contract\n"), "ca.pem": authority.CAPEM()} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, hash := range []string{"-sha256", "-sha384", "-sha512"} {
		run("ts", "-query", "-data", path("f"), hash, "-cert", "-out", path("q"))
		der, err := os.ReadFile(path("q"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path("token.tsr"), post(t, authority, der), 0o600); err != nil {
			t.Fatal(err)
		}
		if output := run("ts", "-verify", "-data", path("f"), "-in", path("token.tsr"), "-CAfile", path("ca.pem")); !strings.Contains(output, "Verification: OK") {
			t.Errorf("%s: %s", hash, output)
		}
		run("ts", "-verify", "-queryfile", path("q"), "-in", path("token.tsr"), "-CAfile", path("ca.pem"))
		if output, err := exec.CommandContext(t.Context(), openssl, "ts", "-verify", "-data", path("g"), "-in", path("token.tsr"), "-CAfile", path("ca.pem")).CombinedOutput(); err == nil {
			t.Errorf("openssl accepts the token for another file: %s", output)
		}
	}
}

func FuzzRespond(f *testing.F) {
	authority, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	seed, err := (&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: digest[:], Nonce: big.NewInt(-5), Certificates: true}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, query []byte) {
		reply, err := authority.respond(query)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Status struct{ Status int } }
		if _, err := asn1.Unmarshal(reply, &got); err != nil {
			t.Fatalf("the reply isn't DER: %v", err)
		}
	})
}
