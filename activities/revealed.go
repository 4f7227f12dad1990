package activities

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// Revealed is a locked bundle as it goes out: whole, or with what is left of it. It is in temporary files: whoever gets one closes it, and touches no
// slice of it after that.
type Revealed struct {
	Bundle []byte // the bundle, byte for byte; nil where some of it was shredded
	// Of a bundle some of which was shredded: what is stored, and the keys for it that are left.
	Stored *shred.Concealed
	Keys   shred.Keys

	left  []byte // of such a bundle, what the keys reveal
	lost  []shred.Run
	files []*Spooled
}

// ErrShredded says that personal data in a bundle was shredded, so that it isn't whole any more.
var ErrShredded = errors.New("personal data in the bundle was shredded")

// Whole is the bundle, or ErrShredded.
func (r Revealed) Whole() ([]byte, error) {
	if r.Bundle == nil {
		return nil, ErrShredded
	}
	return r.Bundle, nil
}

// SignedPDF is the signed PDF in the bundle, which shredding doesn't reach; nil where there is none.
func (r Revealed) SignedPDF() ([]byte, error) {
	if r.Bundle == nil {
		return evidence.SignedPDFLeft(r.left, r.lost)
	}
	return evidence.SignedPDF(r.Bundle)
}

// Verify verifies the bundle, or what is left of it, as a stranger would.
func (r Revealed) Verify(roots evidence.Roots) *evidence.Report {
	if r.Bundle == nil {
		return evidence.VerifyRevealed(r.Stored, r.Keys, r.left, r.lost, roots)
	}
	return evidence.Verify(r.Bundle, roots)
}

// ShreddedFile is what goes out of a bundle some of which was shredded.
func (r Revealed) ShreddedFile() (*Spooled, error) {
	return Spool(func(w io.Writer) error { return shred.WriteFile(w, r.Stored, r.Keys) })
}

// Close lets go of the bundle.
func (r Revealed) Close() error {
	var faults []error
	for _, f := range r.files {
		faults = append(faults, f.Close())
	}
	return errors.Join(faults...)
}

// ReadLocked reads a locked bundle and reveals it: every reader of locked evidence goes through here. It compares the digests of what is stored and of
// what comes out.
func (s *Subjects) ReadLocked(ctx context.Context, locked evidence.Locked) (Revealed, error) {
	if locked.Concealed == "" {
		file, err := SpoolObject(ctx, s.s3, s.settings.Tenant, locked.Object, evidence.MaxBundleSize)
		if err != nil {
			return Revealed{}, err
		}
		return Revealed{Bundle: file.Raw, files: []*Spooled{file}}, nil
	}
	o := locked.Object
	o.SHA256 = locked.Concealed
	file, err := SpoolObject(ctx, s.s3, s.settings.Tenant, o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		return Revealed{}, err
	}
	if !shred.Is(file.Raw) {
		return Revealed{}, errors.Join(countersign.Refuse("digest-mismatch", "what is stored is no concealed bundle"), file.Close())
	}
	return s.revealStored(ctx, file, locked.Object.SHA256)
}

// readBundle reads a locked bundle of which only the bundle's own digest is known, in whichever form it is stored.
func (s *Subjects) readBundle(ctx context.Context, o countersign.Object) (Revealed, error) {
	want := o.SHA256
	o.SHA256 = ""
	file, err := SpoolObject(ctx, s.s3, s.settings.Tenant, o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		return Revealed{}, err
	}
	return s.revealStored(ctx, file, want)
}

// revealStored reveals what is stored as a bundle, in whichever form, and compares it with the bundle's digest, where one is known. The file is closed with what
// it returns, and where it fails.
func (s *Subjects) revealStored(ctx context.Context, file *Spooled, want string) (Revealed, error) {
	r, err := s.reveal(ctx, file, want)
	if err != nil {
		return Revealed{}, errors.Join(err, file.Close())
	}
	r.files = append(r.files, file)
	return r, nil
}

func (s *Subjects) reveal(ctx context.Context, file *Spooled, want string) (Revealed, error) {
	if !shred.Is(file.Raw) {
		if want != "" && file.SHA256 != want {
			return Revealed{}, countersign.Refuse("digest-mismatch", "the object's SHA-256 is %s, but %s was named", file.SHA256, want)
		}
		return Revealed{Bundle: file.Raw}, nil
	}
	c, err := shred.Read(file.Raw)
	if err != nil {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored is no concealed bundle: %s", err)
	}
	if want != "" && c.Bundle() != want {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored conceals another bundle than the one that was named")
	}
	keys, err := s.left(ctx, c)
	if err != nil {
		return Revealed{}, err
	}
	there, lost, err := revealed(c, keys)
	if err != nil {
		return Revealed{}, err
	}
	if len(lost) > 0 {
		return Revealed{Stored: c, Keys: keys, left: there.Raw, lost: lost, files: []*Spooled{there}}, nil
	}
	return Revealed{Bundle: there.Raw, files: []*Spooled{there}}, nil
}

// revealed is what the keys reveal of a concealed bundle, in a file of its own.
func revealed(c *shred.Concealed, keys shred.Keys) (there *Spooled, lost []shred.Run, err error) {
	there, err = Spool(func(w io.Writer) (err error) {
		lost, err = c.RevealTo(w, keys)
		return err
	})
	return there, lost, err
}

// left are the keys for a bundle of those whose keys are still there.
func (s *Subjects) left(ctx context.Context, c *shred.Concealed) (shred.Keys, error) {
	ids := c.Subjects()
	found := make([]*shred.Key, len(ids))
	err := atOnce(len(ids), func(i int) error {
		key, err := s.key(ctx, ids[i])
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil {
			return err
		}
		derived, err := key.ForBundle(c.Bundle())
		found[i] = &derived
		return err
	})
	if err != nil {
		return nil, err
	}
	keys := shred.Keys{}
	for i, key := range found {
		if key != nil {
			keys[ids[i]] = *key
		}
	}
	return keys, nil
}

// atOnce calls a function for each of n, a few at once, and returns all that failed.
func atOnce(n int, each func(int) error) error {
	faults := make([]error, n)
	places := make(chan struct{}, subjectsAtOnce)
	var wait sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			faults[i] = each(i)
		})
	}
	wait.Wait()
	return errors.Join(faults...)
}
