package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// open opens a stage: whoever may decide in it is asked, reminded, and joined by others, while the saga goes on.
func (s *signing) open(ctx workflow.Context, stage countersign.Stage) {
	s.opened = append(s.opened, stage.Name)
	s.ask(ctx, evidence.EventApprovalRequested, stage, stage.Eligible, false)
	type moment struct {
		at   time.Time
		then func(workflow.Context)
	}
	var moments []moment
	for _, at := range stage.Reminders {
		if at.After(workflow.Now(ctx)) {
			moments = append(moments, moment{at, func(ctx workflow.Context) { s.remind(ctx, stage) }})
		}
	}
	if e := stage.Escalation; e != nil {
		moments = append(moments, moment{e.At, func(ctx workflow.Context) {
			s.ask(ctx, evidence.EventApprovalEscalated, stage, e.Eligible, true)
		}})
	}
	if len(moments) == 0 {
		return
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	workflow.Go(ctx, func(ctx workflow.Context) {
		for _, m := range moments {
			closed, err := workflow.AwaitWithTimeout(ctx, m.at.Sub(workflow.Now(ctx)), func() bool { return s.over || s.closed[stage.Name] })
			if closed || err != nil {
				return
			}
			m.then(ctx)
		}
	})
}

// remind asks those again who may decide in a stage and have not. Who was escalated to is among them from then on.
func (s *signing) remind(ctx workflow.Context, stage countersign.Stage) {
	var silent []countersign.Eligible
	for _, e := range stage.At(workflow.Now(ctx)).Everybody() {
		if !slices.Contains(s.decided, e.Actor) {
			silent = append(silent, e)
		}
	}
	if len(silent) > 0 && !s.met(stage) {
		s.ask(ctx, evidence.EventApprovalReminder, stage, silent, false)
	}
}

// ask tells people that a stage waits for them, while the saga goes on. Where it escalates, the tenant's escalation contact and the owner are told
// as well.
func (s *signing) ask(ctx workflow.Context, kind string, stage countersign.Stage, people []countersign.Eligible, escalates bool) {
	deadline := stage.Deadline
	var to []countersign.Actor
	for _, e := range people {
		to = append(to, e.Actor)
		if kind == evidence.EventApprovalRequested || !slices.Contains(s.told, e.Actor) {
			s.told = append(s.told, e.Actor)
		}
	}
	event := s.event(kind)
	event.Stage, event.Deadline = stage.Name, &deadline
	if escalates {
		event.Detail = fmt.Sprintf("Stage %s %s.", stage.Name, stage.Lacks(s.approvals))
	}
	s.inform(ctx, event, to, escalates)
}

// inform tells people while the saga goes on.
func (s *signing) inform(ctx workflow.Context, event evidence.Event, to []countersign.Actor, owner bool) {
	s.asking++
	workflow.Go(ctx, func(ctx workflow.Context) {
		// It outlives a cancellation: it is short, and the end waits for it.
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		s.notify(ctx, event, to, owner)
		s.asking--
	})
}

// unwaiting says that the glass was broken: nobody who has not decided is waited for.
func (s *signing) unwaiting() bool { return s.admission.Plan.Broken(s.approvals) }

// met says whether a stage has its quorum.
func (s *signing) met(stage countersign.Stage) bool { return stage.Met(s.approvals) }

// waiting are the stages of a step that lack their quorum.
func (s *signing) waiting(step []countersign.Stage) (open []countersign.Stage) {
	for _, stage := range step {
		if !s.met(stage) {
			open = append(open, stage)
		}
	}
	return open
}

// settled says that nothing is to be waited for in a step: it was approved, rejected or withdrawn.
func (s *signing) settled(step []countersign.Stage) bool {
	return s.withdrawn != nil || s.rejection(step) != nil || s.unwaiting() || len(s.waiting(step)) == 0
}

// rejection is the first rejection in a step.
func (s *signing) rejection(step []countersign.Stage) *countersign.Decision {
	for _, stage := range step {
		if d := s.rejected[stage.Name]; d != nil {
			return d
		}
	}
	return nil
}

// nextDeadline is the stage of a step whose quorum is due first, or the first stage where all have theirs.
func (s *signing) nextDeadline(step []countersign.Stage) countersign.Stage {
	next := step[0]
	for i, stage := range s.waiting(step) {
		if i == 0 || stage.Deadline.Before(next.Deadline) {
			next = stage
		}
	}
	return next
}

// close closes the stages of a step together: until then a rejection in one of them still counts.
func (s *signing) close(step []countersign.Stage) {
	for _, stage := range step {
		s.closed[stage.Name] = true
	}
	s.opened = nil
}
