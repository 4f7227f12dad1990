// Package pool runs the workers of every tenant in one process: a worker for workflows and ordinary activities, and one for
// calls of KMS, each in the tenant's own namespace under a credential of its own.
package pool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sort"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/workflows"
)

// Options say where a process finds its tenants and its server.
type Options struct {
	Temporal     string // host:port of the frontend
	Tenants      string // directory of tenant files (*.yaml)
	Platform     string // directory of the process's keys: worker-<tenant>.pem
	KeyRate      float64
	Interceptors []interceptor.WorkerInterceptor
	Log          zerolog.Logger
}

// Pool is the running workers.
type Pool struct {
	workers []worker.Worker
	clients []client.Client
	fatal   chan error // the first worker that stopped by itself
}

// TenantFiles lists the tenants' files, sorted.
func TenantFiles(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there is no tenant's file (*.yaml) in %s", dir)
	}
	sort.Strings(files)
	return files, nil
}

// Start opens every tenant, checks all that its signings will need, and starts its workers. Any fault stops the start, and all faults are told.
func Start(ctx context.Context, o Options) (*Pool, error) {
	files, err := TenantFiles(o.Tenants)
	if err != nil {
		return nil, err
	}
	p := &Pool{fatal: make(chan error, 1)}
	var faults []error
	for _, file := range files {
		if err := p.tenant(ctx, o, file); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		p.Stop()
		return nil, err
	}
	for _, w := range p.workers {
		if err := w.Start(); err != nil {
			p.Stop()
			return nil, fmt.Errorf("couldn't start a worker: %w", err)
		}
	}
	return p, nil
}

func (p *Pool) tenant(ctx context.Context, o Options, file string) error {
	s, err := activities.LoadSettings(file)
	if err != nil {
		return err
	}
	credential, err := identity.OpenPlatform("worker", s.Tenant, filepath.Join(o.Platform, "worker-"+s.Tenant+".pem"))
	if err != nil {
		return err
	}
	c, err := activities.Dial(ctx, o.Temporal, s, credential, o.Log)
	if err != nil {
		return err
	}
	p.clients = append(p.clients, c)
	t, err := activities.Open(ctx, file, c, Build())
	if err != nil {
		return err
	}
	if err := t.Check(ctx); err != nil {
		return err
	}
	if err := ensureSchedules(ctx, c, s); err != nil {
		return err
	}
	interceptors := append([]interceptor.WorkerInterceptor{&activities.Heartbeats{}}, o.Interceptors...)
	signing := worker.New(c, countersign.TaskQueueSigning, worker.Options{Interceptors: interceptors, OnFatalError: p.stopped(o.Log, s.Tenant)})
	workflows.Register(signing)
	t.Register(signing)
	keys := worker.New(c, countersign.TaskQueueKeys, worker.Options{
		Interceptors: interceptors, DisableWorkflowWorker: true, TaskQueueActivitiesPerSecond: o.KeyRate, OnFatalError: p.stopped(o.Log, s.Tenant),
	})
	t.RegisterKeys(keys)
	p.workers = append(p.workers, signing, keys)
	o.Log.Info().Str("tenant", s.Tenant).Str("namespace", s.Namespace).Msg("checked: issuers, key, certificate, buckets and their lock, time-stamps")
	return nil
}

// stopped hears that a worker stops by itself: its namespace is gone, or the server refuses it for good.
func (p *Pool) stopped(l zerolog.Logger, tenant string) func(error) {
	return func(err error) {
		l.Error().Str("tenant", tenant).Err(err).Msg("a worker stopped")
		select {
		case p.fatal <- fmt.Errorf("couldn't go on: a worker of tenant %s stopped: %w", tenant, err):
		default: // the first one ends the process
		}
	}
}

// Wait runs until the context ends, or until a worker stops by itself, which is an error: a process that lives on without one of its workers looks
// healthy and does nothing for that tenant. Either way all workers are stopped then.
func (p *Pool) Wait(ctx context.Context) error {
	defer p.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.fatal:
		return err
	}
}

// Stop lets running work end, and stops.
func (p *Pool) Stop() {
	for _, w := range p.workers {
		w.Stop()
	}
	for _, c := range p.clients {
		c.Close()
	}
}

// revision is the source's revision, where the build was told.
var revision string

// Build describes this build, for the evidence.
func Build() evidence.Worker {
	w := evidence.Worker{Build: "not recorded", Revision: "not recorded", CodeDigest: workflows.CodeDigest(), SDK: temporal.SDKVersion, Go: "not recorded"}
	if info, ok := debug.ReadBuildInfo(); ok {
		w.Go = info.GoVersion
		if v := info.Main.Version; v != "" {
			w.Build = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				w.Revision = s.Value
			}
		}
	}
	if revision != "" {
		w.Revision = revision
	}
	return w
}
