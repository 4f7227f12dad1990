package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// covering is somebody who may decide in a stage under cover for an absence, and in whose place.
type covering struct {
	member countersign.Member
	holder string // name
}

// coverable are the events by which people hear that a stage is open for them: the first time, and where it escalates to them.
var coverable = []string{evidence.EventApprovalRequested, evidence.EventApprovalEscalated}

// maxCover bounds how many live grants are looked at for one message: of those beyond nobody is told, and the inbox shows what waits all the same.
const maxCover = 1000

// coverers are those who may decide in a stage in the place of somebody who is told that it is open. The policy is asked whether they may, as it is
// when they do, so nobody is told of what they couldn't see. What can't be asked is an error.
func (t *Tenant) coverers(ctx context.Context, in evidence.NotifyInput) ([]covering, error) {
	if !slices.Contains(coverable, in.Event.Type) || in.Event.Stage == "" {
		return nil, nil
	}
	digests, err := t.coversOf(ctx, in.To)
	if err != nil || len(digests) == 0 {
		return nil, err
	}
	var saga struct {
		Saga        evidence.Execution
		Transaction countersign.Context
		Plan        countersign.Plan
		Decided     []countersign.Actor
	}
	if err := t.ask(ctx, countersign.SagaID(in.Event.Tenant, in.Event.Request), &saga); err != nil {
		return nil, err
	}
	stage, ok := saga.Plan.Stage(in.Event.Stage)
	if !ok {
		return nil, fmt.Errorf("couldn't find who covers in stage %q: the plan has none of that name", in.Event.Stage)
	}
	current, err := LoadSettings(t.file)
	if err != nil {
		return nil, err
	}
	question := evidence.CheckInput{
		Saga: saga.Saga, Tenant: in.Event.Tenant, Document: saga.Transaction.Document, Requester: saga.Transaction.Requester,
		Decided: saga.Decided, Purpose: saga.Plan.Purpose,
	}
	var found []covering
	for _, digest := range digests {
		chain, err := t.above(ctx, digest)
		if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		authority, err := t.authority(ctx, chain)
		if err != nil {
			return nil, err
		}
		last := authority.Grants[len(authority.Grants)-1].Grant.Grant
		member, ok := current.Member(last.Grantee)
		if !ok || member.Email == "" || !slices.Contains(in.To, authority.Delegators()[0]) {
			continue
		}
		d := countersign.Decision{Stage: stage.Name, Verdict: countersign.Approve, Actor: last.Grantee}
		// How strongly a decision will be proven is not known yet.
		q := evidence.DecideQuestion(question, d, stage, policy.PrincipalOf(current, last.Grantee), authority, max(1, stage.Assurance), time.Now())
		if !t.engine.Ask(q).Allowed {
			continue
		}
		holder, _ := current.Member(authority.Delegators()[0])
		found = append(found, covering{member, holder.Name})
	}
	return found, nil
}

// coversOf are the live grants over purposes that any of these people gave, and the parts of such grants, by digest, in order.
func (t *Tenant) coversOf(ctx context.Context, of []countersign.Actor) ([]string, error) {
	answer, err := t.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: t.settings.Namespace, PageSize: maxCover, Query: "WorkflowType = '" + countersign.WorkflowAccess + "' AND ExecutionStatus = 'Running'",
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't list the grants: %w", err)
	}
	var found []string
	live := map[string]countersign.Grant{}
	for _, e := range answer.GetExecutions() {
		digest, own := strings.CutPrefix(e.GetExecution().GetWorkflowId(), countersign.AccessID(t.settings.Tenant, ""))
		if !own {
			continue
		}
		g, known := t.given.of(digest)
		if known {
			live[digest] = g
		}
		if known && !covers(g, of) {
			continue
		}
		status, err := t.grant(ctx, digest)
		if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
			continue
		}
		if err != nil {
			return nil, err
		}
		g = status.Grant.Grant
		live[digest] = g
		if covers(g, of) && status.State == countersign.GrantActive && status.Used < g.Uses {
			found = append(found, digest)
		}
	}
	t.given.keep(live)
	slices.Sort(found)
	return found, nil
}

// covers says whether a grant may be cover for one of these people that its window lets be used now: whose place a part of cover is in, its chain says.
func covers(g countersign.Grant, of []countersign.Actor) bool {
	return len(g.Purposes) > 0 && (g.Parent != "" || slices.Contains(of, g.Delegator)) && g.Live(time.Now()) == nil
}

// given remembers what live grants are, so that each is asked once what it is, and only cover is asked again where it stands. A grant is named by its
// digest, so what is remembered of it stays true.
type given struct {
	mu   sync.Mutex
	live map[string]countersign.Grant // by digest
}

func (g *given) of(digest string) (countersign.Grant, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grant, ok := g.live[digest]
	return grant, ok
}

// keep remembers those that live, and no others.
func (g *given) keep(live map[string]countersign.Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.live = live
}

// inPlaceOf is the message to somebody who covers: the same as to whom they cover for, and why they get it.
func (c covering) inPlaceOf(in evidence.NotifyInput) evidence.NotifyInput {
	in.Event.Detail = strings.TrimSpace(fmt.Sprintf("%s\n\nYou are told because you cover for %s.", in.Event.Detail, c.holder))
	return in
}
