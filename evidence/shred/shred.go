// Package shred keeps the personal data in an evidence bundle under one key for each person, so that destroying the key shreds what the locked bundle
// says of them, and the rest still proves what it proved.
//
// A concealed bundle is as long as the bundle and a header. Only the bytes that are somebody's personal data are encrypted, in place; where one run of
// bytes is of several people, it is encrypted by the keys of all of them, so that each can have it shredded. The digest of the whole concealed bundle is
// in the tenant's log: that is what holds the bytes together that no digest in the bundle can be compared with any more.
//
// Keys are 32 random bytes, one for each person in each tenant. What opens a bundle is derived from it (HKDF-SHA256, RFC 5869) for that bundle alone.
// The cipher is AES-256 in counter mode (NIST SP 800-38A), the counter at the place of the byte in the bundle: it changes no length. Nothing stands on it
// but secrecy.
package shred

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/countersign-dev/countersign"
)

// Magic begins a concealed bundle.
const Magic = "countersign concealed bundle v1\n"

const (
	// MaxSubjects bounds whose personal data one bundle holds.
	MaxSubjects = 1000
	// maxHeader bounds a header, in bytes.
	maxHeader = 16 << 20
	// MaxOverhead is how many bytes longer a concealed bundle is than the bundle, at most.
	MaxOverhead int64 = 64 + maxHeader
	// maxRuns bounds the runs of encrypted bytes.
	maxRuns = 500_000
	// maxPlaces bounds in how many places strings of people are found, counted for each person.
	maxPlaces = 4 * maxRuns
	// leastString is the fewest bytes that are looked for: shorter ones are everywhere. Where somebody made strings of theirs so that they are found too
	// often, which would keep the bundle from being locked, only longer ones are looked for, up to leastOfAll.
	leastString = 2
	leastOfAll  = 32
)

// Key is a person's key, or what was derived from it for one bundle.
type Key [32]byte

// ForBundle derives the key that opens one bundle, by the SHA-256 of the plain bundle, in hex.
func (k Key) ForBundle(digest string) (Key, error) {
	salt, err := hex.DecodeString(digest)
	if err != nil || len(salt) != sha256.Size {
		return Key{}, errors.New("couldn't derive a key: the bundle's digest is not 64 hex digits")
	}
	out, err := hkdf.Key(sha256.New, k[:], salt, Magic, len(Key{}))
	if err != nil {
		return Key{}, fmt.Errorf("couldn't derive a key: %w", err)
	}
	return Key(out), nil
}

// Subject is one person in a bundle: the id of their key, which names nobody, the key for this bundle, and the strings that are their personal data.
type Subject struct {
	ID      string
	Key     Key
	Strings []string
}

// Run is a run of bytes of a bundle that is encrypted by the keys of some people.
type Run struct {
	Offset, Length int
	Subjects       []string // ids
}

// header is what stands before the bytes. Runs are pairs of how many plain bytes come before a run and how long it is, with the number of its set.
type header struct {
	V        int      `json:"v"`
	Bundle   string   `json:"bundle"` // SHA-256 of the plain bundle, in hex
	Bytes    int      `json:"bytes"`
	Subjects []string `json:"subjects"`
	Sets     [][]int  `json:"sets"`
	Runs     [][3]int `json:"runs"`
}

// Window is a part of a bundle in which personal data is looked for. Of some, the bytes are base64 of what holds it.
type Window struct {
	Offset, Length int
	Base64         bool
}

// ConcealTo encrypts the personal data in the windows of a bundle, and writes the concealed bundle. The same bundle, subjects and keys give the same bytes.
func ConcealTo(w io.Writer, bundle []byte, windows []Window, subjects []Subject) error {
	if len(subjects) > MaxSubjects {
		return fmt.Errorf("couldn't conceal the bundle: it names %d people, at most %d can be kept apart", len(subjects), MaxSubjects)
	}
	subjects = slices.Clone(subjects)
	slices.SortFunc(subjects, func(a, b Subject) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
	for i, s := range subjects {
		if s.ID == "" || i > 0 && subjects[i-1].ID == s.ID {
			return errors.New("couldn't conceal the bundle: two people have one key")
		}
	}
	h := header{V: 1, Bundle: countersign.SHA256(bundle), Bytes: len(bundle), Subjects: []string{}, Sets: [][]int{}, Runs: [][3]int{}}
	for _, s := range subjects {
		h.Subjects = append(h.Subjects, s.ID)
	}
	for least := leastString; ; least *= 2 {
		err := h.place(found(bundle, windows, needles(subjects, least)))
		if err == nil {
			break
		}
		if least == leastOfAll {
			return err
		}
	}
	head, err := countersign.Canonical(h)
	if err != nil {
		return fmt.Errorf("couldn't conceal the bundle: %w", err)
	}
	if len(head) > maxHeader {
		return errors.New("couldn't conceal the bundle: too much of it is personal data")
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32([]byte(Magic), uint32(len(head))), head...)); err != nil {
		return err
	}
	keys := map[string]Key{}
	for _, s := range subjects {
		keys[s.ID] = s.Key
	}
	return h.turn(w, bundle, keys, nil)
}

// place orders what was found into runs that don't touch, each with the set of those whose it is.
func (h *header) place(places []place) error {
	h.Sets, h.Runs = [][]int{}, [][3]int{}
	if len(places) > maxPlaces {
		return fmt.Errorf("couldn't conceal the bundle: its personal data is in more than %d places", maxPlaces)
	}
	type edge struct{ at, subject, change int }
	edges := make([]edge, 0, 2*len(places))
	for _, p := range places {
		edges = append(edges, edge{p.from, p.subject, 1}, edge{p.to, p.subject, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at - b.at })
	counts := make([]int, len(h.Subjects))
	numbers := map[string]int{}
	last, at := 0, 0
	var current []int
	for i := 0; i < len(edges); {
		at = edges[i].at
		if len(current) > 0 && at > last {
			h.run(last, at, current, numbers)
		}
		for ; i < len(edges) && edges[i].at == at; i++ {
			counts[edges[i].subject] += edges[i].change
		}
		current = current[:0]
		for s, n := range counts {
			if n > 0 {
				current = append(current, s)
			}
		}
		last = at
	}
	if len(h.Runs) > maxRuns {
		return fmt.Errorf("couldn't conceal the bundle: its personal data is in %d places, at most %d can be kept", len(h.Runs), maxRuns)
	}
	// From places to distances.
	end := 0
	for i, r := range h.Runs {
		h.Runs[i][0], end = r[0]-end, r[0]+r[1]
	}
	return nil
}

func (h *header) run(from, to int, set []int, numbers map[string]int) {
	name := fmt.Sprint(set)
	n, ok := numbers[name]
	if !ok {
		n = len(h.Sets)
		numbers[name] = n
		h.Sets = append(h.Sets, slices.Clone(set))
	}
	if k := len(h.Runs) - 1; k >= 0 && h.Runs[k][2] == n && h.Runs[k][0]+h.Runs[k][1] == from {
		h.Runs[k][1] += to - from
		return
	}
	h.Runs = append(h.Runs, [3]int{from, to - from, n})
}

// turn writes the bytes with their runs encrypted or decrypted; lost is told of each whose keys are not all there, which is written as it is.
func (h *header) turn(w io.Writer, body []byte, keys map[string]Key, lost func(Run)) error {
	blocks := map[string]cipher.Block{}
	for id, key := range keys {
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return fmt.Errorf("couldn't use a key: %w", err)
		}
		blocks[id] = block
	}
	out := bufio.NewWriterSize(w, maxTurned)
	at := 0
	for _, r := range h.Runs {
		if _, err := out.Write(body[at : at+r[0]]); err != nil {
			return err
		}
		at += r[0]
		run := Run{Offset: at, Length: r[1]}
		all := true
		var err error
		for _, s := range h.Sets[r[2]] {
			run.Subjects = append(run.Subjects, h.Subjects[s])
			all = all && blocks[h.Subjects[s]] != nil
		}
		switch {
		case all:
			err = run.turn(out, body, blocks)
		case lost != nil:
			lost(run)
			_, err = out.Write(body[at : at+r[1]])
		default:
			err = errors.New("couldn't conceal the bundle: a key is missing")
		}
		if err != nil {
			return err
		}
		at += r[1]
	}
	if _, err := out.Write(body[at:]); err != nil {
		return err
	}
	return out.Flush()
}

// maxTurned is how many bytes of a run are encrypted or decrypted at once.
const maxTurned = 64 << 10

// turn writes the bytes of a run, encrypted or decrypted by the keys of all of its people.
func (r Run) turn(w io.Writer, body []byte, blocks map[string]cipher.Block) error {
	for at, end := r.Offset, r.Offset+r.Length; at < end; at += maxTurned {
		part := bytes.Clone(body[at:min(at+maxTurned, end)])
		for _, id := range r.Subjects {
			stream(blocks[id], at, part)
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// stream combines bytes with the key stream of their place in the bundle.
func stream(block cipher.Block, at int, body []byte) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(at/aes.BlockSize))
	s := cipher.NewCTR(block, iv[:])
	var skip [aes.BlockSize]byte
	s.XORKeyStream(skip[:at%aes.BlockSize], skip[:at%aes.BlockSize])
	s.XORKeyStream(body, body)
}

// Concealed is a concealed bundle that was read.
type Concealed struct {
	header header
	raw    []byte // all of it
	body   []byte
	Digest string // SHA-256 of all of it, in hex, as the log has it
}

// Is says whether bytes are a concealed bundle.
func Is(raw []byte) bool { return bytes.HasPrefix(raw, []byte(Magic)) }

// Read reads a concealed bundle, and refuses one whose header doesn't fit its bytes.
func Read(raw []byte) (*Concealed, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(Magic))
	if !ok || len(rest) < 4 {
		return nil, errors.New("couldn't read the concealed bundle: it doesn't begin as one")
	}
	size := binary.BigEndian.Uint32(rest)
	if rest = rest[4:]; size > maxHeader || int(size) > len(rest) {
		return nil, errors.New("couldn't read the concealed bundle: its header is cut")
	}
	c := &Concealed{raw: raw, body: rest[size:], Digest: countersign.SHA256(raw)}
	if err := countersign.ParseStrict(rest[:size], &c.header); err != nil {
		return nil, fmt.Errorf("couldn't read the concealed bundle's header: %w", err)
	}
	if again, err := countersign.Canonical(c.header); err != nil || !bytes.Equal(again, rest[:size]) {
		return nil, errors.New("couldn't read the concealed bundle: its header is not canonical JSON")
	}
	if err := c.header.check(len(c.body)); err != nil {
		return nil, fmt.Errorf("couldn't read the concealed bundle: %w", err)
	}
	return c, nil
}

func (h *header) check(size int) error {
	switch {
	case h.V != 1:
		return fmt.Errorf("its version is %d, want 1", h.V)
	case h.Bytes != size:
		return fmt.Errorf("it has %d bytes, and its header says %d", size, h.Bytes)
	case len(h.Subjects) > MaxSubjects || len(h.Runs) > maxRuns || len(h.Sets) > len(h.Runs):
		return errors.New("its header names too much")
	case !slices.IsSorted(h.Subjects):
		return errors.New("its people are not in order")
	}
	if digest, err := hex.DecodeString(h.Bundle); err != nil || len(digest) != sha256.Size {
		return errors.New("its header names no digest")
	}
	for _, set := range h.Sets {
		if len(set) == 0 || !slices.IsSorted(set) || set[0] < 0 || set[len(set)-1] >= len(h.Subjects) {
			return errors.New("its header names people that it doesn't list")
		}
	}
	at := 0
	for _, r := range h.Runs {
		if r[0] < 0 || r[1] <= 0 || r[2] < 0 || r[2] >= len(h.Sets) || r[0] > size-at || r[1] > size-at-r[0] {
			return errors.New("a run of its header is outside of it")
		}
		at += r[0] + r[1]
	}
	return nil
}

// Bundle is the SHA-256 of the plain bundle, in hex: what keys for it are derived by.
func (c *Concealed) Bundle() string { return c.header.Bundle }

// Stored are all its bytes, as they are locked; they are not to be changed.
func (c *Concealed) Stored() []byte { return c.raw }

// Subjects are the ids of the keys of those whose personal data is in the bundle.
func (c *Concealed) Subjects() []string { return slices.Clone(c.header.Subjects) }

// ErrOther says that the keys are all there and open something else than what was concealed.
var ErrOther = errors.New("couldn't open the concealed bundle: what comes out is not what was concealed")

// Reveal is RevealTo for a bundle that fits into memory twice.
func (c *Concealed) Reveal(keys map[string]Key) (bundle []byte, lost []Run, err error) {
	var out bytes.Buffer
	out.Grow(len(c.body))
	if lost, err = c.RevealTo(&out, keys); err != nil {
		return nil, nil, err
	}
	return out.Bytes(), lost, nil
}

// RevealTo decrypts what the keys for this bundle open, and writes it. Without runs that are lost, it is the bundle, byte for byte; else the lost bytes stay as
// they are stored. What was written before an error must not be used.
func (c *Concealed) RevealTo(w io.Writer, keys map[string]Key) (lost []Run, err error) {
	h := sha256.New()
	if err := c.header.turn(io.MultiWriter(w, h), c.body, keys, func(r Run) { lost = append(lost, r) }); err != nil {
		return nil, err
	}
	if len(lost) == 0 && hex.EncodeToString(h.Sum(nil)) != c.header.Bundle {
		return nil, ErrOther
	}
	return lost, nil
}

// Keys is what goes out beside a concealed bundle of which some was shredded: the keys of this bundle alone that are left, by the ids of the people's keys.
type Keys map[string]Key

// MarshalJSON writes keys as hex.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(k[:])) }

// UnmarshalJSON reads 64 hex digits.
func (k *Key) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("couldn't read a key: %w", err)
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(k) {
		return fmt.Errorf("couldn't read a key: want %d hex digits", 2*len(k))
	}
	*k = Key(b)
	return nil
}

// Same says whether two bundles are the same but for the bytes that are lost.
func Same(a, b []byte, lost []Run) bool {
	at := 0
	for _, r := range lost {
		if len(a) != len(b) || r.Offset < at || r.Offset+r.Length > len(a) || !bytes.Equal(a[at:r.Offset], b[at:r.Offset]) {
			return false
		}
		at = r.Offset + r.Length
	}
	return len(a) == len(b) && bytes.Equal(a[at:], b[at:])
}
