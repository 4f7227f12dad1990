// In a browser the verifier is two functions, and the page calls them.
package main

import (
	"bytes"
	"encoding/json"
	"syscall/js"

	"github.com/countersign-dev/countersign/evidence"
)

// answer is what the page is given. Report is, byte for byte, what the command writes with --json.
type answer struct {
	Error    string             `json:"error,omitempty"`
	Report   string             `json:"report,omitempty"`
	Timeline *evidence.Timeline `json:"timeline,omitempty"` // only of what holds: nothing is told of a forgery
}

func main() {
	js.Global().Set("countersignChecks", js.FuncOf(func(js.Value, []js.Value) any { return text(evidence.NamedChecks()) }))
	js.Global().Set("countersignVerify", js.FuncOf(func(_ js.Value, args []js.Value) any { return text(verify(args)) }))
	select {} // the page may ask again
}

// verify takes a file's name and bytes, and the anchors as text: tenant roots, time-stamping roots, log key, lock record, post-quantum keys, proof of the ending.
func verify(args []js.Value) answer {
	raw := make([]byte, args[1].Get("length").Int())
	js.CopyBytesToGo(raw, args[1])
	a := evidence.Anchors{TenantCA: []byte(args[2].String()), TSACA: []byte(args[3].String()), LogKey: args[4].String(), Lock: []byte(args[5].String()), PostQuantum: []byte(args[6].String()), LogProof: []byte(args[7].String())}
	roots, err := a.Roots()
	if err != nil {
		return answer{Error: err.Error()}
	}
	verdict := evidence.Judge(args[0].String(), raw, roots)
	var report bytes.Buffer
	if err := json.NewEncoder(&report).Encode(verdict); err != nil {
		return answer{Error: err.Error()}
	}
	out := answer{Report: report.String()}
	if verdict.Verified {
		if out.Timeline, err = evidence.ReadTimeline(raw); err != nil {
			return answer{Error: err.Error()}
		}
	}
	return out
}

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return `{"error":"couldn't write the answer"}`
	}
	return string(out)
}
