package evidence

import (
	"crypto/elliptic"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
)

// goldenHistory is a history of a released version.
func goldenHistory(t testing.TB, name string) *historypb.History {
	t.Helper()
	raw, err := os.ReadFile("../tests/golden/histories/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHistoryJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// rejectedFiles are the files of a bundle of a signing that was rejected, for this key.
func rejectedFiles(t testing.TB, w *world) []File {
	t.Helper()
	h := goldenHistory(t, "v0.1.0/rejected")
	c, err := ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Assemble(Material{
		Case: c, History: h, Seal: SealInput{Outcome: countersign.Rejected, Detail: c.Result.Detail},
		Key: KeyFacts{ARN: "arn:aws:kms:eu-central-1:000000000000:key/test", Algorithm: "ECDSA_SHA_256", Certificate: w.leaf.cert},
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// verifyForged seals files in good order, with the tenant's own key, and verifies them.
func verifyForged(t testing.TB, w *world, files []File) error {
	t.Helper()
	raw, err := sealed(t.Context(), files, w.signer, w.tsa, sealedAt, w.roots)
	if err != nil {
		t.Fatal(err)
	}
	return Verify(raw, w.roots).Err()
}

// withHistory puts another history, and its twin, into the place of a bundle's own.
func withHistory(t testing.TB, files []File, h *historypb.History) []File {
	t.Helper()
	files = slices.Clone(files)
	pb, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := HistoryJSON(h)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		switch f.Name {
		case historyFile:
			files[i].Bytes = pb
		case historyJSONFile:
			files[i].Bytes = twin
		}
	}
	return files
}

// Whoever has the tenant's key can seal a history that begins twice, or goes on after its end. Of two readers, one would take the first of what is there twice and
// the other the last.
func TestR13_AHistoryHasOneBeginningAndOneEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, elliptic.P256())
	files := rejectedFiles(t, w)
	whole := goldenHistory(t, "v0.1.0/rejected")
	if err := verifyForged(t, w, withHistory(t, files, whole)); err != nil {
		t.Fatalf("the true history: %v", err)
	}
	last := len(whole.Events) - 1
	for name, c := range map[string]struct {
		change func(h *historypb.History)
		says   string
	}{
		"a second start": {func(h *historypb.History) { h.Events[1] = proto.Clone(h.Events[0]).(*historypb.HistoryEvent) }, "no other"},
		"a start that comes second": {func(h *historypb.History) {
			h.Events[0], h.Events[1] = h.Events[1], h.Events[0]
		}, "no other"},
		"an event after the end": {func(h *historypb.History) {
			h.Events = append(h.Events, proto.Clone(h.Events[last-1]).(*historypb.HistoryEvent))
		}, "after it was closed"},
		"a second end": {func(h *historypb.History) {
			h.Events = append(h.Events, proto.Clone(h.Events[last]).(*historypb.HistoryEvent))
		}, "after it was closed"},
		"an end before its end": {func(h *historypb.History) {
			h.Events[last-1] = proto.Clone(h.Events[last]).(*historypb.HistoryEvent)
		}, "after it was closed"},
		"no end": {func(h *historypb.History) { h.Events = h.Events[:last] }, "doesn't close it"},
		"an end that goes on elsewhere": {func(h *historypb.History) {
			h.Events[last] = &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW}
		}, "in another run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := proto.Clone(whole).(*historypb.History)
			c.change(h)
			for i, e := range h.Events {
				e.EventId = int64(i) + 1
			}
			err := verifyForged(t, w, withHistory(t, files, h))
			if err == nil || !strings.Contains(err.Error(), "history: ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it is found as %v, want %q", err, c.says)
			}
		})
	}
	gap := proto.Clone(whole).(*historypb.History)
	gap.Events = slices.Delete(gap.Events, last-1, last)
	if err := verifyForged(t, w, withHistory(t, files, gap)); err == nil || !strings.Contains(err.Error(), "stands at place") {
		t.Errorf("a gap is found as %v", err)
	}
}
