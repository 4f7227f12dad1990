package pool

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
)

// schedule is one of those on which what watches over a tenant's evidence runs.
type schedule struct {
	id, workflow string
	every        time.Duration
}

// ensureSchedules makes the tenant's schedules, or brings them to what the tenant's file says. Every worker does so at boot, so one that somebody
// paused runs again.
func ensureSchedules(ctx context.Context, c client.Client, s *countersign.Settings) error {
	for _, wanted := range []schedule{
		{countersign.SweepID(s.Tenant), countersign.WorkflowSweep, time.Duration(s.Watch.SweepEvery)},
		{countersign.EvidenceCheckID(s.Tenant), countersign.WorkflowEvidenceCheck, time.Duration(s.Watch.CheckEvery)},
	} {
		if err := wanted.ensure(ctx, c, s.Tenant); err != nil {
			return s.Fault(fmt.Errorf("couldn't make the schedule %s in namespace %q: %w", wanted.id, s.Namespace, err), "watch")
		}
	}
	return nil
}

func (w schedule) ensure(ctx context.Context, c client.Client, tenant string) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: w.id, Spec: w.spec(tenant), Action: w.action(tenant), Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: w.every,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	handle := c.ScheduleClient().GetHandle(ctx, w.id)
	there, err := handle.Describe(ctx)
	if err != nil {
		return err
	}
	if intervals := there.Schedule.Spec.Intervals; len(intervals) == 1 && intervals[0].Every == w.every && !there.Schedule.State.Paused {
		return nil
	}
	spec := w.spec(tenant)
	return handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		return &client.ScheduleUpdate{Schedule: &client.Schedule{
			Spec: &spec, Action: w.action(tenant), State: &client.ScheduleState{},
			Policy: &client.SchedulePolicies{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: w.every},
		}}, nil
	}})
}

// spec spreads the tenants over the period, so that not all of them are swept at once.
func (w schedule) spec(tenant string) client.ScheduleSpec {
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.id + tenant))
	seconds := uint64(w.every / time.Second)
	return client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: w.every, Offset: time.Duration(h.Sum64()%seconds) * time.Second}}}
}

func (w schedule) action(tenant string) *client.ScheduleWorkflowAction {
	return &client.ScheduleWorkflowAction{ID: w.id, Workflow: w.workflow, TaskQueue: countersign.TaskQueueSigning, Args: []any{tenant}}
}
