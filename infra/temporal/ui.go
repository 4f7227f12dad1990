package temporal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// UI is the Temporal Web UI for development. It has no login of its own: whoever
// reaches its port on this machine reads the histories of all tenants. It can't
// change anything, because it speaks to the server with the compliance role, which
// reads only, and its write actions are switched off besides.
//
// The UI's server side connects to a gRPC proxy on a Unix socket in a private
// directory; the proxy adds the compliance token of the namespace that a request
// names. Whatever authorization a browser sends is dropped there.
type UI struct {
	ui     *uiserver.Server
	proxy  *grpc.Server
	conn   *grpc.ClientConn
	socket string
	done   chan struct{}
}

// StartUI serves the Web UI of the Temporal server at temporalAddress on address
// (127.0.0.1 with a port). token returns a compliance platform token for a namespace.
func StartUI(address, temporalAddress string, namespaces []string, token func(namespace string) (string, error)) (*UI, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	if len(namespaces) == 0 {
		return nil, errors.New("couldn't start the Web UI: no namespaces")
	}
	// The UI's server ends the whole process when its port is taken, so look first.
	probe, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("couldn't start the Web UI: %w", err)
	}
	probe.Close()

	dir, err := os.MkdirTemp("", "countersign-ui-")
	if err != nil {
		return nil, fmt.Errorf("couldn't make the Web UI's directory: %w", err)
	}
	u := &UI{socket: filepath.Join(dir, "temporal.sock"), done: make(chan struct{})}
	if err := u.startProxy(temporalAddress, namespaces, token); err != nil {
		u.Stop()
		return nil, fmt.Errorf("couldn't start the Web UI's proxy: %w", err)
	}
	u.ui = uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress:      "unix://" + u.socket,
		Host:                     host,
		Port:                     port,
		EnableUI:                 true,
		DefaultNamespace:         namespaces[0],
		DisableWriteActions:      true,
		ActivityCommandsDisabled: true,
		DisableNewsFetch:         true,
		HideLogs:                 true,
		CORS:                     uiconfig.CORS{CookieInsecure: true},
	}))
	go func() {
		defer close(u.done)
		_ = u.ui.Start() // it returns nil after Stop and ends the process on any other error
	}()
	if err := awaitListener(address, 10*time.Second); err != nil {
		u.Stop()
		return nil, fmt.Errorf("couldn't start the Web UI: %w", err)
	}
	return u, nil
}

// awaitListener returns when somebody listens on address.
func awaitListener(address string, within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// Stop ends the UI and its proxy.
func (u *UI) Stop() {
	if u.ui != nil {
		u.ui.Stop()
		<-u.done
	}
	if u.proxy != nil {
		u.proxy.Stop()
	}
	if u.conn != nil {
		u.conn.Close()
	}
	_ = os.RemoveAll(filepath.Dir(u.socket))
}

func (u *UI) startProxy(temporalAddress string, namespaces []string, token func(string) (string, error)) error {
	authorise := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		namespace := namespaces[0]
		if named, ok := request.(interface{ GetNamespace() string }); ok && slices.Contains(namespaces, named.GetNamespace()) {
			namespace = named.GetNamespace()
		}
		bearer, err := token(namespace)
		if err != nil {
			return err
		}
		return invoke(metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+bearer)), method, request, reply, conn, options...)
	}
	var err error
	u.conn, err = grpc.NewClient(temporalAddress, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(authorise),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	client := workflowservice.NewWorkflowServiceClient(u.conn)
	forward, err := proxy.NewWorkflowServiceProxyServer(proxy.WorkflowServiceProxyOptions{Client: client, DisableHeaderForwarding: true})
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", u.socket)
	if err != nil {
		return err
	}
	u.proxy = grpc.NewServer(grpc.ConnectionTimeout(5 * time.Second))
	workflowservice.RegisterWorkflowServiceServer(u.proxy, &uiProxy{WorkflowServiceServer: forward, client: client, namespaces: namespaces})
	operatorservice.RegisterOperatorServiceServer(u.proxy, &uiOperator{})
	go func() { _ = u.proxy.Serve(listener) }()
	return nil
}

// uiProxy answers ListNamespaces from the known namespaces, because no role may
// list the namespaces of all tenants.
type uiProxy struct {
	workflowservice.WorkflowServiceServer
	client     workflowservice.WorkflowServiceClient
	namespaces []string
}

func (p *uiProxy) ListNamespaces(ctx context.Context, _ *workflowservice.ListNamespacesRequest) (*workflowservice.ListNamespacesResponse, error) {
	list := &workflowservice.ListNamespacesResponse{}
	for _, name := range p.namespaces {
		described, err := p.client.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
		if err != nil {
			return nil, err
		}
		list.Namespaces = append(list.Namespaces, described)
	}
	return list, nil
}

// uiOperator tells the UI that there are no search attributes of our own; it asks
// for them to offer filters. The real operator service is closed to every role.
type uiOperator struct {
	operatorservice.UnimplementedOperatorServiceServer
}

func (*uiOperator) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	return &operatorservice.ListSearchAttributesResponse{}, nil
}
