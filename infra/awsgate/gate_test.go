package awsgate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	awsfiles "github.com/countersign-dev/countersign/infra/aws"
)

func config() Config {
	return Config{
		Callers: []Caller{
			{AccessKeyID: "ROOT", SecretAccessKey: "r", Root: true},
			{AccessKeyID: "ACMEWORKER", SecretAccessKey: "w", Tenant: "acme", Process: Worker},
			{AccessKeyID: "ACMESTARTER", SecretAccessKey: "s", Tenant: "acme", Process: Starter},
			{AccessKeyID: "GLOBEXWORKER", SecretAccessKey: "g", Tenant: "globex", Process: Worker},
		},
		Account: "000000000000", Region: "eu-central-1", Documents: "documents", Evidence: "evidence", MinimumRetentionDays: 1, PlainHTTPFrom: "127.0.0.0/8",
	}
}

func open(t *testing.T, c Config) *Gate {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// spoiled is infra/aws with one text of one file replaced.
func spoiled(t *testing.T, name, old, new string) fs.FS {
	t.Helper()
	all := fstest.MapFS{}
	names, err := fs.Glob(awsfiles.Files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range names {
		text, err := awsfiles.Files.ReadFile(each)
		if err != nil {
			t.Fatal(err)
		}
		if each == name {
			if !bytes.Contains(text, []byte(old)) {
				t.Fatalf("%q isn't in %s", old, name)
			}
			text = bytes.Replace(text, []byte(old), []byte(new), 1)
		}
		all[each] = &fstest.MapFile{Data: text}
	}
	return all
}

func TestR10_AGateThatDoesNotUnderstandItsPoliciesDoesNotOpen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"an element": {func(c *Config) { c.Files = spoiled(t, awsfiles.Key, `"Effect"`, `"NotPrincipal": "*", "Effect"`) }, `key.json:6: the element "NotPrincipal" isn't known`},
		"an operator": {func(c *Config) {
			c.Files = spoiled(t, awsfiles.EvidenceBucket, "NumericLessThan", "NumericLessThanEquals")
		}, `the operator "NumericLessThanEquals" isn't known`},
		"a variable":     {func(c *Config) { c.Files = spoiled(t, awsfiles.WorkerRole, "${documents_bucket}", "${bucket}") }, "worker-role.json:8: no value is given for ${bucket}"},
		"another tenant": {func(c *Config) { c.Files = spoiled(t, awsfiles.RoleTrust, "${tenant}", "initech") }, "may not take the role"},
		"more tags": {func(c *Config) {
			c.Files = spoiled(t, awsfiles.RoleTrust, `"aws:TagKeys": "tenant"`, `"aws:TagKeys": "role"`)
		}, "may not take the role"},
		"no file":       {func(c *Config) { c.Files = fstest.MapFS{} }, "file does not exist"},
		"no process":    {func(c *Config) { c.Callers[1].Process = "auditor" }, `there is no role for the process "auditor"`},
		"a wild tenant": {func(c *Config) { c.Callers[1].Tenant = "*" }, "the value of ${tenant} must be"},
		"one key twice": {func(c *Config) { c.Callers[1].AccessKeyID = "ROOT" }, "an access key of its own"},
		"no secret":     {func(c *Config) { c.Callers[1].SecretAccessKey = "" }, "and a secret"},
		"no network":    {func(c *Config) { c.PlainHTTPFrom = "everywhere" }, "CIDR"},
	} {
		changed := config()
		c.change(&changed)
		if _, err := New(changed); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// behind is what came through a gate for S3.
type behind struct {
	*httptest.Server
	last *http.Request
	body []byte
}

// gated is a gate before a store that answers everything with the given status.
func gated(t *testing.T, status int) (*behind, string) {
	t.Helper()
	b := &behind{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.last = r.Clone(context.Background())
		b.body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Amz-Version-Id", "v1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "from the store")
	}))
	handler, err := open(t, config()).S3(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	gate := httptest.NewServer(handler)
	t.Cleanup(func() { gate.Close(); b.Close() })
	return b, gate.URL
}

func client(endpoint, id, secret string) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: aws.String(endpoint), Region: "eu-central-1", UsePathStyle: true, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(id, secret, "")})
}

func TestWhatIsAllowedPassesUnchanged(t *testing.T) {
	t.Parallel()
	b, gate := gated(t, http.StatusOK)
	body := bytes.Repeat([]byte("0123456789"), 300_000) // more than any buffer on the way
	out, err := client(gate, "ACMESTARTER", "s").PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("documents"), Key: aws.String("acme/documents/ä +1.pdf"), Body: bytes.NewReader(body), Tagging: aws.String("tenant=acme"),
	})
	if err != nil || aws.ToString(out.VersionId) != "v1" {
		t.Fatal(out, err)
	}
	if host := strings.TrimPrefix(gate, "http://"); b.last.Host != host || !bytes.Equal(b.body, body) || b.last.URL.EscapedPath() != "/documents/acme/documents/%C3%A4%20%2B1.pdf" {
		t.Errorf("the store got %s %s with %d bytes; the signature covers the host %s", b.last.Host, b.last.URL.EscapedPath(), len(b.body), host)
	}
	for name := range b.last.Header {
		if strings.HasPrefix(name, "X-Forwarded") {
			t.Errorf("the gate added %s", name)
		}
	}
}

// sent signs a request as somebody, changes it afterwards, and sends it.
func sent(t *testing.T, method, target, id, secret, hash string, header http.Header, afterwards func(*http.Request)) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, r, hash, "s3", "eu-central-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if afterwards != nil {
		afterwards(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

const unsigned = "UNSIGNED-PAYLOAD"

// TestR10_NothingPassesWithoutASoundSignature: the gate doesn't rely on the store behind to find out who asks.
func TestR10_NothingPassesWithoutASoundSignature(t *testing.T) {
	t.Parallel()
	b, gate := gated(t, http.StatusOK)
	target := gate + "/documents/acme/documents/1.pdf?versionId=v"
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		id, secret string
		afterwards func(*http.Request)
		code       string // none: it passes
	}{
		"sound":                     {"ACMEWORKER", "w", nil, ""},
		"another's secret":          {"ACMEWORKER", "g", nil, "SignatureDoesNotMatch"},
		"the root's key id":         {"ROOT", "w", nil, "SignatureDoesNotMatch"},
		"nobody's key":              {"STRANGER", "w", nil, "InvalidAccessKeyId"},
		"no signature":              {"ACMEWORKER", "w", func(r *http.Request) { r.Header.Del("Authorization") }, "AccessDenied"},
		"two signatures":            {"ACMEWORKER", "w", func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "AuthorizationHeaderMalformed"},
		"another object":            {"ACMEWORKER", "w", func(r *http.Request) { r.URL.Path += "x" }, "SignatureDoesNotMatch"},
		"another version":           {"ACMEWORKER", "w", func(r *http.Request) { r.URL.RawQuery = "versionId=w" }, "SignatureDoesNotMatch"},
		"another method":            {"ACMEWORKER", "w", func(r *http.Request) { r.Method = http.MethodDelete }, "SignatureDoesNotMatch"},
		"another host":              {"ACMEWORKER", "w", func(r *http.Request) { r.Host = "s3.example" }, "SignatureDoesNotMatch"},
		"another payload":           {"ACMEWORKER", "w", set("X-Amz-Content-Sha256", strings.Repeat("0", 64)), "SignatureDoesNotMatch"},
		"an unsigned header of AWS": {"ACMEWORKER", "w", set("X-Amz-Bypass-Governance-Retention", "true"), "AuthorizationHeaderMalformed"},
		"a session token":           {"ACMEWORKER", "w", set("X-Amz-Security-Token", "x"), "AuthorizationHeaderMalformed"},
		"another day":               {"ACMEWORKER", "w", set("X-Amz-Date", "20200101T000000Z"), "AuthorizationHeaderMalformed"},
		"a signature of the query":  {"ACMEWORKER", "w", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Algorithm=AWS4-HMAC-SHA256" }, "AuthorizationHeaderMalformed"},
		"a header that isn't AWS's": {"ACMEWORKER", "w", set("Authorization", "Bearer x"), "AuthorizationHeaderMalformed"},
	} {
		b.last = nil
		response := sent(t, http.MethodGet, target, c.id, c.secret, unsigned, nil, c.afterwards)
		var told struct{ Code string }
		if c.code != "" {
			if err := xml.NewDecoder(response.Body).Decode(&told); err != nil || response.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s (%v)", name, response.Status, err)
			}
		}
		if told.Code != c.code || (b.last == nil) != (c.code != "") {
			t.Errorf("%s: %s %q, came through: %v", name, response.Status, told.Code, b.last != nil)
		}
	}
}

func TestR10_TheStoreSeesNothingThatWasRefused(t *testing.T) {
	t.Parallel()
	b, gate := gated(t, http.StatusOK)
	for name, c := range map[string]struct{ id, secret, method, target, by string }{
		"another tenant":    {"ACMEWORKER", "w", "GET", "/documents/globex/documents/1.pdf?versionId=v", "documents-bucket.json OwnPrefixOnly"},
		"another bucket":    {"ACMEWORKER", "w", "GET", "/other/acme/documents/1.pdf?versionId=v", "no statement allows it"},
		"another process":   {"ACMESTARTER", "s", "GET", "/documents/acme/withheld/1/document.p7s?versionId=v", "no statement allows it"},
		"what isn't known":  {"ACMEWORKER", "w", "GET", "/documents/acme/documents/1.pdf?torrent", errUnknown.Error()},
		"a step upwards":    {"ACMEWORKER", "w", "GET", "/documents/acme/%2e%2e/globex/1.pdf?versionId=v", errUnknown.Error()},
		"the list of all":   {"ACMEWORKER", "w", "GET", "/", errUnknown.Error()},
		"evidence deleted":  {"ACMEWORKER", "w", "DELETE", "/evidence/acme/evidence/1.asice?versionId=v", "evidence-bucket.json NobodyDeletes"},
		"a new bucket":      {"ACMEWORKER", "w", "PUT", "/other", "no statement allows it"},
		"the bucket's rule": {"ACMEWORKER", "w", "PUT", "/documents?lifecycle", "documents-bucket.json NoProcessChangesTheBucket"},
	} {
		response := sent(t, c.method, gate+c.target, c.id, c.secret, unsigned, nil, nil)
		body, _ := io.ReadAll(response.Body)
		if by := response.Header.Get(DeniedBy); response.StatusCode != http.StatusForbidden || by != c.by || b.last != nil || !bytes.Contains(body, []byte("<Code>AccessDenied</Code>")) {
			t.Errorf("%s: %s by %q, came through: %v; want %q\n%s", name, response.Status, by, b.last != nil, c.by, body)
		}
	}
	// A request that asks for two actions needs both: the first alone is allowed.
	response := sent(t, "DELETE", gate+"/documents/acme/withheld/1/document.p7s?versionId=v", "ACMEWORKER", "w", unsigned, http.Header{"X-Amz-Bypass-Governance-Retention": {"true"}}, nil)
	if response.StatusCode != http.StatusForbidden || b.last != nil {
		t.Errorf("a bypass beside what is allowed: %s", response.Status)
	}
	if sent(t, "DELETE", gate+"/documents/acme/withheld/1/document.p7s?versionId=v", "ACMEWORKER", "w", unsigned, nil, nil); b.last == nil {
		t.Error("without the bypass it doesn't pass either")
	}
	b.last = nil
	if sent(t, "DELETE", gate+"/evidence/acme/evidence/1.asice?versionId=v", "ROOT", "r", unsigned, nil, nil); b.last == nil {
		t.Error("the root of the account is held by policies")
	}
}

func TestWhatIsNotThereIsHiddenFromWhoMayNotList(t *testing.T) {
	t.Parallel()
	_, gate := gated(t, http.StatusNotFound)
	for _, c := range []struct {
		id, secret, method, target string
		status                     int
	}{
		{"ACMEWORKER", "w", "GET", "/documents/acme/documents/1.pdf?versionId=v", http.StatusForbidden},
		{"ACMEWORKER", "w", "HEAD", "/documents/acme/withheld/1/document.p7s", http.StatusForbidden},
		{"ACMEWORKER", "w", "GET", "/evidence/acme/evidence/1.asice?retention&versionId=v", http.StatusNotFound}, // it has no lock
		{"ACMEWORKER", "w", "GET", "/evidence?object-lock", http.StatusNotFound},
		{"ROOT", "r", "GET", "/documents/acme/documents/1.pdf?versionId=v", http.StatusNotFound},
	} {
		response := sent(t, c.method, gate+c.target, c.id, c.secret, unsigned, nil, nil)
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != c.status || c.status == http.StatusForbidden && strings.Contains(string(body), "from the store") {
			t.Errorf("%s %s: %s %s, want %d", c.method, c.target, response.Status, body, c.status)
		}
	}
}

func TestAStoreThatIsDownIsSaidSo(t *testing.T) {
	t.Parallel()
	b, gate := gated(t, http.StatusOK)
	b.Close()
	response := sent(t, http.MethodGet, gate+"/documents?versioning", "ACMEWORKER", "w", unsigned, nil, nil)
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get(DeniedBy) != "" {
		t.Errorf("%s", response.Status)
	}
}

// ring is the keys of a service.
type ring map[string]map[string]string

func (r ring) Find(id string) (string, map[string]string, bool) {
	tags, found := r[id]
	return "arn:aws:kms:eu-central-1:000000000000:key/" + id, tags, found
}

func TestR10_TheKeyServiceSeesNothingThatWasRefused(t *testing.T) {
	t.Parallel()
	var through []byte
	gate := open(t, config()).KMS(ring{"a": {"tenant": "acme"}, "g": {"tenant": "globex"}, "untagged": {}, "stranger": {"tenant": "initech"}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through, _ = io.ReadAll(r.Body)
	}))
	const sign = `"MessageType":"DIGEST","SigningAlgorithm":"ECDSA_SHA_256","Message":"AA=="`
	for name, c := range map[string]struct{ id, secret, operation, body, code, by string }{
		"sign":                      {"ACMEWORKER", "w", "Sign", `{"KeyId":"a",` + sign + `}`, "", ""},
		"describe":                  {"ACMEWORKER", "w", "DescribeKey", `{"KeyId":"a"}`, "", ""},
		"the root":                  {"ROOT", "r", "CreateKey", `{}`, "", ""},
		"another's key":             {"ACMEWORKER", "w", "Sign", `{"KeyId":"g",` + sign + `}`, "AccessDeniedException", "no statement allows it"},
		"another's, named last":     {"ACMEWORKER", "w", "Sign", `{"KeyId":"a","keyid":"g",` + sign + `}`, "AccessDeniedException", "no statement allows it"},
		"a key without tenant":      {"ACMEWORKER", "w", "DescribeKey", `{"KeyId":"untagged"}`, "AccessDeniedException", "no statement allows it"},
		"a key of nobody":           {"ACMEWORKER", "w", "DescribeKey", `{"KeyId":"stranger"}`, "AccessDeniedException", "no statement allows it"},
		"no such key":               {"ACMEWORKER", "w", "DescribeKey", `{"KeyId":"x"}`, "AccessDeniedException", "no statement allows it"},
		"a message":                 {"ACMEWORKER", "w", "Sign", `{"KeyId":"a","SigningAlgorithm":"ECDSA_SHA_256","Message":"AA=="}`, "AccessDeniedException", "no statement allows it"},
		"another algorithm":         {"ACMEWORKER", "w", "Sign", `{"KeyId":"a","MessageType":"DIGEST","SigningAlgorithm":"RSASSA_PSS_SHA_256"}`, "AccessDeniedException", "no statement allows it"},
		"management":                {"ACMEWORKER", "w", "DisableKey", `{"KeyId":"a"}`, "AccessDeniedException", "key.json NoProcessManagesKeys"},
		"an action without a name":  {"ACMEWORKER", "w", "CreateGrant", `{"KeyId":"a"}`, "AccessDeniedException", errUnknown.Error()},
		"no key":                    {"ACMEWORKER", "w", "Sign", `{}`, "AccessDeniedException", errUnknown.Error()},
		"what isn't JSON":           {"ACMEWORKER", "w", "Sign", `{"KeyId":"a"`, "AccessDeniedException", errUnknown.Error()},
		"the API":                   {"ACMESTARTER", "s", "Sign", `{"KeyId":"a",` + sign + `}`, "AccessDeniedException", "no statement allows it"},
		"a wrong secret":            {"ACMEWORKER", "x", "Sign", `{"KeyId":"a",` + sign + `}`, "InvalidSignatureException", ""},
		"nobody's key":              {"STRANGER", "x", "Sign", `{"KeyId":"a",` + sign + `}`, "UnrecognizedClientException", ""},
		"more than the service has": {"ACMEWORKER", "w", "Sign", `{"KeyId":"a","Message":"` + strings.Repeat("A", maxKMSRequest) + `"}`, "SerializationException", ""},
	} {
		through = nil
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(c.body))
		r.Header.Set("X-Amz-Target", kmsTarget+c.operation)
		sum := sha(c.body)
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: c.id, SecretAccessKey: c.secret}, r, sum, "kms", "eu-central-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		gate.ServeHTTP(w, r)
		var told struct {
			Type string `json:"__type"`
		}
		if c.code != "" {
			if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || w.Code != http.StatusBadRequest {
				t.Errorf("%s: %d %s (%v)", name, w.Code, w.Body, err)
			}
		}
		if by := w.Header().Get(DeniedBy); told.Type != c.code || by != c.by || (c.code == "") != (string(through) == c.body) {
			t.Errorf("%s: %q by %q, came through: %q; want %q by %q", name, told.Type, by, through, c.code, c.by)
		}
	}
	through = nil
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(`{"KeyId":"a"}`))
	gate.ServeHTTP(httptest.NewRecorder(), r)
	if through != nil {
		t.Error("an unsigned request came through")
	}
}

// TestPlainHTTPIsRefusedFromElsewhere asks with the address of another machine: without TLS that is refused, whoever asks for what.
func TestPlainHTTPIsRefusedFromElsewhere(t *testing.T) {
	t.Parallel()
	g := open(t, config())
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/documents?versioning", nil)
	for address, allowed := range map[string]bool{"127.0.0.1:5000": true, "192.0.2.1:5000": false, "nowhere": false} {
		r.RemoteAddr = address
		d := g.judgeS3(g.callers["ACMEWORKER"], r, "documents", operation{action: "s3:GetBucketVersioning"})
		if d.Allowed != allowed || !allowed && d.By != "documents-bucket.json NoPlainHTTP" {
			t.Errorf("from %s: %+v", address, d)
		}
	}
}

func sha(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}
