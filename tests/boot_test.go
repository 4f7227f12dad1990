package tests

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// seals makes keys and certificates for globex that a tenant could have been given, under a certification authority of the test's own.
type seals struct {
	dir   string
	admin *kms.Client
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newSeals(t *testing.T) *seals {
	t.Helper()
	admin, err := local.KMSClient(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	s := &seals{dir: t.TempDir(), admin: admin, key: ecKey(t)}
	s.ca = s.issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, &s.key.PublicKey, nil)
	return s
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate of a key from a template that says only what matters. Without a parent it is self-signed.
func (s *seals) issue(t *testing.T, template x509.Certificate, key crypto.PublicKey, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent = &template
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key, s.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// again is another certificate of the authority's own key: it stands behind the first one in good order, and nothing needs it.
func (s *seals) again(t *testing.T) *x509.Certificate {
	t.Helper()
	return s.issue(t, x509.Certificate{Subject: s.ca.Subject, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, &s.key.PublicKey, nil)
}

// made is a key of globex in KMS.
func (s *seals) made(t *testing.T, spec kmstypes.KeySpec) (arn string, public crypto.PublicKey) {
	t.Helper()
	made, err := s.admin.CreateKey(t.Context(), &kms.CreateKeyInput{
		KeySpec: spec, KeyUsage: kmstypes.KeyUsageTypeSignVerify, Tags: []kmstypes.Tag{{TagKey: aws.String("tenant"), TagValue: aws.String("globex")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.admin.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: made.KeyMetadata.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	if public, err = x509.ParsePKIXPublicKey(got.PublicKey); err != nil {
		t.Fatal(err)
	}
	return aws.ToString(made.KeyMetadata.Arn), public
}

// settings are the lines of globex's file that name a new key of the given kind, its certificate from the template, and others behind it.
func (s *seals) settings(t *testing.T, spec kmstypes.KeySpec, template x509.Certificate, behind ...*x509.Certificate) []string {
	t.Helper()
	arn, public := s.made(t, spec)
	if template.Subject.CommonName == "" {
		template.Subject.CommonName = "Globex GmbH signing seal"
	}
	chain := append([]*x509.Certificate{s.issue(t, template, public, s.ca)}, behind...)
	name := filepath.Join(s.dir, filepath.Base(arn))
	return []string{
		local.Tenants["globex"].KeyARN, arn,
		"certificate: globex-seal.pem", "certificate: " + pemFile(t, name+".pem", chain...),
		"roots: ../ca/tenant-ca.pem", "roots: " + pemFile(t, name+"-roots.pem", s.ca),
	}
}

// disabled is a good key that somebody switched off.
func (s *seals) disabled(t *testing.T) []string {
	t.Helper()
	lines := s.settings(t, kmstypes.KeySpecEccNistP256, x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature})
	if _, err := s.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: aws.String(lines[1])}); err != nil {
		t.Fatal(err)
	}
	return lines
}

func pemFile(t *testing.T, name string, chain ...*x509.Certificate) string {
	t.Helper()
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// withoutPermission is the key service to a tenant who may see its key and not use it.
func withoutPermission(t *testing.T) []string {
	t.Helper()
	keys := fault(t, local.KMS.Endpoint)
	keys.Answer(func(r *http.Request) bool { return r.Header.Get("X-Amz-Target") == "TrentService.Sign" },
		http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"not authorized to perform: kms:Sign"}`)
	return []string{"kms: " + local.KMS.Endpoint, "kms: " + keys.URL}
}
