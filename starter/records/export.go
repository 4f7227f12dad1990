package records

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// MaxSignings bounds one export. A period with more is exported in parts.
const MaxSignings = 200_000

// Source is where the evidence comes from: the API, which records each read of a bundle before it gives it out.
type Source interface {
	EvidencePage(ctx context.Context, f client.EvidenceFilter, cursor string) (client.EvidenceList, error)
	// EvidenceFile is a bundle; shredded says that it is only what is left of one.
	EvidenceFile(ctx context.Context, request string, locked evidence.Locked) (body []byte, shredded bool, err error)
	// EvidenceRenewal is the newest evidence record over a bundle, with its number; nil where there is none.
	EvidenceRenewal(ctx context.Context, request string) (record []byte, number int, err error)
}

// Export is one export of a period.
type Export struct {
	Tenant      string
	From, Until time.Time // half-open
	Source      Source
	Store       Store
	// Verify says whether a bundle holds, with the log's proof of its ending and its evidence record where there are any. Nothing that doesn't goes out.
	Verify func(bundle, proof, renewal []byte) error
	// Certify makes the certificate of a bundle and its JSON twin; nil where none are wanted.
	Certify func(bundle []byte) (page, twin []byte, err error)
	// Progress is told what was done; it must not be nil.
	Progress func(format string, args ...any)
}

// Line is one line of a manifest: one bundle. It says nothing of the export itself, so that a later export of the same evidence has the same line.
type Line struct {
	Request     string              `json:"request"`
	Outcome     countersign.Outcome `json:"outcome"`
	Ended       time.Time           `json:"ended"`
	File        string              `json:"file"`
	SHA256      string              `json:"sha256"`
	Bytes       int64               `json:"bytes"`
	Mode        string              `json:"mode"` // of the lock at its origin
	RetainUntil time.Time           `json:"retainUntil"`
	Shredded    bool                `json:"shredded,omitempty"` // personal data in it was shredded: there is no file, or one from before that, and nothing beside it
	Log         *int64              `json:"log"`                // where the ending stands in the tenant's log; null where that is not known
	Proof       *File               `json:"proof,omitempty"`    // that the ending is in the tenant's log
	Certificate *File               `json:"certificate,omitempty"`
	Twin        *File               `json:"twin,omitempty"`
}

// File is a file beside a bundle.
type File struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Complete is the last thing that an export stores: that everything before it is there. Digest is of all the rest of it.
type Complete struct {
	V        int       `json:"v"`
	Tenant   string    `json:"tenant"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Count    int       `json:"count"`
	Bytes    int64     `json:"bytes"` // of all bundles
	Manifest File      `json:"manifest"`
	Digest   string    `json:"digest"`
}

// digest is the SHA-256 of the canonical JSON (RFC 8785) of all but the digest, after the words "countersign export v1" and a zero byte.
func (c Complete) digest() (string, error) {
	c.Digest = ""
	return countersign.Digest("countersign export v1", c)
}

// CheckComplete says whether a final manifest is of the manifest given, and the manifest whole.
func CheckComplete(final, manifest []byte) (Complete, error) {
	var c Complete
	if err := countersign.ParseStrict(final, &c); err != nil {
		return c, fmt.Errorf("couldn't read the final manifest: %w", err)
	}
	digest, err := c.digest()
	switch {
	case err != nil:
		return c, err
	case c.V != 1 || digest != c.Digest:
		return c, errors.New("the final manifest doesn't have its digest")
	case countersign.SHA256(manifest) != c.Manifest.SHA256 || int64(len(manifest)) != c.Manifest.Bytes || bytes.Count(manifest, []byte("\n")) != c.Count:
		return c, errors.New("the manifest is not the one that the final manifest names")
	}
	return c, nil
}

// List is the signings of the period, in the order of the manifest: as they ended.
func (e *Export) List(ctx context.Context) ([]client.EndedSigning, error) {
	all := []client.EndedSigning{}
	seen := map[string]bool{}
	for cursor := ""; ; {
		page, err := e.Source.EvidencePage(ctx, client.EvidenceFilter{From: e.From, Until: e.Until}, cursor)
		if err != nil {
			return nil, fmt.Errorf("couldn't list the evidence: %w", err)
		}
		if len(page.Unanswered) > 0 {
			return nil, fmt.Errorf("couldn't list the evidence: these could not be looked at, so that the export would have a gap: %v", page.Unanswered)
		}
		for _, s := range page.Evidence {
			if s.Evidence.Object.SHA256 == "" {
				return nil, fmt.Errorf("couldn't list the evidence: %s names no bundle", s.Request)
			}
			// A list that goes on while signings end can name one twice.
			if !seen[s.Request] {
				seen[s.Request] = true
				all = append(all, s)
			}
		}
		if len(all) > MaxSignings {
			return nil, fmt.Errorf("the period has more than %d signings: export it in parts", MaxSignings)
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b client.EndedSigning) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.Request, b.Request))
	})
	return all, nil
}

// Run hands out the period. It can be killed at any point and run again: what is there is not stored, nor read, a second time, and the end is the same.
func (e *Export) Run(ctx context.Context) (Complete, error) {
	c := Complete{V: 1, Tenant: e.Tenant, From: e.From.UTC(), Until: e.Until.UTC()}
	all, err := e.List(ctx)
	if err != nil {
		return c, err
	}
	e.Progress("%d signings ended in the period", len(all))
	var manifest bytes.Buffer
	for i, s := range all {
		l, err := e.bundle(ctx, s)
		if err != nil {
			return c, fmt.Errorf("couldn't export %s: %w", s.Request, err)
		}
		raw, err := json.Marshal(l)
		if err != nil {
			return c, err
		}
		manifest.Write(append(raw, '\n'))
		c.Count, c.Bytes = c.Count+1, c.Bytes+l.Bytes
		e.Progress("%d of %d: %s", i+1, len(all), s.Request)
	}
	period := c.period()
	c.Manifest = File{"manifests/" + period + "_" + countersign.SHA256(manifest.Bytes()) + ".jsonl", countersign.SHA256(manifest.Bytes()), int64(manifest.Len())}
	if c.Digest, err = c.digest(); err != nil {
		return c, err
	}
	if _, err := e.put(ctx, c.Manifest.File, manifest.Bytes()); err != nil {
		return c, err
	}
	final, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return c, err
	}
	// Last: whoever sees it finds all the rest.
	_, err = e.put(ctx, finalName(period), append(final, '\n'))
	return c, err
}

// stamp is an instant in a name.
const stamp = "20060102T150405.000Z"

// period is what the names of an export's manifests begin with.
func (c Complete) period() string {
	return c.Tenant + "_" + c.From.UTC().Format(stamp) + "_" + c.Until.UTC().Format(stamp)
}

// finalName is where the final manifest of a period lies.
func finalName(period string) string { return "manifests/" + period + completeSuffix }

const completeSuffix = ".complete.json"

// pageName and twinName are where the certificate of a bundle and its JSON twin lie.
func pageName(sha256 string) string { return "certificates/" + sha256 + ".pdf" }
func twinName(sha256 string) string { return "certificates/" + sha256 + ".json" }

// BundleName is where a bundle lies: by its digest, so that the same evidence has one place however often it is exported.
func BundleName(sha256 string) string { return "bundles/" + sha256 + ".asice" }

// Beside a bundle lie, under its own name and this: the log's proof of its ending, and its evidence records, each under its number, because a later one takes nothing from an
// earlier one's place. The manifest names no evidence record: they come after it as well.
const proofSuffix = ".log.json"

func renewalName(bundle string, number int) string {
	return fmt.Sprintf("%s.renewal-%03d%s", bundle, number, evidence.RenewalSuffix)
}

// bundle hands out one bundle, with what belongs to it before it: where the bundle is, all of it is.
func (e *Export) bundle(ctx context.Context, s client.EndedSigning) (Line, error) {
	digest := s.Evidence.Object.SHA256
	l := Line{
		Request: s.Request, Outcome: s.Outcome, Ended: s.Ended.UTC(), File: BundleName(digest), SHA256: digest,
		Mode: s.Evidence.Mode, RetainUntil: s.Evidence.RetainUntil.UTC(), Log: s.Log,
	}
	there, err := e.Store.Look(ctx, l.File)
	if err != nil {
		return l, err
	}
	if there != nil && there.SHA256 != digest {
		return l, changed(l.File)
	}
	page, twin := pageName(digest), twinName(digest)
	var certificate, facts *Held
	if e.Certify != nil {
		if certificate, err = e.Store.Look(ctx, page); err != nil {
			return l, err
		}
		if facts, err = e.Store.Look(ctx, twin); err != nil {
			return l, err
		}
	}
	var proof, renewal *Held
	if len(s.Proof) > 0 {
		if proof, err = e.Store.Look(ctx, l.File+proofSuffix); err != nil {
			return l, err
		}
	}
	if s.Renewals > 0 {
		if renewal, err = e.Store.Look(ctx, renewalName(l.File, s.Renewals)); err != nil {
			return l, err
		}
	}
	if there == nil || e.Certify != nil && (certificate == nil || facts == nil) || len(s.Proof) > 0 && proof == nil || s.Renewals > 0 && renewal == nil {
		raw, shredded, err := e.Source.EvidenceFile(ctx, s.Request, s.Evidence)
		if err != nil {
			return l, err
		}
		if shredded {
			e.Progress("%s: personal data in it was shredded, so it is not handed out any more", s.Request)
			l.Shredded = true
			if there == nil {
				l.File = ""
			} else { // from before that
				l.Bytes = there.Bytes
			}
			return l, nil
		}
		var record []byte
		number := 0
		if s.Renewals > 0 && renewal == nil {
			if record, number, err = e.Source.EvidenceRenewal(ctx, s.Request); err != nil {
				return l, err
			}
		}
		if err := e.Verify(raw, s.Proof, record); err != nil {
			return l, err
		}
		if record != nil {
			if _, err := e.put(ctx, renewalName(l.File, number), record); err != nil {
				return l, err
			}
		}
		if len(s.Proof) > 0 {
			if proof, err = e.first(ctx, l.File+proofSuffix, s.Proof); err != nil {
				return l, err
			}
		}
		if e.Certify != nil {
			pdf, json, err := e.Certify(raw)
			if err != nil {
				return l, err
			}
			if facts, err = e.first(ctx, twin, json); err != nil {
				return l, err
			}
			if certificate, err = e.first(ctx, page, pdf); err != nil {
				return l, err
			}
		}
		if there, err = e.put(ctx, l.File, raw); err != nil {
			return l, err
		}
	}
	l.Bytes = there.Bytes
	if proof != nil {
		l.Proof = &File{l.File + proofSuffix, proof.SHA256, proof.Bytes}
	}
	if e.Certify != nil {
		l.Certificate, l.Twin = &File{page, certificate.SHA256, certificate.Bytes}, &File{twin, facts.SHA256, facts.Bytes}
	}
	return l, nil
}

// ErrChanged says that something else lies where an export stores something.
var ErrChanged = errors.New("something else lies there already: nothing is written over; find out who changed it, or export to another place")

func changed(name string) error { return fmt.Errorf("couldn't store %s: %w", name, ErrChanged) }

// put stores an object. Where something has its name it must be the same bytes.
func (e *Export) put(ctx context.Context, name string, body []byte) (*Held, error) {
	held, err := e.first(ctx, name, body)
	if err == nil && held.SHA256 != countersign.SHA256(body) {
		err = changed(name)
	}
	return held, err
}

// first stores an object, or returns what has its name already.
func (e *Export) first(ctx context.Context, name string, body []byte) (*Held, error) {
	err := e.Store.Add(ctx, name, body)
	if !errors.Is(err, errTaken) {
		return &Held{countersign.SHA256(body), int64(len(body))}, err
	}
	held, err := e.Store.Look(ctx, name)
	if err == nil && held == nil {
		err = fmt.Errorf("couldn't store %s: its name is taken, and nothing lies there", name)
	}
	return held, err
}
