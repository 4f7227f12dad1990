package translog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// FuzzProof feeds a proof as a stranger's history brings it. The log's key signed a log of one entry, so no proof is of any other.
func FuzzProof(f *testing.F) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	text, err := VerifierText("acme", ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	v, err := ParseVerifier(text, "acme")
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.SplitN(text, "+", 3)
	signer, err := note.NewSigner("PRIVATE+KEY+" + parts[0] + "+" + parts[1] + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)))
	if err != nil {
		f.Fatal(err)
	}
	const entry = `{"v":1,"tenant":"acme","kind":"intended","request":"PO-1","run":"r","context":"","at":"2026-11-24T00:00:00Z"}`
	signed, err := note.Sign(&note.Note{Text: checkpointText(v.Name(), tlog.Tree{N: 1, Hash: tlog.RecordHash([]byte(entry))})}, signer)
	if err != nil {
		f.Fatal(err)
	}
	honest, err := json.Marshal(Proof{Entry: entry, Index: 0, Hashes: []tlog.Hash{}, Checkpoint: string(signed)})
	if err != nil {
		f.Fatal(err)
	}
	if _, c, err := (Proof{Entry: entry, Checkpoint: string(signed)}).Check(v); c.N != 1 {
		f.Fatalf("the checkpoint that the others are made of isn't read: %v", err)
	}
	f.Add(honest)
	f.Add([]byte(`{"index":-1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Proof
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		if _, _, err := p.Check(v); err == nil && (p.Entry != entry || p.Index != 0) {
			t.Errorf("%s is proven", raw)
		}
	})
}

// FuzzParseVerifier: a key that is read is named as its log is, and no other tenant's.
func FuzzParseVerifier(f *testing.F) {
	f.Add("countersign/acme+4f6ba9d2+AVWoRDnPJW9lMmnpZ5CHKoCgPHSTqU1eMw4vFcyjQ0sY", "acme")
	f.Fuzz(func(t *testing.T, text, tenant string) {
		if v, err := ParseVerifier(text, tenant); err == nil && v.Name() != Origin(tenant) {
			t.Errorf("%q is read as the key of %q", text, v.Name())
		}
	})
}

// FuzzParseEntry: what is read as an entry is of the one version that there is.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"v":1,"tenant":"acme","kind":"intended"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := ParseEntry(raw); err == nil && e.V != 1 {
			t.Errorf("%s is read as %+v", raw, e)
		}
	})
}
