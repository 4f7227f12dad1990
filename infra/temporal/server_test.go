package temporal

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const sagaID = "saga/acme/1"

// requestSigning is the least custodian: it starts a saga and waits for it.
func requestSigning(ctx workflow.Context) error {
	return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: sagaID}), saga).Get(ctx, nil)
}

func saga(ctx workflow.Context) error {
	// The last signal ends it.
	workflow.GetSignalChannel(ctx, "withdraw").Receive(ctx, nil)
	return nil
}

// bearer is a HeadersProvider for one token.
type bearer string

func (b bearer) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

var _ log.Logger = quiet{}

func freeAddress(t testing.TB) string {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return (&net.TCPAddr{IP: net.ParseIP(loopback), Port: ports[0]}).String()
}

// TestServer runs a real server, because what counts is what the server does with the
// authorizer's answer.
func TestServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	server, err := Start(Config{Dir: dir, Address: freeAddress(t), Directory: w.directory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(server.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &session{world: w, conn: conn, api: workflowservice.NewWorkflowServiceClient(conn)}

	acme, err := client.Dial(client.Options{
		HostPort: server.Address, Namespace: "acme", HeadersProvider: bearer(w.token(t, "platform:worker/acme")), Logger: quiet{},
	})
	if err != nil {
		t.Fatalf("the worker can't connect: %v", err)
	}
	t.Cleanup(acme.Close)
	work := worker.New(acme, "signing", worker.Options{})
	work.RegisterWorkflowWithOptions(requestSigning, workflow.RegisterOptions{Name: "RequestSigning"})
	work.RegisterWorkflow(saga)
	if err := work.Start(); err != nil {
		t.Fatalf("the worker can't start: %v", err)
	}
	t.Cleanup(work.Stop)

	requester, err := client.Dial(client.Options{
		HostPort: server.Address, Namespace: "acme", HeadersProvider: bearer(w.token(t, "acme/procurement")), Logger: quiet{},
	})
	if err != nil {
		t.Fatalf("the requester can't connect: %v", err)
	}
	t.Cleanup(requester.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	start := client.StartWorkflowOptions{
		ID: "signing/acme/1", TaskQueue: "signing", WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true, Memo: map[string]any{"fingerprint": "x"},
	}
	if _, err := requester.ExecuteWorkflow(ctx, start, "RequestSigning"); err != nil {
		t.Fatalf("the requester can't start a signing: %v", err)
	}
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if _, err := requester.ExecuteWorkflow(ctx, start, "RequestSigning"); !errors.As(err, &started) {
		t.Errorf("a second start: got %v, want AlreadyStarted", err)
	}
	s.awaitSaga(ctx, t)
	if text, err := os.ReadFile(filepath.Join(dir, "server.log")); err != nil || bytes.Contains(text, []byte("denied")) {
		t.Errorf("something that the SDK needs is denied: %v %s", err, text)
	}

	t.Run("calls", s.testCalls)
	t.Run("every method", s.testEveryMethod)
	t.Run("forged", s.testForged)
	t.Run("inner services", func(t *testing.T) { testInnerServices(t, server) })
	t.Run("principals", s.testPrincipals)
}

type session struct {
	*world
	conn *grpc.ClientConn
	api  workflowservice.WorkflowServiceClient
	run  string // of the saga
}

func (s *session) as(ctx context.Context, t *testing.T, who string) context.Context {
	t.Helper()
	if who == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.token(t, who))
}

// awaitSaga waits for the child with the server's long poll.
func (s *session) awaitSaga(ctx context.Context, t *testing.T) {
	t.Helper()
	for {
		found, err := s.api.DescribeWorkflowExecution(s.as(ctx, t, "platform:compliance/acme"), &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: "acme", Execution: &commonpb.WorkflowExecution{WorkflowId: sagaID},
		})
		if err == nil {
			s.run = found.GetWorkflowExecutionInfo().GetExecution().GetRunId()
			return
		}
		if status.Code(err) != codes.NotFound {
			t.Fatalf("the compliance role can't describe the saga: %v", err)
		}
		select {
		case <-ctx.Done():
			t.Fatal("the saga doesn't start")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func signalRequest(namespace, id, run, name string) *workflowservice.SignalWorkflowExecutionRequest {
	return &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: run}, SignalName: name, Identity: "says anything",
	}
}

func (s *session) testForged(t *testing.T) {
	evidence := s.acme.claims("alice")
	evidence["aud"] = "countersign-evidence"
	for name, token := range map[string]string{
		"foreign key":       sign(t, s.globex.key, s.acme.kid, s.acme.claims("alice")),
		"evidence audience": sign(t, s.acme.key, s.acme.kid, evidence),
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		_, err := s.api.SignalWorkflowExecution(ctx, signalRequest("acme", sagaID, s.run, "decide"))
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: got %v, want PermissionDenied", name, err)
		}
	}
}

// testInnerServices knocks at the ports behind the authorizer: whoever connects
// without the certificate of this start must get no answer.
func testInnerServices(t *testing.T, server *Server) {
	if len(server.inner) != 4 {
		t.Fatalf("there are %d inner services, want 4", len(server.inner))
	}
	for _, address := range server.inner {
		for name, transport := range map[string]credentials.TransportCredentials{
			"plain": insecure.NewCredentials(),
			"TLS":   credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), //nolint:gosec // an intruder wouldn't verify
		} {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err = workflowservice.NewWorkflowServiceClient(conn).GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
			if status.Code(err) != codes.Unavailable {
				t.Errorf("%s answers over %s: %v", address, name, err)
			}
			cancel()
			conn.Close()
		}
	}
}

// testPrincipals sends signals as several people and looks at who the history says
// they were. A caller's own principal headers and Identity count for nothing.
func (s *session) testPrincipals(t *testing.T) {
	senders := []struct{ who, kind, name string }{
		{"acme/alice", KindPerson, s.acme.url + "#alice"},
		{"hart/carol", KindPerson, s.hart.url + "#carol"},
		{"platform:worker/acme", KindPlatform, "platform#worker/acme"},
	}
	for _, sender := range senders {
		request := signalRequest("acme", sagaID, s.run, "decide")
		request.Identity = "principal of " + sender.who
		ctx := metadata.AppendToOutgoingContext(s.as(t.Context(), t, sender.who),
			"temporal-principal-type", KindPerson, "temporal-principal-name", s.acme.url+"#olivia")
		if _, err := s.api.SignalWorkflowExecution(ctx, request); err != nil {
			t.Fatalf("%s: %v", sender.who, err)
		}
	}
	if _, err := s.api.SignalWorkflowExecution(s.as(t.Context(), t, "acme/procurement"), signalRequest("acme", sagaID, s.run, "withdraw")); err != nil {
		t.Fatalf("the machine can't withdraw: %v", err)
	}
	// A signal during a workflow task is buffered; the history has it once the run has
	// closed.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := s.api.GetWorkflowExecutionHistory(s.as(ctx, t, "platform:compliance/acme"), &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: "acme", Execution: &commonpb.WorkflowExecution{WorkflowId: sagaID}, WaitNewEvent: true,
		HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
	}); err != nil {
		t.Fatal(err)
	}
	events := s.history(t, sagaID)
	for _, sender := range senders {
		found := false
		for _, event := range events {
			if event.GetWorkflowExecutionSignaledEventAttributes().GetIdentity() != "principal of "+sender.who {
				continue
			}
			found = true
			if p := event.GetPrincipal(); p.GetType() != sender.kind || p.GetName() != sender.name {
				t.Errorf("%s is stamped as %v", sender.who, p)
			}
		}
		if !found {
			t.Errorf("the signal of %s isn't in the history", sender.who)
		}
	}
	for _, event := range events {
		if event.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == "withdraw" {
			if p := event.GetPrincipal(); p.GetType() != KindMachine || p.GetName() != s.acme.url+"#procurement" {
				t.Errorf("the machine is stamped as %v", p)
			}
		}
	}
	if p := s.history(t, "signing/acme/1")[0].GetPrincipal(); p.GetName() != s.acme.url+"#procurement" {
		t.Errorf("the start is stamped as %v", p)
	}
}

func (s *session) history(t *testing.T, id string) []*historypb.HistoryEvent {
	t.Helper()
	answer, err := s.api.GetWorkflowExecutionHistory(s.as(t.Context(), t, "platform:compliance/acme"), &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: "acme", Execution: &commonpb.WorkflowExecution{WorkflowId: id},
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer.GetHistory().GetEvents()
}
