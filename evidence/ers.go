package evidence

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// An evidence record (RFC 4998) keeps a bundle provable when what its own time-stamp stands on ends: it stamps the whole file anew, under other keys or
// another digest, and is stamped anew itself in time. We write the part of the standard that one file needs, and read no more than that: no encryption,
// no attributes, RFC 3161 time-stamps alone.

// Bounds on an evidence record that comes from outside.
const (
	MaxRenewalSize = 4 << 20
	maxChains      = 32
	maxStamps      = 128 // in one chain
	maxTreeLists   = 64
	maxTreeHashes  = 4096 // in one list
)

// evidenceRecord is an ArchiveTimeStampSequence: chains of archive time-stamps, each chain under one digest.
type evidenceRecord struct{ chains [][]archiveStamp }

// archiveStamp is an ArchiveTimeStamp. Tree is its reducedHashtree, empty where the token is over the one value.
type archiveStamp struct {
	hash  crypto.Hash
	tree  [][][]byte
	token []byte
}

var (
	tagStampDigest = cbasn1.Tag(0).ContextSpecific().Constructed()
	tagStampTree   = cbasn1.Tag(2).ContextSpecific().Constructed()
)

// parseRecord accepts the bytes that marshal writes and no others: nothing covers the record's own.
func parseRecord(der []byte) (*evidenceRecord, error) {
	if len(der) > MaxRenewalSize {
		return nil, fmt.Errorf("evidence record of %d bytes is over the limit of %d", len(der), MaxRenewalSize)
	}
	input := cryptobyte.String(der)
	var seq, algorithms, chains cryptobyte.String
	var version int
	if !input.ReadASN1(&seq, cbasn1.SEQUENCE) || !input.Empty() || !seq.ReadASN1Integer(&version) ||
		!seq.ReadASN1(&algorithms, cbasn1.SEQUENCE) || !seq.ReadASN1(&chains, cbasn1.SEQUENCE) || !seq.Empty() {
		return nil, fmt.Errorf("couldn't read the evidence record (want one without encryption or further information): %w", errDER)
	}
	if version != 1 {
		return nil, fmt.Errorf("evidence record has version %d: want 1", version)
	}
	r := &evidenceRecord{}
	for !chains.Empty() {
		var chain cryptobyte.String
		if !chains.ReadASN1(&chain, cbasn1.SEQUENCE) || chain.Empty() || len(r.chains) == maxChains {
			return nil, fmt.Errorf("couldn't read a chain of time-stamps: %w", errDER)
		}
		stamps, err := parseStamps(chain)
		if err != nil {
			return nil, err
		}
		r.chains = append(r.chains, stamps)
	}
	if len(r.chains) == 0 {
		return nil, errors.New("evidence record has no time-stamp")
	}
	canonical, err := r.marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(canonical, der) {
		return nil, errors.New("evidence record is not in the canonical form of this writer")
	}
	return r, nil
}

func parseStamps(chain cryptobyte.String) (stamps []archiveStamp, err error) {
	for !chain.Empty() {
		var seq, algorithm, tree cryptobyte.String
		var token cryptobyte.String
		var hasTree bool
		if len(stamps) == maxStamps || !chain.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&algorithm, tagStampDigest) ||
			!seq.ReadOptionalASN1(&tree, &hasTree, tagStampTree) || !seq.ReadASN1Element(&token, cbasn1.SEQUENCE) || !seq.Empty() {
			return nil, fmt.Errorf("couldn't read an archive time-stamp: %w", errDER)
		}
		s := archiveStamp{token: token}
		wrapped := cryptobyte.NewBuilder(nil)
		wrapped.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(algorithm) })
		element := cryptobyte.String(wrapped.BytesOrPanic())
		oid, err := readAlgorithm(&element)
		if err != nil {
			return nil, err
		}
		if s.hash, err = hashOf(oid); err != nil {
			return nil, err
		}
		if s.tree, err = parseTree(tree, s.hash); err != nil {
			return nil, err
		}
		stamps = append(stamps, s)
	}
	return stamps, nil
}

func parseTree(tree cryptobyte.String, hash crypto.Hash) (lists [][][]byte, err error) {
	for !tree.Empty() {
		var list cryptobyte.String
		if len(lists) == maxTreeLists || !tree.ReadASN1(&list, cbasn1.SEQUENCE) || list.Empty() {
			return nil, fmt.Errorf("couldn't read a hash tree: %w", errDER)
		}
		var values [][]byte
		for !list.Empty() {
			var value cryptobyte.String
			if len(values) == maxTreeHashes || !list.ReadASN1(&value, cbasn1.OCTET_STRING) || len(value) != hash.Size() {
				return nil, fmt.Errorf("couldn't read a value of a hash tree: %w", errDER)
			}
			values = append(values, value)
		}
		lists = append(lists, values)
	}
	return lists, nil
}

func (r *evidenceRecord) marshal() ([]byte, error) {
	var hashes []crypto.Hash
	for _, chain := range r.chains {
		for _, s := range chain {
			if !slices.Contains(hashes, s.hash) {
				hashes = append(hashes, s.hash)
			}
		}
	}
	sequence, err := marshalChains(r.chains)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, h := range hashes {
				algorithmIdentifier(digestOID(h))(b)
			}
		})
		b.AddBytes(sequence)
	})
	return b.Bytes()
}

// marshalChains writes an ArchiveTimeStampSequence: what a new chain's digest covers of the chains before it.
func marshalChains(chains [][]archiveStamp) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, chain := range chains {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, s := range chain {
					s.marshal(b)
				}
			})
		}
	})
	return b.Bytes()
}

func (s archiveStamp) marshal(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tagStampDigest, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(digestOID(s.hash)) })
		if len(s.tree) > 0 {
			b.AddASN1(tagStampTree, func(b *cryptobyte.Builder) {
				for _, list := range s.tree {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						for _, value := range list {
							b.AddASN1OctetString(value)
						}
					})
				}
			})
		}
		b.AddBytes(s.token)
	})
}

// root computes what the token must be over, from a value that the first list must have (RFC 4998, section 4.3). A list of one member is that member: section
// 4.2.1 has the digest of a group of one document so, and section 4.3 leaves it open. RFC 6283, which came later, says so, and so do other implementations.
func (s archiveStamp) root(value []byte) ([]byte, error) {
	for i, list := range s.tree {
		has := slices.ContainsFunc(list, func(v []byte) bool { return bytes.Equal(v, value) })
		switch {
		case i == 0 && !has:
			return nil, errors.New("the hash tree is not about this")
		case i > 0 && !has:
			list = append(slices.Clone(list), value)
		}
		if value = list[0]; len(list) > 1 {
			value = node(s.hash, list)
		}
	}
	return value, nil
}

// node is the digest of values in binary ascending order.
func node(hash crypto.Hash, values [][]byte) []byte {
	values = slices.Clone(values)
	slices.SortFunc(values, bytes.Compare)
	return sum(hash, bytes.Join(values, nil))
}

// RenewalStamp is one verified time-stamp of an evidence record.
type RenewalStamp struct {
	Time  time.Time
	Hash  crypto.Hash
	TSA   string
	Until time.Time // when the first certificate of its authority's chain ends
}

// VerifyRenewal checks an evidence record over a file: that each time-stamp is over what it must be over, by an authority of roots, that their times follow
// one another, and that each was renewed before the certificates of the one before had ended. It returns the time-stamps, the first one first.
//
// It asks no clock: whether the last one still holds today is for the caller to say, by its Until.
func VerifyRenewal(record, file []byte, roots Roots) ([]RenewalStamp, error) {
	r, err := parseRecord(record)
	if err != nil {
		return nil, inCheck(CheckRenewal, err)
	}
	var stamps []RenewalStamp
	for n, chain := range r.chains {
		value, err := r.covered(n, chain[0].hash, sum(chain[0].hash, file))
		if err != nil {
			return nil, inCheck(CheckRenewal, err)
		}
		for _, s := range chain {
			if s.hash != chain[0].hash {
				return nil, failed(CheckRenewal, "a chain of time-stamps has two digest algorithms")
			}
			facts, err := s.verify(value, roots)
			if err == nil && len(stamps) > 0 {
				err = follows(stamps[len(stamps)-1], facts)
			}
			if err != nil {
				return nil, inCheck(CheckRenewal, fmt.Errorf("time-stamp %d: %w", len(stamps)+1, err))
			}
			stamps = append(stamps, facts)
			value = sum(s.hash, s.token)
		}
	}
	return stamps, nil
}

// CheckRenewal is the check of an evidence record, and of what is put together for one.
const CheckRenewal = "renewal"

// covered is what the first time-stamp of chain n is about: the file, and all chains before it.
func (r *evidenceRecord) covered(n int, hash crypto.Hash, digest []byte) ([]byte, error) {
	if n == 0 {
		return digest, nil
	}
	before, err := marshalChains(r.chains[:n])
	if err != nil {
		return nil, err
	}
	return sum(hash, slices.Concat(digest, sum(hash, before))), nil
}

func (s archiveStamp) verify(value []byte, roots Roots) (RenewalStamp, error) {
	root, err := s.root(value)
	if err != nil {
		return RenewalStamp{}, err
	}
	facts, err := verifyTokenUnder(s.token, root, nil, roots)
	if err != nil {
		return RenewalStamp{}, err
	}
	return RenewalStamp{Time: facts.Time, Hash: s.hash, TSA: facts.TSA, Until: facts.until()}, nil
}

func follows(before, s RenewalStamp) error {
	switch {
	case s.Time.Before(before.Time):
		return fmt.Errorf("it is of %s, before the one that it renews, of %s", instant(s.Time), instant(before.Time))
	case s.Time.After(before.Until):
		return fmt.Errorf("it is of %s, when the certificates of the one that it renews had ended, on %s", instant(s.Time), instant(before.Until))
	}
	return nil
}

// until is when the first certificate of the token's chain ends, the root's own included.
func (f TokenFacts) until() (until time.Time) {
	for i, c := range f.chain {
		if i == 0 || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until
}

func (v *verifier) renewed(raw []byte) {
	if len(v.roots.Renewal) == 0 {
		v.report.notRecorded(CheckRenewal, "no evidence record was given")
		return
	}
	v.report.Renewed(v.roots.Renewal, raw, v.roots)
}

// Renewed adds what an evidence record over the bundle says to the report of the bundle: it must hold, and have begun before what the bundle's own
// time-stamp stands on had ended.
func (r *Report) Renewed(record, bundle []byte, roots Roots) {
	stamps, err := VerifyRenewal(record, bundle, roots)
	if err == nil && r.Seal != nil {
		err = follows(RenewalStamp{Time: r.Seal.StampTime, Until: r.Seal.StampUntil}, stamps[0])
	}
	if err != nil {
		r.note(CheckRenewal, err, "")
		return
	}
	last := stamps[len(stamps)-1]
	r.note(CheckRenewal, nil, fmt.Sprintf("time-stamped anew %d times, last at %s over %s by %s, whose certificates end on %s",
		len(stamps), instant(last.Time), last.Hash, last.TSA, last.Until.UTC().Format(time.DateOnly)))
}
