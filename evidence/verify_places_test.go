package evidence

import (
	"crypto/elliptic"
	"os"
	"slices"
	"strings"
	"testing"
)

// Manifest and seal hold in each of these: only the rule for the files' places finds them.
func TestR15_ABundlesFilesAreAllThereInTheirOneOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	files := rejectedFiles(t, w)
	if err := verifyForged(t, w, files); err != nil {
		t.Fatalf("the true bundle: %v", err)
	}
	for i := range len(files) - 1 {
		swapped := slices.Clone(files)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if err := verifyForged(t, w, swapped); err == nil || !strings.HasPrefix(err.Error(), "files: ") || !strings.Contains(err.Error(), "not in its place") {
			t.Errorf("%s before %s is found as %v", swapped[i].Name, swapped[i+1].Name, err)
		}
	}
	for i, f := range files {
		if err := verifyForged(t, w, slices.Delete(slices.Clone(files), i, i+1)); err == nil || !strings.Contains(err.Error(), f.Name) {
			t.Errorf("without %s it is found as %v", f.Name, err)
		}
	}
	for _, name := range []string{postQuantumListFile, postQuantumSignatureFile} {
		if err := verifyForged(t, w, slices.Insert(slices.Clone(files), 1, File{name, []byte("{}\n")})); err == nil || !strings.Contains(err.Error(), "not in its place") {
			t.Errorf("%s before the history is found as %v", name, err)
		}
	}
	if err := verifyForged(t, w, append(slices.Clone(files), File{"annex.txt", []byte("and another thing\n")})); err == nil || !strings.Contains(err.Error(), "annex.txt doesn't belong") {
		t.Errorf("a file more is found as %v", err)
	}
}

// The same of a bundle with each file that there is, of the document signed inside to the post-quantum signature. It is sealed by a stranger to it, which is another
// fault; so what is asked is whether the places are what is found first.
func TestR15_ACompletedBundlesFilesAreInTheirOneOrder(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../tests/golden/histories/v0.2.0/completed.asice")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, elliptic.P256())
	files := mustOpen(t, raw).Files()
	if files[0].Name != signedFile || files[len(files)-1].Name != postQuantumSignatureFile {
		t.Fatalf("it begins with %s and ends with %s", files[0].Name, files[len(files)-1].Name)
	}
	const misplaced = "is not in its place"
	if err := verifyForged(t, w, files); err == nil || strings.Contains(err.Error(), misplaced) || !strings.Contains(err.Error(), "another key than the one that sealed") {
		t.Errorf("the true order is found as %v", err)
	}
	for i := range len(files) - 1 {
		swapped := slices.Clone(files)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if err := verifyForged(t, w, swapped); err == nil || !strings.Contains(err.Error(), misplaced) {
			t.Errorf("%s before %s is found as %v", swapped[i].Name, swapped[i+1].Name, err)
		}
	}
}
