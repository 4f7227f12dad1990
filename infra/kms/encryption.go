package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/uuid"
)

const (
	// ciphertextVersion is the first byte of each ciphertext of this KMS.
	ciphertextVersion = 1
	// ciphertextHeader is the version and the key's id.
	ciphertextHeader = 1 + 16
	// maxCiphertext bounds what Decrypt takes, in bytes.
	maxCiphertext = 6144
	// maxContext bounds an encryption context, in bytes of names and values.
	maxContext = 8192
)

// seal encrypts with AES-256-GCM and a random nonce:
//
//	version ‖ key id ‖ nonce ‖ ciphertext ‖ tag
//
// The header and the encryption context are bound as additional data.
func (k *key) seal(plaintext []byte, context map[string]string) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(k.record.ID)
	if err != nil {
		return nil, fmt.Errorf("couldn't encrypt with %v: %w", k, err)
	}
	header := append([]byte{ciphertextVersion}, id[:]...)
	return aead.Seal(header, nil, plaintext, additionalData(header, context)), nil
}

// open is the inverse of seal. Anything wrong has one answer.
func (k *key) open(ciphertext []byte, context map[string]string) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, ciphertext[ciphertextHeader:], additionalData(ciphertext[:ciphertextHeader], context))
	if err != nil {
		return nil, invalidCiphertext()
	}
	return plaintext, nil
}

func (k *key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.record.Material)
	if err != nil {
		return nil, fmt.Errorf("couldn't use %v: %w", k, err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func invalidCiphertext() error {
	return fail("InvalidCiphertextException", "the ciphertext is damaged or isn't of this KMS, or the encryption context is another one")
}

// additionalData writes the context so that no two contexts give the same
// bytes: sorted by name, each string after its length.
func additionalData(header []byte, context map[string]string) []byte {
	out := slices.Clone(header)
	for _, name := range slices.Sorted(maps.Keys(context)) {
		for _, s := range []string{name, context[name]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}

func checkContext(context map[string]string) error {
	total := 0
	for name, value := range context {
		total += len(name) + len(value)
	}
	return checkLength("encryptionContext", total, 0, maxContext)
}

func checkSymmetric(algorithm types.EncryptionAlgorithmSpec) error {
	if algorithm == "" || algorithm == types.EncryptionAlgorithmSpecSymmetricDefault {
		return nil
	}
	if slices.Contains(algorithm.Values(), algorithm) {
		return fail("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec SYMMETRIC_DEFAULT.", algorithm)
	}
	return notInEnum("encryptionAlgorithm")
}

type encryptInput struct {
	KeyId               string
	Plaintext           []byte
	EncryptionAlgorithm types.EncryptionAlgorithmSpec
	EncryptionContext   map[string]string
	GrantTokens         []string
	DryRun              bool
}

type encryptOutput struct {
	CiphertextBlob      []byte
	EncryptionAlgorithm types.EncryptionAlgorithmSpec `json:",omitempty"`
	KeyId               string
	Plaintext           []byte `json:",omitempty"`
}

func (c *call) encrypt(in *encryptInput) (any, error) {
	if err := checkLength("plaintext", len(in.Plaintext), 1, maxMessage); err != nil {
		return nil, err
	}
	k, err := c.encryptionKey(in.KeyId, in.EncryptionContext, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	if err := checkSymmetric(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	sealed, err := k.seal(in.Plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return encryptOutput{CiphertextBlob: sealed, EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault, KeyId: c.keyARN(k)}, nil
}

func (c *call) encryptionKey(argument string, context map[string]string, grantTokens []string) (*key, error) {
	if err := checkUse(grantTokens); err != nil {
		return nil, err
	}
	if err := checkContext(context); err != nil {
		return nil, err
	}
	return c.keyForUse(argument, types.KeyUsageTypeEncryptDecrypt)
}

type dataKeyInput struct {
	KeyId             string
	KeySpec           types.DataKeySpec
	NumberOfBytes     *int
	EncryptionContext map[string]string
	GrantTokens       []string
	DryRun            bool
}

func (c *call) generateDataKey(in *dataKeyInput) (any, error) {
	size := 0
	switch {
	case (in.KeySpec == "") == (in.NumberOfBytes == nil):
		return nil, invalid("Please specify either number of bytes or key spec.")
	case in.NumberOfBytes != nil:
		if size = *in.NumberOfBytes; size < 1 || size > 1024 {
			return nil, invalid("1 validation error detected: Value at 'numberOfBytes' failed to satisfy constraint: Member must have value between 1 and 1024")
		}
	case in.KeySpec == types.DataKeySpecAes256:
		size = 32
	case in.KeySpec == types.DataKeySpecAes128:
		size = 16
	default:
		return nil, notInEnum("keySpec")
	}
	k, err := c.encryptionKey(in.KeyId, in.EncryptionContext, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	plaintext := make([]byte, size)
	if _, err := rand.Read(plaintext); err != nil {
		return nil, fmt.Errorf("couldn't make a data key: %w", err)
	}
	sealed, err := k.seal(plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return encryptOutput{CiphertextBlob: sealed, KeyId: c.keyARN(k), Plaintext: plaintext}, nil
}

type decryptInput struct {
	KeyId               string
	CiphertextBlob      []byte
	EncryptionAlgorithm types.EncryptionAlgorithmSpec
	EncryptionContext   map[string]string
	GrantTokens         []string
	DryRun              bool
}

type decryptOutput struct {
	EncryptionAlgorithm types.EncryptionAlgorithmSpec
	KeyId               string
	Plaintext           []byte
}

func (c *call) decrypt(in *decryptInput) (any, error) {
	if err := checkLength("ciphertextBlob", len(in.CiphertextBlob), 1, maxCiphertext); err != nil {
		return nil, err
	}
	if err := checkSymmetric(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if len(in.CiphertextBlob) <= ciphertextHeader || in.CiphertextBlob[0] != ciphertextVersion {
		return nil, invalidCiphertext()
	}
	owner := uuid.UUID(in.CiphertextBlob[1:ciphertextHeader]).String()
	argument := in.KeyId
	if argument == "" {
		argument = owner
	}
	k, err := c.encryptionKey(argument, in.EncryptionContext, in.GrantTokens)
	if err != nil {
		return nil, err
	}
	if k.record.ID != owner {
		return nil, fail("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	plaintext, err := k.open(in.CiphertextBlob, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return decryptOutput{EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault, KeyId: c.keyARN(k), Plaintext: plaintext}, nil
}
