package compose

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dockerfile is what the tests need to know of the Dockerfile.
type dockerfile struct {
	stages []string
	bases  []string            // images from elsewhere
	copies map[string][]string // paths of the repository, by stage
	finals map[string]string   // a stage's last USER
	cgoOff bool
}

func readDockerfile(t *testing.T) dockerfile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	d := dockerfile{copies: map[string][]string{}, finals: map[string]string{}}
	arguments := map[string]string{}
	stage := ""
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "ARG":
			name, value, _ := strings.Cut(fields[1], "=")
			arguments["${"+name+"}"] = value
		case "FROM":
			if len(fields) != 4 || fields[2] != "AS" {
				t.Fatalf("a stage has no name: %s", line)
			}
			base := fields[1]
			if value, ok := arguments[base]; ok {
				base = value
			}
			if !slices.Contains(d.stages, base) {
				d.bases = append(d.bases, base)
			}
			stage = fields[3]
			d.stages = append(d.stages, stage)
		case "COPY":
			d.copy(t, stage, fields[1:])
		case "USER":
			d.finals[stage] = fields[1]
		case "ENV":
			d.cgoOff = d.cgoOff || slices.Contains(fields, "CGO_ENABLED=0")
		}
	}
	return d
}

func (d *dockerfile) copy(t *testing.T, stage string, fields []string) {
	t.Helper()
	for len(fields) > 0 && strings.HasPrefix(fields[0], "--") {
		if from, ok := strings.CutPrefix(fields[0], "--from="); ok {
			if !slices.Contains(d.stages, from) {
				t.Errorf("%s copies from the stage %q, which doesn't come before it", stage, from)
			}
			return
		}
		fields = fields[1:]
	}
	d.copies[stage] = append(d.copies[stage], fields[:len(fields)-1]...)
}

func TestEveryCopiedPathExists(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	copied := 0
	for stage, paths := range d.copies {
		for _, path := range paths {
			copied++
			found, err := filepath.Glob(filepath.Join(root, path))
			if err != nil || len(found) == 0 {
				t.Errorf("%s copies %s, which doesn't exist", stage, path)
			}
			if first, _, _ := strings.Cut(path, "/"); first == "." || first == "var" {
				t.Errorf("%s copies %s, and with it an installation's secrets", stage, path)
			}
		}
	}
	if copied == 0 {
		t.Error("nothing is copied")
	}
}

// local is an import of ours in a Go file.
var local = regexp.MustCompile(`(?m)^\s*(?:[\w.]+ )?"github\.com/countersign-dev/countersign(?:/([\w/]+))?"$`)

// A folder that a copied package imports must be copied, too, or the image doesn't build.
func TestEveryImportedPackageIsCopied(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	for stage, paths := range d.copies {
		for _, path := range paths {
			for _, file := range goFiles(t, filepath.Join(root, path)) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, match := range local.FindAllStringSubmatch(string(text), -1) {
					imported := match[1]
					covered := func(path string) bool {
						return imported == "" && path == "*.go" || imported != "" && strings.HasPrefix(imported+"/", path)
					}
					if !slices.ContainsFunc(paths, covered) {
						t.Errorf("%s imports %q, which the stage %s doesn't copy", file, imported, stage)
					}
				}
			}
		}
	}
}

func goFiles(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range found {
		err := filepath.WalkDir(name, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() && entry.Name() == ".git" {
				return filepath.SkipDir
			}
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestFinalImagesRunAsNobodySpecialAndWithoutC(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	if !d.cgoOff {
		t.Error("CGO isn't off; a static image has no C library")
	}
	for _, service := range load(t).Services {
		if service.Build != nil && d.finals[service.Build.Target] != "65532:65532" {
			t.Errorf("the target %s runs as %q", service.Build.Target, d.finals[service.Build.Target])
		}
	}
}

// The parts of the stack have to be of one version: the library of the local stack and
// the gateway's image behave the same.
func TestTheGatewayIsOfTheVersionThatTheLocalStackEmbeds(t *testing.T) {
	t.Parallel()
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`github\.com/versity/versitygw (v[\d.]+)`).FindSubmatch(module)
	if match == nil {
		t.Fatal("go.mod doesn't name the gateway")
	}
	if want := "versity/versitygw:" + string(match[1]); !slices.Contains(readDockerfile(t).bases, want) {
		t.Errorf("the Dockerfile has no base %s", want)
	}
}
