package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/countersign-dev/countersign/evidence"
)

// What a record had to be rewritten for. Ours reads one form alone, and others write the same thing in several.
const (
	changedFields = "fields" // fields that are optional in the standard: another choice among them
	changedTokens = "tokens" // certificates of a token in another order, or more than its chain needs, or revocation lists
	changedChains = "chains" // and one that is not the last chain, which a hash-tree renewal digests as it is
)

var (
	errForm    = errors.New("not an evidence record in DER")
	tagDigest  = asn1.Tag(0).ContextSpecific().Constructed()
	tagTree    = asn1.Tag(2).ContextSpecific().Constructed()
	oidTSTInfo = []byte{0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04}
)

// ourForm writes a record as our writer would have, and says what that changed. What signatures and digests cover stays as it is, but for what changed names.
func ourForm(der []byte, roots *x509.CertPool) (out []byte, changed []string, err error) {
	in := cryptobyte.String(der)
	var record, algorithms, sequence cryptobyte.String
	var version int
	if !in.ReadASN1(&record, asn1.SEQUENCE) || !record.ReadASN1Integer(&version) || !record.ReadASN1(&algorithms, asn1.SEQUENCE) {
		return nil, nil, errForm
	}
	for !record.Empty() && !record.PeekASN1Tag(asn1.SEQUENCE) { // cryptoInfos, encryptionInfo
		var skipped cryptobyte.String
		var tag asn1.Tag
		if !record.ReadAnyASN1Element(&skipped, &tag) {
			return nil, nil, errForm
		}
	}
	if !record.ReadASN1(&sequence, asn1.SEQUENCE) {
		return nil, nil, errForm
	}
	var oids [][]byte
	var chains [][]byte
	for !sequence.Empty() {
		var chain cryptobyte.String
		if !sequence.ReadASN1Element(&chain, asn1.SEQUENCE) {
			return nil, nil, errForm
		}
		written, tokens, err := chainInOurForm(chain, roots, &oids)
		if err != nil {
			return nil, nil, err
		}
		if tokens {
			changed = append(changed, changedTokens)
		}
		if !bytes.Equal(written, chain) && !sequence.Empty() {
			changed = append(changed, changedChains)
		}
		chains = append(chains, written)
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(version))
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, oid := range oids {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
			}
		})
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(chains, nil)) })
	})
	if out, err = b.Bytes(); err == nil && !bytes.Equal(out, der) {
		changed = append(changed, changedFields)
	}
	slices.Sort(changed)
	return out, slices.Compact(changed), err
}

func chainInOurForm(der cryptobyte.String, roots *x509.CertPool, oids *[][]byte) (out []byte, tokens bool, err error) {
	var chain cryptobyte.String
	if !der.ReadASN1(&chain, asn1.SEQUENCE) {
		return nil, false, errForm
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for !chain.Empty() && err == nil {
			var stamp, oid, tree, token cryptobyte.String
			if !chain.ReadASN1(&stamp, asn1.SEQUENCE) {
				err = errForm
				return
			}
			for !stamp.Empty() {
				var field, algorithm cryptobyte.String
				var tag asn1.Tag
				if !stamp.ReadAnyASN1Element(&field, &tag) {
					err = errForm
					return
				}
				whole := field
				switch tag {
				case tagDigest:
					if !field.ReadASN1(&algorithm, tag) || !algorithm.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
						err = errForm
						return
					}
				case tagTree:
					tree = whole
				case asn1.SEQUENCE:
					token = whole
				}
			}
			if oid == nil {
				if oid, err = imprintAlgorithm(token); err != nil {
					return
				}
			}
			if !slices.ContainsFunc(*oids, func(o []byte) bool { return bytes.Equal(o, oid) }) {
				*oids = append(*oids, oid)
			}
			// A token that this can't write anew stays, so that the verifier says what is wrong with it.
			if canonical, failure := evidence.CanonicalToken(token, roots); failure == nil {
				tokens = tokens || !bytes.Equal(canonical, token)
				token = canonical
			}
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(tagDigest, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
				b.AddBytes(tree)
				b.AddBytes(token)
			})
		}
	})
	if err != nil {
		return nil, false, err
	}
	out, err = b.Bytes()
	return out, tokens, err
}

// imprintAlgorithm is what an ArchiveTimeStamp without a digestAlgorithm goes by (RFC 4998, section 4.1): the algorithm of the token's imprint.
func imprintAlgorithm(token []byte) (oid cryptobyte.String, err error) {
	_, after, found := bytes.Cut(token, oidTSTInfo)
	rest := cryptobyte.String(after)
	var explicit, content, info, policy, imprint, algorithm cryptobyte.String
	var version int
	if !found || !rest.ReadASN1(&explicit, asn1.Tag(0).ContextSpecific().Constructed()) || !explicit.ReadASN1(&content, asn1.OCTET_STRING) ||
		!content.ReadASN1(&info, asn1.SEQUENCE) || !info.ReadASN1Integer(&version) || !info.ReadASN1(&policy, asn1.OBJECT_IDENTIFIER) ||
		!info.ReadASN1(&imprint, asn1.SEQUENCE) || !imprint.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
		return nil, errForm
	}
	return oid, nil
}
