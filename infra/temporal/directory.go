package temporal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"
)

// maxDirectoryFile bounds a tenant file or key file; a real one is a few KiB.
const maxDirectoryFile = 1 << 20

// Roles of platform processes. Each of them holds a key of its own per tenant.
const (
	RoleWorker     = "worker"
	RoleStarter    = "starter"
	RoleOperator   = "operator"
	RoleCompliance = "compliance"
)

// PlatformRoles lists every role that a platform key may carry.
var PlatformRoles = []string{RoleWorker, RoleStarter, RoleOperator, RoleCompliance}

// roleRequester is the role in a tenant file that lets its holder start a signing.
const roleRequester = "requester"

// watchingRoles are the roles in a tenant file that let a person have its evidence checked now.
var watchingRoles = []string{"compliance", "owner"}

// Directory knows who may reach which namespace: the tenants, their issuers,
// their people and machines with their roles, and the platform's public keys.
// It is immutable and safe for concurrent use.
type Directory struct {
	tenants  map[string]*tenant // by namespace
	issuers  map[string]*issuer // by URL, compared byte for byte (OpenID Connect Core, 3.1.3.7)
	platform map[string]platformKey
}

type tenant struct {
	id        string
	namespace string
	issuers   map[string]bool   // by issuer URL
	people    map[member]member // the value is unused
	machines  map[member]member
	requester map[member]bool
	watching  map[member]bool // people
}

// member is a subject at an issuer. A subject means nothing without its issuer.
type member struct{ issuer, subject string }

type issuer struct {
	url              string
	audience         string
	evidenceAudience string
}

type platformKey struct {
	role, tenant string
	key          *ecdsa.PublicKey
}

// tenantFile holds the part of a tenant file that authorisation needs. The
// product parses the same file strictly; this reader ignores what it does not use.
type tenantFile struct {
	Tenant    string `yaml:"tenant"`
	Namespace string `yaml:"namespace"`
	Issuers   []struct {
		ID               string `yaml:"id"`
		URL              string `yaml:"url"`
		Audience         string `yaml:"audience"`
		EvidenceAudience string `yaml:"evidenceAudience"`
	} `yaml:"issuers"`
	People   []memberEntry `yaml:"people"`
	Machines []memberEntry `yaml:"machines"`
}

type memberEntry struct {
	Issuer  string   `yaml:"issuer"`
	Subject string   `yaml:"subject"`
	Roles   []string `yaml:"roles"`
}

// LoadDirectory reads the tenant files, and for each tenant the platform keys
// <role>-<tenant>.pub.pem from platformDir. A platform key that is missing is
// simply not registered. Contradictions between files are errors.
func LoadDirectory(tenantFiles []string, platformDir string) (*Directory, error) {
	d := &Directory{tenants: map[string]*tenant{}, issuers: map[string]*issuer{}, platform: map[string]platformKey{}}
	for _, name := range tenantFiles {
		if err := d.addTenant(name); err != nil {
			return nil, fmt.Errorf("couldn't read tenant file %s: %w", name, err)
		}
	}
	for _, t := range d.tenants {
		for _, role := range PlatformRoles {
			name := filepath.Join(platformDir, role+"-"+t.id+".pub.pem")
			err := d.addPlatformKey(name, role, t.id)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("couldn't read platform key %s: %w", name, err)
			}
		}
	}
	return d, nil
}

// Namespaces returns the namespaces of all tenants, sorted.
func (d *Directory) Namespaces() []string {
	var names []string
	for name := range d.tenants {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *Directory) addTenant(name string) error {
	text, err := readBounded(name)
	if err != nil {
		return err
	}
	var file tenantFile
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&file); err != nil {
		return err
	}
	if file.Tenant == "" || file.Namespace == "" {
		return errors.New("it needs both a tenant and a namespace")
	}
	for _, other := range d.tenants {
		if other.id == file.Tenant || other.namespace == file.Namespace {
			return fmt.Errorf("tenant %q or namespace %q is already taken by another file", file.Tenant, file.Namespace)
		}
	}
	t := &tenant{
		id: file.Tenant, namespace: file.Namespace, issuers: map[string]bool{},
		people: map[member]member{}, machines: map[member]member{}, requester: map[member]bool{}, watching: map[member]bool{},
	}
	urls := map[string]string{}
	for _, entry := range file.Issuers {
		if err := checkIssuerURL(entry.URL); err != nil {
			return err
		}
		if entry.Audience == "" || entry.Audience == entry.EvidenceAudience {
			return fmt.Errorf("issuer %s needs an audience that differs from its evidence audience", entry.URL)
		}
		registered := &issuer{url: entry.URL, audience: entry.Audience, evidenceAudience: entry.EvidenceAudience}
		if known, ok := d.issuers[entry.URL]; ok && *known != *registered {
			return fmt.Errorf("issuer %s has other audiences in another tenant file", entry.URL)
		}
		d.issuers[entry.URL] = registered
		t.issuers[entry.URL] = true
		urls[entry.ID] = entry.URL
	}
	if err := addMembers(t.people, t.requester, urls, file.People); err != nil {
		return err
	}
	for _, entry := range file.People {
		if slices.ContainsFunc(entry.Roles, func(role string) bool { return slices.Contains(watchingRoles, role) }) {
			t.watching[member{urls[entry.Issuer], entry.Subject}] = true
		}
	}
	if err := addMembers(t.machines, t.requester, urls, file.Machines); err != nil {
		return err
	}
	for m := range t.machines {
		if _, both := t.people[m]; both {
			return fmt.Errorf("subject %q of %s is listed as a person and as a machine", m.subject, m.issuer)
		}
	}
	d.tenants[t.namespace] = t
	return nil
}

func addMembers(into map[member]member, requester map[member]bool, urls map[string]string, entries []memberEntry) error {
	for _, entry := range entries {
		url, ok := urls[entry.Issuer]
		if !ok {
			return fmt.Errorf("subject %q names issuer %q, which the file doesn't list", entry.Subject, entry.Issuer)
		}
		if err := checkSubject(entry.Subject); err != nil {
			return err
		}
		m := member{url, entry.Subject}
		if _, twice := into[m]; twice {
			return fmt.Errorf("subject %q of issuer %q is listed twice", entry.Subject, entry.Issuer)
		}
		into[m] = m
		if slices.Contains(entry.Roles, roleRequester) {
			requester[m] = true
		}
	}
	return nil
}

// checkIssuerURL demands https, or http on the loopback for development, and
// no fragment: a principal's name is "<issuer url>#<sub>", so the first "#" must
// be ours.
func checkIssuerURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("issuer URL %q: %w", text, err)
	}
	loopback := u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost"
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return fmt.Errorf("issuer URL %q must be https (http is allowed on the loopback alone)", text)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || bytes.ContainsAny([]byte(text), "#?") {
		return fmt.Errorf("issuer URL %q must have a host and no user, query or fragment", text)
	}
	return nil
}

// checkSubject accepts what OpenID Connect Core (section 2) allows for sub: at
// most 255 ASCII characters. Control characters and spaces are refused too,
// because the subject travels in a gRPC header inside the server.
func checkSubject(sub string) error {
	if sub == "" || len(sub) > 255 {
		return errors.New("a subject must have 1 to 255 characters")
	}
	for _, c := range []byte(sub) {
		if c <= ' ' || c > '~' {
			return errors.New("a subject must be printable ASCII without spaces")
		}
	}
	return nil
}

func (d *Directory) addPlatformKey(name, role, tenant string) error {
	text, err := readBounded(name)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return errors.New("it isn't a PEM file of type PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("it isn't a P-256 key")
	}
	kid, err := Thumbprint(key)
	if err != nil {
		return err
	}
	if _, twice := d.platform[kid]; twice {
		return errors.New("the same key is registered for two roles")
	}
	d.platform[kid] = platformKey{role: role, tenant: tenant, key: key}
	return nil
}

func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxDirectoryFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxDirectoryFile)
	}
	return os.ReadFile(name)
}
