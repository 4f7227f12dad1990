package tests

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// The tests of evidence checks run one after another: each has workers of its own for globex, and each check follows the one before.

func TestR24_AnEvidenceCheckVerifiesSamplesAndLocksItsReport(t *testing.T) {
	faultyWorkers(t)
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	ending, _ := ended(t, g, countersign.Completed)
	checked, report := evidenceCheck(t)
	if len(checked.Problems) > 0 || !report.Passed {
		t.Fatalf("the check found %q", checked.Problems)
	}
	found := false
	for _, b := range report.Bundles {
		found = found || b.Object == ending.Evidence.Object && b.Mode == "COMPLIANCE" && b.Why == "newest" && b.Outcome == countersign.Completed
	}
	if !found {
		t.Errorf("the newest bundle is not in the sample %+v", report.Bundles)
	}
	if len(report.Canary) != 5 {
		t.Errorf("the canary has %+v", report.Canary)
	}
	told := alarms(t, "Evidence holds", checked.Report.SHA256)
	if told != 1 {
		t.Errorf("%d mails name the report, want the owner's", told)
	}
	// The next check goes on from this one.
	_, next := evidenceCheck(t)
	if next.Since != report.Checkpoint || next.Seed == report.Seed {
		t.Errorf("the next check goes on from %q with the seed %q, after %q and %q", next.Since, next.Seed, report.Checkpoint, report.Seed)
	}
}

func TestR24_ACanaryThatCanBeDeletedIsAnAlarm(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL)
	// A store that has no locks does what it is asked.
	store.Answer(func(r *http.Request) bool {
		return r.Method == http.MethodDelete && r.URL.Path == "/evidence/"+countersign.CanaryKey("globex")
	}, http.StatusNoContent, "")
	checked, report := evidenceCheck(t)
	if report.Passed || len(checked.Problems) != 1 || !strings.Contains(checked.Problems[0], "it can't be deleted: the store did it") {
		t.Errorf("the check found %q", checked.Problems)
	}
	if n := alarms(t, "ALARM: evidence", checked.Report.SHA256); n != 1 {
		t.Errorf("%d alarms were mailed, want the owner's", n)
	}
}

// Without the right to delete there, the refusal would prove nothing about the lock.
func TestR24_ACanaryThatOnlyPermissionsProtectIsAnAlarm(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL)
	store.Answer(func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/evidence/globex/canary/")
	}, http.StatusForbidden, "")
	checked, _ := evidenceCheck(t)
	if len(checked.Problems) != 1 || !strings.Contains(checked.Problems[0], "a delete marker can be deleted beside it") {
		t.Errorf("the check found %q", checked.Problems)
	}
}

// Whoever holds the store's disks can change what no permission lets anybody change.
func TestR24_EvidenceThatWasAlteredOrUnlockedInTheStoreIsAnAlarm(t *testing.T) {
	faultyWorkers(t)
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	ending, _ := ended(t, g, countersign.Completed)
	file := filepath.Join(local.Data, "s3", "buckets", ending.Evidence.Object.Bucket, ending.Evidence.Object.Key)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		change     func() (restore func())
	}{
		{"altered", "can't be read as it was locked", func() func() {
			broken := slices.Clone(whole)
			broken[len(broken)/2] ^= 1
			overwrite(t, file, broken)
			return func() { overwrite(t, file, whole) }
		}},
		{"unlocked", "it is not locked", func() func() { return withoutRetention(t, file) }},
	} {
		restore := c.change()
		checked, report := evidenceCheck(t)
		restore()
		if report.Passed || len(checked.Problems) != 1 || !strings.Contains(checked.Problems[0], g.Request.ID) || !strings.Contains(checked.Problems[0], c.says) {
			t.Errorf("%s: the check found %q", c.name, checked.Problems)
		}
		if n := alarms(t, "ALARM: evidence", checked.Report.SHA256); n != 1 {
			t.Errorf("%s: %d alarms were mailed, want the owner's", c.name, n)
		}
	}
	if checked, _ := evidenceCheck(t); len(checked.Problems) != 0 {
		t.Errorf("put back, the check finds %q", checked.Problems)
	}
}

func overwrite(t *testing.T, file string, body []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // its attributes stay
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(body, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// withoutRetention takes an object's lock away where the store keeps it.
func withoutRetention(t *testing.T, file string) (restore func()) {
	t.Helper()
	const name = "user.object-retention"
	kept := make([]byte, 4096)
	n, err := syscall.Getxattr(file, name, kept)
	if err == nil {
		err = syscall.Removexattr(file, name)
	}
	if err != nil {
		t.Skipf("the store keeps its locks elsewhere: %v", err)
	}
	return func() {
		if err := syscall.Setxattr(file, name, kept[:n], 0); err != nil {
			t.Fatal(err)
		}
	}
}

// The bucket's owner puts an older checkpoint back: the log that it signs is a good one, and lacks what came after.
func TestR24_ALogThatWasRolledBackIsAnAlarm(t *testing.T) {
	faultyWorkers(t)
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	older, _ := ended(t, g, countersign.Completed)
	r := request(t, "globex", "supplier-contract")
	r.ID += "-2"
	g = begin(t, r)
	approved(t, g)
	newer, _ := ended(t, g, countersign.Completed)
	if checked, _ := evidenceCheck(t); len(checked.Problems) != 0 {
		t.Fatalf("before that, the check finds %q", checked.Problems)
	}
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	put := func(checkpoint string) {
		if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(local.S3.Evidence), Key: aws.String(countersign.LogKey("globex", "checkpoint")), Body: strings.NewReader(checkpoint),
		}); err != nil {
			t.Fatal(err)
		}
	}
	put(older.Log.Checkpoint)
	checked, _ := evidenceCheck(t)
	put(newer.Log.Checkpoint)
	if len(checked.Problems) != 1 || !strings.Contains(checked.Problems[0], "rolled back") {
		t.Errorf("the check found %q", checked.Problems)
	}
	if n := alarms(t, "ALARM: evidence", checked.Report.SHA256); n != 1 {
		t.Errorf("%d alarms were mailed, want the owner's", n)
	}
}

// evidenceCheck runs a check of globex now, and reads its report.
func evidenceCheck(t *testing.T) (evidence.CheckedEvidence, evidence.EvidenceReport) {
	t.Helper()
	var checked evidence.CheckedEvidence
	ran(t, local, countersign.WorkflowEvidenceCheck, countersign.EvidenceCheckID("globex"), "globex", &checked)
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	body, err := activities.ReadObject(t.Context(), admin, "globex", checked.Report, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var report evidence.EvidenceReport
	if err := countersign.ParseStrict(body, &report); err != nil {
		t.Fatal(err)
	}
	o := checked.Report
	lock, err := admin.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if err != nil || lock.Retention.Mode != s3types.ObjectLockRetentionModeCompliance {
		t.Errorf("the report's lock is %+v, %v", lock, err)
	}
	return checked, report
}

// ran runs a schedule now, and waits for the result of what it started.
func ran(t *testing.T, s *stack.Stack, workflow, schedule, tenant string, result any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := asOperator(t, s, tenant)
	query := "WorkflowType = '" + workflow + "' AND StartTime > '" + time.Now().UTC().Format(time.RFC3339Nano) + "'"
	trigger(t, s, schedule, tenant)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: tenant, PageSize: 1, Query: query})
		if err != nil {
			t.Fatal(err)
		}
		if started := answer.GetExecutions(); len(started) > 0 {
			e := started[0].GetExecution()
			if err := c.GetWorkflow(ctx, e.GetWorkflowId(), e.GetRunId()).Get(ctx, result); err != nil {
				t.Fatal(err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the schedule %s started nothing", schedule)
		}
	}
}

// alarms counts the mails whose subject says something, and which name something.
func alarms(t *testing.T, subject, about string) (n int) {
	t.Helper()
	for _, raw := range inMailbox(t, "api/messages", about) {
		if strings.Contains(string(raw), subject) {
			n++
		}
	}
	return n
}
