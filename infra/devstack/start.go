package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/countersign-dev/countersign/infra/awsgate"
	"github.com/countersign-dev/countersign/infra/idp"
	"github.com/countersign-dev/countersign/infra/kms"
	"github.com/countersign-dev/countersign/infra/mailbox"
	"github.com/countersign-dev/countersign/infra/objectstore"
	"github.com/countersign-dev/countersign/infra/revocation"
	"github.com/countersign-dev/countersign/infra/temporal"
)

// running is a stack as it comes up: what to say about it, and how to end it.
type running struct {
	dir          string
	ports        ports
	profiles     []profile
	keyGate      *awsgate.Gate // before KMS
	storeGate    *awsgate.Gate // before S3
	timeSkipping bool
	forgetting   bool
	without      withoutFlag
	single       bool           // one time-stamp authority, and certificates that name no revocation lists
	lists        *http.ServeMux // revocation lists
	about        stack
	providers    map[string]*idp.Provider
	stops        []namedStop
	failed       chan error // a part that ended by itself
}

type namedStop struct {
	name string
	stop func() error
}

func startCommand(ctx context.Context, args []string, output *os.File) error {
	set, data := flags("devstack")
	asJSON := set.Bool("json", false, "print one JSON object on the standard output when everything is ready")
	fixed := set.Bool("fixed-ports", false, "take the well-known ports at the first start")
	skipping := set.Bool("time-skipping", false, "let requesters start workflows whose clock skips (for tests)")
	forTests := set.Bool("for-tests", false, "allow --without and --forgetting")
	forgetting := set.Bool("forgetting", false, "let operators delete workflows, as retention does in time (needs --for-tests)")
	without := withoutFlag{}
	set.Var(without, "without", "switch off a `layer` between tenants, for tests of the others (needs --for-tests): issuers, keys, namespaces, prefixes; repeatable")
	single := set.Bool("single-authority", false, "one time-stamp authority, and certificates that name no revocation lists: for an installation that serves no more")
	wanted := portFlag{}
	set.Var(wanted, "port", "`name=N`: take port N for a part at the first start; repeatable")
	if err := parse(set, args, 0); err != nil {
		return err
	}
	if err := without.check(*forTests); err != nil {
		return err
	}
	if *forgetting && !*forTests {
		return usageError{errors.New("--forgetting lets operators remove what is not evidence yet; it needs --for-tests")}
	}
	if *fixed {
		for name, port := range fixedPorts {
			if _, given := wanted[name]; !given {
				wanted[name] = port
			}
		}
	}
	dir, err := dataDirectory(*data)
	if err != nil {
		return err
	}
	held, err := lock(dir)
	if err != nil {
		return err
	}
	defer held.Close()
	open, err := openPorts(dir, wanted)
	if err != nil {
		return err
	}
	defer open.close()

	fmt.Fprint(os.Stderr, without.warning())
	began := time.Now()
	r := &running{dir: dir, ports: open, timeSkipping: *skipping, forgetting: *forgetting, without: without, single: *single, lists: http.NewServeMux(), providers: map[string]*idp.Provider{}, failed: make(chan error, 8)}
	err = r.start(ctx)
	if err == nil {
		fmt.Fprintf(os.Stderr, "ready %39d ms\n", time.Since(began).Milliseconds())
		err = r.announce(output, *asJSON)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-r.failed:
		}
	}
	return errors.Join(err, r.stop())
}

// start brings the parts up in the order in which they need each other.
func (r *running) start(ctx context.Context) error {
	for _, part := range []struct {
		name  string
		start func(context.Context) (where string, err error)
	}{
		{"keys and credentials", r.startSecrets},
		{"AWS policies", r.startGate},
		{"time-stamping authorities", r.startTSAs},
		{"mailbox", r.startMailbox},
		{"KMS", r.startKMS},
		{"identity providers", r.startProviders},
		{"S3", r.startS3},
		{"tenants", r.startTenants},
		{"Temporal", r.startTemporal},
		{"Temporal Web UI", r.startUI},
	} {
		if ctx.Err() != nil {
			return errors.New("interrupted while starting")
		}
		began := time.Now()
		where, err := part.start(ctx)
		if err != nil {
			return fmt.Errorf("couldn't start %s: %w", part.name, err)
		}
		fmt.Fprintf(os.Stderr, "%-36s %8d ms  %s\n", part.name, time.Since(began).Milliseconds(), where)
	}
	return nil
}

// stop ends the parts in reverse order. It may be called once.
func (r *running) stop() error {
	var failures []error
	for _, s := range slices.Backward(r.stops) {
		if err := s.stop(); err != nil {
			failures = append(failures, fmt.Errorf("couldn't stop %s: %w", s.name, err))
		}
	}
	return errors.Join(failures...)
}

func (r *running) onStop(name string, stop func() error) {
	r.stops = append(r.stops, namedStop{name, stop})
}

func (r *running) announce(output *os.File, asJSON bool) error {
	if err := writeJSON(stackFile(r.dir), r.about); err != nil {
		return fmt.Errorf("couldn't write the stack's description: %w", err)
	}
	if !asJSON {
		fmt.Fprintf(os.Stderr, "everything is described in %s; stop with Ctrl-C\n", stackFile(r.dir))
		return nil
	}
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r.about)
}

// serve runs an HTTP handler on a part's listener until the stack stops.
func (r *running) serve(part string, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	go func() {
		if err := server.Serve(r.ports[part]); !errors.Is(err, http.ErrServerClosed) {
			r.failed <- fmt.Errorf("%s ended: %w", part, err)
		}
	}()
	r.onStop(part, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return server.Close() // a client that won't hang up doesn't keep the stack alive
		}
		return nil
	})
}

func (r *running) path(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

func (r *running) startSecrets(ctx context.Context) (string, error) {
	var err error
	credentials := r.path("aws", "credentials")
	if r.profiles, err = loadProfiles(ctx, credentials); err != nil {
		return "", err
	}
	if err := ensurePlatformKeys(r.dir); err != nil {
		return "", err
	}
	if err := ensureWebhookSecrets(r.dir); err != nil {
		return "", err
	}
	r.about.Data = r.dir
	r.about.AWS = awsInfo{CredentialsFile: credentials, AdminProfile: adminProfile}
	r.about.Platform = r.path("platform")
	return r.dir, nil
}

func (r *running) startMailbox(context.Context) (string, error) {
	box, err := mailbox.Open(r.path("mail"))
	if err != nil {
		return "", err
	}
	go func() {
		if err := box.ServeSMTP(r.ports["smtp"]); err != nil {
			// After Close this is only the news of our own stop; nobody reads it then.
			select {
			case r.failed <- fmt.Errorf("smtp ended: %w", err):
			default:
			}
		}
	}()
	r.onStop("mailbox", box.Close)
	r.serve("mail", box)
	r.about.Mail = mailInfo{SMTP: r.ports.address("smtp"), Page: r.ports.url("mail") + "/"}
	return r.about.Mail.Page, nil
}

func (r *running) startKMS(context.Context) (string, error) {
	var credentials []kms.Credential
	for _, p := range r.profiles {
		// A starter opens the keys of people whose data it shows, and uses no key otherwise.
		starter := p.role == objectstore.RoleStarter
		credentials = append(credentials, kms.Credential{
			AccessKeyID: p.key.AccessKeyID, SecretAccessKey: p.key.SecretAccessKey, Tenant: p.tenant, Admin: p.name == adminProfile,
			AnyTenant: r.without[layerKeys] && p.tenant != "" && !starter, OpensAlone: starter,
		})
	}
	service, err := kms.Open(r.path("kms"), region, credentials)
	if err != nil {
		return "", err
	}
	r.onStop("KMS", service.Close)
	r.serve("kms", r.keyGate.KMS(service, service))
	r.about.KMS = kmsInfo{Endpoint: r.ports.url("kms"), Region: region}
	return r.about.KMS.Endpoint, nil
}

func (r *running) startProviders(context.Context) (string, error) {
	r.about.Issuers = map[string]issuerInfo{}
	for _, o := range organisations {
		keyFile := machineKeyFile(r.dir, o.id, o.machine)
		key, err := ensureKey(keyFile)
		if err != nil {
			return "", err
		}
		provider, err := idp.Open(idp.Config{
			ID: o.id, URL: issuerURL(r.ports, o.id), Organisation: o.name, Dir: r.path("idp", o.id), People: o.people,
			Machines: []idp.Machine{{Client: o.machine, PublicKey: &key.PublicKey}},
		})
		if err != nil {
			return "", err
		}
		r.providers[o.id] = provider
		r.serve("idp-"+o.id, provider)
		r.about.Issuers[o.id] = issuerInfo{URL: issuerURL(r.ports, o.id), Client: clientAPI, EvidenceClient: clientEvidence}
		r.about.Machines = append(r.about.Machines, machineInfo{Issuer: o.id, Client: o.machine, KeyFile: keyFile})
		for _, person := range provider.People() {
			r.about.People = append(r.about.People, personInfo{
				Issuer: o.id, Login: person.Login, Subject: person.Subject, Name: person.Name,
				Email: person.Email, Password: person.Password, Disabled: person.Disabled,
			})
		}
	}
	return issuerURL(r.ports, "acme") + " and others", nil
}

func (r *running) startS3(ctx context.Context) (string, error) {
	config := objectstore.Config{Dir: r.path("s3"), Region: region}
	for _, p := range r.profiles {
		if p.name == adminProfile {
			config.Root = p.key
			continue
		}
		config.Users = append(config.Users, objectstore.User{Credential: p.key, Tenant: p.tenant, Role: p.role, AnyPrefix: r.without[layerPrefixes]})
	}
	config.Address = r.ports.release("s3-store")
	store, err := objectstore.Start(ctx, config)
	if err != nil {
		return "", err
	}
	r.onStop("S3", store.Stop)
	if err := r.gateS3(store); err != nil {
		return "", err
	}
	r.about.S3 = s3Info{Endpoint: r.ports.url("s3"), Store: store.Endpoint, Region: region, Documents: objectstore.Documents, Evidence: objectstore.Evidence}
	return r.about.S3.Endpoint + " (metadata in " + store.Metadata + ")", nil
}

// startTenants makes each tenant's keys, certificate and file.
func (r *running) startTenants(ctx context.Context) (string, error) {
	ca, err := openCA(r.path("ca"))
	if err != nil {
		return "", err
	}
	list := r.publish("tenant-ca", revocation.New(ca.certificate, ca.key, r.path("revoked", "tenant-ca")))
	r.about.TenantCA = r.path("ca", "tenant-ca.pem")
	r.about.Tenants = map[string]tenantInfo{}
	admin := r.profiles[slices.IndexFunc(r.profiles, func(p profile) bool { return p.name == adminProfile })]
	for _, t := range tenants {
		arn, public, err := ensureSigningKey(ctx, r.about.KMS.Endpoint, admin, t.id, "seal", kmstypes.KeySpecEccNistP256)
		if err != nil {
			return "", err
		}
		log, err := ensureLogKey(ctx, r.about.KMS.Endpoint, admin, t.id)
		if err != nil {
			return "", err
		}
		if err := ca.ensureSeal(sealFileName(r.dir, t.id), public, t.name, list); err != nil {
			return "", err
		}
		key := kmsEntry{Key: arn, Certificate: t.id + "-seal.pem", Roots: "../ca/tenant-ca.pem"}
		info := tenantInfo{File: tenantFileName(r.dir, t.id), Namespace: t.id, KeyARN: arn, LogKeyARN: log.Key, LogPublicKey: log.PublicKey}
		// One tenant has a key for post-quantum signatures and the other has none, so that both are shown.
		if t.id == "acme" {
			if key.PostQuantum, err = r.ensurePostQuantumKey(ctx, admin, t.id); err != nil {
				return "", err
			}
			info.PostQuantumPublicKey = postQuantumFileName(r.dir, t.id)
		}
		// And the other one has a key under which what its evidence says of people is concealed.
		var personalDataKey string
		if t.id == "globex" {
			if personalDataKey, err = ensurePersonalDataKey(ctx, r.about.KMS.Endpoint, admin, t.id); err != nil {
				return "", err
			}
		}
		if err := writeTenant(r.dir, r.ports, t, key, log, personalDataKey, r.without[layerIssuers], r.single); err != nil {
			return "", err
		}
		r.about.Tenants[t.id] = info
	}
	return r.path("tenants"), nil
}

func (r *running) startTemporal(context.Context) (string, error) {
	var files []string
	for _, t := range tenants {
		files = append(files, tenantFileName(r.dir, t.id))
	}
	directory, err := temporal.LoadDirectory(files, r.path("platform"))
	if err != nil {
		return "", err
	}
	server, err := temporal.Start(temporal.Config{
		Dir: r.path("temporal"), Address: r.ports.release("temporal"), Directory: directory, TimeSkipping: r.timeSkipping, Forgetting: r.forgetting,
		AnyNamespace: r.without[layerNamespaces],
	})
	if err != nil {
		return "", err
	}
	r.onStop("Temporal", server.Stop)
	r.about.Temporal.Address = server.Address
	return server.Address, nil
}

func (r *running) startUI(context.Context) (string, error) {
	var namespaces []string
	for _, t := range tenants {
		namespaces = append(namespaces, t.id)
	}
	// Here a tenant's namespace has the tenant's name.
	token := func(namespace string) (string, error) {
		return platformToken(r.dir, temporal.RoleCompliance, namespace)
	}
	ui, err := temporal.StartUI(r.ports.release("temporal-ui"), r.about.Temporal.Address, namespaces, token)
	if err != nil {
		return "", err
	}
	r.onStop("Temporal Web UI", func() error { ui.Stop(); return nil })
	r.about.Temporal.UI = r.ports.url("temporal-ui")
	return r.about.Temporal.UI, nil
}
