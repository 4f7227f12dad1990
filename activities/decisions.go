package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// CheckDecision decides whether one decide signal counts: sent by the person that it names, proven by that person's own
// identity provider for exactly this decision, and allowed by the frozen policy. A decision that fails is a refusal in the
// result, with the reason; an error is a part that could not be asked, and is tried again.
func (t *Tenant) CheckDecision(ctx context.Context, in evidence.CheckInput) (evidence.Check, error) {
	var c evidence.Check
	log := activity.GetLogger(ctx)
	refuse := func(r *countersign.Refusal) (evidence.Check, error) {
		log.Info("decision refused", "stage", c.Record.Stage, "code", r.Code)
		c.Record.Refusal = r
		return c, nil
	}

	event, err := t.signal(ctx, in.Saga, countersign.SignalDecide, in.Ordinal)
	if err != nil {
		return c, err
	}
	c.Sender, c.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	c.Record.At = c.At.Format(time.RFC3339Nano)

	signed, err := countersign.ParseSignedDecision(in.Signed)
	if err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	d := signed.Decision
	c.Record.ID, c.Record.Stage, c.Record.Verdict, c.Record.Actor = signed.ID, d.Stage, d.Verdict, d.Actor
	if c.Record.Digest, err = d.Digest(); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	if err := errors.Join(d.Check(), signed.CheckSent(in.Signed)); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	sender, ok := evidence.ActorOf(event.GetPrincipal())
	if !ok || sender != d.Actor {
		return refuse(countersign.Refuse("other-sender", "the decision names one person, but another one sent it"))
	}
	stage, refusal := matches(in, d, c.At)
	if refusal != nil {
		return refuse(refusal)
	}
	if refusal := issuerChanged(in.Issuers, t.registry, d.Actor.Issuer); refusal != nil {
		return refuse(refusal)
	}
	facts, err := t.registry.VerifyProof(ctx, d, signed.Proof, c.At)
	if errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if err != nil {
		return c, fmt.Errorf("couldn't check the decision's proof: %w", err)
	}
	c.Facts = &facts
	if c.Stamp, err = t.stampDecision(ctx, c.Record.Digest, c.At); err != nil {
		return c, err
	}
	use := evidence.Use{Decision: c.Record.Digest}
	if err := t.stand(ctx, &c, signed, &use); errors.As(err, &refusal) {
		return refuse(refusal)
	} else if err != nil {
		return c, err
	}
	c.Record.Delegators = c.Authority.Delegators()
	if refusal := stage.Bars(append(c.Authority.Delegators(), d.Actor)...); refusal != nil {
		return refuse(refusal)
	}
	if len(in.Issuers) > 0 {
		if _, err := evidence.VerifyCounted(c.Counted(signed), in.Issuers); errors.As(err, &refusal) {
			return refuse(refusal)
		} else if err != nil {
			return refuse(countersign.Refuse("not-proven", "what the decision stands on is not proven: %s", err))
		}
	}
	engine, err := t.frozen(in.Policy, in.PolicyText)
	if err != nil {
		return c, err
	}
	question := evidence.DecideQuestion(in, d, stage, policy.PrincipalOf(t.settings, d.Actor), c.Authority, facts.Assurance, c.At)
	answer := engine.Ask(question)
	c.Question, c.Answer = &question, &answer
	if !answer.Allowed {
		return refuse(&countersign.Refusal{Code: answer.Code(), Message: answer.Refusal})
	}
	if refusal, err := t.spend(ctx, d, c.Record.Digest, c.Key, use); err != nil {
		return c, err
	} else if refusal != nil {
		return refuse(refusal)
	}
	log.Info("decision counts", "stage", d.Stage, "verdict", d.Verdict)
	return c, nil
}

// stand finds what a decision stands on beside its ID token: the grants that it names, and the enrolled key that signed it. Both are
// checked here as a stranger will check them.
func (t *Tenant) stand(ctx context.Context, c *evidence.Check, signed countersign.SignedDecision, use *evidence.Use) error {
	d := signed.Decision
	if d.OnBehalfOf != nil {
		authority, err := t.authority(ctx, d.Grants)
		if err != nil {
			return err
		}
		if refusal := authority.Chain(d.Tenant, *d.OnBehalfOf, d.Actor, d.Grants); refusal != nil {
			return refusal
		}
		c.Authority = authority
	}
	p := signed.Proof.Key
	if p == nil {
		return nil
	}
	if err := p.Check(); err != nil {
		return countersign.Refuse("key-malformed", "%s", err)
	}
	status, err := t.enrolled(ctx, p.Key)
	if err != nil {
		return err
	}
	proven, err := status.KeyRecord.Verify(d.Tenant, d.Actor, c.Record.Digest, p, t.settings.Issuers)
	if err != nil {
		return err
	}
	c.Key, c.Facts.EnrolledKey, c.Facts.Assurance = &status.KeyRecord, &proven, evidence.Assurance(&status.KeyRecord)
	use.Counter = proven.Counter
	return nil
}

// issuerChanged refuses a decision whose issuer the tenant's file names otherwise than it did at intake. A proof has to hold under both: under the
// file as it is now, because the tenant may have stopped trusting somebody, and as it was, because whoever verifies the evidence knows that one alone.
func issuerChanged(frozen []countersign.Issuer, now *identity.Registry, url string) *countersign.Refusal {
	if len(frozen) == 0 {
		return nil // a saga of v0.1.0 doesn't tell them
	}
	i := slices.IndexFunc(frozen, func(i countersign.Issuer) bool { return i.URL == url })
	current, known := now.Issuer(url)
	switch {
	case i < 0 && !known:
		return nil // nobody ever trusted it; the proof is refused for that
	case i >= 0 && known && frozen[i].EvidenceAudience == current.EvidenceAudience:
		return nil
	}
	return countersign.Refuse("issuer-changed", "the tenant's settings for the identity provider %s changed after this signing was admitted, so nobody of it can decide here any more; the document has to be requested again", url)
}

// matches compares the decision with the signing that it was sent to.
func matches(in evidence.CheckInput, d countersign.Decision, now time.Time) (countersign.Stage, *countersign.Refusal) {
	switch {
	case d.Tenant != in.Tenant || d.Signing != in.Saga.Workflow || d.Run != in.Saga.Run || d.Context != in.Context:
		return countersign.Stage{}, countersign.Refuse("other-signing", "the decision is about another signing")
	case d.Document != in.Document:
		return countersign.Stage{}, countersign.Refuse("other-document", "the decision is about another document or another version of it")
	case d.Policy != in.Policy:
		return countersign.Stage{}, countersign.Refuse("other-policy", "the decision was made under another policy than this signing is frozen to")
	case now.Unix() >= d.ExpiresAt:
		return countersign.Stage{}, countersign.Refuse("decision-expired", "the decision expired at %s; decide again", time.Unix(d.ExpiresAt, 0).UTC().Format(time.RFC3339))
	}
	for _, s := range in.Stages {
		if s.Name == d.Stage {
			return s, nil
		}
	}
	return countersign.Stage{}, countersign.Refuse("no-open-stage", "stage %q is closed, or this signing has no such stage", d.Stage)
}

// CheckWithdrawal decides whether one withdraw signal counts: only the requester takes a request back.
func (t *Tenant) CheckWithdrawal(ctx context.Context, in evidence.WithdrawInput) (evidence.Withdrawn, error) {
	event, err := t.signal(ctx, in.Saga, countersign.SignalWithdraw, in.Ordinal)
	if err != nil {
		return evidence.Withdrawn{}, err
	}
	return evidence.DecideWithdrawal(in, event.GetPrincipal().GetName(), event.GetEventTime().AsTime(), func(sender countersign.Actor) policy.Principal {
		return policy.PrincipalOf(t.settings, sender)
	})
}

// frozen is the policy set that the signing was admitted under, whatever this worker was built with.
func (t *Tenant) frozen(hash, text string) (*policy.Engine, error) {
	if hash == t.engine.Hash() {
		return t.engine, nil
	}
	engine, err := policy.NewEngine(text)
	if err != nil {
		return nil, err
	}
	if engine.Hash() != hash {
		return nil, errors.New("couldn't use the frozen policy set: its text doesn't have the frozen hash")
	}
	return engine, nil
}

// signal finds the how-manieth signal of that name in the saga's history, for the principal that the server stamped on it.
func (t *Tenant) signal(ctx context.Context, saga evidence.Execution, name string, ordinal int) (*historypb.HistoryEvent, error) {
	events := t.temporal.GetWorkflowHistory(ctx, saga.Workflow, saga.Run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for seen := 0; events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			return nil, fmt.Errorf("couldn't read the signal's sender from the history: %w", err)
		}
		if a := event.GetWorkflowExecutionSignaledEventAttributes(); a != nil && a.SignalName == name {
			if seen++; seen == ordinal {
				if event.GetPrincipal().GetName() == "" {
					return nil, errNoPrincipal
				}
				return event, nil
			}
		}
	}
	return nil, fmt.Errorf("couldn't find signal %q number %d in the history", name, ordinal)
}
