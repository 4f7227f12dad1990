package temporal

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/api/adminservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/log"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

var update = flag.Bool("update", false, "write the golden files anew")

func services() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{
		workflowservice.File_temporal_api_workflowservice_v1_service_proto.Services().Get(0),
		operatorservice.File_temporal_api_operatorservice_v1_service_proto.Services().Get(0),
		adminservice.File_temporal_server_api_adminservice_v1_service_proto.Services().Get(0),
	}
}

// TestEveryMethodIsAccountedFor compares who may call what with a reviewed list. A
// method that a new server brings fails the test until somebody has looked at it.
func TestEveryMethodIsAccountedFor(t *testing.T) {
	t.Parallel()
	all := newRoleRules(false)
	lists := []struct {
		name string
		list rules
	}{
		{"anyone", all.reach}, {"person", all.person}, {"requester", all.requester}, {"watching", all.watching},
		{"worker", all.platform[RoleWorker]}, {"starter", all.platform[RoleStarter]},
		{"operator", all.platform[RoleOperator]}, {"compliance", all.platform[RoleCompliance]},
	}
	var text strings.Builder
	known := map[string]bool{}
	for _, service := range services() {
		for i := range service.Methods().Len() {
			method := string(service.Methods().Get(i).Name())
			fmt.Fprintf(&text, "%s/%s:", service.Name(), method)
			if service.Name() == "WorkflowService" {
				known[method] = true
				for _, l := range lists {
					if check, listed := l.list[method]; listed {
						text.WriteString(" " + l.name)
						if check != nil {
							text.WriteString("(checked)")
						}
					}
				}
			}
			text.WriteByte('\n')
		}
	}
	for _, l := range lists {
		for method := range l.list {
			if !known[method] {
				t.Errorf("the list of %s names %s, which the server doesn't have", l.name, method)
			}
		}
	}
	const golden = "testdata/methods.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("who may call what has changed; review it, then run with -update. It is now:\n%s", text.String())
	}
}

func goodStart() *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "acme", WorkflowId: "signing/acme/1",
		WorkflowType:             &commonpb.WorkflowType{Name: "RequestSigning"},
		TaskQueue:                &taskqueuepb.TaskQueue{Name: "signing"},
		WorkflowIdReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionTimeout: durationpb.New(0), WorkflowRunTimeout: durationpb.New(0),
	}
}

func TestARequesterStartsASigningAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*workflowservice.StartWorkflowExecutionRequest)
		want   bool
	}{
		{"a signing", func(*workflowservice.StartWorkflowExecutionRequest) {}, true},
		{"with conflict policy FAIL", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL
		}, true},
		{"with the server's own task timeout", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowTaskTimeout = durationpb.New(10 * time.Second)
		}, true},
		{"with tasks that have no time", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowTaskTimeout = durationpb.New(time.Millisecond)
		}, false},
		{"with tasks that have an hour", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowTaskTimeout = durationpb.New(time.Hour)
		}, false},
		{"another type", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowType.Name = "Signing" }, false},
		{"another tenant's id", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowId = "signing/globex/1" }, false},
		{"a saga's id", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowId = "saga/acme/1" }, false},
		{"an empty request id", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowId = "signing/acme/" }, false},
		{"a long id", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowId = "signing/acme/" + strings.Repeat("x", maxWorkflowID)
		}, false},
		{"another queue", func(r *workflowservice.StartWorkflowExecutionRequest) { r.TaskQueue.Name = "kms" }, false},
		{"a sticky queue", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.TaskQueue.Kind = enumspb.TASK_QUEUE_KIND_STICKY
		}, false},
		{"no queue", func(r *workflowservice.StartWorkflowExecutionRequest) { r.TaskQueue = nil }, false},
		{"reuse allowed", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
		}, false},
		{"reuse that terminates", func(r *workflowservice.StartWorkflowExecutionRequest) {
			//lint:ignore SA1019 a client can still send it, so it must be refused
			r.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
		}, false},
		{"no reuse policy", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowIdReusePolicy = 0 }, false},
		{"conflict that terminates", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
		}, false},
		{"eager execution", func(r *workflowservice.StartWorkflowExecutionRequest) { r.RequestEagerExecution = true }, false},
		{"a timeout", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.WorkflowExecutionTimeout = durationpb.New(1)
		}, false},
		{"a run timeout", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowRunTimeout = durationpb.New(1) }, false},
		{"cron", func(r *workflowservice.StartWorkflowExecutionRequest) { r.CronSchedule = "* * * * *" }, false},
		{"a callback", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.CompletionCallbacks = []*commonpb.Callback{{}}
		}, false},
		{"a delay", func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowStartDelay = durationpb.New(1) }, false},
		{"time skipping", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.TimeSkippingConfig = &commonpb.TimeSkippingConfig{}
		}, false},
		{"an unknown field", func(r *workflowservice.StartWorkflowExecutionRequest) {
			r.ProtoReflect().SetUnknown([]byte{0xf8, 0xff, 0x03, 0x01})
		}, false},
	} {
		request := goodStart()
		c.change(request)
		for who, allowed := range map[string]bool{
			"acme/ben": c.want, "acme/procurement": c.want,
			"acme/alice": false, "acme/reporting": false, "acme/stranger": false, "hart/carol": false, "globex/procurement": false,
			"platform:starter/acme": false, "platform:worker/acme": false, "": false,
		} {
			if got := w.allows(t, who, "StartWorkflowExecution", "acme", request); got != allowed {
				t.Errorf("%s: %q is allowed: %v, want %v", c.name, who, got, allowed)
			}
		}
	}
}

func TestTimeSkippingIsForStacksThatAskForIt(t *testing.T) {
	t.Parallel()
	request := goodStart()
	request.TimeSkippingConfig = &commonpb.TimeSkippingConfig{}
	acme := &tenant{id: "acme", namespace: "acme"}
	if err := newRoleRules(true).requester["StartWorkflowExecution"](acme, request); err != nil {
		t.Errorf("with time skipping: %v", err)
	}
	if err := newRoleRules(false).requester["StartWorkflowExecution"](acme, request); err == nil {
		t.Error("without it, the start is allowed")
	}
}

// allows asks the claim mapper and the authorizer, as the server's interceptor does.
func (w *world) allows(t *testing.T, who, method, namespace string, request any) bool {
	t.Helper()
	a := &authorizer{directory: w.directory, rules: newRoleRules(false), logger: log.NewNoopLogger()}
	var claims *authorization.Claims
	if who != "" {
		var err error
		if claims, err = newClaimMapper(w.directory).GetClaims(&authorization.AuthInfo{AuthToken: "Bearer " + w.token(t, who)}); err != nil {
			t.Fatal(err)
		}
	}
	result, err := a.Authorize(t.Context(), claims, &authorization.CallTarget{
		APIName: workflowService + method, Namespace: namespace, Request: request,
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Decision != authorization.DecisionAllow && result.Reason != notPermitted {
		t.Errorf("the caller is told %q", result.Reason)
	}
	return result.Decision == authorization.DecisionAllow
}

func TestADescribeByIDIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if !w.allows(t, "acme/alice", "DescribeNamespace", "acme", &workflowservice.DescribeNamespaceRequest{Namespace: "acme"}) {
		t.Error("alice may not describe her tenant's namespace")
	}
	if w.allows(t, "acme/alice", "DescribeNamespace", "acme", &workflowservice.DescribeNamespaceRequest{Namespace: "acme", Id: "of globex"}) {
		t.Error("alice describes a namespace by its id")
	}
}

// TestAPersonGivesGrantsAndEnrolsKeys starts and signals what keeps a person's own authority; its workflow refuses what is not the sender's.
func TestAPersonGivesGrantsAndEnrolsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func(workflow, id string, reuse enumspb.WorkflowIdReusePolicy) *workflowservice.StartWorkflowExecutionRequest {
		r := goodStart()
		r.WorkflowType.Name, r.WorkflowId, r.WorkflowIdReusePolicy = workflow, id, reuse
		return r
	}
	const failed, reject = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	signal := func(id, name string) *workflowservice.SignalWorkflowExecutionRequest {
		return &workflowservice.SignalWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}, SignalName: name}
	}
	to := func(id, run, name string) *workflowservice.SignalWorkflowExecutionRequest {
		r := signal(id, name)
		r.WorkflowExecution.RunId = run
		return r
	}
	for name, c := range map[string]struct {
		request any
		want    bool
	}{
		"a grant":                     {start("Access", "access/acme/1", failed), true},
		"a key":                       {start("Enrolment", "enrolment/acme/1", failed), true},
		"a renewal":                   {start("Renewal", "renewal/acme/1", failed), true},
		"a renewal of another tenant": {start("Renewal", "renewal/globex/1", failed), false},
		"a reindexing":                {start("Reindex", "reindex/acme/1", failed), true},
		"a reindexing of another":     {start("Reindex", "reindex/globex/1", failed), false},
		"a grant of another tenant":   {start("Access", "access/globex/1", failed), false},
		"a grant under a key's name":  {start("Access", "enrolment/acme/1", failed), false},
		"a key under a grant's name":  {start("Enrolment", "access/acme/1", failed), false},
		"a grant that takes its name": {start("Access", "access/acme/1", reject), false},
		"a saga":                      {start("Signing", "saga/acme/1", failed), false},
		"accept":                      {signal("access/acme/1", "accept"), true},
		"revoke":                      {signal("access/acme/1", "revoke"), true},
		"give back":                   {signal("access/acme/1", "give-back"), true},
		"retire":                      {signal("enrolment/acme/1", "retire"), true},
		"retire a grant":              {signal("access/acme/1", "retire"), false},
		"revoke a key":                {signal("enrolment/acme/1", "revoke"), false},
		"a shredding":                 {start("Shredding", "shred/acme/1", failed), true},
		"a shredding of another":      {start("Shredding", "shred/globex/1", failed), false},
		"answer a shredding":          {signal("shred/acme/1", "answer"), true},
		"answer another's shredding":  {signal("shred/globex/1", "answer"), false},
		"answer a grant":              {signal("access/acme/1", "answer"), false},
		"decide in a grant":           {signal("access/acme/1", "decide"), false},
		"decide in a run":             {to("saga/acme/1", "a-run", "decide"), true},
		"decide in whichever run":     {signal("saga/acme/1", "decide"), false},
		"close in a run":              {to("review/acme/1", "a-run", "close"), true},
		"close in whichever run":      {signal("review/acme/1", "close"), false},
		"answer in a run":             {to("hold/acme/1", "a-run", "answer"), true},
		"answer in whichever run":     {signal("hold/acme/1", "answer"), false},
		"accept of another tenant":    {signal("access/globex/1", "accept"), false},
	} {
		method := "StartWorkflowExecution"
		if _, ok := c.request.(*workflowservice.SignalWorkflowExecutionRequest); ok {
			method = "SignalWorkflowExecution"
		}
		for who, allowed := range map[string]bool{
			"acme/alice": c.want, "hart/carol": c.want, "acme/procurement": false, "acme/stranger": false, "globex/gina": false,
			"platform:starter/acme": false, "platform:operator/acme": false, "": false,
		} {
			if got := w.allows(t, who, method, "acme", c.request); got != allowed {
				t.Errorf("%s: %q is allowed: %v, want %v", name, who, got, allowed)
			}
		}
	}
}
