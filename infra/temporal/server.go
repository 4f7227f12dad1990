// Package temporal runs a Temporal server inside the process, with one namespace
// per tenant, principals on every history event and an authoriser that denies by
// default. It is for development and tests; the claim mapper and the authoriser are
// what a production server would be built with.
package temporal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"

	enumspb "go.temporal.io/api/enums/v1"
)

const (
	loopback    = "127.0.0.1"
	clusterName = "active"
	// minRetention keeps a closed run long enough for the custodian and for a
	// developer to come back after a weekend.
	minRetention = 72 * time.Hour
)

// Config says how to run the server. Dir, Address and Directory are required.
type Config struct {
	// Dir holds the database, or with Postgres the log alone; it is made when missing.
	Dir string
	// Postgres holds the state instead of a file in Dir.
	Postgres *Postgres
	// Address is the public frontend's, on 127.0.0.1 with a port.
	Address string
	// Directory says who may reach what; its namespaces are created.
	Directory *Directory
	// Retention of closed runs; at least 72 hours, which is also the default.
	Retention time.Duration
	// SearchAttributes are registered in each namespace when it is created.
	SearchAttributes map[string]enumspb.IndexedValueType
	// LogFile takes the server's warnings and denials; default Dir/server.log.
	LogFile string
	// TimeSkipping lets a requester start workflows with a TimeSkippingConfig. For
	// tests only.
	TimeSkipping bool
	// Forgetting lets a tenant's operator delete workflows, as retention does in time. For tests only.
	Forgetting bool
	// AnyNamespace lets whoever has a role in one tenant use it in every tenant's
	// namespace. It is for tests of what else keeps tenants apart, and for nothing else.
	AnyNamespace bool
}

// Server is a running Temporal server.
type Server struct {
	// Address of the public frontend.
	Address string
	server  temporal.Server
	inner   []string // addresses of the services behind the frontend
}

// Start runs a server and returns when its frontend listens. One database may be
// open in one server only; the caller locks the directory.
func Start(c Config) (*Server, error) {
	host, port, err := splitAddress(c.Address)
	if err != nil {
		return nil, err
	}
	if c.Directory == nil {
		return nil, errors.New("couldn't start Temporal: no directory of tenants")
	}
	if c.Retention < minRetention {
		c.Retention = minRetention
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make Temporal's directory: %w", err)
	}
	if c.LogFile == "" {
		c.LogFile = filepath.Join(c.Dir, "server.log")
	}
	stores, err := prepareStores(c)
	if err != nil {
		return nil, fmt.Errorf("couldn't prepare Temporal's database: %w", err)
	}
	conf, hosts, err := serverConfig(host, port, stores)
	if err != nil {
		return nil, fmt.Errorf("couldn't configure Temporal: %w", err)
	}
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn", OutputFile: c.LogFile}))
	mapper := newClaimMapper(c.Directory)
	server, err := temporal.NewServer(
		temporal.WithConfig(conf),
		temporal.ForServices(append([]string{string(primitives.InternalFrontendService)}, temporal.DefaultServices...)),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(&authorizer{directory: c.Directory, rules: rulesOf(c), anyNamespace: c.AnyNamespace, logger: logger}),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return mapper }),
		temporal.WithDynamicConfigClient(dynamicConfig(c.TimeSkipping)),
	)
	if err != nil {
		return nil, fmt.Errorf("couldn't build the Temporal server: %w", err)
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("couldn't start the Temporal server: %w", err)
	}
	s := &Server{Address: c.Address, server: server}
	for name, host := range hosts {
		if name != primitives.FrontendService {
			s.inner = append(s.inner, host.Self)
		}
	}
	return s, nil
}

// Stop ends the server; running workflows go on after the next start.
func (s *Server) Stop() error {
	if err := s.server.Stop(); err != nil {
		return fmt.Errorf("couldn't stop the Temporal server: %w", err)
	}
	return nil
}

func splitAddress(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("couldn't read Temporal's address %q: %w", address, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 || host != loopback {
		return "", 0, fmt.Errorf("couldn't use Temporal's address %q: it must be %s with a port", address, loopback)
	}
	return host, port, nil
}

// prepareStores makes the schema and the namespaces as needed.
func prepareStores(c Config) (config.Persistence, error) {
	if c.Postgres != nil {
		if err := c.Postgres.prepare(); err != nil {
			return config.Persistence{}, err
		}
		return c.Postgres.persistence(), prepareNamespaces(c.Postgres.store(c.Postgres.Database), c)
	}
	file := &config.SQL{
		PluginName:        sqliteplugin.PluginName,
		DatabaseName:      filepath.Join(c.Dir, "temporal.sqlite"),
		ConnectAttributes: map[string]string{"mode": "rwc", "journal_mode": "wal", "synchronous": "1"},
		MaxConns:          1,
		MaxIdleConns:      1,
	}
	if err := prepareFile(file); err != nil {
		return config.Persistence{}, err
	}
	return config.Persistence{
		DefaultStore:     sqliteplugin.PluginName,
		VisibilityStore:  sqliteplugin.PluginName,
		NumHistoryShards: 1,
		DataStores:       map[string]config.DataStore{sqliteplugin.PluginName: {SQL: file}},
	}, prepareNamespaces(file, c)
}

// prepareFile makes the schema once, in a file of another name that is then renamed,
// so that a crash in the middle leaves no half schema behind.
func prepareFile(database *config.SQL) error {
	if _, err := os.Stat(database.DatabaseName); errors.Is(err, os.ErrNotExist) {
		fresh := *database
		fresh.DatabaseName += ".new"
		fresh.ConnectAttributes = map[string]string{"mode": "rwc"}
		if err := os.Remove(fresh.DatabaseName); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := sqlite.SetupSchema(&fresh); err != nil {
			return err
		}
		if err := os.Rename(fresh.DatabaseName, database.DatabaseName); err != nil {
			return err
		}
	}
	return nil
}

// prepareNamespaces makes the tenants' namespaces that are missing. The function is
// of the SQLite package, but writes to any SQL store.
func prepareNamespaces(database *config.SQL, c Config) error {
	var namespaces []*sqlite.NamespaceConfig
	for _, name := range c.Directory.Namespaces() {
		namespace, err := sqlite.NewNamespaceConfig(clusterName, name, false, c.SearchAttributes)
		if err != nil {
			return err
		}
		// Processes refuse a namespace that says it is another tenant's.
		namespace.Detail.Info.Data = map[string]string{"tenant": c.Directory.tenants[name].id}
		namespace.Detail.Config.Retention = durationpb.New(c.Retention)
		namespaces = append(namespaces, namespace)
	}
	return sqlite.CreateNamespaces(database, namespaces...)
}

func dynamicConfig(timeSkipping bool) dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// The events carry the sender's principal. The whole design rests on it.
		dynamicconfig.MakeKey("frontend.enablePrincipalPropagation"): true,
		// A completion's token must be of the namespace that was authorised.
		dynamicconfig.MakeKey("frontend.enableTokenNamespaceEnforcement"): true,
		dynamicconfig.MakeKey("system.enableCrossNamespaceCommands"):      false,
		dynamicconfig.MakeKey("frontend.exposeAuthorizerErrors"):          false,
		// With the size of a signal, this keeps a flood from ending a saga by the size of its history.
		dynamicconfig.MakeKey("history.maximumSignalsPerExecution"):   1000,
		dynamicconfig.MakeKey("frontend.WorkflowTimeSkippingEnabled"): timeSkipping,
		// The defaults are per shard and assume hundreds of shards; we have one.
		dynamicconfig.MakeKey("history.transferProcessorMaxPollRPS"):   200,
		dynamicconfig.MakeKey("history.timerProcessorMaxPollRPS"):      200,
		dynamicconfig.MakeKey("history.visibilityProcessorMaxPollRPS"): 200,
		dynamicconfig.MakeKey("history.outboundProcessorMaxPollRPS"):   200,
		// One process: partitions of a task queue only add hops.
		dynamicconfig.MakeKey("matching.numTaskqueueReadPartitions"):  1,
		dynamicconfig.MakeKey("matching.numTaskqueueWritePartitions"): 1,
		// Search attributes that were just registered must be usable at once.
		dynamicconfig.MakeKey("system.forceSearchAttributesCacheRefreshOnRead"): true,
	}
}

func serverConfig(host string, port int, stores config.Persistence) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	inner := []primitives.ServiceName{
		primitives.InternalFrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService,
	}
	ports, err := freePorts(len(inner))
	if err != nil {
		return nil, nil, err
	}
	internode, err := internodeTLS()
	if err != nil {
		return nil, nil, err
	}
	conf := &config.Config{
		Persistence: stores,
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: net.JoinHostPort(host, strconv.Itoa(port))},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		Services: map[string]config.Service{},
	}
	conf.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: host}
	conf.Global.TLS.Internode = internode
	hosts := map[primitives.ServiceName]static.Hosts{}
	add := func(name primitives.ServiceName, port int) {
		conf.Services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: host}}
		hosts[name] = static.SingleLocalHost(net.JoinHostPort(host, strconv.Itoa(port)))
	}
	add(primitives.FrontendService, port)
	for i, name := range inner {
		add(name, ports[i])
	}
	return conf, hosts, nil
}

// The services behind the frontend listen below the range from which common systems take ports for outgoing connections: a port of that range that is free now
// may be the end of somebody's connection before the server listens on it, and beside a busy stack often is.
const (
	firstPort = 12000
	lastPort  = 19999
)

// freePorts finds ports that are free now. Another process may take one before the server listens; the start then fails and can be repeated.
func freePorts(n int) ([]int, error) {
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil && tries < 100 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("couldn't find a free port from %d to %d: %w", firstPort, lastPort, err)
		}
		defer listener.Close()
		ports = append(ports, port)
	}
	return ports, nil
}
