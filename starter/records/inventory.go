package records

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/countersign-dev/countersign/evidence"
)

// sum is the digest of a bundle.
type sum [sha256.Size]byte

func (s sum) String() string { return hex.EncodeToString(s[:]) }

// sumOf reads a digest in its one form, lower-case hex.
func sumOf(text string) (s sum, ok bool) {
	n, err := hex.Decode(s[:min(len(s), len(text)/2)], []byte(text[:min(len(text), 2*len(s))&^1]))
	return s, err == nil && n == len(s) && s.String() == text
}

// named is what manifests name of one bundle. Loose is one of which personal data was shredded since it was handed out: its line names nothing beside it.
type named struct{ bundle, proof, certificate, loose bool }

// lying is what lies there of one bundle.
type lying struct{ bundle, proof, page, twin bool }

// besides are the files that lie there of a bundle and that no manifest names.
func (l lying) besides(id sum, is named) (files []string) {
	digest := id.String()
	for _, f := range []struct {
		there, named bool
		file         string
	}{
		{l.bundle, is.bundle, BundleName(digest)}, {l.proof, is.proof || is.loose, BundleName(digest) + proofSuffix},
		{l.page, is.certificate || is.loose, pageName(digest)}, {l.twin, is.certificate || is.loose, twinName(digest)},
	} {
		if f.there && !f.named {
			files = append(files, f.file)
		}
	}
	return files
}

// inventory is what lies in a directory, by what the names say. It takes some hundred bytes for each bundle.
type inventory struct {
	finals     []string        // manifests/*.complete.json
	manifests  map[string]bool // manifests/*.jsonl; true once a final manifest names it
	evidence   map[sum]lying
	renewals   map[sum][]uint16 // the numbers of a bundle's evidence records, in their order
	strays     []string
	moreStrays int
}

// maxStrays is how many names are kept that no export gives.
const maxStrays = maxProblems

// takeInventory lists a directory. Whatever is neither a directory nor a regular file under a name that an export gives is a stray.
func takeInventory(dir fs.FS) (*inventory, error) {
	v := &inventory{manifests: map[string]bool{}, evidence: map[sum]lying{}, renewals: map[sum][]uint16{}}
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() || !v.take(name) {
			if len(v.strays) < maxStrays {
				v.strays = append(v.strays, name)
			} else {
				v.moreStrays++
			}
		}
		return nil
	})
	if err == nil && len(v.finals) > maxExports {
		err = fmt.Errorf("%d exports lie there, and at most %d are checked at once", len(v.finals), maxExports)
	}
	return v, err
}

// maxExports is how many exports one directory may hold: a month's each, of a hundred years.
const maxExports = 1200

// take notes a file whose name an export gives.
func (v *inventory) take(name string) bool {
	folder, base, _ := strings.Cut(name, "/")
	digest, suffix, _ := strings.Cut(base, ".")
	id, isDigest := sumOf(digest)
	is := v.evidence[id]
	switch {
	case folder == "manifests" && strings.HasSuffix(base, completeSuffix) && !strings.Contains(base, "/"):
		v.finals = append(v.finals, name)
		return true
	case folder == "manifests" && strings.HasSuffix(base, ".jsonl") && !strings.Contains(base, "/"):
		v.manifests[name] = false
		return true
	case !isDigest:
		return false
	case folder == "bundles" && suffix == "asice":
		is.bundle = true
	case folder == "bundles" && suffix == "asice"+proofSuffix:
		is.proof = true
	case folder == "certificates" && suffix == "pdf":
		is.page = true
	case folder == "certificates" && suffix == "json":
		is.twin = true
	case folder == "bundles":
		text := strings.TrimSuffix(strings.TrimPrefix(suffix, "asice.renewal-"), evidence.RenewalSuffix)
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || renewalName(BundleName(digest), int(number)) != name {
			return false
		}
		v.renewals[id] = append(v.renewals[id], uint16(number))
		return true
	default:
		return false
	}
	v.evidence[id] = is
	return true
}
