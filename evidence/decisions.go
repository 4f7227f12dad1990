package evidence

import (
	"errors"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// DecideQuestion is the question to the policy about one decision: one function for the worker that asks it first and for
// the verifier that asks it again. The authority is nil where the decision is made on a role of the actor's own.
func DecideQuestion(in CheckInput, d countersign.Decision, stage countersign.Stage, who policy.Principal, authority *Authority, assurance int, now time.Time) policy.Question {
	// Who may decide, and on which role, is as of the instant of the decision: escalation adds people, from its own instant on.
	stage = stage.At(now)
	everybody := stage.Everybody()
	eligible := make([]countersign.Actor, 0, len(everybody))
	for _, e := range everybody {
		eligible = append(eligible, e.Actor)
	}
	holder := who.Actor
	if chain := authority.Delegators(); len(chain) > 0 {
		holder = chain[0]
	}
	q := policy.Question{
		Action: policy.Decide, Principal: who, Now: now, Assurance: assurance, Grant: authority.Scope(),
		Resource: policy.Resource{
			Signing: in.Saga.Workflow, Stage: d.Stage, Tenant: in.Tenant, Role: stage.RoleOf(holder), Requester: &in.Requester,
			Eligible: eligible, Decided: in.Decided, Deadline: stage.Deadline, Assurance: max(1, stage.Assurance),
		},
	}
	if d.Verdict == countersign.Skip {
		// Who may break the glass is asked of that, not of the stage: and always with the person's own key.
		q.Action, q.Resource.Role, q.Resource.Eligible, q.Resource.Assurance = policy.BreakGlass, "", []countersign.Actor{}, 2
		if b := in.BreakGlass; b != nil {
			q.Resource.Role = b.Role
			for _, e := range b.Eligible {
				q.Resource.Eligible = append(q.Resource.Eligible, e.Actor)
			}
		}
	}
	if q.Grant != nil {
		_, q.Resource.Request, _ = countersign.ParseSagaID(in.Saga.Workflow)
		q.Resource.Document, q.Resource.Purpose = in.Document.SHA256, in.Purpose
	}
	return q
}

// VerifyDecisions checks the proofs of all counted decisions again, with the keys that were archived with them and as of the instants
// when they were first checked, and that each is an approval of exactly this transaction, and not its requester's. It returns them for the quorum arithmetic.
func VerifyDecisions(in SignInput, issuers []countersign.Issuer) ([]countersign.Approval, *countersign.Refusal) {
	return verifyDecisions(in, func(c CountedDecision) error {
		_, err := VerifyCounted(c, issuers)
		return err
	})
}

func verifyDecisions(in SignInput, proof func(CountedDecision) error) ([]countersign.Approval, *countersign.Refusal) {
	var approvals []countersign.Approval
	for _, counted := range in.Decisions {
		d := counted.Signed.Decision
		if err := d.Check(); err != nil {
			return nil, countersign.Refuse("malformed", "the decision of %s is malformed: %s", d.Actor, err)
		}
		if d.Verdict != countersign.Approve && (d.Verdict != countersign.Skip || in.Plan.BreakGlass == nil) {
			return nil, countersign.Refuse("not-an-approval", "the decision of %s is not an approval", d.Actor)
		}
		if d.Tenant != in.Context.Tenant || d.Signing != in.Context.Signing || d.Run != in.Context.Run || d.Context != in.Digest || d.Document != in.Context.Document || d.Policy != in.Context.Policy {
			return nil, countersign.Refuse("other-signing", "the decision of %s is about another transaction", d.Actor)
		}
		if requester := in.Context.Requester; d.Actor == requester || slices.Contains(counted.Authority.Delegators(), requester) {
			return nil, countersign.Refuse("requester-is-not-approver", "%s requested the signing, and can't approve it, in person or through somebody else", requester)
		}
		if refusal := counted.late(); refusal != nil {
			return nil, refusal
		}
		stage, ok := in.Plan.Stage(d.Stage)
		if refusal := counted.Authority.covers(in, stage); refusal != nil {
			return nil, refusal
		}
		if err := proof(counted); err != nil {
			var refusal *countersign.Refusal
			if errors.As(err, &refusal) {
				return nil, refusal
			}
			return nil, countersign.Refuse("proof-unreadable", "the proof of %s can't be read: %v", d.Actor, err)
		}
		least := stage.Assurance
		if d.Verdict == countersign.Skip {
			least = 2
		}
		if ok && Assurance(counted.Enrolled) < least {
			return nil, countersign.Refuse("proof-strong-enough", "the decision of %s is not proven strongly enough for stage %q", d.Actor, d.Stage)
		}
		approvals = append(approvals, counted.Approval())
	}
	return approvals, nil
}

// Approval is the decision, reduced to what quorum arithmetic needs.
func (c CountedDecision) Approval() countersign.Approval {
	d := c.Signed.Decision
	return countersign.Approval{Stage: d.Stage, Actor: d.Actor, Delegators: c.Authority.Delegators(), At: c.At, Skip: d.Verdict == countersign.Skip}
}

// late refuses a decision that had expired, or was made outside the window of its grant, when the server took it.
func (c CountedDecision) late() *countersign.Refusal {
	d := c.Signed.Decision
	if c.At.Unix() >= d.ExpiresAt {
		return countersign.Refuse("decision-expired", "the decision of %s had expired when it was checked", d.Actor)
	}
	if grant := c.Authority.Scope(); grant != nil && (c.At.Unix() < grant.NotBefore || c.At.Unix() >= grant.NotAfter) {
		return countersign.Refuse("grant-expired", "the decision of %s was made outside the window of its grant", d.Actor)
	}
	return nil
}

// VerifyCounted checks the proof of one decision again, without a network, under the given issuers.
func VerifyCounted(counted CountedDecision, issuers []countersign.Issuer) (identity.Facts, error) {
	if err := verifyChainOfGrants(counted, issuers); err != nil {
		return identity.Facts{}, err
	}
	digest, err := counted.Signed.Decision.Digest()
	if err != nil {
		return identity.Facts{}, err
	}
	if _, err := verifyOwnKey(counted, digest, issuers); err != nil {
		return identity.Facts{}, err
	}
	return verifyLogin(counted, digest, issuers)
}

// verifyLogin checks the ID token that is bound to a decision, by the decision's digest.
func verifyLogin(counted CountedDecision, digest string, issuers []countersign.Issuer) (identity.Facts, error) {
	d := counted.Signed.Decision
	for _, i := range issuers {
		if i.URL == d.Actor.Issuer {
			return identity.VerifyArchivedBound(identity.DecisionBound(d, digest), counted.Signed.Proof.IDToken, i, counted.Key, counted.At)
		}
	}
	return identity.Facts{}, countersign.Refuse("token-issuer", "the issuer of %s is not among those that the tenant trusted", d.Actor)
}

// verifyChainOfGrants checks the grants that a decision stands on: there where the decision names them, and only there.
func verifyChainOfGrants(counted CountedDecision, issuers []countersign.Issuer) error {
	d, authority := counted.Signed.Decision, counted.Authority
	if (authority != nil) != (d.OnBehalfOf != nil) {
		return countersign.Refuse("grant-chain", "the decision of %s and its grants don't belong together", d.Actor)
	}
	if authority == nil {
		return nil
	}
	if refusal := authority.Chain(d.Tenant, *d.OnBehalfOf, d.Actor, d.Grants); refusal != nil {
		return refusal
	}
	return authority.Verify(issuers)
}

// verifyOwnKey checks the enrolled key that signed a decision: there where a signature of one is, and only there.
func verifyOwnKey(counted CountedDecision, digest string, issuers []countersign.Issuer) (identity.KeyUse, error) {
	d := counted.Signed.Decision
	if (counted.Enrolled != nil) != (counted.Signed.Proof.Key != nil) {
		return identity.KeyUse{}, countersign.Refuse("key-missing", "the decision of %s and its enrolled key don't belong together", d.Actor)
	}
	if counted.Enrolled == nil {
		return identity.KeyUse{}, nil
	}
	return counted.Enrolled.Verify(d.Tenant, d.Actor, digest, counted.Signed.Proof.Key, issuers)
}
