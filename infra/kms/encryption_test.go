package kms

import (
	"bytes"
	"testing"
)

// Two contexts with the same additional data would open each other's
// ciphertexts.
func TestAdditionalDataIsUnambiguous(t *testing.T) {
	t.Parallel()
	const zero = "\x00\x00\x00\x00"
	contexts := []map[string]string{
		nil,
		{"a": ""},
		{"": "a"},
		{"a": "bc"},
		{"ab": "c"},
		{"a": "b", "c": "d"},
		{"a": "b" + zero + "c" + zero + "d"},
		{"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"},
		{"a": "d", "c": "b"},
	}
	for i, x := range contexts {
		for j, y := range contexts {
			if same := bytes.Equal(additionalData([]byte{1}, x), additionalData([]byte{1}, y)); same != (i == j) {
				t.Errorf("%q and %q: same additional data is %v", x, y, same)
			}
		}
	}
	if bytes.Equal(additionalData([]byte{1}, nil), additionalData([]byte{2}, nil)) {
		t.Error("the header isn't bound")
	}
}
