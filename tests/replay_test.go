package tests

import (
	"bytes"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/replay"
	"github.com/countersign-dev/countersign/workflows"
)

// TestM5_ReplayFindsEveryForgedPayload replays the exported history of a signing, and then copies with one payload changed. Each of
// them passes Temporal's own replay.
func TestM5_ReplayFindsEveryForgedPayload(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	if err := replay.History(t.Context(), report.History, workflows.Register); err != nil {
		t.Fatalf("the true history doesn't replay: %v", err)
	}

	activity := func(name string, result bool) func(*historypb.HistoryEvent, map[int64]string) *commonpb.Payloads {
		return func(e *historypb.HistoryEvent, names map[int64]string) *commonpb.Payloads {
			if a := e.GetActivityTaskScheduledEventAttributes(); a != nil && !result && a.GetActivityType().GetName() == name {
				return a.GetInput()
			}
			if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && result && names[a.GetScheduledEventId()] == name {
				return a.GetResult()
			}
			return nil
		}
	}
	for _, forgery := range []struct {
		name     string
		payload  func(*historypb.HistoryEvent, map[int64]string) *commonpb.Payloads
		from, to string
	}{
		{"signal payload", func(e *historypb.HistoryEvent, _ map[int64]string) *commonpb.Payloads {
			return e.GetWorkflowExecutionSignaledEventAttributes().GetInput()
		}, `"reason":""`, `"reason":"!"`},
		{"admit input", activity("Admit", false), "Supply", "Supplx"},
		{"admit result", activity("Admit", true), "Acme procurement", "Acme procuremenz"},
		{"check input", activity("CheckDecision", false), `"ordinal":1`, `"ordinal":2`},
		{"check result", activity("CheckDecision", true), `"acr":"`, `"acr":"x`},
		{"intend result", activity("Intend", true), `"v":1`, `"v":2`},
		{"sign input", activity("Sign", false), `"quorum":1`, `"quorum":2`},
		{"sign result", activity("Sign", true), `"requestId":"`, `"requestId":"x`},
		{"notify input", activity("Notify", false), "approval.requested", "approval.requestex"},
		{"notify result", activity("Notify", true), `"delivered":true`, `"delivered":false`},
		{"outcome", func(e *historypb.HistoryEvent, _ map[int64]string) *commonpb.Payloads {
			return e.GetWorkflowExecutionCompletedEventAttributes().GetResult()
		}, `"outcome":"completed"`, `"outcome":"rejected"`},
	} {
		t.Run(strings.ReplaceAll(forgery.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			forged := proto.Clone(report.History).(*historypb.History)
			if !forge(forged, forgery.payload, forgery.from, forgery.to) {
				t.Fatalf("the history has no %q in its %s", forgery.from, forgery.name)
			}
			if err := replay.History(t.Context(), forged, workflows.Register); err == nil {
				t.Error("the forged history replays")
			} else {
				t.Log(err)
			}
		})
	}
}

// forge changes the first payload that has the text.
func forge(h *historypb.History, payload func(*historypb.HistoryEvent, map[int64]string) *commonpb.Payloads, from, to string) bool {
	names := map[int64]string{}
	for _, e := range h.Events {
		if e.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
			names[e.GetEventId()] = e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
		}
		for _, p := range payload(e, names).GetPayloads() {
			if bytes.Contains(p.Data, []byte(from)) {
				p.Data = bytes.Replace(p.Data, []byte(from), []byte(to), 1)
				return true
			}
		}
	}
	return false
}
