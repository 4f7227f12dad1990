package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// installation is a stack of its own, on which Temporal can be made to forget.
type installation struct {
	*stack.Stack
	tenant, url string
}

// forgetful is an installation with workers and an API of one tenant.
func forgetful(t *testing.T, tenant string) installation {
	t.Helper()
	s, err := stack.Start(t.Context(), t.TempDir(), "--for-tests", "--forgetting")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	dir, err := s.Tenant(t.TempDir(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Workers(filepath.Join(s.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	api, url, err := s.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	return installation{s, tenant, url}
}

// as is a client of the installation's API.
func (i installation) as(t *testing.T, who string) *client.Client {
	t.Helper()
	c, err := client.New(i.url, i.tenant, func(ctx context.Context) (string, error) { return i.Token(ctx, who) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// begin starts a signing of a supplier contract.
func (i installation) begin(t *testing.T, id string) *stack.Signing {
	t.Helper()
	document, err := i.Upload(t.Context(), i.tenant, pdf(t))
	if err != nil {
		t.Fatal(err)
	}
	g, err := i.Begin(t.Context(), "machine:"+i.tenant+"/procurement", countersign.Request{V: 1, Tenant: i.tenant, ID: id, Purpose: "supplier-contract", Title: "Supply agreement " + id, Document: document})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// forget removes all workflows of a signing from the server, with the credential of an operator of an installation that lets them.
func (i installation) forget(t *testing.T, request string) {
	t.Helper()
	c := asOperator(t, i.Stack, i.tenant)
	for _, id := range []string{countersign.CustodianID(i.tenant, request), countersign.SagaID(i.tenant, request)} {
		_, err := c.WorkflowService().DeleteWorkflowExecution(t.Context(), &workflowservice.DeleteWorkflowExecutionRequest{Namespace: i.tenant, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}})
		if err != nil {
			t.Fatal(err)
		}
		deadline, tick := time.NewTimer(time.Minute), time.NewTicker(50*time.Millisecond)
		defer deadline.Stop()
		defer tick.Stop()
		for known := true; known; {
			_, err := c.DescribeWorkflowExecution(t.Context(), id, "")
			missing := (*serviceerror.NotFound)(nil)
			if known = !errors.As(err, &missing); !known {
				break
			}
			select {
			case <-deadline.C:
				t.Fatalf("the server still knows %s: %v", id, err)
			case <-tick.C:
			}
		}
	}
}

// foundBy are the requests that a list with a filter has, on all of its pages.
func foundBy(t *testing.T, api *client.Client, f client.EvidenceFilter) (requests []string) {
	t.Helper()
	all, unanswered := listedAll(t, api, f)
	if len(unanswered) > 0 {
		t.Errorf("%+v: could not look at %q", f, unanswered)
	}
	for _, e := range all {
		requests = append(requests, e.Request)
	}
	return requests
}

func listedAll(t *testing.T, api *client.Client, f client.EvidenceFilter) (all []client.EndedSigning, unanswered []string) {
	t.Helper()
	for cursor := ""; ; {
		page, err := api.EvidencePage(t.Context(), f, cursor)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		all, unanswered = append(all, page.Evidence...), append(unanswered, page.Unanswered...)
		if cursor = page.Cursor; cursor == "" {
			return all, unanswered
		}
	}
}

// indexKey is where the index record of an ending lies.
func indexKey(t *testing.T, tenant string, ending evidence.Ending) string {
	t.Helper()
	e, err := translog.ParseEntry([]byte(ending.Log.Entry))
	if err != nil {
		t.Fatal(err)
	}
	return countersign.IndexKey(tenant, e.At, e.Request)
}

// stored reads an object of the evidence bucket as the root of the store.
func (i installation) stored(t *testing.T, key string) []byte {
	t.Helper()
	admin, err := i.S3Client(t.Context(), i.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	out, err := admin.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(i.S3.Evidence), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestR24_WhatTemporalHasForgottenIsFoundByTheBucketAlone removes signings from the Temporal server, and goes on as compliance would ten years later.
func TestR24_WhatTemporalHasForgottenIsFoundByTheBucketAlone(t *testing.T) {
	t.Parallel()
	i := forgetful(t, "acme")
	began := time.Now()
	olivia := i.as(t, "acme/olivia")
	first := i.begin(t, "old-completed")
	decide(t, first, "acme/alice", "legal", countersign.Approve)
	decide(t, first, "hart/carol", "counsel", countersign.Approve)
	completed, err := first.End(t.Context())
	if err != nil || completed.Outcome != countersign.Completed {
		t.Fatalf("%+v, %v", completed, err)
	}
	second := i.begin(t, "old-rejected")
	decide(t, second, "acme/alice", "legal", countersign.Reject)
	rejected, err := second.End(t.Context())
	if err != nil || rejected.Outcome != countersign.Rejected {
		t.Fatalf("%+v, %v", rejected, err)
	}
	before, err := olivia.Status(t.Context(), "old-completed")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"old-completed", "old-rejected"} {
		i.forget(t, id)
	}
	third := i.begin(t, "new-rejected")
	decide(t, third, "acme/alice", "legal", countersign.Reject)
	if _, err := third.End(t.Context()); err != nil {
		t.Fatal(err)
	}

	alice, carol := i.Actor("acme/alice").String(), i.Actor("hart/carol").String()
	entry, err := translog.ParseEntry([]byte(rejected.Log.Entry))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"new-rejected", "old-rejected", "old-completed"}
	for what, want := range map[string]struct {
		f        client.EvidenceFilter
		requests []string
	}{
		"all":                  {client.EvidenceFilter{}, all},
		"a person":             {client.EvidenceFilter{Person: alice}, all},
		"one who could have":   {client.EvidenceFilter{Person: carol}, all},
		"nobody":               {client.EvidenceFilter{Person: i.Issuers["acme"].URL + "#nobody"}, nil},
		"a partner":            {client.EvidenceFilter{Partner: i.Issuers["hart"].URL}, all},
		"another partner":      {client.EvidenceFilter{Partner: "https://id.other.example"}, nil},
		"a document":           {client.EvidenceFilter{Document: first.Request.Document.SHA256}, all},
		"an ending":            {client.EvidenceFilter{Outcome: "completed"}, all[2:]},
		"a purpose":            {client.EvidenceFilter{Purpose: "supplier-contract"}, all},
		"a requester":          {client.EvidenceFilter{Requester: i.Actor("acme/procurement").String()}, all},
		"words":                {client.EvidenceFilter{Text: "AGREEMENT old-r"}, all[1:2]},
		"a period":             {client.EvidenceFilter{From: began, Until: entry.At}, all[2:]},
		"a period, its end":    {client.EvidenceFilter{From: entry.At, Until: time.Now()}, all[:2]},
		"a period before that": {client.EvidenceFilter{From: began.AddDate(-1, 0, 0), Until: began}, nil},
	} {
		if got := foundBy(t, olivia, want.f); !slices.Equal(got, want.requests) {
			t.Errorf("%s finds %q, want %q", what, got, want.requests)
		}
	}

	// Status, bundle, proof and who may see them are as before.
	after, err := olivia.Status(t.Context(), "old-completed")
	if err != nil || after.Outcome != countersign.Completed || !after.Released || after.Evidence == nil || after.Evidence.Object != completed.Evidence.Object {
		t.Fatalf("%+v, %v", after, err)
	}
	was, _ := json.Marshal(before)
	is, _ := json.Marshal(after)
	if string(was) != string(is) {
		t.Errorf("its status is told as\n%s\nand was\n%s", is, was)
	}
	if _, err := i.as(t, "hart/carol").Status(t.Context(), "old-completed"); err != nil {
		t.Errorf("who decided can't see it any more: %v", err)
	}
	if _, err := i.as(t, "nord/rhea").Status(t.Context(), "old-completed"); err == nil {
		t.Error("a stranger sees what Temporal forgot")
	}

	// By the command line: export with its proof, timeline, verification, period, hold and retention.
	dir, home := t.TempDir(), t.TempDir()
	run := func(who string, code int, args ...string) string {
		t.Helper()
		out, fault, got, err := i.CLI(t.Context(), i.url, home, who, args...)
		if err != nil || got != code {
			t.Fatalf("%s ends with %d, want %d (%v)\n%s%s", args, got, code, err, out, fault)
		}
		return out + fault
	}
	bundle := filepath.Join(dir, "old.asice")
	run("acme/olivia", 0, "audit", "export", "old-completed", "--output", bundle)
	raw, err := os.ReadFile(bundle)
	if err != nil || countersign.SHA256(raw) != completed.Evidence.Object.SHA256 {
		t.Fatalf("another bundle was exported: %v", err)
	}
	roots := []string{"--tenant-ca", i.TenantCA, "--tsa-ca", i.TSA.CA}
	if out := run("acme/olivia", 0, append([]string{"audit", "verify", bundle, "--log-key", i.Tenants["acme"].LogPublicKey}, roots...)...); !strings.Contains(out, "log ending") {
		t.Errorf("the proof of the ending was not checked: %s", out)
	}
	run("acme/olivia", 0, append([]string{"audit", "timeline", bundle}, roots...)...)
	run("acme/olivia", 0, append([]string{"audit", "export", "--from", began.UTC().Format(time.RFC3339Nano), "--until", time.Now().UTC().Format(time.RFC3339Nano), "--output", filepath.Join(dir, "records")}, roots...)...)
	if exported, err := filepath.Glob(filepath.Join(dir, "records", "bundles", "*.asice")); err != nil || len(exported) != 3 {
		t.Errorf("the period has %q, %v", exported, err)
	}
	run("acme/olivia", 0, "audit", "retain", "old-rejected", "--until", time.Now().AddDate(30, 0, 0).Format(time.DateOnly), "--reason", "warranty")
	admin, err := i.S3Client(t.Context(), i.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{countersign.EvidenceKey("acme", "old-rejected"), indexKey(t, "acme", rejected)} {
		lock, err := admin.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String(i.S3.Evidence), Key: aws.String(key)})
		if err != nil || lock.Retention.RetainUntilDate.Before(time.Now().AddDate(29, 0, 0)) {
			t.Errorf("%s is not retained longer: %+v, %v", key, lock, err)
		}
	}
	if out := run("acme/olivia", 0, append([]string{"audit", "dispute", "old-completed", "--out", filepath.Join(dir, "dispute"), "--matter", "M 1", "--reason", "a claim", "--log-key", i.Tenants["acme"].LogPublicKey}, roots...)...); strings.Contains(out, "could not be read") {
		t.Errorf("the dispute says %s", out)
	}
	// The id of a forgotten signing doesn't hide it, whoever takes it again.
	if _, err := i.begin(t, "old-completed").End(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing is signed twice") {
		t.Errorf("old-completed again: %v", err)
	}
	if again, err := olivia.Status(t.Context(), "old-completed"); err != nil || again.Outcome != countersign.Completed {
		t.Errorf("%+v, %v", again, err)
	}
}

// A list costs what it lists, and not what the index holds: a unit of time that has more than one list holds is looked at in its parts.
func TestR24_AnIndexIsPagedNewestFirstHoweverManyRecordsItHas(t *testing.T) {
	t.Parallel()
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	tenant := fmt.Sprintf("pages-%d", time.Now().UnixNano()%1e9)
	begin := time.Date(2026, 11, 26, 19, 0, 0, 0, time.UTC)
	var want []string
	for n := range 1100 { // in one hour
		want = append(want, countersign.IndexKey(tenant, begin.Add(time.Duration(n)*3*time.Second), fmt.Sprint(n)))
	}
	for _, at := range []time.Time{begin.AddDate(-1, 0, 0), begin.AddDate(0, -1, 0), begin.AddDate(0, 0, -1), begin.AddDate(0, 0, 1), begin.AddDate(0, 1, 0)} {
		want = append(want, countersign.IndexKey(tenant, at, "alone"), countersign.IndexKey(tenant, at, "in the same millisecond"))
	}
	var wait sync.WaitGroup
	for part := range slices.Chunk(want, 140) {
		wait.Go(func() {
			for _, key := range part {
				if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), Body: strings.NewReader("{}")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if _, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(want[500])}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Reverse(want)
	for _, limit := range []int{7, 100, 5000} {
		var got []string
		from, until := begin.AddDate(-2, 0, 0), begin.AddDate(2, 0, 0)
		for pages := 0; from.Before(until); pages++ {
			page, err := activities.ListIndex(t.Context(), admin, tenant, local.S3.Evidence, from, until, limit)
			if err != nil || len(page.Strays) > 0 || pages > len(want) {
				t.Fatalf("page %d: %q, %v", pages, page.Strays, err)
			}
			for _, o := range page.Records {
				if got = append(got, o.Key); o.Versions != 1 || (o.Markers == 1) != (o.Digest == countersign.IndexDigest("500")) {
					t.Errorf("%s has %d versions and %d delete markers", o.Key, o.Versions, o.Markers)
				}
			}
			if limit < 5000 && len(page.Records) > limit+1 {
				t.Errorf("a page of %d has %d", limit, len(page.Records))
			}
			until = page.Reached
		}
		slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(b, a) }) // those of one millisecond are in any order
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d have %d records, want %d", limit, len(got), len(want))
		}
	}
	// A window is listed alone.
	page, err := activities.ListIndex(t.Context(), admin, tenant, local.S3.Evidence, begin.Add(time.Minute), begin.Add(2*time.Minute), 5000)
	if err != nil || len(page.Records) != 20 || !page.Reached.Equal(begin.Add(time.Minute)) {
		t.Errorf("a minute has %d records, down to %s, %v", len(page.Records), page.Reached, err)
	}
}
