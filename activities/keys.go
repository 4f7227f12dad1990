package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// AdmitKey decides whether a key may be enrolled: by the person whose it is, proven by the person's own identity provider for exactly this key,
// and by the key itself.
func (t *Tenant) AdmitKey(ctx context.Context, in evidence.AdmitKeyInput) (evidence.KeyAdmission, error) {
	var a evidence.KeyAdmission
	refuse := func(r *countersign.Refusal) (evidence.KeyAdmission, error) {
		a.Refusal = r
		return a, nil
	}
	sender, at, err := t.started(ctx, in.Keeper)
	if err != nil {
		return a, err
	}
	a.At = at
	e := in.Enrolment.Enrolment
	if err := e.Check(); err != nil {
		return refuse(countersign.Refuse("malformed", "%s", err))
	}
	id, err := e.KeyID()
	switch {
	case err != nil:
		return refuse(countersign.Refuse("malformed", "%s", err))
	case e.Tenant != t.settings.Tenant:
		return refuse(countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the enrolment names another one", t.settings.Tenant))
	case sender != e.Actor:
		return refuse(countersign.Refuse("other-sender", "the enrolment names one person, but another one sent it"))
	}
	if refusal := t.passkeySettings(e); refusal != nil {
		return refuse(refusal)
	}
	facts, use, err := t.registry.VerifyEnrolment(ctx, in.Enrolment, at)
	if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if err != nil {
		return a, fmt.Errorf("couldn't check the enrolment's proof: %w", err)
	}
	a.Proven, a.Counter = &evidence.Proven{Key: facts.Key, At: at}, use.Counter
	answer := t.engine.Ask(policy.Question{
		Action: policy.Enrol, Principal: policy.PrincipalOf(t.settings, sender), Now: at,
		Resource: policy.Resource{Key: id, Tenant: e.Tenant, Holder: &e.Actor},
	})
	if a.Answer = &answer; !answer.Allowed {
		return refuse(&countersign.Refusal{Code: answer.Code(), Message: answer.Refusal})
	}
	return a, nil
}

// passkeySettings holds a passkey to the pages that the tenant named: a passkey of another site says nothing here.
func (t *Tenant) passkeySettings(e countersign.Enrolment) *countersign.Refusal {
	if e.Kind != countersign.KeyPasskey {
		return nil
	}
	p := t.settings.Passkeys
	if p.RelyingParty == "" {
		return countersign.Refuse("no-passkeys", "this tenant takes no passkeys: its file names no relying party")
	}
	if e.RelyingID != p.RelyingParty {
		return countersign.Refuse("key-relying-party", "passkeys of this tenant are made for %q", p.RelyingParty)
	}
	for _, origin := range e.Origins {
		if !slices.Contains(p.Origins, origin) {
			return countersign.Refuse("key-origin", "the tenant's file doesn't name the origin of this passkey")
		}
	}
	return nil
}

// CheckRetirement decides whether one retire signal counts: of the key's holder, or of the tenant's owner.
func (t *Tenant) CheckRetirement(ctx context.Context, in evidence.RetirementInput) (evidence.Retired, error) {
	var r evidence.Retired
	event, err := t.signal(ctx, in.Keeper, countersign.SignalRetire, in.Ordinal)
	if err != nil {
		return r, err
	}
	r.Sender, r.At = event.GetPrincipal().GetName(), event.GetEventTime().AsTime()
	sender, refusal := senderOf(event)
	if refusal != nil {
		r.Refusal = refusal
		return r, nil
	}
	var given countersign.Retirement
	err = countersign.ParseStrict(in.Payload, &given)
	if err == nil {
		err = given.Check()
	}
	if err != nil {
		r.Refusal = countersign.Refuse("malformed", "%s", err)
		return r, nil
	}
	r.Reason = given.Reason
	answer := t.engine.Ask(policy.Question{
		Action: policy.Retire, Principal: policy.PrincipalOf(t.settings, sender), Now: r.At,
		Resource: policy.Resource{Key: in.Key, Tenant: in.Tenant, Holder: &in.Holder},
	})
	if r.Answer = &answer; !answer.Allowed {
		r.Refusal = &countersign.Refusal{Code: answer.Code(), Message: answer.Refusal}
	}
	return r, nil
}
