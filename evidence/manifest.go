package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	nsASiC    = "http://uri.etsi.org/02918/v1.2.1#"
	nsDSig    = "http://www.w3.org/2000/09/xmldsig#"
	uriSHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"

	mimeSignature = "application/pkcs7-signature"
)

// reference is a DataObjectReference of the manifest.
type reference struct {
	name     string
	mimeType string
	digest   [sha256.Size]byte
}

// Manifest returns the bytes of META-INF/ASiCManifest001.xml for files: the SHA-256 digest of each, in this order
// (ETSI EN 319 162-1, annex A.4). Equal files give equal bytes.
func Manifest(files []File) ([]byte, error) {
	if err := checkFiles(files); err != nil {
		return nil, err
	}
	refs := make([]reference, len(files))
	for i, f := range files {
		refs[i] = reference{name: f.Name, mimeType: mimeType(f.Name), digest: sha256.Sum256(f.Bytes)}
	}
	return encodeManifest(refs), nil
}

// encodeManifest needs no escaping: names and MIME types are from alphabets without XML's special characters.
func encodeManifest(refs []reference) []byte {
	var out bytes.Buffer
	out.WriteString(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n")
	fmt.Fprintf(&out, `<asic:ASiCManifest xmlns:asic="%s" xmlns:ds="%s">`+"\n", nsASiC, nsDSig)
	fmt.Fprintf(&out, `  <asic:SigReference URI="%s" MimeType="%s"/>`+"\n", signatureName, mimeSignature)
	for _, r := range refs {
		fmt.Fprintf(&out, `  <asic:DataObjectReference URI="%s" MimeType="%s">`+"\n", r.name, r.mimeType)
		fmt.Fprintf(&out, `    <ds:DigestMethod Algorithm="%s"/>`+"\n", uriSHA256)
		fmt.Fprintf(&out, "    <ds:DigestValue>%s</ds:DigestValue>\n", base64.StdEncoding.EncodeToString(r.digest[:]))
		out.WriteString("  </asic:DataObjectReference>\n")
	}
	out.WriteString("</asic:ASiCManifest>\n")
	return out.Bytes()
}

// mimeType follows a table of our own: the system's would make the manifest depend on the machine.
func mimeType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".pdf":
		return "application/pdf"
	case ".json":
		return "application/json"
	case ".jwt":
		return "application/jwt"
	case ".xml":
		return "application/xml"
	case ".txt", ".cedar":
		return "text/plain"
	default:
		return "application/octet-stream"
	}
}

// parseManifest reads a manifest in the form of encodeManifest. What it accepts, written again, equals raw.
func parseManifest(raw []byte) ([]reference, error) {
	if len(raw) > maxManifestSize {
		return nil, fmt.Errorf("manifest of %d bytes is over the limit of %d", len(raw), maxManifestSize)
	}
	r := &manifestReader{dec: xml.NewDecoder(bytes.NewReader(raw))}
	r.dec.Strict = true
	refs, err := r.manifest()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(encodeManifest(refs), raw) {
		return nil, errors.New("manifest is not in the canonical form of this writer")
	}
	return refs, nil
}

// manifestReader reads the one shape that a manifest has; the depth is fixed by the calls.
type manifestReader struct{ dec *xml.Decoder }

func (r *manifestReader) manifest() ([]reference, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the manifest: %w", err)
	}
	if p, ok := tok.(xml.ProcInst); !ok || p.Target != "xml" {
		return nil, errors.New("manifest does not begin with an XML declaration")
	}
	root, err := r.start(xml.Name{Space: nsASiC, Local: "ASiCManifest"})
	if err != nil {
		return nil, err
	}
	if _, err := attributesOf(root); err != nil {
		return nil, err
	}
	sig, err := r.start(xml.Name{Space: nsASiC, Local: "SigReference"})
	if err != nil {
		return nil, err
	}
	values, err := attributesOf(sig, "URI", "MimeType")
	if err != nil {
		return nil, err
	}
	if values[0] != signatureName || values[1] != mimeSignature {
		return nil, fmt.Errorf("manifest is for the signature %q, not for %s", values[0], signatureName)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	var refs []reference
	for {
		tok, err := r.next()
		if err != nil {
			return nil, err
		}
		if _, ok := tok.(xml.EndElement); ok {
			break
		}
		if len(refs) == MaxBundleEntries {
			return nil, fmt.Errorf("manifest names more than %d files", MaxBundleEntries)
		}
		ref, err := r.reference(tok)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	if tok, err := r.next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("manifest goes on after its end (%T)", tok)
	}
	return refs, nil
}

func (r *manifestReader) reference(tok xml.Token) (ref reference, err error) {
	el, err := expect(tok, xml.Name{Space: nsASiC, Local: "DataObjectReference"})
	if err != nil {
		return ref, err
	}
	values, err := attributesOf(el, "URI", "MimeType")
	if err != nil {
		return ref, err
	}
	ref.name, ref.mimeType = values[0], values[1]
	if err := checkName(ref.name); err != nil {
		return ref, err
	}
	if !isMIMEType(ref.mimeType) {
		return ref, fmt.Errorf("manifest gives %s the MIME type %q", ref.name, ref.mimeType)
	}
	method, err := r.start(xml.Name{Space: nsDSig, Local: "DigestMethod"})
	if err != nil {
		return ref, err
	}
	if values, err = attributesOf(method, "Algorithm"); err != nil {
		return ref, err
	}
	if values[0] != uriSHA256 {
		return ref, fmt.Errorf("manifest uses the digest %q for %s: want %s", values[0], ref.name, uriSHA256)
	}
	if err := r.end(); err != nil {
		return ref, err
	}
	value, err := r.start(xml.Name{Space: nsDSig, Local: "DigestValue"})
	if err != nil {
		return ref, err
	}
	if _, err := attributesOf(value); err != nil {
		return ref, err
	}
	if tok, err = r.dec.Token(); err != nil {
		return ref, fmt.Errorf("couldn't read the manifest: %w", err)
	}
	text, ok := tok.(xml.CharData)
	if !ok {
		return ref, fmt.Errorf("manifest has no digest for %s", ref.name)
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil || len(sum) != sha256.Size {
		return ref, fmt.Errorf("manifest's digest of %s is not a SHA-256 value in base64", ref.name)
	}
	ref.digest = [sha256.Size]byte(sum)
	if err := r.end(); err != nil {
		return ref, err
	}
	return ref, r.end()
}

// next returns the next token that is not white space. Comments, directives (a DTD) and further processing
// instructions are refused.
func (r *manifestReader) next() (xml.Token, error) {
	for {
		tok, err := r.dec.Token()
		if err != nil {
			return nil, fmt.Errorf("couldn't read the manifest: %w", err)
		}
		switch t := tok.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) != 0 {
				return nil, errors.New("manifest holds text between its elements")
			}
		case xml.StartElement, xml.EndElement:
			return tok, nil
		default:
			return nil, fmt.Errorf("manifest holds a comment, a DTD or a processing instruction (%T)", tok)
		}
	}
}

func (r *manifestReader) start(name xml.Name) (xml.StartElement, error) {
	tok, err := r.next()
	if err != nil {
		return xml.StartElement{}, err
	}
	return expect(tok, name)
}

func (r *manifestReader) end() error {
	tok, err := r.next()
	if err != nil {
		return err
	}
	if el, ok := tok.(xml.StartElement); ok {
		return fmt.Errorf("manifest holds an unknown element %q", el.Name.Local)
	}
	return nil
}

func expect(tok xml.Token, name xml.Name) (xml.StartElement, error) {
	el, ok := tok.(xml.StartElement)
	if !ok {
		return el, fmt.Errorf("manifest lacks the element %s", name.Local)
	}
	if el.Name != name {
		return el, fmt.Errorf("manifest holds the element %q where %s belongs", el.Name.Local, name.Local)
	}
	return el, nil
}

// attributesOf returns the values of exactly these attributes, in this order. Namespace declarations are left to the
// comparison with the canonical form.
func attributesOf(el xml.StartElement, names ...string) ([]string, error) {
	var values []string
	for _, a := range el.Attr {
		if a.Name.Space == "xmlns" {
			continue
		}
		if len(values) == len(names) || a.Name.Space != "" || a.Name.Local != names[len(values)] {
			return nil, fmt.Errorf("manifest holds an unknown attribute %q in %s", a.Name.Local, el.Name.Local)
		}
		values = append(values, a.Value)
	}
	if len(values) != len(names) {
		return nil, fmt.Errorf("manifest lacks the attribute %s in %s", names[len(values)], el.Name.Local)
	}
	return values, nil
}

func isMIMEType(s string) bool {
	if len(s) > 127 || strings.Count(s, "/") != 1 || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.+-/") == ""
}

// matchManifest compares the manifest with the files of the container: the same names in the same order, and each
// file's digest.
func matchManifest(refs []reference, files []File) error { return matchMarked(refs, files, nil) }

// matchMarked is matchManifest, and keeps the landmarks of each file.
func matchMarked(refs []reference, files []File, marks map[string]landmarks) error {
	listed := make(map[string]bool, len(refs))
	for _, r := range refs {
		if listed[r.name] {
			return failed("manifest", "manifest names %s twice", r.name)
		}
		listed[r.name] = true
	}
	held := make(map[string]bool, len(files))
	for _, f := range files {
		held[f.Name] = true
		if !listed[f.Name] {
			return failed("manifest", "container holds %s, which the manifest does not name", f.Name)
		}
	}
	for i, r := range refs {
		if !held[r.name] {
			return failed("manifest", "manifest names %s, which the container does not hold", r.name)
		}
		if files[i].Name != r.name {
			return failed("manifest", "container holds %s where the manifest has %s", files[i].Name, r.name)
		}
	}
	for i, r := range refs {
		sum, passed := sumMarked(files[i].Bytes)
		if subtle.ConstantTimeCompare(sum[:], r.digest[:]) != 1 {
			return failed("digest:"+r.name, "the file does not match the manifest's digest")
		}
		if marks != nil {
			marks[r.name] = passed
		}
	}
	return nil
}
