package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/starter/controls"
)

func TestControlsSaysHowTheirTestsEnded(t *testing.T) {
	clean(t)
	const test = "TestR08_AGrantEndsAtItsSecond"
	written := filepath.Join(t.TempDir(), "results.json")
	body := `{"Time":"2026-11-25T05:00:02Z","Action":"pass","Package":"github.com/countersign-dev/countersign/tests","Test":"` + test + `"}` + "\n"
	if err := os.WriteFile(written, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	exit, out, errout := run(t, "", "controls")
	if exit != exitOK || !strings.Contains(out, "R8    not run      "+test) {
		t.Errorf("without results: exit code %d, %s\n%s", exit, errout, out)
	}
	exit, out, errout = run(t, "", "controls", "--results", written)
	if exit != exitOK || !strings.Contains(out, "R8    passed       "+test) {
		t.Errorf("with results: exit code %d, %s\n%s", exit, errout, out)
	}
	exit, out, errout = run(t, "", "controls", "--results", written, "--json")
	var table struct{ Controls []controls.Row }
	if err := json.Unmarshal([]byte(out), &table); err != nil || exit != exitOK {
		t.Fatalf("as JSON: exit code %d, %s: %v", exit, errout, err)
	}
	for _, row := range table.Controls {
		if row.Enforced == "" || len(row.Where) == 0 || len(row.Proofs) == 0 {
			t.Errorf("the JSON leaves something out of %s", row.ID)
		}
		if row.ID == "NHI7" && row.Count()[controls.Passed] != 1 {
			t.Errorf("NHI7 is %+v", row)
		}
	}
	for what, file := range map[string]string{"not there": filepath.Join(t.TempDir(), "nothing"), "not of go test -json": "root_test.go"} {
		if exit, _, errout := run(t, "", "controls", "--results", file); exit != exitFailed || !strings.Contains(errout, file) {
			t.Errorf("%s: exit code %d, %s", what, exit, errout)
		}
	}
}
