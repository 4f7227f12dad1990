package awsgate

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// BenchmarkGate is what the gate adds to a call of S3: the same call with it and without.
func BenchmarkGate(b *testing.B) {
	store := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for name, gated := range map[string]bool{"with": true, "without": false} {
		b.Run(name, func(b *testing.B) {
			endpoint := benchStore(b, store, gated)
			c := client(endpoint, "ACMEWORKER", "w")
			for b.Loop() {
				if _, err := c.HeadObject(b.Context(), &s3.HeadObjectInput{Bucket: aws.String("documents"), Key: aws.String("acme/withheld/1/document.p7s")}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchStore(b *testing.B, store http.Handler, gated bool) string {
	b.Helper()
	behind := httptest.NewServer(store)
	b.Cleanup(behind.Close)
	if !gated {
		return behind.URL
	}
	g, err := New(config())
	if err != nil {
		b.Fatal(err)
	}
	handler, err := g.S3(behind.URL)
	if err != nil {
		b.Fatal(err)
	}
	gate := httptest.NewServer(handler)
	b.Cleanup(gate.Close)
	return gate.URL
}
