package evidence

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
)

// toldHistory is the timeline of a released history.
func toldHistory(t *testing.T, ending string) *Timeline {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../tests/golden/histories/v0.1.0", ending+".json"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHistoryJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	told, err := timeline(h, c, countersign.Outcome(ending))
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// Each ending says by its lines how it came about.
func TestR13_EachEndingIsToldByItsLines(t *testing.T) {
	t.Parallel()
	const every = KindRequested + ", " + KindEnded
	for ending, kinds := range map[string]string{
		"completed":  KindAdmitted + ", " + KindAsked + ", " + KindTold + ", " + KindDecisionReceived + ", " + KindDecisionCounted + ", " + KindIntentLocked + ", " + KindSigned,
		"rejected":   KindAdmitted + ", " + KindDecisionCounted,
		"expired":    KindAdmitted + ", " + KindAsked,
		"withdrawn":  KindWithdrawalReceived + ", " + KindWithdrawn,
		"refused":    KindRefusedAtIntake,
		"terminated": KindAdmitted + ", " + KindAsked,
		"voided":     KindIntentLocked + ", " + KindSigned,
		"failed":     KindIntentLocked,
	} {
		told := toldHistory(t, ending)
		var all []string
		for _, l := range told.Lines {
			all = append(all, l.Kind)
		}
		for _, kind := range strings.Split(every+", "+kinds, ", ") {
			if !slices.Contains(all, kind) {
				t.Errorf("%s: no line is %q, of %v", ending, kind, all)
			}
		}
		if signed := ending == "completed" || ending == "voided"; slices.Contains(all, KindSigned) != signed {
			t.Errorf("%s: signed is told wrongly: %v", ending, all)
		}
		if last := told.Lines[len(told.Lines)-1]; last.Kind != KindEnded || ending == "terminated" && (last.Detail != "terminated" || last.Actor == notRecorded) {
			t.Errorf("%s: the last line is %+v", ending, last)
		}
	}
}

// What the history doesn't hold is said to be so, and every line has its time, its actor and its document.
func TestR13_WhatIsNotRecordedIsNeverMadeUp(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{"completed", "rejected", "terminated", "refused", "withdrawn"} {
		told := toldHistory(t, ending)
		last := int64(0)
		for _, l := range told.Lines {
			if l.IP != notRecorded || l.UserAgent != notRecorded || l.Actor == "" || len(l.At) != len("2026-11-24T02:27:10.350Z") || l.Document != told.Document.SHA256 || l.Sequence < last {
				t.Errorf("%s: %+v", ending, l)
			}
			last = l.Sequence
			counted := l.Kind == KindDecisionCounted
			if counted && (l.Proof == nil || l.Proof.Assurance < 1 || l.Proof.IssuerKey == notRecorded || len(l.Policies) == 0 || l.Set != told.Policy || l.Name == "") {
				t.Errorf("%s: a decision counted by %+v", ending, l)
			}
		}
	}
	if told := toldHistory(t, "refused"); told.Exposure != nil || told.Context != "" {
		t.Errorf("what was not admitted exposed nobody: %+v", told.Exposure)
	}
}

// A decision that did not count is told as what its sender tried, whomever it names.
func TestR06_ARefusedDecisionIsTheSendersDoing(t *testing.T) {
	t.Parallel()
	told := toldHistory(t, "completed")
	issuer := told.Exposure.Could[0].Actor.Issuer
	e := *told.Exposure
	attempt := Did{Sequence: 99, By: Named{Actor: countersign.Actor{Issuer: "https://elsewhere.example", Subject: "mallory"}}, Verdict: countersign.Approve, Refusal: countersign.Refuse("other-sender", "not theirs")}
	e.Did = append(slices.Clone(e.Did), attempt)
	mine, concerned := e.Of("https://elsewhere.example")
	if !concerned || len(mine.Could) != 0 || len(mine.Did) != 1 || mine.Did[0].Sequence != 99 {
		t.Errorf("of the sender's issuer are told %+v", mine)
	}
	mine, _ = e.Of(issuer)
	if slices.ContainsFunc(mine.Did, func(d Did) bool { return d.Sequence == 99 }) {
		t.Errorf("it is told as somebody else's: %+v", mine.Did)
	}
	raw, err := json.Marshal(mine)
	if err != nil || strings.Contains(string(raw), "mallory") {
		t.Errorf("it tells of others: %v: %s", err, raw)
	}
}

// FuzzTimeline feeds foreign bytes to what tells a history: it may refuse, and must not panic. The API reads bundles in goroutines of its own.
func FuzzTimeline(f *testing.F) {
	files, err := filepath.Glob("../tests/golden/histories/*/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("there are no histories: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		h, err := ParseHistoryJSON(raw)
		if err != nil {
			f.Fatal(err)
		}
		pb, err := proto.Marshal(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pb)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := ParseHistory(raw)
		if err != nil {
			return
		}
		c, err := ReadHistory(h)
		if err != nil {
			return
		}
		if told, err := timeline(h, c, countersign.Failed); err == nil && len(told.Lines) == 0 {
			t.Error("a closed history tells nothing")
		}
	})
}
