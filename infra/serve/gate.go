package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/countersign-dev/countersign/infra/awsgate"
	"github.com/countersign-dev/countersign/infra/compose/prepared"
	"github.com/countersign-dev/countersign/infra/kms"
	"github.com/countersign-dev/countersign/infra/objectstore"
)

// serveGate stands before a store and enforces the AWS policies of infra/aws.
func serveGate(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("gate", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:9740", "`address`")
	endpoint := set.String("s3", "", "S3 endpoint of the store, `URL`")
	region := set.String("region", "eu-central-1", "AWS region")
	credentials := set.String("credentials", "", "AWS shared credentials `file` with the profiles TENANT-worker and TENANT-starter")
	network := set.String("plain-http-from", "", "`network` (CIDR) from which requests may come without TLS")
	if err := parse(set, args); err != nil {
		return err
	}
	profiles, err := prepared.ReadProfiles(*credentials)
	if err != nil {
		return err
	}
	gate, err := openGate(profiles, *region, *network)
	if err != nil {
		return err
	}
	handler, err := gate.S3(*endpoint)
	if err != nil {
		return fmt.Errorf("couldn't use the store's endpoint: %w", err)
	}
	return serve(ctx, *listen, handler, nil)
}

// openGate knows tenants' processes alone: no profile of this installation is the account's root.
func openGate(profiles []prepared.Profile, region, plainHTTPFrom string) (*awsgate.Gate, error) {
	c := awsgate.Config{
		Account: kms.Account, Region: region, Documents: objectstore.Documents, Evidence: objectstore.Evidence,
		MinimumRetentionDays: 1, // evidence is kept for 24h here
		PlainHTTPFrom:        plainHTTPFrom,
	}
	for _, p := range profiles {
		caller := awsgate.Caller{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey}
		for _, process := range []string{awsgate.Worker, awsgate.Starter} {
			if tenant, ok := strings.CutSuffix(p.Name, "-"+process); ok {
				caller.Tenant, caller.Process = tenant, process
			}
		}
		if caller.Process == "" {
			return nil, fmt.Errorf("couldn't open the gate: the profile %q is no TENANT-worker and no TENANT-starter", p.Name)
		}
		c.Callers = append(c.Callers, caller)
	}
	return awsgate.New(c)
}
