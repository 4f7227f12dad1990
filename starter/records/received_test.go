package records

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

const (
	released   = "../../tests/golden/histories/"
	firstOfTwo = "85e1407b5ef3f8a351d59dcf871c8b5b961343fa73619c7ddce84bd3f8d756ae"
)

// keptSource has one bundle of each released version.
func keptSource(t *testing.T) (*source, evidence.Roots) {
	t.Helper()
	s := &source{}
	var anchors evidence.Anchors
	for _, version := range []string{"v0.1.0", "v0.2.0"} {
		read := func(name string) []byte {
			raw, err := os.ReadFile(filepath.Join(released, version, name))
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		s.bundles = append(s.bundles, read("completed.asice"))
		anchors.TenantCA = append(anchors.TenantCA, read("tenant-ca.pem")...)
		anchors.TSACA = append(anchors.TSACA, read("tsa-ca.pem")...)
	}
	roots, err := anchors.Roots()
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range s.bundles {
		report := judged(raw, roots)
		if report.Err() != nil {
			t.Fatal(report.Err())
		}
		s.requests = append(s.requests, report.Statement.Request.ID)
		if slices.Contains(s.requests[:i], s.requests[i]) {
			t.Fatal("two bundles are of one request")
		}
	}
	return s, roots
}

// judged verifies a bundle. The two are of one test, and so of requests of one name: that of the first is told apart.
func judged(raw []byte, roots evidence.Roots) *evidence.Report {
	report := evidence.Verify(raw, roots)
	if report.Statement != nil && countersign.SHA256(raw) == firstOfTwo {
		report.Statement.Request.ID += "-first"
	}
	return report
}

// receivedIn is a check of a directory by somebody who was told nothing more.
func receivedIn(t *testing.T, dir string, roots evidence.Roots) *Received {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &Received{
		Root: root, Progress: func(string, ...any) {},
		Verify:  func(bundle, _, _ []byte) *evidence.Report { return judged(bundle, roots) },
		Renewed: func(_, _ []byte) error { return nil },
	}
}

func checkReceived(t *testing.T, r *Received) *Receipt {
	t.Helper()
	receipt, err := r.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Complete != (receipt.Failed == 0) || receipt.Failed != len(receipt.Problems) {
		t.Errorf("complete %v with %d failed and %d problems", receipt.Complete, receipt.Failed, len(receipt.Problems))
	}
	return receipt
}

// rewritten gives an export a manifest and a final manifest that fit one another, as whoever can write in the directory can.
func rewritten(t *testing.T, dir string, change func(c *Complete, lines []Line) []Line) {
	t.Helper()
	finals, err := filepath.Glob(filepath.Join(dir, "manifests/*"+completeSuffix))
	if err != nil || len(finals) != 1 {
		t.Fatalf("%v, %v", finals, err)
	}
	raw, err := os.ReadFile(finals[0])
	if err != nil {
		t.Fatal(err)
	}
	var c Complete
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, c.Manifest.File))
	if err != nil {
		t.Fatal(err)
	}
	var lines []Line
	for text := range strings.Lines(string(manifest)) {
		var l Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if err := errors.Join(os.Remove(finals[0]), os.Remove(filepath.Join(dir, c.Manifest.File))); err != nil {
		t.Fatal(err)
	}
	lines = change(&c, lines)
	manifest, c.Count, c.Bytes = nil, len(lines), 0
	for _, l := range lines {
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		manifest, c.Bytes = append(append(manifest, text...), '\n'), c.Bytes+l.Bytes
	}
	digest := countersign.SHA256(manifest)
	c.Manifest = File{"manifests/" + c.period() + "_" + digest + ".jsonl", digest, int64(len(manifest))}
	if c.Digest, err = c.digest(); err != nil {
		t.Fatal(err)
	}
	final, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, c.Manifest.File), manifest, 0o600), os.WriteFile(filepath.Join(dir, finalName(c.period())), final, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func exportedIn(t *testing.T, s *source) (dir string, c Complete) {
	t.Helper()
	dir = t.TempDir()
	c, err := export(t, s, opened(t, dir)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func TestR25_WhoReceivesAnExportChecksThatItIsComplete(t *testing.T) {
	t.Parallel()
	s, roots := keptSource(t)
	dir, c := exportedIn(t, s)
	told := receivedIn(t, dir, roots)
	told.Tenant, told.From, told.Until, told.Digests = "acme", c.From, c.Until, []string{c.Digest}
	for what, r := range map[string]*Received{"told nothing": receivedIn(t, dir, roots), "told everything": told} {
		receipt := checkReceived(t, r)
		if !receipt.Complete || receipt.Verified != 2 || len(receipt.Exports) != 1 || receipt.Exports[0] != c {
			t.Errorf("%s: %+v", what, receipt)
		}
	}
}

func TestR25_WhatIsWrongWithAReceivedExportIsFound(t *testing.T) {
	t.Parallel()
	s, roots := keptSource(t)
	whole, c := exportedIn(t, s)
	first, second := countersign.SHA256(s.bundles[0]), countersign.SHA256(s.bundles[1])
	write := func(t *testing.T, dir, name string, body []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	added := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, dir, name, []byte("{}")) }
	}
	changed := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, name, change(raw))
		}
	}
	flip := func(raw []byte) []byte { raw[len(raw)/2] ^= 1; return raw }
	cutOff := func(raw []byte) []byte { return raw[:len(raw)-20] }
	forged := func(change func(c *Complete, lines []Line) []Line) func(*testing.T, string) {
		return func(t *testing.T, dir string) { rewritten(t, dir, change) }
	}
	for what, d := range map[string]struct {
		to    func(t *testing.T, dir string)
		check string // that has to fail
		file  string
	}{
		"a bundle is missing":       {remove(BundleName(first)), "missing", BundleName(first)},
		"a certificate is missing":  {remove(pageName(first)), "missing", pageName(first)},
		"a twin is missing":         {remove(twinName(second)), "missing", twinName(second)},
		"a proof is missing":        {remove(BundleName(second) + proofSuffix), "missing", BundleName(second) + proofSuffix},
		"a bundle is changed":       {changed(BundleName(first), flip), "changed", BundleName(first)},
		"a bundle is cut off":       {changed(BundleName(first), cutOff), "changed", BundleName(first)},
		"a certificate is changed":  {changed(pageName(first), flip), "changed", pageName(first)},
		"a file is added":           {added("bundles/notes.txt"), "beside", "bundles/notes.txt"},
		"a file is added above":     {added("index.html"), "beside", "index.html"},
		"an exporter left a piece":  {added(partial + "1"), "beside", partial + "1"},
		"a bundle is added":         {added(BundleName(countersign.SHA256(nil))), "beside", BundleName(countersign.SHA256(nil))},
		"a certificate is added":    {added(pageName(countersign.SHA256(nil))), "beside", pageName(countersign.SHA256(nil))},
		"a record of no bundle":     {added(renewalName(BundleName(countersign.SHA256(nil)), 1)), "beside", BundleName(countersign.SHA256(nil))},
		"another manifest is added": {added("manifests/other.jsonl"), "beside", "manifests/other.jsonl"},
		"the manifest is cut off":   {changed(c.Manifest.File, cutOff), "manifest", finalName(c.period())},
		"the manifest is missing":   {remove(c.Manifest.File), "missing", c.Manifest.File},
		"it never came to its end":  {remove(finalName(c.period())), "missing", "manifests/"},
		"the final one is cut off":  {changed(finalName(c.period()), cutOff), "manifest", finalName(c.period())},
		"the final one is changed":  {changed(finalName(c.period()), func(b []byte) []byte { return []byte(strings.Replace(string(b), `"count": 2`, `"count": 1`, 1)) }), "manifest", finalName(c.period())},
		"a manifest of another period under this name": {func(t *testing.T, dir string) {
			rewritten(t, dir, func(c *Complete, lines []Line) []Line { c.Until = c.Until.AddDate(0, 1, 0); return lines })
			other := c
			other.Until = c.Until.AddDate(0, 1, 0)
			if err := os.Rename(filepath.Join(dir, finalName(other.period())), filepath.Join(dir, finalName(c.period()))); err != nil {
				t.Fatal(err)
			}
		}, "manifest", finalName(c.period())},
		"only a manifest of another period": {forged(func(c *Complete, lines []Line) []Line { c.Until = c.Until.AddDate(0, 1, 0); return lines }), "period", "manifests/"},
		"of another tenant":                 {forged(func(c *Complete, lines []Line) []Line { c.Tenant = "globex"; return lines }), "line", BundleName(first)},
		"a signing left out":                {forged(func(_ *Complete, lines []Line) []Line { return lines[1:] }), "digest", ""},
		"named twice":                       {forged(func(_ *Complete, lines []Line) []Line { return append(lines, lines[1]) }), "line", ""},
		"another request":                   {forged(func(_ *Complete, lines []Line) []Line { lines[0].Request = "PO-9"; return lines }), "line", BundleName(first)},
		"another outcome":                   {forged(func(_ *Complete, lines []Line) []Line { lines[0].Outcome = countersign.Rejected; return lines }), "line", BundleName(first)},
		"not in their order":                {forged(func(_ *Complete, lines []Line) []Line { slices.Reverse(lines); return lines }), "line", ""},
		"outside the period":                {forged(func(c *Complete, lines []Line) []Line { lines[0].Ended = c.From.Add(-time.Hour); return lines }), "line", ""},
		"a path out of the directory":       {forged(func(_ *Complete, lines []Line) []Line { lines[0].File = "../" + lines[0].File; return lines }), "line", ""},
		"a proof of something else":         {forged(func(_ *Complete, lines []Line) []Line { lines[0].Proof.File = lines[1].Proof.File; return lines }), "line", ""},
		"shredded, it says": {forged(func(_ *Complete, lines []Line) []Line {
			lines[0] = Line{Request: lines[0].Request, Outcome: lines[0].Outcome, Ended: lines[0].Ended, SHA256: first, Shredded: true}
			return lines
		}), "beside", BundleName(first)},
		"a bundle that does not hold": {func(t *testing.T, dir string) {
			broken := flip(slices.Clone(s.bundles[0]))
			digest := countersign.SHA256(broken)
			for _, name := range []string{BundleName(first), BundleName(first) + proofSuffix, pageName(first), twinName(first)} {
				if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, strings.Replace(name, first, digest, 1))); err != nil {
					t.Fatal(err)
				}
			}
			write(t, dir, BundleName(digest), broken)
			rewritten(t, dir, func(_ *Complete, lines []Line) []Line {
				l := &lines[0]
				l.SHA256, l.File = digest, BundleName(digest)
				l.Proof.File, l.Certificate.File, l.Twin.File = l.File+proofSuffix, pageName(digest), twinName(digest)
				return lines
			})
		}, "container", ""},
		"a link to a bundle": {func(t *testing.T, dir string) {
			aside := filepath.Join(t.TempDir(), "aside")
			if err := errors.Join(os.Rename(filepath.Join(dir, BundleName(first)), aside), os.Symlink(aside, filepath.Join(dir, BundleName(first)))); err != nil {
				t.Fatal(err)
			}
		}, "changed", BundleName(first)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			d.to(t, dir)
			r := receivedIn(t, dir, roots)
			r.From, r.Until, r.Digests = c.From, c.Until, []string{c.Digest}
			receipt := checkReceived(t, r)
			if receipt.Complete || !slices.ContainsFunc(receipt.Problems, func(p Problem) bool { return p.Check == d.check && (d.file == "" || p.File == d.file) }) {
				t.Errorf("%+v", receipt)
			}
		})
	}
}

// Of a period in which somebody was shredded, what could not be handed out is told, and nothing of it may lie there.
func TestR25_AReceivedExportTellsWhatWasShredded(t *testing.T) {
	t.Parallel()
	s, roots := keptSource(t)
	s.shredded = s.requests[0]
	dir, _ := exportedIn(t, s)
	receipt := checkReceived(t, receivedIn(t, dir, roots))
	if !receipt.Complete || receipt.Shredded != 1 || receipt.Verified != 1 {
		t.Errorf("%+v", receipt)
	}
}

// The log's key makes proofs a duty: a manifest that leaves one out, or says another place or time, is found.
func TestR25_AReceivedExportIsHeldToTheLog(t *testing.T) {
	t.Parallel()
	s, roots := keptSource(t)
	whole, _ := exportedIn(t, s)
	for what, d := range map[string]struct {
		change func(lines []Line)
		wrong  bool
	}{
		"as it was":     {func([]Line) {}, false},
		"another place": {func(l []Line) { *l[0].Log = 7 }, true},
		"no place":      {func(l []Line) { l[0].Log = nil }, true},
		"another time":  {func(l []Line) { l[0].Ended = l[0].Ended.Add(-time.Millisecond) }, true},
		"no proof":      {func(l []Line) { l[0].Proof = nil }, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			rewritten(t, dir, func(_ *Complete, lines []Line) []Line {
				for i := range lines { // inside the period whatever the case changes
					lines[i].Ended = lines[i].Ended.Add(time.Hour)
				}
				d.change(lines)
				return lines
			})
			r := receivedIn(t, dir, roots)
			r.Ending = func(proof []byte) (int64, time.Time, error) {
				var p struct{ Index int64 }
				err := json.Unmarshal(proof, &p)
				return p.Index, begun.Add(time.Duration(p.Index+1) * time.Hour), err
			}
			receipt := checkReceived(t, r)
			if found := slices.ContainsFunc(receipt.Problems, func(p Problem) bool { return p.Check == "line" }); found != d.wrong || receipt.Complete == d.wrong || receipt.Unlogged != 0 {
				t.Errorf("%+v", receipt)
			}
		})
	}
}
