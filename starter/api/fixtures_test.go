package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rs/zerolog"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

// issuer is an identity provider as far as tokens go.
type issuer struct {
	url    string
	signer jose.Signer
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL, "jwks_uri": server.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(public) })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{server.URL, signer}
}

func (i *issuer) token(t *testing.T, subject string, change func(map[string]any)) string {
	t.Helper()
	claims := map[string]any{"iss": i.url, "sub": subject, "aud": "countersign", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	if change != nil {
		change(claims)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := i.signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

const tenantFile = `
tenant: acme
name: Acme Corporation
brand: {name: Acme, color: "#000000"}
owner: {name: Olivia, email: olivia@acme.example}
escalation: {name: Desk, email: desk@acme.example}
namespace: acme
issuers:
  - {id: acme, url: "%[1]s", kind: home, organisation: Acme, audience: countersign, evidenceAudience: countersign-evidence}
  - {id: hart, url: "%[2]s", kind: partner, organisation: Hart, audience: countersign, evidenceAudience: countersign-evidence}
people:
  - {issuer: acme, subject: alice, name: Alice, email: alice@acme.example, roles: [legal]}
  - {issuer: acme, subject: ben, name: Ben, email: ben@acme.example, roles: [requester]}
  - {issuer: acme, subject: olivia, name: Olivia, email: olivia@acme.example, roles: [compliance]}
  - {issuer: hart, subject: carol, name: Carol, email: carol@hart.example, roles: [counsel]}
  - {issuer: hart, subject: chris, name: Chris, email: chris@hart.example, roles: []}
machines:
  - {issuer: acme, subject: procurement, name: Procurement, roles: [requester]}
purposes:
  contract: {title: Contract, kind: consent, stages: [{name: legal, role: legal, quorum: 1, within: 72h}, {name: counsel, role: counsel, quorum: 1, within: 72h}]}
aws: {region: eu-central-1, workerProfile: w, starterProfile: s}
kms: {key: "arn:aws:kms:eu-central-1:000000000000:key/one", certificate: a.pem, roots: b.pem}
log: {key: "arn:aws:kms:eu-central-1:000000000000:key/two", publicKey: "countersign/acme+00000000+AA=="}
timestamp: {url: "http://127.0.0.1:1/", roots: c.pem}
documents: {bucket: documents, maxBytes: 40000}
evidence: {bucket: evidence, retention: 24h, releaseWithin: 1h}
mail: {smtp: "127.0.0.1:25", from: "signing@acme.example"}
`

// service is an API on a pipeline and objects of memory.
type service struct {
	t        *testing.T
	url      string
	server   *Server
	acme     *issuer
	hart     *issuer
	pipeline *memoryPipeline
	objects  *memoryObjects
	log      *lockedBuffer
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t, acme: newIssuer(t), hart: newIssuer(t), pipeline: newMemoryPipeline(), objects: &memoryObjects{stored: map[string][]byte{}}, log: &lockedBuffer{}}
	settings, err := countersign.ParseSettings("acme.yaml", fmt.Appendf(nil, tenantFile, s.acme.url, s.hart.url))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policy.NewEngine(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	s.server = newServer(map[string]*tenant{"acme": {
		settings: settings, registry: identity.NewRegistry(settings.Issuers), engine: engine, pipeline: s.pipeline, objects: s.objects, queries: make(chan struct{}, 2), cursors: []byte("a key for tests"),
	}}, zerolog.New(s.log))
	h := httptest.NewUnstartedServer(s.server.Handler())
	h.Config.MaxHeaderBytes = s.server.HTTP().MaxHeaderBytes
	h.Start()
	t.Cleanup(h.Close)
	t.Cleanup(s.server.Close)
	s.url = h.URL
	return s
}

func (s *service) token(who string) string {
	name, ok := strings.CutPrefix(who, "hart/")
	if ok {
		return s.hart.token(s.t, name, nil)
	}
	return s.acme.token(s.t, who, nil)
}

func (s *service) actor(who string) countersign.Actor {
	if name, ok := strings.CutPrefix(who, "hart/"); ok {
		return countersign.Actor{Issuer: s.hart.url, Subject: name}
	}
	return countersign.Actor{Issuer: s.acme.url, Subject: who}
}

// call makes one request; what comes back is the response, its body read.
func (s *service) call(method, path, token string, header http.Header, body []byte) (*http.Response, []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response, answer
}

// refusal wants a problem with a status and a code.
func (s *service) refusal(response *http.Response, body []byte, status int, code string) client.Problem {
	s.t.Helper()
	var p client.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		s.t.Fatalf("the answer is no JSON: %s", body)
	}
	if response.StatusCode != status || p.Code != code || p.Status != status || p.Detail == "" {
		s.t.Errorf("answered %d %s, want %d with code %s", response.StatusCode, body, status, code)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" {
		s.t.Errorf("the problem's type is %q", kind)
	}
	return p
}

var jsonBody = http.Header{"Content-Type": {"application/json"}}

func contract(t *testing.T) []byte {
	t.Helper()
	body, err := os.ReadFile("../../tests/testdata/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// memoryPipeline is Temporal with what was told to it.
type memoryPipeline struct {
	mu      sync.Mutex
	started map[string]countersign.Request
	by      map[string]countersign.Actor
	custody map[string]workflows.CustodyStatus
	endings []evidence.Ending // of what ended, by its place in ended
	ended   []ended
	sagas   map[string]workflows.Status
	kept    map[string]kept
	signals []signal
	broken  error
	checks  []client.CheckRun // that were triggered, the first first
	late    bool              // the schedule skips what is triggered
	skipped int
	created time.Time // the schedule
	paused  bool
	steps   chan func() // each lets the followed workflows do one step

	unreadable map[string]bool // custodians that were started with no request
}

type signal struct {
	request, name, bearer string
	payload               any
}

func newMemoryPipeline() *memoryPipeline {
	return &memoryPipeline{started: map[string]countersign.Request{}, by: map[string]countersign.Actor{}, custody: map[string]workflows.CustodyStatus{}, sagas: map[string]workflows.Status{}, steps: make(chan func()), kept: map[string]kept{}, unreadable: map[string]bool{}}
}

func (m *memoryPipeline) Close()                      {}
func (m *memoryPipeline) Check(context.Context) error { return m.broken }

func (m *memoryPipeline) Start(ctx context.Context, r countersign.Request, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.started[r.ID]; ok {
		return errExists
	}
	m.started[r.ID], m.by[r.ID] = r, callerOf(ctx).actor
	return m.broken
}

func (m *memoryPipeline) Beginning(_ context.Context, request string) (countersign.Request, countersign.Actor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.started[request]
	if !ok {
		return r, countersign.Actor{}, errNotFound
	}
	if m.unreadable[request] {
		return countersign.Request{}, m.by[request], errUnreadable
	}
	return r, m.by[request], nil
}

func (m *memoryPipeline) Signal(ctx context.Context, request, name string, payload any) error {
	headers, err := (actorCredential{}).GetHeaders(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signals = append(m.signals, signal{request, name, headers["authorization"], payload})
	return m.broken
}

func (m *memoryPipeline) Custody(_ context.Context, request string) (workflows.CustodyStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.custody[request]
	if !ok {
		return c, errNotFound
	}
	return c, m.broken
}

func (m *memoryPipeline) Saga(_ context.Context, request string) (workflows.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sagas[request]
	if !ok {
		return s, errNotFound
	}
	return s, m.broken
}

func (m *memoryPipeline) Running(context.Context, int) (requests []string, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r := range m.sagas {
		requests = append(requests, r)
	}
	return requests, false, m.broken
}

func (m *memoryPipeline) Follow(ctx context.Context, workflow string, changed func()) error {
	if strings.HasPrefix(workflow, "saga/") {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case step, ok := <-m.steps:
			if !ok {
				return nil
			}
			step()
			changed()
		}
	}
}

// open puts a signing at its first stage.
func (s *service) open(request string) workflows.Status {
	s.t.Helper()
	r := countersign.Request{V: 1, Tenant: "acme", ID: request, Purpose: "contract", Title: "Agreement", Document: countersign.Document{
		Bucket: "documents", Key: "acme/documents/x.pdf", VersionID: "v1", SHA256: countersign.SHA256([]byte("the document"))}}
	plan, refusal := s.server.tenants["acme"].settings.Plan(r, countersign.Actor{}, time.Now())
	if refusal != nil {
		s.t.Fatal(refusal)
	}
	saga := workflows.Status{
		State: "approval", Stage: "legal", Open: []string{"legal"}, Saga: evidence.Execution{Workflow: countersign.SagaID("acme", request), Run: "run-1"}, Request: r, Requester: s.actor("procurement"),
		Context: countersign.SHA256([]byte("context")), Document: r.Document, Policy: countersign.SHA256([]byte("policy")), Plan: plan,
	}
	s.pipeline.mu.Lock()
	defer s.pipeline.mu.Unlock()
	s.pipeline.started[request], s.pipeline.by[request] = r, s.actor("procurement")
	s.pipeline.custody[request] = workflows.CustodyStatus{State: "saga", Saga: saga.Saga}
	s.pipeline.sagas[request] = saga
	s.objects.stored[r.Document.Key] = []byte("the document")
	return saga
}

func (m *memoryPipeline) Ended(_ context.Context, from, until time.Time, limit int) (all []ended, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.ended {
		if !e.closed.Before(from) && e.closed.Before(until) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b ended) int { return b.closed.Compare(a.closed) })
	return all[:min(limit, len(all))], m.broken
}

func (m *memoryPipeline) Ending(_ context.Context, request, run string) (evidence.Ending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.ended {
		if e.request == request && e.run == run {
			return m.endings[i], nil
		}
	}
	return evidence.Ending{}, errNotFound
}

// memoryObjects is S3 with what was put into it.
type memoryObjects struct {
	mu     sync.Mutex
	stored map[string][]byte
	full   error  // why nothing can be recorded
	over   string // a report that somebody wrote over
	open   int    // documents that were read and not let go of
}

func (m *memoryObjects) PutReading(_ context.Context, key string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full == nil {
		m.stored[key] = bytes.Clone(body)
	}
	return m.full
}

func (m *memoryObjects) Readings(_ context.Context, after readingPlace, limit int) (page readingPage, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m.stored)) {
		if !strings.HasPrefix(key, "acme/reads/") || key <= after.Key {
			continue
		}
		if len(page.objects) == limit {
			page.next = readingPlace{Key: page.objects[limit-1].Key}
			break
		}
		page.objects = append(page.objects, countersign.Object{Bucket: "evidence", Key: key, VersionID: "v1"})
	}
	return page, nil
}

func (m *memoryObjects) Orders(_ context.Context, request string, _ int) (records []countersign.Object, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m.stored)) {
		if of, _, ok := countersign.ParseOrderKey("acme", key); ok && (request == "" || of == request) {
			records = append(records, countersign.Object{Bucket: "evidence", Key: key})
		}
	}
	return records, false, nil
}

func (m *memoryObjects) Checks(_ context.Context, prefix, after string, limit int) (reports []countersign.Object, markers int, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m.stored)) {
		if strings.HasPrefix(key, prefix) && key > after {
			if m.over == key {
				reports = append(reports, countersign.Object{Bucket: "evidence", Key: key, VersionID: "v2"})
			}
			reports = append(reports, countersign.Object{Bucket: "evidence", Key: key, VersionID: "v1"})
		}
	}
	return reports[:min(len(reports), limit)], 0, len(reports) > limit, nil
}

func (m *memoryObjects) Renewal(_ context.Context, request string, key renewalKey) (o countersign.Object, number int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for next := key("acme", request, 1); m.stored[next] != nil; next = key("acme", request, number+1) {
		o, number = countersign.Object{Bucket: "evidence", Key: next, VersionID: "v1"}, number+1
	}
	if number == 0 {
		err = errNotFound
	}
	return o, number, err
}

func (m *memoryObjects) Kept(_ context.Context, o countersign.Object) (evidence.KeptObject, error) {
	return evidence.KeptObject{Key: o.Key, VersionID: o.VersionID}, nil
}

// Index lists what was put into the index, a page at a time as the bucket does.
func (m *memoryObjects) Index(_ context.Context, from, until time.Time, limit int) (page activities.IndexPage, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	page.Reached = from.Truncate(time.Millisecond)
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(m.stored))) {
		at, digest, err := countersign.ParseIndexKey("acme", key)
		if err != nil || at.Before(from.Truncate(time.Millisecond)) || !at.Before(until) {
			continue
		}
		if n := len(page.Records); n >= limit && at.Before(page.Records[n-1].At) {
			page.Reached = page.Records[n-1].At
			break
		}
		page.Records = append(page.Records, activities.Indexed{Object: countersign.Object{Bucket: "evidence", Key: key, VersionID: "v1"}, At: at, Digest: digest, Versions: 1})
	}
	return page, nil
}

func (m *memoryObjects) IndexedAt(_ context.Context, key string) (*activities.Indexed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.stored[key]; !there {
		return nil, nil
	}
	return &activities.Indexed{Object: countersign.Object{Bucket: "evidence", Key: key}}, nil
}

func (m *memoryObjects) IndexRecord(ctx context.Context, o countersign.Object) (evidence.IndexRecord, error) {
	body, err := m.Read(ctx, o, evidence.MaxIndexRecord)
	if err != nil {
		return evidence.IndexRecord{}, err
	}
	return evidence.ParseIndexRecord("acme", o.Key, body)
}

func (m *memoryObjects) People() partFinder { return (*activities.Subjects)(nil).People() }

func (m *memoryObjects) LogProof(ctx context.Context, request string) ([]byte, error) {
	return m.Read(ctx, countersign.Object{Key: countersign.EvidenceLogKey("acme", request)}, evidence.MaxLogProof)
}

func (m *memoryObjects) Check(context.Context) error { return nil }

// Log has what was put under the tenant's log.
func (m *memoryObjects) Log() translog.Source { return translog.Stored(memoryLog{m}) }

type memoryLog struct{ *memoryObjects }

func (m memoryLog) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, err := m.Read(ctx, countersign.Object{Key: countersign.LogKey("acme", name)}, limit)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, translog.ErrGone)
	}
	return body, err
}

func (m *memoryObjects) PutDocument(_ context.Context, from io.ReadSeeker, digest string) (countersign.Document, error) {
	body, err := io.ReadAll(from)
	if err != nil {
		return countersign.Document{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := countersign.Document{Bucket: "documents", SHA256: digest, VersionID: "v1"}
	d.Key = countersign.DocumentKey("acme", d.SHA256)
	m.stored[d.Key] = body
	return d, nil
}

func (m *memoryObjects) Locked(ctx context.Context, locked evidence.Locked) (activities.Revealed, error) {
	raw, err := m.Read(ctx, locked.Object, evidence.MaxBundleSize)
	return activities.Revealed{Bundle: raw}, err
}

func (m *memoryObjects) Document(ctx context.Context, o countersign.Object, limit int64) ([]byte, io.Closer, error) {
	body, err := m.Read(ctx, o, limit)
	if err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	handed := bytes.Clone(body)
	return handed, &openDocument{m, handed}, nil
}

// openDocument is a document that somebody holds.
type openDocument struct {
	in   *memoryObjects
	body []byte
}

func (d *openDocument) Close() error {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	d.in.open--
	clear(d.body)
	return nil
}

func (m *memoryObjects) Read(_ context.Context, o countersign.Object, _ int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.stored[o.Key]
	if !ok {
		return nil, errNotFound
	}
	if o.SHA256 != "" && countersign.SHA256(body) != o.SHA256 {
		return nil, countersign.Refuse("digest-mismatch", "other bytes")
	}
	return body, nil
}

// lockedBuffer is a log that many write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fixed is always the same token.
func fixed(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}
