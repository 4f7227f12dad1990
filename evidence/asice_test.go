package evidence

import (
	"archive/zip"
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A bundle of today must be canonical in ten years, whatever becomes of the zip and XML writers beneath. If this test
// fails, the format has changed: mend the writer, never the digest.
func TestContainerKeepsItsBytes(t *testing.T) {
	t.Parallel()
	const want = "60c301e5a9cb12b9150bbd7757fb99e378f592868635d5a2dedd4a971a0fc3ad"
	manifest, err := Manifest(someFiles())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := container(someFiles(), manifest, []byte("signature"))
	if err != nil {
		t.Fatal(err)
	}
	if got := sha256.Sum256(raw); hex.EncodeToString(got[:]) != want {
		t.Errorf("container has digest %x, want %s", got, want)
	}
}

// Readers that look for the magic of ASiC find the type at a fixed place (ETSI EN 319 162-1, annex A.1).
func TestMimetypeIsFirstAndStored(t *testing.T) {
	t.Parallel()
	raw := mustSeal(t, newWorld(t, elliptic.P256()))
	if got := string(raw[30 : 30+8+len(mimetypeValue)]); got != "mimetype"+mimetypeValue {
		t.Errorf("container begins with %q", got)
	}
	if flags := binary.LittleEndian.Uint16(raw[6:]); flags != 0 {
		t.Errorf("flags of mimetype are %#x: want no data descriptor", flags)
	}
	if extra := binary.LittleEndian.Uint16(raw[28:]); extra != 0 {
		t.Errorf("mimetype has an extra field of %d bytes", extra)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"":                       "name of 0 bytes",
		strings.Repeat("n", 256): "name of 256 bytes",
		"/etc/passwd":            "not a clean relative path",
		"a/../b":                 "not a clean relative path",
		"..":                     "not a clean relative path",
		"./a":                    "not a clean relative path",
		"a//b":                   "not a clean relative path",
		"a/":                     "not a clean relative path",
		"a.":                     "not a clean relative path",
		`a\b`:                    "holds the byte 0x5c",
		"a\x00b":                 "holds the byte 0x00",
		"a b":                    "holds the byte 0x20",
		"C:a":                    "holds the byte 0x3a",
		"café":                   "holds the byte 0xc3",
		"META-INF/x":             "belongs to the container",
		"meta-inf":               "belongs to the container",
		"MimeType":               "belongs to the container",
	} {
		_, err := Manifest([]File{{name, nil}})
		wantFailure(t, err, "container", text)
	}
	_, err := Manifest([]File{{"a/b", nil}, {"A", nil}})
	wantFailure(t, err, "container", "both a file and a folder")
	_, err = Manifest(make([]File, MaxBundleEntries-2))
	wantFailure(t, err, "container", "over the limit of 997")
}

func TestContainersThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	raw := mustSeal(t, w)
	b := mustOpen(t, raw)
	good := containerEntries(b.files, b.manifest, b.signature)
	insert := func(at int, files ...File) []File { return slices.Insert(slices.Clone(good), at, files...) }
	directory := len(raw) - zipEndLength - int(binary.LittleEndian.Uint32(raw[len(raw)-10:]))
	patch := func(change func(raw []byte)) []byte {
		raw := slices.Clone(raw)
		change(raw)
		return raw
	}
	for name, c := range map[string]struct {
		raw         []byte
		check, text string
	}{
		"empty":             {nil, "container", "too short"},
		"not a zip file":    {bytes.Repeat([]byte("x"), 100), "container", "does not end with a zip directory"},
		"truncated":         {raw[:len(raw)-1], "container", "truncated"},
		"trailing byte":     {append(slices.Clone(raw), 0), "container", "trailing bytes"},
		"comment":           {withComment(t, good), "container", "comment"},
		"prefix":            {append([]byte("#!/bin/sh\n"), raw...), "container", "before the first entry"},
		"gap":               {withGap(raw, directory), "container", "canonical form"},
		"deflated":          {deflated(t, good), "container", "compression method 8"},
		"encrypted":         {patch(func(r []byte) { r[directory+8] |= 1 }), "container", "encrypted"},
		"huge entry":        {patch(func(r []byte) { r[directory+23], r[directory+27] = 0x40, 0x40 }), "container", "beyond the container"},
		"two sizes":         {patch(func(r []byte) { r[directory+27] = 0x40 }), "container", "two sizes"},
		"count of entries":  {patch(func(r []byte) { r[len(r)-12], r[len(r)-14] = 200, 200 }), "container", "couldn't read the zip directory"},
		"checksum":          {patch(func(r []byte) { r[directory+16] ^= 1 }), "container", "CRC-32"},
		"another time":      {patch(func(r []byte) { r[10], r[directory+12] = 1, 1 }), "container", "canonical form"},
		"executable":        {patch(func(r []byte) { r[directory+40] = 0x80 }), "container", "canonical form"},
		"no mimetype":       {rawContainer(t, good[1:]), "container", "first entry must be mimetype"},
		"wrong mimetype":    {rawContainer(t, insert(0, File{mimetypeName, []byte("application/zip")})), "container", "first entry must be mimetype"},
		"no signature":      {rawContainer(t, good[:len(good)-1]), "container", "last entries"},
		"two manifests":     {rawContainer(t, insert(2, File{"META-INF/ASiCManifest002.xml", b.manifest})), "container", "belongs to the container"},
		"two signatures":    {rawContainer(t, insert(len(good), File{signatureName, b.signature})), "container", "last entries"},
		"duplicate name":    {rawContainer(t, insert(2, good[1])), "container", "occurs twice"},
		"duplicate by case": {rawContainer(t, insert(2, File{"Document.PDF", nil})), "container", "occurs twice"},
		"traversal":         {rawContainer(t, insert(2, File{"../../etc/cron.d/x", nil})), "container", "not a clean relative path"},
		"folder entry":      {rawContainer(t, insert(2, File{"identity/", nil})), "container", "not a clean relative path"},
		"unlisted file":     {rawContainer(t, insert(2, File{"extra.txt", nil})), "manifest", "extra.txt, which the manifest does not name"},
		"missing file":      {rawContainer(t, slices.Delete(slices.Clone(good), 2, 3)), "manifest", "statement.json, which the container does not hold"},
		"reordered":         {rawContainer(t, append([]File{good[0], good[2], good[1]}, good[3:]...)), "manifest", "statement.json where the manifest has document.pdf"},
		"changed file":      {rawContainer(t, append([]File{good[0], {good[1].Name, []byte("other")}}, good[2:]...)), "digest:document.pdf", "does not match"},
		"too many entries":  {rawContainer(t, manyEntries(MaxBundleEntries+1)), "container", "over the limit of 1000 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := OpenBundle(c.raw)
			wantFailure(t, err, c.check, c.text)
		})
	}
}

// Parts of two good bundles do not make a third.
func TestSplicedBundlesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	a := mustOpen(t, mustSeal(t, w))
	files := someFiles()
	files[1].Bytes = []byte(`{"outcome":"rejected"}`)
	otherRaw, err := sealed(t.Context(), files, w.signer, w.tsa, sealedAt, w.roots)
	if err != nil {
		t.Fatal(err)
	}
	other := mustOpen(t, otherRaw)
	wantFailure(t, check(rawContainer(t, containerEntries(other.files, a.manifest, a.signature)), w.roots), "digest:statement.json", "does not match")
	wantFailure(t, check(rawContainer(t, containerEntries(a.files, a.manifest, other.signature)), w.roots), "seal", "message-digest does not match")
	wantFailure(t, check(rawContainer(t, containerEntries(a.files, other.manifest, other.signature)), w.roots), "digest:statement.json", "does not match")
}

func withComment(t *testing.T, entries []File) []byte {
	t.Helper()
	raw := rawContainer(t, entries)
	raw[len(raw)-2] = 3
	return append(raw, "hey"...)
}

func withGap(raw []byte, directory int) []byte {
	out := slices.Insert(slices.Clone(raw), directory, []byte("hidden")...)
	binary.LittleEndian.PutUint32(out[len(out)-6:], uint32(directory+6)) //nolint:gosec // a small container
	return out
}

func deflated(t *testing.T, entries []File) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, e := range entries {
		body, err := z.Create(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := body.Write(e.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func manyEntries(n int) []File {
	entries := make([]File, n)
	for i := range entries {
		entries[i].Name = fmt.Sprintf("f%d", i)
	}
	return entries
}

func FuzzOpenBundle(f *testing.F) {
	raw, _ := goldenBundle(f)
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := OpenBundle(raw)
		if err != nil {
			return
		}
		again, err := container(b.Files(), b.ManifestBytes(), b.SignatureBytes())
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("accepted a container that is not canonical (%v)", err)
		}
	})
}
