package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// state wants a key to be in that state.
func (p peer) state(ctx context.Context, k *types.KeyMetadata, want types.KeyState) error {
	out, err := p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
	if err != nil {
		return err
	}
	if m := out.KeyMetadata; m.KeyState != want || m.Enabled != (want == types.KeyStateEnabled) {
		return fmt.Errorf("the key is %s (enabled: %v), want %s", m.KeyState, m.Enabled, want)
	}
	return nil
}

// uses calls each cryptographic operation that a key's usage allows.
func (p peer) uses(ctx context.Context, k *types.KeyMetadata) map[string]error {
	all := map[string]error{}
	if k.KeyUsage == types.KeyUsageTypeEncryptDecrypt {
		_, all["Encrypt"] = p.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("plain")})
		_, all["GenerateDataKey"] = p.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256})
		return all
	}
	_, all["Sign"] = p.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("m"), SigningAlgorithm: k.SigningAlgorithms[0]})
	_, all["Verify"] = p.Verify(ctx, &kms.VerifyInput{KeyId: k.KeyId, Message: []byte("m"), Signature: []byte("s"), SigningAlgorithm: k.SigningAlgorithms[0]})
	return all
}

func managementClauses() map[string]clause {
	p256, symmetric := types.KeySpecEccNistP256, types.KeySpecSymmetricDefault
	all := map[string]clause{}
	for _, spec := range []types.KeySpec{p256, types.KeySpecEccNistP384, types.KeySpecEccNistEdwards25519, types.KeySpecMlDsa65, types.KeySpecRsa2048, symmetric} {
		all[fmt.Sprintf("DescribeKey tells what CreateKey made, %s", spec)] = withKey(spec, described(spec))
		for _, s := range []struct {
			name, want string
			leave      func(context.Context, peer, *types.KeyMetadata) error
		}{
			{"disabled", "DisabledException", func(ctx context.Context, p peer, k *types.KeyMetadata) error {
				_, err := p.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId})
				return err
			}},
			{"pending deletion", "KMSInvalidStateException", func(ctx context.Context, p peer, k *types.KeyMetadata) error {
				_, err := p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId})
				return err
			}},
		} {
			all[fmt.Sprintf("a key that is %s isn't used, %s", s.name, spec)] = withKey(spec, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
				if err := s.leave(ctx, p, k); err != nil {
					return err
				}
				return codes(s.want, p.uses(ctx, k))
			})
		}
	}
	all["CreateKey without a spec makes a symmetric key"] = func(ctx context.Context, p peer) error {
		out, err := p.CreateKey(ctx, &kms.CreateKeyInput{})
		if err == nil && (out.KeyMetadata.KeySpec != symmetric || out.KeyMetadata.KeyUsage != types.KeyUsageTypeEncryptDecrypt) {
			err = fmt.Errorf("the key is %s for %s", out.KeyMetadata.KeySpec, out.KeyMetadata.KeyUsage)
		}
		return err
	}
	create := func(in kms.CreateKeyInput, want string) clause {
		return func(ctx context.Context, p peer) error {
			_, err := p.CreateKey(ctx, &in)
			return code(err, want)
		}
	}
	all["CreateKey refuses a spec that doesn't exist"] = create(kms.CreateKeyInput{KeySpec: "ECC_NIST_P1", KeyUsage: types.KeyUsageTypeSignVerify}, "ValidationException")
	all["CreateKey refuses ENCRYPT_DECRYPT for P-256"] = create(kms.CreateKeyInput{KeySpec: p256}, "ValidationException")
	all["CreateKey refuses SIGN_VERIFY for a symmetric key"] = create(kms.CreateKeyInput{KeyUsage: types.KeyUsageTypeSignVerify}, "ValidationException")
	all["CreateKey refuses a tag twice"] = create(kms.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("1")}, {TagKey: aws.String("a"), TagValue: aws.String("2")}}}, "TagException")
	all["a key that doesn't exist isn't found"] = func(ctx context.Context, p peer) error {
		k, err := p.newKey(ctx, p256)
		if err != nil {
			return err
		}
		calls := map[string]error{}
		for name, id := range map[string]string{
			"id": absent, "ARN": strings.Replace(*k.Arn, *k.KeyId, absent, 1),
			"alias": "alias/absent", "alias ARN": aliasARN(k, "alias/absent"), "no UUID": "absent",
		} {
			_, calls["DescribeKey "+name] = p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(id)})
			_, calls["Sign "+name] = p.Sign(ctx, &kms.SignInput{KeyId: aws.String(id), Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
		}
		return codes("NotFoundException", calls)
	}
	all["a key of another region isn't found"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		_, err := p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(strings.Replace(*k.Arn, testRegion, "eu-west-3", 1))})
		return code(err, "NotFoundException")
	})
	all["EnableKey undoes DisableKey"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		if _, err := p.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}); err != nil {
			return err
		}
		if err := p.state(ctx, k, types.KeyStateDisabled); err != nil {
			return err
		}
		if _, err := p.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId}); err != nil {
			return err
		}
		return p.state(ctx, k, types.KeyStateEnabled)
	})
	all["EnableKey and DisableKey take an ARN"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		if _, err := p.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.Arn}); err != nil {
			return err
		}
		_, err := p.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.Arn})
		return err
	})
	all["EnableKey takes no alias"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		if _, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: freshAlias(k), TargetKeyId: k.KeyId}); err != nil {
			return err
		}
		_, err := p.EnableKey(ctx, &kms.EnableKeyInput{KeyId: freshAlias(k)})
		return code(err, "NotFoundException")
	})
	all["a disabled key's public key isn't served"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		if _, err := p.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId}); err != nil {
			return err
		}
		_, err := p.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId})
		return code(err, "DisabledException")
	})
	all["CancelKeyDeletion leaves the key disabled"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		out, err := p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)})
		if err != nil {
			return err
		}
		if in := time.Until(*out.DeletionDate); in < 6*24*time.Hour || in > 8*24*time.Hour {
			return fmt.Errorf("the key is deleted in %v, want 7 days", in)
		}
		if err := p.state(ctx, k, types.KeyStatePendingDeletion); err != nil {
			return err
		}
		if _, err := p.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId}); err != nil {
			return err
		}
		return p.state(ctx, k, types.KeyStateDisabled)
	})
	all["a deletion waits 7 to 30 days"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		_, short := p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(6)})
		_, long := p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(31)})
		return codes("ValidationException", map[string]error{"6": short, "31": long})
	})
	all["a key pending deletion isn't changed"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		if _, err := p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId}); err != nil {
			return err
		}
		calls := map[string]error{}
		_, calls["EnableKey"] = p.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.KeyId})
		_, calls["DisableKey"] = p.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.KeyId})
		_, calls["ScheduleKeyDeletion"] = p.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId})
		_, calls["TagResource"] = p.TagResource(ctx, &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
		_, calls["UntagResource"] = p.UntagResource(ctx, &kms.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"a"}})
		_, calls["CreateAlias"] = p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: freshAlias(k), TargetKeyId: k.KeyId})
		return codes("KMSInvalidStateException", calls)
	})
	all["a deletion that isn't pending can't be cancelled"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		_, err := p.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.KeyId})
		return code(err, "KMSInvalidStateException")
	})
	all["ListKeys pages through all keys"] = withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
		if _, err := p.newKey(ctx, p256); err != nil {
			return err
		}
		pages := kms.NewListKeysPaginator(p, &kms.ListKeysInput{Limit: aws.Int32(1)})
		found := 0
		for pages.HasMorePages() {
			out, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			if len(out.Keys) > 1 {
				return errors.New("a page is longer than its limit")
			}
			if slices.ContainsFunc(out.Keys, func(e types.KeyListEntry) bool { return *e.KeyId == *k.KeyId && *e.KeyArn == *k.Arn }) {
				found++
			}
		}
		if found != 1 {
			return fmt.Errorf("the key was listed %d times", found)
		}
		return nil
	})
	all["tags are set, replaced and removed"] = taggedAndUntagged
	for name, c := range aliasClauses() {
		all[name] = c
	}
	return all
}

func described(spec types.KeySpec) func(context.Context, peer, *types.KeyMetadata) error {
	return func(ctx context.Context, p peer, made *types.KeyMetadata) error {
		out, err := p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: made.KeyId})
		if err != nil {
			return err
		}
		for name, m := range map[string]*types.KeyMetadata{"CreateKey": made, "DescribeKey": out.KeyMetadata} {
			suffix := ":kms:" + testRegion + ":" + aws.ToString(m.AWSAccountId) + ":key/" + *made.KeyId
			if *m.KeyId != *made.KeyId || !strings.HasSuffix(*m.Arn, suffix) || m.KeySpec != spec || !m.Enabled || m.KeyState != types.KeyStateEnabled ||
				m.KeyManager != types.KeyManagerTypeCustomer || m.Origin != types.OriginTypeAwsKms || *m.Description != "contract test" {
				return fmt.Errorf("%s tells something else: %s %s", name, *m.Arn, m.KeySpec)
			}
			if age := time.Since(*m.CreationDate); age < -time.Minute || age > time.Minute {
				return fmt.Errorf("%s tells that the key is %v old", name, age)
			}
			algorithms := slices.Clone(m.SigningAlgorithms)
			slices.Sort(algorithms)
			want := slices.Clone(algorithmsOf(spec))
			slices.Sort(want)
			if !slices.Equal(algorithms, want) {
				return fmt.Errorf("%s tells the algorithms %v, want %v", name, algorithms, want)
			}
		}
		return nil
	}
}

func taggedAndUntagged(ctx context.Context, p peer) error {
	tag := func(k, v string) types.Tag { return types.Tag{TagKey: aws.String(k), TagValue: aws.String(v)} }
	k, err := p.newKey(ctx, types.KeySpecEccNistP256, tag("tenant", "acme"), tag("old", "1"))
	if err != nil {
		return err
	}
	if _, err := p.TagResource(ctx, &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{tag("tenant", "globex"), tag("new", "2")}}); err != nil {
		return err
	}
	if _, err := p.UntagResource(ctx, &kms.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"old", "absent"}}); err != nil {
		return err
	}
	out, err := p.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: k.KeyId})
	if err != nil {
		return err
	}
	var got []string
	for _, t := range out.Tags {
		got = append(got, *t.TagKey+"="+*t.TagValue)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"new=2", "tenant=globex"}) {
		return fmt.Errorf("the tags are %v", got)
	}
	return nil
}
