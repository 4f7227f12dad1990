package tests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

func TestN10_AnIntentWithoutAnEndingIsAnAlarmOnce(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL, "mail:\n", "watch:\n  unfinishedAfter: 1ms\nmail:\n")
	store.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/evidence/globex/evidence/")
	})
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	<-store.Hit() // signed, and its evidence can't be locked
	var swept evidence.Swept
	for range 2 {
		ran(t, local, countersign.WorkflowSweep, countersign.SweepID("globex"), "globex", &swept)
	}
	if len(swept.Alarmed) == 0 {
		t.Error("the sweep found no late intent")
	}
	if n := alarms(t, "ALARM: a signing was begun and never ended", g.Request.ID); n != 1 {
		t.Errorf("the owner had %d mails, want one", n)
	}
	hooks := 0
	for _, h := range inMailbox(t, "api/webhooks", g.Request.ID) {
		if strings.Contains(string(h), evidence.EventUnfinished) {
			hooks++
		}
	}
	if hooks != 1 {
		t.Errorf("the webhook had %d events, want one", hooks)
	}
	// Once it has ended, nothing of it is late.
	store.Heal()
	ended(t, g, countersign.Completed)
	var after evidence.Swept
	ran(t, local, countersign.WorkflowSweep, countersign.SweepID("globex"), "globex", &after)
	for _, run := range after.Alarmed {
		status, err := g.Custody(t.Context(), "done")
		if err != nil || run == status.Saga.Run {
			t.Errorf("after its ending it is late still (%v)", err)
		}
	}
}
