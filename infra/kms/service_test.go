package kms

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// stand is a Service with one principal of each kind.
type stand struct {
	service *Service
	server  *httptest.Server
	admin   peer
	acme    peer
	globex  peer
	nobody  peer // known, without a tenant
}

func openStand(t *testing.T, dir string) *stand {
	t.Helper()
	service, err := Open(dir, testRegion, []Credential{
		{AccessKeyID: testAdmin, SecretAccessKey: testSecret, Admin: true},
		{AccessKeyID: "ACME", SecretAccessKey: testSecret + "a", Tenant: "acme"},
		{AccessKeyID: "GLOBEX", SecretAccessKey: testSecret + "g", Tenant: "globex"},
		{AccessKeyID: "NOBODY", SecretAccessKey: testSecret + "n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{service: service, server: httptest.NewServer(service)}
	t.Cleanup(s.close)
	s.admin = peer{newClient(s.server.URL, testAdmin, testSecret)}
	s.acme = peer{newClient(s.server.URL, "ACME", testSecret+"a")}
	s.globex = peer{newClient(s.server.URL, "GLOBEX", testSecret+"g")}
	s.nobody = peer{newClient(s.server.URL, "NOBODY", testSecret+"n")}
	return s
}

func (s *stand) close() {
	s.server.Close()
	_ = s.service.Close() // a second Close is fine
}

func (s *stand) key(t *testing.T, spec types.KeySpec, tenant string) *types.KeyMetadata {
	t.Helper()
	k, err := s.admin.newKey(t.Context(), spec, types.Tag{TagKey: aws.String("tenant"), TagValue: aws.String(tenant)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	k := s.key(t, types.KeySpecEccNistP256, "acme")
	s.acme.uses(t.Context(), k)
	s.globex.uses(t.Context(), k)
	r, err := s.server.Client().Get(s.server.URL + callsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var counts map[string]int64
	if err := json.NewDecoder(r.Body).Decode(&counts); err != nil {
		t.Fatal(err)
	}
	if counts["CreateKey"] != 1 || counts["Sign"] != 2 || counts["Verify"] != 2 || counts["Encrypt"] != 0 || len(counts) != len(operations) {
		t.Errorf("counts: %v", counts)
	}
}

func TestEachAnswerHasItsOwnRequestID(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	pattern := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	var seen []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		for _, path := range []string{"/", "/x", callsPath} {
			r := httptest.NewRecorder()
			s.service.ServeHTTP(r, httptest.NewRequest(method, path, nil))
			id := r.Header().Get("x-amzn-RequestId")
			if !pattern.MatchString(id) || slices.Contains(seen, id) {
				t.Errorf("%s %s: request id %q", method, path, id)
			}
			seen = append(seen, id)
		}
	}
}

// What isn't served is refused, because its sender counts on its effect.
func TestUnservedMembersAreRefused(t *testing.T) {
	t.Parallel()
	s := openStand(t, t.TempDir())
	k := s.key(t, types.KeySpecEccNistP256, "acme")
	ctx := t.Context()
	for name, in := range map[string]kms.CreateKeyInput{
		"policy":         {Policy: aws.String("{}")},
		"multi-region":   {MultiRegion: aws.Bool(true)},
		"external":       {Origin: types.OriginTypeExternal},
		"P-521":          {KeySpec: types.KeySpecEccNistP521, KeyUsage: types.KeyUsageTypeSignVerify},
		"RSA to encrypt": {KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt},
	} {
		_, err := s.admin.CreateKey(ctx, &in)
		if err := code(err, "UnsupportedOperationException"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.acme.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256, GrantTokens: []string{"g"}})
	if err := code(err, "InvalidGrantTokenException"); err != nil {
		t.Error(err)
	}
	_, err = s.admin.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(8)})
	if err := code(err, "UnknownOperationException"); err != nil {
		t.Error(err)
	}
}
