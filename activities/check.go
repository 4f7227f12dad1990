package activities

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Check asks every part that a signing needs, before the first signing does: issuers, namespace, key and certificate, the permission to sign, buckets and their
// lock, time-stamp authorities. It tells all that is wrong at once, each with its place in the tenant's file, and changes nothing. A process
// that fails it must not start.
func (t *Tenant) Check(ctx context.Context) error {
	faults := t.checkIssuers(ctx)
	for _, part := range []struct {
		setting []any
		check   func(context.Context) error
	}{
		{[]any{"namespace"}, t.checkNamespace},
		{[]any{"kms", "key"}, t.checkKey},
		{[]any{"kms", "certificate"}, t.checkCertificate},
		{[]any{"kms", "postQuantum", "key"}, t.checkPostQuantum},
		{[]any{"log", "key"}, t.checkLog},
		{[]any{"documents", "bucket"}, t.checkDocuments},
		{[]any{"evidence", "bucket"}, t.checkEvidence},
		{[]any{"evidence", "personalDataKey"}, t.checkPersonalDataKey},
	} {
		within, cancel := context.WithTimeout(ctx, bootTimeout)
		if err := part.check(within); err != nil {
			faults = append(faults, t.settings.Fault(err, part.setting...))
		}
		cancel()
	}
	return errors.Join(append(faults, t.checkClocks(ctx)...)...)
}

// bootTimeout bounds each part's check.
const bootTimeout = 20 * time.Second

func (t *Tenant) checkIssuers(ctx context.Context) (faults []error) {
	within, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for i, err := range t.registry.Check(within) {
		if err != nil {
			faults = append(faults, t.settings.Fault(err, "issuers", i))
		}
	}
	return faults
}

func (t *Tenant) checkNamespace(ctx context.Context) error {
	return CheckNamespace(ctx, t.temporal, t.settings)
}

// NamespaceTenant is the entry in a namespace's data that says whose the namespace is.
const NamespaceTenant = "tenant"

// CheckNamespace asks for the tenant's namespace. One that says that it is another tenant's is refused, whatever the server would let through. One that
// says nothing is taken: it may be older than this entry.
func CheckNamespace(ctx context.Context, c client.Client, s *countersign.Settings) error {
	described, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: s.Namespace})
	if err != nil {
		return fmt.Errorf("couldn't use the namespace %q of the Temporal server: %w", s.Namespace, err)
	}
	if whose, says := described.GetNamespaceInfo().GetData()[NamespaceTenant]; says && whose != s.Tenant {
		return fmt.Errorf("the namespace %q is of another tenant than %q, by the entry %q of its data", s.Namespace, s.Tenant, NamespaceTenant)
	}
	return nil
}

func (t *Tenant) checkKey(ctx context.Context) error {
	described, err := t.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(t.settings.KMS.ARN)})
	if err != nil {
		return fmt.Errorf("couldn't describe the key %s: %w", t.settings.KMS.ARN, err)
	}
	if m := described.KeyMetadata; m.KeyState != kmstypes.KeyStateEnabled || m.KeyUsage != kmstypes.KeyUsageTypeSignVerify {
		return fmt.Errorf("the key %s is %s, for %s; it must be Enabled, for SIGN_VERIFY", t.settings.KMS.ARN, m.KeyState, m.KeyUsage)
	}
	if hash, err := t.checkChain(); err == nil {
		return t.checkPermission(ctx, hash)
	}
	return nil // without a certificate that can sign there is no algorithm to ask for; checkCertificate says so
}

func (t *Tenant) checkCertificate(ctx context.Context) error {
	public, err := t.kms.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(t.settings.KMS.ARN)})
	if err != nil {
		return fmt.Errorf("couldn't read the key's public half: %w", err)
	}
	if sha256.Sum256(public.PublicKey) != sha256.Sum256(t.chain[0].RawSubjectPublicKeyInfo) {
		return fmt.Errorf("the certificate %s is not of the key %s", t.settings.KMS.Certificate, t.settings.KMS.ARN)
	}
	if _, err = t.checkChain(); err != nil {
		return err
	}
	if _, err = t.lists.Signer(ctx, t.chain, time.Now()); err != nil {
		return fmt.Errorf("couldn't use the certificate %s: %w", t.settings.KMS.Certificate, err)
	}
	return nil
}

// checkChain says whether the certificates can sign, and returns the digest that goes with the key.
func (t *Tenant) checkChain() (crypto.Hash, error) {
	hash, err := evidence.CheckSigner(t.chain, t.roots.Signers, time.Now())
	if err != nil {
		return 0, fmt.Errorf("couldn't sign with the certificate %s under the roots %s: %w", t.settings.KMS.Certificate, t.settings.KMS.Roots, err)
	}
	return hash, nil
}

// checkPermission asks the key for a signature without making one: that the key may be described says nothing about who may use it.
func (t *Tenant) checkPermission(ctx context.Context, hash crypto.Hash) error {
	digest := hash.New()
	digest.Write([]byte("countersign boot check"))
	_, err := t.kms.Sign(ctx, &kms.SignInput{
		KeyId: aws.String(t.settings.KMS.ARN), Message: digest.Sum(nil), MessageType: kmstypes.MessageTypeDigest,
		SigningAlgorithm: t.signer().algorithm, DryRun: aws.Bool(true),
	})
	// This error is how KMS says that the call would have succeeded.
	if success := (*kmstypes.DryRunOperationException)(nil); errors.As(err, &success) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("the key %s was asked for a dry run and made a signature: this key service can't be used", t.settings.KMS.ARN)
	}
	return fmt.Errorf("couldn't sign with the key %s; does the profile %q have the permission kms:Sign? %w", t.settings.KMS.ARN, t.settings.AWS.WorkerProfile, err)
}

func (t *Tenant) checkDocuments(ctx context.Context) error {
	bucket := t.settings.Documents.Bucket
	out, err := t.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String(bucket)})
	if err != nil {
		return fmt.Errorf("couldn't ask the bucket %q for its versioning: %w", bucket, err)
	}
	if out.Status != s3types.BucketVersioningStatusEnabled {
		return fmt.Errorf("the bucket %q keeps no versions; enable versioning, or a document could change under its approvers", bucket)
	}
	return nil
}

func (t *Tenant) checkEvidence(ctx context.Context) error {
	bucket := t.settings.Evidence.Bucket
	out, err := t.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(bucket)})
	if isCode(err, "ObjectLockConfigurationNotFoundError") || err == nil && (out.ObjectLockConfiguration == nil || out.ObjectLockConfiguration.ObjectLockEnabled != s3types.ObjectLockEnabledEnabled) {
		return fmt.Errorf("the bucket %q has no Object Lock; evidence in it could be deleted. Object Lock is set when a bucket is made", bucket)
	}
	if err != nil {
		return fmt.Errorf("couldn't ask the bucket %q for its Object Lock: %w", bucket, err)
	}
	return nil
}
