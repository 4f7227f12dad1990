package temporal

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

func goodSchedule() *workflowservice.CreateScheduleRequest {
	return &workflowservice.CreateScheduleRequest{Namespace: "acme", ScheduleId: "sweep/acme", Schedule: &schedulepb.Schedule{
		Spec:     &schedulepb.ScheduleSpec{Interval: []*schedulepb.IntervalSpec{{Interval: durationpb.New(time.Hour)}}},
		Policies: &schedulepb.SchedulePolicies{OverlapPolicy: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP},
		State:    &schedulepb.ScheduleState{},
		Action: &schedulepb.ScheduleAction{Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{
			WorkflowId: "sweep/acme", WorkflowType: &commonpb.WorkflowType{Name: "CustodySweep"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "signing"},
		}}},
	}}
}

func TestAWorkerMakesTheTenantsSchedulesAndNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*workflowservice.CreateScheduleRequest, *workflowpb.NewWorkflowExecutionInfo)
		want   bool
	}{
		{"the sweep", func(*workflowservice.CreateScheduleRequest, *workflowpb.NewWorkflowExecutionInfo) {}, true},
		{"the evidence check", func(r *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			r.ScheduleId, s.WorkflowId, s.WorkflowType.Name = "evidence-check/acme", "evidence-check/acme", "EvidenceCheck"
		}, true},
		{"another tenant's", func(r *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			r.ScheduleId, s.WorkflowId = "sweep/globex", "sweep/globex"
		}, false},
		{"an unknown id", func(r *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			r.ScheduleId, s.WorkflowId = "other/acme", "other/acme"
		}, false},
		{"that starts a signing", func(_ *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			s.WorkflowType.Name = "RequestSigning"
		}, false},
		{"that starts the other's workflow", func(_ *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			s.WorkflowType.Name = "EvidenceCheck"
		}, false},
		{"under a signing's name", func(_ *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			s.WorkflowId = "signing/acme/1"
		}, false},
		{"with a timeout", func(_ *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			s.WorkflowRunTimeout = durationpb.New(time.Second)
		}, false},
		{"on another queue", func(_ *workflowservice.CreateScheduleRequest, s *workflowpb.NewWorkflowExecutionInfo) {
			s.TaskQueue.Name = "signing-kms"
		}, false},
		{"paused", func(r *workflowservice.CreateScheduleRequest, _ *workflowpb.NewWorkflowExecutionInfo) {
			r.Schedule.State.Paused = true
		}, false},
		{"beside itself", func(r *workflowservice.CreateScheduleRequest, _ *workflowpb.NewWorkflowExecutionInfo) {
			r.Schedule.Policies.OverlapPolicy = enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
		}, false},
		{"that ends", func(r *workflowservice.CreateScheduleRequest, _ *workflowpb.NewWorkflowExecutionInfo) {
			r.Schedule.State.LimitedActions, r.Schedule.State.RemainingActions = true, 1
		}, false},
		{"with a first patch", func(r *workflowservice.CreateScheduleRequest, _ *workflowpb.NewWorkflowExecutionInfo) {
			r.InitialPatch = &schedulepb.SchedulePatch{Pause: "no"}
		}, false},
	} {
		create := goodSchedule()
		c.change(create, create.GetSchedule().GetAction().GetStartWorkflow())
		update := &workflowservice.UpdateScheduleRequest{Namespace: create.Namespace, ScheduleId: create.ScheduleId, Schedule: create.Schedule}
		for who, allowed := range map[string]bool{
			"platform:worker/acme": c.want, "platform:operator/acme": false, "platform:starter/acme": false, "acme/ben": false, "acme/procurement": false, "": false,
		} {
			if got := w.allows(t, who, "CreateSchedule", "acme", create); got != allowed {
				t.Errorf("%s makes a schedule %s: %v, want %v", who, c.name, got, allowed)
			}
			if create.InitialPatch != nil {
				continue
			}
			if got := w.allows(t, who, "UpdateSchedule", "acme", update); got != allowed {
				t.Errorf("%s changes a schedule to one %s: %v, want %v", who, c.name, got, allowed)
			}
		}
	}
}

func TestOperatorsAndComplianceTriggerSchedulesAndChangeNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := &schedulepb.TriggerImmediatelyRequest{OverlapPolicy: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE}
	for _, c := range []struct {
		name, id string
		patch    *schedulepb.SchedulePatch
		want     bool
	}{
		{"now", "sweep/acme", &schedulepb.SchedulePatch{TriggerImmediately: now}, true},
		{"nothing", "sweep/acme", &schedulepb.SchedulePatch{}, false},
		{"a pause", "sweep/acme", &schedulepb.SchedulePatch{Pause: "holidays"}, false},
		{"now and a pause", "sweep/acme", &schedulepb.SchedulePatch{TriggerImmediately: now, Pause: "holidays"}, false},
		{"beside itself", "sweep/acme", &schedulepb.SchedulePatch{TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{OverlapPolicy: enumspb.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER}}, false},
		{"of another tenant", "sweep/globex", &schedulepb.SchedulePatch{TriggerImmediately: now}, false},
	} {
		request := &workflowservice.PatchScheduleRequest{Namespace: "acme", ScheduleId: c.id, Patch: c.patch}
		for who, allowed := range map[string]bool{
			"platform:operator/acme": c.want, "platform:compliance/acme": c.want, "platform:worker/acme": false, "platform:starter/acme": false, "acme/ben": false, "": false,
			"acme/cora": c.want, "acme/olivia": c.want, "acme/alice": false, "acme/procurement": false, "hart/carol": false, "globex/greta": false,
		} {
			if got := w.allows(t, who, "PatchSchedule", "acme", request); got != allowed {
				t.Errorf("%s triggers %s: %v, want %v", who, c.name, got, allowed)
			}
		}
	}
}

// The API's own process looks at the schedules, and does nothing to them.
func TestAStarterLooksAtTheTenantsSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for id, want := range map[string]bool{"evidence-check/acme": true, "sweep/acme": true, "evidence-check/globex": false, "other/acme": false} {
		request := &workflowservice.DescribeScheduleRequest{Namespace: "acme", ScheduleId: id}
		for who, allowed := range map[string]bool{"platform:starter/acme": want, "platform:worker/acme": want, "platform:starter/globex": false, "acme/cora": false, "acme/alice": false} {
			if got := w.allows(t, who, "DescribeSchedule", "acme", request); got != allowed {
				t.Errorf("%s looks at %s: %v, want %v", who, id, got, allowed)
			}
		}
	}
	for _, method := range []string{"CreateSchedule", "UpdateSchedule", "PatchSchedule", "DeleteSchedule"} {
		if w.allows(t, "platform:starter/acme", method, "acme", goodSchedule()) {
			t.Errorf("a starter may %s", method)
		}
	}
}
