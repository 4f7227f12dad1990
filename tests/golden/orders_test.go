package golden

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

// Orders of compliance wait for days, so one that an earlier version took is answered and carried out by a later one: each history replays, and so does each
// part of it that a later worker may have to go on from.
func TestM5_N11_OrdersOfEveryReleasedVersionReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("histories/*/orders/*.json")
	if err != nil || len(files) < 7 {
		t.Fatalf("there are %d histories of orders: %v", len(files), err)
	}
	quiet := log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(filepath.Dir(file)))+"/"+filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h, err := evidence.ParseHistoryJSON(raw)
			if err != nil {
				t.Fatal(err)
			}
			started := h.Events[0].GetWorkflowExecutionStartedEventAttributes()
			as := worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId()}}
			parts := 0
			for i, e := range h.Events {
				// A history is cut where a workflow task ended: there another worker may take it over.
				if last := i == len(h.Events)-1; e.GetWorkflowTaskCompletedEventAttributes() == nil && !last {
					continue
				}
				end := i + 1
				for end < len(h.Events) && h.Events[end].GetWorkflowTaskScheduledEventAttributes() == nil {
					end++ // with what the task led to
				}
				r := worker.NewWorkflowReplayer()
				workflows.Register(r)
				if err := r.ReplayWorkflowHistoryWithOptions(quiet, &historypb.History{Events: h.Events[:end]}, as); err != nil {
					t.Errorf("its first %d events don't replay any more: %v", end, err)
				}
				parts++
			}
			if parts < 2 {
				t.Errorf("it was replayed in %d parts", parts)
			}
		})
	}
}
