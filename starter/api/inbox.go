package api

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

type inboxInput struct {
	Tenant string `path:"tenant"`
}

type inboxOutput struct{ Body client.Inbox }

// maxInbox is how many running signings one inbox looks at.
const maxInbox = 1000

// inbox asks every running signing whether it waits for the caller: in their own right, or else under a live grant that they took.
func (s *Server) inbox(ctx context.Context, _ *inboxInput) (*inboxOutput, error) {
	c := callerOf(ctx)
	out := &inboxOutput{client.Inbox{Waiting: []client.Waiting{}}}
	if !c.listed() {
		return out, nil
	}
	taken, more, unanswered, err := s.taken(ctx)
	if err != nil {
		return nil, fault(ctx, "list the grants", err)
	}
	out.Body.Truncated, out.Body.Unanswered = more, unanswered
	requests, more, err := c.tenant.pipeline.Running(ctx, maxInbox)
	if err != nil {
		return nil, fault(ctx, "list the running signings", err)
	}
	out.Body.Truncated = out.Body.Truncated || more
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, request := range requests {
		select {
		case c.tenant.queries <- struct{}{}:
		case <-ctx.Done():
			wait.Wait()
			return nil, fault(ctx, "ask the running signings", ctx.Err())
		}
		wait.Go(func() {
			defer func() { <-c.tenant.queries }()
			saga, err := c.tenant.pipeline.Saga(ctx, request)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				// One that just ended waits for nobody; one that can't be asked must not hide the others.
				if !errors.Is(err, errNotFound) {
					out.Body.Unanswered++
				}
				return
			}
			for _, waiting := range s.waits(c, saga, taken) {
				waiting.Request = request
				out.Body.Waiting = append(out.Body.Waiting, waiting)
			}
		})
	}
	wait.Wait()
	sort.Slice(out.Body.Waiting, func(i, j int) bool {
		a, b := out.Body.Waiting[i], out.Body.Waiting[j]
		return a.Deadline.Before(b.Deadline) || a.Deadline.Equal(b.Deadline) && a.Request < b.Request
	})
	return out, nil
}

// waits are the open stages in which a signing waits for the caller, and under which of the grants. Who may decide in their own right is shown no grant for it:
// their own vote is the simpler one.
func (s *Server) waits(c caller, saga workflows.Status, taken []takenGrant) (list []client.Waiting) {
	if saga.State != client.StateApproval {
		return nil
	}
	for _, name := range saga.Open {
		stage, ok := saga.Plan.Stage(name)
		if !ok {
			continue
		}
		w := client.Waiting{Title: saga.Request.Title, Purpose: saga.Request.Purpose, Stage: stage.Name, Deadline: stage.Deadline}
		if c.tenant.refusedNow(saga, stage, countersign.Approve, c.actor, nil, s.now()) == nil {
			list = append(list, w)
			continue
		}
		for _, g := range taken {
			if c.tenant.refusedNow(saga, stage, countersign.Approve, c.actor, g.authority, s.now()) == nil {
				holder := g.authority.Delegators()[0]
				w.Grant, w.OnBehalfOf = g.digest, &holder
				list = append(list, w)
				break
			}
		}
	}
	return list
}

// takenGrant is a grant that the caller took and may use, with all that it stands on.
type takenGrant struct {
	digest    string
	authority *evidence.Authority
}

// taken are the grants that the caller may use now, by digest, and how many could not be asked.
func (s *Server) taken(ctx context.Context) (list []takenGrant, more bool, unanswered int, err error) {
	c := callerOf(ctx)
	var mu sync.Mutex
	more, unanswered, err = c.tenant.each(ctx, countersign.WorkflowAccess, func(id string) error {
		var g evidence.GrantStatus
		if err := c.tenant.pipeline.Ask(ctx, id, &g); err != nil {
			return err
		}
		if g.Grant.Grant.Grantee != c.actor || g.State != countersign.GrantActive || g.Grant.Grant.Live(s.now()) != nil || g.Used >= g.Grant.Grant.Uses {
			return nil
		}
		authority, _, err := s.lent(ctx, g.Digest)
		if err != nil {
			return err
		}
		mu.Lock()
		list = append(list, takenGrant{g.Digest, authority})
		mu.Unlock()
		return nil
	})
	slices.SortFunc(list, func(a, b takenGrant) int { return strings.Compare(a.digest, b.digest) })
	return list, more, unanswered, err
}
