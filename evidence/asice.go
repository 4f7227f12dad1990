package evidence

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/evidence/shred"
)

// Names and limits of a bundle, an ASiC-E container with CAdES (ETSI EN 319 162-1).
const (
	// MaxBundleSize is the largest container, in bytes, that is written or read.
	MaxBundleSize = 512 << 20
	// MaxBundleEntries bounds the zip entries, the three of the container's own included.
	MaxBundleEntries = 1000

	mimetypeName  = "mimetype"
	mimetypeValue = "application/vnd.etsi.asic-e+zip"
	manifestName  = "META-INF/ASiCManifest001.xml"
	signatureName = "META-INF/signature001.p7s"

	maxNameLength    = 255
	maxManifestSize  = 1 << 20
	maxSignatureSize = 4 << 20

	zipVersion        = 20 // PKZIP 2.0: folders in names
	zipDate           = 1<<5 | 1
	zipEndLength      = 22
	zipDirEntryLength = 46
)

// BundleError says which check a bundle, a seal or a time-stamp failed.
//
// Check is one of "container", "manifest", "digest:NAME", "seal", "certificate" and "timestamp".
type BundleError struct {
	Check string
	Err   error
}

func (e *BundleError) Error() string { return e.Check + ": " + e.Err.Error() }

func (e *BundleError) Unwrap() error { return e.Err }

func failed(check, format string, args ...any) error {
	return &BundleError{Check: check, Err: fmt.Errorf(format, args...)}
}

// inCheck names the failed check, unless err already names one.
func inCheck(check string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*BundleError](err); ok {
		return err
	}
	return &BundleError{Check: check, Err: err}
}

// File is one payload file of a bundle.
//
// Name is a clean relative path with slashes: ASCII letters, digits and ". _ - + @ =", at most 255 bytes, outside
// META-INF and not "mimetype".
type File struct {
	Name  string
	Bytes []byte
}

// WriteBundle writes a container: mimetype, the files in the given order, the manifest and the signature.
//
// Every entry is stored, without extra fields, at the zip epoch: equal input gives equal bytes. Compression is left
// out on purpose: a verifier in ten years would otherwise have to reproduce today's compressor. WriteBundle does not
// check that manifest and signature fit the files; SealFile does.
func WriteBundle(w io.Writer, files []File, manifest, signature []byte) error {
	if err := checkFiles(files); err != nil {
		return err
	}
	if len(manifest) > maxManifestSize || len(signature) > maxSignatureSize {
		return failed("container", "manifest or signature is too large (%d and %d bytes)", len(manifest), len(signature))
	}
	if err := writeContainer(&atMost{w, MaxBundleSize}, containerEntries(files, manifest, signature)); err != nil {
		return &BundleError{Check: "container", Err: err}
	}
	return nil
}

// atMost is a writer that takes so many bytes and no more.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(p []byte) (int, error) {
	if a.left -= len(p); a.left < 0 {
		return 0, fmt.Errorf("bundle is over the limit of %d bytes", MaxBundleSize)
	}
	return a.w.Write(p)
}

func containerEntries(files []File, manifest, signature []byte) []File {
	entries := make([]File, 0, len(files)+3)
	entries = append(entries, File{mimetypeName, []byte(mimetypeValue)})
	entries = append(entries, files...)
	return append(entries, File{manifestName, manifest}, File{signatureName, signature})
}

func writeContainer(w io.Writer, entries []File) error { return writeContainerWith(w, entries, nil) }

// writeContainerWith writes a container in which some entries have another CRC-32 than that of their bytes.
func writeContainerWith(w io.Writer, entries []File, crcs map[string]uint32) error {
	z := zip.NewWriter(w)
	for _, e := range entries {
		size := uint64(len(e.Bytes))
		crc, given := crcs[e.Name]
		if !given {
			crc = crc32.ChecksumIEEE(e.Bytes)
		}
		body, err := z.CreateRaw(&zip.FileHeader{
			Name:               e.Name,
			CreatorVersion:     zipVersion,
			ReaderVersion:      zipVersion,
			Method:             zip.Store,
			ModifiedDate:       zipDate,
			CRC32:              crc,
			CompressedSize64:   size,
			UncompressedSize64: size,
		})
		if err != nil {
			return fmt.Errorf("couldn't add %s: %w", e.Name, err)
		}
		if _, err := body.Write(e.Bytes); err != nil {
			return fmt.Errorf("couldn't write %s: %w", e.Name, err)
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("couldn't finish the container: %w", err)
	}
	return nil
}

// checkFiles enforces the rules of File for a whole bundle. A name that is also the folder of another name, or equal
// to another but for case, is refused: it would not unpack everywhere.
func checkFiles(files []File) error {
	if len(files) == 0 {
		return failed("container", "bundle has no files")
	}
	if len(files)+3 > MaxBundleEntries {
		return failed("container", "bundle of %d files is over the limit of %d", len(files), MaxBundleEntries-3)
	}
	seen := make(map[string]bool, len(files))
	total := 0
	for _, f := range files {
		if err := checkName(f.Name); err != nil {
			return &BundleError{Check: "container", Err: err}
		}
		folded := strings.ToLower(f.Name)
		if seen[folded] {
			return failed("container", "name %q occurs twice (names are compared without case)", f.Name)
		}
		seen[folded] = true
		if total += len(f.Bytes); total > MaxBundleSize {
			return failed("container", "files are over the limit of %d bytes", MaxBundleSize)
		}
	}
	for name := range seen {
		for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
			if seen[name[:i]] {
				return failed("container", "name %q is both a file and a folder", name[:i])
			}
		}
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > maxNameLength {
		return fmt.Errorf("name of %d bytes: want 1 to %d", len(name), maxNameLength)
	}
	for i := range len(name) {
		c := name[i]
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-+@=/", c) >= 0
		if !ok {
			return fmt.Errorf("name %q holds the byte %#02x: want ASCII letters, digits and . _ - + @ = /", name, c)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasSuffix(part, ".") {
			return fmt.Errorf("name %q is not a clean relative path", name)
		}
	}
	first, _, _ := strings.Cut(name, "/")
	if strings.EqualFold(first, "META-INF") || strings.EqualFold(name, mimetypeName) {
		return fmt.Errorf("name %q belongs to the container", name)
	}
	return nil
}

// Bundle is a container that OpenBundle has accepted: its manifest agrees with its files. It proves nothing before
// VerifySeal. Methods return slices of the bytes given to OpenBundle; they must not be changed.
type Bundle struct {
	files     []File
	digests   map[string]string // SHA-256 of each file, in hex: as the manifest has it, and as it is
	marks     map[string]landmarks
	manifest  []byte
	signature []byte
}

// Files returns the payload files in the order of the container.
func (b *Bundle) Files() []File { return slices.Clone(b.files) }

// File returns the bytes of one payload file.
func (b *Bundle) File(name string) ([]byte, bool) {
	for _, f := range b.files {
		if f.Name == name {
			return f.Bytes, true
		}
	}
	return nil, false
}

// digestOf is the SHA-256 of a file, in hex. A large one is read once.
func (b *Bundle) digestOf(name string) string { return b.digests[name] }

// ManifestBytes returns META-INF/ASiCManifest001.xml, which is what the seal signs.
func (b *Bundle) ManifestBytes() []byte { return b.manifest }

// SignatureBytes returns META-INF/signature001.p7s, a DER CMS SignedData.
func (b *Bundle) SignatureBytes() []byte { return b.signature }

// errNotWhole says that a file is what is left of a bundle.
var errNotWhole = errors.New("personal data in this evidence was shredded, or is concealed: who decided what can't be read from it any more; `countersign audit verify` says what is left and checks it")

// OpenBundle reads a container that comes from a stranger, and checks each file against the manifest.
//
// It accepts the bytes that WriteBundle writes and no others: what was read is written again and must equal raw. So
// nothing hides before, between or after the entries, and each header field has one allowed value. A valid ASiC-E
// container of another program is refused. Errors are *BundleError. The caller must not change raw afterwards.
func OpenBundle(raw []byte) (*Bundle, error) {
	if shred.IsFile(raw) || shred.Is(raw) {
		return nil, inCheck("container", errNotWhole)
	}
	entries, err := readEntries(raw)
	if err != nil {
		return nil, inCheck("container", err)
	}
	b, err := arrange(entries)
	if err != nil {
		return nil, inCheck("container", err)
	}
	same := &comparer{want: raw}
	if err := writeContainer(same, entries); err != nil {
		return nil, failed("container", "container is not in the canonical form of this writer: %w", err)
	}
	if len(same.want) != 0 {
		return nil, failed("container", "container is not in the canonical form of this writer: it has %d bytes more", len(same.want))
	}
	refs, err := parseManifest(b.manifest)
	if err != nil {
		return nil, inCheck("manifest", err)
	}
	b.marks = make(map[string]landmarks, len(refs))
	if err := matchMarked(refs, b.files, b.marks); err != nil {
		return nil, err
	}
	b.digests = make(map[string]string, len(refs))
	for _, r := range refs {
		b.digests[r.name] = hex.EncodeToString(r.digest[:])
	}
	return b, nil
}

// readEntries returns names and bytes in the order of the directory. It checks only what it needs in order to stay
// within bounds and to name a likely fault; the comparison with the canonical form does the rest.
func readEntries(raw []byte) ([]File, error) { return readEntriesBut(raw, nil) }

// readEntriesBut reads a container some of whose bytes are lost: lost is told the CRC-32 of each entry, which its bytes don't have any more, and says
// whether that is so.
func readEntriesBut(raw []byte, lost func(name string, from, to int, crc uint32) bool) ([]File, error) {
	if len(raw) > MaxBundleSize {
		return nil, fmt.Errorf("bundle of %d bytes is over the limit of %d", len(raw), MaxBundleSize)
	}
	if err := checkDirectory(raw); err != nil {
		return nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the zip directory: %w", err)
	}
	if len(z.File) > MaxBundleEntries {
		return nil, fmt.Errorf("container has %d entries: at most %d are read", len(z.File), MaxBundleEntries)
	}
	entries := make([]File, 0, len(z.File))
	for _, f := range z.File {
		switch {
		case f.Flags&1 != 0:
			return nil, fmt.Errorf("entry %q is encrypted", f.Name)
		case f.Method != zip.Store:
			return nil, fmt.Errorf("entry %q uses compression method %d: bundles store their entries", f.Name, f.Method)
		case f.CompressedSize64 != f.UncompressedSize64:
			return nil, fmt.Errorf("entry %q declares two sizes, %d and %d", f.Name, f.CompressedSize64, f.UncompressedSize64)
		case len(f.Extra) != 0 || f.Comment != "":
			return nil, fmt.Errorf("entry %q has an extra field or a comment", f.Name)
		}
		start, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("couldn't find entry %q: %w", f.Name, err)
		}
		if start < 0 || start > int64(len(raw)) || f.UncompressedSize64 > uint64(int64(len(raw))-start) {
			return nil, fmt.Errorf("entry %q reaches beyond the container", f.Name)
		}
		end := start + int64(f.UncompressedSize64) //nolint:gosec // bounded by len(raw) above
		body := raw[start:end:end]
		if (lost == nil || !lost(f.Name, int(start), int(end), f.CRC32)) && crc32.ChecksumIEEE(body) != f.CRC32 {
			return nil, fmt.Errorf("entry %q does not match its CRC-32", f.Name)
		}
		entries = append(entries, File{Name: f.Name, Bytes: body})
	}
	return entries, nil
}

// checkDirectory bounds the directory before a zip reader allocates for it.
func checkDirectory(raw []byte) error {
	if len(raw) < zipEndLength {
		return errors.New("container is too short for a zip file")
	}
	end := raw[len(raw)-zipEndLength:]
	if !bytes.HasPrefix(end, []byte("PK\x05\x06")) || end[20] != 0 || end[21] != 0 {
		return errors.New("container does not end with a zip directory: it is truncated, or has trailing bytes or a comment")
	}
	count := int(binary.LittleEndian.Uint16(end[10:]))
	size := uint64(binary.LittleEndian.Uint32(end[12:]))
	offset := uint64(binary.LittleEndian.Uint32(end[16:]))
	if count > MaxBundleEntries || size > uint64(count)*(zipDirEntryLength+maxNameLength) {
		return fmt.Errorf("directory of %d entries and %d bytes is over the limit of %d entries", count, size, MaxBundleEntries)
	}
	if size+offset+zipEndLength != uint64(len(raw)) {
		return errors.New("bytes before the first entry or around the directory are not accounted for")
	}
	return nil
}

// arrange gives each entry its place: mimetype, payload, manifest, signature, in this order and once each.
func arrange(entries []File) (*Bundle, error) {
	if len(entries) < 4 {
		return nil, fmt.Errorf("container has %d entries: want mimetype, files, manifest and signature", len(entries))
	}
	if entries[0].Name != mimetypeName || string(entries[0].Bytes) != mimetypeValue {
		return nil, fmt.Errorf("the first entry must be %s with %s", mimetypeName, mimetypeValue)
	}
	n := len(entries) - 2
	if entries[n].Name != manifestName || entries[n+1].Name != signatureName {
		return nil, fmt.Errorf("the last entries must be %s and %s", manifestName, signatureName)
	}
	b := &Bundle{files: entries[1:n], manifest: entries[n].Bytes, signature: entries[n+1].Bytes}
	if len(b.manifest) > maxManifestSize || len(b.signature) > maxSignatureSize {
		return nil, fmt.Errorf("manifest or signature is too large (%d and %d bytes)", len(b.manifest), len(b.signature))
	}
	// The certificates that are read of it keep slices of it, and a report has them when the bundle's file is closed.
	b.signature = bytes.Clone(b.signature)
	return b, checkFiles(b.files)
}

// comparer is a writer that accepts only the bytes of want: it spares a second copy of a large bundle.
type comparer struct{ want []byte }

func (c *comparer) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(c.want, p) {
		return 0, errors.New("bytes differ")
	}
	c.want = c.want[len(p):]
	return len(p), nil
}
