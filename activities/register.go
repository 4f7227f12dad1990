package activities

import (
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"github.com/countersign-dev/countersign/evidence"
)

// Register puts the ordinary activities on a worker of the signing queue.
func (t *Tenant) Register(r worker.ActivityRegistry) {
	for name, f := range map[string]any{
		evidence.ActivityAdmit: t.Admit, evidence.ActivityCheckDecision: t.CheckDecision, evidence.ActivityCheckWithdrawal: t.CheckWithdrawal,
		evidence.ActivityIntend: t.Intend, evidence.ActivityWithhold: t.Withhold, evidence.ActivityNotify: t.Notify, evidence.ActivityLock: t.Lock,
		evidence.ActivityAdmitGrant: t.AdmitGrant, evidence.ActivityCheckGrantSignal: t.CheckGrantSignal,
		evidence.ActivityAdmitKey: t.AdmitKey, evidence.ActivityCheckRetirement: t.CheckRetirement,
		evidence.ActivityAdmitShredding: t.AdmitShredding, evidence.ActivityCheckShreddingAnswer: t.CheckShreddingAnswer, evidence.ActivityShred: t.Shred,
		evidence.ActivityCheckReview: t.CheckReview, evidence.ActivityAppendLog: t.AppendLog,
		evidence.ActivityAdmitOrder: t.AdmitOrder, evidence.ActivityCheckOrderAnswer: t.CheckOrderAnswer, evidence.ActivityCarryOut: t.CarryOut,
		evidence.ActivityFindDead: t.FindDead, evidence.ActivityAwaitSaga: t.AwaitSaga, evidence.ActivityFindUnfinished: t.FindUnfinished, evidence.ActivityCheckEvidence: t.CheckEvidence, evidence.ActivityFindEarlier: t.FindEarlier,
		evidence.ActivityAdmitReindex: t.AdmitReindex, evidence.ActivityReindexPage: t.ReindexPage,
		evidence.ActivityAdmitRenewal: t.AdmitRenewal, evidence.ActivityRenewPage: t.RenewPage,
	} {
		r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
}

// RegisterKeys puts the activities that ask KMS on a worker of the queue for keys.
func (t *Tenant) RegisterKeys(r worker.ActivityRegistry) {
	r.RegisterActivityWithOptions(t.Sign, activity.RegisterOptions{Name: evidence.ActivitySign})
	r.RegisterActivityWithOptions(t.AppendLog, activity.RegisterOptions{Name: evidence.ActivityAppendLog}) // asked for here by workflows of earlier builds
	r.RegisterActivityWithOptions(t.Seal, activity.RegisterOptions{Name: evidence.ActivitySeal})
}
