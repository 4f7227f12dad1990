package kms

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// The contract runs against our Service, or against any other KMS:
//
//	go test ./kms -run Contract -kms.endpoint=http://127.0.0.1:5000 -kms.differences=moto-5.2.5
var (
	endpoint    = flag.String("kms.endpoint", "", "run the contract tests against the KMS at this URL instead of ours")
	differences = flag.String("kms.differences", "", "name of the list of known differences of that KMS, see knownDifferences")
)

// peer is the KMS under the contract.
type peer struct{ *kms.Client }

const (
	testRegion = "eu-central-1"
	testAdmin  = "TESTADMIN"
	testSecret = "not-a-secret-only-for-tests"
)

func newClient(url, accessKeyID, secret string) *kms.Client {
	return kms.New(kms.Options{
		Region:       testRegion,
		BaseEndpoint: aws.String(url),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKeyID, SecretAccessKey: secret}, nil
		}),
		Retryer:    aws.NopRetryer{},
		HTTPClient: &http.Client{Timeout: time.Minute},
	})
}

// unheard asks a third party's server again where the answer was lost on the
// wire: the contract is about answers. What was answered is never asked again,
// whatever it says.
type unheard struct{ aws.NopRetryer }

func (unheard) MaxAttempts() int { return 3 }

func (unheard) IsErrorRetryable(err error) bool {
	var network *net.OpError
	return errors.As(err, &network)
}

func (unheard) RetryDelay(int, error) (time.Duration, error) { return 50 * time.Millisecond, nil }

func newPeer(t *testing.T) peer {
	t.Helper()
	if *endpoint != "" {
		client := newClient(*endpoint, testAdmin, testSecret)
		return peer{kms.New(client.Options(), func(o *kms.Options) { o.Retryer = unheard{} })}
	}
	service, err := Open(t.TempDir(), testRegion, []Credential{{AccessKeyID: testAdmin, SecretAccessKey: testSecret, Admin: true}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service)
	t.Cleanup(func() {
		server.Close()
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	return peer{newClient(server.URL, testAdmin, testSecret)}
}

// clause is one promise of the contract. It returns an error instead of
// failing a test, so that a known difference can be shown to exist.
type clause func(context.Context, peer) error

// TestContract holds a KMS to each clause. Where the list of known
// differences names a clause, that clause must fail: an entry that is no longer
// true fails the test, so that the list can't rot.
func TestContract(t *testing.T) {
	p := newPeer(t)
	known := map[string]string{}
	if *differences != "" {
		var exists bool
		if known, exists = knownDifferences[*differences]; !exists {
			t.Fatalf("there is no list of differences %q", *differences)
		}
	}
	clauses := map[string]clause{}
	for _, group := range []map[string]clause{signingClauses(), encryptionClauses(), managementClauses()} {
		for name, c := range group {
			if _, double := clauses[name]; double {
				t.Fatalf("two clauses have the name %q", name)
			}
			clauses[name] = c
		}
	}
	for name := range known {
		if _, exists := clauses[name]; !exists {
			t.Errorf("the list of differences names %q, which isn't a clause", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(clauses)) {
		t.Run(name, func(t *testing.T) {
			// Ours has to bear all at once. A third party's need not: moto answers
			// with status 500 when two calls touch its keys at the same time.
			if *endpoint == "" {
				t.Parallel()
			}
			err := clauses[name](t.Context(), p)
			why, differs := known[name]
			switch {
			case differs && err == nil:
				t.Errorf("the known difference is gone, take it off the list: %s", why)
			case differs:
				t.Logf("known difference: %s (%v)", why, err)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

// code wants err to be an API error of that type.
func code(err error, want string) error {
	var api smithy.APIError
	switch {
	case err == nil:
		return fmt.Errorf("got success, want %s", want)
	case !errors.As(err, &api):
		return fmt.Errorf("got %w, want %s", err, want)
	case api.ErrorCode() != want:
		return fmt.Errorf("got %s (%s), want %s", api.ErrorCode(), api.ErrorMessage(), want)
	}
	return nil
}

// codes is code for several calls, each told by name.
func codes(want string, calls map[string]error) error {
	var all error
	for name, err := range calls {
		if err := code(err, want); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", name, err))
		}
	}
	return all
}

func (p peer) newKey(ctx context.Context, spec types.KeySpec, tags ...types.Tag) (*types.KeyMetadata, error) {
	usage := types.KeyUsageTypeSignVerify
	if spec == types.KeySpecSymmetricDefault {
		usage = types.KeyUsageTypeEncryptDecrypt
	}
	out, err := p.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage, Tags: tags, Description: aws.String("contract test")})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

// withKey makes a clause out of a function of a fresh key.
func withKey(spec types.KeySpec, run func(context.Context, peer, *types.KeyMetadata) error) clause {
	return func(ctx context.Context, p peer) error {
		k, err := p.newKey(ctx, spec)
		if err != nil {
			return fmt.Errorf("couldn't create the key: %w", err)
		}
		return run(ctx, p, k)
	}
}

// absent is a well-formed id of no key.
const absent = "00000000-0000-4000-8000-000000000000"

// freshAlias is an alias name that no other clause uses.
func freshAlias(k *types.KeyMetadata) *string {
	return aws.String("alias/contract/" + *k.KeyId)
}

// aliasARN is the ARN of an alias in the key's account and region.
func aliasARN(k *types.KeyMetadata, name string) string {
	prefix, _, _ := strings.Cut(*k.Arn, ":key/")
	return prefix + ":" + name
}
