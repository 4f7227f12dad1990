package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

const released = "../tests/golden/histories/v0.1.0/"

var releasedRoots = []string{"--tenant-ca", released + "tenant-ca.pem", "--tsa-ca", released + "tsa-ca.pem"}

// wantGolden compares what a command wrote with its golden file.
func wantGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as in the golden file:\n%s", name, got)
	}
}

func TestR13_ATimelineTellsAReleasedBundle(t *testing.T) {
	clean(t)
	for name, more := range map[string][]string{"timeline": nil, "timeline-json": {"--json"}} {
		exit, out, errout := run(t, "", slices.Concat([]string{"audit", "timeline", released + "completed.asice"}, releasedRoots, more)...)
		if exit != exitOK || errout != "" {
			t.Fatalf("%s: exit code %d, %s", name, exit, errout)
		}
		wantGolden(t, name, out)
	}
}

func TestR06_AnExposureTellsCouldHaveApartFromDid(t *testing.T) {
	clean(t)
	bundle := released + "completed.asice"
	exit, out, errout := run(t, "", slices.Concat([]string{"audit", "exposure", bundle, bundle, "--json"}, releasedRoots)...)
	if exit != exitOK {
		t.Fatalf("exit code %d, %s", exit, errout)
	}
	wantGolden(t, "exposure-json", out)
	exit, out, _ = run(t, "", "audit", "exposure", bundle, "--partner", "http://127.0.0.1:31716/hart", "--json")
	var e exposures
	if err := json.Unmarshal([]byte(out), &e); err != nil || exit != exitOK || e.Verified || len(e.Signings) != 1 {
		t.Fatalf("exit code %d, %v: %s", exit, err, out)
	}
	// Two of the partner could, one did. Nobody else's part is told.
	one := e.Signings[0]
	if len(one.Could) != 2 || len(one.Did) != 1 || one.Did[0].By.Name != "Carol Hart" || strings.Contains(out, "Alice") {
		t.Errorf("the partner's exposure is %s", out)
	}
	exit, out, _ = run(t, "", "audit", "exposure", bundle, "--partner", "https://elsewhere.example", "--json")
	if e = (exposures{}); json.Unmarshal([]byte(out), &e) != nil || exit != exitOK || len(e.Signings) != 0 || e.Looked != 1 {
		t.Errorf("of somebody who had no part: exit code %d, %s", exit, out)
	}
}

func TestR15_ATimelineSaysThatItWasNotVerified(t *testing.T) {
	clean(t)
	bundle := released + "completed.asice"
	if exit, out, _ := run(t, "", "audit", "timeline", bundle); exit != exitOK || !strings.HasPrefix(out, "NOT VERIFIED") {
		t.Errorf("exit code %d: %.100s", exit, out)
	}
	var told struct{ Verified bool }
	if _, out, _ := run(t, "", "audit", "timeline", bundle, "--json"); json.Unmarshal([]byte(out), &told) != nil || told.Verified {
		t.Errorf("as JSON: %.100s", out)
	}
	// One changed byte, and nothing is told.
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	forged := filepath.Join(t.TempDir(), "forged.asice")
	if err := os.WriteFile(forged, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"timeline", "exposure"} {
		if exit, out, _ := run(t, "", slices.Concat([]string{"audit", command, forged}, releasedRoots)...); exit != exitUnproven || out != "" {
			t.Errorf("%s of a forged bundle: exit code %d, %.100s", command, exit, out)
		}
	}
	if exit, _, _ := run(t, "", "audit", "timeline", bundle, "--tenant-ca", released+"tenant-ca.pem"); exit != exitUsage {
		t.Errorf("one root alone: exit code %d", exit)
	}
}

// The chain of a print-out is recomputed here from the JSON alone, as a stranger would.
func TestR13_ACutOrMovedLineOfATimelineShows(t *testing.T) {
	clean(t)
	_, out, _ := run(t, "", "audit", "timeline", released+"completed.asice", "--json")
	var printed struct {
		Saga  json.RawMessage
		Lines []json.RawMessage
		Head  string
	}
	if err := json.Unmarshal([]byte(out), &printed); err != nil || len(printed.Lines) < 20 {
		t.Fatalf("%v: %s", err, out)
	}
	whole := func(lines []json.RawMessage) bool {
		previous, err := countersign.Digest("countersign timeline v2", printed.Saga)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			var told struct{ Previous string }
			canonical, err := countersign.Canonical(l)
			if err != nil || json.Unmarshal(l, &told) != nil {
				t.Fatal(err)
			}
			if told.Previous != previous {
				return false
			}
			previous = countersign.SHA256(canonical)
		}
		return previous == printed.Head
	}
	if !whole(printed.Lines) {
		t.Fatal("what was printed is not whole")
	}
	n := len(printed.Lines)
	swapped := slices.Clone(printed.Lines)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	changed := slices.Clone(printed.Lines)
	changed[7] = bytes.Replace(changed[7], []byte("Alice"), []byte("Alina"), 1)
	for what, lines := range map[string][]json.RawMessage{
		"without its first line": printed.Lines[1:], "without its last line": printed.Lines[:n-1], "without a line": slices.Delete(slices.Clone(printed.Lines), 5, 6),
		"with two lines swapped": swapped, "with a name changed": changed,
	} {
		if whole(lines) {
			t.Errorf("%s it still looks whole", what)
		}
	}
}

func TestR15_ACertificateIsWrittenOfAReleasedBundleAndOfNoBrokenOne(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	page, twin := filepath.Join(dir, "page.pdf"), filepath.Join(dir, "twin.json")
	exit, out, errout := run(t, "", slices.Concat([]string{"audit", "certificate", released + "completed.asice", "--output", page, "--twin", twin, "--json"}, releasedRoots)...)
	if exit != exitOK {
		t.Fatalf("exit code %d, %s", exit, errout)
	}
	raw, err := os.ReadFile(page)
	if err != nil || !bytes.HasPrefix(raw, []byte("%PDF-1.7")) || !strings.Contains(out, countersign.SHA256(raw)) {
		t.Errorf("%v; the answer is %s", err, out)
	}
	if facts, err := os.ReadFile(twin); err != nil || !bytes.Contains(facts, []byte(`"outcome": "completed"`)) {
		t.Errorf("%v; the twin is %s", err, facts)
	}
	whole, err := os.ReadFile(released + "completed.asice")
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	broken, none := filepath.Join(dir, "broken.asice"), filepath.Join(dir, "none.pdf")
	if err := os.WriteFile(broken, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	exit, _, _ = run(t, "", slices.Concat([]string{"audit", "certificate", broken, "--output", none}, releasedRoots)...)
	if _, err := os.Stat(none); exit != exitUnproven || !os.IsNotExist(err) {
		t.Errorf("exit code %d; the page of a broken bundle: %v", exit, err)
	}
}
