package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/spool"
)

// What is read of what was received has these bounds, in bytes; a bundle has evidence.MaxBundleSize.
const (
	maxFinal    = 64 << 10
	maxManifest = MaxSignings * 2 << 10
	maxLine     = 64 << 10
	maxBeside   = 64 << 20 // a certificate, or its twin
)

// maxProblems is how many problems a receipt keeps. Failed counts them all.
const maxProblems = 1000

// Received is a directory in which exports lie: one, or several of as many periods. Checking it needs no network, and asks nobody.
type Received struct {
	Root *os.Root
	// Tenant, From and Until, and Digests are what the receiver was told by another way, each optional: whose evidence it is, which period has to be there, and
	// the digests of all exports that are. Without digests, whoever can write in the directory can leave a signing out and write another manifest.
	Tenant      string
	From, Until time.Time
	Digests     []string
	// Verify judges a bundle with the log's proof of its ending and its newest evidence record, empty where there is none. It must not keep them.
	Verify func(bundle, proof, renewal []byte) *evidence.Report
	// Renewed judges an evidence record that a later one follows. It must not keep them.
	Renewed func(record, bundle []byte) error
	// Ending reads a proof that holds under the log's key: where the ending stands in the log, and when. It is nil where the key was not given.
	Ending func(proof []byte) (index int64, at time.Time, err error)
	// Progress is told what was done; it must not be nil.
	Progress func(format string, args ...any)
}

// Receipt says what was received. Complete is whether everything is there, holds, and nothing is beside it.
type Receipt struct {
	Complete bool       `json:"complete"`
	Exports  []Complete `json:"exports"`
	Verified int        `json:"verified"` // bundles that hold
	Unlogged int        `json:"unlogged"` // of these, whose ending nothing here shows to be in the tenant's log
	Shredded int        `json:"shredded"` // signings of which no bundle was handed out, because personal data in it was shredded
	Failed   int        `json:"failed"`
	Problems []Problem  `json:"problems"` // the first of those that failed
}

// Problem is one thing that is not as it has to be.
type Problem struct {
	File    string `json:"file"`
	Request string `json:"request,omitempty"`
	Check   string `json:"check"` // missing, changed, beside, manifest, period, digest, line, or a check of a bundle
	Detail  string `json:"detail"`
}

// receiving is a check that runs.
type receiving struct {
	*Received
	receipt *Receipt
	found   *inventory
	named   map[sum]named
}

// Check reads all that was received, one bundle at a time, each from a private copy off the heap (TMPDIR): what somebody changes meanwhile is not mixed into a
// verdict. An error says that something couldn't be read; what is wrong with what was read is in the receipt.
func (r *Received) Check(ctx context.Context) (*Receipt, error) {
	w := &receiving{r, &Receipt{Exports: []Complete{}, Problems: []Problem{}}, nil, map[sum]named{}}
	var err error
	if w.found, err = takeInventory(r.Root.FS()); err != nil {
		return nil, fmt.Errorf("couldn't look at what was received: %w", err)
	}
	for _, file := range w.found.finals {
		if err := w.export(ctx, file); err != nil {
			return nil, fmt.Errorf("couldn't check %s: %w", file, err)
		}
	}
	w.expected()
	w.beside()
	w.receipt.Complete = w.receipt.Failed == 0
	return w.receipt, nil
}

func (w *receiving) problem(file, request, check, format string, args ...any) {
	w.receipt.Failed++
	if len(w.receipt.Problems) < maxProblems {
		w.receipt.Problems = append(w.receipt.Problems, Problem{file, request, check, fmt.Sprintf(format, args...)})
	}
}

// expected holds the exports that are there to what the receiver was told.
func (w *receiving) expected() {
	all := w.receipt.Exports
	if len(w.found.finals) == 0 {
		w.problem("manifests/", "", "missing", "no export is complete here: there is no final manifest (manifests/*.complete.json)")
	}
	if !w.From.IsZero() && !slices.ContainsFunc(all, func(c Complete) bool { return c.From.Equal(w.From) && c.Until.Equal(w.Until) }) {
		w.problem("manifests/", "", "period", "no export here is of the period from %s until %s", w.From.UTC().Format(time.RFC3339Nano), w.Until.UTC().Format(time.RFC3339Nano))
	}
	for _, digest := range w.Digests {
		if !slices.ContainsFunc(all, func(c Complete) bool { return c.Digest == digest }) {
			w.problem("manifests/", "", "digest", "no export here has the digest %s", digest)
		}
	}
}

// export checks one export: its manifests, and everything that these name.
func (w *receiving) export(ctx context.Context, file string) error {
	final, err := w.read(file, maxFinal)
	if err != nil {
		return w.unread(file, "", err)
	}
	var c Complete
	if err := countersign.ParseStrict(final, &c); err != nil {
		w.problem(file, "", "manifest", "it can't be read: %v", err)
		return nil
	}
	period := c.period()
	// A name that doesn't follow from what it says is never opened.
	if want := "manifests/" + period + "_" + c.Manifest.SHA256 + ".jsonl"; file != finalName(period) || c.Manifest.File != want || countersign.CheckTenantID(c.Tenant) != nil {
		w.problem(file, "", "manifest", "it says that it is of %s from %s until %s, which is not what its name, or that of the manifest in it, says", c.Tenant, c.From, c.Until)
		return nil
	}
	w.found.manifests[c.Manifest.File] = true
	held, err := w.copy(c.Manifest.File, maxManifest)
	if err != nil {
		return w.unread(c.Manifest.File, "", err)
	}
	defer held.Close()
	manifest, err := held.Bytes()
	if err != nil {
		return err
	}
	if c, err = CheckComplete(final, manifest); err != nil {
		w.problem(file, "", "manifest", "%v", err)
		return nil
	}
	w.receipt.Exports = append(w.receipt.Exports, c)
	switch {
	case w.Tenant != "" && c.Tenant != w.Tenant:
		w.problem(file, "", "manifest", "it is of %s, and not of %s", c.Tenant, w.Tenant)
	case !c.From.Before(c.Until) || c.Count > MaxSignings:
		w.problem(file, "", "manifest", "its period or its count can't be")
	case len(w.Digests) > 0 && !slices.Contains(w.Digests, c.Digest):
		w.problem(file, "", "digest", "its digest is %s, which is not among those that were given", c.Digest)
	}
	w.Progress("%s: %d signings", file, c.Count)
	return w.lines(ctx, c, manifest)
}

// lines checks each line of a manifest, and what it names.
func (w *receiving) lines(ctx context.Context, c Complete, manifest []byte) error {
	var total int64
	var before Line
	requests := make(map[string]bool, c.Count)
	n := 0
	for raw := range bytes.Lines(manifest) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n++
		where := fmt.Sprintf("%s line %d", c.Manifest.File, n)
		var l Line
		err := errors.New("it is too long")
		if len(raw) <= maxLine {
			err = countersign.ParseStrict(raw, &l)
		}
		if err == nil {
			err = l.check(c, before)
		}
		if err == nil && requests[l.Request] {
			err = fmt.Errorf("%s is named twice", l.Request)
		}
		if err != nil {
			w.problem(where, l.Request, "line", "%v", err)
			continue
		}
		requests[l.Request], before = true, l
		total += l.Bytes
		if err := w.line(c, l); err != nil {
			return fmt.Errorf("%s: %w", l.Request, err)
		}
		w.Progress("%d of %d: %s", n, c.Count, l.Request)
	}
	if total != c.Bytes {
		w.problem(c.Manifest.File, "", "manifest", "the bundles of its lines have %d bytes together, and the final manifest says %d", total, c.Bytes)
	}
	return nil
}

// check says whether a line can be one of an export: what it names is where such a thing lies, so that nothing else is ever opened.
func (l Line) check(c Complete, before Line) error {
	_, isDigest := sumOf(l.SHA256)
	name := BundleName(l.SHA256)
	beside := l.Proof != nil || l.Certificate != nil || l.Twin != nil
	fits := func(f *File, want string) bool {
		if f == nil {
			return true
		}
		_, ok := sumOf(f.SHA256)
		return ok && f.File == want
	}
	switch {
	case countersign.CheckRequestID(l.Request) != nil || !isDigest || !l.Outcome.Valid():
		return errors.New("its request, its digest or its outcome can't be")
	case l.File != name && !(l.Shredded && l.File == ""):
		return fmt.Errorf("its file is %q, and would be %s", l.File, name)
	case l.Shredded && beside || l.File == "" && l.Bytes != 0:
		return errors.New("personal data in it was shredded, and it names files")
	case !fits(l.Proof, name+proofSuffix) || !fits(l.Certificate, pageName(l.SHA256)) || !fits(l.Twin, twinName(l.SHA256)) || (l.Certificate == nil) != (l.Twin == nil):
		return errors.New("what it names beside the bundle is not where that lies")
	case l.Ended.Before(c.From) || !l.Ended.Before(c.Until):
		return fmt.Errorf("it ended at %s, outside the period", l.Ended.Format(time.RFC3339Nano))
	case l.Ended.Before(before.Ended):
		return errors.New("it ended before the one that is named before it")
	}
	return nil
}

// line checks what one line names. What it finds is in the receipt; an error says that something couldn't be read.
func (w *receiving) line(c Complete, l Line) error {
	id, _ := sumOf(l.SHA256)
	is := w.named[id]
	if l.File == "" {
		w.receipt.Shredded++
		return nil
	}
	is.bundle = true
	is.loose = is.loose || l.Shredded
	is.proof = is.proof || l.Proof != nil
	is.certificate = is.certificate || l.Certificate != nil
	w.named[id] = is
	for _, f := range []*File{l.Certificate, l.Twin} {
		if f != nil {
			if _, err := w.file(f, l.Request, maxBeside); err != nil {
				return err
			}
		}
	}
	var proof []byte
	if l.Proof != nil {
		var err error
		if proof, err = w.file(l.Proof, l.Request, evidence.MaxLogProof); err != nil {
			return err
		}
	}
	return w.bundle(c, l, proof)
}

// file reads a file that a line names beside its bundle; nil where it is not as the line says.
func (w *receiving) file(f *File, request string, limit int64) ([]byte, error) {
	body, err := w.read(f.File, limit)
	if err != nil {
		return nil, w.unread(f.File, request, err)
	}
	if countersign.SHA256(body) != f.SHA256 || int64(len(body)) != f.Bytes {
		w.problem(f.File, request, "changed", "it has %d bytes and SHA-256 %s, and the manifest says %d and %s", len(body), countersign.SHA256(body), f.Bytes, f.SHA256)
		return nil, nil
	}
	return body, nil
}

// bundle checks one bundle: that it is the one that the line names, that it holds, and that it says what the line says.
func (w *receiving) bundle(c Complete, l Line, proof []byte) error {
	held, err := w.copy(l.File, evidence.MaxBundleSize)
	if err != nil {
		return w.unread(l.File, l.Request, err)
	}
	defer held.Close()
	raw, err := held.Bytes()
	if err != nil {
		return err
	}
	if digest := countersign.SHA256(raw); digest != l.SHA256 || int64(len(raw)) != l.Bytes {
		w.problem(l.File, l.Request, "changed", "it has %d bytes and SHA-256 %s, and the manifest says %d and %s", len(raw), digest, l.Bytes, l.SHA256)
		return nil
	}
	failed := w.receipt.Failed
	id, _ := sumOf(l.SHA256)
	var newest []byte
	for i, number := range w.found.renewals[id] {
		file := renewalName(l.File, int(number))
		record, err := w.read(file, evidence.MaxRenewalSize)
		if err != nil {
			return w.unread(file, l.Request, err)
		}
		if i == len(w.found.renewals[id])-1 {
			newest = record
		} else if err := w.Renewed(record, raw); err != nil {
			w.problem(file, l.Request, "renewal", "%v", err)
		}
	}
	report := w.Verify(raw, proof, newest)
	for _, f := range report.Findings {
		if f.State == evidence.Fail {
			w.problem(l.File, l.Request, f.Check, "%s", f.Detail)
		}
	}
	if s := report.Statement; s != nil && (s.Tenant != c.Tenant || s.Request.ID != l.Request || s.Outcome != l.Outcome) {
		w.problem(l.File, l.Request, "line", "the bundle is about %s of %s, which ended as %s, and the manifest says %s of %s, %s", s.Request.ID, s.Tenant, s.Outcome, l.Request, c.Tenant, l.Outcome)
	}
	logged := w.logged(l, proof)
	if w.receipt.Failed == failed {
		w.receipt.Verified++
		if !logged {
			w.receipt.Unlogged++
		}
	}
	return nil
}

// logged says whether the ending was shown to be in the tenant's log, where and when the line says. Who gave the log's key wants it shown wherever the export says
// that there is a proof, or where the ending stands: a manifest that leaves the proof out gets nothing by it.
func (w *receiving) logged(l Line, proof []byte) bool {
	switch {
	case w.Ending == nil:
		return false
	case len(proof) == 0:
		if l.Log != nil && l.Proof == nil && !l.Shredded {
			w.problem(l.File, l.Request, "line", "its ending is entry %d of the log, and no proof of that is named", *l.Log)
		}
		return false
	}
	index, at, err := w.Ending(proof)
	switch {
	case err != nil: // a finding of the bundle says it
		return false
	case l.Log == nil || *l.Log != index || !l.Ended.Equal(at):
		w.problem(l.File, l.Request, "line", "the log has its ending as entry %d, of %s, and the manifest says otherwise", index, at.UTC().Format(time.RFC3339Nano))
		return false
	}
	return true
}

// beside tells what is there and no manifest names.
func (w *receiving) beside() {
	for _, file := range w.found.strays {
		w.problem(file, "", "beside", "no manifest names it, and an export leaves nothing of this name")
	}
	if more := w.found.moreStrays; more > 0 {
		w.problem(".", "", "beside", "%d more files of such names", more)
	}
	for file, named := range w.found.manifests {
		if !named {
			w.problem(file, "", "beside", "no final manifest names it")
		}
	}
	for id, is := range w.found.evidence {
		for _, file := range is.besides(id, w.named[id]) {
			w.problem(file, "", "beside", "no manifest names it")
		}
	}
	for id := range w.found.renewals {
		if !w.named[id].bundle {
			w.problem(BundleName(id.String()), "", "beside", "no manifest names it, and an evidence record over it is there")
		}
	}
	// The order of a map is none: told is what is there, in the order of its names.
	slices.SortStableFunc(w.receipt.Problems, func(a, b Problem) int {
		if a.Check != "beside" || b.Check != "beside" {
			return 0
		}
		return bytes.Compare([]byte(a.File), []byte(b.File))
	})
}

// read reads a small file whole.
func (w *receiving) read(name string, limit int64) ([]byte, error) {
	f, err := w.open(name, limit)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = errTooLarge
	}
	return body, err
}

// copy makes a private copy of a file. Mapped itself, it could change between one check and the next, and end the process where somebody cuts it off.
func (w *receiving) copy(name string, limit int64) (*spool.File, error) {
	f, err := w.open(name, limit)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return spool.Keep(func(to io.Writer) error {
		n, err := io.Copy(to, io.LimitReader(f, limit+1))
		if err == nil && n > limit {
			err = errTooLarge
		}
		return err
	})
}

var (
	errTooLarge = errors.New("it is larger than such a file can be")
	errNoFile   = errors.New("it is no regular file")
)

func (w *receiving) open(name string, limit int64) (*os.File, error) {
	info, err := w.Root.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNoFile
	case info.Size() > limit:
		return nil, errTooLarge
	}
	return w.Root.Open(name)
}

// unread puts into the receipt why a file is not there as it has to be. Any other error is returned: it says nothing of what was received.
func (w *receiving) unread(file, request string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.problem(file, request, "missing", "the manifest names it, and it is not there")
	case errors.Is(err, errTooLarge), errors.Is(err, errNoFile):
		w.problem(file, request, "changed", "%v", err)
	default:
		return fmt.Errorf("couldn't read %s: %w", path.Base(file), err)
	}
	return nil
}
