package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/countersign-dev/countersign/infra/objectstore"
)

// runAsCommand turns the test's own binary into the command: linking this stack
// takes long enough to do it once.
const runAsCommand = "COUNTERSIGN_DEVSTACK_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(runAsCommand) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func devstackCommand(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Env = append(os.Environ(), runAsCommand+"=1")
	return command
}

// run runs a command to its end.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := devstackCommand(ctx, args...)
	var out, failure bytes.Buffer
	command.Stdout, command.Stderr = &out, &failure
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String()), failure.String(), command.ProcessState.ExitCode()
}

// startStack starts the stack and returns what it printed, and how to stop it.
func startStack(t *testing.T, dir string) (stack, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	command := devstackCommand(ctx, "--data", dir, "--json")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var failure bytes.Buffer
	command.Stderr = &failure
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		defer cancel()
		_ = command.Process.Signal(syscall.SIGINT)
		rest, _ := io.ReadAll(output)
		if len(bytes.TrimSpace(rest)) > 0 {
			t.Errorf("more than one object on the standard output: %q", rest)
		}
		if err := command.Wait(); err != nil {
			t.Errorf("the stack ended with %v:\n%s", err, failure.String())
		}
	}
	t.Cleanup(stop)
	line, err := bufio.NewReaderSize(output, 1<<20).ReadBytes('\n')
	if err != nil {
		stop()
		t.Fatalf("the stack didn't start: %v\n%s", err, failure.String())
	}
	var s stack
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		t.Fatalf("--json isn't what it should be: %v\n%s", err, line)
	}
	return s, stop
}

func TestStack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, stop := startStack(t, dir)

	t.Run("a second start is refused", func(t *testing.T) {
		_, message, code := run(t, "--data", dir)
		if code != 2 || !strings.Contains(message, "another devstack") {
			t.Errorf("exit %d, %q; want 2 and why", code, message)
		}
	})
	t.Run("endpoints", func(t *testing.T) { testEndpoints(t, first) })
	t.Run("files are private", func(t *testing.T) { testModes(t, dir) })
	t.Run("seals", func(t *testing.T) { testSeals(t, first) })
	t.Run("tokens", func(t *testing.T) { testTokens(t, first) })
	t.Run("login", func(t *testing.T) { testLogin(t, first) })

	before := contents(t, dir)
	stop()
	second, stop := startStack(t, dir)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("after a restart the stack is another:\n%+v\n%+v", first, second)
	}
	for name, content := range contents(t, dir) {
		if before[name] != content {
			t.Errorf("%s has changed with the restart", name)
		}
	}
	testEndpoints(t, second)
	stop()
}

// contents are the files whose change would break what was made before.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, pattern := range []string{"ports.json", "ca/*", "tenants/*", "aws/*", "platform/*", "machines/*", "webhooks/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(text)
		}
	}
	return files
}

func testModes(t *testing.T, dir string) {
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if name == dir && info.Mode().Perm() != 0o700 {
			t.Errorf("the data directory has mode %v", info.Mode())
		}
		if !entry.Type().IsRegular() || info.Mode().Perm() == 0o600 {
			return nil
		}
		text, err := os.ReadFile(name)
		if bytes.Contains(text, []byte("PRIVATE KEY")) || entry.Name() == "stack.json" || entry.Name() == "credentials" {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testEndpoints(t *testing.T, s stack) {
	for _, where := range []string{
		s.Temporal.UI + "/", s.Temporal.UI + "/api/v1/namespaces/acme/workflows", s.Mail.Page,
		s.Issuers["acme"].URL + "/.well-known/openid-configuration",
		s.Issuers["globex"].URL + "/.well-known/openid-configuration",
		s.Issuers["hart"].URL + "/.well-known/openid-configuration",
	} {
		response, err := http.Get(where)
		if err != nil {
			t.Error(err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", where, response.Status)
		}
	}
	// A query that is no query: the authority must refuse it, not be silent.
	response, err := http.Post(s.TSA.URL, "application/timestamp-query", strings.NewReader("?"))
	if err != nil {
		t.Error(err)
	} else {
		response.Body.Close()
	}
	conn, err := net.DialTimeout("tcp", s.Mail.SMTP, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if banner, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(banner, "220 ") {
		t.Errorf("SMTP greets with %q, %v", banner, err)
	}
	profiles, err := loadProfiles(t.Context(), s.AWS.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range profiles {
		if p.role != objectstore.RoleStarter {
			continue
		}
		client := objectstore.Client(s.S3.Endpoint, s.S3.Region, p.key)
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(s.S3.Documents), Key: aws.String(p.tenant + "/documents/test"), Body: strings.NewReader("x"), Tagging: aws.String("tenant=" + p.tenant),
		}); err != nil {
			t.Errorf("%s can't store a document: %v", p.name, err)
		}
	}
}

func testSeals(t *testing.T, s stack) {
	roots := x509.NewCertPool()
	text, err := os.ReadFile(s.TenantCA)
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatalf("no tenant CA: %v", err)
	}
	profiles, err := loadProfiles(t.Context(), s.AWS.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	for tenant, info := range s.Tenants {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(info.File), tenant+"-seal.pem"))
		if err != nil {
			t.Fatal(err)
		}
		block, rest := pem.Decode(text)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if ca, _ := pem.Decode(rest); ca == nil {
			t.Errorf("%s: the file lacks the CA's certificate", tenant)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", tenant, err)
		}
		if leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment || leaf.IsCA ||
			len(leaf.SubjectKeyId) == 0 || len(leaf.AuthorityKeyId) == 0 || !strings.HasSuffix(leaf.Subject.CommonName, " signing seal") {
			t.Errorf("%s: the certificate is %v with usage %b", tenant, leaf.Subject, leaf.KeyUsage)
		}
		digest := bytes.Repeat([]byte{7}, 32)
		for _, p := range profiles {
			client := kms.New(kms.Options{
				BaseEndpoint: aws.String(s.KMS.Endpoint), Region: s.KMS.Region,
				Credentials: awscredentials.NewStaticCredentialsProvider(p.key.AccessKeyID, p.key.SecretAccessKey, ""),
			})
			signed, err := client.Sign(t.Context(), &kms.SignInput{
				KeyId: aws.String(info.KeyARN), Message: digest, MessageType: kmstypes.MessageTypeDigest, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256,
			})
			allowed := p.name == adminProfile || p.name == tenant+"-worker"
			if allowed {
				if err != nil {
					t.Errorf("%s can't sign with the key of %s: %v", p.name, tenant, err)
				} else if !ecdsa.VerifyASN1(leaf.PublicKey.(*ecdsa.PublicKey), digest, signed.Signature) {
					t.Errorf("%s: the certificate isn't of the KMS key", tenant)
				}
				continue
			}
			var response *awshttp.ResponseError
			if !errors.As(err, &response) || response.HTTPStatusCode() != http.StatusBadRequest {
				t.Errorf("%s signs with the key of %s: %v", p.name, tenant, err)
			}
		}
	}
}

func testTokens(t *testing.T, s stack) {
	conn, err := grpc.NewClient(s.Temporal.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	api := workflowservice.NewWorkflowServiceClient(conn)
	for _, c := range []struct {
		flag, name, namespace string
		issued, admitted      bool
	}{
		{"--as", "acme/alice", "acme", true, true},
		{"--as", "acme/alice", "globex", true, false},
		{"--as", "hart/carol", "acme", true, true},
		{"--as", "hart/carol", "globex", true, false},
		{"--as", "hart/chris", "globex", true, true},
		{"--as", "acme/dave", "acme", false, false},
		{"--machine", "acme/procurement", "acme", true, true},
		{"--machine", "globex/procurement", "acme", true, false},
		{"--machine", "hart/casework", "acme", true, false},
		{"--platform", "operator/acme", "acme", true, true},
		{"--platform", "operator/acme", "globex", true, false},
		{"--platform", "root/acme", "acme", false, false},
	} {
		t.Run(c.name+" at "+c.namespace, func(t *testing.T) {
			t.Parallel()
			token, message, code := run(t, "token", "--data", s.Data, c.flag, c.name)
			if (code == 0) != c.issued {
				t.Fatalf("exit %d, want a token: %v\n%s", code, c.issued, message)
			}
			if !c.issued {
				return
			}
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
			_, err := api.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.namespace})
			if (err == nil) != c.admitted {
				t.Errorf("got %v, want admitted: %v", err, c.admitted)
			}
		})
	}
}

func testLogin(t *testing.T, s stack) {
	foreign, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	for name, args := range map[string][]string{
		"a foreign URL": {"--as", "acme/alice", "http://" + foreign.Addr().String() + "/acme/authorize"},
		"nobody":        {"--as", "acme/nobody", s.Issuers["acme"].URL + "/authorize"},
		"no URL":        {"--as", "acme/alice"},
	} {
		if _, message, code := run(t, append([]string{"login", "--data", s.Data}, args...)...); code != 2 {
			t.Errorf("%s: exit %d, want 2\n%s", name, code, message)
		}
	}
}

func TestAPortKeepsItsNumber(t *testing.T) {
	dir := t.TempDir()
	open, err := openPorts(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	address := open.address("idp-acme")
	if _, err := openPorts(dir, nil); err == nil || !strings.Contains(err.Error(), "couldn't open port") {
		t.Errorf("ports in use are opened again: %v", err)
	}
	open.close()
	if open, err = openPorts(dir, nil); err != nil {
		t.Fatal(err)
	}
	if open.address("idp-acme") != address {
		t.Errorf("the port was %s and is %s", address, open.address("idp-acme"))
	}
	open.close()
	var usage usageError
	if _, err := openPorts(dir, portFlag{"idp-acme": 1}); !errors.As(err, &usage) {
		t.Errorf("a port of an existing stack can be changed: %v", err)
	}
	wrong := portFlag{}
	for _, text := range []string{"", "s3", "s3=0", "s3=70000", "s3=x", "nothing=80"} {
		if wrong.Set(text) == nil {
			t.Errorf("--port %q is accepted", text)
		}
	}
}
