package shred

import (
	"bytes"
	"strings"
	"testing"
)

// someFile is a shredded file of a bundle of two, one of whose keys is left.
func someFile(t testing.TB) (*Concealed, []byte) {
	t.Helper()
	bundle := []byte("of Alice Ahn and Dave Dunn")
	stored, err := conceal(bundle, []Window{{0, len(bundle), false}}, []Subject{{ID: "a", Key: Key{1}, Strings: []string{"Alice Ahn"}}, {ID: "d", Key: Key{2}, Strings: []string{"Dave Dunn"}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(stored)
	if err != nil {
		t.Fatal(err)
	}
	return c, written(t, c, Keys{"d": {2}})
}

func written(t testing.TB, c *Concealed, keys Keys) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := WriteFile(&out, c, keys); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestN13_AFileHoldsWhatIsStoredAndTheKeysThatAreLeft(t *testing.T) {
	t.Parallel()
	want, raw := someFile(t)
	c, keys, err := ReadFile(raw)
	if err != nil || !IsFile(raw) || Is(raw) {
		t.Fatalf("it is not read: %v", err)
	}
	if c.Digest != want.Digest || len(keys) != 1 || keys["d"] != (Key{2}) {
		t.Errorf("read are %s and %v", c.Digest, keys)
	}
	body, lost, err := c.Reveal(keys)
	if err != nil || len(lost) != 1 || !bytes.Contains(body, []byte("Dave Dunn")) || bytes.Contains(body, []byte("Alice")) {
		t.Errorf("what is left is %q, lost %v, %v", body, lost, err)
	}
}

func TestN13_AFileThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	_, good := someFile(t)
	for name, raw := range map[string][]byte{
		"empty":                    nil,
		"a concealed bundle alone": good[len(FileMagic)+4+len(`{"d":"`)+64+len(`"}`):],
		"cut in its keys":          good[:len(FileMagic)+20],
		"cut in the bundle":        good[:len(good)-1],
		"more behind it":           append(bytes.Clone(good), 'x'),
		"a key of somebody else":   bytes.Replace(good, []byte(`{"d":`), []byte(`{"e":`), 1),
		"a key that is no key":     bytes.Replace(good, []byte(`{"d":"02`), []byte(`{"d":"0x`), 1),
		"keys without an end":      append([]byte(FileMagic), 0xff, 0xff, 0xff, 0xff),
	} {
		if _, _, err := ReadFile(raw); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}

// A person can't keep a bundle from being locked by giving reasons that are found everywhere.
func TestN13_StringsThatAreEverywhereDontStopTheLock(t *testing.T) {
	t.Parallel()
	bundle := []byte(strings.Repeat("ab-", maxRuns+10) + "Alice Ahn of Acme Corporation and others")
	stored, err := conceal(bundle, []Window{{0, len(bundle), false}}, []Subject{{ID: "a", Key: Key{1}, Strings: []string{"ab", "Alice Ahn of Acme Corporation and others"}}})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stored, []byte("Alice")) {
		t.Error("what is long enough is not concealed")
	}
}

func FuzzReadFile(f *testing.F) {
	_, raw := someFile(f)
	f.Add(raw)
	f.Add([]byte(FileMagic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, keys, err := ReadFile(raw)
		if err != nil {
			return
		}
		again := written(t, c, keys)
		if _, left, err := ReadFile(again); err != nil || len(left) != len(keys) {
			t.Errorf("written again, it has %d keys of %d: %v", len(left), len(keys), err)
		}
	})
}
