package temporal

import (
	"fmt"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/tools/common/schema"
	toolsql "go.temporal.io/server/tools/sql"
)

// postgresShards can't change once a database was written.
const postgresShards = 4

// Postgres is a database server (12 or later) for an installation that lasts. The
// two databases exist already and User owns them; their tables are made, and brought
// to this server's version, at each start. One server may use them at a time.
type Postgres struct {
	Address    string // host:port
	User       string
	Password   string
	Database   string // executions
	Visibility string // what lists and counts read; another database
	// SSLMode as libpq knows it. Empty means "require", which encrypts but believes
	// any certificate; "verify-full" checks it against the system's authorities.
	SSLMode string
}

// prepare brings both databases to this server's schema. Each version is recorded
// when it is complete, but its statements are not one transaction: a start that died
// in the middle of a version has to be mended by hand, or from empty databases.
func (p *Postgres) prepare() error {
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn"}))
	for _, d := range []struct{ database, schema string }{
		{p.Database, "postgresql/v12/temporal"},
		{p.Visibility, "postgresql/v12/visibility"},
	} {
		if err := updateSchema(p.store(d.database), d.schema, logger); err != nil {
			return fmt.Errorf("couldn't bring database %q to this server's schema; look whether user %q owns it: %w", d.database, p.User, err)
		}
	}
	return nil
}

func updateSchema(database *config.SQL, name string, logger log.Logger) error {
	conn, err := toolsql.NewConnection(database, logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The first task does nothing where a version is recorded already.
	if err := schema.NewSetupSchemaTask(conn, &schema.SetupConfig{InitialVersion: "0.0"}, logger).Run(); err != nil {
		return err
	}
	return schema.NewUpdateSchemaTask(conn, &schema.UpdateConfig{DBName: database.DatabaseName, SchemaName: name}, logger).Run()
}

func (p *Postgres) store(database string) *config.SQL {
	mode := p.SSLMode
	if mode == "" {
		mode = "require"
	}
	return &config.SQL{
		PluginName: postgresql.PluginName, ConnectProtocol: "tcp", ConnectAddr: p.Address, User: p.User, Password: p.Password,
		DatabaseName: database, ConnectAttributes: map[string]string{"sslmode": mode}, MaxConns: 20, MaxIdleConns: 20,
	}
}

func (p *Postgres) persistence() config.Persistence {
	return config.Persistence{
		DefaultStore: "executions", VisibilityStore: "visibility", NumHistoryShards: postgresShards,
		DataStores: map[string]config.DataStore{
			"executions": {SQL: p.store(p.Database)},
			"visibility": {SQL: p.store(p.Visibility)},
		},
	}
}
