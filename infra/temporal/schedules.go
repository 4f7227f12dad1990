package temporal

import (
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// schedules are the kinds of schedules of a tenant, with the workflow that each starts.
var schedules = map[string]string{"sweep": "CustodySweep", "evidence-check": "EvidenceCheck"}

// scheduledWorkflow is what a tenant's schedule of that id starts; empty where no schedule has it.
func scheduledWorkflow(t *tenant, id string) string {
	for kind, workflow := range schedules {
		if id == kind+"/"+t.id {
			return workflow
		}
	}
	return ""
}

// scheduleRule lets a worker look at the tenant's schedules, and make each as it has to be: it starts the one workflow that belongs to it, under its own name,
// never beside itself, and is not paused.
func scheduleRule(t *tenant, request any) error {
	switch r := request.(type) {
	case *workflowservice.DescribeScheduleRequest:
		return named(t, r.GetScheduleId())
	case *workflowservice.CreateScheduleRequest:
		if err := onlyFields(r, "namespace", "schedule_id", "schedule", "identity", "request_id"); err != nil {
			return err
		}
		return checkSchedule(t, r.GetScheduleId(), r.GetSchedule())
	case *workflowservice.UpdateScheduleRequest:
		if err := onlyFields(r, "namespace", "schedule_id", "schedule", "conflict_token", "identity", "request_id"); err != nil {
			return err
		}
		return checkSchedule(t, r.GetScheduleId(), r.GetSchedule())
	}
	return errUnexpected(request)
}

// triggerRule lets people who watch have a schedule run now, and change nothing about it.
func triggerRule(t *tenant, request any) error {
	r, ok := request.(*workflowservice.PatchScheduleRequest)
	if !ok {
		return errUnexpected(request)
	}
	if err := named(t, r.GetScheduleId()); err != nil {
		return err
	}
	if r.GetPatch().GetTriggerImmediately() == nil {
		return errors.New("a schedule is triggered, and nothing else is done to it")
	}
	return errors.Join(
		onlyFields(r, "namespace", "schedule_id", "patch", "identity", "request_id"),
		onlyFields(r.GetPatch(), "trigger_immediately"),
		notBeside(r.GetPatch().GetTriggerImmediately().GetOverlapPolicy()),
	)
}

func named(t *tenant, id string) error {
	if scheduledWorkflow(t, id) == "" {
		return fmt.Errorf("the tenant has no schedule %q", id)
	}
	return nil
}

func notBeside(policy enumspb.ScheduleOverlapPolicy) error {
	switch policy {
	case enumspb.SCHEDULE_OVERLAP_POLICY_UNSPECIFIED, enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE:
		return nil
	}
	return fmt.Errorf("the overlap policy isn't SKIP or BUFFER_ONE, but %s", policy)
}

func checkSchedule(t *tenant, id string, s *schedulepb.Schedule) error {
	if err := named(t, id); err != nil {
		return err
	}
	start := s.GetAction().GetStartWorkflow()
	if start.GetWorkflowType().GetName() != scheduledWorkflow(t, id) || start.GetWorkflowId() != id || !isQueue(start.GetTaskQueue()) {
		return errors.New("the schedule starts something else than what belongs to it")
	}
	if s.GetPolicies().GetOverlapPolicy() != enumspb.SCHEDULE_OVERLAP_POLICY_SKIP {
		return errors.New("the schedule's overlap policy isn't SKIP")
	}
	if start.GetWorkflowExecutionTimeout().AsDuration() != 0 || start.GetWorkflowRunTimeout().AsDuration() != 0 || start.GetWorkflowTaskTimeout().AsDuration() != 0 {
		return errors.New("a scheduled workflow has no timeout of its own")
	}
	for _, m := range []struct {
		message proto.Message
		allowed []protoreflect.Name
	}{
		{s, []protoreflect.Name{"spec", "action", "policies", "state"}},
		{s.GetSpec(), []protoreflect.Name{"interval", "jitter"}},
		{s.GetPolicies(), []protoreflect.Name{"overlap_policy", "catchup_window"}},
		{s.GetState(), nil},
		{start, []protoreflect.Name{
			"workflow_id", "workflow_type", "task_queue", "input", "header", "memo", "search_attributes",
			"workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout",
		}},
	} {
		if err := onlyFields(m.message, m.allowed...); err != nil {
			return err
		}
	}
	return nil
}
