// Package controls says which control is enforced by what, which requirements demand it, which tests prove it, and how they ended when they
// last ran. The tests are found in the source by their names, not listed by hand.
package controls

//go:generate go test . -run TestTheGeneratedFilesAreFresh -update

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Control is one control of a framework, and what enforces it.
type Control struct {
	Framework string   `json:"framework"`
	ID        string   `json:"id"`
	Demands   string   `json:"demands"`
	Enforced  string   `json:"enforcedBy"`
	Where     []string `json:"where"` // files of this source
}

// Requirement is one thing that the product must do, and the controls that it serves.
type Requirement struct {
	ID       string   `json:"id"`
	Says     string   `json:"says"`
	Controls []string `json:"-"`
}

// Test proves requirements: its name begins with their ids.
type Test struct {
	Package string `json:"package"` // import path
	Name    string `json:"test"`
}

var named = regexp.MustCompile(`^Test((?:[RMN][0-9]+_)+)`)

// Proves are the ids of the requirements that the test proves, as they are written elsewhere: R3, not R03. It is empty for other tests.
func (t Test) Proves() (ids []string) {
	m := named.FindStringSubmatch(t.Name)
	if m == nil {
		return nil
	}
	for _, id := range strings.Split(strings.TrimSuffix(m[1], "_"), "_") {
		n, err := strconv.Atoi(id[1:])
		if err != nil {
			return nil
		}
		ids = append(ids, fmt.Sprint(id[:1], n))
	}
	return ids
}

//go:embed tests.json
var list []byte

// Tests are those of the source that this command was built from.
func Tests() ([]Test, error) {
	var tests []Test
	if err := json.Unmarshal(list, &tests); err != nil {
		return nil, fmt.Errorf("couldn't read the list of tests: %w", err)
	}
	return tests, nil
}

// How a control stands.
const (
	Passed     = "passed"      // every test of it, and each of its requirements has one
	Failed     = "failed"      // at least one test
	Incomplete = "incomplete"  // no test failed, but not all passed, or a requirement has none
	NotRun     = "not run"     // no result is known of any
	NoTest     = "no test"     // there is none
	Skipped    = "skipped"     // of one test
	Unfinished = "did not end" // of one test: it began, and nothing tells how it ended
)

// Proof is a requirement with the tests that prove it.
type Proof struct {
	Requirement
	Tests []Ran `json:"tests"`
}

// Ran is a test with how it ended when it last ran.
type Ran struct {
	Test
	Outcome
}

// Row is a control with everything that is known of it.
type Row struct {
	Control
	Result string  `json:"result"`
	Proofs []Proof `json:"requirements"`
}

// Table joins controls, requirements, tests and results. A test that no result tells of is not run.
func Table(tests []Test, results Results) []Row {
	rows := make([]Row, 0, len(catalogue))
	for _, c := range catalogue {
		row := Row{Control: c, Proofs: []Proof{}}
		for _, r := range requirements {
			if !slices.Contains(r.Controls, c.ID) {
				continue
			}
			p := Proof{Requirement: r, Tests: []Ran{}}
			for _, t := range tests {
				if slices.Contains(t.Proves(), r.ID) {
					p.Tests = append(p.Tests, Ran{t, results.of(t)})
				}
			}
			row.Proofs = append(row.Proofs, p)
		}
		row.Result = row.result()
		rows = append(rows, row)
	}
	return rows
}

// result sums up the tests of a control.
func (r Row) result() string {
	n := r.Count()
	total := 0
	for _, c := range n {
		total += c
	}
	switch {
	case total == 0:
		return NoTest
	case n[Failed]+n[Unfinished] > 0:
		return Failed
	case n[NotRun] == total:
		return NotRun
	case n[Passed] < total || len(r.unproven()) > 0:
		return Incomplete
	}
	return Passed
}

// unproven are the requirements of a control that no test proves.
func (r Row) unproven() (ids []string) {
	for _, p := range r.Proofs {
		if len(p.Tests) == 0 {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Count counts the tests of a control by how they ended. One that proves two requirements counts once.
func (r Row) Count() map[string]int {
	n, seen := map[string]int{}, map[Test]bool{}
	for _, p := range r.Proofs {
		for _, t := range p.Tests {
			if !seen[t.Test] {
				seen[t.Test] = true
				n[t.Result]++
			}
		}
	}
	return n
}
