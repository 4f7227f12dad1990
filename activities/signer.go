package activities

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// ErrorSetting is the type of the error of an installation that is set wrong.
const ErrorSetting = "Setting"

// maxSignature bounds a stored signature, in bytes.
const maxSignature = 4 << 20

// Intend locks the intent to sign, before the key is asked. If we crash after this, the intent without a signature says so.
func (t *Tenant) Intend(ctx context.Context, in evidence.SignInput) (evidence.Intent, error) {
	intent := evidence.Intent{
		V: countersign.Version, Context: in.Digest, Document: in.Context.Document,
		Saga: evidence.Execution{Workflow: in.Context.Signing, Run: in.Context.Run}, Key: t.settings.KMS.ARN, At: time.Now().UTC(),
	}
	body, err := countersign.Canonical(intent)
	if err != nil {
		return intent, err
	}
	key := countersign.IntentKey(in.Context.Tenant, in.Request)
	stored, err := t.storeFirst(ctx, t.settings.Evidence.Bucket, key, "application/json", body, t.lock(intent.At))
	if errors.Is(err, errExists) {
		stored, body, err = t.current(ctx, t.settings.Evidence.Bucket, key, maxSignature)
		if err == nil {
			err = json.Unmarshal(body, &intent)
		}
		if err == nil && intent.Context != in.Digest {
			return intent, temporal.NewNonRetryableApplicationError("couldn't record the intent: another transaction holds its place", ErrorSetting, nil)
		}
	}
	if err != nil {
		return intent, fmt.Errorf("couldn't record the intent to sign: %w", err)
	}
	intent.Stored = &stored
	return intent, nil
}

// Sign signs the document with the tenant's key, once. It accepts only decisions that satisfy the quorum, checked again here and now:
// their proofs, the plan, the context that they were given for, that everybody who decided still holds the role, and that the frozen policy allows
// each decision as of when the server took it; and only if the tenant's log has the intent. The saga that asks is not believed: what it says is compared with
// what the Temporal server recorded of it, and with what the log's key signed.
//
// If we crash between the key's answer and the store, an orphan signature exists that nobody ever saw; the next attempt signs again,
// and the first stored signature is the one that counts.
func (t *Tenant) Sign(ctx context.Context, in evidence.SignInput) (evidence.Signature, error) {
	result := evidence.Signature{Key: t.settings.KMS.ARN}
	// Who holds which role is read anew: what was taken away since the process started counts in this moment.
	current, err := LoadSettings(t.file)
	if err != nil {
		return result, err
	}
	refusal, err := t.entitled(ctx, in, current)
	if err != nil {
		return result, err
	}
	if refusal != nil {
		result.Refusal = refusal
		return result, nil
	}
	switch in.Context.SignedAs {
	case countersign.SignedInPDF:
		return t.signInside(ctx, in, result)
	case "":
		return t.signBeside(ctx, in, result)
	}
	result.Refusal = countersign.Refuse("unknown-signature", "the transaction asks for a signature of the form %q, which this build doesn't know", in.Context.SignedAs)
	return result, nil
}

// signBeside makes the signature of a transaction that a build up to v0.1.0 admitted: a file of its own.
func (t *Tenant) signBeside(ctx context.Context, in evidence.SignInput, result evidence.Signature) (evidence.Signature, error) {
	key := countersign.WithheldKey(in.Context.Tenant, in.Request, withheldSignature)
	file, err := t.spool(ctx, in.Context.Document, maxAdmitted)
	if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
		result.Refusal = refusal
		return result, nil
	}
	if err != nil {
		return result, err
	}
	defer file.Close()
	document := file.Raw
	signer := t.signer()
	result.Algorithm = string(signer.algorithm)
	if stored, cms, err := t.earlier(ctx, key, maxSignature); err == nil {
		return t.adopt(ctx, result, stored, document, cms)
	} else if !errors.Is(err, errGone) {
		return result, err
	}
	if err := t.stampsAgain(ctx); err != nil {
		return result, err
	}
	cms, err := evidence.SignDetached(ctx, document, signer, t.stamper, time.Now())
	if err != nil {
		return result, keyError("couldn't sign the document", err)
	}
	result.RequestID = signer.requestID
	stored, err := t.storeFirst(ctx, t.settings.Documents.Bucket, key, "application/pkcs7-signature", cms, nil)
	if errors.Is(err, errExists) {
		result.RequestID = ""
		stored, cms, err = t.current(ctx, t.settings.Documents.Bucket, key, maxSignature)
	}
	if err != nil {
		return result, err
	}
	return t.adopt(ctx, result, stored, document, cms)
}

// stampsAgain asks for a time-stamp first, where an earlier attempt failed: while every authority is down, the key is not asked for
// signatures that nobody could use.
func (t *Tenant) stampsAgain(ctx context.Context) error {
	if activity.GetInfo(ctx).Attempt < 2 {
		return nil
	}
	token, err := stampOnce(ctx, t.stamper)
	if err == nil {
		_, err = t.lists.Token(ctx, token)
	}
	if err != nil {
		return fmt.Errorf("couldn't get a time-stamp with its revocation lists: %w", err)
	}
	return nil
}

// adopt verifies a stored signature before it is believed, whoever stored it.
func (t *Tenant) adopt(ctx context.Context, result evidence.Signature, stored countersign.Object, document, cms []byte) (evidence.Signature, error) {
	facts, err := evidence.VerifyDetached(document, cms, t.roots)
	if err != nil {
		return result, fmt.Errorf("couldn't use the stored signature: %w", err)
	}
	result.Object, result.At = stored, facts.StampTime.UTC()
	activity.GetLogger(ctx).Info("signed", "key", result.Key, "request", result.RequestID)
	return result, nil
}

// entitled checks the decisions again in the moment of signing, and all that they stand on.
func (t *Tenant) entitled(ctx context.Context, in evidence.SignInput, current *countersign.Settings) (*countersign.Refusal, error) {
	if refusal := asker(ctx, in); refusal != nil {
		return refusal, nil
	}
	if digest, err := in.Context.Digest(); err != nil || digest != in.Digest {
		return countersign.Refuse("context-changed", "the transaction's context doesn't have the digest that people approved"), nil
	}
	if digest, err := in.Plan.Digest(); err != nil || digest != in.Context.Plan {
		return countersign.Refuse("plan-changed", "the approval plan is not the one that was frozen at intake"), nil
	}
	for _, counted := range in.Decisions {
		d := counted.Signed.Decision
		stage, _ := in.Plan.Stage(d.Stage)
		holder := d.Actor
		if d.OnBehalfOf != nil {
			holder = *d.OnBehalfOf
		}
		role := stage.RoleOf(holder)
		if d.Verdict == countersign.Skip && in.Plan.BreakGlass != nil {
			role = in.Plan.BreakGlass.Role
		}
		if refusal, err := t.lost(ctx, counted, role, current); refusal != nil || err != nil {
			return refusal, err
		}
	}
	approvals, refusal := evidence.VerifyDecisions(in, current.Issuers)
	if refusal != nil {
		return refusal, nil
	}
	if err := in.Plan.Satisfied(approvals); err != nil {
		return countersign.Refuse("quorum-not-met", "%s", err), nil
	}
	if err := in.Plan.As(current).Satisfied(approvals); err != nil {
		return countersign.Refuse(evidence.RefusalAuthorityLost, "somebody no longer holds a role that the quorum asks for: %s", err), nil
	}
	return t.recorded(ctx, in, current, in.Plan.Broken(approvals))
}

// Withhold destroys what was signed but will not be released: the document's signature, and a bundle that holds it. It is
// the compensation of Sign, and safe to repeat.
func (t *Tenant) Withhold(ctx context.Context, request string) error {
	for _, name := range []string{withheldSignature, withheldPDF, countersign.WithheldBundle(countersign.Completed)} {
		if err := t.destroy(ctx, countersign.WithheldKey(t.settings.Tenant, request, name)); err != nil {
			return fmt.Errorf("couldn't destroy a withheld signature: %w", err)
		}
	}
	return nil
}

// maxPasses bounds how often destroy looks again for what an attempt, whose worker was lost, stored meanwhile.
const maxPasses = 5

// destroy deletes every version of exactly this object, and every delete marker: behind a marker, older versions would stay.
func (t *Tenant) destroy(ctx context.Context, key string) error {
	return destroy(ctx, t.s3, t.settings.Tenant, countersign.Object{Bucket: t.settings.Documents.Bucket, Key: key})
}

func destroy(ctx context.Context, c *s3.Client, tenant string, o countersign.Object) error {
	if err := checkOwn(tenant, o.Key); err != nil {
		return err
	}
	for range maxPasses {
		all, err := versions(ctx, c, o.Bucket, o.Key)
		if err != nil || len(all) == 0 {
			return err
		}
		for _, v := range all {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(v.id)}); err != nil {
				return fmt.Errorf("couldn't delete %s, version %s: %w", o.Key, v.id, err)
			}
		}
	}
	return fmt.Errorf("couldn't delete %s: it is stored again and again", o.Key)
}

// Names under which what was signed waits for the lock of its evidence: the signed PDF, or the signature of a transaction that a build up to
// v0.1.0 admitted.
const (
	withheldPDF       = "document-signed.pdf"
	withheldSignature = "document.p7s"
)

// keySigner signs digests by the tenant's KMS key, named by ARN.
type keySigner struct {
	client    *kms.Client
	arn       string
	chain     []*x509.Certificate
	algorithm kmstypes.SigningAlgorithmSpec
	requestID string // of the last call
	lists     *evidence.Revocation
}

func (t *Tenant) signer() *keySigner {
	s := &keySigner{client: t.kms, arn: t.settings.KMS.ARN, chain: t.chain, lists: t.lists, algorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256}
	if pub, ok := t.chain[0].PublicKey.(*ecdsa.PublicKey); ok && pub.Curve == elliptic.P384() {
		s.algorithm = kmstypes.SigningAlgorithmSpecEcdsaSha384
	}
	return s
}

// Chain is the key's certificate chain, leaf first.
func (s *keySigner) Chain() []*x509.Certificate { return s.chain }

// Revocation reads the revocation lists that a signature keeps.
func (s *keySigner) Revocation() *evidence.Revocation { return s.lists }

// SignDigest asks KMS for one signature over a digest.
func (s *keySigner) SignDigest(ctx context.Context, digest []byte, _ crypto.Hash) ([]byte, error) {
	out, err := s.client.Sign(ctx, &kms.SignInput{
		KeyId: aws.String(s.arn), Message: digest, MessageType: kmstypes.MessageTypeDigest, SigningAlgorithm: s.algorithm,
	})
	if err != nil {
		return nil, err
	}
	s.requestID, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return out.Signature, nil
}

// keyError tells a key that can't be used from one that may answer later.
func keyError(what string, err error) error {
	if errors.Is(err, evidence.ErrRevoked) {
		return temporal.NewApplicationErrorWithOptions(what+": "+err.Error()+"; an administrator has to name another key and certificate",
			evidence.ErrorKeyUnusable, temporal.ApplicationErrorOptions{Cause: err})
	}
	if isCode(err, "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException", "NotFoundException", "AccessDeniedException", "ValidationException") {
		return temporal.NewApplicationErrorWithOptions(what+": the tenant's key can't be used (disabled, deleted, or not ours); an administrator has to mend it",
			evidence.ErrorKeyUnusable, temporal.ApplicationErrorOptions{Cause: err})
	}
	return fmt.Errorf("%s: %w", what, err)
}
