package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/infra/compose/relay"
	"github.com/countersign-dev/countersign/infra/temporal"
)

// routesFlag collects --route PORT=HOST:PORT.
type routesFlag []relay.Route

func (r *routesFlag) String() string { return "none" }

func (r *routesFlag) Set(text string) error {
	route, err := relay.ParseRoute(text)
	*r = append(*r, route)
	return err
}

// serveTemporal runs the server on a port of the loopback that is free, and relays
// the address that others reach to its frontend alone. So the server's rule that it
// listens on the loopback holds here, too.
func serveTemporal(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("temporal", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:7233", "`address` of the frontend (gRPC)")
	healthListen := set.String("health", "127.0.0.1:7280", "`address` of /healthz")
	data := set.String("data", "", "`directory` for what isn't in the database")
	tenants := set.String("tenants", "", "`directory` of the tenants' files")
	platform := set.String("platform", "", "`directory` of the processes' public keys")
	p := temporal.Postgres{}
	set.StringVar(&p.Address, "postgres", "", "PostgreSQL server, `host:port`")
	set.StringVar(&p.User, "postgres-user", "temporal", "`user`, who owns both databases")
	set.StringVar(&p.Database, "postgres-database", "temporal", "`database` of executions")
	set.StringVar(&p.Visibility, "postgres-visibility", "temporal_visibility", "`database` of what lists read")
	set.StringVar(&p.SSLMode, "postgres-ssl", "verify-full", "sslmode as libpq knows it")
	passwordFile := set.String("postgres-password-file", "", "`file` with the user's password")
	var routes routesFlag
	set.Var(&routes, "route", "`PORT=HOST:PORT`: relay a port of the loopback, so that issuers are reached by their URLs; repeatable")
	if err := parse(set, args); err != nil {
		return err
	}
	password, err := os.ReadFile(*passwordFile)
	if err != nil {
		return fmt.Errorf("couldn't read the database's password: %w", err)
	}
	p.Password = strings.TrimSpace(string(password))
	files, err := filepath.Glob(filepath.Join(*tenants, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there is no tenant's file (*.yaml) in %s", *tenants)
	}
	directory, err := temporal.LoadDirectory(files, *platform)
	if err != nil {
		return err
	}
	inner, err := freeAddress()
	if err != nil {
		return err
	}
	server, err := temporal.Start(temporal.Config{Dir: *data, Address: inner, Directory: directory, Postgres: &p, LogFile: "stderr"})
	if err != nil {
		return err
	}
	carry, err := relay.Start(append(routes, relay.Route{From: *listen, To: inner})...)
	if err != nil {
		return errors.Join(err, server.Stop())
	}
	conn, err := grpc.NewClient(inner, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		err = serve(ctx, *healthListen, http.NotFoundHandler(), func(ctx context.Context) error { return deniesStrangers(ctx, conn) })
		err = errors.Join(err, conn.Close())
	}
	return errors.Join(err, carry.Close(), server.Stop())
}

// deniesStrangers wants the frontend to answer, and to refuse whoever brings no token.
func deniesStrangers(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{Service: "temporal.api.workflowservice.v1.WorkflowService"})
	if code := status.Code(err); code != codes.PermissionDenied {
		return fmt.Errorf("a call without a token ended with %s, not %s", code, codes.PermissionDenied)
	}
	return nil
}

// freeAddress may be taken by another process before the server listens; the start
// then fails and can be repeated.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
