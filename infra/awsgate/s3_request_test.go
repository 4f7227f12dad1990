package awsgate

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/infra/awspolicy"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// said writes what was understood: "action key {context}" of each operation.
func said(a asking) string {
	var all []string
	for _, o := range a.operations {
		text := o.action
		if o.key != "" {
			text += " " + o.key
		}
		for _, key := range slices.Sorted(maps.Keys(o.context)) {
			text += fmt.Sprintf(" %s=%s", strings.TrimPrefix(key, "s3:"), strings.Join(o.context[key], ","))
		}
		all = append(all, text)
	}
	return a.bucket + ": " + strings.Join(all, "; ")
}

func TestEachRequestIsUnderstoodOrRefused(t *testing.T) {
	t.Parallel()
	const unknown = ""
	const retention = `<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>COMPLIANCE</Mode><RetainUntilDate>2026-01-03T12:00:00Z</RetainUntilDate></Retention>`
	const batch = `<Delete><Object><Key>a/1</Key><VersionId>v</VersionId></Object><Object><Key>a/2</Key></Object></Delete>`
	for _, c := range []struct{ request, headers, body, want string }{
		{"GET /b/a/1", "", "", "b: s3:GetObject a/1"},
		{"GET /b/a/1?versionId=v&x-id=GetObject", "X-Amz-Checksum-Mode: ENABLED", "", "b: s3:GetObjectVersion a/1"},
		{"HEAD /b/a/1", "", "", "b: s3:GetObject a/1"},
		{"HEAD /b/a/1?versionId=v", "", "", "b: s3:GetObjectVersion a/1"},
		{"GET /b/a/%C3%A4%20b", "", "", "b: s3:GetObject a/ä b"},
		{"GET /b/a/1?retention&versionId=v", "", "", "b: s3:GetObjectRetention a/1"},
		{"GET /b/a/1?response-content-type=text/html", "", "", unknown},
		{"GET /b/a/1?partNumber=1", "", "", unknown},
		{"GET /b/a/1?tagging", "", "", unknown},
		{"GET /b/a/1?acl&retention", "", "", unknown},
		{"GET /b/a/1?versionId=v&versionId=w", "", "", unknown},
		{"GET /b/a/1?a=%zz", "", "", unknown},
		{"GET /b/a/../c/1", "", "", unknown},
		{"GET /b/a/%2e%2e/c", "", "", unknown},
		{"GET /b/a/%252e%252e/c", "", "", unknown},
		{"GET /b/a//1", "", "", unknown},
		{"GET /b/a/%5C1", "", "", unknown},
		{"GET /b/a/%001", "", "", unknown},
		{"GET /", "", "", unknown},
		{"PUT /b/a/1", "", "", "b: s3:PutObject a/1"},
		{"PUT /b/a/1", "X-Amz-Meta-X: 1|X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER|X-Amz-Trailer: x-amz-checksum-sha256", "", "b: s3:PutObject a/1"},
		{"PUT /b/a/1", "X-Amz-Tagging: tenant=acme", "", "b: s3:PutObject a/1 RequestObjectTag/tenant=acme; s3:PutObjectTagging a/1 RequestObjectTag/tenant=acme"},
		{"PUT /b/a/1", "X-Amz-Tagging: tenant=acme&tenant=globex", "", "b: s3:PutObject a/1; s3:PutObjectTagging a/1"},
		{"PUT /b/a/1", "X-Amz-Tagging: tenant=acme|X-Amz-Tagging: tenant=globex", "", unknown},
		{"PUT /b/a/1", "X-Amz-Tagging: %zz", "", unknown},
		{"PUT /b/a/1", "X-Amz-Tagging: tenant=acme|Connection: close, x-Amz-tagging", "", unknown},
		{"PUT /b/a/1", "X-Amz-Object-Lock-Mode: COMPLIANCE|X-Amz-Object-Lock-Retain-Until-Date: 2026-01-02T12:00:01Z", "",
			"b: s3:PutObject a/1 object-lock-mode=COMPLIANCE object-lock-remaining-retention-days=2; s3:PutObjectRetention a/1 object-lock-mode=COMPLIANCE object-lock-remaining-retention-days=2"},
		{"PUT /b/a/1", "X-Amz-Object-Lock-Mode: COMPLIANCE|X-Amz-Object-Lock-Retain-Until-Date: tomorrow", "", unknown},
		{"PUT /b/a/1", "X-Amz-Object-Lock-Legal-Hold: ON", "", unknown},
		{"PUT /b/a/1", "X-Amz-Acl: public-read", "", unknown},
		{"PUT /b/a/1", "X-Amz-Grant-Read: id=x", "", unknown},
		{"PUT /b/a/1", "X-Amz-Copy-Source: /b/c/1", "", unknown},
		{"PUT /b/a/1", "X-Amz-Website-Redirect-Location: /x", "", unknown},
		{"PUT /b/a/1?versionId=v", "", "", unknown},
		{"PUT /b/a/1?partNumber=1&uploadId=u", "", "", unknown},
		{"POST /b/a/1?uploads", "", "", unknown},
		{"PUT /b/a/1?retention&versionId=v", "", retention, "b: s3:PutObjectRetention a/1 object-lock-mode=COMPLIANCE object-lock-remaining-retention-days=2"},
		{"PUT /b/a/1?retention", "X-Amz-Bypass-Governance-Retention: true", retention,
			"b: s3:PutObjectRetention a/1 object-lock-mode=COMPLIANCE object-lock-remaining-retention-days=2; s3:BypassGovernanceRetention a/1"},
		{"PUT /b/a/1?retention", "", "<Other/>", unknown},
		{"PUT /b/a/1?retention", "X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", retention, unknown},
		{"PUT /b/a/1?retention", "Content-Encoding: aws-chunked", retention, unknown},
		{"PUT /b/a/1?retention", "", "<Retention>" + strings.Repeat(" ", maxXML) + "</Retention>", unknown},
		{"DELETE /b/a/1", "", "", "b: s3:DeleteObject a/1"},
		{"DELETE /b/a/1?versionId=v", "", "", "b: s3:DeleteObjectVersion a/1"},
		{"DELETE /b/a/1?versionId=v", "X-Amz-Bypass-Governance-Retention: true", "", "b: s3:DeleteObjectVersion a/1; s3:BypassGovernanceRetention a/1"},
		{"DELETE /b/a/1?tagging", "", "", unknown},
		{"POST /b?delete", "", batch, "b: s3:DeleteObjectVersion a/1; s3:DeleteObject a/2"},
		{"POST /b/?delete", "X-Amz-Bypass-Governance-Retention: true", batch, "b: s3:DeleteObjectVersion a/1; s3:DeleteObject a/2; s3:BypassGovernanceRetention a/1; s3:BypassGovernanceRetention a/2"},
		{"POST /b?delete", "", "<Delete></Delete>", unknown},
		{"POST /b?delete", "", "<Delete>" + strings.Repeat("<Object><Key>a</Key></Object>", 1001) + "</Delete>", unknown},
		{"POST /b?delete", "", "<Delete><Object><Key>a/../b</Key></Object></Delete>", unknown},
		{"POST /b?delete", "", "<Delete><Object/></Delete>", unknown},
		{"GET /b", "", "", "b: s3:ListBucket"},
		{"GET /b?list-type=2&prefix=a%2F&max-keys=1", "", "", "b: s3:ListBucket prefix=a/"},
		{"GET /b?versions&prefix=a%2F&key-marker=x", "", "", "b: s3:ListBucketVersions prefix=a/"},
		{"GET /b?versions&prefix=a&prefix=b", "", "", unknown},
		{"GET /b?versions", "", "", "b: s3:ListBucketVersions"},
		{"GET /b?uploads", "", "", unknown},
		{"GET /b?versionId=v", "", "", unknown},
		{"HEAD /b", "", "", "b: s3:ListBucket"},
		{"GET /b?versioning", "", "", "b: s3:GetBucketVersioning"},
		{"GET /b?object-lock", "", "", "b: s3:GetBucketObjectLockConfiguration"},
		{"PUT /b", "", "", "b: s3:CreateBucket"},
		{"PUT /b?policy", "", "{}", "b: s3:PutBucketPolicy"},
		{"PUT /b?lifecycle", "", "", "b: s3:PutLifecycleConfiguration"},
		{"PUT /b?cors", "", "", unknown},
		{"POST /b", "", "", unknown},
		{"OPTIONS /b/a/1", "", "", unknown},
	} {
		method, target, _ := strings.Cut(c.request, " ")
		r := httptest.NewRequest(method, "http://127.0.0.1"+strings.ReplaceAll(target, "%zz", "x"), strings.NewReader(c.body))
		if strings.Contains(target, "%zz") {
			r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "x", "%zz")
		}
		for header := range strings.SplitSeq(c.headers, "|") {
			if name, value, ok := strings.Cut(header, ": "); ok {
				r.Header.Add(name, value)
			}
		}
		a, err := readS3(r, noon)
		got := unknown
		if err == nil {
			got = said(a)
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.request, c.headers, got, c.want)
		}
		if err == nil {
			if rest, _ := io.ReadAll(r.Body); string(rest) != c.body {
				t.Errorf("%s: the body behind is %q", c.request, rest)
			}
		}
	}
}

func TestPoliciesCanSpeakOfEachActionThatARequestAsks(t *testing.T) {
	t.Parallel()
	names := slices.Collect(maps.Values(bucketActions))
	names = append(names, "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectRetention", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention")
	for _, name := range names {
		if !awspolicy.KnownAction(name) {
			t.Errorf("no policy can speak of %s", name)
		}
	}
}

// FuzzReadS3: nothing panics, and what is understood is about one bucket and keys without steps.
func FuzzReadS3(f *testing.F) {
	f.Add("PUT", "/b/a/1", "retention", "tenant=acme", "<Retention/>")
	f.Add("POST", "/b", "delete", "", "<Delete><Object><Key>a</Key></Object></Delete>")
	f.Add("GET", "/b/%2e%2e", "versions&prefix=a", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, tags, body string) {
		r := &http.Request{Method: method, Header: http.Header{headerTags: {tags}}, Body: io.NopCloser(strings.NewReader(body))}
		r.URL = httptest.NewRequest(http.MethodGet, "/", nil).URL
		r.URL.Path, r.URL.RawQuery = path, query
		a, err := readS3(r, noon)
		if err != nil {
			return
		}
		if a.bucket == "" || strings.Contains(a.bucket, "/") || len(a.operations) == 0 {
			t.Errorf("%s %s?%s is understood as %s", method, path, query, said(a))
		}
		for _, o := range a.operations {
			if !awspolicy.KnownAction(o.action) || !plainKey(o.key) {
				t.Errorf("%s %s?%s is understood as %s", method, path, query, said(a))
			}
		}
	})
}
