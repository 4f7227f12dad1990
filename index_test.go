package countersign

import (
	"slices"
	"testing"
	"time"
)

func TestIndexKeysAreInTheOrderOfTheirInstantsAndReadBack(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 19, 4, 35, 123_999_999, time.UTC)
	if key := IndexKey("acme", at, "PO-4711"); key != "acme/index/2026/11/26/190435123-"+SHA256([]byte("PO-4711"))[:16]+".json" {
		t.Errorf("the key is %s", key)
	}
	var keys []string
	for _, later := range []time.Duration{0, time.Millisecond, time.Second, time.Hour, 24 * time.Hour, 40 * 24 * time.Hour, 400 * 24 * time.Hour} {
		key := IndexKey("acme", at.Add(later), "PO-4711")
		keys = append(keys, key)
		read, digest, err := ParseIndexKey("acme", key)
		if err != nil || !read.Equal(at.Add(later).Truncate(time.Millisecond)) || digest != IndexDigest("PO-4711") {
			t.Errorf("%s is read as %s, %s, %v", key, read, digest, err)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("they are in another order: %q", keys)
	}
	for _, key := range []string{
		"", "globex/index/2026/11/26/190435123-0123456789abcdef.json", "acme/index/2026/11/26/190435123-0123456789abcdef", "acme/index/2026/13/26/190435123-0123456789abcdef.json",
		"acme/index/2026/11/26/19043512-0123456789abcdef.json", "acme/index/2026/11/26/190435123-0123456789ABCDEF.json", "acme/index/2026/02/30/190435123-0123456789abcdef.json",
		"acme/index/2026/11/26/190435123-0123456789abcdef.json/x", "acme/index/../11/26/190435123-0123456789abcdef.json",
	} {
		if at, _, err := ParseIndexKey("acme", key); err == nil {
			t.Errorf("%q is taken for the key of a record of %s", key, at)
		}
	}
}
