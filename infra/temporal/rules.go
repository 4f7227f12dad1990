package temporal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	requestWorkflow = "RequestSigning"
	grantWorkflow   = "Access"
	keyWorkflow     = "Enrolment"
	shredWorkflow   = "Shredding"
	holdWorkflow    = "Hold"
	retainWorkflow  = "Retain"
	renewalWorkflow = "Renewal"
	reindexWorkflow = "Reindex"
	useUpdate       = "use"
	requestQueue    = "signing"
	maxWorkflowID   = 512
	taskTimeout     = 10 * time.Second // the server's own, which SDKs send as well
)

type roleRules struct {
	platform  map[string]rules
	requester rules
	person    rules
	watching  rules // people who are the tenant's compliance, or its owner
	reach     rules // whoever has any role in the tenant
}

// newRoleRules is the whole of what anybody may do. timeSkipping lets a requester
// start a signing whose clock may be skipped, for tests.
func newRoleRules(timeSkipping bool) roleRules {
	read := rules{
		"DescribeWorkflowExecution":          nil,
		"ListWorkflowExecutions":             nil,
		"CountWorkflowExecutions":            nil,
		"GetWorkflowExecutionHistory":        nil,
		"GetWorkflowExecutionHistoryReverse": nil,
	}
	return roleRules{
		platform: map[string]rules{
			RoleWorker: with(read, rules{
				"PollWorkflowTaskQueue":        nil,
				"RespondWorkflowTaskCompleted": nil,
				"RespondWorkflowTaskFailed":    nil,
				"RespondQueryTaskCompleted":    nil,
				"ResetStickyTaskQueue":         nil,
				"PollActivityTaskQueue":        nil,
				"RecordActivityTaskHeartbeat":  nil,
				"RespondActivityTaskCompleted": nil,
				"RespondActivityTaskFailed":    nil,
				"RespondActivityTaskCanceled":  nil,
				// The SDK polls a Nexus queue of its own for commands to the worker.
				"PollNexusTaskQueue":        nil,
				"RespondNexusTaskCompleted": nil,
				"RespondNexusTaskFailed":    nil,
				"RecordWorkerHeartbeat":     nil,
				"FetchWorkerConfig":         nil,
				"ShutdownWorker":            nil,
				"DescribeTaskQueue":         nil,
				"QueryWorkflow":             nil,
				"SignalWorkflowExecution":   nil,
				// A grant, or a key, notes that a decision used it.
				"UpdateWorkflowExecution":     updateRule,
				"PollWorkflowExecutionUpdate": updateRule,
				// At boot it makes the schedules of what watches over the tenant's evidence.
				"CreateSchedule":   scheduleRule,
				"DescribeSchedule": scheduleRule,
				"UpdateSchedule":   scheduleRule,
			}),
			// It tells the tenant's compliance when evidence was checked, and will be.
			RoleStarter: with(read, rules{"QueryWorkflow": nil, "DescribeSchedule": scheduleRule}),
			RoleOperator: with(read, rules{
				"DescribeTaskQueue":              nil,
				"TerminateWorkflowExecution":     nil,
				"RequestCancelWorkflowExecution": nil,
				"PatchSchedule":                  triggerRule,
			}),
			RoleCompliance: with(read, rules{"DescribeTaskQueue": nil, "PatchSchedule": triggerRule}),
		},
		requester: rules{
			"StartWorkflowExecution":  startRule(requestWorkflow, "signing", timeSkipping),
			"SignalWorkflowExecution": signalRule("saga", "withdraw"),
		},
		person: rules{
			// A grant, a key, an order about evidence, a renewal of it and a reindexing are refused by their own workflows where they are not the sender's to give: here it is enough that a person
			// of the tenant's file sends it.
			"StartWorkflowExecution": anyOf(startRule(grantWorkflow, "access", false), startRule(keyWorkflow, "enrolment", false), startRule(shredWorkflow, "shred", false),
				startRule(holdWorkflow, "hold", false), startRule(retainWorkflow, "retention", false), startRule(renewalWorkflow, "renewal", false), startRule(reindexWorkflow, "reindex", false)),
			"SignalWorkflowExecution": anyOf(
				signalRule("saga", "decide"), signalRule("access", "accept", "revoke", "give-back"), signalRule("enrolment", "retire"), signalRule("review", "close"), signalRule("hold", "answer"),
				signalRule("shred", "answer")),
		},
		watching: rules{"PatchSchedule": triggerRule},
		reach: rules{
			"GetSystemInfo":     nil,
			"GetClusterInfo":    nil,
			"DescribeNamespace": describeRule,
		},
	}
}

// rulesOf is what anybody may do on a server.
func rulesOf(c Config) roleRules {
	all := newRoleRules(c.TimeSkipping)
	if c.Forgetting {
		all.platform[RoleOperator] = with(all.platform[RoleOperator], rules{"DeleteWorkflowExecution": nil})
	}
	return all
}

func with(base, more rules) rules {
	all := rules{}
	for name, check := range base {
		all[name] = check
	}
	for name, check := range more {
		all[name] = check
	}
	return all
}

// describeRule refuses a namespace's id: the authoriser has checked its name.
func describeRule(_ *tenant, request any) error {
	describe, ok := request.(*workflowservice.DescribeNamespaceRequest)
	if !ok {
		return errUnexpected(request)
	}
	return onlyFields(describe, "namespace")
}

// maxSignal bounds a whole signal request: a decision has at most 32 KiB.
const maxSignal = 48 << 10

// anyOf allows what one of the rules allows.
func anyOf(all ...rule) rule {
	return func(t *tenant, request any) error {
		var refused []error
		for _, check := range all {
			err := check(t, request)
			if err == nil {
				return nil
			}
			refused = append(refused, err)
		}
		return errors.Join(refused...)
	}
}

// guessable are the kinds of workflows that are named by a request. Others are named by a digest, which only who knows them can tell.
var guessable = []string{"saga", "review", "hold"}

// signalRule allows signals of those names to the tenant's workflows of one kind. Of kinds whose names can be guessed a signal has to name the run as
// well, which only who was shown the workflow knows: the server says of a signal whether there is such a workflow, and of a wrong run it says the same
// whether there is or not.
func signalRule(kind string, names ...string) rule {
	return func(t *tenant, request any) error {
		signal, ok := request.(*workflowservice.SignalWorkflowExecutionRequest)
		if !ok {
			return errUnexpected(request)
		}
		if !slices.Contains(names, signal.GetSignalName()) {
			return fmt.Errorf("the signal isn't %q", strings.Join(names, "\", \""))
		}
		if err := checkID(signal.GetWorkflowExecution().GetWorkflowId(), kind+"/"+t.id+"/"); err != nil {
			return err
		}
		if slices.Contains(guessable, kind) && signal.GetWorkflowExecution().GetRunId() == "" {
			return errors.New("the signal names no run")
		}
		// The history keeps whatever a signal brings, so a few large ones could end a saga by its size.
		if size := proto.Size(signal); size > maxSignal {
			return fmt.Errorf("the signal has %d bytes, at most %d", size, maxSignal)
		}
		return onlyFields(signal, "namespace", "workflow_execution", "signal_name", "input", "identity", "request_id", "control", "header")
	}
}

// updateRule allows the one update that there is: a grant, or a key, notes its use. What decides something is a signal, because the server
// stamps a signal with its sender, and an update with the worker.
func updateRule(t *tenant, request any) error {
	var execution *commonpb.WorkflowExecution
	switch r := request.(type) {
	case *workflowservice.UpdateWorkflowExecutionRequest:
		if r.GetRequest().GetInput().GetName() != useUpdate {
			return fmt.Errorf("the update isn't %q", useUpdate)
		}
		execution = r.GetWorkflowExecution()
	case *workflowservice.PollWorkflowExecutionUpdateRequest:
		execution = r.GetUpdateRef().GetWorkflowExecution()
	default:
		return errUnexpected(request)
	}
	if checkID(execution.GetWorkflowId(), "access/"+t.id+"/") != nil && checkID(execution.GetWorkflowId(), "enrolment/"+t.id+"/") != nil {
		return errors.New("neither a grant nor a key has this workflow id")
	}
	return nil
}

// startRule allows the start of one kind of workflow and of nothing else. The fields that
// would let a client change how the custodian lives are refused: timeouts (they end
// it without evidence), eager execution (it hands out a workflow task), callbacks,
// cron, delays, version overrides, and every field that a later server may add.
func startRule(workflow, kind string, timeSkipping bool) rule {
	fields := []protoreflect.Name{
		"namespace", "workflow_id", "workflow_type", "task_queue", "input", "identity", "request_id",
		"workflow_id_reuse_policy", "workflow_id_conflict_policy", "memo", "search_attributes", "header",
		"user_metadata", "priority",
		"workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout",
	}
	if timeSkipping {
		fields = append(fields, "time_skipping_config")
	}
	// A request's name is taken once. A grant or a key that was refused leaves its name free, or somebody could take it from its owner.
	reuse := enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	switch workflow {
	case requestWorkflow:
	case holdWorkflow, retainWorkflow:
		// Evidence can be held, lifted and held again: one order after another.
		reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	default:
		reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	}
	return func(t *tenant, request any) error {
		start, ok := request.(*workflowservice.StartWorkflowExecutionRequest)
		if !ok {
			return errUnexpected(request)
		}
		if start.GetWorkflowType().GetName() != workflow {
			return fmt.Errorf("the workflow type isn't %q", workflow)
		}
		if err := checkID(start.GetWorkflowId(), kind+"/"+t.id+"/"); err != nil {
			return err
		}
		if !isQueue(start.GetTaskQueue()) {
			return fmt.Errorf("the task queue isn't %q", requestQueue)
		}
		if start.GetWorkflowIdReusePolicy() != reuse {
			return fmt.Errorf("the reuse policy isn't %s", reuse)
		}
		switch start.GetWorkflowIdConflictPolicy() {
		case enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED, enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL:
		default:
			return errors.New("the conflict policy isn't FAIL")
		}
		// A task that may take long keeps a dead worker's task for as long; one that may take no time never ends, and the workflow with it.
		if timeout := start.GetWorkflowTaskTimeout().AsDuration(); timeout != 0 && timeout != taskTimeout {
			return fmt.Errorf("the workflow task timeout isn't %s", taskTimeout)
		}
		if start.GetWorkflowExecutionTimeout().AsDuration() != 0 || start.GetWorkflowRunTimeout().AsDuration() != 0 {
			return errors.New("a workflow has no timeout of its own; stages and grants have deadlines")
		}
		return onlyFields(start, fields...)
	}
}

func isQueue(queue *taskqueuepb.TaskQueue) bool {
	return queue.GetName() == requestQueue && queue.GetNormalName() == "" &&
		(queue.GetKind() == enumspb.TASK_QUEUE_KIND_UNSPECIFIED || queue.GetKind() == enumspb.TASK_QUEUE_KIND_NORMAL)
}

func checkID(id, prefix string) error {
	if !strings.HasPrefix(id, prefix) || len(id) == len(prefix) || len(id) > maxWorkflowID {
		return fmt.Errorf("the workflow id doesn't start with %q, or is too short or long", prefix)
	}
	return nil
}

// onlyFields refuses a message that sets any other field, known or unknown.
func onlyFields(message proto.Message, allowed ...protoreflect.Name) error {
	var refused error
	reflected := message.ProtoReflect()
	reflected.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(allowed, field.Name()) {
			refused = fmt.Errorf("the field %s may not be set", field.Name())
		}
		return refused == nil
	})
	if refused == nil && len(reflected.GetUnknown()) > 0 {
		refused = errors.New("the request has unknown fields")
	}
	return refused
}

func errUnexpected(request any) error { return fmt.Errorf("unexpected request %T", request) }
