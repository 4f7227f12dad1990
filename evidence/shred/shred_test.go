package shred

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is concealed comes back with all keys; without one key exactly that person's strings are lost, and nothing outside of the windows ever is.
func TestN13_RevealIsTheInverseOfConceal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bundle := []byte(rapid.StringMatching(`[a-f]{0,400}`).Draw(t, "bundle"))
		from := rapid.IntRange(0, len(bundle)).Draw(t, "from")
		w := Window{Offset: from, Length: rapid.IntRange(0, len(bundle)-from).Draw(t, "length")}
		var subjects []Subject
		keys := Keys{}
		for i := range rapid.IntRange(0, 4).Draw(t, "people") {
			s := Subject{ID: fmt.Sprint(i), Key: Key{byte(i), 7}, Strings: rapid.SliceOfN(rapid.StringMatching(`[a-f]{2,4}`), 0, 4).Draw(t, "strings")}
			subjects, keys[s.ID] = append(subjects, s), s.Key
		}
		stored, err := conceal(bundle, []Window{w}, subjects)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Read(stored)
		if err != nil {
			t.Fatal(err)
		}
		if again, lost, err := c.Reveal(keys); err != nil || len(lost) > 0 || !bytes.Equal(again, bundle) {
			t.Fatalf("with all keys: %q, lost %v, %v", again, lost, err)
		}
		for _, s := range subjects {
			left := Keys{}
			for id, key := range keys {
				if id != s.ID {
					left[id] = key
				}
			}
			body, lost, err := c.Reveal(left)
			if err != nil {
				t.Fatal(err)
			}
			hidden := make([]bool, len(bundle))
			for _, l := range lost {
				if !slices.Contains(l.Subjects, s.ID) {
					t.Fatalf("without %s, a run of %v is lost", s.ID, l.Subjects)
				}
				for i := l.Offset; i < l.Offset+l.Length; i++ {
					hidden[i] = true
				}
			}
			for i := range bundle {
				if inside := i >= w.Offset && i < w.Offset+w.Length; hidden[i] && !inside || !hidden[i] && body[i] != bundle[i] {
					t.Fatalf("byte %d is not what it was", i)
				}
			}
			text := bundle[w.Offset : w.Offset+w.Length]
			for _, needle := range s.Strings {
				if at := bytes.Index(text, []byte(needle)); at >= 0 && slices.Contains(hidden[w.Offset+at:w.Offset+at+len(needle)], false) {
					t.Fatalf("without %s, a byte of %q is left", s.ID, needle)
				}
			}
		}
	})
}

func TestN13_ItFindsStringsInBase64AtEveryAlignment(t *testing.T) {
	t.Parallel()
	for shift := range 6 {
		plain := bytes.Repeat([]byte("x"), shift)
		plain = append(append(plain, "Zoë Zhang"...), "yyyyyyy"...)
		bundle := []byte(base64.StdEncoding.EncodeToString(plain))
		stored, err := conceal(bundle, []Window{{0, len(bundle), true}}, []Subject{{ID: "z", Key: Key{1}, Strings: []string{"Zoë Zhang"}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := Read(stored)
		if err != nil {
			t.Fatal(err)
		}
		body, lost, err := c.Reveal(nil)
		if err != nil || len(lost) != 1 {
			t.Fatalf("lost %v, %v", lost, err)
		}
		if lost[0].Offset > shift/3*4 || lost[0].Length < 12 || !bytes.HasSuffix(body, bundle[len(bundle)-4:]) {
			t.Errorf("shift %d: lost %v of %d", shift, lost, len(bundle))
		}
		for i := lost[0].Offset; i < lost[0].Offset+lost[0].Length; i += 4 {
			if bytes.Equal(body[i:i+4], bundle[i:i+4]) {
				t.Errorf("shift %d: four characters at %d are as they were", shift, i)
			}
		}
	}
}

func TestN13_TheSameStringInJSONSpellingsIsFound(t *testing.T) {
	t.Parallel()
	bundle := []byte(`{"a":"O\"Neil <o@x>","b":"O\"Neil \u003co@x\u003e"} O"Neil <o@x>`)
	stored, err := conceal(bundle, []Window{{0, len(bundle), false}}, []Subject{{ID: "o", Strings: []string{`O"Neil <o@x>`}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(stored)
	if err != nil {
		t.Fatal(err)
	}
	if _, lost, _ := c.Reveal(nil); len(lost) != 3 {
		t.Errorf("lost is %v", lost)
	}
}

func TestN13_AnotherKeyIsNoticed(t *testing.T) {
	t.Parallel()
	bundle := []byte("of Alice Ahn alone")
	stored, err := conceal(bundle, []Window{{0, len(bundle), false}}, []Subject{{ID: "a", Key: Key{1}, Strings: []string{"Alice Ahn"}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(stored)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Reveal(Keys{"a": {2}}); !errors.Is(err, ErrOther) {
		t.Errorf("the error is %v", err)
	}
}

func TestN13_TheKeyOfOneBundleOpensNoOther(t *testing.T) {
	t.Parallel()
	master := Key{9}
	one, err := master.ForBundle("0000000000000000000000000000000000000000000000000000000000000001")
	if err != nil {
		t.Fatal(err)
	}
	other, err := master.ForBundle("0000000000000000000000000000000000000000000000000000000000000002")
	if err != nil || one == other || one == master {
		t.Errorf("keys are %x and %x: %v", one, other, err)
	}
	if _, err := master.ForBundle("abc"); err == nil {
		t.Error("a key is derived for what is no digest")
	}
}

// FuzzRead: a header from a stranger is refused or stays within its bytes.
func FuzzRead(f *testing.F) {
	bundle := []byte("of Alice Ahn and Dave Dunn")
	stored, err := conceal(bundle, []Window{{0, len(bundle), false}}, []Subject{{ID: "a", Strings: []string{"Alice Ahn"}}, {ID: "d", Strings: []string{"Dave Dunn", "nn"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Read(raw)
		if err != nil {
			return
		}
		body, lost, err := c.Reveal(Keys{"a": {}})
		if err != nil {
			return
		}
		for _, l := range lost {
			_ = body[l.Offset : l.Offset+l.Length]
		}
	})
}

// conceal is ConcealTo for a bundle that fits into memory twice.
func conceal(bundle []byte, windows []Window, subjects []Subject) ([]byte, error) {
	var out bytes.Buffer
	err := ConcealTo(&out, bundle, windows, subjects)
	return out.Bytes(), err
}
