package kms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"fmt"
	"slices"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

const (
	// maxMessage bounds what KMS signs or encrypts in one call, in bytes.
	maxMessage = 4096
	// maxSignature bounds a signature to verify, in bytes.
	maxSignature = 6144
)

// scheme is how a signing algorithm uses a key.
type scheme struct {
	hash crypto.Hash
	opts crypto.SignerOpts
	// whole is for PureEdDSA (RFC 8032), which signs the message itself and
	// therefore has no digest mode.
	whole bool
	// prehashed is for Ed25519ph (RFC 8032), which KMS serves only for digests.
	prehashed bool
	// mu is for ML-DSA (FIPS 204), which signs the message itself or, as EXTERNAL_MU, the representative that its caller computed from it.
	mu bool
}

// muSize is the length of an ML-DSA message representative, in bytes.
const muSize = 64

var schemes = map[types.SigningAlgorithmSpec]scheme{
	types.SigningAlgorithmSpecEcdsaSha256:          {hash: crypto.SHA256, opts: crypto.SHA256},
	types.SigningAlgorithmSpecEcdsaSha384:          {hash: crypto.SHA384, opts: crypto.SHA384},
	types.SigningAlgorithmSpecEd25519Sha512:        {hash: crypto.SHA512, opts: &ed25519.Options{}, whole: true},
	types.SigningAlgorithmSpecEd25519PhSha512:      {hash: crypto.SHA512, opts: &ed25519.Options{Hash: crypto.SHA512}, prehashed: true},
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha256: {hash: crypto.SHA256, opts: crypto.SHA256},
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha384: {hash: crypto.SHA384, opts: crypto.SHA384},
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha512: {hash: crypto.SHA512, opts: crypto.SHA512},
	types.SigningAlgorithmSpecRsassaPssSha256:      pss(crypto.SHA256),
	types.SigningAlgorithmSpecRsassaPssSha384:      pss(crypto.SHA384),
	types.SigningAlgorithmSpecRsassaPssSha512:      pss(crypto.SHA512),
	types.SigningAlgorithmSpecMlDsaShake256:        {opts: crypto.Hash(0), whole: true, mu: true},
}

// pss has a salt as long as the digest, as AWS documents.
func pss(h crypto.Hash) scheme {
	return scheme{hash: h, opts: &rsa.PSSOptions{Hash: h, SaltLength: rsa.PSSSaltLengthEqualsHash}}
}

// algorithmsOf lists what a key of that spec signs with; none for symmetric.
func algorithmsOf(spec types.KeySpec) []types.SigningAlgorithmSpec {
	switch spec {
	case types.KeySpecEccNistP256:
		return []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecEcdsaSha256}
	case types.KeySpecEccNistP384:
		return []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecEcdsaSha384}
	case types.KeySpecEccNistEdwards25519:
		return []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecEd25519Sha512, types.SigningAlgorithmSpecEd25519PhSha512}
	case types.KeySpecRsa2048, types.KeySpecRsa3072, types.KeySpecRsa4096:
		return []types.SigningAlgorithmSpec{
			types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
			types.SigningAlgorithmSpecRsassaPssSha256, types.SigningAlgorithmSpecRsassaPssSha384, types.SigningAlgorithmSpecRsassaPssSha512,
		}
	case types.KeySpecMlDsa44, types.KeySpecMlDsa65, types.KeySpecMlDsa87:
		return []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecMlDsaShake256}
	}
	return nil
}

type signInput struct {
	KeyId            string
	Message          []byte
	MessageType      types.MessageType
	SigningAlgorithm types.SigningAlgorithmSpec
	GrantTokens      []string
	DryRun           bool
}

type signOutput struct {
	KeyId            string
	Signature        []byte
	SigningAlgorithm types.SigningAlgorithmSpec
}

func (c *call) sign(in *signInput) (any, error) {
	k, s, input, err := c.prepare(in)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	signature, err := k.signer.Sign(rand.Reader, input, s.opts)
	if err != nil {
		return nil, fmt.Errorf("couldn't sign with %v: %w", k, err)
	}
	return signOutput{KeyId: c.keyARN(k), Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// prepare checks a request to sign or verify, and computes what goes into the
// primitive: a digest, or the message where the scheme takes it whole.
func (c *call) prepare(in *signInput) (*key, scheme, []byte, error) {
	none := scheme{}
	if err := checkUse(in.GrantTokens); err != nil {
		return nil, none, nil, err
	}
	if err := checkLength("message", len(in.Message), 1, maxMessage); err != nil {
		return nil, none, nil, err
	}
	s, served := schemes[in.SigningAlgorithm]
	if !served && !slices.Contains(in.SigningAlgorithm.Values(), in.SigningAlgorithm) {
		return nil, none, nil, notInEnum("signingAlgorithm")
	}
	digest, mu := in.MessageType == types.MessageTypeDigest, in.MessageType == types.MessageTypeExternalMu
	if in.MessageType != "" && !slices.Contains(in.MessageType.Values(), in.MessageType) {
		return nil, none, nil, notInEnum("messageType")
	}
	k, err := c.keyForUse(in.KeyId, types.KeyUsageTypeSignVerify)
	if err != nil {
		return nil, none, nil, err
	}
	if !slices.Contains(algorithmsOf(k.record.Spec), in.SigningAlgorithm) {
		return nil, none, nil, fail("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", in.SigningAlgorithm, k.record.Spec)
	}
	if digest && s.whole || !digest && s.prehashed || mu && !s.mu {
		given := in.MessageType
		if given == "" {
			given = types.MessageTypeRaw
		}
		return nil, none, nil, invalid("Message type %s is incompatible with the algorithm %s.", given, in.SigningAlgorithm)
	}
	if digest && len(in.Message) != s.hash.Size() {
		return nil, none, nil, invalid("Digest is invalid length for algorithm %s.", in.SigningAlgorithm)
	}
	if mu {
		if len(in.Message) != muSize {
			return nil, none, nil, invalid("Message of type EXTERNAL_MU is invalid length for algorithm %s.", in.SigningAlgorithm)
		}
		s.opts = mldsacrypto.MLDSAMu
	}
	if digest || s.whole {
		return k, s, in.Message, nil
	}
	h := s.hash.New()
	h.Write(in.Message)
	return k, s, h.Sum(nil), nil
}

type verifyInput struct {
	signInput
	Signature []byte
}

type verifyOutput struct {
	KeyId            string
	SignatureValid   bool
	SigningAlgorithm types.SigningAlgorithmSpec
}

func (c *call) verify(in *verifyInput) (any, error) {
	if err := checkLength("signature", len(in.Signature), 1, maxSignature); err != nil {
		return nil, err
	}
	k, s, input, err := c.prepare(&in.signInput)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	if in.MessageType == types.MessageTypeExternalMu {
		// The library of ML-DSA signs representatives and verifies messages alone. A caller who has the message can verify it as RAW.
		return nil, fail("UnsupportedOperationException", "this KMS doesn't verify EXTERNAL_MU; send the message itself as RAW")
	}
	if !s.verifies(k.signer.Public(), input, in.Signature) {
		return nil, fail("KMSInvalidSignatureException", "the signature doesn't match the message, the key or the algorithm")
	}
	return verifyOutput{KeyId: c.keyARN(k), SignatureValid: true, SigningAlgorithm: in.SigningAlgorithm}, nil
}

func (s scheme) verifies(public crypto.PublicKey, input, signature []byte) bool {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, input, signature)
	case ed25519.PublicKey:
		opts, _ := s.opts.(*ed25519.Options)
		return opts != nil && ed25519.VerifyWithOptions(p, input, signature, opts) == nil
	case *rsa.PublicKey:
		if opts, isPSS := s.opts.(*rsa.PSSOptions); isPSS {
			return rsa.VerifyPSS(p, s.hash, input, signature, opts) == nil
		}
		return rsa.VerifyPKCS1v15(p, s.hash, input, signature) == nil
	case *mldsa.PublicKey:
		return mldsa.Verify(p, input, signature, nil) == nil
	}
	return false
}
