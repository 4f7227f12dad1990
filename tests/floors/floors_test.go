// Package floors keeps the plan of the house: each package imports only what lies below it.
package floors

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/countersign-dev/countersign"

// below says which packages of ours each floor may import.
var below = map[string][]string{
	"":           {},
	"identity":   {""},
	"policy":     {""},
	"evidence":   {"", "identity", "policy", "evidence"},
	"activities": {"", "identity", "policy", "evidence"},
	"verifier":   {"", "identity", "policy", "evidence"},
	"workflows":  {"", "identity", "policy", "evidence", "activities"},
	"workers":    {"", "identity", "policy", "evidence", "activities", "workflows", "workers"},
	"starter":    {"", "identity", "policy", "evidence", "activities", "workflows", "starter"},
	"tests":      {"", "identity", "policy", "evidence", "activities", "workflows", "workers", "starter", "tests"},
}

func TestFloorsImportOnlyDownwards(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		floor := floorOf(p.ImportPath)
		seen[floor] = true
		allowed, known := below[floor]
		if !known {
			t.Errorf("%s is on no floor of the plan", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if i == module || strings.HasPrefix(i, module+"/") {
				if !slices.Contains(allowed, floorOf(i)) {
					t.Errorf("%s imports %s, which lies above it", p.ImportPath, i)
				}
			}
		}
	}
	for floor := range below {
		if !seen[floor] {
			t.Errorf("the plan names the floor %q, which has no package", floor)
		}
	}
}

func TestTheVocabularyDoesNoIO(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Imports", ".")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Imports []string }
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	for _, forbidden := range []string{"os", "net/http", "database/sql", "os/exec"} {
		if slices.Contains(p.Imports, forbidden) {
			t.Errorf("the vocabulary imports %s", forbidden)
		}
	}
}

// Whoever verifies, and whoever reviews what verifies, is spared the clients of everything that a bundle was made with.
func TestR15_TheVerifierLinksNoClientOfAnything(t *testing.T) {
	for _, target := range []string{"GOOS=linux", "GOOS=js GOARCH=wasm"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./verifier")
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), strings.Fields(target)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(strings.Fields(string(out)), module+"/evidence") {
			t.Fatalf("%s: this is no list of what the verifier links", target)
		}
		for _, p := range strings.Fields(string(out)) {
			for _, heavy := range []string{"go.temporal.io/sdk", "go.temporal.io/api/workflowservice", "google.golang.org/grpc", "github.com/aws/", "github.com/danielgtaylor/", module + "/evidence/replay"} {
				if strings.HasPrefix(p, heavy) {
					t.Errorf("%s: the verifier links %s", target, p)
				}
			}
		}
	}
}

// linked are the modules that the verifier links. Each costs its start time and its reviewer more: what comes is decided here.
var linked = []string{
	"filippo.io/mldsa", "github.com/cedar-policy/cedar-go", "github.com/coreos/go-oidc/v3", module, "github.com/digitorus/pkcs7", "github.com/digitorus/timestamp",
	"github.com/fxamacker/cbor/v2", "github.com/go-jose/go-jose/v4", "github.com/go-json-experiment/json", "github.com/go-viper/mapstructure/v2", "github.com/go-webauthn/webauthn",
	"github.com/go-webauthn/x", "github.com/golang-jwt/jwt/v5", "github.com/google/go-tpm", "github.com/google/uuid", "github.com/gowebpki/jcs", "github.com/philhofer/fwd",
	"github.com/spf13/pflag", "github.com/tinylib/msgp", "github.com/x448/float16", "go.temporal.io/api", "golang.org/x/crypto", "golang.org/x/exp", "golang.org/x/mod",
	"golang.org/x/oauth2", "golang.org/x/sys", "google.golang.org/protobuf", "gopkg.in/yaml.v3",
}

func TestTheVerifierLinksNoModuleMore(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./verifier")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range strings.Fields(string(out)) {
		if !seen[m] && !slices.Contains(linked, m) {
			t.Errorf("the verifier links %s", m)
		}
		seen[m] = true
	}
	for _, m := range linked {
		if !seen[m] {
			t.Errorf("the verifier doesn't link %s any more: take it off the list", m)
		}
	}
}

func TestTheProductDoesNotDependOnTheDevelopmentParts(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./workers", "./starter", "./verifier/...", "./tests/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		for _, heavy := range []string{"go.temporal.io/server", "github.com/versity/", "modernc.org/sqlite", module + "/infra"} {
			if strings.HasPrefix(p, heavy) {
				t.Errorf("the product depends on %s", p)
			}
		}
	}
}

func floorOf(path string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	first, _, _ := strings.Cut(rest, "/")
	return first
}
