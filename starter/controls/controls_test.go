package controls

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated files anew")

const (
	root   = "../.."
	module = "github.com/countersign-dev/countersign"
)

// find finds the tests of the source whose names say what they prove.
func find(t *testing.T) []Test {
	t.Helper()
	tests := []Test{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && rel != "." && (rel == "var" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		in := module
		if dir := filepath.ToSlash(filepath.Dir(rel)); dir != "." {
			in += "/" + dir
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				if test := (Test{in, f.Name.Name}); len(test.Proves()) > 0 {
					tests = append(tests, test)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(tests, func(a, b Test) int { return strings.Compare(a.Name+" "+a.Package, b.Name+" "+b.Package) })
	return tests
}

const manual = `# Controls

Which control is enforced by what, and which tests prove it. ` + "`make controls`" + ` runs the tests and prints this table with their results;
` + "`countersign controls --json`" + ` is the same for auditors. Written by ` + "`go generate ./starter/controls`" + `, not by hand.
`

// The list of tests is compiled into the command, and the manual's table is made of it: neither may say what the source doesn't.
func TestTheGeneratedFilesAreFresh(t *testing.T) {
	tests := find(t)
	list, err := json.MarshalIndent(tests, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	table.WriteString(manual)
	if err := writeMarkdown(&table, Table(tests, nil)); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]byte{"tests.json": append(list, '\n'), filepath.Join(root, "docs", "controls.md"): table.Bytes()} {
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the source says (%v); run: go generate ./starter/controls", file, err)
		}
	}
}

func TestNamesSayWhatATestProves(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"TestR03_AGrantIsNotWidened": {"R3"}, "TestM4_Voided": {"M4"}, "TestR25_N8_200Concurrent": {"R25", "N8"}, "TestR25_200Concurrent": {"R25"},
		"TestHelp": nil, "TestR03": nil, "TestRoot_X": nil, "BenchmarkR03_X": nil,
	} {
		if got := (Test{Name: name}).Proves(); !slices.Equal(got, want) {
			t.Errorf("%s proves %v, want %v", name, got, want)
		}
	}
}

// Each control is demanded by a requirement, each requirement serves controls that are there, and what enforces them is there.
func TestTheCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, c := range catalogue {
		if ids[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		ids[c.ID] = true
		if !slices.ContainsFunc(requirements, func(r Requirement) bool { return slices.Contains(r.Controls, c.ID) }) {
			t.Errorf("no requirement serves %s", c.ID)
		}
		if len(c.Where) == 0 || c.Enforced == "" || c.Demands == "" {
			t.Errorf("%s is not described", c.ID)
		}
		for _, file := range c.Where {
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s is enforced by a file that isn't there: %v", c.ID, err)
			}
		}
	}
	for _, r := range requirements {
		for _, id := range r.Controls {
			if !ids[id] {
				t.Errorf("%s serves %s, which is not in the catalogue", r.ID, id)
			}
		}
	}
}

// What the evidence calls a control is one of the table's.
func TestTheEvidencesControlsAreInTheCatalogue(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "evidence", "statement.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok || len(literal.Elts) != 3 {
			return true
		}
		if name, ok := literal.Elts[1].(*ast.BasicLit); ok && name.Kind == token.STRING {
			found++
			id := strings.Trim(name.Value, `"`)
			if !slices.ContainsFunc(catalogue, func(c Control) bool { return c.ID == id }) {
				t.Errorf("the evidence names the control %s, which is not in the catalogue", id)
			}
		}
		return true
	})
	if found < 8 {
		t.Errorf("%d controls were found in the evidence's statement", found)
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	grants, revoked, hung, other := Test{"p", "TestR03_A"}, Test{"p", "TestR14_B"}, Test{"p", "TestR10_C"}, Test{"q", "TestR03_A"}
	results := Results{}
	for _, written := range []string{
		`{"Time":"2026-11-25T05:00:00Z","Action":"start","Package":"p"}
{"Time":"2026-11-25T05:00:00Z","Action":"run","Package":"p","Test":"TestR03_A"}
{"Time":"2026-11-25T05:00:01Z","Action":"output","Package":"p","Test":"TestR03_A","Output":"x\n"}
{"Time":"2026-11-25T05:00:01Z","Action":"fail","Package":"p","Test":"TestR03_A/sub"}
{"Time":"2026-11-25T05:00:02Z","Action":"fail","Package":"p","Test":"TestR03_A"}
{"Time":"2026-11-25T05:00:02Z","Action":"pass","Package":"p","Test":"TestR14_B"}
{"Time":"2026-11-25T05:00:02Z","Action":"run","Package":"p","Test":"TestR10_C"}
{"Time":"2026-11-25T05:00:03Z","Action":"fail","Package":"p"}
`,
		`{"Time":"2026-11-25T06:00:00Z","Action":"pass","Package":"p","Test":"TestR03_A"}`,
		`{"Time":"2026-11-25T04:00:00Z","Action":"fail","Package":"p","Test":"TestR03_A"}`, // an older run, read last
	} {
		if err := results.Read(strings.NewReader(written)); err != nil {
			t.Fatal(err)
		}
	}
	for test, want := range map[Test]string{grants: Passed, revoked: Passed, hung: Unfinished, other: NotRun} {
		if got := results.of(test).Result; got != want {
			t.Errorf("%v: %q, want %q", test, got, want)
		}
	}
	for id, want := range map[string]string{"NHI7": NoTest, "NHI1": Passed, "PR.AA-01": Incomplete, "NHI5": Incomplete, "NHI8": Failed, "GV.RR-02": NotRun} {
		rows := Table([]Test{grants, revoked, hung, other, {"p", "TestR19_D"}}, results)
		row := rows[slices.IndexFunc(rows, func(r Row) bool { return r.ID == id })]
		if row.Result != want {
			t.Errorf("%s: %q, want %q", id, row.Result, want)
		}
	}
	if err := (Results{}).Read(strings.NewReader("ok  	p	0.1s\n")); err == nil || !strings.Contains(err.Error(), "line 1 was not written by go test -json") {
		t.Errorf("plain output was read as results: %v", err)
	}
}

// Of which requirement there is no test, is said, whichever it is.
func TestARequirementWithoutTestIsSaid(t *testing.T) {
	t.Parallel()
	one := Test{module + "/tests", "TestR23_OneOfTwo"}
	var out bytes.Buffer
	if err := WriteText(&out, Table([]Test{one}, Results{})); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.Contains(text, "R11   no test") || strings.Contains(text, "R23   no test") || !strings.Contains(text, "R23   not run      "+one.Name) {
		t.Errorf("with one test alone it says\n%s", text)
	}
}

// writeMarkdown writes the table without results, for the manual.
func writeMarkdown(w io.Writer, rows []Row) error {
	p := printer{w: w}
	framework := ""
	for _, r := range rows {
		if r.Framework != framework {
			framework = r.Framework
			p.printf("\n## %s\n\n| control | demands | enforced by | requirements and their tests |\n|---|---|---|---|\n", framework)
		}
		var proofs []string
		for _, proof := range r.Proofs {
			names := make([]string, 0, len(proof.Tests))
			for _, t := range proof.Tests {
				names = append(names, "`"+t.Name+"`")
			}
			if len(names) == 0 {
				names = []string{NoTest}
			}
			proofs = append(proofs, "**"+proof.ID+"** "+strings.Join(names, ", "))
		}
		p.printf("| %s | %s | %s (`%s`) | %s |\n", r.ID, r.Demands, r.Enforced, strings.Join(r.Where, "`, `"), strings.Join(proofs, "<br>"))
	}
	return p.err
}
