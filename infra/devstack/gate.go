package main

import (
	"context"

	"github.com/countersign-dev/countersign/infra/awsgate"
	"github.com/countersign-dev/countersign/infra/kms"
	"github.com/countersign-dev/countersign/infra/objectstore"
)

// startGate reads the AWS policies that stand before KMS and S3.
func (r *running) startGate(context.Context) (_ string, err error) {
	if r.keyGate, err = r.openGate(layerKeys); err == nil {
		r.storeGate, err = r.openGate(layerPrefixes)
	}
	return "infra/aws", err
}

// openGate is a gate that, without its layer, holds nobody to the policies.
func (r *running) openGate(layer string) (*awsgate.Gate, error) {
	c := awsgate.Config{
		Account: kms.Account, Region: region, Documents: objectstore.Documents, Evidence: objectstore.Evidence,
		MinimumRetentionDays: 1,             // evidence here is kept for 24h
		PlainHTTPFrom:        "127.0.0.0/8", // the stack has no TLS, and listens on the loopback alone
	}
	for _, p := range r.profiles {
		c.Callers = append(c.Callers, awsgate.Caller{
			AccessKeyID: p.key.AccessKeyID, SecretAccessKey: p.key.SecretAccessKey,
			Root: p.name == adminProfile || r.without[layer], Tenant: p.tenant, Process: p.role,
		})
	}
	return awsgate.New(c)
}

// gateS3 serves the gate where callers expect S3.
func (r *running) gateS3(store *objectstore.Store) error {
	handler, err := r.storeGate.S3(store.Endpoint)
	if err != nil {
		return err
	}
	r.serve("s3", handler)
	return nil
}
