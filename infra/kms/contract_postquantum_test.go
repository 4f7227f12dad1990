package kms

import (
	"context"
	"crypto/sha3"
	"errors"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// representative is the mu of a message under an empty context (FIPS 204, algorithms 2 and 7).
func representative(key *mldsa.PublicKey, message []byte) []byte {
	tr, mu := make([]byte, 64), make([]byte, muSize)
	h := sha3.NewSHAKE256()
	h.Write(key.Bytes())
	h.Read(tr)
	h.Reset()
	h.Write(tr)
	h.Write([]byte{0, 0})
	h.Write(message)
	h.Read(mu)
	return mu
}

// postQuantumClauses are what is particular to ML-DSA; signingSuites has what it shares with other keys. refused makes a check that Sign and Verify
// answer with an error.
func postQuantumClauses(refused func(types.SigningAlgorithmSpec, types.MessageType, int, string) func(context.Context, peer, *types.KeyMetadata) error) map[string]clause {
	ml65, shake := types.KeySpecMlDsa65, types.SigningAlgorithmSpecMlDsaShake256
	all := map[string]clause{
		"ML_DSA_SHAKE_256 takes no DIGEST":             withKey(ml65, refused(shake, types.MessageTypeDigest, 64, "ValidationException")),
		"EXTERNAL_MU has 64 bytes":                     withKey(ml65, refused(shake, types.MessageTypeExternalMu, 63, "ValidationException")),
		"ML_DSA_65, RAW of 4,097 bytes is invalid":     withKey(ml65, refused(shake, types.MessageTypeRaw, 4097, "ValidationException")),
		"P-256 takes no EXTERNAL_MU":                   withKey(types.KeySpecEccNistP256, refused(types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeExternalMu, 64, "ValidationException")),
		"ML-DSA doesn't sign with ECDSA":               withKey(ml65, refused(types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeRaw, 8, "InvalidKeyUsageException")),
		"P-256 doesn't sign with ML_DSA_SHAKE_256":     withKey(types.KeySpecEccNistP256, refused(shake, types.MessageTypeRaw, 8, "InvalidKeyUsageException")),
		"CreateKey refuses ENCRYPT_DECRYPT for ML-DSA": func(ctx context.Context, p peer) error { return createsFor(ctx, p, types.KeyUsageTypeEncryptDecrypt) },
		"CreateKey refuses GENERATE_VERIFY_MAC for ML-DSA": func(ctx context.Context, p peer) error {
			return createsFor(ctx, p, types.KeyUsageTypeGenerateVerifyMac)
		},
	}
	for _, spec := range []types.KeySpec{types.KeySpecMlDsa44, ml65, types.KeySpecMlDsa87} {
		all[string(spec)+" signs with ML_DSA_SHAKE_256, EXTERNAL_MU"] = withKey(spec, signsRepresentative)
	}
	return all
}

func createsFor(ctx context.Context, p peer, usage types.KeyUsageType) error {
	_, err := p.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecMlDsa65, KeyUsage: usage})
	return code(err, "ValidationException")
}

// signsRepresentative signs a message that is too long for RAW by its representative alone, and a short one that Verify then takes as RAW.
func signsRepresentative(ctx context.Context, p peer, k *types.KeyMetadata) error {
	public, err := p.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
	if err != nil {
		return err
	}
	parsed, err := pqx509.ParsePKIXPublicKey(public.PublicKey)
	if err != nil {
		return err
	}
	key, is := parsed.(*mldsa.PublicKey)
	if !is {
		return errors.New("the public key is none of ML-DSA")
	}
	for _, message := range [][]byte{make([]byte, maxMessage+1), []byte("evidence")} {
		signed, err := p.Sign(ctx, &kms.SignInput{KeyId: k.Arn, Message: representative(key, message), MessageType: types.MessageTypeExternalMu, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256})
		if err != nil {
			return err
		}
		if err := mldsa.Verify(key, message, signed.Signature, nil); err != nil {
			return err
		}
		if len(message) > maxMessage {
			continue
		}
		if _, err := p.Verify(ctx, &kms.VerifyInput{KeyId: k.Arn, Message: message, MessageType: types.MessageTypeRaw, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256, Signature: signed.Signature}); err != nil {
			return err
		}
	}
	_, err = p.Sign(ctx, &kms.SignInput{KeyId: aws.String(*k.KeyId), Message: make([]byte, muSize), SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256, MessageType: types.MessageTypeExternalMu, DryRun: aws.Bool(true)})
	return code(err, "DryRunOperationException")
}
