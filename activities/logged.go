package activities

import (
	"fmt"

	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// logged checks that the tenant's log has this signing's intent, before the key is asked. The proof is the one that the append left in the saga's history, which
// the signing step reads anyway: it costs no request, and nothing that the saga would have to pass on. A saga can have anything appended, and by anybody, so the
// proof counts for what it proves alone: under the log's key, that the entry of this tenant, request, run and transaction is in the tree.
//
// There is no exception for what v0.1.0 began, which kept no log: under this build's workflows such a saga appends too, once it gets that far. Only where an
// earlier worker had scheduled the signing step already, and this one runs it, is it refused, and the signing ends as failed.
func (t *Tenant) logged(r record, in evidence.SignInput) *countersign.Refusal {
	if r.proof == nil {
		return countersign.Refuse("not-logged", "the intent to sign is not known to be in the tenant's log: nothing was appended to it before the key was to be asked")
	}
	saga := evidence.Execution{Workflow: in.Context.Signing, Run: in.Context.Run}
	want := evidence.IntentEntry(countersign.Request{Tenant: in.Context.Tenant, ID: in.Request}, saga, in.Digest)
	if err := evidence.VerifyIntended(*r.proof, want, t.roots.Log); err != nil {
		return countersign.Refuse("not-logged", "the intent to sign is not known to be in the tenant's log: %s", err)
	}
	return nil
}

// readAppend keeps what the last append to the log gave before the signing step was scheduled. A verifier of the evidence asks for that order too.
func (r *record) readAppend(e *historypb.HistoryEvent) error {
	if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
		r.asked = r.asked || a.GetActivityId() == r.step
		if a.GetActivityType().GetName() == evidence.ActivityAppendLog {
			r.appends[e.GetEventId()] = true
		}
	}
	a := e.GetActivityTaskCompletedEventAttributes()
	if a == nil || r.asked || !r.appends[a.GetScheduledEventId()] {
		return nil
	}
	r.proof = &translog.Proof{}
	if err := evidence.ReadRunning(a.GetResult(), r.proof); err != nil {
		return fmt.Errorf("what an append to the log gave can't be read: %w", err)
	}
	return nil
}
