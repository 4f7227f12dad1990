package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sort"
	"time"

	"github.com/rs/zerolog"
	signednote "golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// Options say where the service finds its tenants and its server.
type Options struct {
	Temporal string         // host:port of the frontend
	Tenants  string         // directory of the tenants' files (*.yaml)
	Platform string         // directory of the processes' keys: starter-<tenant>.pem
	Proxies  []netip.Prefix // proxies of ours, whose X-Forwarded-For is believed
	Verifier string         // file with the page that checks evidence in a browser; may be empty
	Log      zerolog.Logger
}

// tenant is everything that the API reaches for one tenant, each under the tenant's own credentials.
type tenant struct {
	settings  *countersign.Settings
	registry  *identity.Registry
	engine    *policy.Engine
	pipeline  pipeline
	objects   objects
	logKey    signednote.Verifier // of the tenant's log
	queries   chan struct{}       // bounds the status queries of inboxes
	transfers chan struct{}       // bounds documents and bundles in temporary files
	recalls   chan struct{}       // bounds the bundles of signings that Temporal has forgotten
	cursors   []byte              // key that cursors are sealed with
}

// bootTimeout bounds each check of one part at boot.
const bootTimeout = 20 * time.Second

// maxInboxQueries is how many status queries the inboxes of one tenant make at once.
const maxInboxQueries = 8

// Open reads every tenant and checks all that the API will need, before anybody is answered: settings, the process's key, Temporal,
// the buckets, the issuers. All faults are told at once.
func Open(ctx context.Context, o Options) (*Server, error) {
	files, err := filepath.Glob(filepath.Join(o.Tenants, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there is no tenant's file (*.yaml) in %s", o.Tenants)
	}
	sort.Strings(files)
	tenants := map[string]*tenant{}
	var faults []error
	for _, file := range files {
		t, err := openTenant(ctx, o, file)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if tenants[t.settings.Tenant] != nil {
			t.pipeline.Close()
			faults = append(faults, fmt.Errorf("%s: tenant %q has another file already", file, t.settings.Tenant))
			continue
		}
		tenants[t.settings.Tenant] = t
		o.Log.Info().Str("tenant", t.settings.Tenant).Str("namespace", t.settings.Namespace).Msg("checked: settings, key, Temporal, buckets, issuers")
	}
	s := newServer(tenants, o.Log)
	s.proxies = o.Proxies
	if s.verifier, err = readVerifier(o.Verifier); err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func openTenant(ctx context.Context, o Options, file string) (*tenant, error) {
	s, err := activities.LoadSettings(file)
	if err != nil {
		return nil, err
	}
	t := &tenant{settings: s, registry: identity.NewRegistry(s.Issuers), queries: make(chan struct{}, maxInboxQueries)}
	if t.engine, err = activities.LoadPolicy(s, filepath.Dir(file)); err != nil {
		return nil, err
	}
	if t.logKey, err = translog.ParseVerifier(s.Log.PublicKey, s.Tenant); err != nil {
		return nil, s.Fault(err, "log", "publicKey")
	}
	keyFile := filepath.Join(o.Platform, "starter-"+s.Tenant+".pem")
	credential, err := identity.OpenPlatform("starter", s.Tenant, keyFile)
	if err != nil {
		return nil, err
	}
	if t.cursors, err = cursorKey(keyFile); err != nil {
		return nil, err
	}
	cfg, err := activities.AWSConfig(ctx, s.AWS.Region, s.AWS.StarterProfile)
	if err != nil {
		return nil, s.Fault(err, "aws", "starterProfile")
	}
	store := activities.NewS3(cfg, s.AWS.S3)
	t.objects = newBucketObjects(store, activities.NewSubjects(store, activities.NewKMS(cfg, s), s), s)
	dial, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if t.pipeline, err = dialTemporal(dial, o.Temporal, s, credential, o.Log); err != nil {
		return nil, err
	}
	if err := t.check(ctx); err != nil {
		t.pipeline.Close()
		return nil, err
	}
	return t, nil
}

// check asks every part of the tenant, and tells all that is wrong, each with its place in the tenant's file.
func (t *tenant) check(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	var faults []error
	for i, err := range t.registry.Check(within) {
		if err != nil {
			faults = append(faults, t.settings.Fault(err, "issuers", i))
		}
	}
	within, cancel = context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := t.pipeline.Check(within); err != nil {
		faults = append(faults, t.settings.Fault(err, "namespace"))
	}
	within, cancel = context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	return errors.Join(append(faults, t.objects.Check(within))...)
}
