package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"

	pqx509 "filippo.io/mldsa/x509"
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

// ensurePostQuantumKey finds or makes a tenant's ML-DSA key, and writes its public half, which whoever verifies evidence is given.
func (r *running) ensurePostQuantumKey(ctx context.Context, admin profile, tenant string) (*postQuantumEntry, error) {
	arn, public, err := ensureSigningKey(ctx, r.about.KMS.Endpoint, admin, tenant, "postquantum", kmstypes.KeySpecMlDsa65)
	if err != nil {
		return nil, err
	}
	der, err := pqx509.MarshalPKIXPublicKey(public)
	if err == nil {
		err = writePrivate(postQuantumFileName(r.dir, tenant), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't write the post-quantum public key of %s: %w", tenant, err)
	}
	return &postQuantumEntry{Key: arn, PublicKey: "../ca/" + tenant + "-postquantum.pem"}, nil
}

func postQuantumFileName(dir, tenant string) string {
	return filepath.Join(dir, "ca", tenant+"-postquantum.pem")
}

// ensurePersonalDataKey finds or makes the key under which the keys of a tenant's people are kept, and returns its ARN.
func ensurePersonalDataKey(ctx context.Context, endpoint string, admin profile, tenant string) (string, error) {
	client, alias := adminKMS(endpoint, admin), "alias/"+tenant+"-personal"
	if err := ensureKMSKey(ctx, client, alias, tenant, "personal", kmstypes.KeySpecSymmetricDefault, kmstypes.KeyUsageTypeEncryptDecrypt); err != nil {
		return "", err
	}
	described, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(alias)})
	if err != nil {
		return "", fmt.Errorf("couldn't describe the KMS key %s: %w", alias, err)
	}
	return aws.ToString(described.KeyMetadata.Arn), nil
}

func adminKMS(endpoint string, admin profile) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       region,
		Credentials:  awscredentials.NewStaticCredentialsProvider(admin.key.AccessKeyID, admin.key.SecretAccessKey, ""),
	})
}

// ensureSigningKey finds or makes a tenant's key for a use in the KMS and returns its ARN and public key.
func ensureSigningKey(ctx context.Context, endpoint string, admin profile, tenant, use string, spec kmstypes.KeySpec) (string, crypto.PublicKey, error) {
	client, alias := adminKMS(endpoint, admin), "alias/"+tenant+"-"+use
	if err := ensureKMSKey(ctx, client, alias, tenant, use, spec, kmstypes.KeyUsageTypeSignVerify); err != nil {
		return "", nil, err
	}
	got, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(alias)})
	if err != nil {
		return "", nil, fmt.Errorf("couldn't read the public key of %s: %w", alias, err)
	}
	public, err := pqx509.ParsePKIXPublicKey(got.PublicKey)
	if err != nil {
		return "", nil, fmt.Errorf("couldn't read the public key of %s: %w", alias, err)
	}
	return aws.ToString(got.KeyId), public, nil
}

// ensureKMSKey makes a key unless its alias is there. A crash between key and alias leaves a key that nobody uses.
func ensureKMSKey(ctx context.Context, client *kms.Client, alias, tenant, use string, spec kmstypes.KeySpec, usage kmstypes.KeyUsageType) error {
	_, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(alias)})
	var missing *kmstypes.NotFoundException
	if errors.As(err, &missing) {
		err = makeKMSKey(ctx, client, alias, tenant, use, spec, usage)
	}
	if err != nil {
		return fmt.Errorf("couldn't prepare the KMS key %s: %w", alias, err)
	}
	return nil
}

func makeKMSKey(ctx context.Context, client *kms.Client, alias, tenant, use string, spec kmstypes.KeySpec, usage kmstypes.KeyUsageType) error {
	made, err := client.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String(use + " of tenant " + tenant),
		KeySpec:     spec,
		KeyUsage:    usage,
		Tags:        []kmstypes.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String(tenant)}},
	})
	if err != nil {
		return err
	}
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: made.KeyMetadata.KeyId})
	return err
}
