// Package aws holds the AWS policies of an installation, as Terraform templates. infra/terraform applies them; infra/awsgate enforces
// the same bytes before the local stack's KMS and S3. README.md says what each file is for.
package aws

import "embed"

// Files holds the templates, by file name.
//
//go:embed *.json
var Files embed.FS

// Names of the templates in Files.
const (
	Key             = "key.json"              // of each tenant's seal key
	DocumentsBucket = "documents-bucket.json" // of the bucket of documents
	EvidenceBucket  = "evidence-bucket.json"  // of the bucket of evidence
	WorkerRole      = "worker-role.json"      // what a tenant's worker may do
	StarterRole     = "starter-role.json"     // what a tenant's API may do
	RoleTrust       = "role-trust.json"       // who may take such a role, and for whom
)
