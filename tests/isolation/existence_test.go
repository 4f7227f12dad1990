package isolation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/countersign-dev/countersign"
)

// Who is listed in a tenant may signal its signings, and learns by that of none which there are: the server's answer about one that is there and
// may not be seen is that about one that isn't, whatever run is named. Only who was shown the run has another answer.
func TestR10_AListedPersonIsNotToldWhichWorkflowsExist(t *testing.T) {
	w := shared(t)
	someRun := "8c0c6a4e-3c51-4c7e-9d0e-1f8a8e5b7a11"
	for _, c := range []struct {
		who, signal string
		id          func(tenant, request string) string
	}{
		{"nord/remy", countersign.SignalDecide, countersign.SagaID},
		{"acme/alice", countersign.SignalClose, countersign.ReviewID},
		{"acme/alice", countersign.SignalAnswer, countersign.HoldID},
		{"machine:acme/procurement", countersign.SignalWithdraw, countersign.SagaID},
	} {
		for _, run := range []string{"", someRun, "no run"} {
			var answers []string
			// One that waits, one that is over, and two that never were.
			for _, request := range []string{w.open.Request.ID, w.done.Request.ID, "never-was", "never-was-either"} {
				code, text := w.signals(t, c.who, c.id("acme", request), run, c.signal)
				if code == codes.OK {
					t.Errorf("%s signals %s in run %q", c.who, c.id("acme", request), run)
				}
				answers = append(answers, code.String()+" "+strings.ReplaceAll(text, request, "REQUEST"))
			}
			if len(slices.Compact(slices.Clone(answers))) != 1 {
				t.Errorf("%s, %s in run %q: %q", c.who, c.signal, run, answers)
			}
		}
	}
	// With the run, which is shown to who may see the signing, a signal arrives.
	if code, text := w.signals(t, "nord/remy", w.status.Saga.Workflow, w.status.Saga.Run, countersign.SignalDecide); code != codes.OK {
		t.Errorf("with its run, the signal is answered %s: %s", code, text)
	}
}

// signals sends a signal that says nothing, as somebody.
func (w *world) signals(t *testing.T, who, workflow, run, name string) (codes.Code, string) {
	t.Helper()
	token, err := w.token(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	_, err = workflowservice.NewWorkflowServiceClient(w.conn).SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: "acme", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: workflow, RunId: run}, SignalName: name, RequestId: time.Now().String(),
	})
	return status.Code(err), status.Convert(err).Proto().String()
}
