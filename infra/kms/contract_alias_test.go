package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func aliasClauses() map[string]clause {
	p256 := types.KeySpecEccNistP256
	aliased := func(run func(context.Context, peer, *types.KeyMetadata, *string) error) clause {
		return withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			name := freshAlias(k)
			if _, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: name, TargetKeyId: k.KeyId}); err != nil {
				return err
			}
			return run(ctx, p, k, name)
		})
	}
	leadsTo := func(ctx context.Context, p peer, name *string, want *types.KeyMetadata) error {
		for _, argument := range []string{*name, aliasARN(want, *name)} {
			out, err := p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(argument)})
			if err != nil {
				return err
			}
			signed, err := p.Sign(ctx, &kms.SignInput{KeyId: aws.String(argument), Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
			if err != nil {
				return err
			}
			// The answer names the key, never the alias: evidence records it.
			if *out.KeyMetadata.Arn != *want.Arn || !strings.HasSuffix(*signed.KeyId, *want.KeyId) {
				return fmt.Errorf("%s leads to %s and %s", argument, *out.KeyMetadata.Arn, *signed.KeyId)
			}
		}
		return nil
	}
	return map[string]clause{
		"an alias leads to its key": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			return leadsTo(ctx, p, name, k)
		}),
		"an alias exists once": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			_, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: name, TargetKeyId: k.KeyId})
			return code(err, "AlreadyExistsException")
		}),
		"UpdateAlias leads to another key": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			other, err := p.newKey(ctx, p256)
			if err != nil {
				return err
			}
			if _, err := p.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: name, TargetKeyId: other.Arn}); err != nil {
				return err
			}
			return leadsTo(ctx, p, name, other)
		}),
		"UpdateAlias keeps the key's usage": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			other, err := p.newKey(ctx, types.KeySpecSymmetricDefault)
			if err != nil {
				return err
			}
			_, err = p.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: name, TargetKeyId: other.KeyId})
			return code(err, "ValidationException")
		}),
		"UpdateAlias needs the alias": withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			_, err := p.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: freshAlias(k), TargetKeyId: k.KeyId})
			return code(err, "NotFoundException")
		}),
		"DeleteAlias removes the alias and not the key": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			if _, err := p.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: name}); err != nil {
				return err
			}
			_, describeErr := p.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name})
			_, deleteErr := p.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: name})
			return errors.Join(p.state(ctx, k, types.KeyStateEnabled),
				codes("NotFoundException", map[string]error{"DescribeKey": describeErr, "DeleteAlias": deleteErr}))
		}),
		"an alias needs a key": func(ctx context.Context, p peer) error {
			_, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/contract/nowhere"), TargetKeyId: aws.String(absent)})
			return code(err, "NotFoundException")
		},
		"an alias doesn't lead to an alias": aliased(func(ctx context.Context, p peer, _ *types.KeyMetadata, name *string) error {
			_, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(*name + "/second"), TargetKeyId: name})
			return code(err, "ValidationException")
		}),
		"an alias name has a form": withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			calls := map[string]error{}
			for _, name := range []string{"contract", "alias/a b", "alias/ä"} {
				_, calls[name] = p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(name), TargetKeyId: k.KeyId})
			}
			return codes("ValidationException", calls)
		}),
		"an alias name isn't empty": withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			_, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/"), TargetKeyId: k.KeyId})
			return code(err, "ValidationException")
		}),
		"the aliases of AWS are reserved": withKey(p256, func(ctx context.Context, p peer, k *types.KeyMetadata) error {
			_, err := p.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/aws/s3"), TargetKeyId: k.KeyId})
			return code(err, "NotAuthorizedException")
		}),
		"ListAliases finds a key's aliases": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			out, err := p.ListAliases(ctx, &kms.ListAliasesInput{KeyId: k.KeyId})
			if err != nil {
				return err
			}
			if len(out.Aliases) != 1 || *out.Aliases[0].AliasName != *name || *out.Aliases[0].TargetKeyId != *k.KeyId || *out.Aliases[0].AliasArn != aliasARN(k, *name) {
				return fmt.Errorf("got %d aliases, want %s", len(out.Aliases), *name)
			}
			return nil
		}),
		"ListAliases finds all aliases": aliased(func(ctx context.Context, p peer, k *types.KeyMetadata, name *string) error {
			pages := kms.NewListAliasesPaginator(p, &kms.ListAliasesInput{Limit: aws.Int32(100)})
			for pages.HasMorePages() {
				out, err := pages.NextPage(ctx)
				if err != nil {
					return err
				}
				for _, a := range out.Aliases {
					if *a.AliasName == *name {
						return nil
					}
				}
			}
			return errors.New("the alias isn't listed")
		}),
	}
}
