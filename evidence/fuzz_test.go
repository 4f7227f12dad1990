package evidence

import (
	"encoding/json"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzParseHistoryJSON feeds foreign bytes to the readable twin's reader: what it reads, it reads again the same after it was written.
func FuzzParseHistoryJSON(f *testing.F) {
	seed, err := os.ReadFile("../tests/golden/histories/v0.1.0/rejected.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"events":[{"eventId":"1","eventType":"EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := ParseHistoryJSON(raw)
		if err != nil {
			return
		}
		written, err := HistoryJSON(h)
		if err != nil {
			return // a payload that is no JSON may have no readable form
		}
		again, err := ParseHistoryJSON(written)
		if err != nil || !proto.Equal(h, again) {
			t.Errorf("%q is written as %q: %v", raw, written, err)
		}
		if c, err := ReadHistory(h); err == nil && c == nil {
			t.Error("a history that is read tells nothing")
		}
	})
}

// FuzzJudge feeds a whole file to the verdict: it must end, say each check once, and hold for nothing but what was sealed.
func FuzzJudge(f *testing.F) {
	raw, roots := goldenBundle(f)
	f.Add(raw)
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, body []byte) {
		v := Judge("fuzzed", body, roots)
		if len(v.Findings) != len(NamedChecks()) || v.Verified {
			t.Errorf("%d findings, verified %v", len(v.Findings), v.Verified)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Error(err)
		}
	})
}

// FuzzAnchors feeds what a person chooses on the page.
func FuzzAnchors(f *testing.F) {
	pem, err := os.ReadFile("testdata/sealed-signers.pem")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem, pem, "countersign/acme+00000000+AAAA", []byte("{}"))
	f.Fuzz(func(t *testing.T, tenant, tsa []byte, logKey string, lock []byte) {
		r, err := Anchors{tenant, tsa, logKey, lock, nil, nil, nil}.Roots()
		if err == nil && (r.Signers == nil || r.TSAs == nil || (r.Log == nil) != (logKey == "") || (r.Lock == nil) != (len(lock) == 0)) {
			t.Errorf("what was given is not used: %+v", r)
		}
	})
}
