package objectstore

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Buckets of the store.
const (
	Documents = "documents" // versioned
	Evidence  = "evidence"  // versioned, with Object Lock
)

// statement is an S3 bucket policy statement. Principals are access key ids,
// because the gateway has no ARNs of users; on AWS they are role ARNs.
type statement struct {
	Effect    string                         `json:"Effect"`
	Principal map[string][]string            `json:"Principal"`
	Action    []string                       `json:"Action"`
	Resource  []string                       `json:"Resource"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

// bucketPolicy writes the policy of a bucket for all users: each tenant's users
// reach only objects under "<tenant>/", and nobody lists a bucket, but for a worker
// the versions of its tenant's objects: so it learns what isn't there, and destroys what
// it withheld. A starter locks the records of reads, and lists those, orders, reports of checks, evidence records, the index and the log's proofs; it writes no other
// evidence. It reads the keys of people, and learns which of them are gone. A worker alone puts legal holds on and off. What no statement allows is denied.
//
// These are the store's own rules, in the words that the gateway knows. The local stack's
// rules are those of infra/aws, which the gate before the store enforces; where it stands,
// these are the second ones.
//
// PutObjectRetention is needed to put an object with a lock. It also lets a worker
// extend a lock, never shorten a COMPLIANCE one. The gateway knows no condition on
// the lock's mode (s3:object-lock-mode) or length, so a worker could lock with
// GOVERNANCE: who archives must read the lock back. PutObjectTagging is needed to put
// an object with a tag; a lock covers no tags, so they help billing and audits and
// decide nothing.
func bucketPolicy(bucket string, users []User) (string, error) {
	var statements []statement
	var everybody []string
	for _, user := range users {
		allowed, denied, err := actions(bucket, user.Role)
		if err != nil {
			return "", err
		}
		principal := map[string][]string{"AWS": {user.AccessKeyID}}
		statements = append(statements, statement{
			Effect: "Allow", Principal: principal, Action: allowed,
			Resource: []string{"arn:aws:s3:::" + bucket + "/" + prefix(bucket, user) + "*"},
		})
		everybody = append(everybody, user.AccessKeyID)
		var listed []string
		switch {
		case user.Role == RoleWorker:
			listed = []string{user.Tenant + "/*"}
		case bucket == Documents: // a starter opens the keys of people, and learns which are gone
			listed = []string{user.Tenant + "/subjects/keys/*"}
			statements = append(statements, statement{
				Effect: "Allow", Principal: principal, Action: []string{"s3:GetObject"},
				Resource: []string{"arn:aws:s3:::" + bucket + "/" + user.Tenant + "/subjects/keys/*"},
			})
		case bucket == Evidence:
			listed = []string{user.Tenant + "/reads/*", user.Tenant + "/orders/*", user.Tenant + "/checks/*", user.Tenant + "/evidence/*/renewal-*", user.Tenant + "/evidence/*.log.json", user.Tenant + "/index/*", user.Tenant + "/log/checkpoint"}
			under := user.Tenant
			if user.AnyPrefix {
				under = "*"
			}
			statements = append(statements, statement{
				Effect: "Allow", Principal: principal, Action: []string{"s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectRetention"},
				Resource: []string{"arn:aws:s3:::" + bucket + "/" + under + "/reads/*"},
			})
		}
		if len(listed) > 0 {
			statements = append(statements, statement{
				Effect: "Allow", Principal: principal, Action: []string{"s3:ListBucketVersions"},
				Resource:  []string{fmt.Sprintf("arn:aws:s3:::%s", bucket)},
				Condition: map[string]map[string][]string{"StringLike": {"s3:prefix": listed}},
			})
		}
		if len(denied) > 0 {
			statements = append(statements, statement{
				Effect: "Deny", Principal: principal, Action: denied,
				Resource: []string{fmt.Sprintf("arn:aws:s3:::%s/*", bucket)},
			})
		}
		if bucket == Evidence && user.Role == RoleWorker {
			statements = append(statements, canary(principal, user))
		}
	}
	// A process checks at boot that versions are kept and that the lock is really on.
	statements = append(statements, statement{
		Effect: "Allow", Principal: map[string][]string{"AWS": everybody}, Action: []string{"s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"},
		Resource: []string{fmt.Sprintf("arn:aws:s3:::%s", bucket)},
	})
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", fmt.Errorf("couldn't write the policy of bucket %s: %w", bucket, err)
	}
	return string(text), nil
}

// canary lets a worker try to delete what lies under its tenant's canary/, so that the refusal is the lock's. No other statement lets it delete evidence; there is no
// room to forbid it as well, because a policy has to fit into an extended attribute.
func canary(principal map[string][]string, user User) statement {
	return statement{
		Effect: "Allow", Principal: principal, Action: []string{"s3:DeleteObject", "s3:DeleteObjectVersion"},
		Resource: []string{"arn:aws:s3:::" + Evidence + "/" + user.Tenant + "/canary/*"},
	}
}

// prefix is where a user's objects lie. A starter sees documents, and not what the worker withholds until its evidence is locked.
func prefix(bucket string, user User) string {
	if user.AnyPrefix {
		return ""
	}
	if bucket == Documents && user.Role == RoleStarter {
		return user.Tenant + "/documents/"
	}
	return user.Tenant + "/"
}

func actions(bucket, role string) (allowed, denied []string, err error) {
	read := []string{"s3:GetObject", "s3:GetObjectVersion"}
	multipart := []string{"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
	// Said explicitly, so that no later Allow can open it by mistake.
	never := []string{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}
	reader := append(slices.Clone(never), "s3:PutObjectLegalHold")
	switch {
	case bucket == Documents && role == RoleWorker:
		return append(append(read, multipart...), "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject", "s3:DeleteObjectVersion"), nil, nil
	case bucket == Documents && role == RoleStarter:
		return append(append(read, multipart...), "s3:PutObject", "s3:PutObjectTagging"), reader, nil
	case bucket == Evidence && role == RoleWorker:
		return append(read, "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectRetention", "s3:GetObjectRetention", "s3:PutObjectLegalHold", "s3:GetObjectLegalHold"), never[2:], nil
	case bucket == Evidence && role == RoleStarter:
		return append(read, "s3:GetObjectRetention", "s3:GetObjectLegalHold"), reader, nil
	}
	return nil, nil, fmt.Errorf("couldn't write a policy for role %q in bucket %q: both must be known", role, bucket)
}
