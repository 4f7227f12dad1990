package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

var errKilled = errors.New("killed")

// source has signings without a server, two to a page, and counts what is read.
type source struct {
	bundles  [][]byte
	read     int
	gap      bool
	shredded string   // a request
	renewals int      // of each bundle
	requests []string // whose bundles they are; PO-0, PO-1 ... where nobody says it
}

func (s *source) request(n int) string {
	if n < len(s.requests) {
		return s.requests[n]
	}
	return fmt.Sprintf("PO-%d", n)
}

var begun = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func (s *source) EvidencePage(_ context.Context, _ client.EvidenceFilter, cursor string) (l client.EvidenceList, err error) {
	at := 0
	fmt.Sscanf(cursor, "%d", &at)
	for i := at; i < min(at+2, len(s.bundles)); i++ {
		// The last to end first, as the API lists them.
		n := len(s.bundles) - 1 - i
		log := int64(n)
		l.Evidence = append(l.Evidence, client.EndedSigning{
			Request: s.request(n), Outcome: countersign.Completed, Ended: begun.Add(time.Duration(n) * time.Hour), Log: &log,
			Proof: json.RawMessage(fmt.Sprintf(`{"index":%d}`, n)), Renewals: s.renewals,
			Evidence: evidence.Locked{Object: countersign.Object{SHA256: countersign.SHA256(s.bundles[n])}, Mode: "COMPLIANCE", RetainUntil: begun.AddDate(10, 0, 0)},
		})
	}
	if at+2 < len(s.bundles) {
		l.Cursor = fmt.Sprint(at + 2)
	} else if s.gap {
		l.Unanswered = []string{"PO-x"}
	}
	return l, nil
}

func (s *source) EvidenceFile(_ context.Context, request string, _ evidence.Locked) ([]byte, bool, error) {
	s.read++
	for n, bundle := range s.bundles {
		if s.request(n) == request {
			return bundle, request == s.shredded, nil
		}
	}
	return nil, false, fmt.Errorf("there is no %s", request)
}

func (s *source) EvidenceRenewal(_ context.Context, request string) ([]byte, int, error) {
	return []byte(fmt.Sprintf("record %d of %s", s.renewals, request)), s.renewals, nil
}

// mortal is a store whose process dies at its nth step: before the step, or after it and before anybody hears of it.
type mortal struct {
	Store
	steps, dies int
	after       bool
}

func (m *mortal) step(do func() error) error {
	m.steps++
	if m.steps == m.dies && !m.after {
		return errKilled
	}
	err := do()
	if m.steps == m.dies {
		return errKilled
	}
	return err
}

func (m *mortal) Look(ctx context.Context, name string) (held *Held, err error) {
	return held, m.step(func() (err error) { held, err = m.Store.Look(ctx, name); return err })
}

func (m *mortal) Add(ctx context.Context, name string, body []byte) error {
	return m.step(func() error { return m.Store.Add(ctx, name, body) })
}

func export(t *testing.T, s Source, store Store) *Export {
	t.Helper()
	return &Export{
		Tenant: "acme", From: begun, Until: begun.AddDate(0, 1, 0), Source: s, Store: store, Progress: func(string, ...any) {},
		Verify: func(_, _, _ []byte) error { return nil }, Certify: func(b []byte) ([]byte, []byte, error) { return append([]byte("page of "), b...), []byte("{}"), nil },
	}
}

func opened(t *testing.T, dir string) Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// files are all files below a directory, by name, with their SHA-256.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, dir)] = countersign.SHA256(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func threeBundles() *source {
	s := &source{renewals: 1}
	for i := range 3 {
		s.bundles = append(s.bundles, []byte(fmt.Sprint("bundle ", i)))
	}
	return s
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d files, want %d: %v", what, len(got), len(want), got)
	}
	for name, digest := range want {
		if got[name] != digest {
			t.Errorf("%s: %s is %s, want %s", what, name, got[name], digest)
		}
	}
}

// Whichever step an export dies in, before or after it took effect, the next run ends as one that was never interrupted.
func TestR25_AnExportKilledAtAnyStepEndsTheSame(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	counted := &mortal{Store: opened(t, whole)}
	want, err := export(t, threeBundles(), counted).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wanted := files(t, whole)
	if len(wanted) != 3*5+2 || counted.steps < len(wanted) {
		t.Fatalf("%d files in %d steps: %v", len(wanted), counted.steps, wanted)
	}
	for dies := 1; dies <= counted.steps; dies++ {
		for _, after := range []bool{false, true} {
			what := fmt.Sprintf("killed at step %d, after it: %v", dies, after)
			dir, s := t.TempDir(), threeBundles()
			if _, err := export(t, s, &mortal{Store: opened(t, dir), dies: dies, after: after}).Run(t.Context()); !errors.Is(err, errKilled) {
				t.Fatalf("%s: %v", what, err)
			}
			// What a process leaves that dies while it writes.
			if err := os.WriteFile(filepath.Join(dir, partial+"1"), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := export(t, s, opened(t, dir)).Run(t.Context())
			if err != nil || got != want {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
			same(t, what, files(t, dir), wanted)
			if s.read > 4 {
				t.Errorf("%s: %d bundles were read, of 3", what, s.read)
			}
		}
	}
}

func TestR25_TheFinalManifestProvesThatAllIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := export(t, threeBundles(), opened(t, dir)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	final, err := os.ReadFile(filepath.Join(dir, "manifests/acme_20261101T000000.000Z_20261201T000000.000Z.complete.json"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(c.Manifest.File)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := CheckComplete(final, manifest); err != nil || got.Count != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	lines := strings.SplitAfter(string(manifest), "\n")
	var first Line
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.Request != "PO-0" || first.Log == nil || *first.Log != 0 {
		t.Errorf("the first line is %s: %v", lines[0], err)
	}
	for what, forged := range map[string][2]string{
		"a line less":           {string(final), strings.Join(lines[1:], "")},
		"another count":         {strings.Replace(string(final), `"count": 3`, `"count": 2`, 1), string(manifest)},
		"another period":        {strings.Replace(string(final), `2026-12-01`, `2026-11-02`, 1), string(manifest)},
		"another manifest":      {strings.Replace(string(final), c.Manifest.SHA256, countersign.SHA256(nil), -1), ""},
		"two lines the other":   {string(final), lines[1] + lines[0] + strings.Join(lines[2:], "")},
		"something not of ours": {`{"v":1,"also":2}`, string(manifest)},
	} {
		if _, err := CheckComplete([]byte(forged[0]), []byte(forged[1])); err == nil {
			t.Errorf("%s is taken for whole", what)
		}
	}
}

func TestR25_NothingIsWrittenOverAndNoGapIsHidden(t *testing.T) {
	t.Parallel()
	dir, s := t.TempDir(), threeBundles()
	store := opened(t, dir)
	name := BundleName(countersign.SHA256(s.bundles[2]))
	if err := store.Add(t.Context(), name, []byte("something else")); err != nil {
		t.Fatal(err)
	}
	if _, err := export(t, s, store).Run(t.Context()); !errors.Is(err, ErrChanged) {
		t.Errorf("a changed bundle ends the export with %v", err)
	}
	if got := files(t, dir)["/"+name]; got != countersign.SHA256([]byte("something else")) {
		t.Error("it was written over")
	}
	s = threeBundles()
	s.gap = true
	dir = t.TempDir()
	if _, err := export(t, s, opened(t, dir)).Run(t.Context()); err == nil || len(files(t, dir)) > 0 {
		t.Errorf("an export with a gap ends with %v, and leaves %v", err, files(t, dir))
	}
	e := export(t, threeBundles(), opened(t, dir))
	e.Verify = func(b, _, _ []byte) error {
		if string(b) == "bundle 1" {
			return errors.New("forged")
		}
		return nil
	}
	if _, err := e.Run(t.Context()); err == nil {
		t.Error("an export with a forged bundle is complete")
	}
	for name := range files(t, dir) {
		if strings.Contains(name, "manifests/") || strings.Contains(name, countersign.SHA256([]byte("bundle 1"))) {
			t.Errorf("it left %s", name)
		}
	}
}

func TestR25_CertificatesCanBeAskedForLater(t *testing.T) {
	t.Parallel()
	dir, s := t.TempDir(), threeBundles()
	without := export(t, s, opened(t, dir))
	without.Certify = nil
	if _, err := without.Run(t.Context()); err != nil || len(files(t, dir)) != 3*3+2 {
		t.Fatalf("%d files, %v", len(files(t, dir)), err)
	}
	// The manifest that names no certificates stands beside the new one; the final manifest of the period is the first.
	with := export(t, s, opened(t, dir))
	if _, err := with.Run(t.Context()); !errors.Is(err, ErrChanged) {
		t.Errorf("another manifest of the same period ends with %v", err)
	}
	other := t.TempDir()
	for name := range files(t, dir) {
		if strings.HasPrefix(name, "/bundles/") {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = opened(t, other).Add(t.Context(), name[1:], raw)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if c, err := export(t, s, opened(t, other)).Run(t.Context()); err != nil || c.Count != 3 || len(files(t, other)) != 3*5+2 {
		t.Errorf("where the bundles are already, it ends with %+v, %v", files(t, other), err)
	}
}

// What can't be handed out whole any more is named, and holds nothing up.
func TestR25_ShreddedEvidenceIsNamedInTheManifest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := threeBundles()
	s.shredded = "PO-1"
	c, err := export(t, s, opened(t, dir)).Run(t.Context())
	if err != nil || c.Count != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, c.Manifest.File))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(manifest)), "\n")
	for i, text := range lines {
		var l Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if gone := l.Request == "PO-1"; l.Shredded != gone || (l.File == "") != gone || (l.Certificate == nil) != gone || l.SHA256 == "" {
			t.Errorf("line %d is %s", i, text)
		}
	}
	if len(lines) != 3 {
		t.Errorf("the manifest has %d lines", len(lines))
	}
}

// What was renewed since an export comes beside what is there, and changes nothing of it.
func TestR25_AnEvidenceRecordThatCameLaterIsExportedBesideTheOthers(t *testing.T) {
	t.Parallel()
	dir, s := t.TempDir(), threeBundles()
	s.renewals = 0
	want, err := export(t, s, opened(t, dir)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	for s.renewals = 1; s.renewals <= 2; s.renewals++ {
		verified := 0
		e := export(t, s, opened(t, dir))
		e.Verify = func(_, proof, renewal []byte) error {
			if len(proof) > 0 && strings.HasPrefix(string(renewal), fmt.Sprintf("record %d of", s.renewals)) {
				verified++
			}
			return nil
		}
		if got, err := e.Run(t.Context()); err != nil || got != want || verified != 3 {
			t.Fatalf("with %d renewals: %+v, %v; %d were verified with proof and record", s.renewals, got, err, verified)
		}
		if found, err := filepath.Glob(filepath.Join(dir, "bundles", fmt.Sprintf("*.asice.renewal-%03d.ers", s.renewals))); err != nil || len(found) != 3 {
			t.Errorf("%d records are there: %v", len(found), err)
		}
	}
	for name, digest := range before {
		if files(t, dir)[name] != digest {
			t.Errorf("%s has changed", name)
		}
	}
	// A record that doesn't hold does not go out.
	s.renewals = 3
	e := export(t, s, opened(t, dir))
	e.Verify = func(_, _, renewal []byte) error {
		if len(renewal) > 0 {
			return errors.New("it does not hold")
		}
		return nil
	}
	if _, err := e.Run(t.Context()); err == nil {
		t.Error("a record that does not hold went out")
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "bundles", "*.renewal-003.ers")); len(found) != 0 {
		t.Errorf("there is %v", found)
	}
}
