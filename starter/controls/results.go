package controls

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Outcome is how a test ended, and when.
type Outcome struct {
	Result string     `json:"result"`
	At     *time.Time `json:"at,omitempty"`
}

// Results are the last outcomes of tests.
type Results map[Test]Outcome

func (r Results) of(t Test) Outcome {
	if o, ok := r[t]; ok {
		return o
	}
	return Outcome{Result: NotRun}
}

// maxLine bounds one line of a test's output.
const maxLine = 16 << 20

// Read adds what `go test -json` wrote (go doc cmd/test2json). Where a test ran more than once, its latest outcome stays.
func (r Results) Read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e struct {
			Time                  time.Time
			Action, Package, Test string
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("line %d was not written by go test -json: %w", n, err)
		}
		t := Test{e.Package, e.Test}
		if result, ok := outcomes[e.Action]; ok && e.Test != "" && !r.newer(t, e.Time) {
			r[t] = Outcome{result, &e.Time}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("couldn't read line %d: %w", n+1, err)
	}
	return nil
}

var outcomes = map[string]string{"run": Unfinished, "pass": Passed, "fail": Failed, "skip": Skipped}

func (r Results) newer(t Test, than time.Time) bool {
	known, ok := r[t]
	return ok && known.At != nil && known.At.After(than)
}
