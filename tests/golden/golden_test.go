// Package golden replays histories that released code has written. A change of the workflows that can't replay one of them would break
// signings in flight, and the evidence of finished ones.
package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/replay"
	"github.com/countersign-dev/countersign/workflows"
)

// endings are the histories that every released version leaves here: <version>/<ending>.json.
var endings = []countersign.Outcome{
	countersign.Completed, countersign.Rejected, countersign.Withdrawn, countersign.Expired, countersign.Refused, countersign.Terminated, countersign.Failed,
	countersign.Voided,
}

func TestM5_HistoriesOfEveryReleasedVersionReplay(t *testing.T) {
	t.Parallel()
	versions, err := os.ReadDir("histories")
	if err != nil || len(versions) == 0 {
		t.Fatalf("there are no histories: %v", err)
	}
	for _, version := range versions {
		for _, ending := range endings {
			t.Run(version.Name()+"/"+string(ending), func(t *testing.T) {
				t.Parallel()
				raw, err := os.ReadFile(filepath.Join("histories", version.Name(), string(ending)+".json"))
				if err != nil {
					t.Fatal(err)
				}
				h, err := evidence.ParseHistoryJSON(raw)
				if err != nil {
					t.Fatal(err)
				}
				if err := replay.History(t.Context(), h, workflows.Register); err != nil {
					t.Errorf("it doesn't replay any more: %v", err)
				}
				c, err := evidence.ReadHistory(h)
				if err != nil {
					t.Fatal(err)
				}
				said := ending
				if ending == countersign.Voided {
					said = countersign.Completed // its custodian voided what the saga had completed
				}
				if c.Result == nil && ending != countersign.Terminated || c.Result != nil && c.Result.Outcome != said {
					t.Errorf("it is not the history of a signing that ended %s", ending)
				}
				if strings.Contains(string(raw), "secret") {
					t.Error("it has a secret in it")
				}
			})
		}
	}
}
