package evidence

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// The statement is derived while the twin is compared. A twin that says something else fails the history all the same, and nothing after it is looked at.
func TestR15_AReadableHistoryThatSaysSomethingElseFails(t *testing.T) {
	t.Parallel()
	raw, roots := completedBundle(t)
	for what, change := range map[string]func([]byte) []byte{
		"another value":   func(b []byte) []byte { return bytes.Replace(b, []byte(`"eventId": "2"`), []byte(`"eventId": "3"`), 1) },
		"an event less":   func([]byte) []byte { return []byte(`{"events": []}`) },
		"no JSON":         func([]byte) []byte { return []byte(`{`) },
		"a field unknown": func(b []byte) []byte { return bytes.Replace(b, []byte(`{`), []byte(`{"more": 1,`), 1) },
	} {
		b, err := OpenBundle(raw)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(b.files, func(f File) bool { return f.Name == historyJSONFile })
		before := b.files[i].Bytes
		if b.files[i].Bytes = change(before); bytes.Equal(b.files[i].Bytes, before) {
			t.Fatalf("%s: nothing was changed", what)
		}
		v := &verifier{b: b, roots: roots, report: &Report{}}
		if v.read() || v.report.Statement != nil || len(v.report.Findings) != 1 || v.report.Err() == nil || !strings.HasPrefix(v.report.Err().Error(), "history: ") {
			t.Errorf("%s: %v", what, v.report.Findings)
		}
	}
}
