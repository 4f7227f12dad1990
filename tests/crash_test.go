package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// TestR25_WorkerKilledAtEachStepEndsInOneSignatureAndOneEvidenceObject runs a signing for each crash point: the worker is killed before, and
// after, each activity, and another one is started each time.
func TestR25_WorkerKilledAtEachStepEndsInOneSignatureAndOneEvidenceObject(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "crashing")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./crashing").CombinedOutput(); err != nil {
		t.Fatalf("couldn't build the crashing workers: %v\n%s", err, out)
	}
	tenants, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	points := t.TempDir()
	var requests []countersign.Request
	for _, activity := range []string{
		evidence.ActivityAdmit, evidence.ActivityCheckDecision, evidence.ActivityIntend, evidence.ActivitySign,
		evidence.ActivityNotify, evidence.ActivitySeal, evidence.ActivityLock,
	} {
		for _, when := range []string{"before", "after"} {
			r := request(t, "globex", "supplier-contract")
			r.ID = "killed-" + when + "-" + activity
			requests = append(requests, r)
			if err := os.WriteFile(filepath.Join(points, when+"."+activity+"."+r.ID), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	deaths := supervise(t, bin, tenants, "CRASH_POINTS="+points)
	for _, r := range requests {
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			g := begin(t, r)
			decide(t, g, "globex/gina", "legal", countersign.Approve)
			decide(t, g, "hart/chris", "counsel", countersign.Approve)
			ending, _ := ended(t, g, countersign.Completed)

			locked := versions(t, "evidence", countersign.EvidenceKey("globex", r.ID))
			if len(locked) != 1 || locked[0] != ending.Evidence.Object.VersionID {
				t.Errorf("the evidence has the versions %q, want one: %q", locked, ending.Evidence.Object.VersionID)
			}
			if sealed := versions(t, "documents", countersign.WithheldKey("globex", r.ID, "completed.asice")); len(sealed) != 1 {
				t.Errorf("%d sealed bundles were stored", len(sealed))
			}
			if signed := versions(t, "documents", countersign.WithheldKey("globex", r.ID, "document.p7s")); len(signed) != 1 {
				t.Errorf("%d signatures were stored", len(signed))
			}
			if raw := bundle(t, "globex", ending); countersign.SHA256(raw) != ending.Evidence.Object.SHA256 {
				t.Error("the locked evidence has another hash than was told")
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
