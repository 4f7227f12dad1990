package evidence

import (
	"bytes"
	"strings"
	"testing"
)

func TestManifestReadsBack(t *testing.T) {
	t.Parallel()
	raw, err := Manifest(someFiles())
	if err != nil {
		t.Fatal(err)
	}
	refs, err := parseManifest(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := matchManifest(refs, someFiles()); err != nil {
		t.Error(err)
	}
	if len(refs) != 4 || refs[0].mimeType != "application/pdf" || refs[3].mimeType != "application/octet-stream" {
		t.Errorf("references are %v", refs)
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	t.Parallel()
	raw, err := Manifest(someFiles())
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	_, one, _ := strings.Cut(good, `  <asic:DataObjectReference URI="document.pdf"`)
	one, _, _ = strings.Cut(`  <asic:DataObjectReference URI="document.pdf"`+one, `  <asic:DataObjectReference URI="statement.json"`)
	for name, c := range map[string]struct{ old, new, text string }{
		"empty":                  {good, "", "couldn't read the manifest"},
		"no declaration":         {"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n", "", "XML declaration"},
		"other encoding":         {"UTF-8", "UTF-16", "encoding"},
		"DTD":                    {"<asic:ASiC", "<!DOCTYPE a [<!ENTITY b \"c\">]><asic:ASiC", "DTD"},
		"processing instruction": {"<asic:ASiC", "<?php x?><asic:ASiC", "processing instruction"},
		"comment":                {"  <asic:Sig", "<!-- x -->  <asic:Sig", "comment"},
		"other namespace":        {nsASiC, "urn:x", `element "ASiCManifest" where`},
		"unknown element":        {"</asic:ASiC", "<asic:ASiCManifestExtensions/></asic:ASiC", `element "ASiCManifestExtensions" where DataObjectReference belongs`},
		"unknown child":          {"    <ds:DigestM", "    <ds:Transforms/><ds:DigestM", `element "Transforms" where DigestMethod belongs`},
		"nested element":         {"=</ds:DigestValue>", "=<a/></ds:DigestValue>", "unknown element"},
		"unknown attribute":      {"URI=\"doc", "Rootfile=\"true\" URI=\"doc", `unknown attribute "Rootfile"`},
		"missing attribute":      {" MimeType=\"application/pdf\"", "", "lacks the attribute MimeType"},
		"other signature":        {"signature001", "signature002", "is for the signature"},
		"sha1":                   {"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1", "uses the digest"},
		"short digest":           {"<ds:DigestValue>", "<ds:DigestValue>AAAA</ds:DigestValue></asic:DataObjectReference><asic:x><ds:x>", "not a SHA-256 value"},
		"text":                   {"  <asic:Sig", "hello<asic:Sig", "holds text"},
		"bad name":               {"document.pdf", "../document.pdf", "not a clean relative path"},
		"bad MIME type":          {"application/pdf", "application/pdf; x", "MIME type"},
		"white space":            {"\n  <asic:Sig", "\n <asic:Sig", "canonical form"},
		"character reference":    {"document.pdf", "d&#111;cument.pdf", "canonical form"},
		"entity":                 {"document.pdf", "&xxe;", "couldn't read the manifest"},
		"second root":            {"</asic:ASiCManifest>\n", "</asic:ASiCManifest>\n<x/>", "goes on after its end"},
		"name twice":             {one, one + one, "document.pdf twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatal("the case changes nothing")
			}
			refs, err := parseManifest([]byte(bad))
			if err == nil {
				err = matchManifest(refs, someFiles())
			}
			wantFailure(t, inCheck("manifest", err), "manifest", c.text)
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	raw, err := Manifest(someFiles())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(bytes.ReplaceAll(raw, []byte("asic:"), nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		refs, err := parseManifest(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(encodeManifest(refs), raw) {
			t.Fatal("accepted a manifest that is not canonical")
		}
	})
}
