package awspolicy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	awsfiles "github.com/countersign-dev/countersign/infra/aws"
)

// What the files are rendered with here, as Terraform would for production.
var production = map[string]string{
	"account": "111122223333", "region": "eu-central-1", "tenant": "acme", "process": "arn:aws:iam::111122223333:role/workers",
	"documents_bucket": "acme-documents", "evidence_bucket": "acme-evidence", "minimum_retention_days": "3650", "plain_http_from": "255.255.255.255/32",
}

var kinds = map[string]Kind{
	awsfiles.Key: KeyPolicy, awsfiles.DocumentsBucket: BucketPolicy, awsfiles.EvidenceBucket: BucketPolicy,
	awsfiles.WorkerRole: RolePolicy, awsfiles.StarterRole: RolePolicy, awsfiles.RoleTrust: TrustPolicy,
}

func rendered(t *testing.T, name string) []byte {
	t.Helper()
	template, err := awsfiles.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Render(name, template, production)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parsed(t *testing.T, name string, kind Kind, text []byte) *Policy {
	t.Helper()
	p, err := Parse(name, kind, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every policy is judged against a counterpart that forbids nothing: what then is refused is refused by this file.
const (
	wideRole = `{"Version":"2012-10-17","Statement":[
		{"Sid":"S3","Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::acme-documents","arn:aws:s3:::acme-documents/*","arn:aws:s3:::acme-evidence","arn:aws:s3:::acme-evidence/*"]},
		{"Sid":"KMS","Effect":"Allow","Action":[%s],"Resource":"arn:aws:kms:eu-central-1:111122223333:key/*"}]}`
	wideKey = `{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":[%s],"Resource":"*"}]}`
)

func everyKMSAction() string {
	var names []string
	for name := range actions {
		if strings.HasPrefix(name, "kms:") {
			names = append(names, `"`+name+`"`)
		}
	}
	return strings.Join(names, ",")
}

const (
	worker  = "arn:aws:iam::111122223333:role/countersign/acme-worker"
	starter = "arn:aws:iam::111122223333:role/countersign/acme-starter"
	admin   = "arn:aws:iam::111122223333:role/administrator"
	sealKey = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
	docs    = "arn:aws:s3:::acme-documents"
	evid    = "arn:aws:s3:::acme-evidence"
)

// ask is one request to one file, and whether it may pass.
type ask struct {
	who, action, resource string
	context               Context // added to that of the session; a key without values is taken out
	allowed               bool
}

var (
	tagged   = Context{keyTag: {"acme"}}
	locked   = Context{keyTag: {"acme"}, keyLockMode: {"COMPLIANCE"}, keyLockDays: {"3650"}}
	signing  = Context{"aws:ResourceTag/tenant": {"acme"}, keyMessageType: {"DIGEST"}, keySignAlgorithm: {"ECDSA_SHA_256"}}
	logging  = Context{"aws:ResourceTag/tenant": {"acme"}, keyMessageType: {"RAW"}, keySignAlgorithm: {"ED25519_SHA_512"}}
	quantum  = logging.with(keySignAlgorithm, "ML_DSA_SHAKE_256")
	personal = Context{"aws:ResourceTag/tenant": {"acme"}, keyContextTenant: {"acme"}}
	listing  = Context{keyPrefix: {"acme/withheld/PO-1/document.p7s"}}
	noTenant = Context{"aws:PrincipalTag/tenant": nil}
	plain    = Context{"aws:SecureTransport": {"false"}}
)

func (c Context) with(key string, values ...string) Context {
	n := Context{key: values}
	for k, v := range c {
		if k != key {
			n[k] = v
		}
	}
	return n
}

// asks is what each file has to answer. TestR10_EachPartOfTheAWSPoliciesIsNeeded shows that no part of a file is without one.
var asks = map[string][]ask{
	awsfiles.WorkerRole: append([]ask{
		{worker, "s3:GetBucketVersioning", docs, nil, true},
		{worker, "s3:GetBucketObjectLockConfiguration", evid, nil, true},
		{worker, "s3:GetObjectVersion", docs + "/acme/documents/1.pdf", nil, true},
		{worker, "s3:GetObjectVersion", docs + "/globex/documents/1.pdf", nil, false},
		{worker, "s3:GetObjectVersion", docs + "/acme-not/1.pdf", nil, false},
		{worker, "s3:GetObjectVersion", docs + "/acme/documents/1.pdf", noTenant, false},
		{worker, "s3:GetObjectVersion", docs + "/*/documents/1.pdf", Context{"aws:PrincipalTag/tenant": {"*"}}, true}, // a wildcard in a tag is a character
		{worker, "s3:GetObjectVersion", docs + "/acme/documents/1.pdf", Context{"aws:PrincipalTag/tenant": {"*"}}, false},
		{worker, "s3:GetObjectVersion", evid + "/acme/evidence/1.asice", nil, true},
		{worker, "s3:GetObjectVersion", evid + "/globex/evidence/1.asice", nil, false},
		{worker, "s3:GetObject", docs + "/acme/withheld/1/document.p7s", nil, true},
		{worker, "s3:GetObject", docs + "/acme/documents/1.pdf", nil, false}, // by version, or not at all
		{worker, "s3:GetObject", evid + "/acme/intents/1.json", nil, true},
		{worker, "s3:ListBucketVersions", docs, listing, true},
		{worker, "s3:ListBucketVersions", evid, listing, true},
		{worker, "s3:ListBucketVersions", docs, nil, false},
		{worker, "s3:ListBucketVersions", docs, Context{keyPrefix: {"acme"}}, false},
		{worker, "s3:ListBucketVersions", docs, Context{keyPrefix: {"globex/"}}, false},
		{worker, "s3:ListBucket", docs, listing, false},
		{worker, "s3:PutObject", docs + "/acme/withheld/1/document.p7s", tagged, true},
		{worker, "s3:PutObjectTagging", docs + "/acme/withheld/1/document.p7s", tagged, true},
		{worker, "s3:PutObject", docs + "/acme/withheld/1/document.p7s", nil, false},
		{worker, "s3:PutObject", docs + "/acme/withheld/1/document.p7s", Context{keyTag: {"globex"}}, false},
		{worker, "s3:PutObject", docs + "/globex/withheld/1/document.p7s", tagged, false},
		{worker, "s3:PutObject", docs + "/acme/documents/1.pdf", tagged, false}, // documents are the API's
		{worker, "s3:PutObject", evid + "/acme/evidence/1.asice", locked, true},
		{worker, "s3:PutObject", evid + "/acme/intents/1.json", locked, true},
		{worker, "s3:PutObject", evid + "/acme/log/checkpoint", locked, true},
		{worker, "s3:PutObject", evid + "/acme/log/checkpoint", nil, false},
		{worker, "s3:PutObject", evid + "/acme/checks/1.json", locked, true},
		{worker, "s3:PutObjectRetention", evid + "/acme/checks/1.json", nil, true},
		{worker, "s3:PutObject", evid + "/acme/canary/locked", locked, true},
		{worker, "s3:PutObjectRetention", evid + "/acme/canary/locked", nil, true},
		{worker, "s3:DeleteObjectVersion", evid + "/acme/canary/locked", nil, true}, // the lock alone refuses it
		{worker, "s3:DeleteObject", evid + "/acme/canary/marker", nil, true},
		{worker, "s3:DeleteObjectVersion", evid + "/globex/canary/locked", nil, false},
		{worker, "s3:DeleteObjectVersion", evid + "/acme/checks/1.json", nil, false},
		{worker, "s3:PutObject", evid + "/globex/log/checkpoint", locked, false},
		{worker, "s3:PutObjectRetention", evid + "/acme/log/checkpoint", nil, true},
		{worker, "s3:PutObject", evid + "/acme/elsewhere", locked, false},
		{worker, "s3:PutObjectRetention", evid + "/acme/evidence/1.asice", nil, true},
		{worker, "s3:GetObjectRetention", evid + "/acme/evidence/1.asice", nil, true},
		{worker, "s3:PutObjectRetention", evid + "/acme/intents/1.json", nil, true},
		{worker, "s3:PutObjectRetention", evid + "/globex/evidence/1.asice", nil, false},
		{worker, "s3:PutObject", evid + "/acme/orders/1/001.json", locked, true},
		{worker, "s3:PutObject", evid + "/acme/index/2026/11/26/190435123-0123456789abcdef.json", locked, true},
		{worker, "s3:PutObject", evid + "/globex/index/2026/11/26/190435123-0123456789abcdef.json", locked, false},
		{worker, "s3:PutObjectRetention", evid + "/acme/index/2026/11/26/190435123-0123456789abcdef.json", nil, true},
		{worker, "s3:PutObjectLegalHold", evid + "/acme/index/2026/11/26/190435123-0123456789abcdef.json", nil, true},
		{worker, "s3:PutObjectRetention", evid + "/acme/orders/1/001.json", nil, true},
		{worker, "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", nil, true},
		{worker, "s3:GetObjectLegalHold", evid + "/acme/evidence/1.asice", nil, true},
		{worker, "s3:PutObjectLegalHold", evid + "/acme/intents/1.json", nil, true},
		{worker, "s3:PutObjectLegalHold", evid + "/acme/orders/1/001.json", nil, true},
		{worker, "s3:PutObjectLegalHold", evid + "/acme/log/checkpoint", nil, false},
		{worker, "s3:PutObjectLegalHold", evid + "/globex/evidence/1.asice", nil, false},
		{worker, "s3:GetObjectLegalHold", evid + "/globex/evidence/1.asice", nil, false},
		{worker, "s3:DeleteObjectVersion", docs + "/acme/withheld/1/document.p7s", nil, true},
		{worker, "s3:DeleteObject", docs + "/acme/withheld/1/document.p7s", nil, false}, // a marker destroys nothing
		{worker, "s3:DeleteObjectVersion", docs + "/acme/documents/1.pdf", nil, false},
		{worker, "s3:DeleteObjectVersion", docs + "/globex/withheld/1/document.p7s", nil, false},
		{worker, "s3:DeleteObjectVersion", evid + "/acme/evidence/1.asice", nil, false},
		{worker, "s3:BypassGovernanceRetention", evid + "/acme/evidence/1.asice", nil, false},
		{worker, "s3:PutBucketPolicy", docs, nil, false},
		{worker, "kms:DescribeKey", sealKey, signing, true},
		{worker, "kms:GetPublicKey", sealKey, signing, true},
		{worker, "kms:DescribeKey", sealKey, signing.with("aws:ResourceTag/tenant", "globex"), false},
		{worker, "kms:DescribeKey", sealKey, signing.with("aws:ResourceTag/tenant"), false},
		{worker, "kms:DisableKey", sealKey, signing, false},
		{worker, "s3:GetObject", docs + "/acme/subjects/keys/1.json", nil, true},
		{worker, "s3:GetObject", docs + "/globex/subjects/keys/1.json", nil, false},
		{worker, "s3:PutObject", docs + "/acme/subjects/keys/1.json", tagged, true},
		{worker, "s3:PutObject", docs + "/globex/subjects/keys/1.json", tagged, false},
		{worker, "s3:DeleteObjectVersion", docs + "/acme/subjects/keys/1.json", nil, true},
		{worker, "s3:DeleteObjectVersion", docs + "/globex/subjects/keys/1.json", nil, false},
	}, append(signs(worker), opens(worker, true)...)...),

	awsfiles.StarterRole: append([]ask{
		{starter, "s3:GetBucketVersioning", docs, nil, true},
		{starter, "s3:GetBucketObjectLockConfiguration", evid, nil, true},
		{starter, "s3:GetObjectVersion", docs + "/acme/documents/1.pdf", nil, true},
		{starter, "s3:GetObjectVersion", docs + "/acme/withheld/1/document.p7s", nil, false},
		{starter, "s3:GetObjectVersion", docs + "/globex/documents/1.pdf", nil, false},
		{starter, "s3:GetObjectVersion", evid + "/acme/evidence/1.asice", nil, true},
		{starter, "s3:GetObjectVersion", evid + "/globex/evidence/1.asice", nil, false},
		{starter, "s3:GetObject", docs + "/acme/documents/1.pdf", nil, true},
		{starter, "s3:GetObject", docs + "/acme/withheld/1/document.p7s", nil, false},
		{starter, "s3:GetObject", evid + "/acme/log/checkpoint", nil, true},
		{starter, "s3:GetObject", evid + "/acme/log/batch/7", nil, true},
		{starter, "s3:GetObject", evid + "/acme/log/tile/0/000", nil, true},
		{starter, "s3:GetObject", evid + "/acme/log/claims/1/intended.json", nil, false},
		{starter, "s3:GetObject", evid + "/globex/log/checkpoint", nil, false},
		{starter, "s3:GetObject", evid + "/acme/evidence/1.asice", nil, false},
		{starter, "s3:PutObject", evid + "/acme/log/checkpoint", locked, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/log/checkpoint"}}, true},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/log/"}}, false},
		{starter, "s3:PutObject", docs + "/acme/documents/1.pdf", tagged, true},
		{starter, "s3:PutObjectTagging", docs + "/acme/documents/1.pdf", tagged, true},
		{starter, "s3:PutObject", docs + "/acme/documents/1.pdf", nil, false},
		{starter, "s3:PutObject", docs + "/acme/withheld/1/document.p7s", tagged, false},
		{starter, "s3:PutObject", evid + "/acme/evidence/1.asice", locked, false},
		{starter, "s3:DeleteObjectVersion", docs + "/acme/documents/1.pdf", nil, false},
		{starter, "s3:ListBucketVersions", docs, listing, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/reads/"}}, true},
		{starter, "s3:ListBucketVersions", docs, Context{keyPrefix: {"acme/reads/"}}, false},
		{starter, "s3:ListBucketVersions", evid, listing, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/evidence/"}}, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"globex/reads/"}}, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/orders/"}}, true},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/index/2026/"}}, true},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"globex/index/2026/"}}, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/evidence/1.log.json"}}, true},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"globex/evidence/1.log.json"}}, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/evidence/"}}, false},
		{starter, "s3:GetObjectVersion", evid + "/acme/index/2026/11/26/190435123-0123456789abcdef.json", nil, true},
		{starter, "s3:GetObjectVersion", evid + "/globex/index/2026/11/26/190435123-0123456789abcdef.json", nil, false},
		{starter, "s3:PutObject", evid + "/acme/index/2026/11/26/190435123-0123456789abcdef.json", locked, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"globex/orders/"}}, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/checks/"}}, true},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"globex/checks/"}}, false},
		{starter, "s3:GetObjectVersion", evid + "/acme/checks/2026-11-26T150405Z-1.json", nil, true},
		{starter, "s3:GetObjectVersion", evid + "/globex/checks/2026-11-26T150405Z-1.json", nil, false},
		{starter, "s3:PutObject", evid + "/acme/checks/2026-11-26T150405Z-1.json", locked, false},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"acme/evidence/1/"}}, true},
		{starter, "s3:ListBucketVersions", evid, Context{keyPrefix: {"globex/evidence/1/"}}, false},
		{starter, "s3:GetObjectVersion", evid + "/acme/orders/1/001.json", nil, true},
		{starter, "s3:GetObjectVersion", evid + "/globex/orders/1/001.json", nil, false},
		{starter, "s3:PutObject", evid + "/acme/orders/1/001.json", locked, false},
		{starter, "s3:GetObjectRetention", evid + "/acme/evidence/1.asice", nil, true},
		{starter, "s3:GetObjectLegalHold", evid + "/acme/evidence/1.asice", nil, true},
		{starter, "s3:GetObjectLegalHold", evid + "/globex/evidence/1.asice", nil, false},
		{starter, "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", nil, false},
		{starter, "s3:ListBucketVersions", evid, nil, false},
		{starter, "s3:PutObject", evid + "/acme/reads/2026-11-26/1.json", locked, true},
		{starter, "s3:PutObjectTagging", evid + "/acme/reads/2026-11-26/1.json", tagged, true},
		{starter, "s3:PutObject", evid + "/acme/reads/2026-11-26/1.json", locked.with(keyTag), false},
		{starter, "s3:PutObject", evid + "/globex/reads/2026-11-26/1.json", locked, false},
		{starter, "s3:PutObjectRetention", evid + "/acme/reads/2026-11-26/1.json", locked.with(keyTag), true},
		{starter, "s3:PutObjectRetention", evid + "/acme/evidence/1.asice", locked.with(keyTag), false},
		{starter, "s3:PutObjectRetention", evid + "/globex/reads/2026-11-26/1.json", locked.with(keyTag), false},
		{starter, "s3:GetObjectVersion", evid + "/acme/reads/2026-11-26/1.json", nil, true},
		{starter, "s3:GetObjectVersion", evid + "/globex/reads/2026-11-26/1.json", nil, false},
		{starter, "s3:GetObject", evid + "/acme/reads/2026-11-26/1.json", nil, false},
		{starter, "s3:DeleteObjectVersion", evid + "/acme/reads/2026-11-26/1.json", nil, false},
		{starter, "kms:DescribeKey", sealKey, signing, false},
		{starter, "kms:Sign", sealKey, signing, false},
		{starter, "s3:GetObject", docs + "/acme/subjects/keys/1.json", nil, true},
		{starter, "s3:GetObject", docs + "/acme/subjects/by-person/1.json", nil, false}, // whose a key is, is the worker's
		{starter, "s3:GetObject", docs + "/globex/subjects/keys/1.json", nil, false},
		{starter, "s3:PutObject", docs + "/acme/subjects/keys/1.json", tagged, false},
		{starter, "s3:DeleteObjectVersion", docs + "/acme/subjects/keys/1.json", nil, false},
		{starter, "s3:ListBucketVersions", docs, Context{keyPrefix: {"acme/subjects/keys/1.json"}}, true},
		{starter, "s3:ListBucketVersions", docs, Context{keyPrefix: {"acme/subjects/by-person/1.json"}}, false},
		{starter, "s3:ListBucketVersions", docs, Context{keyPrefix: {"globex/subjects/keys/1.json"}}, false},
	}, opens(starter, false)...),

	awsfiles.Key: append(append([]ask{
		{worker, "kms:DescribeKey", sealKey, signing, true},
		{worker, "kms:GetPublicKey", sealKey, signing, true},
		{starter, "kms:Sign", sealKey, signing, false},
		{"arn:aws:iam::111122223333:role/countersign/globex-worker", "kms:Sign", sealKey, signing, false},
		{admin, "kms:Sign", sealKey, signing, false},
		{starter, "kms:Sign", sealKey, logging, false},
		{admin, "kms:Sign", sealKey, logging, false},
		{starter, "kms:Sign", sealKey, quantum, false},
		{admin, "kms:Sign", sealKey, quantum, false},
		{"arn:aws:iam::444455556666:role/countersign/acme-worker", "kms:Sign", sealKey, signing, false},
		{"arn:aws:iam::111122223333:role/countersign/globex-worker", "kms:Decrypt", sealKey, personal, false},
		{"arn:aws:iam::111122223333:role/countersign/globex-starter", "kms:Decrypt", sealKey, personal, false},
		{admin, "kms:Decrypt", sealKey, personal, false},
		{admin, "kms:GenerateDataKey", sealKey, personal, false},
	}, slices.Concat(signs(worker), opens(worker, true), opens(starter, false))...), manage()...),

	awsfiles.DocumentsBucket: append(bucketAsks(docs, nil), []ask{
		{worker, "s3:DeleteObjectVersion", docs + "/acme/withheld/1/document.p7s", nil, true},
		{worker, "s3:DeleteObject", docs + "/acme/withheld/1/document.p7s", nil, true},
		{worker, "s3:DeleteObjectVersion", docs + "/acme/documents/1.pdf", nil, false},
		{worker, "s3:DeleteObject", docs + "/acme/documents/1.pdf", nil, false},
		{admin, "s3:DeleteObjectVersion", docs + "/acme/documents/1.pdf", nil, true},
		{worker, "s3:DeleteObjectVersion", docs + "/acme/subjects/keys/1.json", nil, true},
		{worker, "s3:DeleteObject", docs + "/acme/subjects/keys/1.json", nil, true},
		{worker, "s3:PutObject", docs + "/acme/subjects/keys/1.json", tagged, true},
		{starter, "s3:DeleteObjectVersion", docs + "/acme/subjects/keys/1.json", nil, false},
		{starter, "s3:DeleteObject", docs + "/acme/subjects/keys/1.json", nil, false},
		{starter, "s3:PutObject", docs + "/acme/subjects/keys/1.json", tagged, false},
		{starter, "s3:GetObject", docs + "/acme/subjects/keys/1.json", nil, true},
		{admin, "s3:DeleteObjectVersion", docs + "/acme/subjects/keys/1.json", nil, false}, // two of compliance order it, and a worker does it
	}...),

	awsfiles.EvidenceBucket: append(bucketAsks(evid, locked.with(keyTag)), []ask{
		{worker, "s3:DeleteObject", evid + "/acme/evidence/1.asice", nil, false},
		{worker, "s3:DeleteObject", evid + "/acme/canary/marker", nil, true},
		{worker, "s3:DeleteObjectVersion", evid + "/acme/canary/locked", nil, true},
		{worker, "s3:DeleteObjectVersion", evid + "/globex/canary/locked", nil, false},
		{admin, "s3:DeleteObjectVersion", evid + "/acme/canary/locked", nil, false},
		{admin, "s3:DeleteObject", evid + "/acme/canary/marker", nil, false},
		{worker, "s3:DeleteObjectVersion", evid + "/acme/evidence/1.asice", nil, false},
		{worker, "s3:BypassGovernanceRetention", evid + "/acme/evidence/1.asice", nil, false},
		{admin, "s3:DeleteObjectVersion", evid + "/acme/evidence/1.asice", nil, false},
		{admin, "s3:BypassGovernanceRetention", evid + "/acme/evidence/1.asice", nil, false},
		{worker, "s3:PutObject", evid + "/acme/evidence/1.asice", tagged, false},
		{worker, "s3:PutObject", evid + "/acme/evidence/1.asice", locked.with(keyLockMode, "GOVERNANCE"), false},
		{worker, "s3:PutObject", evid + "/acme/evidence/1.asice", locked.with(keyLockDays, "3649"), false},
		{worker, "s3:PutObject", evid + "/acme/evidence/1.asice", locked.with(keyLockDays, "-1"), false},
		{worker, "s3:PutObject", evid + "/acme/evidence/1.asice", locked.with(keyLockDays, "10000"), true},
		{worker, "s3:PutObjectRetention", evid + "/acme/evidence/1.asice", locked.with(keyTag), true},
		{worker, "s3:PutObjectRetention", evid + "/acme/evidence/1.asice", Context{keyLockMode: {"GOVERNANCE"}, keyLockDays: {"3650"}}, false},
		// What is stored is locked for its least length already, and COMPLIANCE is never shortened: this extends it by as little as is asked.
		{worker, "s3:PutObjectRetention", evid + "/acme/evidence/1.asice", Context{keyLockMode: {"COMPLIANCE"}, keyLockDays: {"1"}}, true},
		{worker, "s3:PutObjectRetention", evid + "/acme/evidence/1.asice", Context{keyLockMode: {"COMPLIANCE"}, keyLockDays: {"0"}}, false},
		{worker, "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", nil, true},
		{starter, "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", nil, false},
		{admin, "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", noTenant, false},
		{"arn:aws:iam::111122223333:role/acme-worker", "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", nil, false},
		{"arn:aws:iam::444455556666:role/countersign/acme-worker", "s3:PutObjectLegalHold", evid + "/acme/evidence/1.asice", nil, false},
	}...),

	awsfiles.RoleTrust: {
		{production["process"], "sts:AssumeRole", worker, assume("acme"), true},
		{production["process"], "sts:TagSession", worker, assume("acme"), true},
		{production["process"], "sts:AssumeRole", worker, assume("globex"), false},
		{production["process"], "sts:AssumeRole", worker, Context{"aws:TagKeys": nil}, false},
		{production["process"], "sts:TagSession", worker, assume("acme").with("aws:TagKeys", "tenant", "role"), false},
		{admin, "sts:AssumeRole", worker, assume("acme"), false},
	},
}

func assume(tenant string) Context {
	return Context{"aws:RequestTag/tenant": {tenant}, "aws:TagKeys": {"tenant"}}
}

// signs is what a worker may ask of its key and what not.
func signs(who string) []ask {
	return []ask{
		{who, "kms:Sign", sealKey, signing, true},
		{who, "kms:Sign", sealKey, signing.with(keySignAlgorithm, "ECDSA_SHA_384"), true},
		{who, "kms:Sign", sealKey, logging, true},
		{who, "kms:Sign", sealKey, logging.with(keySignAlgorithm, "ED25519_PH_SHA_512"), false},
		{who, "kms:Sign", sealKey, logging.with(keySignAlgorithm, "ECDSA_SHA_256"), false},
		{who, "kms:Sign", sealKey, logging.with(keyMessageType, "DIGEST"), false},
		{who, "kms:Sign", sealKey, logging.with("aws:ResourceTag/tenant", "globex"), false},
		{who, "kms:Sign", sealKey, logging.with("aws:ResourceTag/tenant"), false},
		{who, "kms:Sign", sealKey, logging.with("aws:PrincipalTag/tenant"), false},
		{who, "kms:Sign", sealKey, quantum, true},
		{who, "kms:Sign", sealKey, quantum.with(keyMessageType, "DIGEST"), false},
		{who, "kms:Sign", sealKey, quantum.with(keyMessageType, "EXTERNAL_MU"), false},
		{who, "kms:Sign", sealKey, quantum.with("aws:ResourceTag/tenant", "globex"), false},
		{who, "kms:Sign", sealKey, quantum.with("aws:ResourceTag/tenant"), false},
		{who, "kms:Sign", sealKey, quantum.with("aws:PrincipalTag/tenant"), false},
		{who, "kms:Sign", sealKey, signing.with(keySignAlgorithm, "RSASSA_PSS_SHA_256"), false},
		{who, "kms:Sign", sealKey, signing.with(keySignAlgorithm), false},
		{who, "kms:Sign", sealKey, signing.with(keyMessageType, "RAW"), false},
		{who, "kms:Sign", sealKey, signing.with("aws:ResourceTag/tenant", "globex"), false},
		{who, "kms:Sign", sealKey, signing.with("aws:ResourceTag/tenant"), false},
		{who, "kms:Sign", sealKey, signing.with("aws:PrincipalTag/tenant"), false},
	}
}

// opens is what a process may ask of the key that people's keys are wrapped by.
func opens(who string, makes bool) []ask {
	all := []ask{
		{who, "kms:Decrypt", sealKey, personal, true},
		{who, "kms:GenerateDataKey", sealKey, personal, makes},
	}
	for _, action := range []string{"kms:Decrypt", "kms:GenerateDataKey"} {
		for _, key := range []string{keyContextTenant, "aws:ResourceTag/tenant"} {
			all = append(all, ask{who, action, sealKey, personal.with(key, "globex"), false}, ask{who, action, sealKey, personal.with(key), false})
		}
		all = append(all, ask{who, action, sealKey, personal.with("aws:PrincipalTag/tenant"), false})
	}
	return all
}

// manage is that administrators manage keys, and processes never do, however wide their own policies are.
func manage() (all []ask) {
	for name := range actions {
		if !strings.HasPrefix(name, "kms:") || name == "kms:Sign" || name == "kms:Decrypt" || name == "kms:GenerateDataKey" {
			continue
		}
		reads := strings.HasPrefix(name, "kms:Get") || strings.HasPrefix(name, "kms:List") || strings.HasPrefix(name, "kms:Describe")
		all = append(all, ask{admin, name, sealKey, nil, true}, ask{worker, name, sealKey, signing, reads})
	}
	return all
}

// bucketAsks is what both buckets answer. A put needs the context given, and the tenant's tag.
func bucketAsks(bucket string, put Context) []ask {
	object := bucket + "/acme/withheld/1/x"
	all := []ask{
		{worker, "s3:GetObject", object, nil, true},
		{worker, "s3:GetObject", bucket + "/globex/documents/1.pdf", nil, false},
		{worker, "s3:GetObject", bucket + "/acme-not/1.pdf", nil, false},
		{worker, "s3:GetBucketVersioning", bucket, nil, true},
		{worker, "s3:GetObject", object, noTenant, false},
		{worker, "s3:GetBucketVersioning", bucket, noTenant, false},
		{admin, "s3:GetObject", bucket + "/globex/documents/1.pdf", noTenant, true},
		{admin, "s3:GetObject", bucket + "/globex/documents/1.pdf", nil, true}, // whatever tag administrators have
		{admin, "s3:GetBucketVersioning", bucket, noTenant, true},
		{worker, "s3:GetObject", object, plain, false},
		{admin, "s3:GetBucketVersioning", bucket, plain, false},
		{admin, "s3:GetBucketVersioning", bucket, plain.with("aws:SourceIp"), false},
		{worker, "s3:GetObject", object, plain.with("aws:SourceIp", "255.255.255.255"), true},
		{worker, "s3:ListBucketVersions", bucket, listing, true},
		{worker, "s3:ListBucketVersions", bucket, Context{keyPrefix: {"globex/"}}, false},
		{worker, "s3:ListBucketVersions", bucket, nil, false},
		{worker, "s3:ListBucket", bucket, nil, false},
		{admin, "s3:ListBucket", bucket, nil, true},
		{worker, "s3:PutObject", object, put.with(keyTag, "acme"), true},
		{worker, "s3:PutObject", object, put.with(keyTag, "globex"), false},
		{worker, "s3:PutObject", object, put, false},
		{worker, "s3:PutObjectTagging", object, Context{keyTag: {"globex"}}, false},
		{admin, "s3:PutObject", object, put, true},
	}
	for _, name := range []string{
		"s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketAcl", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
		"s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:PutReplicationConfiguration",
	} {
		all = append(all, ask{worker, name, bucket, nil, false}, ask{admin, name, bucket, noTenant, true})
	}
	return all
}

// put asks one policy, whose counterpart allows all.
func (a ask) put(t *testing.T, p *Policy) Decision {
	t.Helper()
	c := Context{"aws:SecureTransport": {"true"}, "aws:SourceIp": {"198.51.100.7"}, "aws:PrincipalArn": {a.who}, "aws:PrincipalTag/tenant": {"acme"}}
	for key, values := range a.context {
		c[key] = values
		if values == nil {
			delete(c, key)
		}
	}
	r := Request{Principal: a.who, Action: a.action, Resource: a.resource, Context: c}
	switch {
	case p.kind == TrustPolicy:
		return Decide(r, nil, p)
	case p.kind != RolePolicy:
		return Decide(r, []*Policy{parsed(t, "wide role", RolePolicy, fmt.Appendf(nil, wideRole, everyKMSAction()))}, p)
	case strings.HasPrefix(a.action, "kms:"):
		return Decide(r, []*Policy{p}, parsed(t, "wide key", KeyPolicy, fmt.Appendf(nil, wideKey, everyKMSAction())))
	}
	return Decide(r, []*Policy{p}, nil)
}

func TestR10_TheAWSPoliciesAllowWhatTheProductDoesAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		p := parsed(t, name, kind, rendered(t, name))
		for _, a := range asks[name] {
			if d := a.put(t, p); d.Allowed != a.allowed {
				t.Errorf("%s: %s %s %s %v: allowed %v (%s)", name, a.who, a.action, a.resource, a.context, d.Allowed, d.By)
			}
		}
	}
}

// TestR10_EachPartOfTheAWSPoliciesIsNeeded takes each statement, condition, action, resource and value out of the files, one at a time. Some request
// above must then be answered otherwise, or the part was tested by nothing.
func TestR10_EachPartOfTheAWSPoliciesIsNeeded(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		whole := rendered(t, name)
		parts := 0
		for what, text := range without(t, whole) {
			parts++
			p, err := Parse(name, kind, text)
			if err != nil {
				t.Errorf("%s without %s isn't read: %v", name, what, err)
				continue
			}
			if !slices.ContainsFunc(asks[name], func(a ask) bool { return a.put(t, p).Allowed != a.allowed }) {
				t.Errorf("%s without %s answers the same", name, what)
			}
		}
		if parts < 3 {
			t.Errorf("%s was taken apart into %d parts alone", name, parts)
		}
	}
}

// without is the policy with one part taken out, by what that was.
func without(t *testing.T, whole []byte) map[string][]byte {
	t.Helper()
	type object = map[string]any
	read := func() (object, []any) {
		var document object
		if err := json.Unmarshal(whole, &document); err != nil {
			t.Fatal(err)
		}
		return document, document["Statement"].([]any)
	}
	all := map[string][]byte{}
	keep := func(what string, document object) {
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		all[what] = text
	}
	_, every := read()
	for i := range every {
		document, statements := read()
		if len(statements) > 1 { // a policy without statements is none
			document["Statement"] = slices.Delete(statements, i, i+1)
			keep(fmt.Sprint("statement ", i+1), document)
		}
		document, statements = read()
		s := statements[i].(object)
		for _, element := range []string{"Action", "Resource", "NotResource"} {
			list, _ := s[element].([]any)
			for j := range list {
				s[element] = slices.Delete(slices.Clone(list), j, j+1)
				keep(fmt.Sprintf("%v of statement %d", list[j], i+1), document)
			}
			if list != nil {
				s[element] = list
			}
		}
		conditions, _ := s["Condition"].(object)
		for operator, keys := range conditions {
			keys := keys.(object)
			for key, values := range keys {
				what := fmt.Sprintf("%s %s of statement %d", operator, key, i+1)
				for j, list := 0, listOf(values); j < len(list) && len(list) > 1; j++ {
					keys[key] = slices.Delete(slices.Clone(list), j, j+1)
					keep(fmt.Sprint("value ", list[j], " of ", what), document)
				}
				delete(keys, key)
				if len(keys) == 0 {
					delete(conditions, operator)
				}
				if len(conditions) == 0 {
					delete(s, "Condition")
				}
				keep(what, document)
				s["Condition"], conditions[operator], keys[key] = conditions, keys, values
			}
		}
	}
	return all
}

func listOf(values any) []any { list, _ := values.([]any); return list }

// What the evaluator knows and no file uses would be code that nothing of ours runs.
func TestTheLanguageIsThatOfTheFiles(t *testing.T) {
	t.Parallel()
	usedKeys, usedOperators, usedVariables := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for name, kind := range kinds {
		text := string(rendered(t, name))
		for variable := range policyVariables {
			usedVariables[variable] = usedVariables[variable] || strings.Contains(text, "${"+variable+"}")
		}
		for _, s := range parsed(t, name, kind, []byte(text)).statements {
			for _, c := range s.conditions {
				usedKeys[c.key], usedOperators[c.operator] = true, true
			}
		}
	}
	for key := range conditionKeys {
		if !usedKeys[key] {
			t.Errorf("no file uses the condition key %s", key)
		}
	}
	for operator := range operators {
		if !usedOperators[operator] {
			t.Errorf("no file uses the operator %s", operator)
		}
	}
	for variable := range policyVariables {
		if !usedVariables[variable] {
			t.Errorf("no file uses the variable %s", variable)
		}
	}
}
