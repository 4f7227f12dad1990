package evidence

import (
	"os"
	"path/filepath"
	"testing"
)

func TestR11_TheNewestEvidenceRecordBesideABundleIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bundle := filepath.Join(dir, "[e].asice")
	if found := RenewalFile(bundle); found != "" {
		t.Errorf("where there is none, %q is found", found)
	}
	for _, step := range []struct{ put, want string }{
		{"other.asice.renewal-009.ers", ""}, {"[e].asice.renewal-9.ers", ""}, {"[e].asice.renewal-009.ers.partial", ""},
		{"[e].asice.renewal-002.ers", "[e].asice.renewal-002.ers"}, {"[e].asice.renewal-010.ers", "[e].asice.renewal-010.ers"},
		{"[e].asice.renewal-003.ers", "[e].asice.renewal-010.ers"}, {"[e].asice.ers", "[e].asice.ers"},
	} {
		if err := os.WriteFile(filepath.Join(dir, step.put), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want := step.want
		if want != "" {
			want = filepath.Join(dir, want)
		}
		if found := RenewalFile(bundle); found != want {
			t.Errorf("with %s, %q is found, want %q", step.put, found, want)
		}
	}
}
