package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// done is a signing of acme that alice and carol approved, with its evidence locked.
func done(t *testing.T) (*stack.Signing, evidence.Ending) {
	t.Helper()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, _ := ended(t, g, countersign.Completed)
	return g, ending
}

// readsBy is readsOf by these people alone: olivia exports all that others finish meanwhile.
func readsBy(t *testing.T, request string, who ...string) []evidence.Reading {
	t.Helper()
	return slices.DeleteFunc(readsOf(t, request), func(r evidence.Reading) bool {
		return !slices.ContainsFunc(who, func(name string) bool { return local.Actor(name) == r.Reader.Actor })
	})
}

// fetched asks an API for bytes as somebody.
func fetched(t *testing.T, api, who, path string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := local.Token(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

// readsOf are the records of reads of a request, as olivia finds them.
func readsOf(t *testing.T, request string) (all []evidence.Reading) {
	t.Helper()
	for cursor := ""; ; {
		var page client.Reads
		if status := call(t, "acme/olivia", "GET", "/v1/acme/reads?request="+request+"&cursor="+url.QueryEscape(cursor), nil, nil, &page); status != http.StatusOK {
			t.Fatalf("the reads answer %d", status)
		}
		if len(page.Unreadable) > 0 || page.Markers > 0 {
			t.Fatalf("there is something else among the records: %+v", page)
		}
		if all = append(all, page.Reads...); page.Cursor == "" {
			return all
		}
		cursor = page.Cursor
	}
}

func TestR23_EveryReadOfEvidenceIsLoggedWithItsReader(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	signing := "/v1/acme/signings/" + g.Request.ID
	var want []string
	for _, read := range []struct {
		who, what string
		status    int
	}{
		{"acme/alice", "evidence", http.StatusOK}, {"acme/cora", "evidence", http.StatusOK}, {"hart/carol", "document", http.StatusOK},
		// Who may not see it has read nothing.
		{"globex/gina", "evidence", http.StatusUnauthorized}, {"nord/rhea", "evidence", http.StatusNotFound}, {"nord/rhea", "document", http.StatusNotFound},
	} {
		status, body := fetched(t, apiURL, read.who, signing+"/"+read.what)
		object, what := ending.Evidence.Object, evidence.ReadBundleFile
		if read.what == "document" {
			object, what = g.Request.Document, evidence.ReadDocument
		}
		if status != read.status || (status == http.StatusOK) != (countersign.SHA256(body) == object.SHA256) {
			t.Errorf("%s of %s answers %d with %d bytes", read.what, read.who, status, len(body))
		}
		if status == http.StatusOK {
			want = append(want, local.Actor(read.who).String()+" "+what+" "+object.VersionID+" "+object.SHA256)
		}
	}
	all := readsBy(t, g.Request.ID, "acme/alice", "acme/cora", "hart/carol", "globex/gina", "nord/rhea")
	var got []string
	for _, r := range all {
		got = append(got, r.Reader.Actor.String()+" "+r.What+" "+r.Object.VersionID+" "+r.Object.SHA256)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("recorded is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for who, status := range map[string]int{"acme/alice": 403, "hart/carol": 403, "machine:acme/procurement": 403, "globex/gina": 401, "": 401} {
		if got := call(t, who, "GET", "/v1/acme/reads", nil, nil, nil); got != status {
			t.Errorf("%q, who may not see the reads, is answered %d", who, got)
		}
	}

	// A record is kept from everybody, administrators too.
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	key := countersign.ReadingKey("acme", all[0].At, all[0].ID)
	there, err := admin.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(local.S3.Evidence), Prefix: aws.String(key)})
	if err != nil || len(there.Versions) != 1 {
		t.Fatalf("%d versions of the record: %v", len(there.Versions), err)
	}
	version := there.Versions[0].VersionId
	lock, err := admin.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), VersionId: version})
	if err != nil || lock.Retention.Mode != s3types.ObjectLockRetentionModeCompliance {
		t.Errorf("the record's lock is %+v: %v", lock, err)
	}
	for _, profile := range []string{"acme-starter", "acme-worker", "globex-starter"} {
		c, err := local.S3Client(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), VersionId: version})
		wantStatus(t, "deleting a record as "+profile, err, http.StatusForbidden)
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key)})
		wantStatus(t, "hiding a record as "+profile, err, http.StatusForbidden)
	}
	_, err = admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), VersionId: version})
	wantStatus(t, "deleting a record as an administrator", err, http.StatusForbidden)
}

// An API whose store takes no record gives nothing out.
func TestR23_AReadThatCannotBeRecordedGivesNothingOut(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	f := fault(t, local.S3.Endpoint)
	dir, err := local.Tenant(t.TempDir(), "acme", "s3: "+local.S3.Endpoint, "s3: "+f.URL)
	if err != nil {
		t.Fatal(err)
	}
	server, address, err := local.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	bundle := bundle(t, "acme", ending)
	f.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/acme/reads/")
	})
	signing := "/v1/acme/signings/" + g.Request.ID
	for _, path := range []string{signing + "/evidence", signing + "/document", "/v1/acme/evidence"} {
		status, body := fetched(t, address, "acme/cora", path)
		if status != http.StatusServiceUnavailable || bytes.Contains(body, bundle[:64]) || bytes.Contains(body, []byte("%PDF")) || bytes.Contains(body, []byte(g.Request.ID)) {
			t.Errorf("%s answers %d: %.200q", path, status, body)
		}
	}
	select {
	case <-f.Hit():
	default:
		t.Error("no record was tried")
	}
	if all := readsBy(t, g.Request.ID, "acme/cora"); len(all) != 0 {
		t.Errorf("recorded is %+v", all)
	}
	f.Heal()
	if status, body := fetched(t, address, "acme/cora", signing+"/evidence"); status != http.StatusOK || !bytes.Equal(body, bundle) {
		t.Errorf("when the store is back it answers %d", status)
	}
	if all := readsBy(t, g.Request.ID, "acme/cora"); len(all) != 1 {
		t.Errorf("recorded is %+v", all)
	}
}

// Compliance finds a signing by who had a part in it, its document and its outcome.
func TestM3_ComplianceFindsSigningsThatEnded(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	carol, hart := url.QueryEscape(local.Actor("hart/carol").String()), url.QueryEscape(local.Issuers["hart"].URL)
	document := "document=" + g.Request.Document.SHA256
	find := func(query string) (found []client.EndedSigning) {
		t.Helper()
		for cursor := ""; ; {
			var page client.EvidenceList
			if status := call(t, "acme/olivia", "GET", "/v1/acme/evidence?"+query+"&cursor="+url.QueryEscape(cursor), nil, nil, &page); status != http.StatusOK || len(page.Unanswered) > 0 {
				t.Fatalf("%s answers %d, without %v", query, status, page.Unanswered)
			}
			if found = append(found, page.Evidence...); page.Cursor == "" {
				return found
			}
			cursor = page.Cursor
		}
	}
	for _, query := range []string{document, document + "&person=" + carol, document + "&partner=" + url.QueryEscape("Hart & Lowe LLP") + "&text=SUPPLY", document + "&partner=" + hart + "&outcome=completed&purpose=supplier-contract&from=2026-01-01T00:00:00Z"} {
		found := find(query)
		if len(found) != 1 || found[0].Request != g.Request.ID || found[0].Evidence != ending.Evidence || found[0].Requester == nil || *found[0].Requester != local.Actor("acme/procurement") {
			t.Errorf("%s finds %+v", query, found)
		}
	}
	for _, query := range []string{document + "&outcome=rejected", document + "&partner=Nobody+Ltd", document + "&person=" + url.QueryEscape(local.Actor("nord/rhea").String()), document + "&partner=" + url.QueryEscape(local.Issuers["globex"].URL), document + "&until=2026-01-01T00:00:00Z"} {
		if found := find(query); len(found) != 0 {
			t.Errorf("%s finds %+v", query, found)
		}
	}
	for who, status := range map[string]int{"acme/alice": 403, "hart/carol": 403, "globex/gina": 401} {
		if got := call(t, who, "GET", "/v1/acme/evidence", nil, nil, nil); got != status {
			t.Errorf("%s, who may not see all of it, is answered %d", who, got)
		}
	}
}

// What lies under another version, and what is pages away, is found all the same.
func TestR23_RecordsOfManyPagesAndVersionsAreAllFound(t *testing.T) {
	t.Parallel()
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	at, request := time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC), requestID(t)
	put := func(id, reader string) {
		t.Helper()
		body, err := json.Marshal(evidence.Reading{V: 1, ID: id, Tenant: "acme", At: at, Reader: evidence.Named{Name: reader}, What: evidence.ReadBundleFile, Request: request})
		if err != nil {
			t.Fatal(err)
		}
		_, err = admin.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(local.S3.Evidence), Key: aws.String(countersign.ReadingKey("acme", at, id)), Body: bytes.NewReader(body), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
			ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(48 * time.Hour)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var want, got []string
	for i := range 110 {
		id := fmt.Sprintf("%03d", i)
		put(id, "first")
		want = append(want, id+" first")
		if i%37 == 36 {
			put(id, "second") // who writes over a record hides nothing
			want = append(want, id+" second")
		}
	}
	for _, r := range readsOf(t, request) {
		got = append(got, r.ID+" "+r.Reader.Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("found are %d of %d: %v", len(got), len(want), got)
	}
}

// The work of compliance by the command line: find, export, tell, and see that it was read.
func TestM3_ByTheCommandLineFromFindingToTheLogOfReads(t *testing.T) {
	t.Parallel()
	g, _ := done(t)
	home, file := t.TempDir(), filepath.Join(t.TempDir(), "e.asice")
	run := func(code int, args ...string) string {
		t.Helper()
		out, fault, got, err := local.CLI(t.Context(), apiURL, home, "acme/olivia", args...)
		if err != nil || got != code {
			t.Fatalf("countersign %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, out, fault)
		}
		return out + fault
	}
	for _, name := range []string{"list", "search"} {
		if out := run(0, "audit", name, "--document", g.Request.Document.SHA256, "--person", local.Actor("hart/carol").String(), "--from", "2026-01-01", "--limit", "1"); !strings.Contains(out, g.Request.ID) {
			t.Errorf("audit %s writes\n%s", name, out)
		}
	}
	run(0, "audit", "export", g.Request.ID, "-o", file)
	told := run(0, "audit", "timeline", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA)
	for _, text := range []string{"the bundle was verified", "DECISION COUNTED", "INTENT LOCKED", "SIGNED", "could have decided", "Carol Hart"} {
		if !strings.Contains(told, text) {
			t.Errorf("the timeline doesn't say %q:\n%s", text, told)
		}
	}
	if out := run(0, "audit", "reads", "--request", g.Request.ID); !strings.Contains(out, "bundle") || !strings.Contains(out, local.Actor("acme/olivia").String()) {
		t.Errorf("audit reads writes\n%s", out)
	}
	run(3, "audit", "list", "--cursor", "e30.AAAA")
	run(2, "audit", "list", "--from", "yesterday")
}
