package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
)

// payloadsRead are the payloads of a history on which evidence stands.
func payloadsRead(h *historypb.History) (read []*commonpb.Payload) {
	inputs := []string{ActivityCheckDecision, ActivityCheckWithdrawal, ActivitySign, ActivityNotify}
	results := []string{ActivityAdmit, ActivityCheckDecision, ActivityCheckWithdrawal, ActivityIntend, ActivityAppendLog, ActivitySign, ActivityNotify}
	of := map[int64]string{}
	for _, e := range h.Events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			of[e.EventId] = a.GetActivityType().GetName()
			if slices.Contains(inputs, of[e.EventId]) {
				read = append(read, a.GetInput().GetPayloads()...)
			}
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && slices.Contains(results, of[a.GetScheduledEventId()]) {
			read = append(read, a.GetResult().GetPayloads()...)
		}
		read = append(read, e.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()...)
		read = append(read, e.GetWorkflowExecutionCompletedEventAttributes().GetResult().GetPayloads()...)
	}
	return read
}

// place is the beginning of an object in a text, behind its brace, with its first member.
type place struct {
	at      int
	pointer string
	name    string
	value   string
}

// objects finds each object of a text that is not empty.
func objects(t *testing.T, raw []byte) (all []place) {
	t.Helper()
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return all
		}
		if token.Kind() != '{' || d.PeekKind() != '"' {
			continue
		}
		at := int(d.InputOffset())
		first := jsontext.NewDecoder(bytes.NewBuffer(raw[at-1:]), jsontext.AllowDuplicateNames(true))
		_, _ = first.ReadToken()
		name, err := first.ReadToken()
		if err != nil {
			t.Fatal(err)
		}
		p := place{at: at, pointer: string(d.StackPointer()), name: name.String()}
		value, err := first.ReadValue()
		if err != nil {
			t.Fatal(err)
		}
		p.value = string(value)
		all = append(all, p)
	}
}

// aSendersOwn says whether a place is within bytes that a sender chose, and opaque whether it is within a key, whose members are its own standard's.
func (p place) aSendersOwn(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte(`{"ordinal":`)) && (within(p.pointer, "/signed") || within(p.pointer, "/withdrawal"))
}

func (p place) opaque() bool { return strings.HasSuffix(p.pointer, "/key") }

func within(pointer, parent string) bool {
	return pointer == parent || strings.HasPrefix(pointer, parent+"/")
}

// Whoever has the tenant's key can write a member twice, or once more in capitals, with another value: Go's own decoder takes the last one, another reader the first.
// Each object of each payload is tried, at every depth. What a sender's signal brought is left as it came: a stranger must not make a history unreadable.
func TestR13_NoPayloadOfAHistoryCanBeUnderstoodInTwoWays(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"v0.1.0/completed", "v0.1.0/withdrawn", "v0.1.0/refused", "v0.2.0/completed", "v0.2.0/rejected"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := goldenHistory(t, name)
			if _, err := ReadHistory(h); err != nil {
				t.Fatalf("the true history: %v", err)
			}
			tried, own := 0, 0
			for _, payload := range payloadsRead(h) {
				was := payload.Data
				for _, p := range objects(t, was) {
					for kind, member := range map[string]string{
						"doubled": fmt.Sprintf("%q:%s,", p.name, p.value), "in capitals": fmt.Sprintf("%q:%s,", strings.ToUpper(p.name), p.value), "unknown": `"zz":{"a":1},`,
					} {
						payload.Data = slices.Concat(was[:p.at], []byte(member), was[p.at:])
						_, err := ReadHistory(h)
						if p.aSendersOwn(was) {
							if own++; err != nil && !strings.Contains(err.Error(), "something else than the signal brought") {
								t.Errorf("%s in a sender's own %s: %v", kind, p.pointer, err)
							}
							continue
						}
						if tried++; err == nil && (kind == "doubled" || !p.opaque()) {
							t.Errorf("a member %s, %s, at %s of %.60s passes", p.name, kind, p.pointer, was)
						}
					}
				}
				payload.Data = was
			}
			if tried < 30 {
				t.Errorf("only %d objects were tried", tried)
			}
			t.Logf("%d tried, %d of a sender's own", tried, own)
		})
	}
}

// What a newer build added is no riddle to whoever reads the message.
func TestR13_AnUnknownMemberIsToldAsANewerBuilds(t *testing.T) {
	t.Parallel()
	payload := &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`{"outcome":"rejected","records":"","later":1}`)}}}
	var out SagaResult
	if err := decode(payload, &out); err == nil || !strings.Contains(err.Error(), "newer build") || !strings.Contains(err.Error(), "/later") {
		t.Errorf("it is told as %v", err)
	}
	if err := ReadRunning(payload, &out); err != nil || out.Outcome != "rejected" {
		t.Errorf("a running signing's: %v, %v", out, err)
	}
	payload.Payloads[0].Data = []byte(`{"outcome":"rejected","OUTCOME":"completed","records":""}`)
	if err := ReadRunning(payload, &out); err != nil || out.Outcome != "rejected" {
		t.Errorf("a member in capitals is taken for the one of a running signing: %v, %v", out, err)
	}
	payload.Payloads[0].Data = []byte(`{"outcome":"rejected","outcome":"completed","records":""}`)
	if err := ReadRunning(payload, &out); err == nil {
		t.Error("a doubled member of a running signing passes")
	}
}

// Bytes that are no text, members that are there twice, and deep nesting are a sender's to choose, and are kept as they are.
func TestR13_ASendersOwnBytesAreKept(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"doubled": `{"id":1,"id":2}`, "no UTF-8": "\"\xff\"", "half a surrogate": `"\ud800"`, "null": `null`, "white space": "{ \"a\" : [ ] }", "nested": strings.Repeat("[", 2000) + strings.Repeat("]", 2000),
	} {
		for member, into := range map[string]quoting{"signed": &CheckInput{}, "withdrawal": &WithdrawInput{}} {
			raw := []byte(`{"ordinal":1,"` + member + `": ` + sent + ` ,"tenant":"acme"}`)
			p := &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: raw}}}
			if err := decode(p, into); err != nil {
				t.Errorf("%s in %s: %v", name, member, err)
			}
			if _, kept := into.quoted(); string(*kept) != sent {
				t.Errorf("%s in %s was kept as %.60q", name, member, *kept)
			}
			for about, forged := range map[string]string{
				"a second one": `{"` + member + `":` + sent + `,"` + member + `":1}`, "one in capitals": `{"` + strings.ToUpper(member) + `":1,"` + member + `":` + sent + `}`,
				"a second of another": `{"ordinal":1,"` + member + `":` + sent + `,"ordinal":2}`, "something behind it": `{"` + member + `":` + sent + `}{}`, "no object": `[]`, "cut": `{"` + member + `":`,
			} {
				p.Payloads[0].Data = []byte(forged)
				if err := decode(p, into); err == nil {
					t.Errorf("%s, %s: %s passes", member, name, about)
				}
			}
		}
	}
}

// What is sent may use up what readers of JSON allow, and is read inside other values: a payload that nobody could pass on would keep its signing from going on.
func TestR05_APayloadThatIsNestedTooDeepIsSetAside(t *testing.T) {
	t.Parallel()
	nested := func(open, end string, levels int) []byte {
		return []byte(strings.Repeat(open, levels) + `"["` + strings.Repeat(end, levels))
	}
	for _, tt := range []struct {
		payload    []byte
		unreadable bool
	}{
		{nested("[", "]", deepest), false},
		{nested("[", "]", deepest+1), true},
		{nested("[", "]", 10_000), true},
		{nested(`{"\"[":`, "}", 3000), false},
		{[]byte(`"` + strings.Repeat(`[`, 20_000) + `"`), false},
		{[]byte(`"` + strings.Repeat(`\"[`, 10_000) + `"`), false},
		{[]byte("[" + strings.TrimSuffix(strings.Repeat("[],", 10_000), ",") + "]"), false},
	} {
		if got := Unreadable(tt.payload); got != tt.unreadable {
			t.Errorf("%.20s… of %d bytes is unreadable: %v, want %v", tt.payload, len(tt.payload), got, tt.unreadable)
		}
		if tt.unreadable {
			continue
		}
		raw, err := json.Marshal(CheckInput{Ordinal: 1, Signed: tt.payload})
		var in CheckInput
		if err == nil {
			err = json.Unmarshal(raw, &in)
		}
		if err == nil {
			_, err = json.Marshal(map[string]any{"decisions": []any{map[string]any{"signed": in.Signed}}})
		}
		if err != nil {
			t.Errorf("%.20s… can't be passed on: %v", tt.payload, err)
		}
	}
}
