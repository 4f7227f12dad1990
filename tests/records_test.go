package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/starter/records"
	"github.com/countersign-dev/countersign/tests/stack"
)

// killer stands before the receiving store, and kills the exporter at a request to it: before the store has it, or after, before the exporter hears of it.
type killer struct {
	mu       sync.Mutex
	requests int // of the process that runs
	at       int // 0 kills nobody
	after    bool
	process  *os.Process
	url      string
}

func newKiller(t *testing.T, target string) *killer {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
	}}
	k := &killer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.requests++
		now := k.requests == k.at
		if now && !k.after {
			_ = k.process.Kill()
			panic(http.ErrAbortHandler)
		}
		if now {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			_ = k.process.Kill()
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

// exporter runs the command as olivia, against the store behind the killer. It returns what it wrote, or that it was killed.
func (k *killer) exporter(t *testing.T, home string, at int, after bool, args ...string) (out, told string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(local.Bin, "countersign"), args...)
	cmd.Env = append(local.Env(), "COUNTERSIGN_API="+apiURL, "COUNTERSIGN_TENANT=acme", "COUNTERSIGN_ISSUER="+local.Issuers["acme"].URL, "XDG_CACHE_HOME="+home,
		"BROWSER="+filepath.Join(local.Bin, "devstack")+" login --data "+local.Data+" --as acme/olivia",
		"AWS_PROFILE="+local.AWS.AdminProfile, "AWS_REGION="+local.S3.Region, "AWS_ENDPOINT_URL_S3="+k.url, "AWS_MAX_ATTEMPTS=1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	k.mu.Lock()
	err := cmd.Start()
	k.requests, k.at, k.after, k.process = 0, at, after, cmd.Process
	k.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if err != nil && cmd.ProcessState.ExitCode() >= 0 {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return stdout.String(), stderr.String(), err != nil
}

// listed waits until the list of a period names the requests, and returns it.
func listed(t *testing.T, from time.Time, requests ...string) []client.EndedSigning {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		var all []client.EndedSigning
		for cursor := ""; ; {
			var page client.EvidenceList
			path := "/v1/acme/evidence?from=" + url.QueryEscape(from.UTC().Format(time.RFC3339Nano)) + "&cursor=" + url.QueryEscape(cursor)
			if status := call(t, "acme/olivia", "GET", path, nil, nil, &page); status != http.StatusOK {
				t.Fatalf("the list answers %d", status)
			}
			if all = append(all, page.Evidence...); page.Cursor == "" {
				break
			}
			cursor = page.Cursor
		}
		found := 0
		for _, s := range all {
			if slices.Contains(requests, s.Request) {
				found++
			}
		}
		if found == len(requests) {
			return all
		}
		select {
		case <-deadline.C:
			t.Fatalf("the list names %d of %d", found, len(requests))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// doneBeside is a completed signing of acme beside others of the same test.
func doneBeside(t *testing.T, name string) *stack.Signing {
	t.Helper()
	r := request(t, "acme", "supplier-contract")
	r.ID += "-" + name
	g := begin(t, r)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
	return g
}

func TestR25_AnExportKilledAtEachBoundaryLeavesExactlyOneObjectEach(t *testing.T) {
	t.Parallel()
	from := time.Now().Add(-time.Second)
	first, second := doneBeside(t, "first"), doneBeside(t, "second")
	mine := []string{first.Request.ID, second.Request.ID}
	listed(t, from, mine...)
	until := time.Now()
	// Once one that ended later is listed, nothing of the period comes any more.
	later := doneBeside(t, "later")
	listed(t, until, later.Request.ID)

	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	bucket := fmt.Sprintf("records-%d", time.Now().UnixNano())
	if _, err := admin.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	_, err = admin.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(bucket), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
	// versions are all versions below a prefix, by name, with their digests as the manifest gives them.
	versions := func(prefix string) (names []string, bodies map[string][]byte) {
		t.Helper()
		there, err := admin.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(prefix + "/")})
		if err != nil || len(there.DeleteMarkers) > 0 {
			t.Fatalf("%d delete markers, %v", len(there.DeleteMarkers), err)
		}
		bodies = map[string][]byte{}
		for _, v := range there.Versions {
			name := strings.TrimPrefix(aws.ToString(v.Key), prefix+"/")
			if strings.Contains(name, ".renewal-") {
				continue // another test may have evidence time-stamped anew at any time
			}
			names = append(names, name)
			out, err := admin.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: v.VersionId})
			if err != nil {
				t.Fatal(err)
			}
			bodies[name], err = io.ReadAll(out.Body)
			out.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(names)
		return names, bodies
	}
	k, home := newKiller(t, local.S3.Endpoint), t.TempDir()
	args := func(prefix string) []string {
		return []string{"audit", "export", "--from", from.UTC().Format(time.RFC3339Nano), "--until", until.UTC().Format(time.RFC3339Nano), "--output", "s3://" + bucket + "/" + prefix,
			"--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA, "--json"}
	}
	answer, _, _ := k.exporter(t, home, 0, false, args("whole")...)
	wanted, bodies := versions("whole")
	var c records.Complete
	if err := json.Unmarshal([]byte(answer), &c); err != nil || c.Count < 2 || len(wanted) != 2*c.Count+2 {
		t.Fatalf("%v; %s left %v", err, answer, wanted)
	}

	kills := 0
	for at := 1; ; at++ {
		_, _, before := k.exporter(t, home, at, false, args("killed")...)
		_, _, after := k.exporter(t, home, at, true, args("killed")...)
		if !before && !after {
			break
		}
		kills++
		if at > 4*len(wanted) {
			t.Fatal("the export never ends")
		}
	}
	if kills < len(wanted) {
		t.Errorf("it was killed at %d boundaries; it stores %d objects", kills, len(wanted))
	}
	got, after := versions("killed")
	if !slices.Equal(got, wanted) {
		t.Errorf("the killed export left\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	}
	for name, body := range bodies {
		if countersign.SHA256(after[name]) != countersign.SHA256(body) {
			t.Errorf("%s differs from that of an uninterrupted export", name)
		}
	}
	if _, err := records.CheckComplete(after[strings.Split(c.Manifest.File, "_"+c.Manifest.SHA256)[0]+".complete.json"], after[c.Manifest.File]); err != nil {
		t.Error(err)
	}

	// Each read is recorded, by its reader; what is there already is not read again.
	counted := func() (n int) {
		for _, request := range mine {
			for _, r := range readsOf(t, request) {
				if r.Reader.Actor != local.Actor("acme/olivia") {
					t.Errorf("%s read %s", r.Reader.Actor, request)
				}
				n++
			}
		}
		return n
	}
	reads := counted()
	if reads < 4 { // two signings, two exports
		t.Errorf("%d reads are recorded", reads)
	}
	k.exporter(t, home, 0, false, args("killed")...)
	if again := counted(); again != reads {
		t.Errorf("an export of what is there read %d bundles", again-reads)
	}

	// To a directory, with certificates; and only said.
	dir := filepath.Join(t.TempDir(), "records")
	answer, told, _ := k.exporter(t, home, 0, false, append(args(""), "--output", dir, "--certificates")...)
	var d records.Complete
	if err := json.Unmarshal([]byte(answer), &d); err != nil || d.Count != c.Count || !strings.Contains(told, first.Request.ID) {
		t.Fatalf("%v: %s %s", err, answer, told)
	}
	for name, n := range map[string]int{"bundles/*.asice": c.Count, "bundles/*.asice.log.json": c.Count, "certificates/*.pdf": c.Count, "certificates/*.json": c.Count, "manifests/*": 2} {
		if found, err := filepath.Glob(filepath.Join(dir, name)); err != nil || len(found) != n {
			t.Errorf("%s: %d files, want %d", name, len(found), n)
		}
	}
	// Whoever receives it checks it without a network and without a login.
	verify := []string{"audit", "records", "verify", dir, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA, "--log-key", local.Tenants["acme"].LogPublicKey, "--digest", d.Digest,
		"--from", from.UTC().Format(time.RFC3339Nano), "--until", until.UTC().Format(time.RFC3339Nano)}
	offline(t, local, 0, fmt.Sprintf("\n%d bundles hold\ncomplete: ", d.Count), verify...)
	offline(t, local, 6, "is not signed by the key countersign/globex", append(slices.Clone(verify), "--log-key", local.Tenants["globex"].LogPublicKey)...)
	if found, err := filepath.Glob(filepath.Join(dir, "bundles", "*.asice")); err != nil || os.Remove(found[0]) != nil {
		t.Fatal(err)
	}
	offline(t, local, 6, "missing", verify...)

	reads = counted()
	answer, _, _ = k.exporter(t, home, 0, false, append(args(""), "--dry-run")...)
	if !strings.Contains(answer, second.Request.ID) || !strings.Contains(answer, fmt.Sprintf(`"count":%d`, c.Count)) || counted() != reads {
		t.Errorf("a dry run says %s, and reads", answer)
	}
}
