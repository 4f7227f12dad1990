package activities

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign/evidence"
)

// running reads the events of a signing that a check of a decision is about.
func running(t *testing.T, input, result, admission string) (record, error) {
	t.Helper()
	payloads := func(text string) *commonpb.Payloads {
		return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(text)}}}
	}
	scheduled := func(id int64, name, input string) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{EventId: id, Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
			ActivityType: &commonpb.ActivityType{Name: name}, Input: payloads(input)}}}
	}
	completed := func(id, of int64, result string) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{EventId: id, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
			ScheduledEventId: of, Result: payloads(result)}}}
	}
	r := newRecord("step")
	for _, e := range []*historypb.HistoryEvent{
		scheduled(1, evidence.ActivityAdmit, `{}`), completed(2, 1, admission), scheduled(3, evidence.ActivityCheckDecision, input), completed(4, 3, result),
	} {
		if err := r.read(e); err != nil {
			return r, err
		}
	}
	return r, nil
}

// While workers are replaced, an older one signs what a newer one admitted: what it doesn't know is no reason to stop. What can be understood in two ways is, but
// for what a stranger sent, which must not keep others from signing.
func TestN08_TheSigningStepReadsARunningHistoryInOneWay(t *testing.T) {
	t.Parallel()
	const input, result, admission = `{"ordinal":1,"signed":{}}`, `{"record":{"digest":"d1"},"stamp":"AQ=="}`, `{"contextDigest":"c1","policyText":"p1"}`
	for name, c := range map[string]struct{ input, result, admission, says string }{
		"as it was written":                     {input, result, admission, ""},
		"a newer build's":                       {`{"ordinal":1,"signed":{},"later":1}`, `{"record":{"digest":"d1","later":{}},"stamp":"AQ=="}`, `{"contextDigest":"c1","policyText":"p1","later":[]}`, ""},
		"one in capitals is another":            {`{"ordinal":1,"signed":{},"ORDINAL":2}`, `{"record":{"digest":"d1"},"stamp":"AQ==","Stamp":"Ag=="}`, `{"contextDigest":"c1","policyText":"p1","ContextDigest":"c2"}`, ""},
		"a stranger sent a member twice":        {`{"ordinal":1,"signed":{"id":1,"id":2}}`, result, admission, ""},
		"a stranger sent no text":               {"{\"ordinal\":1,\"signed\":\"\xff\"}", result, admission, ""},
		"two numbers of the signal":             {`{"ordinal":1,"signed":{},"ordinal":2}`, result, admission, "duplicate"},
		"two time-stamps":                       {input, `{"record":{"digest":"d1"},"stamp":"AQ==","stamp":"Ag=="}`, admission, "duplicate"},
		"two digests of what people approved":   {input, result, `{"contextDigest":"c1","policyText":"p1","contextDigest":"c2"}`, "duplicate"},
		"two admissions in place of one result": {input, result, `{"contextDigest":"c1","policyText":"p1"}{}`, "after top-level value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := running(t, c.input, c.result, c.admission)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("it is read with %v, want %q", err, c.says)
				}
				return
			}
			if err != nil || r.admitted != "c1" || r.policy != "p1" || r.checks[3] != 1 || string(r.stamps["d1"]) != "\x01" {
				t.Errorf("it is read as %+v, %v", r, err)
			}
		})
	}
}
