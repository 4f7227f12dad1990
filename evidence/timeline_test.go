package evidence

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

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

// What went wrong on the way is told: steps that were tried again, workers that were lost, and messages that reached nobody.
func TestN10_RetriesLostWorkersAndBouncesAreLines(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../tests/golden/histories/v0.1.0/completed.json")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHistoryJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	names := map[int64]string{}
	retried, lost, bounced := int64(0), int64(0), int64(0)
	for _, e := range h.Events {
		switch {
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			names[e.EventId] = e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
		case e.GetActivityTaskStartedEventAttributes() != nil && names[e.GetActivityTaskStartedEventAttributes().ScheduledEventId] == ActivitySign:
			a := e.GetActivityTaskStartedEventAttributes()
			a.Attempt, retried = 3, e.EventId
			a.LastFailure = &failurepb.Failure{Message: "KMS is throttling" + strings.Repeat("!", 500), FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "Throttled"}}}
		case e.GetWorkflowTaskCompletedEventAttributes() != nil && lost == 0:
			lost = e.EventId
			e.EventType = enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT
			e.Attributes = &historypb.HistoryEvent_WorkflowTaskTimedOutEventAttributes{WorkflowTaskTimedOutEventAttributes: &historypb.WorkflowTaskTimedOutEventAttributes{}}
		case e.GetActivityTaskCompletedEventAttributes() != nil && bounced == 0 && names[e.GetActivityTaskCompletedEventAttributes().ScheduledEventId] == ActivityNotify:
			bounced = e.EventId
			p := e.GetActivityTaskCompletedEventAttributes().Result.Payloads[0]
			p.Data = []byte(`[{"recipient":"https://id.acme.example#gone","event":"approval.requested","delivered":false,"attempts":4,"problem":"no such mailbox","at":"2026-11-24T02:27:10Z"}]`)
		}
	}
	c, err := ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	told, err := timeline(h, c, countersign.Completed)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]TimelineLine{}
	for _, l := range told.Lines {
		if _, first := at[l.Kind]; !first {
			at[l.Kind] = l
		}
	}
	if l := at[KindStepRetried]; l.Sequence != retried || l.Attempt != 3 || l.Detail != ActivitySign || l.Code != "Throttled" || !strings.HasPrefix(l.Reason, "KMS is throttling") || len(l.Reason) > 400 {
		t.Errorf("the retry is told as %+v", l)
	}
	if l := at[KindStepFailed]; l.Sequence != lost || l.Code != "timed out" || l.Detail != workflowTask {
		t.Errorf("the lost worker is told as %+v", l)
	}
	if l := at[KindBounced]; l.Sequence != bounced || !slices.Equal(l.To, []string{"https://id.acme.example#gone"}) || !strings.Contains(l.Detail, "no such mailbox") {
		t.Errorf("the bounce is told as %+v", l)
	}
}

// Each line has an id of its own, and says how its actor was authenticated, or that nothing recorded it.
func TestR13_EachLineSaysHowItsActorWasAuthenticated(t *testing.T) {
	t.Parallel()
	told, ids, how := toldHistory(t, "completed"), map[string]bool{}, map[string]string{}
	for _, l := range told.Lines {
		if ids[l.ID] || !strings.HasPrefix(l.ID, fmt.Sprintf("%d.", l.Sequence)) || l.Authentication == "" || (l.Actor == notRecorded) && l.Authentication != notRecorded {
			t.Errorf("a line is %+v", l)
		}
		ids[l.ID], how[l.Kind] = true, l.Authentication
	}
	for kind, want := range map[string]string{KindRequested: ByStart, KindDecisionReceived: ByServer, KindDecisionCounted: ByDecision} {
		if how[kind] != want {
			t.Errorf("%s is by %q, want %q", kind, how[kind], want)
		}
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
