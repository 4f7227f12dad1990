package evidence

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// listedWorld is a world whose certificates name revocation lists, served at the places that they name.
type listedWorld struct {
	*world
	server  *httptest.Server
	answers map[string]func(http.ResponseWriter) // by path: instead of the list
	lists   map[string]*x509.RevocationList      // by path
}

// listedSigner keeps revocation lists.
type listedSigner struct {
	*countingSigner
	lists *Revocation
}

func (s listedSigner) Revocation() *Revocation { return s.lists }

func newListedWorld(t *testing.T) *listedWorld {
	t.Helper()
	w := &listedWorld{world: newWorld(t, elliptic.P256()), answers: map[string]func(http.ResponseWriter){}, lists: map[string]*x509.RevocationList{}}
	authorities := map[string]func() *certified{
		"/root.crl": func() *certified { return w.signerRoot }, "/ca.crl": func() *certified { return w.signerCA },
		"/tsa-root.crl": func() *certified { return w.tsaRoot }, "/tsa-ca.crl": func() *certified { return w.tsaCA },
	}
	w.server = httptest.NewServer(http.HandlerFunc(func(resp http.ResponseWriter, req *http.Request) {
		if answer := w.answers[req.URL.Path]; answer != nil {
			answer(resp)
			return
		}
		_, _ = resp.Write(w.sign(t, w.lists[req.URL.Path], authorities[req.URL.Path]()))
	}))
	t.Cleanup(w.server.Close)
	for path := range authorities {
		w.lists[path] = &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: sealedAt.Add(-time.Hour), NextUpdate: sealedAt.Add(24 * time.Hour)}
	}
	listed := func(template x509.Certificate, path string) x509.Certificate {
		template.CRLDistributionPoints = []string{"ldap://nowhere.example/x", w.server.URL + path}
		return template
	}
	w.signerCA = issue(t, listed(caTemplate("tenants' CA"), "/root.crl"), w.signerCA.key, w.signerRoot)
	w.leaf = issue(t, listed(signerTemplate(), "/ca.crl"), w.leaf.key, w.signerCA)
	w.tsaCA = issue(t, listed(caTemplate("TSA CA"), "/tsa-root.crl"), w.tsaCA.key, w.tsaRoot)
	w.tsa = newTestTSA(t, w.world, listed(tsaTemplate(t), "/tsa-ca.crl"))
	w.signer = &countingSigner{Signer: NewKeySigner(w.leaf.key, []*x509.Certificate{w.leaf.cert, w.signerCA.cert})}
	return w
}

func (w *listedWorld) sign(t *testing.T, list *x509.RevocationList, by *certified) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, list, by.cert, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (w *listedWorld) seal(t *testing.T) ([]byte, error) {
	return sealed(t.Context(), someFiles(), listedSigner{w.signer, NewRevocation(w.roots, w.server.Client())}, w.tsa, sealedAt, w.roots)
}

func (w *listedWorld) mustSeal(t *testing.T) *Bundle {
	t.Helper()
	raw, err := w.seal(t)
	if err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, raw)
}

func TestASealKeepsTheListsOfAllItsCertificates(t *testing.T) {
	t.Parallel()
	w := newListedWorld(t)
	facts, err := w.mustSeal(t).VerifySeal(w.roots)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Named != 4 || facts.Listed != 4 {
		t.Errorf("%d certificates name lists, %d have them", facts.Named, facts.Listed)
	}
	plain := newWorld(t, elliptic.P256())
	facts, err = mustOpen(t, mustSeal(t, plain)).VerifySeal(plain.roots)
	if err != nil || facts.Named != 0 || facts.Listed != 0 {
		t.Errorf("without any: %d named, %d listed, %v", facts.Named, facts.Listed, err)
	}
}

// A list that can't be had, or can't be believed, stops the seal. Where it is a signer's, the key isn't asked.
func TestNoSealWithoutItsLists(t *testing.T) {
	t.Parallel()
	idp := func(t *testing.T, tag int) pkix.Extension {
		t.Helper()
		value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte{0xff}}})
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: value}
	}
	give := func(body []byte) func(http.ResponseWriter) {
		return func(r http.ResponseWriter) { _, _ = r.Write(body) }
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, w *listedWorld)
		check  string
		text   string
		asked  int
	}{
		"down": {func(_ *testing.T, w *listedWorld) {
			w.answers["/ca.crl"] = func(r http.ResponseWriter) { r.WriteHeader(http.StatusServiceUnavailable) }
		}, "certificate", "503", 0},
		"the time-stamp authority's is down": {func(_ *testing.T, w *listedWorld) {
			w.answers["/tsa-ca.crl"] = func(r http.ResponseWriter) { r.WriteHeader(http.StatusServiceUnavailable) }
		}, "timestamp", "503", 1},
		"elsewhere": {func(_ *testing.T, w *listedWorld) {
			w.answers["/ca.crl"] = func(r http.ResponseWriter) {
				r.Header().Set("Location", "/root.crl")
				r.WriteHeader(http.StatusFound)
			}
		}, "certificate", "302", 0},
		"too large": {func(_ *testing.T, w *listedWorld) { w.answers["/ca.crl"] = give(make([]byte, maxList+1)) }, "certificate", "over the limit of 1048576", 0},
		"no list":   {func(_ *testing.T, w *listedWorld) { w.answers["/ca.crl"] = give([]byte("hello")) }, "certificate", "couldn't read the revocation list", 0},
		"of another": {func(t *testing.T, w *listedWorld) {
			w.answers["/ca.crl"] = give(w.sign(t, w.lists["/root.crl"], w.signerRoot))
		}, "certificate", "another authority", 0},
		"forged": {func(t *testing.T, w *listedWorld) {
			other := issue(t, caTemplate("tenants' CA"), newKey(t, elliptic.P256()), nil)
			w.answers["/ca.crl"] = give(w.sign(t, w.lists["/ca.crl"], other))
		}, "certificate", "its signature is not of", 0},
		"out of date": {func(_ *testing.T, w *listedWorld) { w.lists["/ca.crl"].NextUpdate = sealedAt.Add(-time.Minute) }, "certificate", "it was good until", 0},
		"of authorities alone": {func(t *testing.T, w *listedWorld) {
			w.lists["/ca.crl"].ExtraExtensions = []pkix.Extension{idp(t, 2)}
		}, "certificate", "about authorities alone", 0},
		"not of authorities": {func(t *testing.T, w *listedWorld) {
			w.lists["/root.crl"].ExtraExtensions = []pkix.Extension{idp(t, 1)}
		}, "certificate", "not about authorities", 0},
		"indirect": {func(t *testing.T, w *listedWorld) { w.lists["/ca.crl"].ExtraExtensions = []pkix.Extension{idp(t, 4)} }, "certificate", "indirect", 0},
		"a difference to another": {func(_ *testing.T, w *listedWorld) {
			w.lists["/ca.crl"].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}, "certificate", "unknown critical extension 2.5.29.27", 0},
		"the signer is revoked": {func(_ *testing.T, w *listedWorld) { w.revoke("/ca.crl", w.leaf.cert, sealedAt.Add(-time.Minute)) }, "certificate", "the certificate is revoked", 0},
		"its authority is revoked": {func(_ *testing.T, w *listedWorld) { w.revoke("/root.crl", w.signerCA.cert, sealedAt.Add(-time.Minute)) }, "certificate",
			"the certificate is revoked", 0},
		"the time-stamp authority is revoked": {func(_ *testing.T, w *listedWorld) {
			w.revoke("/tsa-ca.crl", w.tsa.tsa.cert, sealedAt.Add(-time.Minute))
		}, "timestamp",
			"the certificate is revoked", 1},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			w := newListedWorld(t)
			c.change(t, w)
			_, err := w.seal(t)
			wantFailure(t, err, c.check, c.text)
			if w.signer.calls != c.asked {
				t.Errorf("the key was asked %d times, want %d", w.signer.calls, c.asked)
			}
			if strings.HasSuffix(c.text, "is revoked") != errors.Is(err, ErrRevoked) {
				t.Errorf("%v is ErrRevoked: %v", err, errors.Is(err, ErrRevoked))
			}
		})
	}
}

func (w *listedWorld) revoke(path string, c *x509.Certificate, since time.Time) {
	w.lists[path].RevokedCertificateEntries = append(w.lists[path].RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: since})
}

// Nothing covers a signature's set of lists: what a forger may do with it is pinned here. Swapping a list for another good one is all.
func TestListsThatWereTamperedWithAreRefused(t *testing.T) {
	t.Parallel()
	w := newListedWorld(t)
	b := w.mustSeal(t)
	s, err := readSeal(digestOf(b.manifest), b.signature, true)
	if err != nil {
		t.Fatal(err)
	}
	list := func(change func(*x509.RevocationList), path string, by *certified) []byte {
		l := *w.lists[path]
		change(&l)
		return w.sign(t, &l, by)
	}
	leafs := slices.IndexFunc(s.lists, func(der []byte) bool { return checkList(der, w.leaf.cert, w.signerCA.cert, sealedAt) == nil })
	instead := func(der []byte) [][]byte {
		lists := slices.Clone(s.lists)
		lists[leafs] = der
		return lists
	}
	revoked := func(since time.Time) []byte {
		return list(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: w.leaf.cert.SerialNumber, RevocationTime: since}}
		}, "/ca.crl", w.signerCA)
	}
	later := list(func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = sealedAt.Add(time.Hour), sealedAt.Add(48*time.Hour)
	}, "/ca.crl", w.signerCA)
	for name, c := range map[string]struct {
		lists [][]byte
		text  string
	}{
		"as they are":              {s.lists, ""},
		"a later one":              {instead(later), ""},
		"revoked after the stamp":  {instead(revoked(sealedAt.Add(time.Hour))), ""},
		"one left out":             {slices.Concat(s.lists[:leafs], s.lists[leafs+1:]), "no revocation list is carried"},
		"one too many":             {append(slices.Clone(s.lists), later), "that no certificate needs"},
		"revoked before the stamp": {instead(revoked(sealedAt.Add(-time.Hour))), "the certificate is revoked"},
		"one from long before":     {instead(list(func(l *x509.RevocationList) { l.NextUpdate = sealedAt.Add(-time.Second) }, "/ca.crl", w.signerCA)), "it was good until"},
		"from after its lifetime": {instead(list(func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = sealedAt.AddDate(2, 0, 0), sealedAt.AddDate(3, 0, 0)
		}, "/ca.crl", w.signerCA)), "after the certificate's lifetime"},
		"one of its own making":       {instead(list(func(*x509.RevocationList) {}, "/ca.crl", issue(t, caTemplate("tenants' CA"), newKey(t, elliptic.P256()), nil))), "its signature is not of"},
		"the other authority's alone": {s.lists[:1], "no revocation list is carried"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			forged := *s
			forged.lists = c.lists
			cms, err := forged.marshal()
			if err != nil {
				t.Fatal(err)
			}
			_, err = VerifyDetached(b.manifest, cms, w.roots)
			if c.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFailure(t, err, "revocation", c.text)
		})
	}
}

// TestR11_StrippedListsAreFound takes the lists out of the seal of a bundle whose context says that it is of a build that keeps them.
func TestR11_StrippedListsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		facts   SignatureFacts
		stamped bool
		want    State
	}{
		{SignatureFacts{Named: 2, Listed: 2}, true, Pass}, {SignatureFacts{Named: 2}, true, Fail}, {SignatureFacts{}, true, NotRecorded},
		{SignatureFacts{Named: 2}, false, NotRecorded}, {SignatureFacts{Named: 2, Listed: 2}, false, Pass},
	} {
		v := &verifier{report: &Report{Seal: &c.facts}, c: &Case{Admission: &Admission{Context: countersign.Context{Stamped: c.stamped}}}}
		v.revoked()
		if got := v.report.Findings[0].State; got != c.want {
			t.Errorf("%+v, stamped %v: %s, want %s", c.facts, c.stamped, got, c.want)
		}
	}
}

// TestEachForgedByteOfAListedSealIsRefused is TestEachForgedByteIsRefused for a seal with lists: no byte of one is free either.
func TestEachForgedByteOfAListedSealIsRefused(t *testing.T) {
	t.Parallel()
	w := newListedWorld(t)
	b := w.mustSeal(t)
	if bare, err := readSeal(digestOf(b.manifest), b.signature, true); err != nil || bare.hash != crypto.SHA256 || len(bare.lists) != 4 {
		t.Fatalf("%+v, %v", bare, err)
	}
	cms := slices.Clone(b.signature)
	for i := range cms {
		for _, mask := range []byte{0xff, 1 << (i % 8), 1 << ((i + 3) % 8)} {
			cms[i] ^= mask
			if _, err := VerifyDetached(b.manifest, cms, w.roots); err == nil {
				t.Errorf("byte %d flipped by %#02x is accepted", i, mask)
			}
			cms[i] ^= mask
		}
	}
}
