package shred

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// tagInfo is what keys of tags are derived for: no other key of a person's makes one.
const tagInfo = "countersign index tag v1"

// Tag stands for a person in a place that must not name them, 32 hex digits: HMAC-SHA256, by a key that is derived from the person's own (HKDF-SHA256), over
// the texts, each after its length. Whoever has the key can confirm a guess; without it nobody can, so shredding the key unlinks the tag.
func (k Key) Tag(texts ...string) (string, error) {
	derived, err := hkdf.Key(sha256.New, k[:], nil, tagInfo, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("couldn't derive a key: %w", err)
	}
	mac := hmac.New(sha256.New, derived)
	for _, text := range texts {
		fmt.Fprintf(mac, "%d:%s", len(text), text)
	}
	return hex.EncodeToString(mac.Sum(nil)[:16]), nil
}
