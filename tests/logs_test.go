package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/tests/stack"
)

// TestM6_LogsNameTenantAndSigningInTheSameWords follows one signing through the logs of both processes: whoever looks for it in the one finds it in the other.
func TestM6_LogsNameTenantAndSigningInTheSameWords(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
	if status := call(t, "acme/alice", "GET", "/v1/acme/signings/"+g.Request.ID, nil, nil, nil); status != http.StatusOK {
		t.Fatalf("the API answered %d", status)
	}
	saga := countersign.SagaID("acme", g.Request.ID)

	signed := lines(t, workers, saga, "signed")
	if len(signed) != 1 || signed[0]["tenant"] != "acme" || signed[0]["activity"] != "Sign" || signed[0]["attempt"] != 1.0 || signed[0]["process"] != "workers" {
		t.Errorf("the workers logged %v, want one line of acme's first attempt to sign", signed)
	}
	served := lines(t, server, saga, "served")
	if len(served) != 1 || served[0]["tenant"] != "acme" || served[0]["actor"] != local.Actor("acme/alice").String() || served[0]["status"] != 200.0 || served[0]["process"] != "starter" {
		t.Errorf("the API logged %v, want one line of alice's question", served)
	}

	// The start of a signing names it in the body alone.
	r := request(t, "acme", "supplier-contract")
	r.ID = "logged-start"
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if status := call(t, "machine:acme/procurement", "POST", "/v1/acme/signings", nil, body, nil); status != http.StatusCreated {
		t.Fatalf("the API answered %d", status)
	}
	if started := lines(t, server, countersign.SagaID("acme", r.ID), "served"); len(started) != 1 || started[0]["method"] != "POST" {
		t.Errorf("the API logged the start as %v", started)
	}
}

// lines are the lines about a signing with the given message that a process has logged, once there is one: a line may follow its answer. Each line is
// one JSON object.
func lines(t *testing.T, p *stack.Process, signing, message string) []map[string]any {
	t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var found []map[string]any
		log := p.Log()
		for _, line := range strings.Split(log[:strings.LastIndex(log, "\n")+1], "\n") {
			if line == "" {
				continue
			}
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatalf("a line is no JSON: %v: %s", err, line)
			}
			if fields["signing"] == signing && fields["message"] == message {
				found = append(found, fields)
			}
		}
		if len(found) > 0 {
			return found
		}
		select {
		case <-late:
			return nil
		case <-tick.C:
		}
	}
}
