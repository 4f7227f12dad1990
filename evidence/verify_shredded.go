package evidence

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// VerifyConcealed verifies a concealed bundle with the keys for it that are left. Where all are, it is Verify of the bundle.
//
// Where somebody's personal data was shredded, it says so, and checks what is left: that the container is the one that was sealed but for the shredded
// bytes, that those lie in files that may hold personal data, the seal over the digest of every file, its time-stamp, an evidence record over what is stored,
// and each file of which nothing was shredded. What the shredded bytes said can't be checked by itself any more; that they are the ones that were locked is in the tenant's log, which
// holds the digest of the whole concealed bundle.
func VerifyConcealed(c *shred.Concealed, keys shred.Keys, roots Roots) *Report {
	raw, lost, err := c.Reveal(keys)
	if err != nil {
		r := &Report{}
		r.note("container", err, "")
		return r
	}
	return VerifyRevealed(c, keys, raw, lost, roots)
}

// VerifyRevealed is VerifyConcealed for whoever has what Reveal gave with these keys.
func VerifyRevealed(c *shred.Concealed, keys shred.Keys, raw []byte, lost []shred.Run, roots Roots) *Report {
	if len(lost) == 0 {
		return Verify(raw, roots)
	}
	r := &Report{}
	b, damaged, err := openShredded(raw, lost)
	if !r.note("container", err, "an ASiC-E container, as it was sealed but for what was shredded") {
		return r
	}
	facts, err := b.VerifySeal(roots)
	if !r.note("seal", err, "sealed by "+subjectOf(facts)+", time-stamped; it names the digest of every file") {
		return r
	}
	r.Seal = &facts
	err = b.intact(damaged)
	r.note("files", err, fmt.Sprintf("%d of %d files are as they were sealed", len(b.files)-len(damaged), len(b.files)))
	r.Findings = append(r.Findings, Finding{"stored", NotRecorded, "what is stored has the SHA-256 " + c.Digest + ", and the bundle had " + c.Bundle()})
	r.endingOf(c, roots)
	if len(roots.Renewal) > 0 {
		r.Renewed(roots.Renewal, c.Stored(), roots)
	} else {
		r.notRecorded(CheckRenewal, "no evidence record over what is stored was given")
	}
	if l := roots.Lock; l != nil {
		r.note("lock", l.locks(c.Digest, facts.StampTime), fmt.Sprintf("the store says: COMPLIANCE until %s, version %s", l.RetainUntil.UTC().Format("2006-01-02 15:04:05 UTC"), l.Version))
	}
	r.Findings = append(r.Findings, Finding{"shredded", NotRecorded, fmt.Sprintf("personal data of %s was shredded, in %s", gone(c, keys), strings.Join(damaged, ", "))})
	return r
}

// gone are the ids of the keys that are not given, as text.
func gone(c *shred.Concealed, keys shred.Keys) string {
	ids := slices.DeleteFunc(c.Subjects(), func(id string) bool { _, left := keys[id]; return left })
	text := fmt.Sprintf("%d of %d people (key %s", len(ids), len(c.Subjects()), strings.Join(ids[:min(len(ids), maxTold)], ", "))
	if len(ids) > maxTold {
		text += ", ..."
	}
	return text + ")"
}

// endingOf adds whether the tenant's log has the digests of the bundle and of what is stored, as how a signing ended.
func (r *Report) endingOf(c *shred.Concealed, roots Roots) {
	switch {
	case len(roots.LogProof) == 0:
		r.notRecorded(endingCheck, "the proof, which lies beside the bundle, was not given; without it nothing shows that the shredded bytes are the ones that were locked")
		return
	case roots.Log == nil:
		r.notRecorded(endingCheck, "the log's public key was not given, so the proof was not checked")
		return
	}
	p, err := ParseLogProof(roots.LogProof)
	if err == nil {
		var entry translog.Entry
		if entry, _, err = p.Check(roots.Log); err == nil && (!entry.Ended() || entry.Bundle.SHA256 != c.Bundle() || entry.Concealed != c.Digest) {
			err = errors.New("the entry in the log is about something else than what is stored here")
		}
	}
	r.note(endingCheck, err, fmt.Sprintf("the ending is entry %d of the log of %s, with the digests of the bundle and of what is stored", p.Index, roots.Log.Name()))
}

// maxTold is how many keys a finding names.
const maxTold = 10

// openShredded opens a container some of whose bytes are lost, and names the files that they are in.
func openShredded(raw []byte, lost []shred.Run) (*Bundle, []string, error) {
	crcs := map[string]uint32{}
	var damaged []string
	left := slices.Clone(lost)
	entries, err := readEntriesBut(raw, func(name string, from, to int, crc uint32) bool {
		inside := func(l shred.Run) bool { return l.Offset >= from && l.Offset+l.Length <= to }
		if !slices.ContainsFunc(left, inside) || impersonal(name) {
			return false
		}
		left = slices.DeleteFunc(left, inside)
		crcs[name], damaged = crc, append(damaged, name)
		return true
	})
	if err != nil {
		return nil, nil, inCheck("container", err)
	}
	if len(left) > 0 {
		return nil, nil, failed("container", "bytes are concealed that are nobody's personal data")
	}
	b, err := arrange(entries)
	if err != nil {
		return nil, nil, inCheck("container", err)
	}
	same := &comparer{want: raw}
	if err := writeContainerWith(same, entries, crcs); err != nil || len(same.want) != 0 {
		return nil, nil, failed("container", "container is not in the canonical form of this writer")
	}
	return b, damaged, nil
}

// intact checks each file of which nothing is lost against the manifest, and that the manifest names no more and no fewer files.
func (b *Bundle) intact(damaged []string) error {
	refs, err := parseManifest(b.manifest)
	if err != nil {
		return inCheck("manifest", err)
	}
	if len(refs) != len(b.files) {
		return failed("manifest", "the manifest names %d files, and there are %d", len(refs), len(b.files))
	}
	for i, f := range b.files {
		lost := slices.Contains(damaged, f.Name)
		if lost && refs[i].name != f.Name {
			return failed("manifest", "the manifest names another file than %s", f.Name)
		}
		if lost {
			continue
		}
		if err := matchManifest(refs[i:i+1], b.files[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// SignedPDFOf is the signed PDF in a concealed bundle, with the keys for it that are left: personal data is looked for in no document, so it is whole.
// It is nil where there is none.
func SignedPDFOf(c *shred.Concealed, keys shred.Keys) ([]byte, error) {
	raw, lost, err := c.Reveal(keys)
	if err != nil {
		return nil, err
	}
	return SignedPDFLeft(raw, lost)
}

// SignedPDFLeft is SignedPDFOf for whoever has what Reveal gave.
func SignedPDFLeft(raw []byte, lost []shred.Run) ([]byte, error) {
	if len(lost) == 0 {
		return SignedPDF(raw)
	}
	b, _, err := openShredded(raw, lost)
	if err != nil {
		return nil, err
	}
	pdf, _ := b.File(signedFile)
	return pdf, nil
}
