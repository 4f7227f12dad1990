package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// checkPersonalDataKey asks whether the key can wrap people's keys, and whether the worker may use it. It makes a key that is thrown away, because only
// with what is wrapped can be asked whether it could be opened again.
func (t *Tenant) checkPersonalDataKey(ctx context.Context) error {
	arn := t.settings.Evidence.PersonalDataKey
	if arn == "" {
		return nil
	}
	described, err := t.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(arn)})
	if err != nil {
		return fmt.Errorf("couldn't describe the key %s: %w", arn, err)
	}
	if m := described.KeyMetadata; m.KeyState != kmstypes.KeyStateEnabled || m.KeyUsage != kmstypes.KeyUsageTypeEncryptDecrypt || m.KeySpec != kmstypes.KeySpecSymmetricDefault {
		return fmt.Errorf("the key %s is %s, of the kind %s, for %s; it must be Enabled, of the kind SYMMETRIC_DEFAULT, for ENCRYPT_DECRYPT", arn, m.KeyState, m.KeySpec, m.KeyUsage)
	}
	made, err := t.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: aws.String(arn), KeySpec: kmstypes.DataKeySpecAes256, EncryptionContext: t.subjects.context("boot check")})
	if err != nil {
		return fmt.Errorf("couldn't make a key under %s; does the profile %q have the permission kms:GenerateDataKey? %w", arn, t.settings.AWS.WorkerProfile, err)
	}
	_, err = t.kms.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(arn), CiphertextBlob: made.CiphertextBlob, EncryptionContext: t.subjects.context("boot check"), DryRun: aws.Bool(true)})
	if success := (*kmstypes.DryRunOperationException)(nil); errors.As(err, &success) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("the key %s was asked for a dry run and opened a key: this key service can't be used", arn)
	}
	return fmt.Errorf("couldn't open a key under %s; does the profile %q have the permission kms:Decrypt? %w", arn, t.settings.AWS.WorkerProfile, err)
}

// CheckAccess asks whether a process that only shows evidence may open people's keys, where the tenant's file names a key for them. Without one of them at
// hand it can tell no more than that nobody forbids it: what it sends is no wrapped key.
func (s *Subjects) CheckAccess(ctx context.Context) error {
	arn := s.settings.Evidence.PersonalDataKey
	if arn == "" {
		return nil
	}
	_, err := s.kms.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(arn), CiphertextBlob: []byte("countersign boot check"), EncryptionContext: s.context("boot check"), DryRun: aws.Bool(true)})
	if isCode(err, "InvalidCiphertextException", "DryRunOperationException", "IncorrectKeyException") {
		return nil
	}
	return fmt.Errorf("couldn't open people's keys with the key %s; does the profile %q have the permission kms:Decrypt? %w", arn, s.settings.AWS.StarterProfile, err)
}
