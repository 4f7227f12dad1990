package kms

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"strings"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// signingSuite is a pair of spec and algorithm, and how Go checks it.
type signingSuite struct {
	spec      types.KeySpec
	algorithm types.SigningAlgorithmSpec
	hash      crypto.Hash
	raw       bool // RAW is allowed
	digest    bool // DIGEST is allowed
	salt      int  // length of a PSS salt; 0 is any
}

func signingSuites() []signingSuite {
	suites := []signingSuite{
		{types.KeySpecEccNistP256, types.SigningAlgorithmSpecEcdsaSha256, crypto.SHA256, true, true, rsa.PSSSaltLengthAuto},
		{types.KeySpecEccNistP384, types.SigningAlgorithmSpecEcdsaSha384, crypto.SHA384, true, true, rsa.PSSSaltLengthAuto},
		{types.KeySpecEccNistEdwards25519, types.SigningAlgorithmSpecEd25519Sha512, crypto.SHA512, true, false, rsa.PSSSaltLengthAuto},
		{types.KeySpecEccNistEdwards25519, types.SigningAlgorithmSpecEd25519PhSha512, crypto.SHA512, false, true, rsa.PSSSaltLengthAuto},
	}
	for _, spec := range []types.KeySpec{types.KeySpecMlDsa44, types.KeySpecMlDsa65, types.KeySpecMlDsa87} {
		suites = append(suites, signingSuite{spec: spec, algorithm: types.SigningAlgorithmSpecMlDsaShake256, raw: true})
	}
	for _, a := range []struct {
		algorithm types.SigningAlgorithmSpec
		hash      crypto.Hash
	}{
		{types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, crypto.SHA256},
		{types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, crypto.SHA384},
		{types.SigningAlgorithmSpecRsassaPkcs1V15Sha512, crypto.SHA512},
		{types.SigningAlgorithmSpecRsassaPssSha256, crypto.SHA256},
		{types.SigningAlgorithmSpecRsassaPssSha384, crypto.SHA384},
		{types.SigningAlgorithmSpecRsassaPssSha512, crypto.SHA512},
	} {
		suites = append(suites, signingSuite{types.KeySpecRsa2048, a.algorithm, a.hash, true, true, rsa.PSSSaltLengthAuto})
	}
	return append(suites,
		signingSuite{types.KeySpecRsa3072, types.SigningAlgorithmSpecRsassaPssSha256, crypto.SHA256, true, true, rsa.PSSSaltLengthAuto},
		signingSuite{types.KeySpecRsa4096, types.SigningAlgorithmSpecRsassaPssSha512, crypto.SHA512, true, true, rsa.PSSSaltLengthAuto})
}

// checkedByGo verifies a signature without the KMS.
func (s signingSuite) checkedByGo(spki, message, signature []byte) error {
	public, err := pqx509.ParsePKIXPublicKey(spki)
	if err != nil {
		return fmt.Errorf("couldn't parse the public key: %w", err)
	}
	if k, is := public.(*mldsa.PublicKey); is {
		if got := strings.ReplaceAll(k.Parameters().String(), "-", "_"); got != string(s.spec) {
			return fmt.Errorf("the key is of %s, want %s", got, s.spec)
		}
		return mldsa.Verify(k, message, signature, nil)
	}
	h := s.hash.New()
	h.Write(message)
	digest := h.Sum(nil)
	valid := false
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		valid = strings.HasPrefix(string(s.spec), "ECC_NIST_P") && ecdsa.VerifyASN1(k, digest, signature)
	case ed25519.PublicKey:
		valid = s.digest && ed25519.VerifyWithOptions(k, digest, signature, &ed25519.Options{Hash: crypto.SHA512}) == nil ||
			s.raw && ed25519.Verify(k, message, signature)
	case *rsa.PublicKey:
		if fmt.Sprintf("RSA_%d", k.N.BitLen()) != string(s.spec) {
			return fmt.Errorf("the key has %d bits, want %s", k.N.BitLen(), s.spec)
		}
		if strings.Contains(string(s.algorithm), "_PSS_") {
			valid = rsa.VerifyPSS(k, s.hash, digest, signature, &rsa.PSSOptions{SaltLength: s.salt}) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(k, s.hash, digest, signature) == nil
		}
	}
	if !valid {
		return fmt.Errorf("Go rejects the signature (%T)", public)
	}
	return nil
}

func (s signingSuite) signs(digest bool) clause {
	return withKey(s.spec, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		public, err := p.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
		if err != nil {
			return err
		}
		message := bytes.Repeat([]byte("evidence"), maxMessage/8) // the longest that is allowed
		sent, kind := message, types.MessageTypeRaw
		if digest {
			h := s.hash.New()
			h.Write(message)
			sent, kind = h.Sum(nil), types.MessageTypeDigest
		}
		signed, err := p.Sign(ctx, &kms.SignInput{KeyId: k.Arn, Message: sent, MessageType: kind, SigningAlgorithm: s.algorithm})
		if err != nil {
			return err
		}
		if signed.SigningAlgorithm != s.algorithm {
			return fmt.Errorf("the answer names the algorithm %s", signed.SigningAlgorithm)
		}
		if err := s.checkedByGo(public.PublicKey, message, signed.Signature); err != nil {
			return err
		}
		verify := &kms.VerifyInput{KeyId: k.KeyId, Message: sent, MessageType: kind, SigningAlgorithm: s.algorithm, Signature: signed.Signature}
		verified, err := p.Verify(ctx, verify)
		if err != nil {
			return err
		}
		if !verified.SignatureValid {
			return errors.New("Verify says that the signature is invalid")
		}
		return nil
	})
}

// tampered verifies altered messages and signatures. AWS answers each with an
// error and never with SignatureValid false.
func (s signingSuite) tampered(check func(name string, out *kms.VerifyOutput, err error) error) clause {
	return withKey(s.spec, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		message := []byte("evidence")
		kind := types.MessageTypeRaw
		if !s.raw {
			message, kind = make([]byte, s.hash.Size()), types.MessageTypeDigest
		}
		signed, err := p.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: message, MessageType: kind, SigningAlgorithm: s.algorithm})
		if err != nil {
			return err
		}
		flipped := func(b []byte) []byte {
			b = bytes.Clone(b)
			b[len(b)-1] ^= 1
			return b
		}
		var all error
		for name, v := range map[string]struct{ message, signature []byte }{
			"another message":   {flipped(message), signed.Signature},
			"another signature": {message, flipped(signed.Signature)},
			"no signature":      {message, []byte("no signature")},
		} {
			out, err := p.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: v.message, MessageType: kind, SigningAlgorithm: s.algorithm, Signature: v.signature})
			all = errors.Join(all, check(name, out, err))
		}
		return all
	})
}

func neverValid(name string, out *kms.VerifyOutput, err error) error {
	if err == nil && !out.SignatureValid {
		return nil
	}
	if err := code(err, "KMSInvalidSignatureException"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func answeredAsError(name string, _ *kms.VerifyOutput, err error) error {
	if err := code(err, "KMSInvalidSignatureException"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func signingClauses() map[string]clause {
	all := map[string]clause{}
	for _, s := range signingSuites() {
		name := fmt.Sprintf("%s signs with %s", s.spec, s.algorithm)
		if s.raw {
			all[name+", RAW"] = s.signs(false)
		}
		if s.digest {
			all[name+", DIGEST"] = s.signs(true)
		}
		all[name+", and never finds a tampered one valid"] = s.tampered(neverValid)
	}
	all["a wrong signature is an error, not an answer"] = signingSuites()[0].tampered(answeredAsError)
	// AWS documents this length, and verifiers outside insist on it.
	salted := signingSuite{types.KeySpecRsa2048, types.SigningAlgorithmSpecRsassaPssSha256, crypto.SHA256, true, false, rsa.PSSSaltLengthEqualsHash}
	all["a PSS salt is as long as the digest"] = salted.signs(false)
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecEccNistEdwards25519, types.KeySpecMlDsa65} {
		all[fmt.Sprintf("the answers name the ARN of the key, %s", spec)] = withKey(spec, answersNameARN)
	}

	sign := func(algorithm types.SigningAlgorithmSpec, kind types.MessageType, size int, want string) func(context.Context, peer, *types.KeyMetadata) error {
		return func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			_, signErr := p.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: make([]byte, size), MessageType: kind, SigningAlgorithm: algorithm})
			_, verifyErr := p.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: make([]byte, size), MessageType: kind, SigningAlgorithm: algorithm, Signature: []byte("signature")})
			return codes(want, map[string]error{"Sign": signErr, "Verify": verifyErr})
		}
	}
	p256, ed, rsa2048, symmetric := types.KeySpecEccNistP256, types.KeySpecEccNistEdwards25519, types.KeySpecRsa2048, types.KeySpecSymmetricDefault
	ecdsa256 := types.SigningAlgorithmSpecEcdsaSha256
	all["a RAW message of 4,097 bytes is invalid"] = withKey(p256, sign(ecdsa256, types.MessageTypeRaw, 4097, "ValidationException"))
	all["an empty message is invalid"] = withKey(p256, sign(ecdsa256, types.MessageTypeRaw, 0, "ValidationException"))
	all["a SHA-256 digest has 32 bytes"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		var all error
		for _, size := range []int{1, 31, 33, 48, 64} {
			all = errors.Join(all, sign(ecdsa256, types.MessageTypeDigest, size, "ValidationException")(ctx, p, k))
		}
		return all
	})
	all["a SHA-384 digest has 48 bytes"] = withKey(rsa2048, sign(types.SigningAlgorithmSpecRsassaPssSha384, types.MessageTypeDigest, 32, "ValidationException"))
	all["ED25519_SHA_512 takes no DIGEST"] = withKey(ed, sign(types.SigningAlgorithmSpecEd25519Sha512, types.MessageTypeDigest, 64, "ValidationException"))
	all["ED25519_PH_SHA_512 takes no RAW"] = withKey(ed, sign(types.SigningAlgorithmSpecEd25519PhSha512, types.MessageTypeRaw, 64, "ValidationException"))
	all["an algorithm that doesn't exist is invalid"] = withKey(p256, sign("ECDSA_SHA_1", types.MessageTypeRaw, 8, "ValidationException"))
	all["a message type that doesn't exist is invalid"] = withKey(p256, sign(ecdsa256, "COOKED", 8, "ValidationException"))
	all["P-256 doesn't sign with SHA-384"] = withKey(p256, sign(types.SigningAlgorithmSpecEcdsaSha384, types.MessageTypeRaw, 8, "InvalidKeyUsageException"))
	all["P-256 doesn't sign with an RSA algorithm"] = withKey(p256, sign(types.SigningAlgorithmSpecRsassaPssSha256, types.MessageTypeRaw, 8, "InvalidKeyUsageException"))
	all["RSA doesn't sign with ECDSA"] = withKey(rsa2048, sign(ecdsa256, types.MessageTypeRaw, 8, "InvalidKeyUsageException"))
	all["a symmetric key doesn't sign"] = withKey(symmetric, sign(ecdsa256, types.MessageTypeRaw, 8, "InvalidKeyUsageException"))
	all["a symmetric key has no public key"] = withKey(symmetric, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		_, err := p.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
		return code(err, "UnsupportedOperationException")
	})
	all["RAW is the usual message type"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		signed, err := p.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("evidence"), SigningAlgorithm: ecdsa256})
		if err != nil {
			return err
		}
		_, err = p.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: []byte("evidence"), MessageType: types.MessageTypeRaw, SigningAlgorithm: ecdsa256, Signature: signed.Signature})
		return err
	})
	maps.Copy(all, postQuantumClauses(sign))
	all["a dry run signs nothing"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		_, err := p.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("evidence"), SigningAlgorithm: ecdsa256, DryRun: aws.Bool(true)})
		return code(err, "DryRunOperationException")
	})
	return all
}

// answersNameARN matters to evidence, which records the ARN.
func answersNameARN(ctx context.Context, p peer, k *types.KeyMetadata) error {
	in := &kms.SignInput{KeyId: k.KeyId, Message: []byte("evidence"), SigningAlgorithm: k.SigningAlgorithms[0]}
	public, err := p.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
	if err != nil {
		return err
	}
	signed, err := p.Sign(ctx, in)
	if err != nil {
		return err
	}
	verified, err := p.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: in.Message, SigningAlgorithm: in.SigningAlgorithm, Signature: signed.Signature})
	if err != nil {
		return err
	}
	for name, id := range map[string]*string{"GetPublicKey": public.KeyId, "Sign": signed.KeyId, "Verify": verified.KeyId} {
		if *id != *k.Arn {
			return fmt.Errorf("%s names %s, want %s", name, *id, *k.Arn)
		}
	}
	return nil
}
