package evidence

import (
	"errors"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// DecideQuestion is the question to the policy about one decision: one function for the worker that asks it first and for
// the verifier that asks it again.
func DecideQuestion(in CheckInput, d countersign.Decision, stage countersign.Stage, who policy.Principal, assurance int, now time.Time) policy.Question {
	eligible := make([]countersign.Actor, 0, len(stage.Eligible))
	for _, e := range stage.Eligible {
		eligible = append(eligible, e.Actor)
	}
	return policy.Question{
		Action: policy.Decide, Principal: who, Now: now, Assurance: assurance,
		Resource: policy.Resource{
			Signing: in.Saga.Workflow, Stage: d.Stage, Tenant: in.Tenant, Role: stage.Role, Requester: &in.Requester,
			Eligible: eligible, Decided: in.Decided, Deadline: stage.Deadline, Assurance: 1,
		},
	}
}

// VerifyDecisions checks the proofs of all counted decisions again, with the keys that were archived with them and as of the instants
// when they were first checked, and that each is an approval of exactly this transaction. It returns them for the quorum arithmetic.
func VerifyDecisions(in SignInput, issuers []countersign.Issuer) ([]countersign.Approval, *countersign.Refusal) {
	var approvals []countersign.Approval
	for _, counted := range in.Decisions {
		d := counted.Signed.Decision
		if d.Verdict != countersign.Approve {
			return nil, countersign.Refuse("not-an-approval", "the decision of %s is not an approval", d.Actor)
		}
		if d.Tenant != in.Context.Tenant || d.Signing != in.Context.Signing || d.Run != in.Context.Run || d.Context != in.Digest || d.Document != in.Context.Document || d.Policy != in.Context.Policy {
			return nil, countersign.Refuse("other-signing", "the decision of %s is about another transaction", d.Actor)
		}
		if counted.At.Unix() >= d.ExpiresAt {
			return nil, countersign.Refuse("decision-expired", "the decision of %s had expired when it was checked", d.Actor)
		}
		if _, err := VerifyCounted(counted, issuers); err != nil {
			var refusal *countersign.Refusal
			if errors.As(err, &refusal) {
				return nil, refusal
			}
			return nil, countersign.Refuse("proof-unreadable", "the proof of %s can't be read: %v", d.Actor, err)
		}
		approvals = append(approvals, countersign.Approval{Stage: d.Stage, Actor: d.Actor})
	}
	return approvals, nil
}

// VerifyCounted checks the proof of one decision again, without a network, under the given issuers.
func VerifyCounted(counted CountedDecision, issuers []countersign.Issuer) (identity.Facts, error) {
	d := counted.Signed.Decision
	for _, i := range issuers {
		if i.URL == d.Actor.Issuer {
			return identity.VerifyArchivedProof(d, counted.Signed.Proof, i, counted.Key, counted.At)
		}
	}
	return identity.Facts{}, countersign.Refuse("token-issuer", "the issuer of %s is not among those that the tenant trusted", d.Actor)
}
