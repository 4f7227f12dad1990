package tests

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/tests/stack"
)

// logCopy copies a tenant's log as it is now, as an auditor who may read the bucket does.
func logCopy(t testing.TB, s *stack.Stack, tenant string) string {
	t.Helper()
	// The checkpoint first: what it stands on is there by then, and others append meanwhile.
	checkpoint := evidenceCopy(t, s, countersign.LogKey(tenant, "checkpoint"))
	dir := evidenceCopy(t, s, countersign.LogKey(tenant, ""))
	if err := os.Rename(filepath.Join(checkpoint, "checkpoint"), filepath.Join(dir, "checkpoint")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return dir
}

// evidenceCopy copies what lies under a prefix in the bucket of evidence, with the store's times, as aws s3 sync does.
func evidenceCopy(t testing.TB, s *stack.Stack, prefix string) string {
	t.Helper()
	admin, err := s.S3Client(t.Context(), s.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pages := s3.NewListObjectsV2Paginator(admin, &s3.ListObjectsV2Input{Bucket: aws.String(s.S3.Evidence), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			out, err := admin.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(s.S3.Evidence), Key: o.Key})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(out.Body)
			out.Body.Close()
			file := filepath.Join(dir, strings.TrimPrefix(aws.ToString(o.Key), prefix[:strings.LastIndex(prefix, "/")+1]))
			if err == nil {
				err = os.MkdirAll(filepath.Dir(file), 0o700)
			}
			if err == nil {
				err = os.WriteFile(file, body, 0o600)
			}
			if err == nil {
				err = os.Chtimes(file, aws.ToTime(o.LastModified), aws.ToTime(o.LastModified))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// logCommand runs `countersign audit log` and wants an exit code, and a text in what it says.
func logCommand(t *testing.T, s *stack.Stack, code int, says string, args ...string) {
	t.Helper()
	out, fault, got, err := s.CLI(t.Context(), "http://127.0.0.1:1", t.TempDir(), "acme/alice", append([]string{"audit", "log"}, args...)...)
	if err != nil || got != code || !strings.Contains(out+fault, says) {
		t.Errorf("audit log %s ends with %d, want %d and %q (%v)\n%s%s", args, got, code, says, err, out, fault)
	}
}

// Every signing is in the log before its key is asked, and when it has ended; its webhook has the checkpoint, and a stranger proves all of it.
func TestN04_EverySigningIsInTheLogBeforeItsKeyIsAskedAndBeforeItIsReleased(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	key := local.Tenants["acme"].LogPublicKey
	verifier, err := translog.ParseVerifier(key, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if ending.Log == nil {
		t.Fatal("the ending has no proof that it is in the log")
	}
	entry, checkpoint, err := ending.Log.Check(verifier)
	if err != nil || entry.Kind != translog.Sealed || entry.Request != g.Request.ID || entry.Outcome != countersign.Completed || *entry.Bundle != ending.Evidence.Object {
		t.Errorf("the ending's entry is %+v: %v", entry, err)
	}

	// The bundle proves that the intent was there before.
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	raw := bundle(t, "acme", ending)
	wantFinding(t, report, "log", evidence.NotRecorded)
	roots.Log = verifier
	wantFinding(t, evidence.Verify(raw, roots), "log", evidence.Pass)
	if roots.Log, err = translog.ParseVerifier(local.Tenants["globex"].LogPublicKey, "globex"); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, evidence.Verify(raw, roots), "log", evidence.Fail)

	// Who was told has the checkpoint, and can hold the log to it.
	released := ""
	for _, hook := range inMailbox(t, "api/webhooks", g.Request.ID) {
		if strings.Contains(string(hook), evidence.EventReleased) {
			released = string(hook)
		}
	}
	if text, _ := json.Marshal(checkpoint.Text); !strings.Contains(strings.ReplaceAll(released, `\`, ""), strings.ReplaceAll(strings.Trim(string(text), `"`), `\`, "")) {
		t.Errorf("the webhook of the release has no checkpoint: %s", released)
	}

	dir := logCopy(t, local, "acme")
	logCommand(t, local, 0, "entries", "verify", dir, "--log-key", key)
	kept := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(kept, []byte(checkpoint.Text), 0o600); err != nil {
		t.Fatal(err)
	}
	logCommand(t, local, 0, "continue", "watch", dir, "--since", kept, "--log-key", key)
	proven := filepath.Join(t.TempDir(), "proofs")
	logCommand(t, local, 0, "entries  2", "prove", dir, g.Request.ID, "--log-key", key, "-o", proven)
	logCommand(t, local, 4, "no entry", "prove", dir, "nobody-asked-for-this", "--log-key", key)
	var proofs []translog.Proof
	body, err := os.ReadFile(proven)
	if err == nil {
		err = json.Unmarshal(body, &proofs)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{translog.Intended, translog.Sealed} {
		if e, _, err := proofs[i].Check(verifier); err != nil || e.Kind != kind || e.Request != g.Request.ID {
			t.Errorf("proof %d is of %+v: %v", i, e, err)
		}
	}
}

// Whoever exports a bundle has the proof of its ending beside it, checks both without a network, and watches the log through the API.
func TestN04_ABundleHasItsLogsProofBesideItAndTheLogIsWatchedThroughTheAPI(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, _ := ended(t, g, countersign.Completed)
	key, dir := local.Tenants["acme"].LogPublicKey, t.TempDir()
	cli := func(who string, code int, says string, args ...string) {
		t.Helper()
		out, fault, got, err := local.CLI(t.Context(), apiURL, dir, who, args...)
		if err != nil || got != code || !strings.Contains(out+fault, says) {
			t.Errorf("%s ends with %d, want %d and %q (%v)\n%s%s", args, got, code, says, err, out, fault)
		}
	}
	// A partner of the tenant keeps a checkpoint before, and sees the log go on.
	state := filepath.Join(dir, "checkpoint")
	watch := []string{"audit", "log", "watch", "--since", state, "--log-key", key}
	cli("hart/carol", 1, "", watch...)
	cli("hart/carol", 0, "nothing was compared", append(watch, "--first")...)
	file := filepath.Join(dir, "evidence.asice")
	cli("acme/alice", 0, "proof", "audit", "export", g.Request.ID, "-o", file)
	verify := []string{"audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA}
	cli("acme/alice", 0, "not recorded  log ending", verify...)
	cli("acme/alice", 0, "pass          log ending", append(verify, "--log-key", key)...)
	// The same proof lies locked beside the bundle.
	name := countersign.EvidenceLogKey("acme", g.Request.ID)
	version := newest(t, local, name)
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	_, err = admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: &name, VersionId: &version, BypassGovernanceRetention: aws.Bool(true)})
	wantStatus(t, "deleting the proof", err, http.StatusForbidden)
	out, err := admin.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(local.S3.Evidence), Key: &name})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	var locked translog.Proof
	if err := json.NewDecoder(out.Body).Decode(&locked); err != nil || locked.Entry != ending.Log.Entry {
		t.Errorf("the locked proof is of %s: %v", locked.Entry, err)
	}
	// The proof of another signing is none of this one.
	r := request(t, "acme", "supplier-contract")
	r.ID += "-other"
	other := begin(t, r)
	decide(t, other, "acme/alice", "legal", countersign.Reject)
	rejected, _ := ended(t, other, countersign.Rejected)
	foreign, err := json.Marshal(rejected.Log)
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(dir, "wrong.json")
	if err := os.WriteFile(wrong, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	cli("acme/alice", 6, "fail          log ending", append(verify, "--log-key", key, "--log-proof", wrong)...)
	cli("hart/carol", 0, "continue", watch...)
	// Somebody kept a checkpoint of another history: one that the log's key never signed.
	if err := os.WriteFile(state, forgery(t, rejected.Log.Checkpoint, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))), 0o600); err != nil {
		t.Fatal(err)
	}
	cli("hart/carol", 6, "not signed by the key", watch...)
	// The log and the bundles say the same.
	copied := logCopy(t, local, "acme")
	logCommand(t, local, 0, "bundles", "verify", copied, "--log-key", key, "--evidence", evidenceCopy(t, local, "acme/evidence/"))
}

func wantFinding(t *testing.T, report *evidence.Report, check string, want evidence.State) {
	t.Helper()
	for _, f := range report.Findings {
		if f.Check == check {
			if f.State != want {
				t.Errorf("%s: %s, want %s: %s", check, f.State, want, f.Detail)
			}
			return
		}
	}
	t.Errorf("the report says nothing about %s", check)
}

func TestN04_AnEndingWithoutASignatureIsInTheLogToo(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Reject)
	ending, report := ended(t, g, countersign.Rejected)
	wantFinding(t, report, "log", evidence.NotRecorded)
	verifier, err := translog.ParseVerifier(local.Tenants["acme"].LogPublicKey, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if entry, _, err := ending.Log.Check(verifier); err != nil || entry.Kind != translog.Sealed || entry.Outcome != countersign.Rejected {
		t.Errorf("the entry is %+v: %v", entry, err)
	}
}

// Whoever owns the bucket can hide, shadow and add, and can't delete. Each is found by the commands, with a copy of the log and its public key.
func TestN04_WhatTheBucketsOwnerDoesToTheLogIsFound(t *testing.T) {
	t.Parallel()
	own, err := stack.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	tenants, err := own.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	process, err := own.Workers(filepath.Join(own.Bin, "workers"), tenants)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Stop)
	sign := func(id string) evidence.Ending {
		document, err := own.Upload(t.Context(), "globex", pdf(t))
		if err != nil {
			t.Fatal(err)
		}
		g, err := own.Begin(t.Context(), "machine:globex/procurement", countersign.Request{V: 1, Tenant: "globex", ID: id, Purpose: "internal-policy", Title: "Policy", Document: document})
		if err == nil {
			_, err = g.Decide(t.Context(), "globex/paul", "finance", countersign.Approve)
		}
		if err != nil {
			t.Fatal(err)
		}
		ending, err := g.End(t.Context())
		if err != nil || ending.Outcome != countersign.Completed {
			t.Fatalf("it ended as %s (%s): %v", ending.Outcome, ending.Detail, err)
		}
		return ending
	}
	first, second := sign("PO-1"), sign("PO-2")
	key := own.Tenants["globex"].LogPublicKey
	admin, err := own.S3Client(t.Context(), own.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	bucket := aws.String(own.S3.Evidence)
	name := func(part string) *string { return aws.String(countersign.LogKey("globex", part)) }
	read := func(part string) []byte {
		body, err := os.ReadFile(filepath.Join(logCopy(t, own, "globex"), part))
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	// Each returns the version that it made, which the owner can take away again: what is not locked is the owner's.
	hide := func(part string) func() (string, string) {
		return func() (string, string) {
			out, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: name(part)})
			if err != nil {
				t.Fatal(err)
			}
			return part, aws.ToString(out.VersionId)
		}
	}
	shadow := func(part string, body []byte) func() (string, string) {
		return func() (string, string) {
			out, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: name(part), Body: bytes.NewReader(body)})
			if err != nil {
				t.Fatal(err)
			}
			return part, aws.ToString(out.VersionId)
		}
	}
	const entries = "batch/0"
	changed := func(from, to string) []byte {
		body := read(entries)
		if !bytes.Contains(body, []byte(from)) || len(from) != len(to) {
			t.Fatalf("the log has no %q", from)
		}
		return bytes.ReplaceAll(body, []byte(from), []byte(to))
	}
	// The first two entries change places: a batch may have several.
	swapped := func() []byte { return slices.Concat(read("batch/1"), read("batch/0")) }
	// A fork: another key signs the tree as it is, under the log's name.
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := forgery(t, second.Log.Checkpoint, private)

	current := logCopy(t, own, "globex")
	logCommand(t, own, 0, "open     0", "verify", current, "--log-key", key)
	kept := filepath.Join(t.TempDir(), "checkpoint")

	locked := newest(t, own, *name(entries))
	_, err = admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: name(entries), VersionId: &locked, BypassGovernanceRetention: aws.Bool(true)})
	wantStatus(t, "deleting a part of the log", err, http.StatusForbidden)

	for _, c := range []struct {
		what   string
		do     func() (part, version string)
		verify string // what verify says; empty where it can't see it
		watch  string
	}{
		{"hides an entry", hide(entries), "no such object", "no such object"},
		{"hides the last entry", hide("batch/3"), "no such object", "no such object"},
		{"hides the checkpoint", hide("checkpoint"), "no such object", "no such object"},
		{"puts an older checkpoint back", shadow("checkpoint", []byte(first.Log.Checkpoint)), "", "rolled back"},
		{"has another key sign", shadow("checkpoint", forged), "not signed by the key", "not signed by the key"},
		{"changes an entry", shadow(entries, changed("PO-1", "PO-9")), "inconsistent tile", "inconsistent tile"},
		{"reorders entries", shadow(entries, swapped()), "inconsistent tile", "inconsistent tile"},
		{"adds an entry", shadow("batch/3", slices.Concat(read("batch/3"), read("batch/0"))), "", ""},
	} {
		// Whoever kept the older one needs the log's tiles to be shown that it goes on; that it was rolled back, only the newer one shows.
		since := first.Log.Checkpoint
		if c.watch == "rolled back" {
			since = second.Log.Checkpoint
		}
		if err := os.WriteFile(kept, []byte(since), 0o600); err != nil {
			t.Fatal(err)
		}
		part, version := c.do()
		dir := logCopy(t, own, "globex")
		for command, says := range map[string]string{"verify": c.verify, "watch": c.watch} {
			args, code := []string{command, dir, "--log-key", key}, 0
			if command == "watch" {
				args = append(args, "--since", kept)
			}
			if says != "" {
				code = 6
			}
			t.Logf("the owner %s: %s", c.what, command)
			logCommand(t, own, code, says, args...)
		}
		if _, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: name(part), VersionId: &version}); err != nil {
			t.Fatal(err)
		}
	}
	// Evidence that is hidden, and evidence that no signing made.
	prefix := strings.TrimSuffix(countersign.EvidenceKey("globex", ""), ".asice")
	place := func(request string) *string { return aws.String(countersign.EvidenceKey("globex", request)) }
	marker, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: place("PO-1")})
	if err != nil {
		t.Fatal(err)
	}
	logCommand(t, own, 6, "missing  PO-1", "verify", logCopy(t, own, "globex"), "--log-key", key, "--evidence", evidenceCopy(t, own, prefix))
	if _, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: place("PO-1"), VersionId: marker.VersionId}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: place("PO-9"), Body: strings.NewReader("nobody asked for this")}); err != nil {
		t.Fatal(err)
	}
	logCommand(t, own, 0, "later    "+*place("PO-9"), "verify", logCopy(t, own, "globex"), "--log-key", key, "--evidence", evidenceCopy(t, own, prefix))

	// It was only what the owner did: without it the log holds, and goes on.
	sign("PO-3")
	copied, bundles := logCopy(t, own, "globex"), evidenceCopy(t, own, prefix)
	logCommand(t, own, 0, "later    "+*place("PO-9"), "verify", copied, "--log-key", key, "--evidence", bundles)
	before := time.Now().Add(-time.Hour) // as the store would say an hour later
	if err := os.Chtimes(filepath.Join(bundles, "PO-9.asice"), before, before); err != nil {
		t.Fatal(err)
	}
	logCommand(t, own, 6, "unlogged  "+*place("PO-9"), "verify", copied, "--log-key", key, "--evidence", bundles)
	dir := logCopy(t, own, "globex")
	logCommand(t, own, 0, "open     0", "verify", dir, "--log-key", key)
	logCommand(t, own, 0, "its 6 entries continue the 4", "watch", dir, "--since", kept, "--log-key", key)
}

// forgery is a checkpoint with its signature made by another key of the same name.
func forgery(t *testing.T, checkpoint string, private ed25519.PrivateKey) []byte {
	t.Helper()
	text, _, _ := strings.Cut(checkpoint, "\n\n")
	verifier, err := note.NewEd25519VerifierKey(translog.Origin("globex"), private.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text + "\n"}, otherKey{v, private})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

type otherKey struct {
	note.Verifier
	private ed25519.PrivateKey
}

func (k otherKey) Sign(text []byte) ([]byte, error) { return ed25519.Sign(k.private, text), nil }

// newest is the version of an object that a plain read gives.
func newest(t *testing.T, s *stack.Stack, key string) string {
	t.Helper()
	admin, err := s.S3Client(t.Context(), s.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	head, err := admin.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(s.S3.Evidence), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(head.VersionId)
}

// BenchmarkLogAppend appends to globex's log in the stack's S3, with checkpoints signed by its KMS: one after another, and four at once.
func BenchmarkLogAppend(b *testing.B) {
	b.Setenv("AWS_SHARED_CREDENTIALS_FILE", local.AWS.CredentialsFile)
	tenant, err := activities.Open(b.Context(), local.Tenants["globex"].File, nil, evidence.Worker{})
	if err != nil {
		b.Fatal(err)
	}
	for _, width := range []int{1, 4} {
		b.Run(fmt.Sprintf("%d at once", width), func(b *testing.B) {
			calls, began := keyCalls(b), time.Now()
			each(b, width, b.N, func(i int) error {
				_, err := tenant.AppendLog(context.Background(), evidence.LogInput{Entry: translog.Entry{
					V: 1, Tenant: "globex", Kind: translog.Intended, Request: fmt.Sprintf("bench-%d-%d", began.UnixNano(), i), Run: "run",
				}})
				return err
			})
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "appends/s")
			b.ReportMetric(float64(keyCalls(b)-calls)/float64(b.N), "kms-calls/op")
		})
	}
}
