package tests

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// TestR25_WorkerKilledAtEachStepEndsInOneSignatureAndOneEvidenceObject runs a signing for each crash point: the worker is killed before, and
// after, each activity, and another one is started each time. A signing that completes leaves one signature, any other ending none.
func TestR25_WorkerKilledAtEachStepEndsInOneSignatureAndOneEvidenceObject(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "crashing")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./crashing").CombinedOutput(); err != nil {
		t.Fatalf("couldn't build the crashing workers: %v\n%s", err, out)
	}
	// A saga that has signed ends at once, unless somebody can't be told yet: then there is time to terminate it.
	hook := fault(t, local.Mail.Page)
	signed := map[string]chan struct{}{}
	for _, when := range []string{"before", "after"} {
		signed["killed-"+when+"-"+evidence.ActivityWithhold] = make(chan struct{}, 1)
	}
	hook.Break(func(r *http.Request) bool {
		for id, told := range signed {
			if mentions(r, evidence.EventSigned, id) {
				select {
				case told <- struct{}{}:
				default:
				}
				return true
			}
		}
		return false
	})
	terminatedOnceSigned := func(t *testing.T, g *stack.Signing) countersign.Outcome {
		t.Helper()
		approved(t, g)
		select {
		case <-signed[g.Request.ID]:
		case <-time.After(time.Minute):
			t.Fatal("nobody was told that it is signed")
		}
		if stored := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "document-signed.pdf")); len(stored) != 1 {
			t.Errorf("before it was terminated, %d signatures were stored, want one", len(stored))
		}
		terminate(t, g)
		return countersign.Terminated
	}
	tenants, err := local.Tenant(t.TempDir(), "globex", "url: "+local.Mail.Page+"hooks/globex", "url: "+hook.URL+"/hooks/globex")
	if err != nil {
		t.Fatal(err)
	}
	points := t.TempDir()
	type crash struct {
		request countersign.Request
		run     func(*testing.T, *stack.Signing) countersign.Outcome
	}
	var crashes []crash
	for _, step := range []struct {
		activity string
		run      func(*testing.T, *stack.Signing) countersign.Outcome
	}{
		{evidence.ActivityAdmit, approved}, {evidence.ActivityCheckDecision, approved}, {evidence.ActivityIntend, approved}, {evidence.ActivitySign, approved},
		{evidence.ActivityAppendLog, approved}, {evidence.ActivityNotify, approved}, {evidence.ActivitySeal, approved}, {evidence.ActivityLock, approved},
		{evidence.ActivityCheckWithdrawal, takenBack}, {evidence.ActivityWithhold, terminatedOnceSigned},
	} {
		for _, when := range []string{"before", "after"} {
			r := request(t, "globex", "supplier-contract")
			r.ID = "killed-" + when + "-" + step.activity
			crashes = append(crashes, crash{r, step.run})
			if err := os.WriteFile(filepath.Join(points, when+"."+step.activity+"."+r.ID), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	deaths := supervise(t, bin, tenants, "CRASH_POINTS="+points)
	for _, c := range crashes {
		r := c.request
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			g := begin(t, r)
			want := c.run(t, g)
			ending, _ := ended(t, g, want)
			signatures := 0
			if want == countersign.Completed {
				signatures = 1
			}

			locked := versions(t, "evidence", countersign.EvidenceKey("globex", r.ID))
			if len(locked) != 1 || locked[0] != ending.Evidence.Object.VersionID {
				t.Errorf("the evidence has the versions %q, want one: %q", locked, ending.Evidence.Object.VersionID)
			}
			if plain := versions(t, "documents", countersign.WithheldKey("globex", r.ID, countersign.WithheldBundle(want))); len(plain) != 0 || ending.Evidence.Concealed == "" {
				t.Errorf("the evidence is concealed as %q, and %d plain copies of it are left", ending.Evidence.Concealed, len(plain))
			}
			if signed := versions(t, "documents", countersign.WithheldKey("globex", r.ID, "document-signed.pdf")); len(signed) != signatures {
				t.Errorf("%d signatures are stored, want %d", len(signed), signatures)
			}
			oneRecord(t, "globex", ending)
			raw := bundle(t, "globex", ending)
			if countersign.SHA256(raw) != ending.Evidence.Object.SHA256 {
				t.Error("the locked evidence has another hash than was told")
			}
			opened, err := evidence.OpenBundle(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, released := opened.File("document-signed.pdf"); released != (want == countersign.Completed) {
				t.Errorf("it ended as %s, and whether a signature was released is %v", want, released)
			}
		})
	}
	t.Cleanup(func() {
		left, _ := os.ReadDir(points)
		if len(left) > 0 {
			t.Errorf("%d crash points were never met, the first is %s", len(left), left[0].Name())
		}
		t.Logf("the workers were killed %d times", deaths())
	})
}

// approved is a signing that everybody approves.
func approved(t *testing.T, g *stack.Signing) countersign.Outcome {
	t.Helper()
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	return countersign.Completed
}

// takenBack is a signing that its requester withdraws.
func takenBack(t *testing.T, g *stack.Signing) countersign.Outcome {
	t.Helper()
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	withdraw(t, g, "machine:globex/procurement", "changed-our-mind")
	return countersign.Withdrawn
}

// mentions says whether a request's body has all the texts, and leaves the body as it was.
func mentions(r *http.Request, texts ...string) bool {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	for _, text := range texts {
		if err != nil || !bytes.Contains(body, []byte(text)) {
			return false
		}
	}
	return true
}

// supervise keeps workers running: whenever they die, others are started.
func supervise(t *testing.T, bin, tenants string, env ...string) (deaths func() int) {
	t.Helper()
	first, err := local.Workers(bin, tenants, env...)
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	died := 0
	go func() {
		defer close(stopped)
		for current := first; ; {
			select {
			case <-stop:
				current.Stop()
				return
			case <-current.Done():
			}
			died++
			next, err := local.Workers(bin, tenants, env...)
			if err != nil && !strings.Contains(err.Error(), "ended before it was ready") {
				t.Errorf("couldn't start other workers: %v", err)
				return
			}
			current = next
		}
	}()
	var once bool
	end := func() {
		if !once {
			once = true
			close(stop)
			<-stopped
		}
	}
	t.Cleanup(end)
	return func() int { end(); return died }
}

// versions lists the versions of one object, as the root of the store sees them.
func versions(t *testing.T, bucket, key string) []string {
	t.Helper()
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	out, err := admin.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, v := range out.Versions {
		ids = append(ids, aws.ToString(v.VersionId))
	}
	for _, m := range out.DeleteMarkers {
		ids = append(ids, "marker "+aws.ToString(m.VersionId))
	}
	return ids
}
