package temporal

import (
	"context"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// testCalls sends real requests as everybody and compares who is let through.
func (s *session) testCalls(t *testing.T) {
	execution := &commonpb.WorkflowExecution{WorkflowId: sagaID}
	decide := func(namespace, id, name string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.api.SignalWorkflowExecution(ctx, signalRequest(namespace, id, s.run, name))
			return err
		}
	}
	calls := map[string]func(context.Context) error{
		"decide":               decide("acme", sagaID, "decide"),
		"other signal":         decide("acme", sagaID, "other"),
		"decide on the parent": decide("acme", "signing/acme/1", "decide"),
		"decide at the other":  decide("globex", "saga/globex/1", "decide"),
		"decide with other id": decide("acme", "saga/globex/1", "decide"),
		"decide, no namespace": decide("", sagaID, "decide"),
		"decide in the system": decide("temporal-system", sagaID, "decide"),
		"start": func(ctx context.Context) error {
			request := goodStart()
			request.WorkflowId = "signing/acme/2"
			_, err := s.api.StartWorkflowExecution(ctx, request)
			return err
		},
		"signal with start": func(ctx context.Context) error {
			_, err := s.api.SignalWithStartWorkflowExecution(ctx, &workflowservice.SignalWithStartWorkflowExecutionRequest{
				Namespace: "acme", WorkflowId: sagaID, SignalName: "decide", WorkflowType: &commonpb.WorkflowType{Name: "RequestSigning"},
				TaskQueue: &taskqueuepb.TaskQueue{Name: "signing"},
			})
			return err
		},
		"poll": func(ctx context.Context) error {
			_, err := s.api.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "acme", TaskQueue: &taskqueuepb.TaskQueue{Name: "nobody's"}})
			return err
		},
		"poll globex": func(ctx context.Context) error {
			_, err := s.api.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "globex", TaskQueue: &taskqueuepb.TaskQueue{Name: "signing"}})
			return err
		},
		"terminate": func(ctx context.Context) error {
			_, err := s.api.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "absent"}})
			return err
		},
		"cancel": func(ctx context.Context) error {
			_, err := s.api.RequestCancelWorkflowExecution(ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "absent"}})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := s.api.DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: execution})
			return err
		},
		"reset": func(ctx context.Context) error {
			_, err := s.api.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: execution, WorkflowTaskFinishEventId: 3})
			return err
		},
		"update": func(ctx context.Context) error {
			_, err := s.api.UpdateWorkflowExecution(ctx, &workflowservice.UpdateWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: execution, Request: &updatepb.Request{Input: &updatepb.Input{Name: "decide"}}})
			return err
		},
		"use a grant": func(ctx context.Context) error {
			_, err := s.api.UpdateWorkflowExecution(ctx, &workflowservice.UpdateWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "access/acme/absent"}, Request: &updatepb.Request{Input: &updatepb.Input{Name: "use"}}})
			return err
		},
		"query": func(ctx context.Context) error {
			_, err := s.api.QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{Namespace: "acme", Execution: execution, Query: &querypb.WorkflowQuery{QueryType: "__stack_trace"}})
			return err
		},
		"describe": func(ctx context.Context) error {
			_, err := s.api.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "acme", Execution: execution})
			return err
		},
		"describe globex": func(ctx context.Context) error {
			_, err := s.api.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "globex"})
			return err
		},
		"system": func(ctx context.Context) error {
			_, err := s.api.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
			return err
		},
		"namespaces": func(ctx context.Context) error {
			_, err := s.api.ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{})
			return err
		},
	}
	// What isn't named is denied.
	for who, allowed := range map[string][]string{
		"acme/alice":               {"decide", "system"},
		"hart/carol":               {"decide", "system"},
		"acme/ben":                 {"decide", "start", "system"},
		"acme/reporting":           {"system"},
		"globex/gina":              {"decide at the other", "describe globex", "system"},
		"acme/stranger":            {},
		"hart/stranger":            {},
		"":                         {},
		"platform:worker/acme":     {"decide", "other signal", "decide on the parent", "decide with other id", "poll", "use a grant", "query", "describe", "system"},
		"platform:worker/globex":   {"decide at the other", "poll globex", "describe globex", "system"},
		"platform:starter/acme":    {"query", "describe", "system"},
		"platform:operator/acme":   {"terminate", "cancel", "describe", "system"},
		"platform:compliance/acme": {"describe", "system"},
	} {
		want := map[string]bool{}
		for _, name := range allowed {
			if calls[name] == nil {
				t.Fatalf("no call %q", name)
			}
			want[name] = true
		}
		for name, call := range calls {
			t.Run(who+" "+name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if want[name] && (name == "poll" || name == "poll globex") {
					ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
					defer cancel()
				}
				// Denial is told apart from every other failure by its code alone.
				err := call(s.as(ctx, t, who))
				if denied := status.Code(err) == codes.PermissionDenied; denied == want[name] {
					t.Errorf("got %v, want allowed %v", err, want[name])
				}
			})
		}
	}
}

// testEveryMethod calls each method of each service with nothing but a namespace, as
// an approver and as nobody.
func (s *session) testEveryMethod(t *testing.T) {
	harmless := map[string]bool{"DescribeNamespace": true, "GetSystemInfo": true, "GetClusterInfo": true}
	for _, service := range services() {
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			for _, who := range []string{"acme/alice", ""} {
				allowed := who != "" && harmless[string(method.Name())] && service.Name() == "WorkflowService"
				t.Run(string(service.Name())+"/"+string(method.Name())+" "+who, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					err := s.invoke(s.as(ctx, t, who), t, "/"+string(service.FullName())+"/"+string(method.Name()), method)
					denied := status.Code(err) == codes.PermissionDenied
					if method.IsStreamingServer() {
						// The server doesn't translate a refusal for streams into the code.
						denied = err != nil && status.Convert(err).Message() == authorization.RequestUnauthorized
					}
					if denied == allowed {
						t.Errorf("got %v, want allowed %v", err, allowed)
					}
				})
			}
		}
	}
}

func (s *session) invoke(ctx context.Context, t *testing.T, path string, method protoreflect.MethodDescriptor) error {
	t.Helper()
	request, reply := newMessage(t, method.Input()), newMessage(t, method.Output())
	if field := method.Input().Fields().ByName("namespace"); field != nil && field.Kind() == protoreflect.StringKind {
		request.ProtoReflect().Set(field, protoreflect.ValueOfString("acme"))
	}
	if !method.IsStreamingClient() && !method.IsStreamingServer() {
		return s.conn.Invoke(ctx, path, request, reply)
	}
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path)
	if err != nil {
		return err
	}
	_ = stream.SendMsg(request)
	return stream.RecvMsg(reply)
}

func newMessage(t *testing.T, descriptor protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}
