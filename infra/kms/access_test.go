package kms

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// everyTenantCall calls each operation that a tenant may call, with that key.
func everyTenantCall(ctx context.Context, p peer, id string) map[string]error {
	all := map[string]error{}
	message, key := []byte("m"), aws.String(id)
	_, all["DescribeKey"] = p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key})
	_, all["GetPublicKey"] = p.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key})
	_, all["Sign"] = p.Sign(ctx, &kms.SignInput{KeyId: key, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	_, all["Verify"] = p.Verify(ctx, &kms.VerifyInput{KeyId: key, Message: message, Signature: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	_, all["GenerateDataKey"] = p.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256})
	_, all["Encrypt"] = p.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: message})
	_, all["Decrypt"] = p.Decrypt(ctx, &kms.DecryptInput{KeyId: key, CiphertextBlob: append([]byte{ciphertextVersion}, make([]byte, 60)...)})
	_, all["ListAliases"] = p.ListAliases(ctx, &kms.ListAliasesInput{KeyId: key})
	return all
}

func everyAdminCall(ctx context.Context, p peer, id string) map[string]error {
	all := map[string]error{}
	key := aws.String(id)
	_, all["CreateKey"] = p.CreateKey(ctx, &kms.CreateKeyInput{})
	_, all["ListKeys"] = p.ListKeys(ctx, &kms.ListKeysInput{})
	_, all["EnableKey"] = p.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key})
	_, all["DisableKey"] = p.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key})
	_, all["ScheduleKeyDeletion"] = p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key})
	_, all["CancelKeyDeletion"] = p.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key})
	_, all["CreateAlias"] = p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/x"), TargetKeyId: key})
	_, all["UpdateAlias"] = p.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/acme-seal"), TargetKeyId: key})
	_, all["DeleteAlias"] = p.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/acme-seal")})
	_, all["TagResource"] = p.TagResource(ctx, &kms.TagResourceInput{KeyId: key, Tags: []types.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String("acme")}}})
	_, all["UntagResource"] = p.UntagResource(ctx, &kms.UntagResourceInput{KeyId: key, TagKeys: []string{"tenant"}})
	_, all["ListResourceTags"] = p.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: key})
	return all
}

func TestTheTestsCallEachOperation(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	for name := range everyTenantCall(t.Context(), s.admin, absent) {
		if !operations[name].forTenants {
			t.Errorf("%s should be for tenants", name)
		}
	}
	for name := range everyAdminCall(t.Context(), s.admin, absent) {
		if operations[name].forTenants {
			t.Errorf("%s should be for admins only", name)
		}
	}
	for name, n := range s.service.calls {
		if n.Load() == 0 {
			t.Errorf("no test calls %s", name)
		}
	}
}

func TestTenantUsesOwnKeyAndNoOther(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	ctx := t.Context()
	seal, secret := s.key(t, types.KeySpecEccNistP256, "acme"), s.key(t, types.KeySpecSymmetricDefault, "acme")
	untagged, err := s.admin.newKey(ctx, types.KeySpecEccNistP256)
	if err != nil {
		t.Fatal(err)
	}
	empty := s.key(t, types.KeySpecEccNistP256, "")
	if _, err := s.admin.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/acme-seal"), TargetKeyId: seal.KeyId}); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.acme.Encrypt(ctx, &kms.EncryptInput{KeyId: secret.KeyId, Plaintext: []byte("plain")})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range s.acme.uses(ctx, seal) {
		if name == "Verify" { // the signature is a wrong one
			err = code(err, "KMSInvalidSignatureException")
		}
		if err != nil {
			t.Errorf("acme %s: %v", name, err)
		}
	}
	if _, err := s.acme.Sign(ctx, &kms.SignInput{KeyId: aws.String("alias/acme-seal"), Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}); err != nil {
		t.Errorf("acme by alias: %v", err)
	}

	for who, p := range map[string]peer{"globex": s.globex, "nobody": s.nobody} {
		texts := map[string]string{}
		for what, id := range map[string]string{
			"key": *seal.KeyId, "ARN": *seal.Arn, "alias": "alias/acme-seal", "alias ARN": aliasARN(seal, "alias/acme-seal"), "symmetric": *secret.KeyId,
			"untagged": *untagged.KeyId, "empty tag": *empty.KeyId, "absent": absent, "absent alias": "alias/absent", "absent ARN": strings.Replace(*seal.Arn, *seal.KeyId, absent, 1), "other region": "arn:aws:kms:eu-west-3:000000000000:key/" + absent,
		} {
			for operation, err := range everyTenantCall(ctx, p, id) {
				if operation == "ListAliases" && strings.Contains(what, "alias") {
					continue // takes no alias; the next test lists them
				}
				if err := code(err, "AccessDeniedException"); err != nil {
					t.Errorf("%s %s of %s: %v", who, operation, what, err)
					continue
				}
				var api smithy.APIError
				errors.As(err, &api)
				if first, seen := texts[operation]; seen && first != api.ErrorMessage() {
					t.Errorf("%s %s tells keys apart: %q and %q", who, operation, first, api.ErrorMessage())
				}
				texts[operation] = api.ErrorMessage()
			}
		}
		if _, err := p.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}); code(err, "AccessDeniedException") != nil {
			t.Errorf("%s decrypts a foreign ciphertext: %v", who, err)
		}
	}
	for who, p := range map[string]peer{"acme": s.acme, "globex": s.globex, "nobody": s.nobody} {
		if err := codes("AccessDeniedException", everyAdminCall(ctx, p, *seal.KeyId)); err != nil {
			t.Errorf("%s manages keys: %v", who, err)
		}
	}
	if err := s.admin.state(ctx, seal, types.KeyStateEnabled); err != nil {
		t.Error(err)
	}
}

func TestTenantListsOwnAliasesOnly(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	for _, tenant := range []string{"acme", "globex", ""} {
		k := s.key(t, types.KeySpecEccNistP256, tenant)
		if _, err := s.admin.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/" + tenant + "-seal"), TargetKeyId: k.KeyId}); err != nil {
			t.Fatal(err)
		}
	}
	for want, p := range map[string]peer{"alias/acme-seal": s.acme, "alias/globex-seal": s.globex} {
		out, err := p.ListAliases(t.Context(), &kms.ListAliasesInput{})
		if err != nil || len(out.Aliases) != 1 || *out.Aliases[0].AliasName != want {
			t.Errorf("want %s alone, got %v %v", want, out, err)
		}
	}
	if _, err := s.nobody.ListAliases(t.Context(), &kms.ListAliasesInput{}); code(err, "AccessDeniedException") != nil {
		t.Errorf("a principal without a tenant lists aliases: %v", err)
	}
}

func TestRetaggingMovesAccessAtOnce(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	k := s.key(t, types.KeySpecEccNistP256, "acme")
	if _, err := s.admin.TagResource(t.Context(), &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String("globex")}}}); err != nil {
		t.Fatal(err)
	}
	_, acmeErr := s.acme.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
	_, globexErr := s.globex.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
	if code(acmeErr, "AccessDeniedException") != nil || globexErr != nil {
		t.Errorf("acme: %v, globex: %v", acmeErr, globexErr)
	}
}
