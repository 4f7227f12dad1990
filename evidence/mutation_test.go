package evidence

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"slices"
	"testing"
)

// TestEachFlippedByteIsRefused flips bytes of the whole container, as decay or a careless hand does.
func TestEachFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	raw := mustSeal(t, w)
	for i := range raw {
		masks := []byte{0xff, 1 << (i % 8)}
		if i%16 == 0 {
			masks = []byte{0xff, 1, 2, 4, 8, 16, 32, 64, 128}
		}
		for _, mask := range masks {
			raw[i] ^= mask
			if check(raw, w.roots) == nil {
				t.Errorf("byte %d of %d flipped by %#02x is accepted", i, len(raw), mask)
			}
			raw[i] ^= mask
		}
	}
	if err := check(raw, w.roots); err != nil {
		t.Errorf("the test has harmed its bundle: %v", err)
	}
}

// TestEachForgedByteIsRefused flips bytes of each entry and writes a right container around them, as a forger does.
// Without it, the zip's CRC would hide a byte that no signature covers. No byte is excepted.
func TestEachForgedByteIsRefused(t *testing.T) {
	t.Parallel()
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, curve)
			b := mustOpen(t, mustSeal(t, w))
			entries := containerEntries(b.files, b.manifest, b.signature)
			for n := range entries {
				forged := slices.Clone(entries)
				body := slices.Clone(entries[n].Bytes)
				forged[n].Bytes = body
				for i := range body {
					for _, mask := range []byte{0xff, 1 << (i % 8), 1 << ((i + 3) % 8)} {
						body[i] ^= mask
						if check(rawContainer(t, forged), w.roots) == nil {
							t.Errorf("byte %d of %s flipped by %#02x is accepted", i, entries[n].Name, mask)
						}
						body[i] ^= mask
					}
				}
			}
			if err := check(rawContainer(t, entries), w.roots); err != nil {
				t.Errorf("the test has harmed its bundle: %v", err)
			}
		})
	}
}

// TestWhatNothingCovers pins the malleability that remains. In CMS, the identifier of an RSA signature may read
// rsaEncryption or shaNNNWithRSAEncryption and means the same; no signature covers it. Two bits of one byte separate
// them. Authorities use both, so both are accepted.
func TestWhatNothingCovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	w.tsa = rsaTSA(t, w, 2048)
	b := mustOpen(t, mustSeal(t, w))
	withHash := append(algorithmDER(t, oidRSASHA256), 0x04)
	plain := append(algorithmDER(t, oidRSA), 0x04)
	if bytes.Count(b.signature, withHash) != 1 {
		t.Fatal("the token does not hold the identifier once")
	}
	cms := bytes.Replace(b.signature, withHash, plain, 1)
	facts, err := VerifyDetached(b.manifest, cms, w.roots)
	if err != nil {
		t.Fatalf("an authority's plain rsaEncryption is refused: %v", err)
	}
	if facts.Hash != crypto.SHA256 {
		t.Errorf("digest became %s", facts.Hash)
	}
}

func rawContainer(t testing.TB, entries []File) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := writeContainer(&out, entries); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
