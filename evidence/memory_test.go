package evidence

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/evidence/spool"
)

// largest is the largest document that a tenant's file may allow, in bytes.
const largest = 256 << 20

// withDocument is the files of a bundle of a rejected signing, which has no document, with one of that size off the heap.
func withDocument(t testing.TB, size int) []File {
	t.Helper()
	raw, _ := rejected(t)
	document := kept(t, func(w io.Writer) error {
		row := bytes.Repeat([]byte("a line of it, or a picture's... "), 2048)
		for left := size; left > 0; left -= len(row) {
			if _, err := w.Write(row[:min(left, len(row))]); err != nil {
				return err
			}
		}
		return nil
	})
	return append([]File{{documentFile, document}}, mustOpen(t, raw).Files()...)
}

// kept is what was written, off the heap.
func kept(t testing.TB, write func(io.Writer) error) []byte {
	t.Helper()
	file, err := spool.Keep(write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	raw, err := file.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// allocated is how many bytes all that a function allocated had together. Nothing else may run beside it.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// custody is what becomes of a bundle, each step with what it makes.
func custody(t testing.TB, w *world, files []File, step func(name string, do func())) {
	var sealed *spool.File
	step("seal", func() {
		var err error
		if sealed, err = SealFile(context.Background(), files, w.signer, w.tsa, sealedAt, w.roots); err != nil {
			t.Fatal(err)
		}
	})
	defer sealed.Close()
	raw, err := sealed.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	step("verify", func() {
		if report := Verify(raw, w.roots); report.Seal == nil || report.Statement == nil {
			t.Fatal(report.Err())
		}
	})
	var concealed []byte
	var subjects []shred.Subject
	step("conceal", func() {
		people, err := PersonalData(raw)
		if err != nil {
			t.Fatal(err)
		}
		windows, err := Windows(raw)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range people {
			subjects = append(subjects, shred.Subject{ID: fmt.Sprint(i), Key: shred.Key{byte(i + 1)}, Strings: p.Strings})
		}
		concealed = kept(t, func(w io.Writer) error { return shred.ConcealTo(w, raw, windows, subjects) })
	})
	keys := shred.Keys{}
	for _, s := range subjects {
		keys[s.ID] = s.Key
	}
	reveal := func(keys shred.Keys) (there []byte, lost []shred.Run, c *shred.Concealed) {
		c, err := shred.Read(concealed)
		if err != nil {
			t.Fatal(err)
		}
		there = kept(t, func(w io.Writer) error {
			lost, err = c.RevealTo(w, keys)
			return err
		})
		return there, lost, c
	}
	step("reveal", func() {
		if there, lost, _ := reveal(keys); len(lost) > 0 || !bytes.Equal(there, raw) {
			t.Fatal("something else is revealed than was concealed")
		}
	})
	delete(keys, "0")
	step("verify what is left", func() {
		there, lost, c := reveal(keys)
		if report := VerifyRevealed(c, keys, there, lost, w.roots); len(lost) == 0 || report.Seal == nil || report.Err() != nil {
			t.Fatal(report.Err())
		}
	})
}

// TestM4_ALargeBundleIsNotHeldInMemory seals, verifies, conceals and reveals a bundle with the largest document that a tenant may allow. Each step allocates
// a small part of that, all in all; what holds a bundle in memory doesn't. It runs alone: the count is the process's.
func TestM4_ALargeBundleIsNotHeldInMemory(t *testing.T) { //nolint:paralleltest // see above
	const limit = 4 << 20
	w := newWorld(t, elliptic.P256())
	files := withDocument(t, largest)
	custody(t, w, files, func(name string, do func()) {
		used := allocated(do)
		if used > limit {
			t.Errorf("%s: a bundle with a document of %d bytes took %d, want at most %d", name, largest, used, limit)
		}
		t.Logf("%s: a bundle with a document of %d bytes took %d", name, largest, used)
	})
	if used := allocated(func() { _, _ = sealed(t.Context(), files, w.signer, w.tsa, sealedAt, w.roots) }); used < largest {
		t.Errorf("sealed in memory, it took %d: what is counted is not what is held", used)
	}
}

// Of a bundle with a document of 200 MB.
func BenchmarkCustody(b *testing.B) {
	w := newWorld(b, elliptic.P256())
	files := withDocument(b, 200_000_000)
	for _, name := range []string{"seal", "verify", "conceal", "reveal"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(200_000_000)
			b.StopTimer()
			for range b.N {
				custody(b, w, files, func(step string, do func()) {
					if step == name {
						b.StartTimer()
						defer b.StopTimer()
					}
					do()
				})
			}
		})
	}
}
