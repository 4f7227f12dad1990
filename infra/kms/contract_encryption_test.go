package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func encryptionClauses() map[string]clause {
	symmetric := types.KeySpecSymmetricDefault
	ours := map[string]string{"tenant": "acme", "purpose": "cursor"}
	encrypted := func(run func(context.Context, peer, *types.KeyMetadata, []byte) error) clause {
		return withKey(symmetric, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			out, err := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("plain"), EncryptionContext: ours})
			if err != nil {
				return err
			}
			if *out.KeyId != *k.Arn {
				return fmt.Errorf("Encrypt names the key %s", *out.KeyId)
			}
			return run(ctx, p, k, out.CiphertextBlob)
		})
	}
	return map[string]clause{
		"Decrypt returns what Encrypt took": encrypted(func(ctx context.Context, p peer, k *types.KeyMetadata, sealed []byte) error {
			for _, id := range []*string{nil, k.KeyId, k.Arn} {
				out, err := p.Decrypt(ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: sealed, EncryptionContext: ours})
				if err != nil {
					return err
				}
				if string(out.Plaintext) != "plain" || *out.KeyId != *k.Arn {
					return errors.New("Decrypt returns something else")
				}
			}
			return nil
		}),
		"Encrypt is randomised": encrypted(func(ctx context.Context, p peer, k *types.KeyMetadata, sealed []byte) error {
			again, err := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("plain"), EncryptionContext: ours})
			if err == nil && bytes.Equal(again.CiphertextBlob, sealed) {
				err = errors.New("two ciphertexts are equal")
			}
			return err
		}),
		"the encryption context is bound": encrypted(func(ctx context.Context, p peer, k *types.KeyMetadata, sealed []byte) error {
			decrypt := func(context map[string]string) error {
				_, err := p.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: sealed, EncryptionContext: context})
				return err
			}
			return codes("InvalidCiphertextException", map[string]error{
				"none":    decrypt(nil),
				"less":    decrypt(map[string]string{"tenant": "acme"}),
				"more":    decrypt(map[string]string{"tenant": "acme", "purpose": "cursor", "x": "y"}),
				"another": decrypt(map[string]string{"tenant": "globex", "purpose": "cursor"}),
				"swapped": decrypt(map[string]string{"tenant": "cursor", "purpose": "acme"}),
			})
		}),
		"the limits of an encryption context are unambiguous": withKey(symmetric, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			out, err := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("plain"), EncryptionContext: map[string]string{"a": "bc"}})
			if err != nil {
				return err
			}
			_, err = p.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: out.CiphertextBlob, EncryptionContext: map[string]string{"ab": "c"}})
			return code(err, "InvalidCiphertextException")
		}),
		"a damaged ciphertext is refused": encrypted(func(ctx context.Context, p peer, k *types.KeyMetadata, sealed []byte) error {
			sealed[len(sealed)-1] ^= 1
			_, flippedErr := p.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: sealed, EncryptionContext: ours})
			_, foreignErr := p.Decrypt(ctx, &kms.DecryptInput{KeyId: k.KeyId, CiphertextBlob: []byte("not a ciphertext"), EncryptionContext: ours})
			return codes("InvalidCiphertextException", map[string]error{"flipped": flippedErr, "foreign": foreignErr})
		}),
		"Decrypt with another key is refused": encrypted(func(ctx context.Context, p peer, _ *types.KeyMetadata, sealed []byte) error {
			other, err := p.newKey(ctx, symmetric)
			if err != nil {
				return err
			}
			_, err = p.Decrypt(ctx, &kms.DecryptInput{KeyId: other.KeyId, CiphertextBlob: sealed, EncryptionContext: ours})
			return code(err, "IncorrectKeyException")
		}),
		"a plaintext has 1 to 4,096 bytes": withKey(symmetric, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			if _, err := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: make([]byte, 4096)}); err != nil {
				return err
			}
			_, long := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: make([]byte, 4097)})
			_, empty := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte{}})
			return codes("ValidationException", map[string]error{"4,097 bytes": long, "none": empty})
		}),
		"a signing key doesn't encrypt": withKey(types.KeySpecEccNistP256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			_, err := p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("plain")})
			return code(err, "InvalidKeyUsageException")
		}),
		"a signing key makes no data key": withKey(types.KeySpecEccNistP256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			_, err := p.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256})
			return code(err, "InvalidKeyUsageException")
		}),
		"a data key decrypts to its plaintext": withKey(symmetric, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			for size, in := range map[int]*kms.GenerateDataKeyInput{
				16: {KeySpec: types.DataKeySpecAes128},
				32: {KeySpec: types.DataKeySpecAes256},
				64: {NumberOfBytes: aws.Int32(64)},
			} {
				in.KeyId, in.EncryptionContext = k.Arn, ours
				made, err := p.GenerateDataKey(ctx, in)
				if err != nil {
					return err
				}
				opened, err := p.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob, EncryptionContext: ours})
				if err != nil {
					return err
				}
				if len(made.Plaintext) != size || !bytes.Equal(made.Plaintext, opened.Plaintext) || *made.KeyId != *k.Arn {
					return fmt.Errorf("the data key of %d bytes is wrong", size)
				}
			}
			return nil
		}),
		"a data key has a spec or 1 to 1,024 bytes": withKey(symmetric, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			generate := func(in kms.GenerateDataKeyInput) error {
				in.KeyId = k.KeyId
				_, err := p.GenerateDataKey(ctx, &in)
				return err
			}
			return codes("ValidationException", map[string]error{
				"neither":     generate(kms.GenerateDataKeyInput{}),
				"both":        generate(kms.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(32)}),
				"0 bytes":     generate(kms.GenerateDataKeyInput{NumberOfBytes: aws.Int32(0)}),
				"1,025 bytes": generate(kms.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1025)}),
				"no spec":     generate(kms.GenerateDataKeyInput{KeySpec: "AES_512"}),
			})
		}),
	}
}
