package floors

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestM6_TheProductIsBuiltOnTheNamedLibraries(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, r := range mod.Require {
		direct[r.Path] = !r.Indirect
	}
	for _, path := range []string{"go.temporal.io/sdk", "github.com/aws/aws-sdk-go-v2/service/s3", "github.com/aws/aws-sdk-go-v2/service/kms", "github.com/rs/zerolog"} {
		if !direct[path] {
			t.Errorf("go.mod does not require %s itself", path)
		}
	}
}

func TestM7_TheTopLevelHasItsNamedParts(t *testing.T) {
	for name, dir := range map[string]bool{
		"workflows": true, "activities": true, "workers": true, "starter": true, "infra": true, "tests": true,
		"go.mod": false, "go.sum": false, "docker-compose.yml": false,
	} {
		info, err := os.Stat(filepath.Join("../..", name))
		if err != nil {
			t.Error(err)
		} else if info.IsDir() != dir {
			t.Errorf("%s: whether it is a directory is %v, want %v", name, info.IsDir(), dir)
		}
	}
}

// Whoever checks the evidence without trusting us needs nothing of ours for it, nor of anybody else.
func TestN01_TheStrangerHasTheStandardLibraryAlone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", "{{range .Imports}}{{println .}}{{end}}", "./tests/stranger")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	imports := strings.Fields(string(out))
	if err != nil || len(imports) == 0 {
		t.Fatalf("couldn't list what the stranger imports: %v", err)
	}
	for _, i := range imports {
		if first, _, _ := strings.Cut(i, "/"); strings.Contains(first, ".") {
			t.Errorf("the stranger imports %s", i)
		}
	}
}
