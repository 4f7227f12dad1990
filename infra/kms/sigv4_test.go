package kms

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/countersign-dev/countersign/infra/sigv4"
)

// forged is one request and how it is signed; a test spoils one part.
type forged struct {
	accessKeyID, secret, token string
	region, service            string
	at                         time.Time
	body                       string
	target                     string
	afterwards                 func(*http.Request) // changes the signed request
}

func newForged() forged {
	return forged{accessKeyID: testAdmin, secret: testSecret, region: testRegion, service: "kms", at: time.Now(), body: `{"KeySpec":"SYMMETRIC_DEFAULT"}`, target: targetPrefix + "CreateKey"}
}

// send signs the request as asked and returns status and error type.
func (f forged) send(t *testing.T, h http.Handler) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(f.body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", f.target)
	sum := sha256.Sum256([]byte(f.body))
	c := aws.Credentials{AccessKeyID: f.accessKeyID, SecretAccessKey: f.secret, SessionToken: f.token}
	if err := v4.NewSigner().SignHTTP(t.Context(), c, r, hex.EncodeToString(sum[:]), f.service, f.region, f.at); err != nil {
		t.Fatal(err)
	}
	if f.afterwards != nil {
		f.afterwards(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer failure
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("the answer isn't JSON: %v", err)
	}
	if got := w.Header().Get("Content-Type"); got != contentType {
		t.Errorf("content type %q", got)
	}
	if strings.Contains(w.Body.String(), testSecret) {
		t.Error("the answer has the secret in it")
	}
	return w.Code, answer.Type
}

func TestOnlyASoundSignatureIsAccepted(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	change := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			header := r.Header.Get("Authorization")
			if !strings.Contains(header, old) {
				t.Errorf("%q isn't in the header", old)
			}
			r.Header.Set("Authorization", strings.Replace(header, old, new, 1))
		}
	}
	const mismatch, incomplete, unknown = "InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException"
	for name, c := range map[string]struct {
		spoil  func(*forged)
		status int
		want   string
	}{
		"sound":                  {func(*forged) {}, 200, ""},
		"sound, 4 minutes late":  {func(f *forged) { f.at = f.at.Add(-4 * time.Minute) }, 200, ""},
		"sound, 4 minutes early": {func(f *forged) { f.at = f.at.Add(4 * time.Minute) }, 200, ""},
		"6 minutes late":         {func(f *forged) { f.at = f.at.Add(-6 * time.Minute) }, 400, mismatch},
		"6 minutes early":        {func(f *forged) { f.at = f.at.Add(6 * time.Minute) }, 400, mismatch},
		"wrong secret":           {func(f *forged) { f.secret += "x" }, 400, mismatch},
		"another's secret":       {func(f *forged) { f.accessKeyID = "ACME" }, 400, mismatch},
		"unknown access key":     {func(f *forged) { f.accessKeyID = "STRANGER" }, 400, unknown},
		"session token":          {func(f *forged) { f.token = "t" }, 400, unknown},
		"another region":         {func(f *forged) { f.region = "eu-west-1" }, 400, mismatch},
		"another service":        {func(f *forged) { f.service = "s3" }, 400, mismatch},
		"another body": {func(f *forged) {
			f.afterwards = func(r *http.Request) {
				r.Body = io.NopCloser(strings.NewReader(strings.Replace(f.body, "SYMM", "symm", 1)))
			}
		}, 400, mismatch},
		"another target": {func(f *forged) {
			f.afterwards = func(r *http.Request) { r.Header.Set("X-Amz-Target", targetPrefix+"ListKeys") }
		}, 400, mismatch},
		"a second target": {func(f *forged) {
			f.afterwards = func(r *http.Request) { r.Header.Add("X-Amz-Target", targetPrefix+"ListKeys") }
		}, 400, mismatch},
		"another host": {func(f *forged) { f.afterwards = func(r *http.Request) { r.Host = "kms.example" } }, 400, mismatch},
		"another date": {func(f *forged) {
			f.afterwards = func(r *http.Request) {
				r.Header.Set("X-Amz-Date", f.at.UTC().Add(time.Second).Format(sigv4.DateLayout))
			}
		}, 400, mismatch},
		"another day": {func(f *forged) { f.afterwards = change("/"+f.at.UTC().Format("20060102")+"/", "/20000101/") }, 400, mismatch},
		"false payload hash": {func(f *forged) {
			f.afterwards = func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) }
		}, 400, mismatch},
		"unsigned x-amz":    {func(f *forged) { f.afterwards = func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") } }, 400, mismatch},
		"target not signed": {func(f *forged) { f.afterwards = change(";x-amz-target", "") }, 400, mismatch},
		"host not signed":   {func(f *forged) { f.afterwards = change(";host;", ";") }, 400, mismatch},
		"zero signature": {func(f *forged) {
			f.afterwards = func(r *http.Request) {
				before, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
				r.Header.Set("Authorization", before+"Signature="+strings.Repeat("0", 64))
			}
		}, 400, mismatch},
		"short signature": {func(f *forged) { f.afterwards = change("Signature=", "Signature=0") }, 400, incomplete},
		"no signature":    {func(f *forged) { f.afterwards = func(r *http.Request) { r.Header.Del("Authorization") } }, 400, "MissingAuthenticationTokenException"},
		"two signatures": {func(f *forged) {
			f.afterwards = func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }
		}, 400, incomplete},
		"no date":          {func(f *forged) { f.afterwards = func(r *http.Request) { r.Header.Del("X-Amz-Date") } }, 400, incomplete},
		"broken date":      {func(f *forged) { f.afterwards = func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") } }, 400, incomplete},
		"bearer token":     {func(f *forged) { f.afterwards = func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") } }, 400, incomplete},
		"a query":          {func(f *forged) { f.afterwards = func(r *http.Request) { r.URL.RawQuery = "a=b" } }, 400, "UnknownOperationException"},
		"another path":     {func(f *forged) { f.afterwards = func(r *http.Request) { r.URL.Path = "/x" } }, 400, "UnknownOperationException"},
		"another method":   {func(f *forged) { f.afterwards = func(r *http.Request) { r.Method = http.MethodPut } }, 400, "UnknownOperationException"},
		"a large body":     {func(f *forged) { f.body = strings.Repeat(" ", maxRequestBytes+1) }, 413, "RequestEntityTooLargeException"},
		"no JSON":          {func(f *forged) { f.body = "KeySpec" }, 400, "SerializationException"},
		"a JSON list":      {func(f *forged) { f.body = "[]" }, 400, "SerializationException"},
		"two JSON objects": {func(f *forged) { f.body += "{}" }, 400, "SerializationException"},
		"unknown member":   {func(f *forged) { f.body = `{"Colour":"red"}` }, 400, "UnsupportedOperationException"},
		"unknown target":   {func(f *forged) { f.target = targetPrefix + "Ring" }, 400, "UnknownOperationException"},
		"another API":      {func(f *forged) { f.target = "Other.CreateKey" }, 400, "UnknownOperationException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForged()
			c.spoil(&f)
			if status, got := f.send(t, s.service); status != c.status || got != c.want {
				t.Errorf("got %d %s, want %d %s", status, got, c.status, c.want)
			}
		})
	}
}

// A forged request must not be counted, nor reach its operation.
func TestForgedRequestsAreNotCounted(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	f := newForged()
	f.secret = "wrong"
	f.send(t, s.service)
	if n := s.service.calls["CreateKey"].Load(); n != 0 || len(s.service.store.keys) != 0 {
		t.Errorf("%d calls, %d keys", n, len(s.service.store.keys))
	}
}

// Other clients than the SDK sign fewer or more headers.
func TestLengthMayBeSignedOrNot(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	for _, signed := range []bool{true, false} {
		f := newForged()
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(f.body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", f.target)
		length := r.ContentLength
		if !signed {
			r.ContentLength = 0
		}
		sum := sha256.Sum256([]byte(f.body))
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: f.accessKeyID, SecretAccessKey: f.secret}, r, hex.EncodeToString(sum[:]), "kms", testRegion, f.at); err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		w := httptest.NewRecorder()
		s.service.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("length signed %v: %s", signed, w.Body)
		}
	}
}

// FuzzRequest sends any body to any operation, as an admin and as a tenant:
// nothing may panic, fail inside or let the tenant manage keys.
func FuzzRequest(f *testing.F) {
	service, err := Open(f.TempDir(), testRegion, []Credential{{AccessKeyID: testAdmin, SecretAccessKey: testSecret, Admin: true}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = service.Close() })
	admin, tenant := Credential{AccessKeyID: testAdmin, Admin: true}, Credential{AccessKeyID: "ACME", Tenant: "acme"}
	f.Add("Sign", []byte(`{"KeyId":"alias/a","Message":"bQ==","MessageType":"RAW","SigningAlgorithm":"ECDSA_SHA_256"}`))
	f.Add("Decrypt", []byte(`{"CiphertextBlob":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`))
	f.Add("CreateAlias", []byte(`{"AliasName":"alias/a","TargetKeyId":"arn:aws:kms:eu-central-1:000000000000:key/x"}`))
	f.Add("ListKeys", []byte(`{"Limit":1,"Marker":"AA"}`))
	f.Add("TagResource", []byte(`{"KeyId":"x","Tags":[{"TagKey":"tenant","TagValue":"acme"}]}`))
	f.Add("ScheduleKeyDeletion", []byte(`{"KeyId":"x","PendingWindowInDays":7}`))
	f.Add("GenerateDataKey", []byte(`{"KeyId":"x","NumberOfBytes":32,"EncryptionContext":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		op, known := operations[name]
		// A key for each CreateKey would only fill the disk.
		if !known || name == "CreateKey" || len(body) > maxRequestBytes {
			return
		}
		for _, caller := range []Credential{admin, tenant} {
			answer, err := op.run(&call{Service: service, caller: caller, operation: name}, body)
			if _, told := err.(*failure); err != nil && !told {
				t.Errorf("%s fails inside: %v", name, err)
			}
			// The store is empty, so that nothing but an empty list can succeed.
			if err == nil && !bytes.HasPrefix([]byte(name), []byte("List")) {
				t.Errorf("%s succeeds without a key: %v", name, answer)
			}
		}
	})
}
