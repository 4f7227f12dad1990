package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/workflows"
)

// bearer sends one token with each call.
type bearer string

func (b bearer) GetHeaders(context.Context) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// Dial reaches a tenant's namespace as somebody; an empty who is anonymous.
func (s *Stack) Dial(ctx context.Context, namespace, who string) (client.Client, error) {
	var token string
	if who != "" {
		var err error
		if token, err = s.Token(ctx, who); err != nil {
			return nil, err
		}
	}
	return s.DialToken(namespace, token)
}

// DialToken reaches a namespace with a given token.
func (s *Stack) DialToken(namespace, token string) (client.Client, error) {
	return client.NewLazyClient(client.Options{HostPort: s.Info.Temporal.Address, Namespace: namespace, HeadersProvider: bearer(token), Logger: quiet{}})
}

// S3Client reaches the store under a profile.
func (s *Stack) S3Client(ctx context.Context, profile string) (*s3.Client, error) {
	cfg, err := s.config(ctx, profile)
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(s.S3.Endpoint), true }), err
}

// KMSClient reaches the key service under a profile.
func (s *Stack) KMSClient(ctx context.Context, profile string) (*kms.Client, error) {
	cfg, err := s.config(ctx, profile)
	return kms.NewFromConfig(cfg, func(o *kms.Options) { o.BaseEndpoint = aws.String(s.KMS.Endpoint) }), err
}

func (s *Stack) config(ctx context.Context, profile string) (aws.Config, error) {
	return awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(s.S3.Region), awsconfig.WithSharedCredentialsFiles([]string{s.AWS.CredentialsFile}), awsconfig.WithSharedConfigProfile(profile))
}

// Upload puts a document of a tenant.
func (s *Stack) Upload(ctx context.Context, tenant string, body []byte) (countersign.Document, error) {
	c, err := s.S3Client(ctx, s.AWS.AdminProfile)
	if err != nil {
		return countersign.Document{}, err
	}
	d := countersign.Document{Bucket: s.S3.Documents, Key: countersign.DocumentKey(tenant, countersign.SHA256(body)), SHA256: countersign.SHA256(body)}
	out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(d.Bucket), Key: aws.String(d.Key), Body: bytes.NewReader(body)})
	if err != nil {
		return d, err
	}
	d.VersionID = aws.ToString(out.VersionId)
	return d, nil
}

// Signing is one signing under test.
type Signing struct {
	Stack   *Stack
	Request countersign.Request
	Run     client.WorkflowRun
}

// Begin starts a signing as somebody, as any Temporal SDK would.
func (s *Stack) Begin(ctx context.Context, who string, r countersign.Request) (*Signing, error) {
	c, err := s.Dial(ctx, r.Tenant, who)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: countersign.CustodianID(r.Tenant, r.ID), TaskQueue: countersign.TaskQueueSigning,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, countersign.WorkflowRequestSigning, r)
	if err != nil {
		return nil, err
	}
	return &Signing{Stack: s, Request: r, Run: run}, nil
}

// Adopt is a signing that was started in another way.
func (s *Stack) Adopt(ctx context.Context, r countersign.Request) (*Signing, error) {
	c, err := s.Dial(ctx, r.Tenant, "platform:starter/"+r.Tenant)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return &Signing{Stack: s, Request: r, Run: c.GetWorkflow(ctx, countersign.CustodianID(r.Tenant, r.ID), "")}, nil
}

// Status asks the saga.
func (g *Signing) Status(ctx context.Context) (workflows.Status, error) {
	var status workflows.Status
	c, err := g.Stack.Dial(ctx, g.Request.Tenant, "platform:starter/"+g.Request.Tenant)
	if err != nil {
		return status, err
	}
	defer c.Close()
	value, err := c.QueryWorkflow(ctx, countersign.SagaID(g.Request.Tenant, g.Request.ID), "", countersign.QueryStatus)
	if err != nil {
		return status, err
	}
	return status, value.Get(&status)
}

// Until waits until the saga's status is as wanted.
func (g *Signing) Until(ctx context.Context, wanted func(workflows.Status) bool) (workflows.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	var last workflows.Status
	var fault error
	for {
		if last, fault = g.Status(ctx); fault == nil && wanted(last) {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("the signing did not get there: %+v: %w", last, errors.Join(fault, ctx.Err()))
		case <-tick.C:
		}
	}
}

// Open waits until a stage waits for decisions.
func (g *Signing) Open(ctx context.Context, stage string) (workflows.Status, error) {
	return g.Until(ctx, func(s workflows.Status) bool { return s.Stage == stage })
}

// Decision is what somebody would decide now, in a stage.
func (g *Signing) Decision(status workflows.Status, who, stage string, verdict countersign.Verdict) countersign.Decision {
	now := time.Now().Unix()
	return countersign.Decision{
		V: countersign.Version, Tenant: g.Request.Tenant, Signing: status.Saga.Workflow, Run: status.Saga.Run, Stage: stage,
		Context: status.Context, Document: status.Document, Verdict: verdict, Reason: "", Actor: g.Stack.Actor(who), Grants: []string{},
		Policy: status.Policy, IssuedAt: now, ExpiresAt: now + 600,
	}
}

// Send signals a decision as somebody.
func (g *Signing) Send(ctx context.Context, who string, signed any) error {
	c, err := g.Stack.Dial(ctx, g.Request.Tenant, who)
	if err != nil {
		return err
	}
	defer c.Close()
	saga := countersign.SagaID(g.Request.Tenant, g.Request.ID)
	run, err := g.Stack.RunOf(ctx, g.Request.Tenant, saga)
	if err != nil {
		return err
	}
	return c.SignalWorkflow(ctx, saga, run, countersign.SignalDecide, signed)
}

// Decide lets somebody decide, from the draft to the signal, and returns what was sent.
func (g *Signing) Decide(ctx context.Context, who, stage string, verdict countersign.Verdict) (countersign.SignedDecision, error) {
	status, err := g.Open(ctx, stage)
	if err != nil {
		return countersign.SignedDecision{}, err
	}
	return g.Put(ctx, who, g.Decision(status, who, stage, verdict))
}

// Put proves a decision and sends it.
func (g *Signing) Put(ctx context.Context, who string, d countersign.Decision) (countersign.SignedDecision, error) {
	token, err := g.Stack.Prove(ctx, who, d)
	if err != nil {
		return countersign.SignedDecision{}, err
	}
	signed := countersign.SignedDecision{ID: random(), Decision: d, Proof: countersign.Proof{IDToken: token}}
	return signed, g.Send(ctx, who, signed)
}

// Record waits for what became of a decision.
func (g *Signing) Record(ctx context.Context, id string) (countersign.DecisionRecord, error) {
	var found countersign.DecisionRecord
	_, err := g.Until(ctx, func(s workflows.Status) bool {
		for _, r := range s.Decisions {
			if r.ID == id {
				found = r
				return true
			}
		}
		return false
	})
	return found, err
}

// End waits for the custodian's result.
func (g *Signing) End(ctx context.Context) (evidence.Ending, error) {
	var ending evidence.Ending
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := g.Stack.Dial(ctx, g.Request.Tenant, "platform:starter/"+g.Request.Tenant)
	if err != nil {
		return ending, err
	}
	defer c.Close()
	return ending, c.GetWorkflow(ctx, g.Run.GetID(), g.Run.GetRunID()).Get(ctx, &ending)
}

type quiet struct{}

func (quiet) Debug(string, ...any)     {}
func (quiet) Info(string, ...any)      {}
func (quiet) Warn(string, ...any)      {}
func (quiet) Error(string, ...any)     {}
func (q quiet) With(...any) log.Logger { return q }

// Custody waits until the custodian is in a state.
func (g *Signing) Custody(ctx context.Context, state string) (workflows.CustodyStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var status workflows.CustodyStatus
	c, err := g.Stack.Dial(ctx, g.Request.Tenant, "platform:starter/"+g.Request.Tenant)
	if err != nil {
		return status, err
	}
	defer c.Close()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		value, err := c.QueryWorkflow(ctx, g.Run.GetID(), "", countersign.QueryStatus)
		if err == nil {
			err = value.Get(&status)
		}
		if err == nil && status.State == state {
			return status, nil
		}
		select {
		case <-ctx.Done():
			return status, fmt.Errorf("the custodian did not get to %q: %+v: %w", state, status, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// patience is how long a wait may take before a test gives up. Where workers are killed again and again, each lost task costs its timeout.
const patience = 2 * time.Minute
