package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// authority asks the workflows of a chain of grants where each stands, from the role's holder to the last grantee. What they say is checked
// by whoever uses it. An unknown grant is a refusal; a workflow that can't be asked is an error, and tried again.
func (t *Tenant) authority(ctx context.Context, digests []string) (*evidence.Authority, error) {
	a := &evidence.Authority{HolderRoles: []string{}}
	for _, digest := range digests {
		status, err := t.grant(ctx, digest)
		if err != nil {
			return nil, err
		}
		a.Grants = append(a.Grants, status.GrantRecord)
	}
	// Who holds which role is read anew: what was taken away since the process started counts in this moment.
	current, err := LoadSettings(t.file)
	if err != nil {
		return nil, err
	}
	a.People = []evidence.Named{}
	for i, g := range a.Grants {
		if m, ok := current.Member(g.Grant.Grant.Delegator); ok {
			a.People = append(a.People, evidence.Named{Actor: m.Actor, Name: m.Name, Organisation: m.Organisation})
			if i == 0 {
				a.HolderRoles = append(a.HolderRoles, m.Roles...)
			}
		}
	}
	if m, ok := current.Member(a.Grants[len(a.Grants)-1].Grant.Grant.Grantee); ok {
		a.People = append(a.People, evidence.Named{Actor: m.Actor, Name: m.Name, Organisation: m.Organisation})
	}
	return a, nil
}

// grant is where a grant stands.
func (t *Tenant) grant(ctx context.Context, digest string) (evidence.GrantStatus, error) {
	var status evidence.GrantStatus
	err := t.ask(ctx, countersign.AccessID(t.settings.Tenant, digest), &status)
	if errors.Is(err, errUnknown) {
		return status, countersign.Refuse("grant-unknown", "there is no grant %s… in this tenant", digest[:16])
	}
	return status, err
}

// above is the chain of grants that a grant is a part of, by digest, from the role's holder down to the grant itself.
func (t *Tenant) above(ctx context.Context, digest string) ([]string, error) {
	var chain []string
	for at := digest; at != ""; {
		if len(chain) > countersign.MaxGrantDepth {
			return nil, countersign.Refuse("grant-chain", "the chain of grants has more than %d of them", countersign.MaxGrantDepth+1)
		}
		status, err := t.grant(ctx, at)
		if err != nil {
			return nil, err
		}
		chain = append(chain, at)
		at = status.Grant.Grant.Parent
	}
	slices.Reverse(chain)
	return chain, nil
}

// enrolled is where a key stands.
func (t *Tenant) enrolled(ctx context.Context, key string) (evidence.KeyStatus, error) {
	var status evidence.KeyStatus
	err := t.ask(ctx, countersign.EnrolmentID(t.settings.Tenant, key), &status)
	if errors.Is(err, errUnknown) {
		return status, countersign.Refuse("key-not-enrolled", "the key %s… is not enrolled in this tenant; enrol it first", key[:16])
	}
	if err == nil && status.State != evidence.KeyActive {
		return status, countersign.Refuse(evidence.RefusalRetired, "the key is %s; enrol another one", status.State)
	}
	return status, err
}

// errUnknown is a workflow that does not exist, or no longer.
var errUnknown = errors.New("there is no such workflow")

// askTimeout bounds one question to a workflow: a worker of ours has to answer it.
const askTimeout = 10 * time.Second

func (t *Tenant) ask(ctx context.Context, workflow string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := t.temporal.QueryWorkflow(ctx, workflow, "", countersign.QueryStatus)
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return errUnknown
	}
	if err != nil {
		return fmt.Errorf("couldn't ask %s: %w", workflow, err)
	}
	if err := answer.Get(into); err != nil {
		return fmt.Errorf("couldn't read the answer of %s: %w", workflow, err)
	}
	return nil
}

// use has a grant or a key note that a decision used it. The same decision notes it once, so this is safe to repeat.
func (t *Tenant) use(ctx context.Context, workflow string, u evidence.Use) (*countersign.Refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	handle, err := t.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: workflow, UpdateID: u.Decision, UpdateName: countersign.UpdateUse, Args: []any{u}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	var refusal *countersign.Refusal
	if err == nil {
		err = handle.Get(ctx, &refusal)
	}
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return countersign.Refuse(evidence.RefusalEnded, "the grant, or the key, has ended"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't have %s note its use: %w", workflow, err)
	}
	return refusal, nil
}

// spend has every grant of a decision, and its key, note the use: the last step before the decision counts.
func (t *Tenant) spend(ctx context.Context, d countersign.Decision, digest string, key *evidence.KeyRecord, use evidence.Use) (*countersign.Refusal, error) {
	if key != nil {
		id, err := key.Enrolment.Enrolment.KeyID()
		if err != nil {
			return nil, err
		}
		if refusal, err := t.use(ctx, countersign.EnrolmentID(t.settings.Tenant, id), use); refusal != nil || err != nil {
			return refusal, err
		}
	}
	// The narrowest first: where a grant above it is used up, nothing is lost that could still be used.
	for _, grant := range slices.Backward(d.Grants) {
		if refusal, err := t.use(ctx, countersign.AccessID(t.settings.Tenant, grant), evidence.Use{Decision: digest}); refusal != nil || err != nil {
			return refusal, err
		}
	}
	return nil, nil
}

// lost says which authority of a counted decision is gone by now: a role, a grant of its chain, or the key that signed it. Nil where all
// of it still stands. A grant whose window closed since is none: the decision was made within it.
func (t *Tenant) lost(ctx context.Context, counted evidence.CountedDecision, role string, current *countersign.Settings) (*countersign.Refusal, error) {
	d := counted.Signed.Decision
	holder := d.Actor
	if counted.Authority != nil {
		if holder = counted.Authority.Grants[0].Grant.Grant.Delegator; holder != *d.OnBehalfOf {
			return countersign.Refuse("grant-chain", "the decision of %s stands on grants of somebody else", d.Actor), nil
		}
		if _, ok := current.Member(d.Actor); !ok {
			return countersign.Refuse(evidence.RefusalAuthorityLost, "%s is no longer known to the tenant", d.Actor), nil
		}
	}
	if m, ok := current.Member(holder); !ok || !slices.Contains(m.Roles, role) {
		return countersign.Refuse(evidence.RefusalAuthorityLost, "%s no longer holds the role %q", holder, role), nil
	}
	for _, digest := range d.Grants {
		status, err := t.grant(ctx, digest)
		refusal := (*countersign.Refusal)(nil)
		switch {
		case errors.As(err, &refusal):
			return countersign.Refuse(evidence.RefusalAuthorityLost, "the grant that %s decided under can't be found any more", d.Actor), nil
		case err != nil:
			return nil, err
		case status.State != countersign.GrantActive && status.State != countersign.GrantExpired:
			return countersign.Refuse(evidence.RefusalAuthorityLost, "the grant that %s decided under is %s", d.Actor, status.State), nil
		}
	}
	if p := counted.Signed.Proof.Key; p != nil {
		_, err := t.enrolled(ctx, p.Key)
		refusal := (*countersign.Refusal)(nil)
		if errors.As(err, &refusal) {
			return countersign.Refuse(evidence.RefusalAuthorityLost, "the key with which %s decided is no longer good: %s", d.Actor, refusal.Message), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}
