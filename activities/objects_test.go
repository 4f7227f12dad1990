package activities

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// TestR10_NoStepTouchesAnotherTenantsObject gives each step that reads or writes the key of another tenant, before a store that would let everything
// through: it is never asked.
func TestR10_NoStepTouchesAnotherTenantsObject(t *testing.T) {
	t.Parallel()
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the store was asked: %s %s", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(open.Close)
	a := &Tenant{
		settings: &countersign.Settings{Tenant: "acme", Documents: countersign.Documents{Bucket: "documents"}},
		s3: s3.New(s3.Options{
			BaseEndpoint: aws.String(open.URL), Region: "eu-central-1", UsePathStyle: true,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
			}),
		}),
	}
	for name, key := range map[string]string{
		"another tenant's": "globex/documents/x.pdf", "a detour": "acme/../globex/documents/x.pdf", "a name that starts alike": "acme-two/x.pdf",
		"no tenant's": "x.pdf", "an empty step": "acme//x.pdf", "the prefix alone": "acme/",
	} {
		o := countersign.Object{Bucket: "documents", Key: key, VersionID: "1"}
		for step, touch := range map[string]func(context.Context) error{
			"read": func(ctx context.Context) error { _, err := ReadObject(ctx, a.s3, "acme", o, 1); return err },
			"store": func(ctx context.Context) error {
				_, err := a.storeFirst(ctx, "documents", key, "", nil, nil)
				return err
			},
			"look":    func(ctx context.Context) error { _, _, err := a.current(ctx, "documents", key, 1); return err },
			"destroy": func(ctx context.Context) error { return a.destroy(ctx, key) },
			"hold":    func(ctx context.Context) error { _, err := a.held(ctx, o); return err },
			"lock":    func(ctx context.Context) error { _, err := a.Lock(ctx, evidence.Sealed{Object: o}); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var refusal *countersign.Refusal
			if err := touch(ctx); !errors.As(err, &refusal) || refusal.Code != "other-tenant" {
				t.Errorf("%s of %s key: %v, want it to be refused as other-tenant", step, name, err)
			}
			cancel()
		}
	}
}
