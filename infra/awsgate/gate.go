// Package awsgate enforces the policies of infra/aws before the local stack's KMS and S3, as AWS would before its own. It authenticates who asks,
// finds out what is asked, judges that by the rendered files, and passes on unchanged what they allow.
//
// What it can't name as an action of AWS is refused. The account's root, which sets the stack up and provokes its faults, is held by no policy.
package awsgate

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"time"

	awsfiles "github.com/countersign-dev/countersign/infra/aws"
	"github.com/countersign-dev/countersign/infra/awspolicy"
)

// DeniedBy is the header that says which statement of which file refused, or that none allows. AWS sends no such thing, and neither do the parts behind
// the gate: it tells who refused.
const DeniedBy = "X-Countersign-Denied-By"

// The two processes that have roles.
const (
	Worker  = "worker"
	Starter = "starter"
)

// Caller is who has an access key: the account's root, or a session of a tenant's role. A static key stands here for the temporary credentials of that
// session.
type Caller struct {
	AccessKeyID, SecretAccessKey string
	Root                         bool
	Tenant, Process              string // of whoever isn't root
}

// Config says whom the gate knows and what the files are rendered with. All of it is required.
type Config struct {
	Callers              []Caller
	Account, Region      string
	Documents, Evidence  string // buckets
	MinimumRetentionDays int
	// PlainHTTPFrom is the network (CIDR) from which requests may come without TLS: the local stack has none.
	PlainHTTPFrom string
	// Files has the templates; nil takes those of infra/aws.
	Files fs.FS
}

// Gate is safe for concurrent use.
type Gate struct {
	region  string
	callers map[string]session
	buckets map[string]*awspolicy.Policy
	keys    map[string]*awspolicy.Policy // by tenant
	now     func() time.Time
}

// session is a caller with what it may do.
type session struct {
	Caller
	role   string // ARN
	policy *awspolicy.Policy
}

// New renders and reads the files and lets each caller take its role. It fails on whatever it doesn't understand, and on a role that its trust policy
// doesn't give to its process for its tenant.
func New(c Config) (*Gate, error) {
	f := files{from: c.Files, values: map[string]string{
		"account": c.Account, "region": c.Region, "documents_bucket": c.Documents, "evidence_bucket": c.Evidence,
		"minimum_retention_days": strconv.Itoa(c.MinimumRetentionDays), "plain_http_from": c.PlainHTTPFrom,
	}}
	if f.from == nil {
		f.from = awsfiles.Files
	}
	g := &Gate{region: c.Region, callers: map[string]session{}, keys: map[string]*awspolicy.Policy{}, now: time.Now}
	g.buckets = map[string]*awspolicy.Policy{
		c.Documents: f.load(awsfiles.DocumentsBucket, awspolicy.BucketPolicy, nil),
		c.Evidence:  f.load(awsfiles.EvidenceBucket, awspolicy.BucketPolicy, nil),
	}
	roles := map[string]*awspolicy.Policy{
		Worker:  f.load(awsfiles.WorkerRole, awspolicy.RolePolicy, nil),
		Starter: f.load(awsfiles.StarterRole, awspolicy.RolePolicy, nil),
	}
	for _, caller := range c.Callers {
		if _, double := g.callers[caller.AccessKeyID]; double || caller.AccessKeyID == "" || caller.SecretAccessKey == "" {
			return nil, fmt.Errorf("couldn't open the gate: each caller needs an access key of its own, and a secret (%q)", caller.AccessKeyID)
		}
		s := session{Caller: caller}
		if !caller.Root {
			if s.policy = roles[caller.Process]; s.policy == nil && f.err == nil {
				return nil, fmt.Errorf("couldn't open the gate: there is no role for the process %q", caller.Process)
			}
			s.role = "arn:aws:iam::" + c.Account + ":role/countersign/" + caller.Tenant + "-" + caller.Process
			process := "arn:aws:iam::" + c.Account + ":role/" + caller.Process
			own := map[string]string{"tenant": caller.Tenant, "process": process}
			g.keys[caller.Tenant] = f.load(awsfiles.Key, awspolicy.KeyPolicy, own)
			trust := f.load(awsfiles.RoleTrust, awspolicy.TrustPolicy, own)
			if f.err == nil {
				if err := take(s.role, process, caller.Tenant, trust); err != nil {
					return nil, err
				}
			}
		}
		g.callers[caller.AccessKeyID] = s
	}
	if f.err != nil {
		return nil, f.err
	}
	return g, nil
}

// take is what STS asks before it gives out a session of a role.
func take(role, process, tenant string, trust *awspolicy.Policy) error {
	for _, action := range []string{"sts:AssumeRole", "sts:TagSession"} {
		d := awspolicy.Decide(awspolicy.Request{Principal: process, Action: action, Resource: role, Context: awspolicy.Context{
			"aws:PrincipalArn": {process}, "aws:RequestTag/tenant": {tenant}, "aws:TagKeys": {"tenant"},
		}}, nil, trust)
		if !d.Allowed {
			return fmt.Errorf("couldn't open the gate: %s may not take the role %s for the tenant %q: %s", process, role, tenant, d.By)
		}
	}
	return nil
}

// files loads policies and keeps the first error.
type files struct {
	from   fs.FS
	values map[string]string
	err    error
}

func (f *files) load(name string, kind awspolicy.Kind, own map[string]string) *awspolicy.Policy {
	if f.err != nil {
		return nil
	}
	values := map[string]string{}
	for _, from := range []map[string]string{f.values, own} {
		for variable, value := range from {
			values[variable] = value
		}
	}
	template, err := fs.ReadFile(f.from, name)
	if err == nil {
		template, err = awspolicy.Render(name, template, values)
	}
	var policy *awspolicy.Policy
	if err == nil {
		policy, err = awspolicy.Parse(name, kind, template)
	}
	if err != nil {
		f.err = fmt.Errorf("couldn't open the gate: %w", err)
	}
	return policy
}

// context is what is true of each request of a session, whatever it asks.
func (s session) context(r *http.Request) awspolicy.Context {
	c := awspolicy.Context{"aws:SecureTransport": {strconv.FormatBool(r.TLS != nil)}}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c["aws:SourceIp"] = []string{host}
	}
	if !s.Root {
		c["aws:PrincipalArn"] = []string{s.role}
		c["aws:PrincipalTag/tenant"] = []string{s.Tenant}
	}
	return c
}

// user is how AWS names the session in its errors.
func (s session) user() string {
	return fmt.Sprintf("%s (tenant %s)", s.role, s.Tenant)
}

var errUnknown = errors.New("the gate knows no action of AWS for this request")
