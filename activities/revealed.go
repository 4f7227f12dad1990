package activities

import (
	"context"
	"errors"
	"sync"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// Revealed is a locked bundle as it goes out: whole, or with what is left of it.
type Revealed struct {
	Bundle []byte // the bundle, byte for byte; nil where some of it was shredded
	// Of a bundle some of which was shredded: what is stored, and the keys for it that are left.
	Stored *shred.Concealed
	Keys   shred.Keys
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
		return evidence.SignedPDFOf(r.Stored, r.Keys)
	}
	return evidence.SignedPDF(r.Bundle)
}

// ReadLocked reads a locked bundle and reveals it: every reader of locked evidence goes through here. It compares the digests of what is stored and of
// what comes out.
func (s *Subjects) ReadLocked(ctx context.Context, locked evidence.Locked) (Revealed, error) {
	if locked.Concealed == "" {
		raw, err := ReadObject(ctx, s.s3, s.settings.Tenant, locked.Object, evidence.MaxBundleSize)
		return Revealed{Bundle: raw}, err
	}
	o := locked.Object
	o.SHA256 = locked.Concealed
	raw, err := ReadObject(ctx, s.s3, s.settings.Tenant, o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		return Revealed{}, err
	}
	if !shred.Is(raw) {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored is no concealed bundle")
	}
	return s.revealStored(ctx, raw, locked.Object.SHA256)
}

// readBundle reads a locked bundle of which only the bundle's own digest is known, in whichever form it is stored.
func (s *Subjects) readBundle(ctx context.Context, o countersign.Object) (Revealed, error) {
	want := o.SHA256
	o.SHA256 = ""
	raw, err := ReadObject(ctx, s.s3, s.settings.Tenant, o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		return Revealed{}, err
	}
	return s.revealStored(ctx, raw, want)
}

// revealStored reveals what is stored as a bundle, in whichever form, and compares it with the bundle's digest, where one is known.
func (s *Subjects) revealStored(ctx context.Context, raw []byte, want string) (Revealed, error) {
	if !shred.Is(raw) {
		if got := countersign.SHA256(raw); want != "" && got != want {
			return Revealed{}, countersign.Refuse("digest-mismatch", "the object's SHA-256 is %s, but %s was named", got, want)
		}
		return Revealed{Bundle: raw}, nil
	}
	c, err := shred.Read(raw)
	if err != nil {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored is no concealed bundle: %s", err)
	}
	if want != "" && c.Bundle() != want {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored conceals another bundle than the one that was named")
	}
	return s.reveal(ctx, c)
}

// Verify verifies the bundle, or what is left of it, as a stranger would.
func (r Revealed) Verify(roots evidence.Roots) *evidence.Report {
	if r.Bundle == nil {
		return evidence.VerifyConcealed(r.Stored, r.Keys, roots)
	}
	return evidence.Verify(r.Bundle, roots)
}

func (s *Subjects) reveal(ctx context.Context, c *shred.Concealed) (Revealed, error) {
	keys, err := s.left(ctx, c)
	if err != nil {
		return Revealed{}, err
	}
	bundle, lost, err := c.Reveal(keys)
	if err != nil {
		return Revealed{}, err
	}
	if len(lost) > 0 {
		return Revealed{Stored: c, Keys: keys}, nil
	}
	return Revealed{Bundle: bundle}, nil
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
