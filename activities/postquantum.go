package activities

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/countersign-dev/countersign/evidence"
)

// openPostQuantum reads the public half of the key for post-quantum signatures, where the tenant's file names one.
func (t *Tenant) openPostQuantum() error {
	named := t.settings.KMS.PostQuantum
	if named == nil {
		return nil
	}
	text, err := os.ReadFile(t.path(named.PublicKey))
	if err != nil {
		return t.settings.Fault(err, "kms", "postQuantum", "publicKey")
	}
	keys, err := evidence.ParsePostQuantumPEM(text)
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("it has %d keys, want one", len(keys))
	}
	if err != nil {
		return t.settings.Fault(fmt.Errorf("%s: %w", named.PublicKey, err), "kms", "postQuantum", "publicKey")
	}
	t.postQuantum = &postQuantumSigner{t.kms, named.ARN, keys[0]}
	return nil
}

// postQuantumSigner signs messages by the tenant's ML-DSA key in KMS, named by ARN.
type postQuantumSigner struct {
	client *kms.Client
	arn    string
	key    *evidence.PostQuantumKey
}

// ARN is the key's name, never an alias.
func (s *postQuantumSigner) ARN() string { return s.arn }

// Key is the public half that the tenant's file has.
func (s *postQuantumSigner) Key() *evidence.PostQuantumKey { return s.key }

// SignMessage asks KMS for one signature over a message.
func (s *postQuantumSigner) SignMessage(ctx context.Context, message []byte) ([]byte, string, error) {
	out, err := s.client.Sign(ctx, &kms.SignInput{
		KeyId: aws.String(s.arn), Message: message, MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecMlDsaShake256,
	})
	if err != nil {
		return nil, "", err
	}
	request, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return out.Signature, request, nil
}

// postQuantumRecord is what intake writes into the history: the evidence must then have a signature by such a key.
func (t *Tenant) postQuantumRecord() *evidence.PostQuantumRecord {
	if t.postQuantum == nil {
		return nil
	}
	return &evidence.PostQuantumRecord{Key: t.postQuantum.arn, Algorithm: t.postQuantum.key.Algorithm(), SHA256: t.postQuantum.key.SHA256()}
}

// signPostQuantum adds the post-quantum signature to the files of a bundle, where the tenant's file names a key for it.
func (t *Tenant) signPostQuantum(ctx context.Context, c *evidence.Case, files []evidence.File) ([]evidence.File, error) {
	if t.postQuantum == nil {
		if c.Admission != nil && c.Admission.PostQuantum != nil {
			return nil, errors.New("the tenant's file named a key for post-quantum signatures at intake, and names none since: put kms.postQuantum back, with that key or another, until this signing is sealed")
		}
		return files, nil
	}
	signed, err := evidence.AddPostQuantum(ctx, files, t.postQuantum, t.chain[0], time.Now())
	if err != nil {
		return nil, keyError("couldn't make the post-quantum signature of the evidence", err)
	}
	return signed, nil
}

// checkPostQuantum asks whether the key is one for post-quantum signatures, is the one whose public half the tenant's file has, and may sign. A key that
// doesn't have the tenant's tag can't even be described, by the policies of keys and roles.
func (t *Tenant) checkPostQuantum(ctx context.Context) error {
	if t.postQuantum == nil {
		return nil
	}
	arn, key := aws.String(t.postQuantum.arn), t.postQuantum.key
	described, err := t.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: arn})
	if err != nil {
		return fmt.Errorf("couldn't describe the key %s: %w", *arn, err)
	}
	switch m := described.KeyMetadata; {
	case m.KeyState != kmstypes.KeyStateEnabled || m.KeyUsage != kmstypes.KeyUsageTypeSignVerify:
		return fmt.Errorf("the key %s is %s, for %s; it must be Enabled, for SIGN_VERIFY", *arn, m.KeyState, m.KeyUsage)
	case string(m.KeySpec) != key.Algorithm():
		return fmt.Errorf("the key %s is an %s key, and kms.postQuantum.publicKey is of an %s key", *arn, m.KeySpec, key.Algorithm())
	}
	public, err := t.kms.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: arn})
	if err != nil {
		return fmt.Errorf("couldn't read the public half of the key %s: %w", *arn, err)
	}
	if fmt.Sprintf("%x", sha256.Sum256(public.PublicKey)) != key.SHA256() {
		return fmt.Errorf("kms.postQuantum.publicKey is not the public half of the key %s", *arn)
	}
	_, err = t.kms.Sign(ctx, &kms.SignInput{
		KeyId: arn, Message: []byte("countersign boot check"), MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecMlDsaShake256, DryRun: aws.Bool(true),
	})
	if success := (*kmstypes.DryRunOperationException)(nil); errors.As(err, &success) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("the key %s was asked for a dry run and made a signature: this key service can't be used", *arn)
	}
	return fmt.Errorf("couldn't sign with the key %s; does the profile %q have the permission kms:Sign with ML_DSA_SHAKE_256? %w", *arn, t.settings.AWS.WorkerProfile, err)
}
