package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/evidence"
)

// TestM5_ReplayByTheCommandLineFindsEachForgedPayload gives the command a released bundle, and then copies of it in which one payload of the history is
// another one, as a bundle and as JSON.
func TestM5_ReplayByTheCommandLineFindsEachForgedPayload(t *testing.T) {
	clean(t)
	bundles, err := filepath.Glob("../tests/golden/histories/*/completed.asice")
	if err != nil || len(bundles) == 0 {
		t.Fatalf("there is no released bundle: %v", err)
	}
	name := bundles[len(bundles)-1]
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := evidence.OpenBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	pb, _ := bundle.File("history.pb")
	history, err := evidence.ParseHistory(pb)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		payload  func(*historypb.HistoryEvent) *commonpb.Payloads
		from, to string
		exit     int
	}{
		{"nothing", nil, "", "", exitOK},
		{"a signal's payload", func(e *historypb.HistoryEvent) *commonpb.Payloads {
			return e.GetWorkflowExecutionSignaledEventAttributes().GetInput()
		}, `"reason":""`, `"reason":"!"`, exitUnproven},
		{"an activity's input", func(e *historypb.HistoryEvent) *commonpb.Payloads {
			return e.GetActivityTaskScheduledEventAttributes().GetInput()
		}, `"quorum":1`, `"quorum":2`, exitUnproven},
		{"an activity's result", func(e *historypb.HistoryEvent) *commonpb.Payloads {
			return e.GetActivityTaskCompletedEventAttributes().GetResult()
		}, `"delivered":true`, `"delivered":false`, exitUnproven},
		{"the outcome", func(e *historypb.HistoryEvent) *commonpb.Payloads {
			return e.GetWorkflowExecutionCompletedEventAttributes().GetResult()
		}, `"outcome":"completed"`, `"outcome":"rejected"`, exitUnproven},
	} {
		forged := proto.Clone(history).(*historypb.History)
		if c.payload != nil && !forge(forged, c.payload, c.from, c.to) {
			t.Fatalf("the history has no %s with %q", c.name, c.from)
		}
		for kind, body := range map[string][]byte{"bundle": rebuilt(t, bundle, forged), "json": historyJSON(t, forged)} {
			file := filepath.Join(t.TempDir(), kind)
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			exit, out, told := run(t, "", "audit", "replay", file)
			if exit != c.exit || (exit == exitOK) != strings.Contains(out, "the code does exactly what the history says") || (exit != exitOK) != strings.Contains(told, "not replay") {
				t.Errorf("%s changed, as %s: exit code %d, want %d: %s%s", c.name, kind, exit, c.exit, out, told)
			}
		}
	}
}

// forge changes the first payload of the kind that has the text.
func forge(h *historypb.History, payload func(*historypb.HistoryEvent) *commonpb.Payloads, from, to string) bool {
	for _, e := range h.Events {
		for _, p := range payload(e).GetPayloads() {
			if bytes.Contains(p.Data, []byte(from)) {
				p.Data = bytes.Replace(p.Data, []byte(from), []byte(to), 1)
				return true
			}
		}
	}
	return false
}

func historyJSON(t *testing.T, h *historypb.History) []byte {
	t.Helper()
	body, err := evidence.HistoryJSON(h)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// rebuilt is the bundle with another history, in good order but for its seal: replay looks at the history alone.
func rebuilt(t *testing.T, b *evidence.Bundle, h *historypb.History) []byte {
	t.Helper()
	pb, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	files := b.Files()
	for i := range files {
		if files[i].Name == "history.pb" {
			files[i].Bytes = pb
		}
	}
	manifest, err := evidence.Manifest(files)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := evidence.WriteBundle(&raw, files, manifest, b.SignatureBytes()); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}
