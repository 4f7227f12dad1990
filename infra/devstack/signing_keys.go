package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"golang.org/x/mod/sumdb/note"
)

// ensureLogKey finds or makes the key that signs a tenant's log, and writes its public half as a tenant's file has it.
func ensureLogKey(ctx context.Context, endpoint string, admin profile, tenant string) (logEntry, error) {
	arn, public, err := ensureSigningKey(ctx, endpoint, admin, tenant, "log", kmstypes.KeySpecEccNistEdwards25519)
	if err != nil {
		return logEntry{}, err
	}
	key, ok := public.(ed25519.PublicKey)
	if !ok {
		return logEntry{}, fmt.Errorf("the log's key of %s is a %T", tenant, public)
	}
	text, err := note.NewEd25519VerifierKey("countersign/"+tenant, key)
	return logEntry{arn, text}, err
}

// ensureSigningKey finds or makes a tenant's key for a use in the KMS and returns its ARN and
// public key. A crash between key and alias leaves a key that nobody uses.
func ensureSigningKey(ctx context.Context, endpoint string, admin profile, tenant, use string, spec kmstypes.KeySpec) (string, crypto.PublicKey, error) {
	client := kms.New(kms.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       region,
		Credentials:  awscredentials.NewStaticCredentialsProvider(admin.key.AccessKeyID, admin.key.SecretAccessKey, ""),
	})
	alias := "alias/" + tenant + "-" + use
	_, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(alias)})
	var missing *kmstypes.NotFoundException
	if errors.As(err, &missing) {
		err = makeSigningKey(ctx, client, alias, tenant, use, spec)
	}
	if err != nil {
		return "", nil, fmt.Errorf("couldn't prepare the KMS key %s: %w", alias, err)
	}
	got, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(alias)})
	if err != nil {
		return "", nil, fmt.Errorf("couldn't read the public key of %s: %w", alias, err)
	}
	public, err := x509.ParsePKIXPublicKey(got.PublicKey)
	if err != nil {
		return "", nil, fmt.Errorf("couldn't read the public key of %s: %w", alias, err)
	}
	return aws.ToString(got.KeyId), public, nil
}

func makeSigningKey(ctx context.Context, client *kms.Client, alias, tenant, use string, spec kmstypes.KeySpec) error {
	made, err := client.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String(use + " of tenant " + tenant),
		KeySpec:     spec,
		KeyUsage:    kmstypes.KeyUsageTypeSignVerify,
		Tags:        []kmstypes.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String(tenant)}},
	})
	if err != nil {
		return err
	}
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: made.KeyMetadata.KeyId})
	return err
}
