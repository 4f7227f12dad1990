// Package activities are the side effects of a signing, one file per outside system: documents, decisions (identity and
// policy), signer, clock, notifier, archive. Each is safe to run again: a worker can die before, within or after any of them.
package activities

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// Tenant is everything that the activities of one tenant reach, each under the tenant's own credentials.
type Tenant struct {
	settings *countersign.Settings
	file     string // the tenant's file
	dir      string // of the tenant's file; its paths are relative to it
	registry *identity.Registry
	engine   *policy.Engine
	s3       *s3.Client
	kms      *kms.Client
	temporal client.Client
	chain    []*x509.Certificate
	roots    evidence.Roots
	clocks   []clock
	stamper  evidence.Stamper // all clocks, in turn
	lists    *evidence.Revocation
	// postQuantum is nil where the tenant's file names no key for post-quantum signatures.
	postQuantum *postQuantumSigner
	// visibleSeal is nil where the tenant's signatures are invisible.
	visibleSeal *countersign.VisibleSeal
	subjects    *Subjects
	given       given
	hooks       []webhook
	http        *http.Client
	worker      evidence.Worker
	log         *translog.Log
}

// LoadSettings reads a tenant's file.
func LoadSettings(file string) (*countersign.Settings, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the tenant's file: %w", err)
	}
	return countersign.ParseSettings(file, raw)
}

// Open makes the activities of a tenant from its file. It reads what the file points to and reaches nothing yet; Check does.
func Open(ctx context.Context, file string, temporal client.Client, worker evidence.Worker) (*Tenant, error) {
	s, err := LoadSettings(file)
	if err != nil {
		return nil, err
	}
	t := &Tenant{
		settings: s, file: file, dir: filepath.Dir(file), registry: identity.NewRegistry(s.Issuers), temporal: temporal, worker: worker,
		http: &http.Client{Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if t.engine, err = LoadPolicy(s, t.dir); err != nil {
		return nil, err
	}
	if t.visibleSeal, err = OpenVisibleSeal(s, t.dir); err != nil {
		return nil, err
	}
	if t.chain, err = t.certificates(s.KMS.Certificate); err != nil {
		return nil, s.Fault(err, "kms", "certificate")
	}
	if t.roots.Signers, err = t.pool(s.KMS.Roots); err != nil {
		return nil, s.Fault(err, "kms", "roots")
	}
	if err := t.openClock(); err != nil {
		return nil, err
	}
	t.lists = evidence.NewRevocation(t.roots, t.http)
	if t.roots.Log, err = translog.ParseVerifier(s.Log.PublicKey, s.Tenant); err != nil {
		return nil, s.Fault(err, "log", "publicKey")
	}
	if t.hooks, err = t.webhooks(); err != nil {
		return nil, err
	}
	cfg, err := AWSConfig(ctx, s.AWS.Region, s.AWS.WorkerProfile)
	if err != nil {
		return nil, s.Fault(err, "aws", "workerProfile")
	}
	t.s3 = NewS3(cfg, s.AWS.S3)
	t.kms = NewKMS(cfg, s)
	t.subjects = NewSubjects(t.s3, t.kms, s)
	if err := t.openPostQuantum(); err != nil {
		return nil, err
	}
	t.log = translog.NewLog(logStore{LogSource(t.s3, s), t}, logKey{t.roots.Log, t})
	return t, nil
}

// silence is how long a store or a key service may send nothing before its connection is given up and the request is tried again. The SDK sets no such bound by
// itself, and a step whose request is never answered lasts until its whole time is up. It also bounds how long one upload takes, during which nothing is sent back.
const silence = 2 * time.Minute

// AWSConfig loads a profile of the shared credentials file.
func AWSConfig(ctx context.Context, region, profile string) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region), awsconfig.WithSharedConfigProfile(profile),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithReadTimeout(silence)))
	if err != nil {
		return cfg, fmt.Errorf("couldn't load the AWS profile %q (is AWS_SHARED_CREDENTIALS_FILE set?): %w", profile, err)
	}
	return cfg, nil
}

// NewS3 makes an S3 client; an endpoint of one's own is spoken to in path style.
func NewS3(cfg aws.Config, endpoint string) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
			o.UsePathStyle = true
		}
		o.HTTPClient = readBodies{o.HTTPClient}
	})
}

func (t *Tenant) path(name string) string { return beside(t.dir, name) }

func (t *Tenant) certificates(name string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(t.path(name))
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: has a %q block; only CERTIFICATE belongs there", name, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New(name + ": has no certificate (PEM)")
	}
	return chain, nil
}

func (t *Tenant) pool(name string) (*x509.CertPool, error) {
	certs, err := t.certificates(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}
