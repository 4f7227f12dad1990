package evidence

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
)

var stampedDigest = sha256.Sum256([]byte("stamped"))

func TestVerifiedTokenTellsItsFacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	w.tsa.at = sealedAt.Add(250 * time.Millisecond)
	token, err := w.tsa.Stamp(t.Context(), stampedDigest[:])
	if err != nil {
		t.Fatal(err)
	}
	facts, err := VerifyToken(token, stampedDigest[:], nil, w.roots.TSAs)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Accuracy != 1500*time.Millisecond || facts.TSA != "CN=test TSA" || !facts.Certificate.Equal(w.tsa.tsa.cert) {
		t.Errorf("facts are %+v", facts)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, w *world)
		text   string
	}{
		"no extended key usage": {func(t *testing.T, w *world) { w.reissueTSA(t) }, "sole extended key usage"},
		"extended key usage not critical": {func(t *testing.T, w *world) { w.reissueTSA(t, ekuExtension(t, false)) },
			"is not critical"},
		"two extended key usages": {func(t *testing.T, w *world) {
			template := tsaTemplate(t)
			template.ExtraExtensions = nil
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping, x509.ExtKeyUsageCodeSigning}
			w.tsa.tsa = issue(t, template, newKey(t, elliptic.P256()), w.tsaCA)
		}, "sole extended key usage"},
		"authority is a CA": {func(t *testing.T, w *world) {
			template := tsaTemplate(t)
			template.IsCA = true
			w.tsa.tsa = issue(t, template, newKey(t, elliptic.P256()), w.tsaCA)
		}, "certification authority's"},
		"key usage": {func(t *testing.T, w *world) {
			template := tsaTemplate(t)
			template.KeyUsage = x509.KeyUsageKeyEncipherment
			w.tsa.tsa = issue(t, template, newKey(t, elliptic.P256()), w.tsaCA)
		}, "no key usage"},
		"certificate expired": {func(_ *testing.T, w *world) { w.tsa.at = sealedAt.AddDate(2, 0, 0) }, "expired"},
		"wrong imprint":       {func(_ *testing.T, w *world) { w.tsa.imprint = make([]byte, 32) }, "another imprint"},
		"CMS digest SHA-1":    {func(_ *testing.T, w *world) { w.tsa.hash = crypto.SHA1 }, "digest algorithm 1.3.14.3.2.26 is not accepted"},
		"RSA key of 1024 bits": {func(t *testing.T, w *world) { w.tsa.tsa = rsaTSA(t, w, 1024).tsa },
			"is not accepted"},
		"P-521": {func(t *testing.T, w *world) {
			w.tsa.tsa = issue(t, tsaTemplate(t), newKey(t, elliptic.P521()), w.tsaCA)
		}, "is not accepted"},
		"foreign root":     {func(_ *testing.T, w *world) { w.roots.TSAs = poolOf(w.signerRoot) }, "unknown authority"},
		"root is a signer": {func(_ *testing.T, w *world) { w.roots.TSAs = nil }, "no roots are given"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, elliptic.P256())
			c.change(t, w)
			w.tsa.raw = true
			token, err := w.tsa.Stamp(t.Context(), stampedDigest[:])
			if err != nil {
				t.Fatal(err)
			}
			_, err = VerifyToken(sorted(t, token), stampedDigest[:], nil, w.roots.TSAs)
			wantFailure(t, err, "timestamp", c.text)
		})
	}
}

func (w *world) reissueTSA(t *testing.T, extensions ...pkix.Extension) {
	t.Helper()
	template := tsaTemplate(t)
	template.ExtraExtensions = extensions
	w.tsa.tsa = issue(t, template, newKey(t, elliptic.P256()), w.tsaCA)
}

// sorted gives a token the order of DER without looking at its certificates. What does not parse stays as it is.
func sorted(t *testing.T, token []byte) []byte {
	t.Helper()
	sd, err := parseSignedData(token)
	if err != nil {
		return token
	}
	out, err := marshalSignedData(sd.version, sd.digestAlgs, sd.encap, sd.certs, sd.signer.raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Nothing in a token covers its set of certificates, so the set has one form.
func TestTokenCertificatesHaveOneForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	token, err := w.tsa.Stamp(t.Context(), stampedDigest[:])
	if err != nil {
		t.Fatal(err)
	}
	sd, err := parseSignedData(token)
	if err != nil {
		t.Fatal(err)
	}
	first, second := sd.certs[0].Raw, sd.certs[1].Raw
	swapped := bytes.Replace(token, bytes.Join([][]byte{first, second}, nil), bytes.Join([][]byte{second, first}, nil), 1)
	_, err = VerifyToken(swapped, stampedDigest[:], nil, w.roots.TSAs)
	wantFailure(t, err, "timestamp", "out of order")

	more, err := marshalSignedData(sd.version, sd.digestAlgs, sd.encap, append(sd.certs, w.leaf.cert), sd.signer.raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = VerifyToken(more, stampedDigest[:], nil, w.roots.TSAs)
	wantFailure(t, err, "timestamp", "the chain does not need")

	for _, form := range [][]byte{swapped, more} {
		canonical, err := CanonicalToken(form, w.roots.TSAs)
		if err != nil || !bytes.Equal(canonical, token) {
			t.Errorf("CanonicalToken does not give the one form: %v", err)
		}
	}
	_, err = VerifyToken(append(bytes.Clone(token), 0), stampedDigest[:], nil, w.roots.TSAs)
	wantFailure(t, err, "timestamp", "1 trailing bytes")
}

func TestGenTimeForms(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"20260302103000Z": true, "20260302103000.25Z": true, "20260302103000.123456789Z": true,
		"20260302103000": false, "20260302103000.Z": false, "20260302103000.50Z": false, "202603021030Z": false,
		"20260302103000+0100": false, "20260302103000,5Z": false, "20261302103000Z": false, "": false, "Z": false,
		"20260302103000.1234567891Z": false, "20260302103000.+5Z": false,
	} {
		if _, err := parseGenTime(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// serveTSA runs w's authority over HTTP; change edits what goes out.
func serveTSA(t *testing.T, w *world, change func(resp http.ResponseWriter, answer []byte) []byte) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(resp http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(resp, req.Body, 4096))
		if err != nil || req.Header.Get("Content-Type") != mimeTSAQuery {
			http.Error(resp, "bad request", http.StatusBadRequest)
			return
		}
		query, err := timestamp.ParseRequest(body)
		if err != nil || !query.Certificates || query.HashAlgorithm != crypto.SHA256 {
			http.Error(resp, "bad query", http.StatusBadRequest)
			return
		}
		answer, err := w.tsa.response(query.HashedMessage, query.Nonce)
		if err != nil {
			http.Error(resp, "no stamp", http.StatusInternalServerError)
			return
		}
		resp.Header().Set("Content-Type", mimeTSAReply)
		if change != nil {
			answer = change(resp, answer)
		}
		_, _ = resp.Write(answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestTSAClientSealsABundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	s := serveTSA(t, w, nil)
	client := NewTSAClient(s.URL, w.roots.TSAs, s.Client())
	raw, err := sealed(t.Context(), someFiles(), w.signer, client, sealedAt, w.roots)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(raw, w.roots); err != nil {
		t.Error(err)
	}
}

func TestTSAClientRefusesAnswers(t *testing.T) {
	t.Parallel()
	replay := newWorld(t, elliptic.P256())
	nonce, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := replay.tsa.response(stampedDigest[:], nonce)
	if err != nil {
		t.Fatal(err)
	}
	withoutNonce, err := replay.tsa.response(stampedDigest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	rejection, err := timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.BadAlgorithm)
	if err != nil {
		t.Fatal(err)
	}
	give := func(answer []byte) func(http.ResponseWriter, []byte) []byte {
		return func(http.ResponseWriter, []byte) []byte { return answer }
	}
	for name, c := range map[string]struct {
		change func(http.ResponseWriter, []byte) []byte
		text   string
	}{
		"replayed":      {give(replayed), "another nonce"},
		"without nonce": {give(withoutNonce), "another nonce"},
		"rejected":      {give(rejection), "refuses to stamp: the request is rejected"},
		"garbage":       {give([]byte("hello")), "couldn't read the authority's answer"},
		"too large":     {give(make([]byte, maxTSAAnswer+1)), "over the limit of 65536 bytes"},
		"trailing byte": {func(_ http.ResponseWriter, a []byte) []byte { return append(a, 0) }, "couldn't read the authority's answer"},
		"other type": {func(resp http.ResponseWriter, a []byte) []byte {
			resp.Header().Set("Content-Type", "text/html")
			return a
		}, `type "text/html"`},
		"error status": {func(resp http.ResponseWriter, a []byte) []byte {
			resp.WriteHeader(http.StatusServiceUnavailable)
			return a
		}, "503"},
		"redirect": {func(resp http.ResponseWriter, a []byte) []byte {
			resp.Header().Set("Location", "/elsewhere")
			resp.WriteHeader(http.StatusTemporaryRedirect)
			return a
		}, "307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveTSA(t, replay, c.change)
			_, err := NewTSAClient(s.URL, replay.roots.TSAs, s.Client()).Stamp(t.Context(), stampedDigest[:])
			wantFailure(t, err, "timestamp", c.text)
		})
	}
	_, err = NewTSAClient("http://127.0.0.1:1", nil, nil).Stamp(t.Context(), []byte("short"))
	wantFailure(t, err, "timestamp", "want a SHA-256 digest")
}

func FuzzVerifyToken(f *testing.F) {
	raw, roots := goldenBundle(f)
	b := mustOpen(f, raw)
	s, err := readSeal(digestOf(b.ManifestBytes()), b.SignatureBytes(), true)
	if err != nil {
		f.Fatal(err)
	}
	sd, err := parseSignedData(s.token)
	if err != nil {
		f.Fatal(err)
	}
	digest := sum(crypto.SHA256, s.signature)
	f.Add(s.token)
	f.Add(sd.content)
	f.Fuzz(func(t *testing.T, forged []byte) {
		if _, err := VerifyToken(forged, digest, nil, roots.TSAs); err == nil && !bytes.Equal(forged, s.token) {
			t.Fatal("accepted a forgery")
		}
		// Behind the signature, the fuzzer would never reach these.
		_, _ = parseTSTInfo(forged)
		_, _ = readTSAAnswer(forged)
	})
}
