package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

// A process that is killed leaves no document behind, because there never was a name.
func TestM4_ATemporaryFileHasNoName(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	f, err := Keep(func(w io.Writer) error {
		_, err := w.Write([]byte("a document"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("in the directory are %v, %v", left, err)
	}
	if info, err := f.file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if raw, err := f.Bytes(); err != nil || string(raw) != "a document" {
		t.Errorf("read is %q, %v", raw, err)
	}
}

func TestM4_WithoutADirectoryForTemporaryFilesItSaysSo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/none")
	if _, err := New(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatIsAppendedIsReadToo(t *testing.T) {
	t.Parallel()
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if raw, err := f.Bytes(); err != nil || len(raw) != 0 {
		t.Errorf("an empty file is read as %q, %v", raw, err)
	}
	var want []byte
	for _, part := range [][]byte{[]byte("one"), bytes.Repeat([]byte("two"), 100_000)} {
		want = append(want, part...)
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
		if raw, err := f.Bytes(); err != nil || !bytes.Equal(raw, want) || f.Size() != int64(len(want)) {
			t.Errorf("read are %d of %d bytes, %v", len(raw), len(want), err)
		}
	}
}

// Who reads a file that somebody else closes gets an error, and the process goes on.
func TestM4_AFileThatIsClosedWhileItIsReadIsAnError(t *testing.T) {
	t.Parallel()
	f, err := Keep(func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	reading, ended := make(chan struct{}), make(chan error)
	go func() {
		part := make([]byte, 1<<10)
		for i := 0; ; i++ {
			if _, err := f.ReadAt(part, 0); err != nil {
				ended <- err
				return
			}
			if i == 0 {
				close(reading)
			}
		}
	}()
	<-reading
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the error is %v", err)
	}
}

func TestAWriterThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	want := errors.New("no more")
	if f, err := Keep(func(io.Writer) error { return want }); !errors.Is(err, want) || f != nil {
		t.Errorf("kept is %v, %v", f, err)
	}
}
