package translog

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign-dev/countersign"
)

// Origin names a tenant's log, in its checkpoints and as the name of its key.
func Origin(tenant string) string { return "countersign/" + tenant }

// VerifierText is the public half of a log's key as text (C2SP signed-note): what a tenant hands to whoever is to watch its log.
func VerifierText(tenant string, public ed25519.PublicKey) (string, error) {
	return note.NewEd25519VerifierKey(Origin(tenant), public)
}

// KeyText is VerifierText of a public key as KMS gives it (SubjectPublicKeyInfo), which must be an Ed25519 key.
func KeyText(tenant string, spki []byte) (string, error) {
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return "", err
	}
	key, ok := public.(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("it is a %T; a log's key is of the kind ECC_NIST_EDWARDS25519", public)
	}
	return VerifierText(tenant, key)
}

// ParseVerifier reads the public half of the key of a tenant's log, and refuses another tenant's.
func ParseVerifier(text, tenant string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the log's public key (name+hash+base64): %w", err)
	}
	if v.Name() != Origin(tenant) {
		return nil, fmt.Errorf("the log's public key is named %q, not %q", v.Name(), Origin(tenant))
	}
	return v, nil
}

// TenantOf is the tenant whose log a public key is of.
func TenantOf(verifier string) (string, error) {
	name, _, _ := strings.Cut(strings.TrimSpace(verifier), "+")
	tenant, ok := strings.CutPrefix(name, Origin(""))
	if !ok {
		return "", fmt.Errorf("the public key is named %q, which is no log of ours", name)
	}
	return tenant, countersign.CheckTenantID(tenant)
}

// maxCheckpoint bounds a signed checkpoint, in bytes.
const maxCheckpoint = 4 << 10

// Checkpoint is what the log's key signed: how many entries the log has, and their root.
type Checkpoint struct {
	tlog.Tree
	Text string // the signed note (C2SP tlog-checkpoint)
}

func checkpointText(origin string, t tlog.Tree) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, t.N, t.Hash)
}

// ParseCheckpoint reads a signed checkpoint of the log whose key is v. A signature of any other key is none.
func ParseCheckpoint(text string, v note.Verifier) (Checkpoint, error) {
	if len(text) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("couldn't read the checkpoint: it has %d bytes, at most %d", len(text), maxCheckpoint)
	}
	n, err := note.Open([]byte(text), note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("couldn't believe the checkpoint: it is not signed by the key %s of this log: %w", v.Name(), err)
	}
	tree, err := parseTree(n.Text, v.Name())
	return Checkpoint{Tree: tree, Text: text}, err
}

// parseTree reads the text of a checkpoint, which has exactly one form.
func parseTree(text, origin string) (tlog.Tree, error) {
	bad := errors.New("couldn't read the checkpoint: its text is not the log's name, its size and its root, a line each")
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return tlog.Tree{}, bad
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 1 || size > maxSize {
		return tlog.Tree{}, bad
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || text != checkpointText(origin, tlog.Tree{N: size, Hash: root}) {
		return tlog.Tree{}, bad
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// maxSize bounds what a checkpoint may claim, so that nobody is made to read for ever.
const maxSize = 1 << 40

// Proof is that an entry is in the log: the entry as it stands there, its place, and the hashes that lead from it to the root of a checkpoint.
type Proof struct {
	Entry      string      `json:"entry"`
	Index      int64       `json:"index"`
	Hashes     []tlog.Hash `json:"hashes"`
	Checkpoint string      `json:"checkpoint"`
}

// Check verifies the proof under the log's key, and returns the entry and the checkpoint.
func (p Proof) Check(v note.Verifier) (Entry, Checkpoint, error) {
	c, err := ParseCheckpoint(p.Checkpoint, v)
	if err != nil {
		return Entry{}, c, err
	}
	if err := tlog.CheckRecord(p.Hashes, c.N, c.Hash, p.Index, tlog.RecordHash([]byte(p.Entry))); err != nil {
		return Entry{}, c, fmt.Errorf("the entry is not in the log of this checkpoint: %w", err)
	}
	e, err := ParseEntry([]byte(p.Entry))
	return e, c, err
}
