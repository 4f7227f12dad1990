// Package kms is the key management service of the local development stack.
//
// It speaks the protocol of AWS KMS (AWS JSON 1.1 over HTTP, requests signed
// with Signature Version 4), so that the product's own AWS client works
// against it unchanged. Keys are real and survive a restart. They lie
// unencrypted on disk in files that only their owner may read: good for
// development, never for production.
//
// What isn't served is refused, not ignored: an unknown request member, a key
// policy or a grant token is an error, because a caller who sends one counts
// on its effect.
package kms

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	// maxRequestBytes bounds a request's body. The largest legal request is
	// an Encrypt with 4,096 bytes and an 8 KiB context, in base64.
	maxRequestBytes = 64 << 10
	// contentType is the media type of AWS JSON 1.1, both ways.
	contentType = "application/x-amz-json-1.1"
	// Account is the account number in each ARN of the local stack.
	Account = "000000000000"
	// targetPrefix is the name of the KMS service in X-Amz-Target.
	targetPrefix = "TrentService."
	// callsPath answers the counters.
	callsPath = "/_countersign/calls"
)

// Credential is one principal that may reach the service.
//
// An Admin may do everything. Anyone else may only use keys whose tag
// "tenant" equals Tenant, and may not manage them. A credential without
// Tenant that isn't Admin is known, but may do nothing.
//
// OpensAlone is of one that may do no more with these keys than Decrypt.
//
// AnyTenant lets it use every tenant's keys. It is for tests of what else keeps
// tenants apart, and for nothing else.
type Credential struct {
	AccessKeyID, SecretAccessKey, Tenant string
	Admin, AnyTenant, OpensAlone         bool
}

// Service is a KMS for one region. It is safe for concurrent use.
// Create one with Open and end it with Close.
type Service struct {
	region      string
	credentials map[string]Credential
	store       *store
	calls       map[string]*atomic.Int64
	now         func() time.Time
}

// Open reads the keys below dir, which it creates if need be and makes
// private to its owner (mode 0700). One Service at a time may have dir open.
//
// Each credential needs an AccessKeyID of its own and a SecretAccessKey.
func Open(dir, region string, credentials []Credential) (*Service, error) {
	if region == "" || strings.ContainsAny(region, "/: ") {
		return nil, fmt.Errorf("couldn't open the KMS: %q is not the name of a region", region)
	}
	s := &Service{
		region:      region,
		credentials: make(map[string]Credential, len(credentials)),
		calls:       make(map[string]*atomic.Int64, len(operations)),
		now:         time.Now,
	}
	for _, c := range credentials {
		if !accessKeyPattern.MatchString(c.AccessKeyID) || c.SecretAccessKey == "" {
			return nil, fmt.Errorf("couldn't open the KMS: credential %q needs an access key id of letters, digits, '_' or '-' (128 at most) and a secret", c.AccessKeyID)
		}
		if _, double := s.credentials[c.AccessKeyID]; double {
			return nil, fmt.Errorf("couldn't open the KMS: two credentials have the access key id %q", c.AccessKeyID)
		}
		s.credentials[c.AccessKeyID] = c
	}
	for name := range operations {
		s.calls[name] = new(atomic.Int64)
	}
	st, err := openStore(dir, s.now())
	if err != nil {
		return nil, fmt.Errorf("couldn't open the KMS: %w", err)
	}
	s.store = st
	return s, nil
}

// Close lets go of the directory. Calls after Close fail.
func (s *Service) Close() error { return s.store.close() }

// ServeHTTP answers one KMS call, or, without authentication, the counters at
// GET /_countersign/calls: a JSON object with the number of authenticated
// calls of each operation since Open, failed ones included.
//
// It bounds the body but not the time: the http.Server in front must set its
// timeouts.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-RequestId", uuid.NewString())
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Path == callsPath {
		s.serveCalls(w, r)
		return
	}
	answer, err := s.serve(w, r)
	if err != nil {
		writeError(w, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		writeError(w, fmt.Errorf("couldn't write the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", contentType)
	if string(body) == "null" {
		return // AWS answers operations without output with an empty body
	}
	_, _ = w.Write(body) // a caller who hung up can't be told
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != "" {
		return nil, fail("UnknownOperationException", "KMS takes POST requests to / without a query")
	}
	claim, err := s.claim(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, failStatus(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "a request has at most %d bytes", maxRequestBytes)
		}
		return nil, fail("SerializationException", "the request's body ended early")
	}
	if err := claim.verify(r, body); err != nil {
		return nil, err
	}
	if r.Header.Get("Content-Type") != contentType {
		return nil, fail("SerializationException", "the content type must be %s", contentType)
	}
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	op, known := operations[name]
	if !ok || !known {
		return nil, fail("UnknownOperationException", "X-Amz-Target doesn't name an operation that this KMS serves")
	}
	s.calls[name].Add(1)
	call := &call{Service: s, caller: claim.credential, operation: name}
	if !call.caller.Admin && (call.caller.Tenant == "" || !op.forTenants) {
		return nil, call.denied()
	}
	return op.run(call, body)
}

func (s *Service) serveCalls(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "the counters are for GET", http.StatusMethodNotAllowed)
		return
	}
	counts := make(map[string]int64, len(s.calls))
	for name, n := range s.calls {
		counts[name] = n.Load()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts) // a caller who hung up can't be told
}

// writeError answers in AWS's shape. What isn't a *failure is a fault of
// ours: it goes to the log, the caller learns only that it happened.
func writeError(w http.ResponseWriter, err error) {
	var f *failure
	if !errors.As(err, &f) {
		slog.Error("kms: internal failure", "requestId", w.Header().Get("X-Amzn-RequestId"), "error", err)
		f = failStatus(http.StatusInternalServerError, "KMSInternalException", "an internal error; see the log of the local stack")
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(f) // a caller who hung up can't be told
}
